"""What is measured: networks as values and as text, the data that they read, and their training.

Imports only what lies in `nnprof/` itself (errors, files, registry, types). A new layer goes into
`layers`, a new family into `families`, a new study into `studies/`, a new data set into `data/`.
"""
