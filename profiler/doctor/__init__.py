"""What would make numbers of a place untrustworthy, or impossible: `nnprof doctor`.

Imports `run` and below. `seen` reads a place (the one effect), `judge` and `software` are pure,
from what was read to findings, and `findings` has the words of each, once. A new check is a line
in `TEXTS`, and a function in `judge` or `software`; what it has to read goes to `devices`.
"""
