"""Data sets with files of their own kind: CIFAR-10, Reuters, prices; and how a data set is named.

Imports `datasets` (what a data set is, where its files lie) and what lies in `nnprof/` itself. A
new data set goes into a file here, with a line under `nnprof.datasets` in setup.cfg.
"""
