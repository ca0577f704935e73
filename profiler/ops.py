"""Timing the ops of one network in one process, by every method that the plan asks for."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nnprof.errors import NnprofError, Unavailable
from nnprof.profiler import measure, ports
from nnprof.profiler.measure import Timed
from nnprof.profiler.ports import OpNode, Session
from nnprof.profiler.reconcile import CALL
from nnprof.types import OpPass, OpTime, Plan

# Times the budget that differences may take. Slower networks do without them: their ops are long
# enough for the runtime's own profiler to be right.
_OVER_BUDGET = 20


def all_passes(
    session: Session,
    plan: Plan,
    known: Collection[str],
    call_s: float,
    latency_s: float,
    threads: int,
) -> tuple[OpPass, ...]:
    """The passes of this process.

    Args:
        session: open, its clean pass done.
        latency_s: of the whole network, from that pass.
        threads: of the runtime.
        plan: which methods, and the budget of each.
        known: keys of ops that were timed alone often enough.
        call_s: what a call costs with no node to run.
    """
    runtime = session.op_times(plan.op_s)
    if plan.op_method == "runtime":
        return (runtime,)
    try:
        nodes = session.graph()
    except NnprofError:
        # A graph that cannot be cut (it makes sequences, say) still has the runtime's own times;
        # every table says that they are.
        return (runtime,)
    floor = OpPass(method="floor", latency_s=call_s, ops=(_call(len(nodes), call_s),))
    passes = [runtime, floor]
    try:
        passes.append(_isolated(session, plan, known, nodes, call_s))
        # Beginnings take half the network's time on average, and each runs twice a round.
        if len(nodes) * latency_s * measure.LEAST_ROUNDS <= _OVER_BUDGET * plan.op_s:
            passes.append(_differential(session, plan, nodes, call_s, threads))
    except Unavailable:
        # A runtime that offers no parts says why among the session's facts.
        return tuple(passes)
    return tuple(passes)


def _call(index: int, call_s: float) -> OpTime:
    node = OpNode(node=CALL, op="call", kind="other", key=CALL)
    return ports.timed(node, index, call_s, "floor")


def _isolated(
    session: Session, plan: Plan, known: Collection[str], nodes: Sequence[OpNode], call_s: float
) -> OpPass:
    """Each op alone, less the call. Ops that are known are left out."""
    seconds, spent_s = {}, 0.0
    for key, part in session.alone(known):
        timed = measure.alone(part, plan.op_s / len(nodes))
        part.close()
        seconds[key] = max(0.0, timed.each_s[0] - call_s)
        spent_s += timed.spent_s
    ops = tuple(
        ports.timed(node, index, seconds[node.key], "isolated")
        for index, node in enumerate(nodes)
        if node.key in seconds
    )
    latency_s = call_s + sum(op.seconds for op in ops)
    return OpPass(method="isolated", latency_s=latency_s, ops=ops, timed_s=spent_s)


def _upto(session: Session, plan: Plan, count: int, threads: int) -> Timed:
    """The time of every beginning.

    With one thread all are open and sampled in turns. With more, each in its own time: the idle
    threads of open sessions spin, and take the processors from the one that is timed.
    """
    if threads == 1:
        parts = list(session.beginnings())
        timed = measure.interleaved(parts, plan.op_s)
        for part in parts:
            part.close()
        return timed
    each = []
    for part in session.beginnings():
        each.append(measure.alone(part, plan.op_s / count))
        part.close()
    return Timed(tuple(one.each_s[0] for one in each), sum(one.spent_s for one in each))


def _differential(
    session: Session, plan: Plan, nodes: Sequence[OpNode], call_s: float, threads: int
) -> OpPass:
    """The network up to each op less the network up to the one before."""
    timed = _upto(session, plan, len(nodes), threads)
    upto_s = timed.each_s
    before_s = (call_s, *upto_s[:-1])
    ops = tuple(
        ports.timed(node, index, now - before, "differential")
        for index, (node, now, before) in enumerate(zip(nodes, upto_s, before_s, strict=True))
    )
    return OpPass(method="differential", latency_s=upto_s[-1], ops=ops, timed_s=timed.spent_s)
