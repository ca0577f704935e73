"""Many boards at once, on dask.distributed: which are alike, a worker for each, their sweep.

Imports `run` and below; only `cluster` and `there` know dask, and only when they are used.
What decides anything new about a process goes into `run`; what two boards must share, into `kinds`.
"""
