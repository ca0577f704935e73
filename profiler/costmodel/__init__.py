"""Time as a sum of physical terms: fitted from Runs, read by people, judged on held-out data."""
