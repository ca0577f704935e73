"""Rows as CSV."""

from __future__ import annotations

from collections.abc import Sequence

from nnprof.profiler.report.rows import Row
from nnprof.text import csv_cell


def as_csv(table: Sequence[Row], columns: Sequence[str]) -> str:
    """The rows as CSV, numbers in full; text as `nnprof.text.csv_cell` makes it."""
    import pandas as pd

    # As objects, or a column with one gap would turn its whole numbers into fractions.
    cells = [{name: csv_cell(value) for name, value in row.items()} for row in table]
    return str(pd.DataFrame(cells, columns=list(columns), dtype=object).to_csv(index=False))
