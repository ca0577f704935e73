"""From an artifact to numbers: workers, samples, statistics, results.

Imports `nnprof.exporters`, `nnprof.networks` and below; the order of its rooms is `ORDER` in
tests/test_architecture.py. Here lie the ports and what several rooms share: statistics, inputs,
Run files (`results`), comparisons. A new check goes into `checks`; what else is new
goes into a room. (`studies` reads study files; a study of ours is a function of
`nnprof.networks.families`.)
"""
