"""Timing the ops of one network in one process, by every method that the plan asks for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from nnprof.errors import BadFile, Unavailable
from nnprof.profiler import ports
from nnprof.profiler.graph import counts
from nnprof.profiler.ports import OpNode, Session
from nnprof.profiler.timing import sample
from nnprof.profiler.timing.lost import attempt
from nnprof.profiler.timing.reconcile import CALL
from nnprof.types import Lost, OpPass, OpTime, Plan

# Times the budget that differences may take. Slower networks do without them: their ops are long
# enough for the runtime's own profiler to be right.
_OVER_BUDGET = 20
# An op with less than this share of weights among its bytes does not notice that they are cold.
_WEIGHTS_MATTER = 0.1
_MOST_COPIES = 64
_MOST_ROTATED_BYTES = 64 << 20  # colder than after this much is no slower, and takes long to build
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def core_cache_bytes(facts: Mapping[str, Any], threads: int) -> int:
    """Of the largest caches that belong to one core each, together, from a device's facts.

    ("L2": "2048K".) Where it does not tell, that of a small processor. Threads divide the weights
    among them, so each needs room for its share only.
    """
    text = (facts.get("caches") or {}).get("L2", "")
    if text[:-1].isdecimal() and text[-1] in _UNITS:
        return int(text[:-1]) * _UNITS[text[-1]] * threads
    return (1 << 20) * threads


def all_passes(
    session: Session,
    plan: Plan,
    known: Mapping[str, float],
    call_s: float,
    latency_s: float,
    cache_bytes: int,
) -> Iterator[OpPass | Lost]:
    """The passes of this process, each as soon as it is done; where one fails, why.

    Args:
        session: open, its clean pass done.
        plan: which methods, and the budget of each.
        known: seconds of ops that were timed alone often enough, by `share_key`.
        call_s: what a call costs with no node to run.
        latency_s: of the whole network, from that pass.
        cache_bytes: of the core's own caches (`core_cache_bytes`).
    """
    yield attempt("runtime", lambda: session.op_times(plan.op_s))
    if plan.op_method == "runtime":
        return
    # A graph that cannot be cut (it makes sequences, say) still has the runtime's own times; every
    # table says that they are.
    nodes = attempt("isolated", session.graph, fine=(BadFile, Unavailable))
    if isinstance(nodes, Lost):
        yield nodes
    if isinstance(nodes, Lost) or not nodes:
        return
    yield OpPass(method="floor", latency_s=call_s, ops=(_call(len(nodes), call_s),))
    # A runtime that offers no parts says why among the session's facts.
    isolated = attempt(
        "isolated",
        partial(_isolated, session, plan, known, call_s, cache_bytes),
        fine=(Unavailable,),
    )
    if isolated is None:
        return
    yield isolated
    # Beginnings take half the network's time on average, and each runs twice a round.
    small = len(nodes) * latency_s * sample.LEAST_ROUNDS <= _OVER_BUDGET * plan.op_s
    if small and any(node.op not in counts.VIEWS for node in nodes):
        differential = attempt(
            "differential",
            partial(_differential, session, plan, nodes, call_s),
            fine=(Unavailable,),
        )
        if differential is not None:
            yield differential


def _call(index: int, call_s: float) -> OpTime:
    node = OpNode(node=CALL, op="call", kind="other", key=CALL)
    return ports.timed(node, index, call_s, "floor")


def share_key(op: OpTime) -> str:
    """The same for two ops alone that did the same work in the same state of the caches."""
    return f"{op.key}+{op.rotated_bytes}"


def rotated_bytes(node: OpNode, nodes: Sequence[OpNode], cache_bytes: int) -> int:
    """Weights to go through between two runs of an op, for them to be as cold as in the network.

    In the network an op finds its inputs where the op before has just left them, but its weights
    where one inference of everything else has left them. So where the network touches more than
    the core's caches hold, the weights rotate through about as much as it touches (the next power
    of two, so that networks can share the op); else they, too, are reused (0).
    """
    touched = sum(_bytes(one) for one in nodes)
    weights = node.bytes_weights or 0
    if touched <= cache_bytes or weights < _WEIGHTS_MATTER * _bytes(node):
        return 0
    wanted = min(2 ** math.ceil(math.log2(touched)), _MOST_ROTATED_BYTES)
    copies = min(_MOST_COPIES, math.ceil(wanted / weights))
    return copies * weights if copies > 1 else 0


def _bytes(node: OpNode) -> int:
    return (node.bytes_in or 0) + (node.bytes_out or 0) + (node.bytes_weights or 0)


def _isolated(
    session: Session, plan: Plan, known: Mapping[str, float], call_s: float, cache_bytes: int
) -> OpPass:
    """Each distinct op alone, less the call; of one that is known, what is known (0 runs).

    Ops that only give a tensor another shape are left out: alone they would have to copy it.
    """
    nodes = session.graph()
    asked = [
        replace(
            ports.timed(node, index, 0.0, "isolated", runs=0),
            rotated_bytes=rotated_bytes(node, nodes, cache_bytes),
        )
        for index, node in enumerate(nodes)
        if node.op not in counts.VIEWS
    ]
    copies = {
        op.key: max(1, (op.rotated_bytes or 0) // (op.bytes_weights or 1))
        for op in asked
        if share_key(op) not in known
    }
    seconds, spent_s = {}, 0.0
    for key, part in session.alone(copies):
        timed = sample.alone(part, plan.op_s / len(nodes))
        part.close()
        seconds[key] = max(0.0, (timed.each_s[0] - call_s) / copies[key])
        spent_s += timed.spent_s
    ops = tuple(
        replace(op, seconds=seconds[op.key], runs=1)
        if op.key in seconds
        else replace(op, seconds=known[share_key(op)])
        for op in asked
    )
    latency_s = call_s + sum(op.seconds for op in ops)
    return OpPass(method="isolated", latency_s=latency_s, ops=ops, timed_s=spent_s)


def _differential(session: Session, plan: Plan, nodes: Sequence[OpNode], call_s: float) -> OpPass:
    """The network up to each op less the network up to the one before, all open at once.

    A network that ended with an op that only gives a tensor another shape would have to copy it, so
    there is none: the op after it is the difference to the op before it.
    """
    kept, parts = [], []
    for index, part in enumerate(session.beginnings()):
        if nodes[index].op in counts.VIEWS:
            part.close()
        else:
            kept.append(index)
            parts.append(part)
    timed = sample.interleaved(parts, plan.op_s)
    for part in parts:
        part.close()
    upto_s = timed.each_s
    before_s = (call_s, *upto_s[:-1])
    ops = tuple(
        ports.timed(nodes[index], index, now - before, "differential")
        for index, now, before in zip(kept, upto_s, before_s, strict=True)
    )
    return OpPass(method="differential", latency_s=upto_s[-1], ops=ops, timed_s=timed.spent_s)
