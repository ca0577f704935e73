"""Which whole networks to measure with the times of their ops: those that teach most for the time.

An op is timed where it runs, in a network: its inputs are where the op before left them. Of random
networks the one is taken whose ops are the farthest from those that are in already (k-centre,
Gonzalez 1985, in the logarithms of their sizes), over the root of the seconds that measuring it
takes, and so on while there is time. Over the seconds themselves it is always a small network, and
large ones were then predicted 20 % too fast (AMD Zen 5, 16 networks). Every second one has few ops:
only in networks of few layers are pools and copies as large as they get. Each kind of op weighs as
the root of its share of a network's time.

Pure: networks, measured ops and seconds in, choices out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler.costmodel import lowering, predict, work
from nnprof.profiler.costmodel.around import Asked
from nnprof.profiler.costmodel.model import CostModel
from nnprof.profiler.costmodel.work import Work

Array = NDArray[np.float64]

_SIZES = ("batch", "m", "n", "k", "window", "bytes_in", "bytes_out")
_MOST = 12.0  # of a distance: six doublings of the batch, which four of the sizes follow
_HARDLY = 1.0  # of an op of a group of which there are fewer than `_LEAST`, at least
_LEAST = 3
_LEAST_WEIGHT = 0.05
_FEW = 1 / 3  # of the networks are those with few ops
# Rates of no device in particular, where no model tells.
_LAUNCH_S, _FLOPS_PER_S, _BYTES_PER_S = 1e-5, 5e10, 1e10


class Pool(NamedTuple):
    """Networks that could be measured, and their distinct ops in a list.

    Attributes:
        seconds: of an inference of each network, as far as one can tell; `ops`: how many it runs.
        owner: of each distinct op, the network; `groups`; `points`: logarithms of its sizes.
        weights: of each distinct op, by its group.
    """

    asked: tuple[Asked, ...]
    seconds: Array
    ops: NDArray[np.int64]
    owner: NDArray[np.int64]
    groups: NDArray[np.str_]
    points: Array
    weights: Array


def pool(asked: Sequence[Asked], rules: str, value_bytes: float, model: CostModel | None) -> Pool:
    """The networks with their ops by these rules of lowering."""
    lowered = [lowering.of_spec(spec, rules, batch, value_bytes) for spec, batch in asked]
    moving = [[op for op in ops if op.group != "reshape"] for ops in lowered]
    each = seconds_of(moving, model)
    owner = np.repeat(np.arange(len(moving)), [len(ops) for ops in moving])
    works = [op for ops in moving for op in ops]
    groups = np.array([op.group for op in works])
    total = np.bincount(owner, each, len(moving)).astype(float)
    points, weights = places(works), _weights(groups, each / total[owner], len(moving))
    marks = [(at, group, *point) for at, group, point in zip(owner, groups, points, strict=True)]
    first = np.array(list({mark: row for row, mark in reversed(list(enumerate(marks)))}.values()))
    return Pool(
        asked=tuple(asked),
        seconds=total,
        ops=np.array([len(ops) for ops in lowered]),
        owner=owner[first],
        groups=groups[first],
        points=points[first],
        weights=weights[first],
    )


def places(works: Sequence[Work]) -> Array:
    """Logarithms, base 2, of the ops' sizes: one row per op."""
    columns = work.columns_of(works)
    return np.log2(np.maximum(np.stack([columns[name] for name in _SIZES], axis=1), 1.0))


def seconds_of(networks: Sequence[Sequence[Work]], model: CostModel | None) -> Array:
    """Seconds of each op of these networks: by the model, or roughly where it does not know."""
    columns = work.columns_of([op for ops in networks for op in ops])
    moved = columns["bytes_in"] + columns["bytes_out"] + columns["bytes_weights"]
    roughly = _LAUNCH_S + columns["flops"] / _FLOPS_PER_S + moved / _BYTES_PER_S
    if model is None:
        return np.asarray(roughly)
    table = work.table(networks)
    told = predict.op_seconds(model, table)[table.row]
    return np.where(told > 0, told, roughly)


def _weights(groups: NDArray[np.str_], shares: Array, networks: int) -> Array:
    """Of each op the weight of its group: the root of its mean share of a network's time."""
    names, codes = np.unique(groups, return_inverse=True)
    mean = np.bincount(codes, shares, len(names)) / max(1, networks)
    return np.asarray(np.maximum(np.sqrt(mean), _LEAST_WEIGHT)[codes])


def choose(
    offered: Pool, known: Sequence[Work], cell_s: Array, budget_s: float, most_s: float
) -> tuple[int, ...]:
    """The networks to measure, the most telling first.

    Args:
        offered: what can be measured.
        known: ops that were.
        cell_s: seconds that measuring each network takes.
        budget_s: for all of them.
        most_s: for one.
    """
    nearest = np.full(len(offered.owner), np.inf)
    counts = dict.fromkeys(map(str, offered.groups), 0)
    if known:
        for group, point in zip([op.group for op in known], places(known), strict=True):
            _take(offered, nearest, counts, group, point)
    free, few = cell_s <= min(most_s, budget_s), offered.ops <= np.quantile(offered.ops, _FEW)
    chosen: list[int] = []
    while free.any():
        scarce = np.array([counts[str(group)] < _LEAST for group in offered.groups])
        far = offered.weights * np.minimum(nearest, _MOST)
        far = np.where(scarce, np.maximum(far, _HARDLY), far)
        far[nearest == 0] = 0
        gain = np.bincount(offered.owner, far, len(offered.asked)) / np.sqrt(cell_s)
        now = free & few if len(chosen) % 2 and (free & few).any() else free
        best = int(np.argmax(np.where(now, gain, -1.0)))
        if gain[best] <= 0:
            break
        chosen.append(best)
        budget_s -= float(cell_s[best])
        for row in np.flatnonzero(offered.owner == best):
            _take(offered, nearest, counts, str(offered.groups[row]), offered.points[row])
        free[best] = False
        free &= cell_s <= budget_s
    return tuple(chosen)


def _take(offered: Pool, nearest: Array, counts: dict[str, int], group: str, point: Array) -> None:
    """An op is in: others of its group are no farther than that."""
    mine = offered.groups == group
    away = np.linalg.norm(offered.points[mine] - point, axis=1)
    nearest[mine] = np.minimum(nearest[mine], away)
    counts[group] = counts.get(group, 0) + 1
