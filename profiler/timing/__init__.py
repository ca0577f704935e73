"""One process's times: samples, passes over the ops, one estimate per op, energy, telemetry.

Imports `place` and below; knows no cell, no Run and no backend.
A new way to time an op is a pass here, and its doubt goes into `reconcile`.
"""
