"""Views 7 and 8: the samples over time and their distribution. Pure.

Time runs from the beginning of the clean pass of each process; its warm-up stands before that.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from statistics import median

from nnprof.profiler import stats
from nnprof.profiler.page.cells import Cell
from nnprof.profiler.page.values import Axis, Column, Figure, Mark, Number, Part, Series, Table
from nnprof.profiler.report.digits import digits
from nnprof.types import Process, Reading

_MOST = 200  # samples of a process in a figure; more are thinned, and that is said
_LEAST = 20
_ALL = 40_000  # samples of all processes of a page: each takes some 20 bytes of it
_STEPS, _FEWEST_STEPS = 300, 50  # of a distribution
_READ: dict[str, tuple[str, Callable[[Reading], Number]]] = {
    "clock": ("GHz", lambda one: one.clock_hz and one.clock_hz / 1e9),
    "temperature": ("°C", lambda one: one.temperature_c),
    "power": ("W", lambda one: one.power_w),
    "throttle events": ("events", lambda one: one.throttles),
}


def most_samples(cells: Sequence[Cell]) -> int:
    """How many samples of each process are drawn, so that the page stays small."""
    processes = sum(len(cell.one.samples_s) for cell in cells)
    return max(_LEAST, min(_MOST, _ALL // max(1, processes)))


def progression(cell: Cell, most: int = _MOST) -> Part | None:
    """View 7: each sample when it was taken; None where another tool measured.

    Args:
        cell: of the page.
        most: samples of a process that are drawn.
    """
    one = cell.one
    if not one.processes:
        return None
    told = _progression_told(cell)
    of = " of all streams together" if _are_streams(cell) else ""
    series = [series for at in range(len(one.processes)) for series in _process(cell, at, most)]
    figure = Figure(
        told=told,
        x=Axis(title="s since the clean pass of its process began"),
        y=Axis(title=f"ms per inference{of}"),
        series=tuple(series),
        table=_processes(cell),
        wide=True,
    )
    readings, unseen = _readings(one.processes)
    notes = [*_thinned(cell, most), *unseen]
    return Part(told=told, figures=(figure, *readings), notes=tuple(notes))


def _process(cell: Cell, at: int, most: int) -> list[Series]:
    """A process's warm-up, hollow, and its samples."""
    one = cell.one
    samples, warmups = one.samples_s[at], one.warmups_s[at]
    shade = at / max(1, len(one.processes) - 1)
    name = f"process {at + 1}"
    loops = one.processes[at].loops
    ends = list(accumulate(value * loops for value in samples))
    kept = _kept(len(samples), most)
    found = [
        Series(
            name=name,
            x=tuple(ends[place] for place in kept),
            y=tuple(samples[place] * 1e3 for place in kept),
            shape="points",
            shade=shade,
        )
    ]
    if warmups and not _are_streams(cell):  # whose warm-up is of one stream
        # How many inferences a sample of the warm-up had is not kept: they stand side by side.
        each_s, early = ends[-1] / len(samples), _kept(len(warmups), most)
        found.append(
            Series(
                name=f"{name}: warm-up",
                x=tuple((place - len(warmups)) * each_s for place in early),
                y=tuple(warmups[place] * 1e3 for place in early),
                shape="points",
                hollow=True,
                shade=shade,
                plain=True,
            )
        )
    return found


def _are_streams(cell: Cell) -> bool:
    return cell.one.plan.streams_s > 0


def _kept(count: int, most: int) -> list[int]:
    """Places of the samples that are drawn, evenly spread."""
    if count <= most:
        return list(range(count))
    return [round(step * (count - 1) / (most - 1)) for step in range(most)]


def _thinned(cell: Cell, most: int) -> list[str]:
    longest = max(map(len, (*cell.one.samples_s, *cell.one.warmups_s)))
    if longest <= most:
        return []
    return [f"Of each process at most {most} samples are drawn, evenly spread."]


def _progression_told(cell: Cell) -> str:
    medians = [value * 1e3 for value in stats.process_medians_s(cell.one)]
    first = [warm[0] * 1e3 for warm in cell.one.warmups_s if warm]
    told = f"Medians of the {len(medians)} processes"
    if len(medians) == 1:
        told = f"The median of the one process is {digits(medians[0])} ms"
    else:
        told += f" go from {digits(min(medians))} to {digits(max(medians))} ms"
    if _are_streams(cell):
        return f"{told}, of all streams together."
    if not first:
        return f"{told}."
    times = median(first) / median(medians)
    return f"{told}; the first inference of a process took {times:.3g} times as long."


def _processes(cell: Cell) -> Table:
    columns = (
        Column(title="process", form="text"),
        Column(title="state", form="text"),
        Column(title="samples"),
        Column(title="inferences each"),
        Column(title="median ms"),
        Column(title="least ms"),
        Column(title="most ms"),
        Column(title="first ms", note="the first inference, cold"),
    )
    rows = tuple(
        (
            f"{at + 1}",
            process.state,
            len(samples),
            process.loops,
            median(samples) * 1e3,
            min(samples) * 1e3,
            max(samples) * 1e3,
            warmups[0] * 1e3 if warmups and not _are_streams(cell) else None,
        )
        for at, (process, samples, warmups) in enumerate(
            zip(cell.one.processes, cell.one.samples_s, cell.one.warmups_s, strict=True)
        )
    )
    return Table(caption="Processes", columns=columns, rows=rows)


def _readings(processes: Sequence[Process]) -> tuple[list[Figure], list[str]]:
    """A figure for each thing that the device tells over time, and why it tells no others."""
    figures, unseen = [], []
    for name, (unit, of) in _READ.items():
        series = []
        for at, process in enumerate(processes):
            told = [(one.at_s, of(one)) for one in process.during if one.at_s is not None]
            known = [(at_s, value) for at_s, value in told if value is not None]
            if len(known) > 1:
                shade = at / max(1, len(processes) - 1)
                x, y = zip(*known, strict=True)
                series.append(Series(name=f"process {at + 1}", x=x, y=y, shade=shade, plain=True))
        if series:
            figures.append(_reading(name, unit, series))
        else:
            unseen.append(f"No {name} over time: {_why(processes, name)}.")
    return figures, unseen


def _reading(name: str, unit: str, series: list[Series]) -> Figure:
    values = [value for one in series for value in one.y if isinstance(value, int | float)]
    told = f"The {name} is {digits(min(values))} to {digits(max(values))} {unit} meanwhile."
    columns = (
        Column(title="process", form="text"),
        Column(title="least " + unit),
        Column(title="most " + unit),
    )
    body = []
    for one in series:
        own = [value for value in one.y if isinstance(value, int | float)]
        body.append((one.name, min(own), max(own)))
    return Figure(
        told=told,
        x=Axis(title="s since the clean pass of its process began"),
        y=Axis(title=f"{name}, {unit}"),
        series=tuple(series),
        table=Table(caption=f"{name} by process", columns=columns, rows=tuple(body)),
        wide=True,
        tall=160,
    )


_FIELDS = {
    "clock": "clock_hz",
    "temperature": "temperature_c",
    "power": "power_w",
    "throttle events": "throttles",
}


def _why(processes: Sequence[Process], name: str) -> str:
    told = processes[0].before.unknown.get(_FIELDS[name])
    if told:
        return told
    asked = any(process.during for process in processes)
    return "the Run does not say why" if asked else "it was not read (--telemetry)"


def distribution(cell: Cell, deadline_s: float = 0.0, steps: int = _STEPS) -> Part:
    """View 8: which share of the latencies is at most so long, in so many steps."""
    values, what = latencies(cell)
    ordered = sorted(values)
    count = len(ordered)
    middle = median(ordered) * 1e3
    p99_s = stats.percentile_s(cell.one, 0.99)
    marks = [Mark(axis="x", at=middle, label="p50")]
    if p99_s is not None:
        marks.append(Mark(axis="x", at=p99_s * 1e3, label="p99"))
    if deadline_s:
        marks.append(Mark(axis="x", at=deadline_s * 1e3, label="budget"))
    told = _spread_told(ordered, what, deadline_s)
    places = _places(count, steps)
    figure = Figure(
        told=told,
        x=Axis(title="ms per inference", log=True),
        y=Axis(title="share that is at most so long", ends=(0.0, 1.02)),
        series=(
            Series(
                name=what,
                x=tuple(ordered[place] * 1e3 for place in places),
                y=tuple((place + 1) / count for place in places),
                shape="steps",
            ),
        ),
        marks=tuple(marks),
        table=_quantiles(ordered),
        wide=True,
    )
    return Part(told=told, figures=(figure,))


def latencies(cell: Cell) -> tuple[list[float], str]:
    """Seconds of the single inferences where there are any, else of the samples; and which."""
    one = cell.one
    singles = [value for p in one.processes if p.singles for value in p.singles.latencies_s]
    if singles:
        return singles, "single inferences"
    streams = [value for p in one.processes for own in p.streams for value in own.samples_s]
    if streams:
        return streams, "single inferences of all streams"
    samples = [value for own in stats.undisturbed_s(one) for value in own]
    most = max((process.loops for process in one.processes), default=1)
    what = "samples of one inference"
    if most > 1:
        what = f"samples, each the mean of up to {most} inferences"
    if one.plan.sustained_s:
        what += ", before the work without a rest"
    return samples, what


def most_steps(cells: Sequence[Cell]) -> int:
    """How many steps each distribution has, so that the page stays small."""
    return max(_FEWEST_STEPS, min(_STEPS, _ALL // 4 // len(cells)))


def _places(count: int, steps: int) -> list[int]:
    if count <= steps:
        return list(range(count))
    # Both ends densely, since tails are what one looks at.
    shares = [(1 - math.cos(math.pi * step / (steps - 1))) / 2 for step in range(steps)]
    return sorted({round(share * (count - 1)) for share in shares})


def _spread_told(ordered: Sequence[float], what: str, deadline_s: float) -> str:
    count = len(ordered)
    low, high = ordered[math.ceil(0.05 * count) - 1], ordered[math.ceil(0.95 * count) - 1]
    told = (
        f"Of {count} {what}, nine tenths take {digits(low * 1e3)} to {digits(high * 1e3)} ms, and "
        f"the slowest {digits(ordered[-1] * 1e3)} ms"
    )
    if not deadline_s:
        return f"{told}."
    late = count - bisect_right(ordered, deadline_s)
    return f"{told}; {late} ({late / count:.2%}) take longer than the budget."


def _quantiles(ordered: Sequence[float]) -> Table:
    count = len(ordered)
    shares = [0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999]
    told = [
        (share, ordered[math.ceil(share * count) - 1] * 1e3)
        for share in shares
        if min(share, 1 - share) * count >= 5
    ]
    columns = (Column(title="share", form="percent"), Column(title="at most ms"))
    rows = ((1 / count, ordered[0] * 1e3), *told, (1.0, ordered[-1] * 1e3))
    return Table(caption="Quantiles, from the least to the most", columns=columns, rows=rows)
