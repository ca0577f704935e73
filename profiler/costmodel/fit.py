"""From measured ops to a model (in work)."""
