"""Plug points: entry points → objects.

A backend, device, dataset or study is one object named by one line in an entry-point group; the
built-in ones register through the same lines (setup.cfg) as anybody's own.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from nnprof.errors import UnknownName


def names(kind: str) -> tuple[str, ...]:
    """Names registered in group `nnprof.<kind>s`, sorted. Imports none of them."""
    return tuple(sorted({point.name for point in entry_points(group=f"nnprof.{kind}s")}))


def find(kind: str, name: str) -> Any:
    """Load the object called `name` of a kind: backend, device, dataset or study.

    Raises:
        UnknownName: nothing of that name is registered; the message lists what is.
    """
    for point in entry_points(group=f"nnprof.{kind}s", name=name):
        return point.load()
    raise UnknownName(kind, name, names(kind))
