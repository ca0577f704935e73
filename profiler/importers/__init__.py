"""Files that other tools wrote → our types: one file for each foreign format.

Imports `graph` and below. Backends read what their runtime writes through these files, too.
A new format is a file with an `Importer` (`importer.py`), and a line in setup.cfg.
"""
