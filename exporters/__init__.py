"""A network or a file becomes a `Model` that a runtime can load: read, exported, converted, kept.

Imports `nnprof.networks` and below, and knows nothing of the profiler. A new format of a runtime is
a new module; a new graph to be timed goes into `probes`, a new precision into `precision`.
"""
