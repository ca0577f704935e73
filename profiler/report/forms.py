"""Output forms by name: functions from rows and columns to text, found as entry points.

A new form is a file of this room with such a function, and a line under `nnprof.outputs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnprof import registry

TABLE = "table"  # the form that is none of these: a table for a terminal


def written(form: str, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """The rows in that form, such as "csv".

    Raises:
        UnknownName: no form of that name; the message lists what there is.
    """
    return str(registry.find("output", form)(rows, columns))
