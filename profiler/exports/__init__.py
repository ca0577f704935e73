"""A Run in the form that another tool reads: one file for each format, a pure function each.

Imports everything of `nnprof.profiler`; nothing of it imports this room.
A new format is a file with an `Export` (`export.py`), and a line under `nnprof.exports` in
setup.cfg.
"""
