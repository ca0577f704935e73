"""Timing the ops of one network in one process, by every method that the plan asks for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import msgspec
from msgspec.structs import replace

from nnprof.errors import BadFile, Unavailable
from nnprof.profiler import ports, waits
from nnprof.profiler.graph import counts
from nnprof.profiler.ports import OpNode, Session
from nnprof.profiler.timing import sample
from nnprof.profiler.timing.lost import attempt
from nnprof.profiler.timing.reconcile import CALL
from nnprof.types import Lost, OpPass, OpTime, Plan

# The differential pass may take up to 20 × plan.op_s. Slower networks do without it: their ops are
# long enough for the runtime's own profiler to be right.
_OVER_BUDGET = 20
# An op with less than this share of weights among its bytes does not notice that they are cold.
_WEIGHTS_MATTER = 0.1
_MOST_COPIES = 64
_MOST_ROTATED_BYTES = 64 << 20  # colder than after this much is no slower, and takes long to build


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What the ops of a network run in.

    Attributes:
        call_s: seconds of a call with no node to run.
        latency_s: seconds of the whole network, from the clean pass.
        cache_bytes: of the cores' own caches (`Place.core_cache_bytes`).
    """

    call_s: float
    latency_s: float
    cache_bytes: int


def all_passes(
    session: Session, plan: Plan, known: Mapping[str, float], setting: Setting
) -> Iterator[OpPass | Lost]:
    """The passes of this process, each as soon as it is done; where one fails, why.

    Args:
        session: open, its clean pass done.
        plan: which methods, and the budget of each.
        known: seconds of ops that were timed alone often enough, by `share_key`.
        setting: what the ops run in.
    """
    yield attempt("runtime", lambda: session.op_times(plan.op_s))
    if plan.op_method == "runtime":
        return
    # A graph that cannot be cut (it makes sequences, say) still has the runtime's own times; every
    # table says that they are.
    nodes = attempt("isolated", session.graph, fine=(BadFile, Unavailable))
    if isinstance(nodes, Lost):
        yield nodes
    elif nodes:
        yield from _cut(session, plan, nodes, known, setting)


def _cut(
    session: Session,
    plan: Plan,
    nodes: Sequence[OpNode],
    known: Mapping[str, float],
    setting: Setting,
) -> Iterator[OpPass | Lost]:
    """The passes over parts of the network; none but the call's where the runtime offers no parts.

    Such a runtime says why among the session's facts.
    """
    call_s = setting.call_s
    yield OpPass(method="floor", latency_s=call_s, ops=(_call(len(nodes), call_s),))
    isolated = attempt(
        "isolated", partial(_isolated, session, plan, known, setting), fine=(Unavailable,)
    )
    if isolated is None:
        return
    yield isolated
    # Beginnings take half the network's time on average, and each runs twice a round.
    needed_s = len(nodes) * setting.latency_s * sample.LEAST_ROUNDS
    if needed_s > _OVER_BUDGET * plan.op_s or all(node.op in counts.VIEWS for node in nodes):
        return
    differential = attempt(
        "differential", partial(_differential, session, plan, nodes, call_s), fine=(Unavailable,)
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


def _isolated(session: Session, plan: Plan, known: Mapping[str, float], setting: Setting) -> OpPass:
    """Each distinct op alone, less the call; of one that is known, what is known (0 runs).

    Ops that only give a tensor another shape are left out: alone they would have to copy it.
    """
    nodes = session.graph()
    asked = [
        replace(
            ports.timed(node, index, 0.0, "isolated", runs=0),
            rotated_bytes=rotated_bytes(node, nodes, setting.cache_bytes),
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
        undisturbed = waits.Undisturbed(part, session.clock)
        timed = sample.alone(undisturbed, plan.op_s / len(nodes))
        part.close()
        seconds[key] = max(0.0, (timed.each_s[0] - setting.call_s) / copies[key])
        spent_s += timed.spent_s
    ops = tuple(
        replace(op, seconds=seconds[op.key], runs=1)
        if op.key in seconds
        else replace(op, seconds=known[share_key(op)])
        for op in asked
    )
    latency_s = setting.call_s + sum(op.seconds for op in ops)
    return OpPass(method="isolated", latency_s=latency_s, ops=ops, timed_s=spent_s)


def _differential(session: Session, plan: Plan, nodes: Sequence[OpNode], call_s: float) -> OpPass:
    """The network up to each op less the network up to the one before, all open at once.

    A network that ended with an op that only gives a tensor another shape would have to copy it, so
    there is none: the op after it is the difference to the op before it.
    """
    kept: list[int] = []
    parts: list[waits.Undisturbed] = []
    for index, part in enumerate(session.beginnings()):
        if nodes[index].op in counts.VIEWS:
            part.close()
        else:
            kept.append(index)
            parts.append(waits.Undisturbed(part, session.clock))
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
