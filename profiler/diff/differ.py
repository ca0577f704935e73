"""Two Runs → where one network spends its time differently, by ONNX node."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

from msgspec.structs import replace

from nnprof.errors import UsageError
from nnprof.profiler import checks, twins
from nnprof.profiler.conditions import conditions
from nnprof.profiler.diff import lineup, matched, nodes, numbers, reasons
from nnprof.profiler.diff.lineup import Lined, Side
from nnprof.profiler.diff.nodes import Nodes
from nnprof.profiler.diff.reasons import Beside, Seen
from nnprof.profiler.diff.values import CellDiff, Diff, DiffNode, DiffRow, DiffSide, Fate
from nnprof.types import Measurement, OpTime, Run


def diff(
    a: Run,
    b: Run | None = None,
    *,
    batches: Collection[int] = (),
    precisions: tuple[str, str] | None = None,
) -> Diff:
    """How much longer each ONNX node takes in b than in a, and what differs there.

    Every ONNX node of both models stands in one row. The files of the models are read where they
    are still there, with the content that was measured; without them, nodes that no op names are
    not known.

    Args:
        a: a Run.
        b: another one of the same network; without it, the two precisions of a.
        batches: only cells of these; all if empty.
        precisions: that of a and that of b, where a Run has several.

    Raises:
        UsageError: the Runs have no cell in common, are of two networks, or a side has no op times.
    """
    other = _second(a, precisions) if b is None else b
    found, paired = matched.cells(a, other, batches, precisions)
    cells: list[CellDiff] = []
    why: list[UsageError] = []
    files = nodes.Files()
    for pair in found:
        told = _cell_or_why(a, other, pair, files, paired=paired)
        if isinstance(told, CellDiff):
            cells.append(told)
        else:
            why.append(told)
    if not cells:
        raise why[0]
    return Diff(cells=tuple(cells), notes=tuple(f"Left out: {error.reason}" for error in why))


def _second(run: Run, precisions: tuple[str, str] | None) -> Run:
    """The Run itself, if it holds two precisions.

    Raises:
        UsageError: it does not, so there is nothing to hold against it.
    """
    known = list(dict.fromkeys(one.workload.precision for one in run.measurements))
    if precisions is None and len(known) != 2:
        held = f"{len(known)} precisions" if len(known) > 1 else "one precision"
        raise UsageError(
            f"The Run holds {held}, and alone there is nothing to line it up with.",
            "Give a second Run; or say two of its precisions, such as --precision fp32,int8.",
        )
    return run


def _cell_or_why(
    run_a: Run, run_b: Run, pair: matched.Pair, files: nodes.Files, *, paired: bool
) -> CellDiff | UsageError:
    """A cell, or why it cannot be told: others may."""
    try:
        _require_ops(pair)
        measured = files.both(*(one.workload.model for one in pair))
        return _cell((run_a, run_b), pair, measured, paired=paired)
    except UsageError as error:
        return error


def _require_ops(pair: matched.Pair) -> None:
    """Refuse a side without op times.

    Raises:
        UsageError: there is one.
    """
    for name, one in zip("ab", pair, strict=True):
        if one.ops is None or not one.ops.ops:
            raise UsageError(
                f"Side {name} has no op times ({one.workload.model.name}, batch "
                f"{one.workload.batch}).",
                "Measure it with its ops: without --ops none.",
            )


def _cell(
    runs: tuple[Run, Run], pair: matched.Pair, files: tuple[Nodes, Nodes], *, paired: bool
) -> CellDiff:
    a, b = pair
    sides = _sides((a, b), files)
    types = _types(files)
    every = list(dict.fromkeys((*types, *lineup.names_of(sides[0]), *lineup.names_of(sides[1]))))
    light = {name for name in every if nodes.is_conversion(name, types)}
    _require_common(sides, light)
    lined = lineup.rows(sides[0], sides[1], every, light)
    fates = _Fates(sides, files, types)
    whole = numbers.end_to_end(a, b, paired=paired)
    rows = [_numbered(at, row, sides, (a, b), fates) for at, row in enumerate(lined)]
    rows = [_shared(row, whole.delta.seconds) for row in _explained(rows, (a, b))]
    rows_s = sum(row.delta_s or 0.0 for row in rows)
    told = [
        _side(one, span, file, sum(getattr(row, f"{name}_s") or 0.0 for row in _with_delta(rows)))
        for name, one, span, file in zip("ab", (a, b), (whole.a, whole.b), files, strict=True)
    ]
    return CellDiff(
        network=a.workload.model.name,
        batch=a.workload.batch,
        a=told[0],
        b=told[1],
        rows=tuple(sorted(rows, key=_by_size)),
        delta_s=whole.delta.seconds,
        low_s=whole.delta.low,
        high_s=whole.delta.high,
        interval_from=whole.interval_from,
        rows_s=rows_s,
        left_over_s=whole.delta.seconds - rows_s,
        left_over_reasons=reasons.of_left_over(told, rows),
        unlike=_unlike(*runs, a, b),
        notes=_notes((a, b), files),
    )


def _sides(measured: Sequence[Measurement], files: Sequence[Nodes]) -> tuple[Side, Side]:
    """Ops with the ONNX nodes in them, by names that both models use."""
    sides = []
    for at, one in enumerate(measured):
        own, other = files[at], files[1 - at]
        ops = one.ops.ops if one.ops else ()
        names = nodes.named(ops, own, other)
        # Only b's names change, so that a node has one name.
        if at:
            names = tuple(
                tuple(nodes.original(name, own.types.get(name, ""), other.types) for name in each)
                for each in names
            )
        sides.append(Side(ops=ops, nodes=names))
    return sides[0], sides[1]


def _types(files: Sequence[Nodes]) -> dict[str, str]:
    """All nodes of both models by the names that both use → ONNX type; those of a count first."""
    a, b = files
    theirs = {nodes.original(name, op, a.types): op for name, op in b.types.items()}
    return {**_merged(list(a.types), list(theirs), theirs), **a.types}


def _merged(a: list[str], b: list[str], types: Mapping[str, str]) -> dict[str, str]:
    """The names of both in one order: those that only b has stand behind what is before them."""
    order, known = list(a), set(a)
    place = 0
    for name in b:
        if name in known:
            place = order.index(name) + 1
        else:
            order.insert(place, name)
            place += 1
    return {name: types.get(name, "") for name in order}


def _require_common(sides: tuple[Side, Side], light: set[str]) -> None:
    """Refuse two sides that name no ONNX node in common.

    Raises:
        UsageError: they do not.
    """
    named = [set(lineup.names_of(side)) - light for side in sides]
    for name, own in zip("ab", named, strict=True):
        if not own:
            raise UsageError(
                f"No op of side {name} names an ONNX node.",
                "Of an imported profile: import it again with --onnx FILE.onnx. TensorRT names "
                "them with --profilingVerbosity=detailed.",
            )
    if not named[0] & named[1]:
        one, other = (min(own) for own in named)
        raise UsageError(
            f"The sides have no ONNX node in common: a has '{one}', and b '{other}'. These are two "
            "networks, or two exports of one with other names.",
            "Measure both from one ONNX file, or from files that were converted from one.",
        )


class _Fates:
    """What became of a node on each side."""

    def __init__(
        self, sides: tuple[Side, Side], files: Sequence[Nodes], types: Mapping[str, str]
    ) -> None:
        self._types = types
        self._named = [set(lineup.names_of(side)) for side in sides]
        self._has = [set(file.types) for file in files]
        if files[1].types:
            self._has[1] = {
                nodes.original(name, op, files[0].types) for name, op in files[1].types.items()
            }
        self._read = [not file.why for file in files]

    def node(self, name: str, inside: Sequence[set[str]]) -> DiffNode:
        """A node; `inside`: the names that the ops of its row have, by side."""
        a, b = (self._fate(name, side, inside[side]) for side in (0, 1))
        op, converts = self._types.get(name, ""), nodes.is_conversion(name, self._types)
        return DiffNode(name=name, op=op, converts=converts, a=a, b=b)

    def _fate(self, name: str, side: int, inside: set[str]) -> Fate:
        if name in inside:
            return "ran"
        if name in self._named[side]:
            return "within"
        if not self._read[side]:
            return "unknown"
        return "folded" if name in self._has[side] else "absent"


def _numbered(
    place: int,
    row: Lined,
    sides: tuple[Side, Side],
    cells: tuple[Measurement, Measurement],
    fates: _Fates,
) -> DiffRow:
    """A row with times, and the difference where both are known."""
    ops = [tuple(side.ops[at] for at in own) for side, own in zip(sides, row.ops, strict=True)]
    inside = [
        set(chain.from_iterable(side.nodes[at] for at in own))
        for side, own in zip(sides, row.ops, strict=True)
    ]
    found = DiffRow(
        place=place,
        kind=row.kind,
        nodes=tuple(fates.node(name, inside) for name in row.nodes),
        after=row.after,
        before=row.before,
        a=ops[0],
        b=ops[1],
    )
    spans = [numbers.of_ops(own, cell) for own, cell in zip(ops, cells, strict=True)]
    # Who does not time the call has it in what is left over; nothing else is missing unseen.
    known = [bool(own) or row.kind not in ("call", "folded") for own in ops]
    delta = numbers.less(spans[1], spans[0])
    sure = all(known)
    verdict = ""
    if sure and delta.low is not None and delta.high is not None:
        verdict = "SLOWER" if delta.low > 0 else "FASTER" if delta.high < 0 else ""
    return replace(
        found,
        a_s=spans[0].seconds if known[0] else None,
        b_s=spans[1].seconds if known[1] else None,
        delta_s=delta.seconds if sure else None,
        low_s=delta.low if sure else None,
        high_s=delta.high if sure else None,
        verdict=verdict,
    )


def _explained(rows: Sequence[DiffRow], sides: Sequence[Measurement]) -> list[DiffRow]:
    """The rows, in order of execution, with reasons."""
    precisions = sides[0].workload.precision, sides[1].workload.precision
    whole = any(reasons.in_whole_numbers(op) for row in rows for op in row.b)
    result = []
    for at, row in enumerate(rows):
        if row.kind == "folded":
            told: tuple[str, ...] = ("folded away",)
        elif row.kind == "call":
            told = ()
        elif row.a and row.b:
            seen = Seen(row.kind, row.a, row.b, row.nodes, precisions, whole, _beside(rows, at))
            told = reasons.of_row(seen)
        else:
            ops = row.b or row.a
            told = (reasons.one_sided(row.kind, _op_of(row, ops), added=bool(row.b)),)
            if any("folded" in (node.a, node.b) for node in row.nodes):
                told = (f"folded away in {'a' if row.b else 'b'}",)
        result.append(replace(row, reasons=told))
    return result


def _op_of(row: DiffRow, ops: Sequence[OpTime]) -> str:
    """The ONNX type of a row of one side: of its only node, else of its op."""
    return row.nodes[0].op if row.kind == "conversion" and row.nodes[0].op else ops[0].op


def _beside(rows: Sequence[DiffRow], at: int) -> Beside:
    """The types of the conversions and copies right before and behind a row that b has alone."""

    def words(steps: Sequence[DiffRow]) -> tuple[str, ...]:
        found: list[str] = []
        for row in steps:
            added = row.kind in ("conversion", "moved") and not row.a
            if row.b and not added:
                break
            found += [_op_of(row, row.b)] if added else []
        return tuple(found)

    return Beside(words(rows[:at][::-1]), words(rows[at + 1 :]))


def _with_delta(rows: Sequence[DiffRow]) -> list[DiffRow]:
    return [row for row in rows if row.delta_s is not None]


def _shared(row: DiffRow, whole_s: float) -> DiffRow:
    if row.delta_s is None or not whole_s:
        return row
    return replace(row, share=row.delta_s / whole_s)


def _by_size(row: DiffRow) -> tuple[bool, float, int]:
    return row.delta_s is None, -abs(row.delta_s or 0.0), row.place


def _side(one: Measurement, span: numbers.Span, file: Nodes, in_rows_s: float) -> DiffSide:
    work, ops = one.workload, one.ops
    return DiffSide(
        network=work.model.name,
        backend=one.target.backend,
        device=one.target.where,
        precision=work.precision,
        latency_s=span.seconds,
        low_s=span.low,
        high_s=span.high,
        ops_s=sum(op.seconds for op in ops.ops) if ops else 0.0,
        residual_s=span.seconds - in_rows_s,
        method=ops.method if ops else "",
        file=file.why,
    )


def _unlike(
    run_a: Run, run_b: Run, a: Measurement, b: Measurement
) -> tuple[tuple[str, str, str], ...]:
    was, now = conditions(run_a, [a]), conditions(run_b, [b])
    return tuple((name, was[name], now[name]) for name in was if was[name] != now[name])


def _notes(sides: Sequence[Measurement], files: Sequence[Nodes]) -> tuple[str, ...]:
    found = []
    for name, one, file in zip("ab", sides, files, strict=True):
        if file.why:
            found.append(f"Nodes of {name} that no op names are not known: {file.why}.")
        if not checks.is_clean(one):
            found.append(
                f"Side {name} has no clean time: its end-to-end time is what was imported."
            )
        if told := twins.said([one]):
            found.append(
                f"The boards of side {name} differ: {told}. Intervals hold each of them, if its "
                "ops differ by no more than the network."
            )
    return tuple(found)
