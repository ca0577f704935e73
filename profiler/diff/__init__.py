"""Two Runs of one network held against each other on its ONNX nodes: where does the time differ.

Imports `graph`, `stats`, `changes`, `conditions`, `compare`, and files of `exporters`. Pure but for
`nodes.read`. A new reason goes into `reasons`; a new kind of row into `values` and `lineup`.
"""
