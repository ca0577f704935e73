"""A grid as a picture: a line for each column, intervals as bars or bands, units on the axes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import UsageError
from nnprof.profiler.report.pictures import LOOKS, plain_axes, require_ending, write_picture
from nnprof.profiler.report.shown_grid import grid_heading, run_lines, shared
from nnprof.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nnprof.profiler.grids import Grid
    from nnprof.types import Run

_SIZE = (6.3, 4.8)  # inches: the width of a page's text
_STYLES = ("-", "--")  # of the first lines, and of those that have the same colours again
_MOST_BARS = 12  # rows; more are drawn as bands
_WIDE = 30  # from the smallest to the largest value: beyond that the axis is logarithmic
_MOST_NAMES = 6  # of cells without a number
_LETTERS = 88  # of a line of the title
_NAMES = {
    "fc": "FC layers",
    "conv": "ConvLayers",
    "neurons": "neurons per FC layer",
    "depth": "depth of the ConvLayers",
    "batch": "batch size (tiles)",
}


def plot_grid(grid: Grid, out: Path | str, runs: Sequence[Run] = ()) -> tuple[str, ...]:
    """Draw a grid: its rows along the x-axis, one line for each column.

    Args:
        grid: of a Run, or of two.
        out: the picture to write; its ending says how: .svg, .png or .pdf.
        runs: what the grid was made of; the picture names them.

    Returns:
        Sentences about what is not in the picture, the grid's own notes among them.

    Raises:
        Unavailable: matplotlib is not installed.
        UsageError: the picture's ending is another, or there are more lines than can be told apart.
    """
    out = Path(out)
    require_ending(out)
    most = len(LOOKS) * len(_STYLES)
    if len(grid.columns) > most:
        raise UsageError(
            f"{len(grid.columns)} lines cannot be told apart in one picture.",
            f"Let the parameter of at most {most} values be the second: "
            f"--grid {grid.column_name},{grid.row_name}.",
        )
    gaps = _gaps(grid)
    write_picture(out, lambda figure: _draw(figure, grid, runs, gaps), _SIZE)
    return (*([f"Not in the picture: {gaps}."] if gaps else []), *grid.notes)


def _gaps(grid: Grid) -> str:
    """The cells without a number, by what became of them."""
    found: dict[str, list[str]] = {}
    for row, states in zip(grid.rows, grid.states, strict=True):
        for column, state in zip(grid.columns, states, strict=True):
            if state != "measured":
                name = f"{grid.row_name}={row} {grid.column_name}={column}"
                found.setdefault(state, []).append(name)
    return "; ".join(f"{state}: {_listed(names)}" for state, names in found.items())


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _draw(figure: Figure, grid: Grid, runs: Sequence[Run], gaps: str) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axes = figure.subplots()
    plain_axes(axes)
    at, named = _along(axes, grid)
    values, low, high = (_numbers(table) for table in (grid.values, grid.low, grid.high))
    for place, column in enumerate(grid.columns):
        colour, mark = LOOKS[place % len(LOOKS)]
        look: dict[str, Any] = {
            "color": colour,
            "marker": mark,
            "linestyle": _STYLES[place // len(LOOKS)],
            "label": str(column),
        }
        _line(axes, at, (values[:, place], low[:, place], high[:, place]), look)
    axes.set_xlabel(named)
    axes.set_ylabel(_unit(grid))
    told = values[~np.isnan(values)]
    if told.size and told.max() > _WIDE * told.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0)
    if grid.unit == "b / a":
        axes.axhline(1, color="0.4", linewidth=0.8)
    axes.legend(
        title=_NAMES.get(grid.column_name, grid.column_name), fontsize=8, title_fontsize=8,
        loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False,
    )  # fmt: skip
    _titles(figure, grid, runs, gaps)


def _along(axes: Axes, grid: Grid) -> tuple[NDArray[np.float64], str]:
    """Where each row stands on the x-axis, and what the axis is called."""
    from matplotlib.ticker import MultipleLocator

    name = _NAMES.get(grid.row_name, grid.row_name)
    if any(isinstance(row, str) for row in grid.rows):
        at = np.arange(len(grid.rows), dtype=np.float64)
        axes.set_xticks(at, [str(row) for row in grid.rows])
        return at, name
    at = np.array(grid.rows, dtype=np.float64)
    if len(at) > 2 and at.min() > 0 and np.allclose(at[1:] / at[:-1], 2):
        axes.set_xscale("log", base=2)
        axes.minorticks_off()
    if len(at) <= _MOST_BARS:
        axes.set_xticks(at, [str(row) for row in grid.rows])
    elif at.max() > 0:  # steps by powers of two, as hardware likes them (Figure 36)
        axes.xaxis.set_major_locator(MultipleLocator(2.0 ** np.ceil(np.log2(at.max() / 8))))
    return at, name


def _line(
    axes: Axes,
    at: NDArray[np.float64],
    numbers: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    look: dict[str, Any],
) -> None:
    """A line with its intervals; a gap where there is no number, no bar where no interval."""
    values, low, high = numbers
    few = len(at) <= _MOST_BARS
    size = 4.5 if few else 2.5
    axes.plot(at, values, linewidth=1.3, markersize=size, **look)
    if few:
        told = ~np.isnan(low)
        ends = np.vstack([values - low, high - values])[:, told]
        axes.errorbar(
            at[told], values[told], yerr=ends, fmt="none", ecolor=look["color"], capsize=2.5,
            elinewidth=1,
        )  # fmt: skip
    else:
        axes.fill_between(at, low, high, color=look["color"], alpha=0.18, linewidth=0)


def _numbers(table: Sequence[Sequence[float | None]]) -> NDArray[np.float64]:
    """Numbers by row and column, nan where there is none."""
    return np.array(table, dtype=np.float64)


def _unit(grid: Grid) -> str:
    of = f" of kind {grid.kind}" if grid.kind else ""
    return f"b's time / a's time{of}" if grid.unit == "b / a" else f"{grid.unit}{of}"


def _titles(figure: Figure, grid: Grid, runs: Sequence[Run], gaps: str) -> None:
    """What it is above the picture, and below it what was measured and what is missing."""
    words, _, source = (grid.title or grid_heading(grid)).partition(" (as ")
    title = textwrap.fill(words, 72) + (f"\n(as {source}" if source else "")
    figure.suptitle(title, fontsize=10)
    told = any(value is not None for row in grid.low for value in row)
    lines = [
        *run_lines(runs),
        *([shared(grid)] if grid.title else []),
        *([f"{'Bars' if len(grid.rows) <= _MOST_BARS else 'Bands'}: 95 % intervals."] * told),
        *([f"No number: {gaps}."] if gaps else []),
    ]
    text = "\n".join(textwrap.fill(plain(line), _LETTERS) for line in lines)
    figure.supxlabel(text, fontsize=7, x=0.02, ha="left", color="0.3")
