"""One estimate per op from what several methods say, with its interval; and what remains.

Three methods see the same op, each with an error of its own:

* runtime: whole microseconds and, on every node, a cost of the profiler itself of about two, which
  is taken off where ops that were timed alone show how much it is; good for ops of milliseconds.
  A pass that saw its own cost, and took it off, says in each op's interval what that may be wrong
  by (`backends/watched`): that is believed instead of the two;
* isolated: exact for an op that finds its data where it found them in the network; its weights are
  made cold where the network would have let them go cold, its inputs and outputs are always warm.
  What a call costs is taken off, so it is doubted by as much as that differs between processes;
* differential: the network up to the op less the network up to the one before; true to layout, but
  a difference of two long times is uncertain by their noise, and the beginning of a network that
  overflows a core's cache may fit into it: its weights are warmer, and the op with which they begin
  to leave pays for all of them.

The estimate is their mean weighted by 1/error² (the minimum-variance mean), where the error is the
spread over processes and the method's own doubt, below, together. A relative doubt rel_m becomes
seconds by doubt_m = rel_m · (median of the methods' times), the same time for all methods: with
rel_m · (the method's own time) the method with the smallest time would weigh most.

Where the methods are farther apart than their errors allow, the errors are too small: the interval
is widened by the Birge ratio √(χ²/(n-1)), if that is above 1 (Birge 1932, Phys. Rev. 40, 207; the
scale factor of the Particle Data Group). Beyond `DISAGREE` one of the methods is wrong, and nothing
tells which: the interval then holds what each of them says, and a check tells.

A difference that noise made negative counts as 0 s, with an error of at least its size.

Nothing is scaled to fit: the sum of the estimates may differ from the clean time, and the residual
says by how much. The clean time serves in one way: a pass whose whole network took x % more or less
than the clean time is doubted by x % (the profiler's pass only if its ops do not add up to the
clean time either).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median, stdev
from typing import NamedTuple

from msgspec.structs import replace

from nnprof.profiler.graph import counts
from nnprof.types import OpPass, OpTime

# Doubts of a method: relative to the op's time, and absolute in seconds.
_RUNTIME = (0.02, 2e-6)  # its unit is 1 µs, and 2 µs is what it reads for any small node
_RUNTIME_LESS_COST_S = 1e-6  # the absolute doubt where the profiler's cost is known and taken off
_SMALL_S = 10e-6  # ops that take less alone tell the profiler's cost
_ISOLATED = (0.10, 1e-7)
_FLOOR_S = 1e-9  # measured on its own, thousands of calls
# In a network that overflows a core's own cache, weights are cold when their turn comes again.
# Where they were warmer, or colder, than there, their share in an op's bytes adds to the doubt.
_COLD_WEIGHTS = 0.5
_CORE_CACHE_BYTES = 1 << 20  # typical: 256 KiB to 2 MiB
_STAY, _LEAVE = 0.75, 2.0  # times the cache that an inference touches until all stay, or all leave
_DIFFERENTIAL = (0.01, 1e-7)
_WHOLE = ("runtime", "differential")  # methods whose passes run the whole network, too
_PREFIX_NOISE = 0.004  # of each of the two times that a difference is made of
_FEW = 0.05  # relative spread assumed where a single process was seen

# By chance two methods are so far apart in 5 % of ops, three in 2 %.
DISAGREE = 2.0

CALL = "call"  # the op that is no op: what a call costs with nothing to do


def combine(
    passes: Sequence[OpPass], clean_s: float, cache_bytes: int = _CORE_CACHE_BYTES
) -> OpPass | None:
    """The best estimate of each op, in order of execution; None where nothing was measured.

    Args:
        passes: of all methods and processes of one cell. All have the same ops in the same order;
            an isolated pass may lack some, and a method that failed all of its own.
        clean_s: the clean latency of the network.
        cache_bytes: of the core's own caches (`Place.core_cache_bytes`).
    """
    if all(one.method == "floor" for one in passes):  # what a call costs is no op
        return None
    by_place, reach_s = _by_place(passes)
    if not by_place:
        return None
    cost_s = _profiler_cost_s(by_place.values())
    for found in by_place.values():
        if "runtime" in found:
            less = [replace(op, seconds=op.seconds - cost_s) for op in found["runtime"]]
            found["runtime"] = less
    warmth = _warmth(max((one.ops for one in passes), key=len), cache_bytes)
    off = {
        method: median(_off(one, clean_s, cost_s) for one in passes if one.method == method)
        for method in _WHOLE
        if any(one.method == method for one in passes)
    }
    ops = tuple(
        _estimate(
            by_place[index],
            reach_s.get(index, 0.0),
            warmth.get(index, _ALIKE),
            off,
            cost_known=cost_s > 0,
            call_spread_s=_call_spread_s(passes),
        )
        for index in sorted(by_place)
    )
    ops = _bounded_views(ops, by_place)
    return OpPass(method="combined", latency_s=sum(op.seconds for op in ops), ops=ops)


def _call_spread_s(passes: Sequence[OpPass]) -> float:
    """Standard deviation of what a call costs, over processes; 0 where fewer than two tell.

    Not that of the mean: the call that is taken off an op is the one of its own process, and it may
    have changed since.
    """
    calls_s = [one.latency_s for one in passes if one.method == "floor"]
    return stdev(calls_s) if len(calls_s) > 1 else 0.0


_Places = dict[int, dict[str, list[OpTime]]]  # ops by place in the order of execution, and method


def _by_place(passes: Sequence[OpPass]) -> tuple[_Places, dict[int, float]]:
    """All times of each op, and seconds of the network up to and with it, by differences.

    By place, not by name: names of nodes that the runtime inserts differ from session to session.
    """
    by_place: _Places = defaultdict(lambda: defaultdict(list))
    reach_s: dict[int, float] = {}
    for one in passes:
        so_far = 0.0
        for op in one.ops:
            by_place[op.index][op.method].append(op)
            so_far += op.seconds
            if one.method == "differential":
                reach_s[op.index] = so_far
    return by_place, reach_s


def _bounded_views(
    ops: tuple[OpTime, ...], by_place: Mapping[int, Mapping[str, Sequence[OpTime]]]
) -> tuple[OpTime, ...]:
    """With ops that only give a tensor another shape at most as long as the shortest op alone.

    Only the runtime's profiler sees them, and it charges the first node of a graph more. All that
    they do is start, which the shortest op does as well.
    """
    alone_s = [
        median(op.seconds for op in found["isolated"])
        for found in by_place.values()
        if "isolated" in found
    ]
    if not alone_s:
        return ops
    most_s = min(alone_s)
    return tuple(
        replace(op, seconds=most_s, low_s=min(op.low_s or 0.0, most_s))
        if op.op in counts.VIEWS and op.seconds > most_s
        else op
        for op in ops
    )


def _profiler_cost_s(places: Iterable[Mapping[str, Sequence[OpTime]]]) -> float:
    """What the runtime's profiler adds to a node: the median over small ops that ran alone, too."""
    more = []
    for found in places:
        if "runtime" in found and "isolated" in found:
            alone_s = median(op.seconds for op in found["isolated"])
            if alone_s < _SMALL_S:
                more.append(median(op.seconds for op in found["runtime"]) - alone_s)
    return max(0.0, median(more)) if more else 0.0


def _off(one: OpPass, clean_s: float, cost_s: float) -> float:
    """How far the whole network was from the clean time in a pass, relative.

    What the runtime's profiler does between nodes is in its latency but in no op: it is believed,
    too, where its ops add up without the cost that is taken off them, here or in the pass itself.
    """
    apart = abs(one.latency_s / clean_s - 1)
    knows = cost_s > 0 or _own_doubt_s(one.ops) is not None
    if one.method != "runtime" or not knows:
        return apart
    return min(apart, abs(sum(op.seconds - cost_s for op in one.ops) / clean_s - 1))


def _own_doubt_s(ops: Sequence[OpTime]) -> float | None:
    """What a pass says of its own error, the median over ops; None where it does not."""
    halves_s = [(op.high_s - op.seconds) / 2 for op in ops if op.high_s is not None]
    return median(halves_s) if halves_s else None


class _Warmth(NamedTuple):
    """How warm an op's weights are in the network, and were in what it was timed by.

    Attributes:
        share: weights among the op's bytes; `share_before` of the ops before it.
        gone: of its weights when their turn comes in the network, 0 to 1.
        upto, before: the same in the beginning of the network that ends with it, or before it.
    """

    share: float
    share_before: float
    gone: float
    upto: float
    before: float


_ALIKE = _Warmth(0.0, 0.0, 0.0, 0.0, 0.0)


def _warmth(ops: Sequence[OpTime], cache_bytes: int) -> dict[int, _Warmth]:
    """By place; each op's bytes counted on their own."""
    whole = _gone(sum(map(_bytes, ops)), cache_bytes)
    found, touched, weights = {}, 0, 0
    for op in ops:
        before, share_before = touched, weights / max(touched, 1)
        touched, weights = touched + _bytes(op), weights + (op.bytes_weights or 0)
        found[op.index] = _Warmth(
            share=(op.bytes_weights or 0) / max(_bytes(op), 1),
            share_before=share_before,
            gone=whole,
            upto=_gone(touched, cache_bytes),
            before=_gone(before, cache_bytes),
        )
    return found


def _gone(touched: int, cache_bytes: int) -> float:
    """How much of the weights an inference that touches so much leaves behind; half if unsure."""
    if touched <= _STAY * cache_bytes:
        return 0.0
    return 1.0 if touched >= _LEAVE * cache_bytes else 0.5


def _bytes(op: OpTime) -> int:
    return (op.bytes_in or 0) + (op.bytes_out or 0) + (op.bytes_weights or 0)


def _estimate(
    found: Mapping[str, Sequence[OpTime]],
    reach_s: float,
    warmth: _Warmth,
    off: Mapping[str, float],
    *,
    cost_known: bool,
    call_spread_s: float,
) -> OpTime:
    """One op from all methods.

    Args:
        found: its times by method.
        reach_s: the network's time up to and with it.
        warmth: of its weights, there and here.
        off: by method, how far the whole network was from the clean time in its passes.
        cost_known: whether the cost of the runtime's profiler has been taken off.
        call_spread_s: by how much the cost of a call differs from process to process.
    """
    told = {method: median(op.seconds for op in ops) for method, ops in found.items()}
    centres = {method: max(seconds, 0.0) for method, seconds in told.items()}
    level_s = median(centres.values())
    rotated, own_s = _rotated(found), _own_doubt_s(found.get("runtime", ()))
    seen = _Seen(level_s, reach_s, warmth, rotated, cost_known, own_s, call_spread_s)
    weights = []
    for method, ops in found.items():
        doubt, negative = _DOUBTS_S[method](seen), min(told[method], 0.0)
        spread = _spread([op.seconds for op in ops])
        weights.append(1 / math.hypot(spread, doubt, off.get(method, 0.0) * level_s, negative) ** 2)
    richest = max((op for ops in found.values() for op in ops), key=lambda op: op.flops is not None)
    mean, low, high, ratio = _mean(weights, list(centres.values()), view=richest.op in counts.VIEWS)
    return replace(
        richest,
        seconds=mean,
        runs=max(len(ops) for ops in found.values()),
        method="combined" if len(found) > 1 else next(iter(found)),
        low_s=max(0.0, low),
        high_s=high,
        disagreement=ratio,
    )


def _rotated(found: Mapping[str, Sequence[OpTime]]) -> bool:
    """Whether an op ran alone on cold weights."""
    return "isolated" in found and bool(found["isolated"][0].rotated_bytes)


def _mean(
    weights: Sequence[float], values: Sequence[float], *, view: bool
) -> tuple[float, float, float, float | None]:
    """The weighted mean, its interval (about 95 %, the doubts included), and the Birge ratio.

    Where no method saw any time, only that it is not negative is known besides the error: the mean
    of a normal error cut at nothing, √(2/π) of it. A view may well take none.
    """
    total = sum(weights)
    mean = sum(w * value for w, value in zip(weights, values, strict=True)) / total
    error = 1 / math.sqrt(total)
    if not mean and not view:
        return math.sqrt(2 / math.pi) * error, 0.0, 2 * error, None
    if len(values) < 2:
        return mean, mean - 2 * error, mean + 2 * error, None
    chi2 = sum(w * (value - mean) ** 2 for w, value in zip(weights, values, strict=True))
    ratio = math.sqrt(chi2 / (len(values) - 1))
    reach = 2 * error * max(1.0, ratio)
    low, high = mean - reach, mean + reach
    if ratio > DISAGREE:
        low, high = min(low, *values), max(high, *values)
    return mean, low, high, ratio


def _spread(seconds: Sequence[float]) -> float:
    """Standard error of the centre over processes."""
    if len(seconds) < 2:
        return _FEW * abs(seconds[0])
    return stdev(seconds) / math.sqrt(len(seconds))


class _Seen(NamedTuple):
    """What the doubts about an op's time depend on.

    Attributes:
        level_s: the op's seconds, the median over methods.
        reach_s: the network's seconds up to and with the op.
        warmth: of its weights, in the network and in its beginnings.
        rotated: whether it ran alone on cold weights.
        cost_known: whether the cost of the runtime's profiler has been taken off.
        own_doubt_s: what the runtime's pass says of its own error; None where it does not.
        call_spread_s: by how much the cost of a call differs from process to process.
    """

    level_s: float
    reach_s: float
    warmth: _Warmth
    rotated: bool
    cost_known: bool
    own_doubt_s: float | None
    call_spread_s: float


def _runtime_doubt_s(seen: _Seen) -> float:
    relative, absolute_s = _RUNTIME
    if seen.own_doubt_s is not None:
        absolute_s = seen.own_doubt_s
    elif seen.cost_known:
        absolute_s = _RUNTIME_LESS_COST_S
    return math.hypot(relative * seen.level_s, absolute_s)


def _isolated_doubt_s(seen: _Seen) -> float:
    """More where weights were warmer, or colder, alone than in the network, or calls differ."""
    relative, absolute_s = _ISOLATED
    apart = seen.warmth.share * abs(seen.warmth.gone - seen.rotated)
    relative += _COLD_WEIGHTS * apart
    return math.hypot(relative * seen.level_s, absolute_s, seen.call_spread_s)


def _differential_doubt_s(seen: _Seen) -> float:
    """Also the noise of both times, weights warmer than in the network, and weights that leave."""
    relative, absolute_s = _DIFFERENTIAL
    warmth = seen.warmth
    before_s = max(seen.reach_s - seen.level_s, 0.0)
    noise = _PREFIX_NOISE * math.hypot(seen.reach_s, before_s)
    warmer = seen.level_s * warmth.share * (warmth.gone - warmth.upto)
    leaving = before_s * warmth.share_before * (warmth.upto - warmth.before)
    state = _COLD_WEIGHTS * math.hypot(warmer, leaving)
    return math.hypot(relative * seen.level_s, absolute_s, noise, state)


_DOUBTS_S: dict[str, Callable[[_Seen], float]] = {
    "runtime": _runtime_doubt_s,
    "isolated": _isolated_doubt_s,
    "differential": _differential_doubt_s,
    "floor": lambda _: _FLOOR_S,
}


__all__ = ["CALL", "DISAGREE", "combine"]
