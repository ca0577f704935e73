"""Where a network runs: boards, shells here and over SSH, and what holds of a place while it does.

Imports `devices` and below; times nothing. `place` is the value: a target with its facts. What is
measured once of a machine (`limits`, `watcher`) is kept for a place. A new way to reach a board, or
a new fact, goes here.
"""
