"""Ops of two sides lined up on ONNX nodes."""

from __future__ import annotations

import random

import pytest

from nnprof.profiler.diff import lineup
from nnprof.profiler.diff.lineup import Lined, Side
from nnprof.types import Kind, OpTime


def _op(index: int, op: str = "Conv", kind: Kind = "conv") -> OpTime:
    return OpTime(
        index=index,
        node=f"op_{index}",
        op=op,
        kind=kind,
        inputs=(),
        outputs=(),
        origin=(),
        kernel="",
        seconds=1e-3,
        runs=1,
        method="runtime",
    )


def _side(*ops: str) -> Side:
    """Ops by the nodes in them, such as "a b"; "!Reorder" is one without nodes."""
    made, nodes = [], []
    for index, text in enumerate(ops):
        if text.startswith("!"):
            made.append(_op(index, text[1:], "memory"))
            nodes.append(())
        else:
            made.append(_op(index))
            nodes.append(tuple(text.split()))
    return Side(ops=made, nodes=nodes)


def _rows(a: Side, b: Side, every: str, light: str = "") -> list[Lined]:
    return lineup.rows(a, b, every.split(), set(light.split()))


def test_a_fused_op_makes_one_row_of_its_nodes() -> None:
    """Nodes fused on either side are one row, and the others stay apart."""
    rows = _rows(_side("a b", "c", "d e"), _side("a", "b", "c", "d", "e"), "a b c d e")
    assert [" ".join(row.nodes) for row in rows] == ["a b", "c", "d e"]
    assert [row.ops for row in rows] == [([0], [0, 1]), ([1], [2]), ([2], [3, 4])]


def test_overlaps_chain() -> None:
    """Ops that overlap through others are one row: a b of one side, b c of the other."""
    (row,) = _rows(_side("a b", "c"), _side("a", "b c"), "a b c")
    assert row.nodes == ["a", "b", "c"]
    assert row.ops == ([0, 1], [0, 1])


def test_reorders_hang_between_their_nodes() -> None:
    """A reorder of one side alone is a row where it ran, in the order of execution."""
    rows = _rows(_side("a", "!Reorder", "b"), _side("a", "b"), "a b")
    assert [row.kind for row in rows] == ["nodes", "moved", "nodes"]
    assert (rows[1].after, rows[1].before) == ("a", "b")
    assert rows[1].ops == ([1], [])


@pytest.mark.parametrize(
    ("a", "b", "count"),
    [
        (("a", "!Reorder", "b"), ("a", "!Reorder", "b"), 1),
        (("a", "!Reorder", "b"), ("a", "!Transpose", "b"), 2),
        (("a", "!Reorder", "b"), ("a", "b", "!Reorder"), 2),
        (("a", "!Reorder", "!Reorder", "b"), ("a", "!Reorder", "b"), 3),
    ],
)
def test_reorders_match_only_where_it_is_sure(
    a: tuple[str, ...], b: tuple[str, ...], count: int
) -> None:
    """Two reorders are one row where type and place agree and none of them could be another's."""
    rows = _rows(_side(*a), _side(*b), "a b")
    assert sum(row.kind == "moved" for row in rows) == count


def test_a_shared_conversion_joins_nothing() -> None:
    """Two ops that hold the same dequantise node stay two rows; the first has the node."""
    b = _side("q a", "q b")
    rows = _rows(_side("a", "b"), b, "q a b", light="q")
    assert [row.nodes for row in rows] == [["q", "a"], ["b"]]


def test_folded_nodes_come_last() -> None:
    """Nodes that no op names are one row, whose ops are none."""
    rows = _rows(_side("a"), _side("a"), "a gone away")
    assert rows[-1].kind == "folded"
    assert rows[-1].nodes == ["gone", "away"]


def _random_side(draw: random.Random, names: list[str], light: set[str]) -> Side:
    """The nodes fused in random runs, some folded, some copied, with reorders in between."""
    ops, nodes, left = [], [], list(names)
    while left:
        own, left = left[: (size := draw.randint(1, 4))], left[size:]
        own = [name for name in own if draw.random() > 0.1]
        if draw.random() < 0.2:
            own += draw.sample(names, 1)  # a node that another op has, too
        if own:
            conversion = all(name in light for name in own)
            word = ("QuantizeLinear", "elementwise") if conversion else ("Conv", "conv")
            ops.append(_op(len(ops), word[0], word[1]))  # type: ignore[arg-type]
            nodes.append(tuple(own))
        if draw.random() < 0.3:
            ops.append(_op(len(ops), draw.choice(("Reorder", "Transpose")), "memory"))
            nodes.append(())
    ops.append(_op(len(ops), "call", "other"))
    nodes.append(())
    return Side(ops=ops, nodes=nodes)


def _groups(sides: tuple[Side, Side], light: set[str]) -> set[frozenset[str]]:
    """The nodes of connected ops, by colouring again and again until nothing changes."""
    held = [set(own) - light for side in sides for own in side.nodes if set(own) - light]
    changed = True
    while changed:
        changed = False
        for one in held:
            for other in held:
                if one is not other and one & other and one != other:
                    one |= other
                    other |= one
                    changed = True
    return {frozenset(one) for one in held}


@pytest.mark.parametrize("seed", range(200))
def test_every_node_and_op_is_in_one_row(seed: int) -> None:
    """Of random networks and fusions: each node in one row, each op in one, and no row too wide."""
    draw = random.Random(seed)  # noqa: S311  not for secrets
    names = [f"n{index}" for index in range(draw.randint(1, 40))]
    light = {name for name in names if draw.random() < 0.25}
    sides = _random_side(draw, names, light), _random_side(draw, names, light)
    rows = lineup.rows(*sides, names, light)
    assert sorted(name for row in rows for name in row.nodes) == sorted(names)
    for number, side in enumerate(sides):
        ops = sorted(at for row in rows for at in row.ops[number])
        assert ops == list(range(len(side.ops)))
    solid = {frozenset(row.nodes) - light for row in rows if row.kind == "nodes"}
    assert solid == _groups(sides, light)
    for row in rows:  # a row runs in the order of a
        assert row.ops[0] == sorted(row.ops[0])
    firsts = [row.ops[0][0] for row in rows if row.ops[0] and row.kind != "call"]
    assert firsts == sorted(firsts)
