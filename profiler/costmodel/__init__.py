"""Ops as numbers → a fitted model of their time → predictions, search, and what to measure next.

Imports all rooms but `report`, and measures nothing itself.
A new feature goes into `features` and into a set of `sets`, from which `fit` chooses; a new group
of ops into `lowering` or `onnx_rules`.
"""
