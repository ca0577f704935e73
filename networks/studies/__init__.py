"""The studies that nnprof grew from: which networks, trained and timed how, and what they claim.

One file for each source; `study.py` has their form, `claims.py` what a claim is. Imports families
and settings, no runtime. A new study: a function that returns a `Study`, and a line under
`nnprof.studies` in setup.cfg.
"""
