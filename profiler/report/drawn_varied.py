"""What a study varies as a picture: a line for each other parameter, bars over the seeds."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import UsageError
from nnprof.networks.studies.claims import Measure
from nnprof.profiler import varied as lines_of
from nnprof.profiler.report.folders import changes, listed, missing, records_of
from nnprof.profiler.report.pictures import (
    LOOKS,
    MOST_LINES,
    STYLES,
    columns_of,
    plain_axes,
    require_ending,
    write_picture,
)
from nnprof.profiler.trained import values
from nnprof.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nnprof.profiler.varied import Line, Varied
    from nnprof.types import TrainingRecord

MEASURES: tuple[Measure, ...] = get_args(Measure)
_ACCURACY: tuple[Measure, ...] = ("validation accuracy", "training accuracy")
_LOSS: tuple[Measure, ...] = ("validation loss",)
_TIME: tuple[Measure, ...] = ("training s",)
_DOUBLES = 1.9  # times the value before it, at least: values for a logarithmic axis
_WIDE = 30  # from the smallest to the largest loss or time: beyond that, too
_MOST_TICKS = 12
_LETTERS = 80  # of a line of the title


class _Panel(NamedTuple):
    """One y-axis, with one measure or with two of the same unit."""

    name: str
    scale: float
    measures: tuple[Measure, ...]


def plot_varied(
    folders: Iterable[Path | str],
    against: str,
    out: Path | str,
    *,
    of: Sequence[str] = (),
    cells: Sequence[str] = (),
) -> tuple[str, ...]:
    """Draw what came of a study's trainings against a parameter that it varies.

    The mean of the seeds, with a bar from the lowest to the highest, and a line for each
    combination of the other parameters; "device" is one, where there are several.

    Args:
        folders: of trainings, or folders that hold such folders at any depth.
        against: the parameter, along the x-axis.
        out: the picture to write; its ending says how: .svg, .png or .pdf.
        of: measures, a panel each; where it is empty: accuracies (losses where there are none)
            and seconds.
        cells: names of cells, `*` and `?` in them as in a shell's; all where it is empty.

    Returns:
        Sentences about what is not in the picture.

    Raises:
        BadFile: a folder holds no training, or a file is corrupt.
        Unavailable: matplotlib is not installed.
        UsageError: the parameter does not vary, a measure is not known or nowhere told, the
            picture's ending is another, or there are more lines than can be told apart.
    """
    require_ending(out := Path(out))
    folders = list(folders)
    found = records_of(folders, cells)
    told = lines_of.varied(tuple(found.values()), against)
    panels = _panels(told.records, of)
    _require_few(told.lines)
    size, differs = (6.3, 1.2 + 2.5 * len(panels) + 0.1 * len(told.lines)), changes(folders)
    write_picture(out, lambda figure: _draw(figure, told, panels, differs), size)
    left = [f"Not in the picture: {listed(told.left_out)}."] if told.left_out else []
    return (*left, *missing(folders, found, cells))


def _require_few(lines: Sequence[Line]) -> None:
    if len(lines) > MOST_LINES:
        raise UsageError(
            f"{len(lines)} lines cannot be told apart in one picture; {MOST_LINES} can.",
            "Choose cells: --cell NAME,NAME, or with * for any letters.",
        )


def _panels(records: Sequence[TrainingRecord], of: Sequence[str]) -> list[_Panel]:
    """One for each measure asked for, in their order; else the outcome and the seconds."""
    known = {one: bool(values(records, one)) for one in MEASURES}
    for word in of:
        if word not in MEASURES:
            raise UsageError(f"'{word}' is no measure.", f"Measures: {', '.join(MEASURES)}.")
        if not known[word]:
            there = ", ".join(one for one in MEASURES if known[one])
            raise UsageError(f"No training here has a {word}.", f"They have: {there}.")
    if of:
        return [
            _panel((measure,), records) for word in of for measure in MEASURES if measure == word
        ]
    outcome = tuple(one for one in _ACCURACY if known[one]) or _LOSS
    return [_panel(one, records) for one in (outcome, _TIME) if known[one[0]]]


def _panel(measures: tuple[Measure, ...], records: Sequence[TrainingRecord]) -> _Panel:
    first = measures[0]
    name = first if len(measures) == 1 else first.split()[-1]
    if first.endswith("accuracy"):
        return _Panel(f"{name} (%)", 100, measures)
    if first.endswith("loss"):
        return _Panel(name, 1, measures)
    at_once = {record.device.get("at_once", "1") for record in records} - {"1"}
    many = f",\n{' or '.join(sorted(at_once))} at a time" if at_once else ""
    return _Panel(f"{'training (s)' if first == 'training s' else first}{many}", 1, measures)


def _draw(figure: Figure, told: Varied, panels: Sequence[_Panel], changed: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(grid, panels, strict=True):
        plain_axes(axes)
        axes.set_ylabel(panel.name)
        _along(axes, told)
        drawn = [
            _line(axes, told, number, panel, measure)
            for number in range(len(told.lines))
            for measure in panel.measures
        ]
        _limits(axes, panel, np.concatenate(drawn))
    grid[-1].set_xlabel(told.against)
    handles = [
        Line2D([], [], color=_look(at)[0], marker=_look(at)[1], linestyle=_style(told, at, 0),
               markersize=4, label=textwrap.fill(line.name, 60))
        for at, line in enumerate(told.lines) if len(told.lines) > 1
    ]  # fmt: skip
    measures = max((panel.measures for panel in panels), key=len)
    handles += [
        Line2D([], [], color="0.4", marker="o", markersize=4, label=measure,
               linestyle=_style(told, 0, at), markerfacecolor="white" if at else "0.4")
        for at, measure in enumerate(measures) if len(measures) > 1
    ]  # fmt: skip
    figure.suptitle(_title(told, changed), fontsize=9)
    if handles:
        columns = columns_of([str(one.get_label()) for one in handles])
        figure.legend(handles=handles, loc="outside lower center", fontsize=8, ncols=columns)


def _title(told: Varied, changed: Sequence[str]) -> str:
    """Studies and data sets, what was changed in them, and what the bars are."""
    records = told.records
    parts = [dict.fromkeys(one.study for one in records if one.study)]
    sets = (one.dataset + (f" ({one.subset})" if one.subset else "") for one in records)
    parts += [dict.fromkeys(sets)]
    title = " on ".join(", ".join(part) for part in parts if part)
    lines = [textwrap.fill(plain(line), _LETTERS) for line in (title, *changed)]
    if any(len(place) > 1 for line in told.lines for place in line.places.values()):
        lines.append("mean of the seeds; bars: lowest to highest")
    return "\n".join(lines)


def _look(at: int) -> tuple[str, str]:
    return LOOKS[at % len(LOOKS)]


def _style(told: Varied, at: int, measure: int) -> Any:
    """Words are joined by no line; the second measure of a panel is dotted."""
    if told.numbers is None:
        return "none"
    return ":" if measure else STYLES[at // len(LOOKS)]


def _along(axes: Axes, told: Varied) -> None:
    """The x-axis: words, numbers, or numbers that double."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    if told.numbers is None:
        axes.set_xticks(np.arange(len(told.along)), told.along)
        axes.set_xlim(-0.6, len(told.along) - 0.4)
        if sum(map(len, told.along)) > _LETTERS:
            axes.tick_params(axis="x", rotation=30)
        return
    if _doubles(told.numbers):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_locator(NullLocator())
    if len(told.along) <= _MOST_TICKS:
        axes.set_xticks(told.numbers, told.along)
    elif _doubles(told.numbers):
        axes.xaxis.set_major_formatter("{x:g}")
    elif all(number.is_integer() for number in told.numbers):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _doubles(numbers: Sequence[float]) -> bool:
    return (
        len(numbers) > 2
        and numbers[0] > 0
        and all(later >= _DOUBLES * one for one, later in pairwise(numbers))
    )


def _line(
    axes: Axes, told: Varied, number: int, panel: _Panel, measure: Measure
) -> NDArray[np.float64]:
    """Draw one line; its means."""
    line: Line = told.lines[number]
    spreads = [one or (np.nan,) * 3 for one in line.spreads(told.along, measure)]
    table: NDArray[np.float64] = np.array(spreads, dtype=np.float64).T * panel.scale
    means: NDArray[np.float64] = table[0]
    low, high = table[1], table[2]
    at = np.array(told.numbers or range(len(told.along)), dtype=np.float64)
    if told.numbers is None:  # beside each other
        at = at + (number - (len(told.lines) - 1) / 2) * 0.7 / len(told.lines)
    there = ~np.isnan(means)  # a value that this line lacks leaves no gap in it
    colour, mark = _look(number)
    second = panel.measures.index(measure)
    ends = np.vstack([means - low, high - means])[:, there]
    axes.errorbar(
        at[there], means[there], yerr=ends if ends.any() else None, color=colour, marker=mark,
        markersize=4 if len(at) <= _MOST_TICKS else 3, linewidth=1.2, capsize=2, elinewidth=1,
        linestyle=_style(told, number, second), markerfacecolor="white" if second else colour,
    )  # fmt: skip
    return means


def _limits(axes: Axes, panel: _Panel, means: NDArray[np.float64]) -> None:
    """Seconds from zero; losses and seconds over a wide range on a logarithmic axis."""
    positive = means[means > 0]
    if panel.scale != 1 or not positive.size:
        return
    if positive.max() > _WIDE * positive.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    elif panel.measures[0] in ("training s", "s per epoch"):
        axes.set_ylim(bottom=0)
