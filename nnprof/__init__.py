"""nnprof: how fast a network classifies tiles, where the time goes, what the next one will cost.

The public names load on first use, so that importing nnprof costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from nnprof._version import __version__

_HOMES = {
    "Cell": "nnprof.types",
    "Failure": "nnprof.types",
    "Measurement": "nnprof.types",
    "Model": "nnprof.types",
    "Plan": "nnprof.types",
    "Run": "nnprof.types",
    "Target": "nnprof.types",
    "Workload": "nnprof.types",
    "export": "nnprof.exporters.export",
    "interval_s": "nnprof.profiler.stats",
    "latency_s": "nnprof.profiler.stats",
    "load": "nnprof.profiler.results",
    "load_model": "nnprof.exporters.models",
    "named_cells": "nnprof.profiler.studies",
    "parse_network": "nnprof.networks.families",
    "resume": "nnprof.profiler.run.sweep",
    "rows": "nnprof.profiler.report.rows",
    "save": "nnprof.profiler.results",
    "start": "nnprof.profiler.run.sweep",
    "study_cells": "nnprof.profiler.studies",
    "sweep": "nnprof.profiler.run.sweep",
}

__all__ = [
    "Cell",
    "Failure",
    "Measurement",
    "Model",
    "Plan",
    "Run",
    "Target",
    "Workload",
    "__version__",
    "export",
    "interval_s",
    "latency_s",
    "load",
    "load_model",
    "named_cells",
    "parse_network",
    "resume",
    "rows",
    "save",
    "start",
    "study_cells",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'nnprof' has no attribute '{name}'")
