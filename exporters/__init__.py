"""From a network to an artifact that a runtime can load."""
