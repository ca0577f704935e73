"""View 10: accuracy against latency, and the cells that no other beats in both. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from nnprof.profiler.page.cells import Cell
from nnprof.profiler.page.values import Axis, Column, Figure, Mark, Number, Part, Series, Table
from nnprof.profiler.report.digits import digits

_Z = 1.959964  # 97.5 % quantile of the normal distribution


class Rated(NamedTuple):
    """A cell with the share of tiles that its model gets right.

    Attributes:
        number: of the cell on the page, None where it has no place there.
        name: of it.
        ms: per tile.
        right: the share; `low` and `high` the ends of its interval, or of its seeds.
        batch: at which it is timed.
    """

    number: int | None
    name: str
    ms: float
    right: float
    low: Number
    high: Number
    batch: int


def rated(cells: Sequence[Cell]) -> list[Rated]:
    """Of each series with a known accuracy the cell with the most tiles/ms."""
    found: dict[str, Rated] = {}
    for number, cell in enumerate(cells):
        known = _known(cell)
        if known is None or not cell.tiles_ms:
            continue
        right, tiles = known
        low, high = wilson(right, tiles)
        one = Rated(number, cell.name, 1 / cell.tiles_ms, right, low, high, cell.batch)
        if cell.series not in found or one.ms < found[cell.series].ms:
            found[cell.series] = one
    return list(found.values())


def _known(cell: Cell) -> tuple[float, int] | None:
    sha256 = cell.one.workload.model.sha256
    for one in cell.run.accuracies:
        if one.sha256 == sha256 and one.top1 is not None:
            return one.top1, one.tiles
    return None


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` tiles (Wilson 1927)."""
    if not count:
        return 0.0, 1.0
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    spread = math.sqrt(share * (1 - share) / count + (_Z / (2 * count)) ** 2)
    reach = _Z * spread / (1 + _Z**2 / count)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def front(points: Sequence[Rated]) -> list[Rated]:
    """Those that no other beats in both, the fastest first."""
    found: list[Rated] = []
    for one in sorted(points, key=lambda point: (point.ms, -point.right)):
        if not found or one.right > found[-1].right:
            found.append(one)
    return found


def part(points: Sequence[Rated], deadline_s: float = 0.0) -> Part | None:
    """Each point with the interval of its accuracy, and the front; None without points."""
    if not points:
        return None
    best = front(points)
    told = _told(points, best)
    one_batch = len({point.batch for point in points}) == 1
    scale = points[0].batch if one_batch else 1
    marks: tuple[Mark, ...] = ()
    if one_batch and deadline_s:
        marks = (Mark(axis="x", at=deadline_s * 1e3, label="budget"),)
    figure = Figure(
        told=told,
        x=Axis(
            title=f"ms per inference of {scale} tiles"
            if one_batch
            else "ms per tile, at the batch that is fastest",
            log=max(p.ms for p in points) > 8 * min(p.ms for p in points),
        ),
        y=Axis(title="share of tiles that is right"),
        series=(_series(points, scale), _line(best, scale)),
        marks=marks,
        table=_table(points, best),
        wide=True,
    )
    return Part(told=told, figures=(figure,))


def _series(points: Sequence[Rated], scale: int) -> Series:
    return Series(
        name="cells",
        x=tuple(point.ms * scale for point in points),
        y=tuple(point.right for point in points),
        low=tuple(point.low for point in points),
        high=tuple(point.high for point in points),
        text=tuple(point.name for point in points),
        cells=tuple(point.number for point in points),
        shape="points",
    )


def _line(best: Sequence[Rated], scale: int) -> Series:
    return Series(
        name="front: nothing is faster and more accurate",
        x=tuple(point.ms * scale for point in best),
        y=tuple(point.right for point in best),
        colour=1,
        dashed=True,
    )


def _told(points: Sequence[Rated], best: Sequence[Rated]) -> str:
    fastest, surest = best[0], best[-1]
    told = f"{fastest.name} is the fastest of {len(points)}, and {fastest.right:.2%} right"
    if fastest is surest:
        return f"{told}: none of the others is more accurate."
    return (
        f"{told}; {surest.name} is the most accurate, {surest.right:.2%}, and takes "
        f"{digits(surest.ms / fastest.ms, 3)} times as long."
    )


def _table(points: Sequence[Rated], best: Sequence[Rated]) -> Table:
    columns = (
        Column(title="what", form="text"),
        Column(title="batch"),
        Column(title="ms per tile"),
        Column(title="right", form="percent"),
        Column(title="low", form="percent"),
        Column(title="high", form="percent"),
        Column(title="front", form="text"),
    )
    rows = tuple(
        (
            *(point.name, point.batch, point.ms, point.right, point.low, point.high),
            "front" if point in best else "",
        )
        for point in points
    )
    return Table(caption="Accuracy and latency", columns=columns, rows=rows)
