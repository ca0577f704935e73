"""Jobs and who does them: a job goes as JSON to a fresh worker, here or on a board.

Imports `timing`, `place` and below; knows no Run.
A new kind of job goes into `jobs`, and what is done for it into `worker`.
"""
