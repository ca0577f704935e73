"""Views 4 and 5: the waterfall from the ops to the clean time, and the table of the ops. Pure."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

from nnprof.profiler import checks, stats
from nnprof.profiler.page.cells import Cell
from nnprof.profiler.page.values import Axis, Column, Figure, Number, Part, Series, Table
from nnprof.profiler.report import rows
from nnprof.profiler.report.digits import digits
from nnprof.profiler.timing.reconcile import CALL, DISAGREE
from nnprof.text import plain
from nnprof.types import OpTime

_MOST_BARS = 24  # of ops; what takes less is one bar more
KINDS = ("conv", "gemm", "pool", "elementwise", "softmax", "recurrent", "memory", "other")
_LOOSE = 0.5  # an interval as wide as this share of the time tells little


class Step(NamedTuple):
    """A bar of the waterfall: seconds from where the one before ended."""

    name: str
    seconds: float
    colour: int  # the place of its kind, behind them call, residual and whole
    kind: str


def waterfall(cell: Cell) -> Part | None:
    """View 4: each op, the call, and what is left over, up to the clean time; None without ops."""
    if cell.one.ops is None:
        return None
    found = steps(cell)
    whole_ms = sum(step.seconds for step in found) * 1e3
    clean = checks.is_clean(cell.one)
    last = "end to end" if clean else "all ops"
    told = _waterfall_told(cell, found, clean=clean)
    figure = Figure(
        told=told,
        x=Axis(title="", names=(*(step.name for step in found), last)),
        y=Axis(title="ms"),
        series=_bars(found, last, whole_ms),
        table=_steps_table(found, last, whole_ms),
    )
    return Part(told=told, figures=(figure,))


def steps(cell: Cell) -> list[Step]:
    """The ops in order, the short ones of many as one, the call, and the residual."""
    ops = cell.one.ops.ops if cell.one.ops else ()
    own = [op for op in ops if op.node != CALL]
    kept = {op.index for op in sorted(own, key=lambda op: -op.seconds)[:_MOST_BARS]}
    found = [
        Step(_name(op), op.seconds, KINDS.index(op.kind), op.kind) for op in own if op.index in kept
    ]
    rest = [op for op in own if op.index not in kept]
    if rest:
        seconds = sum(op.seconds for op in rest)
        found.append(Step(f"{len(rest)} shorter ops", seconds, KINDS.index("other"), "other"))
    if not checks.is_clean(cell.one):
        return _unlike(found)
    call_s = _call_s(cell, ops)
    if call_s is not None:
        found.append(Step("call", call_s, len(KINDS), "call"))
    left_s = stats.latency_s(cell.one) - sum(step.seconds for step in found)
    found.append(Step("residual", left_s, len(KINDS) + 1, "residual"))
    return _unlike(found)


def _call_s(cell: Cell, ops: tuple[OpTime, ...]) -> float | None:
    """What a call costs with nothing to do: among the ops, or as each process measured it."""
    told = [op.seconds for op in ops if op.node == CALL]
    if told:
        return sum(told)
    floors = [process.floor_s for process in cell.one.processes]
    return median(floors) if floors else None


def _name(op: OpTime) -> str:
    return plain(op.node if op.op == "unknown" or not op.op else f"{op.index} {op.op}")


def spoken(op: OpTime) -> str:
    """An op in a sentence: the runtime's name, and its type where that is another word."""
    return plain(op.node if op.op in (op.node, "", "unknown") else f"{op.node} ({op.op})")


def _unlike(found: list[Step]) -> list[Step]:
    """The same with names that no two share: an axis of names has a place for each."""
    seen: dict[str, int] = {}
    unlike = []
    for step in found:
        count = seen[step.name] = seen.get(step.name, 0) + 1
        unlike.append(step._replace(name=step.name if count == 1 else f"{step.name} ({count})"))
    return unlike


def _bars(found: list[Step], last: str, whole_ms: float) -> tuple[Series, ...]:
    """A series for each kind, so that the legend has one entry for each."""
    begin, placed = 0.0, []
    for step in found:
        placed.append((step, begin * 1e3))
        begin += step.seconds
    kinds = dict.fromkeys((step.kind, step.colour) for step in found)
    whole = Series(
        name="end to end",
        x=(last,),
        y=(whole_ms,),
        shape="bars",
        colour=len(KINDS) + 2,
        base=(0.0,),
        plain=True,
    )
    each = (
        Series(
            name=kind,
            x=tuple(step.name for step, _ in placed if step.kind == kind),
            y=tuple(step.seconds * 1e3 for step, _ in placed if step.kind == kind),
            base=tuple(begin for step, begin in placed if step.kind == kind),
            shape="bars",
            colour=colour,
            plain=colour >= len(KINDS),
        )
        for kind, colour in kinds
    )
    return (*each, whole)


def _waterfall_told(cell: Cell, found: list[Step], *, clean: bool) -> str:
    ops = [step for step in found if step.kind not in ("call", "residual")]
    longest = max(ops, key=lambda step: step.seconds)
    total_s = sum(step.seconds for step in ops)
    told = (
        f"{longest.name} takes {longest.seconds / total_s:.0%} of the ops' "
        f"{digits(total_s * 1e3)} ms"
    )
    if not clean:
        return f"{told}; no clean time was given."
    clean_s, left_s = stats.latency_s(cell.one), found[-1].seconds
    left = f"{digits(abs(left_s) * 1e3, 3)} ms ({abs(left_s) / clean_s:.1%})"
    clean_ms = f"the clean {digits(clean_s * 1e3)} ms"
    if left_s < 0:
        return f"{told}; ops and call add up to {left} more than {clean_ms}."
    return f"{told}; {left} of {clean_ms} is not explained."


def _steps_table(found: list[Step], last: str, whole_ms: float) -> Table:
    columns = (
        Column(title="step", form="text"),
        Column(title="ms"),
        Column(title="kind", form="text"),
    )
    body = [(step.name, step.seconds * 1e3, step.kind) for step in found]
    return Table(
        caption="Steps in order", columns=columns, rows=(*body, (last, whole_ms, "end to end"))
    )


_COLUMNS = (
    Column(title="#", note="order of execution"),
    Column(title="node", form="text", note="the runtime's name"),
    Column(title="op", form="text"),
    Column(title="ms"),
    Column(title="±", note="half of the 95 % interval, ms"),
    Column(title="share", form="percent", note="of the sum of the ops"),
    Column(title="of limit", form="percent", note="share of the device's limit that it reaches"),
    Column(title="bound by", form="text"),
    Column(title="MFLOP"),
    Column(title="kB in", note="read of values"),
    Column(title="kB out", note="written"),
    Column(title="kB weights", note="read of constants"),
    Column(title="kB live", note="weights and tensors needed while it runs, from shapes"),
    Column(title="made of", form="text", note="the ONNX nodes that it was made from"),
    Column(title="doubt", form="text"),
)


def table(cell: Cell) -> Part | None:
    """View 5: all ops with what they cost and what bounds them; None without ops."""
    if cell.one.ops is None:
        return None
    ops = cell.one.ops.ops
    found = Table(
        caption=f"Ops of {cell.name}",
        columns=_COLUMNS,
        rows=tuple(_row(op, rows.against(op, rows.roof(cell.run)), _total_s(ops)) for op in ops),
    )
    longest = max(ops, key=lambda op: op.seconds)
    told = (
        f"{len(ops)} ops, timed by method {cell.one.ops.method}; the longest is {spoken(longest)} "
        f"with {digits(longest.seconds * 1e3, 3)} ms."
    )
    return Part(told=told, tables=(_without_empty(found),), notes=_notes(cell))


def _total_s(ops: tuple[OpTime, ...]) -> float:
    return sum(op.seconds for op in ops)


def _row(
    op: OpTime, limit: dict[str, float | str | None], total_s: float
) -> tuple[str | Number, ...]:
    half = None if op.low_s is None or op.high_s is None else (op.high_s - op.low_s) / 2
    return (
        op.index,
        plain(op.node),
        plain(op.op),
        op.seconds * 1e3,
        None if half is None else half * 1e3,
        op.seconds / total_s if total_s else None,
        limit["of_limit"],
        limit["bound"],
        _over(op.flops, 1e6),
        _over(op.bytes_in, 1e3),
        _over(op.bytes_out, 1e3),
        _over(op.bytes_weights, 1e3),
        _over(op.live_bytes, 1e3),
        plain(", ".join(op.origin)) or ("" if op.node == CALL else "not told"),
        _doubt(op, half),
    )


def _over(count: int | None, unit: float) -> float | None:
    return None if count is None else count / unit


def _doubt(op: OpTime, half_s: float | None) -> str:
    """Why its time is less certain than it looks; empty where nothing speaks against it."""
    if op.disagreement is not None and op.disagreement > DISAGREE:
        return "methods disagree"
    if half_s is not None and half_s > _LOOSE * abs(op.seconds):
        return "too short to tell"
    return ""


def _notes(cell: Cell) -> tuple[str, ...]:
    ops = cell.one.ops.ops if cell.one.ops else ()
    notes = []
    if rows.roof(cell.run) is None:
        notes.append("No limits of the device are in this Run: nnprof devices --measure.")
    if all(op.low_s is None for op in ops):
        notes.append("No intervals: the ops were timed in one way only (--ops runtime).")
    return tuple(notes)


def _without_empty(found: Table) -> Table:
    """The same without columns in which nothing is known of any op."""
    kept = [
        place
        for place in range(len(found.columns))
        if any(row[place] not in (None, "") for row in found.rows)
    ]
    return Table(
        caption=found.caption,
        columns=tuple(found.columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in found.rows),
    )
