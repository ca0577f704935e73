"""One file per runtime, behind the port `Backend` of `nnprof.profiler.ports`.

Imports `place`, `importers` (for what its runtime writes), `graph` and `nnprof.exporters`.
A new runtime is a file here and a line under `nnprof.backends` in `setup.cfg`.
"""
