"""Rows as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnprof.text import json_lines


def as_json(table: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """The rows as a list of objects, whole, whatever columns other forms show."""
    del columns
    return json_lines(list(table)) + "\n"
