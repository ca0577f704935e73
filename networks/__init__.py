"""What is measured: networks as values and as text, the data that they read, and their training.

Imports only what lies in `nnprof/` itself (errors, files, registry, types). A new layer goes into
`layers`, a new family or study into `families`, a new data set into `data/`.
"""
