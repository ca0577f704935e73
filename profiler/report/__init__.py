"""What people read: a Run, a comparison, a cost model as rows (pure); one file per output form.

Imports everything of `nnprof.profiler`; only `exports` imports this room.
A new output form is a file here; seconds become milliseconds in these two rooms only.
"""
