"""The times of a cell's ops on the nodes of its ONNX file: no time twice, none unknown as zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nnprof.profiler.place.limits import Roofline
from nnprof.types import Measurement, OpTime


class NodeTime(NamedTuple):
    """What ran for one ONNX node, and for those that were fused into the same op.

    Attributes:
        node: its name; of several that were fused, the first.
        fused: the other nodes whose work is in the same op, in the order of the file.
        ops: what ran, in order.
        seconds: of all of them, per inference; None where a difference of two times came out at or
            below 0, which tells no time.
        share: of the sum of all ops; None without a time.
        of_limit: which share of the best possible speed they reach; None where that is unknown.
        bound: what limits the longest of them: compute, memory or launch; "" where unknown.
    """

    node: str
    fused: tuple[str, ...]
    ops: tuple[OpTime, ...]
    seconds: float | None
    share: float | None
    of_limit: float | None
    bound: str


def on_nodes(measurement: Measurement, roof: Roofline | None) -> tuple[NodeTime, ...]:
    """One entry for each node that ops were made from, in the order of execution."""
    ops = measurement.ops.ops if measurement.ops else ()
    total_s = sum(op.seconds for op in ops)
    found: dict[str, list[OpTime]] = {}
    for op in ops:
        if origin := named(op):
            found.setdefault(origin[0], []).append(op)
    return tuple(_node_time(node, some, total_s, roof) for node, some in found.items())


def named(op: OpTime) -> tuple[str, ...]:
    """The ONNX nodes of an op; those without a name are not known by one."""
    return tuple(name for name in op.origin if name)


def placeless(measurement: Measurement) -> tuple[OpTime, ...]:
    """Ops that are made from no node, such as a reorder that the runtime put in."""
    return tuple(op for op in (measurement.ops.ops if measurement.ops else ()) if not named(op))


def placeless_words(measurement: Measurement) -> tuple[str, ...]:
    """A sentence about them, () where there is none."""
    ops = placeless(measurement)
    if not ops:
        return ()
    seconds = sum(op.seconds for op in ops)
    what = "1 op is" if len(ops) == 1 else f"{len(ops)} ops are"
    return (f"{what} of no named node of the file, {seconds * 1e3:.4g} ms in all.",)


def _node_time(node: str, ops: Sequence[OpTime], total_s: float, roof: Roofline | None) -> NodeTime:
    told_s = sum(op.seconds for op in ops)
    seconds = told_s if told_s > 0 else None
    limits = [roof.limit(op) if roof else None for op in ops]
    least_s = [limit[0] for limit in limits if limit]
    longest = max(range(len(ops)), key=lambda index: ops[index].seconds)
    binds = limits[longest]
    return NodeTime(
        node=node,
        fused=tuple(dict.fromkeys(name for op in ops for name in named(op) if name != node)),
        ops=tuple(ops),
        seconds=seconds,
        share=seconds / total_s if seconds and total_s > 0 else None,
        of_limit=sum(least_s) / seconds if seconds and len(least_s) == len(ops) else None,
        bound=binds[1] if binds else "",
    )
