"""One estimate per op from what several methods say, with its interval; and what remains.

Three methods see the same op, each with an error of its own:

* runtime: whole microseconds and, on every node, a cost of the profiler itself of about two; good
  for ops of milliseconds;
* isolated: exact for an op that finds its data where it found them in the network, else too fast,
  because alone it runs on warm caches;
* differential: the network up to the op less the network up to the one before; true to caches and
  layout, but a difference of two long times is uncertain by their noise.

The estimate is their mean weighted by 1/error² (the minimum-variance mean), where the error is the
spread over processes and the method's own doubt, below, together. Nothing is scaled to fit: the
sum of the estimates may differ from the clean time, and the residual says by how much.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import median, stdev

from msgspec.structs import replace

from nnprof.types import OpPass, OpTime

# Doubts: relative to the op's time, and absolute.
_RUNTIME = (0.02, 2e-6)  # its unit is 1 µs, and 2 µs is what it reads for any small node
_ISOLATED = (0.10, 1e-7)
_DIFFERENTIAL = (0.01, 1e-7)
_PREFIX_NOISE = 0.004  # of each of the two times that a difference is made of
_FEW = 0.05  # relative spread assumed where a single process was seen

CALL = "call"  # the op that is no op: what a call costs with nothing to do


def combine(passes: Sequence[OpPass]) -> OpPass | None:
    """The best estimate of each op, in order of execution; None where nothing was measured.

    Args:
        passes: of all methods and processes of one cell. All have the same ops in the same order;
            an isolated pass may lack some.
    """
    by_node: dict[str, dict[str, list[OpTime]]] = defaultdict(lambda: defaultdict(list))
    reach_s: dict[str, float] = {}
    for one in passes:
        so_far = 0.0
        for op in one.ops:
            by_node[op.node][op.method].append(op)
            so_far += op.seconds
            if one.method == "differential":
                reach_s[op.node] = so_far
    if not by_node:
        return None
    ops = tuple(
        _estimate(found, reach_s.get(node, 0.0))
        for node, found in sorted(by_node.items(), key=lambda item: _index(item[1]))
    )
    return OpPass(method="combined", latency_s=sum(op.seconds for op in ops), ops=ops)


def _index(found: dict[str, list[OpTime]]) -> int:
    return next(iter(found.values()))[0].index


def _estimate(found: dict[str, list[OpTime]], reach_s: float) -> OpTime:
    """One op from all methods. `reach_s`: the network's time up to and with it."""
    weights, centres, errors = [], [], []
    for method, ops in found.items():
        seconds = [op.seconds for op in ops]
        error = math.hypot(_spread(seconds), _doubt(method, median(seconds), reach_s))
        centres.append(median(seconds))
        errors.append(error)
        weights.append(1 / error**2)
    total = sum(weights)
    mean = sum(weight * centre for weight, centre in zip(weights, centres, strict=True)) / total
    mean = max(mean, 0.0)
    half = 2 / math.sqrt(total)  # about 95 %, the doubts included
    richest = max((op for ops in found.values() for op in ops), key=lambda op: op.flops is not None)
    return replace(
        richest,
        seconds=mean,
        runs=max(len(ops) for ops in found.values()),
        method="combined" if len(found) > 1 else next(iter(found)),
        low_s=max(0.0, mean - half),
        high_s=mean + half,
    )


def _spread(seconds: Sequence[float]) -> float:
    """Standard error of the centre over processes."""
    if len(seconds) < 2:
        return _FEW * abs(seconds[0])
    return stdev(seconds) / math.sqrt(len(seconds))


def _doubt(method: str, seconds: float, reach_s: float) -> float:
    if method == "runtime":
        return math.hypot(_RUNTIME[0] * seconds, _RUNTIME[1])
    if method == "isolated":
        return math.hypot(_ISOLATED[0] * seconds, _ISOLATED[1])
    if method == "differential":
        noise = _PREFIX_NOISE * math.hypot(reach_s, reach_s - seconds)
        return math.hypot(math.hypot(_DIFFERENTIAL[0] * seconds, _DIFFERENTIAL[1]), noise)
    return 1e-9  # the floor: measured on its own, thousands of calls


__all__ = ["CALL", "combine"]
