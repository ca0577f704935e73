"""From cells to a Run on disk: the sweep, the protocol of 2016, budgets, precisions and accuracy.

Imports `work` and below, and the flat modules of `nnprof.profiler`; prints nothing.
A new protocol of measuring is a file here.
"""
