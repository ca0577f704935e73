"""View 12: latency after pauses. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from nnprof.profiler import stats
from nnprof.profiler.page.cells import Cell
from nnprof.profiler.page.values import Axis, Column, Figure, Part, Series, Table
from nnprof.profiler.report.digits import digits
from nnprof.types import IdlePass


def idle(cells: Sequence[Cell]) -> Part | None:
    """Latency of single inferences against the pause before each; None where none was asked."""
    asked = [(number, cell) for number, cell in enumerate(cells) if _passes(cell)]
    if not asked:
        return None
    rows = [row for number, cell in asked for row in _rows(number, cell)]
    told = _idle_told([cell for _, cell in asked])
    figure = Figure(
        told=told,
        x=Axis(title="pause before each inference, ms", names=_pauses(cell for _, cell in asked)),
        y=Axis(title="ms per inference", zero=True),
        series=tuple(_line(number, cell, at) for at, (number, cell) in enumerate(asked)),
        table=Table(
            caption="Latency after pauses",
            columns=(
                Column(title="cell", form="cell"),
                Column(title="pause ms"),
                Column(title="ms"),
                Column(title="low"),
                Column(title="high"),
                Column(title="of the clean latency", note="how many times as long"),
            ),
            rows=tuple(rows),
        ),
        wide=True,
    )
    return Part(told=told, figures=(figure,))


def _pauses(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Side by side: 0 and 100 ms are of no one scale."""
    every = {one.gap_s for cell in cells for one in _passes(cell)}
    return tuple(digits(gap_s * 1e3, 3) for gap_s in sorted(every))


def _passes(cell: Cell) -> list[IdlePass]:
    return [one for one in cell.one.idle if any(one.samples_s)]


def _medians_ms(one: IdlePass) -> list[float]:
    return [median(samples) * 1e3 for samples in one.samples_s if samples]


def _ends(one: IdlePass) -> tuple[float, float] | tuple[None, None]:
    values = _medians_ms(one)
    return (stats.interval(values) if min(values) > 0 else None) or (None, None)


def _line(number: int, cell: Cell, colour: int) -> Series:
    own = sorted(_passes(cell), key=lambda one: one.gap_s)
    ends = [_ends(one) for one in own]
    return Series(
        name=cell.name,
        x=tuple(digits(one.gap_s * 1e3, 3) for one in own),
        y=tuple(median(_medians_ms(one)) for one in own),
        low=tuple(low for low, _ in ends),
        high=tuple(high for _, high in ends),
        text=tuple(f"{cell.name}, after {digits(one.gap_s * 1e3, 3)} ms" for one in own),
        cells=(number,) * len(own),
        colour=colour,
    )


def _rows(number: int, cell: Cell) -> list[tuple[float | None, ...]]:
    return [
        (
            number,
            one.gap_s * 1e3,
            median(_medians_ms(one)),
            *_ends(one),
            median(_medians_ms(one)) / cell.ms,
        )
        for one in _passes(cell)
    ]


def _idle_told(cells: Sequence[Cell]) -> str:
    times = [
        (median(_medians_ms(one)) / cell.ms, one.gap_s, cell)
        for cell in cells
        for one in _passes(cell)
    ]
    most, gap_s, cell = max(times, key=lambda one: one[0])
    return (
        f"After {digits(gap_s * 1e3, 3)} ms of pause {cell.name} takes {most:.3g} times its clean "
        f"latency of {digits(cell.ms)} ms."
    )
