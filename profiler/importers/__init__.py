"""Files that other tools wrote → our types: one file for each foreign format.

Imports `graph` and below. Backends read what their runtime writes through these files, too.
A new format is a file here; `runs` makes a Run of what it reads.
"""
