"""Rows as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.rows import Row
from nnprof.text import markdown


def as_markdown(table: Sequence[Row], columns: Sequence[str]) -> str:
    """The rows as a Markdown table, numbers to four digits."""
    import pandas as pd

    frame = pd.DataFrame(table, columns=list(columns), dtype=object).map(_as_markdown)
    return f"{frame.to_markdown(index=False, disable_numparse=True)}\n"


def _as_markdown(value: Any) -> Any:
    if value is None or isinstance(value, float):
        return digits(value)
    return markdown(value) if isinstance(value, str) else value
