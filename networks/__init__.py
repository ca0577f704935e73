"""What is measured: network descriptions, their data, their training."""
