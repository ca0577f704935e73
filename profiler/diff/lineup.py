"""Ops of two sides → the finest rows in which no ONNX node stands twice. Pure.

Ops whose ONNX nodes overlap are joined: connected components of the graph between ops and nodes. So
an op that is fused on either side makes one row of all its nodes. Nodes that only quantise,
dequantise or cast join nothing: a runtime copies them for each reader, and rows would grow together
over them. They stand in a row of their own where they ran as an op, else with the first op that
names them.

An op without ONNX nodes (a reorder, a copy, the call) is a row of its own, between the rows of the
nodes before and after it. Two of them, one of each side, are one row only where they are of the
same type and nothing else of their kind runs between the same two rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain

import msgspec

from nnprof.profiler.diff.values import CONVERSIONS, RowKind
from nnprof.types import OpTime

CALL = "call"  # the op that is no op (`nnprof.profiler.timing.reconcile`)


class Lined(msgspec.Struct, kw_only=True):
    """A row before it has numbers: ops by position in their side's order, and names of nodes.

    Attributes:
        after, before: the first and last nodes around it, for a row without nodes.
    """

    kind: RowKind
    ops: tuple[list[int], list[int]]
    nodes: list[str]
    after: str = ""
    before: str = ""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One side: its ops in order, and the ONNX nodes in each of them."""

    ops: Sequence[OpTime]
    nodes: Sequence[Sequence[str]]

    def kind(self, at: int, light: set[str]) -> RowKind:
        """The kind of row that an op makes, or joins."""
        op, nodes = self.ops[at], self.nodes[at]
        if any(node not in light for node in nodes):
            return "nodes"
        if op.op == CALL and not nodes:
            return "call"
        if nodes and (op.kind != "memory" or op.op in CONVERSIONS):
            return "conversion"
        if op.kind == "memory" or op.op in CONVERSIONS:
            return "moved"
        return "unnamed"


def rows(a: Side, b: Side, every: Sequence[str], light: set[str]) -> list[Lined]:
    """All rows in order of execution, that of the folded nodes last.

    Args:
        a: one side.
        b: the other.
        every: the names of all nodes of both models, in order.
        light: those that only convert.
    """
    sides = (a, b)
    found = [*_joined(sides, light, "nodes"), *_joined(sides, light, "conversion")]
    of_op = {(side, at): row for row in found for side in (0, 1) for at in row.ops[side]}
    loose = _loose(sides, of_op, light)
    for row in loose:
        of_op.update({(side, at): row for side in (0, 1) for at in row.ops[side]})
    order = {name: at for at, name in enumerate(every)}
    for row in found:
        row.nodes.sort(key=order.__getitem__)
    _place(loose, sides, of_op)
    _hold_conversions(sides, of_op, found)
    for row in found:
        row.nodes.sort(key=order.__getitem__)
    held = {name for row in found for name in row.nodes}
    folded = [name for name in every if name not in held]
    last = [Lined(kind="folded", ops=([], []), nodes=folded)] if folded else []
    return [*_in_order(sides, of_op), *last]


def _joined(sides: tuple[Side, Side], light: set[str], kind: RowKind) -> list[Lined]:
    """Rows of the ops of this kind of both sides whose nodes overlap."""
    row_of: dict[str, Lined] = {}
    result: dict[int, Lined] = {}
    for number, side in enumerate(sides):
        for at in range(len(side.ops)):
            if side.kind(at, light) != kind:
                continue
            own = [name for name in side.nodes[at] if kind == "conversion" or name not in light]
            row = Lined(kind=kind, ops=([], []), nodes=[])
            row.ops[number].append(at)
            for other in {
                id(row_of[name]): row_of[name] for name in own if name in row_of
            }.values():
                for ops, theirs in zip(row.ops, other.ops, strict=True):
                    ops += theirs
                row.nodes += other.nodes
                del result[id(other)]
            row.nodes += [name for name in dict.fromkeys(own) if name not in row.nodes]
            row_of.update(dict.fromkeys(row.nodes, row))
            result[id(row)] = row
    for row in result.values():
        for ops in row.ops:
            ops.sort()
    return list(result.values())


_OpRows = Mapping[tuple[int, int], Lined]


def _hold_conversions(sides: tuple[Side, Side], of_op: _OpRows, found: Sequence[Lined]) -> None:
    """Put each conversion inside an op into the row of the first op that names it."""
    held = {name for row in found for name in row.nodes}
    for number, side in enumerate(sides):
        for at, nodes in enumerate(side.nodes):
            row = of_op[number, at]
            if row.kind not in ("nodes", "conversion"):
                continue  # a copy that names a conversion: the conversion is not what ran
            new = [name for name in dict.fromkeys(nodes) if name not in held]
            row.nodes += new
            held.update(new)


def _loose(sides: tuple[Side, Side], of_op: _OpRows, light: set[str]) -> list[Lined]:
    """Rows of ops without nodes; of both sides where that is sure."""
    gaps: dict[object, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    kinds: dict[tuple[int, int], RowKind] = {}
    for number, side in enumerate(sides):
        around = _around(number, side, of_op)
        for at in range(len(side.ops)):
            if (number, at) not in of_op:
                kinds[number, at] = kind = side.kind(at, light)
                gap = kind if kind == "call" else tuple(map(id, around[at]))
                gaps[gap][number].append(at)
    result = []
    for a, b in gaps.values():
        types = [[side.ops[at].op for at in own] for side, own in zip(sides, (a, b), strict=True)]
        if types[0] == types[1]:
            result += [
                Lined(kind=kinds[0, one], ops=([one], [other]), nodes=[])
                for one, other in zip(a, b, strict=True)
            ]
        else:
            result += [Lined(kind=kinds[0, at], ops=([at], []), nodes=[]) for at in a]
            result += [Lined(kind=kinds[1, at], ops=([], [at]), nodes=[]) for at in b]
    return result


def _around(number: int, side: Side, of_op: _OpRows) -> list[tuple[Lined | None, Lined | None]]:
    """For each op the nearest rows of nodes before and after it."""
    rows_ = [of_op.get((number, at)) for at in range(len(side.ops))]
    solid = [row if row and row.kind == "nodes" else None for row in rows_]
    before: list[Lined | None] = []
    after: list[Lined | None] = []
    last: Lined | None = None
    for row in solid:
        before.append(last)
        last = row or last
    last = None
    for row in reversed(solid):
        after.append(last)
        last = row or last
    return list(zip(before, reversed(after), strict=True))


def _place(loose: Sequence[Lined], sides: tuple[Side, Side], of_op: _OpRows) -> None:
    """Say for each row without nodes between which nodes it runs."""
    around = [_around(number, side, of_op) for number, side in enumerate(sides)]
    for row in loose:
        if row.kind == "call":
            continue
        number = 0 if row.ops[0] else 1
        before, after = around[number][row.ops[number][0]]
        row.after = before.nodes[-1] if before else ""
        row.before = after.nodes[0] if after else ""


def _in_order(sides: tuple[Side, Side], of_op: _OpRows) -> list[Lined]:
    """The rows in the order of a; those that only b has behind what runs before them in b."""
    order: list[Lined] = []
    for at in range(len(sides[0].ops)):
        row = of_op[0, at]
        if all(row is not one for one in order):
            order.append(row)
    place = -1
    for at in range(len(sides[1].ops)):
        row = of_op[1, at]
        known = next((index for index, one in enumerate(order) if one is row), None)
        if known is None:
            place += 1
            order.insert(place, row)
        elif row.kind != "call":
            place = max(place, known)
    return [*(one for one in order if one.kind != "call"), *_calls(order)]


def _calls(order: Sequence[Lined]) -> list[Lined]:
    return [one for one in order if one.kind == "call"]


def names_of(side: Side) -> list[str]:
    """The names of all nodes that a side's ops name, in order of execution."""
    return list(dict.fromkeys(chain.from_iterable(side.nodes)))
