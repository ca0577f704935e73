"""The command line: one file per command; each parses, calls the API, prints.

Imports everything; nothing imports this room. `main` registers the commands and ends with a code.
A new command is a file here, a new flag an argument in its command's file.
"""
