"""Plug points: entry points → objects.

A backend, device, dataset, study, importer, op counter or output form is one object named by one
line in an entry-point group. Another package registers its own with the same lines of setup.cfg.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from nnprof.errors import UnknownName

_GROUPS = {
    "backend": "nnprof.backends",
    "device": "nnprof.devices",
    "dataset": "nnprof.datasets",
    "study": "nnprof.studies",
    "importer": "nnprof.importers",
    "counter": "nnprof.counters",
    "output": "nnprof.outputs",
    "export": "nnprof.exports",
}


def names(kind: str) -> tuple[str, ...]:
    """Names registered for a kind, such as "backend", in order. Imports none of the objects."""
    return tuple(sorted({point.name for point in entry_points(group=_GROUPS[kind])}))


def find(kind: str, name: str) -> Any:
    """Load the object of a kind that is registered under `name`.

    Raises:
        UnknownName: nothing of that name is registered; the message lists what is.
    """
    for point in entry_points(group=_GROUPS[kind], name=name):
        return point.load()
    raise UnknownName(kind, name, names(kind))
