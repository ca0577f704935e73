"""What ran: kinds of ops, the nodes that a fused op came from, their FLOPs, and cut graphs.

Imports the ports of `nnprof.profiler` and `nnprof.exporters`; knows no runtime and no file of one.
A new op's FLOPs go into `counts`; a new way to cut or to name nodes into `cut` and `opgraph`.
"""
