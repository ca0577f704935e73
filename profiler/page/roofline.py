"""View 6: what each op does for a byte and in a second, under the measured limits. Pure."""

from __future__ import annotations

from typing import NamedTuple

from nnprof.profiler.page.cells import Cell
from nnprof.profiler.page.ops import KINDS, spoken
from nnprof.profiler.page.values import Axis, Column, Figure, Part, Series, Table
from nnprof.profiler.place.limits import Roofline, precision_of
from nnprof.profiler.report import rows
from nnprof.profiler.report.digits import digits
from nnprof.types import OpTime

_POINTS = 24  # of a ceiling, whose slope bends into the peak


class _Dot(NamedTuple):
    """An op, its FLOPs for each byte that it moves, and its GFLOP/s."""

    op: OpTime
    intensity: float
    rate: float


def part(cell: Cell) -> Part | None:
    """The roofline of a cell; None without limits, or where no op's work was counted."""
    known, one = rows.roof(cell.run), cell.one.ops
    dots = [dot for op in (one.ops if one else ()) if (dot := _dot(op)) is not None]
    if known is None or not dots:
        return None
    told = _told(dots, known)
    longest_s = max(op.seconds for op, _, _ in dots)
    kinds = dict.fromkeys(op.kind for op, _, _ in dots)
    figure = Figure(
        told=told,
        x=Axis(title="FLOP per byte moved", log=True),
        y=Axis(title="GFLOP/s", log=True),
        series=(
            *(_of_kind(kind, dots, longest_s) for kind in kinds),
            *_ceilings(known, dots),
        ),
        table=_table(dots, known),
        wide=True,
    )
    notes = ("The area of a point is its share of the time. The ceilings were measured here.",)
    return Part(told=told, figures=(figure,), notes=notes)


def _dot(op: OpTime) -> _Dot | None:
    """Where an op stands; None where its work was not counted, or is nothing."""
    if not op.flops or op.bytes_in is None or op.bytes_out is None or op.seconds <= 0:
        return None
    moved = op.bytes_in + op.bytes_out + (op.bytes_weights or 0)
    return _Dot(op, op.flops / moved, op.flops / op.seconds / 1e9) if moved else None


def _of_kind(kind: str, dots: list[_Dot], longest_s: float) -> Series:
    own = [dot for dot in dots if dot[0].kind == kind]
    return Series(
        name=kind,
        x=tuple(dot[1] for dot in own),
        y=tuple(dot[2] for dot in own),
        text=tuple(f"{spoken(dot[0])}: {digits(dot[0].seconds * 1e3, 3)} ms" for dot in own),
        sizes=tuple(dot[0].seconds / longest_s for dot in own),
        shape="points",
        colour=KINDS.index(own[0][0].kind),
    )


def _ceilings(known: Roofline, dots: list[_Dot]) -> list[Series]:
    """The slowest and the fastest stream that were measured, up to the peak of each precision."""
    used = sorted({precision_of(op) for op, _, _ in dots})
    peaks = [(name, known.peak(name)) for name in used]
    by_rate = sorted(known.bandwidths, key=lambda one: one[1])
    rates = dict.fromkeys((by_rate[-1], by_rate[0]))
    low, high = min(dot[1] for dot in dots) / 4, max(dot[1] for dot in dots) * 4
    steps = [low * (high / low) ** (step / (_POINTS - 1)) for step in range(_POINTS)]
    series = []
    for number, (precision, peak) in enumerate(peaks):
        for moved, rate in rates:
            if peak is None:
                continue
            name = f"{digits(rate / 1e9, 3)} GB/s, {precision} {digits(peak / 1e9, 3)} GFLOP/s"
            series.append(
                Series(
                    name=name,
                    text=(f"{name} ({_size(moved)})",) * _POINTS,
                    x=tuple(steps),
                    y=tuple(min(rate * step, peak) / 1e9 for step in steps),
                    colour=6 + number,
                    dashed=rate == by_rate[0][1],
                    marked=False,
                )
            )
    return series


def _size(moved: int) -> str:
    return f"streams of {digits(moved / 1e6, 2)} MB"


def _told(dots: list[_Dot], known: Roofline) -> str:
    op, intensity, rate = max(dots, key=lambda dot: dot[0].seconds)
    limit = rows.against(op, known)
    told = (
        f"The longest counted op, {spoken(op)}, does {digits(intensity, 3)} FLOP for each byte and "
        f"{digits(rate, 3)} GFLOP/s"
    )
    if limit["bound"]:
        return f"{told}: {limit['of_limit']:.0%} of what its {limit['bound']} limit allows."
    return f"{told}; no limit is known for it."


def _table(dots: list[_Dot], known: Roofline) -> Table:
    columns = (
        Column(title="op", form="text"),
        Column(title="FLOP/byte"),
        Column(title="GFLOP/s"),
        Column(title="ms"),
        Column(title="of limit", form="percent"),
        Column(title="bound by", form="text"),
    )
    body = []
    for op, intensity, rate in dots:
        limit = rows.against(op, known)
        body.append(
            (spoken(op), intensity, rate, op.seconds * 1e3, limit["of_limit"], limit["bound"])
        )
    return Table(caption="Counted ops", columns=columns, rows=tuple(body))
