"""One file per runtime, behind the port in `nnprof.profiler.ports`."""
