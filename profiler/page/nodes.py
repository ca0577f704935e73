"""View 9: two Runs, or two precisions of one, lined up on the ONNX nodes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from nnprof.profiler.diff.values import CellDiff, Diff, DiffRow
from nnprof.profiler.page.cells import Cell
from nnprof.profiler.page.values import Axis, Column, Figure, Number, Part, Series, Table
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.shown_diff import label, lines
from nnprof.text import plain

_MOST = 20  # bars of rows; the table has all
_BAR_PX, _EDGES_PX = 22, 80
_WORDS = {"SLOWER": "b is slower", "FASTER": "b is faster", "": "not told apart"}
_COLOURS = {"SLOWER": 7, "FASTER": 2, "": 6}
_SUMS = 10  # the colour of the bars that are no rows


def part(found: Diff | None, cell: Cell, sources: Sequence[str] = ()) -> Part | None:
    """The rows of the cell's network and batch; None where only one side has them.

    Args:
        found: two Runs, or two precisions of one.
        cell: of either side.
        sources: names of the Runs.
    """
    one = _of(found, cell)
    if found is None or one is None:
        return None
    told = _told(one)
    figure = Figure(
        told=told,
        x=Axis(title="Δ ms (b less a)", zero=True),
        y=Axis(title="", names=tuple(name for name, _ in _bars(one))),
        series=_series(one),
        table=_table(one),
        wide=True,
        tall=_EDGES_PX + _BAR_PX * len(_bars(one)),
    )
    notes = (_sides(one, sources), *lines(one), *found.notes)
    return Part(told=told, figures=(figure,), notes=tuple(map(plain, notes)))


def _of(found: Diff | None, cell: Cell) -> CellDiff | None:
    work = cell.one.workload
    return next(
        (
            one
            for one in (found.cells if found else ())
            if one.batch == work.batch and work.model.name in (one.a.network, one.b.network)
        ),
        None,
    )


def _sides(one: CellDiff, sources: Sequence[str]) -> str:
    told = []
    for number, (word, side) in enumerate((("a", one.a), ("b", one.b))):
        source = f"{sources[number]}, " if len(sources) == 2 else ""
        where = f"{source}{side.backend}, {side.device}, {side.precision}"
        told.append(f"{word}: {where}, {digits(side.latency_s * 1e3)} ms")
    return "; ".join(told) + "."


_Bar = tuple[str, DiffRow | None]


def _bars(one: CellDiff) -> list[_Bar]:
    """The largest rows by name, what the others add up to, what is left over, and the whole."""
    timed = [row for row in one.rows if row.delta_s is not None]
    names = _unlike([plain(label(row)) for row in timed[:_MOST]])
    bars: list[_Bar] = list(zip(names, timed, strict=False))
    if len(timed) > _MOST:
        bars.append((_others(one), None))
    return [*bars, ("left over", None), ("end to end", None)]


def _others(one: CellDiff) -> str:
    count = sum(row.delta_s is not None for row in one.rows) - _MOST
    return f"{count} smaller rows"


def _unlike(names: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    unlike = []
    for name in names:
        count = seen[name] = seen.get(name, 0) + 1
        unlike.append(name if count == 1 else f"{name} ({count})")
    return unlike


def _series(one: CellDiff) -> tuple[Series, ...]:
    bars = [(name, row) for name, row in _bars(one) if row is not None]
    series = []
    for verdict, word in _WORDS.items():
        own = [(name, row) for name, row in bars if row.verdict == verdict]
        if own:
            series.append(
                Series(
                    name=word,
                    x=tuple(_ms(row.delta_s) for _, row in own),
                    y=tuple(name for name, _ in own),
                    low=tuple(_ms(row.low_s) for _, row in own),
                    high=tuple(_ms(row.high_s) for _, row in own),
                    text=tuple(plain("; ".join((name, *row.reasons))) for name, row in own),
                    shape="bars",
                    colour=_COLOURS[verdict],
                )
            )
    return (*series, _sums(one))


def _sums(one: CellDiff) -> Series:
    """What is no row: the smaller rows, what is left over, and the whole."""
    smaller = [row.delta_s for row in one.rows if row.delta_s is not None][_MOST:]
    told: list[tuple[str, Number, Number, Number]] = []
    if smaller:
        told.append((_others(one), sum(smaller) * 1e3, None, None))
    told.append(("left over", one.left_over_s * 1e3, None, None))
    told.append(("end to end", one.delta_s * 1e3, _ms(one.low_s), _ms(one.high_s)))
    return Series(
        name="sums",
        x=tuple(delta for _, delta, _, _ in told),
        y=tuple(name for name, _, _, _ in told),
        low=tuple(low for _, _, low, _ in told),
        high=tuple(high for _, _, _, high in told),
        shape="bars",
        colour=_SUMS,
        plain=True,
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _told(one: CellDiff) -> str:
    whole = f"b takes {digits(abs(one.delta_s) * 1e3)} ms {'more' if one.delta_s > 0 else 'less'}"
    timed = [row for row in one.rows if row.delta_s]
    told = f"End to end {whole} than a; the rows add up to {one.rows_s * 1e3:+.4g} ms"
    if not timed:
        return f"{told}."
    most = max(timed, key=lambda row: abs(row.delta_s or 0.0))
    why = f" ({most.reasons[0]})" if most.reasons else ""
    return plain(f"{told}, the most by {label(most)}: {(most.delta_s or 0.0) * 1e3:+.4g} ms{why}.")


_COLUMNS = (
    Column(title="ONNX nodes", form="text"),
    Column(title="a ops", form="text"),
    Column(title="b ops", form="text"),
    Column(title="a ms"),
    Column(title="b ms"),
    Column(title="Δ ms"),
    Column(title="low"),
    Column(title="high"),
    Column(title="of Δ", form="percent", note="of the end-to-end difference"),
    Column(title="verdict", form="text"),
    Column(title="what differs", form="text"),
)


def _table(one: CellDiff) -> Table:
    rows = [
        (
            plain(label(row)),
            plain(" + ".join(op.op for op in row.a)),
            plain(" + ".join(op.op for op in row.b)),
            *map(_ms, (row.a_s, row.b_s, row.delta_s, row.low_s, row.high_s)),
            row.share,
            row.verdict,
            plain("; ".join(row.reasons)),
        )
        for row in one.rows
    ]
    whole = (
        ("sum of rows", one.rows_s, None, None),
        ("left over", one.left_over_s, None, None),
        ("end to end", one.delta_s, one.low_s, one.high_s),
    )
    for name, delta_s, low_s, high_s in whole:
        share = delta_s / one.delta_s if one.delta_s else None
        ends = map(_ms, (delta_s, low_s, high_s))
        rows.append((name, "", "", None, None, *ends, share, "", ""))
    return Table(
        caption=f"a and b by ONNX node, batch {one.batch}", columns=_COLUMNS, rows=tuple(rows)
    )
