"""What installs nnprof on a board over SSH, and takes it away again: `nnprof setup`.

Imports `work` and below. `there` reads the board's Python, `wheels` gathers what it needs, `plan`
is pure: from what was read to what is to do; `install` has the effects there, `table` the edits of
devices.toml, `steps` the order. A new step goes into `steps`; what it needs of a board: `there`.
"""
