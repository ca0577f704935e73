"""Splits, errors and baselines by which a model is judged (in work)."""
