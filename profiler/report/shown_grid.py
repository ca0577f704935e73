"""A grid of a Run, or of two, as long rows and as a table of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.rows import Row
from nnprof.profiler.report.terminal import heading
from nnprof.terminal import Console, Table, styled

if TYPE_CHECKING:
    from rich.text import Text

    from nnprof.profiler.grids import Grid
    from nnprof.types import Run

COLUMNS = (
    *("row_name", "row", "column_name", "column"),
    *("value", "low", "high", "unit", "kind", "state"),
)
UNITS = {"b / a": "b's time / a's time (how many times faster a is)"}
_GAP = 2  # between columns of a table


def grid_rows(grid: Grid) -> list[Row]:
    """One row per cell with the keys of COLUMNS; None for numbers that are not known."""
    return [
        {
            "row_name": grid.row_name,
            "row": row,
            "column_name": grid.column_name,
            "column": column,
            "value": grid.values[at][place],
            "low": grid.low[at][place],
            "high": grid.high[at][place],
            "unit": grid.unit,
            "kind": grid.kind or None,
            "state": grid.states[at][place],
        }
        for at, row in enumerate(grid.rows)
        for place, column in enumerate(grid.columns)
    ]


def grid_heading(grid: Grid) -> str:
    """What the numbers are, and what all cells share."""
    what = f"{UNITS.get(grid.unit, grid.unit)}{f' of {grid.kind}' if grid.kind else ''}"
    return f"{what} by {grid.row_name} and {grid.column_name}; {shared(grid)}"


def shared(grid: Grid) -> str:
    """What all cells share, in one line."""
    family = grid.fixed.get("family", "")
    own = ", ".join(
        f"{name}={value}"
        for name, value in grid.fixed.items()
        if name not in ("family", "batch", "precision", "threads") and (name, value) != ("seed", 0)
    )
    asked = [f"{name} {grid.fixed[name]}" for name in ("batch",) if name in grid.fixed]
    networks = f"{family}({own})" if family else own
    return ", ".join([*([networks] if networks else []), *asked])


def run_lines(runs: Sequence[Run]) -> list[str]:
    """What was measured and where; of two Runs with "a" and "b" in front."""
    lines = []
    for run in runs:
        device = run.environment.get("device", {})
        name = device.get("board") or device.get("model")
        lines.append(heading(run)[0] + (f" ({name})" if name else ""))
    if len(lines) < 2:
        return lines
    return [f"{word}: {line}" for word, line in zip("ab", lines, strict=True)]


def print_grid(grid: Grid, runs: Sequence[Run]) -> None:
    """What it is, the grid in as many tables as the terminal needs, and its notes."""
    console = Console()
    title = [grid.title] if grid.title else []
    for line in (*title, *run_lines(runs), grid_heading(grid)):
        console.say(line, "bold")
    for number, table in enumerate(grid_tables(grid, console.width)):
        if number:
            console.print()
        console.print(table)
    for line in (*grid_legend(grid), *grid.notes):
        console.say(line)


def grid_tables(grid: Grid, width: int) -> Iterator[Table]:
    """Tables of this width at most, each with the rows' names and some of the columns."""
    texts = [[_cell(grid, at, place) for place in range(len(grid.columns))]
             for at in range(len(grid.rows))]  # fmt: skip
    names = [f"{grid.column_name}={value}" for value in grid.columns]
    first = max(map(len, (grid.row_name, *map(str, grid.rows))))
    wide = [
        max(len(name), *(len(row[place]) for row in texts)) + _GAP
        for place, name in enumerate(names)
    ]
    start = 0
    while start < len(names):
        end, room = start + 1, width - first - wide[start]
        while end < len(names) and room >= wide[end]:
            room -= wide[end]
            end += 1
        yield _table(grid, names[start:end], [row[start:end] for row in texts])
        start = end


def _table(grid: Grid, names: Sequence[str], texts: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, _GAP, 0, 0))
    table.add_column(grid.row_name, justify="right", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for value, row in zip(grid.rows, texts, strict=True):
        table.add_row(str(value), *map(_styled, row))
    return table


def _styled(text: str) -> Text:
    return styled(text, "red" if text.startswith("failed") else "")


def _cell(grid: Grid, at: int, place: int) -> str:
    """`35.81 ±0.9%`, or why there is no number."""
    value, low, high = (table[at][place] for table in (grid.values, grid.low, grid.high))
    if value is None:
        return grid.states[at][place]
    if low is None or high is None:
        return digits(value)
    return f"{digits(value)} ±{(high - low) / 2 / value * 100:.1f}%"


_WORDS = {
    "missing": "missing: not in the Run.",
    "left out": "left out: the Run's budget had no time for it.",
    "no ops": "no ops: none of its ops was timed.",
    "none": "none: no op of that kind ran.",
    "several": "several: more than one measurement, none of which is picked.",
    "failed": "failed: nnprof show without --grid says why.",
}


def grid_legend(grid: Grid) -> list[str]:
    """Each state that is not a number, and what it means where the interval is missing."""
    seen = {
        state.removesuffix(" in a").removesuffix(" in b") for row in grid.states for state in row
    }
    words = [text for state, text in _WORDS.items() if state in seen]
    pairs = [
        pair for ends in zip(grid.values, grid.low, strict=True) for pair in zip(*ends, strict=True)
    ]
    if any(value is not None and low is None for value, low in pairs):
        words.append("Without ±: a single process, or ops whose times have no interval.")
    return words
