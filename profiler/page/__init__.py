"""The page of `nnprof report`: its views as plain data (pure), and the one file that shows them.

Imports everything of `nnprof.profiler`; only the public API imports this room.
A new view is a file here with its line in `views`; how figures are drawn is `assets/page.js`.
"""
