"""What tables call a network: what is its own in a family; its file, where two share a name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nnprof.types import (
    Model,
    Run,
)

_FAMILY_CALL = re.compile(r"(\w+)\((.+)\)")


def names(run: Run) -> list[str]:
    """The names of all networks of a Run, as often as they stand in it."""
    asked = [cell.workload for cell in run.study.cells]
    found = [item.workload for items in (run.measurements, run.failures) for item in items]
    return [workload.model.name for workload in (*asked, *found)]


def labels(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """What all networks of one family share, and for each network what is its own.

    Networks that are not all of one family keep their names, and share nothing.
    """
    calls = {name: _FAMILY_CALL.fullmatch(name) for name in names}
    families = {call[1] if call else "" for call in calls.values()}
    if len(calls) < 2 or len(families) > 1 or "" in families:
        return "", {name: name for name in names}
    arguments = {name: call[2].split(", ") for name, call in calls.items() if call}
    shared = [
        word for word in arguments[names[0]] if all(word in own for own in arguments.values())
    ]
    labels = {
        name: " ".join(word for word in own if word not in shared)
        for name, own in arguments.items()
    }
    return f"{families.pop()}({', '.join(shared)})", labels


def file_mark(run: Run, model: Model) -> str:
    """` (file)`, where another model of the same precision has this one's name; else nothing."""
    models = [cell.workload.model for cell in run.study.cells]
    alike = {
        one.path for one in models if (one.name, one.precision) == (model.name, model.precision)
    }
    return f" ({model.path})" if len(alike) > 1 and model.path else ""
