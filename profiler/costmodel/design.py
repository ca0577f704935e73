"""What to measure next: ops that would teach a cost model most, as small networks of one layer.

Candidates are the distinct layers of a family at sizes on the tile lattice: multiples of 16, and
one beside each, where libraries change their step ("performance representatives", Tübingen 2024).
Each group of ops gets its part of the budget, in three stages by the number of ops it then has:

1. up to `SEED`: k-centre (Gonzalez 1985) in the logarithms of the op's sizes, so that none is far
   from a measured one.
2. up to `OPTIMAL`: D-optimal (Wynn 1970), greedily, with rows relative to the op's time as the
   fit has them: the volume of the coefficients' uncertainty shrinks most.
3. error-driven: where the model was most wrong nearby and nothing measured is near. Beyond 40
   points D-optimal design only collects corners.

Before that a few whole networks, the smallest and the largest, for the ops between the layers
(reshapes, softmax, copies) and for the check of sums; a quarter of the budget at most.

Pure: networks and measured ops in, choices out.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import UsageError
from nnprof.networks.layers import Conv, Dense, Layer, Pool
from nnprof.networks.spaces import Space
from nnprof.networks.spec import NetworkSpec
from nnprof.profiler.costmodel import features, kernels, pick, predict, ran, work
from nnprof.profiler.costmodel.lowering import of_specs
from nnprof.profiler.costmodel.model import CostModel
from nnprof.profiler.costmodel.work import COLUMNS, Work
from nnprof.types import Run

Array = NDArray[np.float64]


_LOG = logging.getLogger(__name__)


LEAST = 3  # ops of a group that make a term identifiable


TILE = 16


STAGES = ("whole", "k-centre", "D-optimal", "error")


_RATIO = 1.6  # between neighbours of the lattice


# Where no model tells the shares: most of such networks' time is in these (the groups of 2016).
_SHARES = {"conv": 0.5, "gemm": 0.3}


_OTHER_SHARE = 0.1


_ERROR = 0.1  # of a group that no model knows


MOST_S = 1.0  # of an inference that is worth being asked


_FIRST = ("launch", "flops", "bytes_in", "bytes_out", "bytes_weights")

SEED, OPTIMAL = 12, 40  # ops of a group at which the next stage begins
# Rates of no device in particular, to weigh ops before anything is measured.
_LAUNCH_S, _FLOPS_PER_S, _BYTES_PER_S = 1e-5, 5e10, 1e10


class Choice(NamedTuple):
    """What to measure: a network, a batch, the group of ops it is for, the stage that chose it.

    `ops` is how many ops of the budget it takes: 1 for a network of one layer.
    """

    spec: NetworkSpec
    batch: int
    group: str
    stage: str
    ops: int = 1


class Measured(NamedTuple):
    """Ops that were measured already, and |ln(measured / predicted)| of each.

    `cells` are the networks, in notation, and batches that they were measured in; `lowering` the
    rules that the ops speak for, "" where they speak for none.
    """

    works: tuple[Work, ...]
    errors: Array
    cells: frozenset[tuple[str, int]] = frozenset()
    lowering: str = ""


NOTHING = Measured((), np.zeros(0))


class Candidates(NamedTuple):
    """Ops that could be measured. `columns` as in `work.Table`, one entry per candidate."""

    specs: tuple[NetworkSpec, ...]
    batches: NDArray[np.int64]
    groups: NDArray[np.str_]
    columns: dict[str, Array]

    def at(self, rows: NDArray[np.int64]) -> dict[str, Array]:
        """The columns of these rows."""
        return {name: values[rows] for name, values in self.columns.items()}


def lattice(values: Sequence[int]) -> tuple[int, ...]:
    """Sizes to look at in a range: both ends, and multiples of 16 with one below and above each.

    The multiples grow by about 1.6, so that few of them span the range. Short ranges stay whole.
    """
    low, high = min(values), max(values)
    if len(values) <= SEED // 2 or high <= TILE:
        return tuple(values)
    found, at = {low, high}, float(TILE)
    while at <= high + TILE:
        centre = round(at / TILE) * TILE
        found |= {centre - 1, centre, centre + 1}
        at = max(at * _RATIO, centre + TILE)
    return tuple(sorted(size for size in found if low <= size <= high))


def candidates(
    space: Space,
    batches: Sequence[int],
    lowering: str,
    value_bytes: float = work.VALUE_BYTES,
) -> Candidates:
    """The distinct layers of a family as networks of one layer, at each batch."""
    lattices = {name: lattice(values) for name, values in space.choices.items()}
    layers = dict.fromkeys(
        pair for spec in space._replace(choices=lattices).specs() for pair in _pairs(spec)
    )
    specs = tuple(NetworkSpec(shape, (layer,)) for shape, layer in layers)
    if not specs:
        raise UsageError("The family has no such network.", "Widen the ranges.")
    ops = of_specs(specs, lowering)
    main = _main(ops.columns["flops"][ops.row], ops.network, ops.row, len(specs))
    each = [ops.at(batch, value_bytes) for batch in batches]
    return Candidates(
        specs=specs * len(batches),
        batches=np.repeat(np.array(batches, dtype=np.int64), len(specs)),
        groups=np.tile(np.array([ops.names[code] for code in ops.codes[main]]), len(batches)),
        columns={
            name: np.concatenate([table.columns[name][main] for table in each]) for name in COLUMNS
        },
    )


def _pairs(spec: NetworkSpec) -> Iterator[tuple[tuple[int, ...], Layer]]:
    """Each layer that works, with what goes in."""
    shape = spec.input_shape
    for layer, after in zip(spec.layers, spec.shapes, strict=True):
        if isinstance(layer, Conv | Pool):
            yield shape, layer
        elif isinstance(layer, Dense):
            yield (math.prod(shape),), layer
        shape = after


def _main(
    flops: Array, network: NDArray[np.int64], row: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Of each network's ops the one that computes most: the others are copies around it."""
    order = np.lexsort((flops, network))
    last = np.searchsorted(network[order], np.arange(count), side="right") - 1
    return row[order][last]


def plan(
    offered: Candidates, budget: int, model: CostModel | None = None, known: Measured = NOTHING
) -> tuple[Choice, ...]:
    """At most `budget` ops to measure, in the order in which they teach most.

    Args:
        offered: what can be measured.
        budget: how many ops.
        model: of the device; its terms weigh the ops, its errors and the family's time the groups.
        known: ops that were measured; they are not asked again.
    """
    quotas = _quotas(offered, budget, model)
    chosen: list[tuple[int, int, Choice]] = []
    for number, (group, quota) in enumerate(quotas.items(), start=1):
        _LOG.info("choosing ops of %s, %d of %d groups", group, number, len(quotas))
        rows = np.flatnonzero(offered.groups == group)
        found = _group(offered, rows, group, quota, model, known)
        chosen += [(STAGES.index(one.stage), place, one) for place, one in enumerate(found)]
    # Groups take turns, so that a study that is cut short has something of each.
    return tuple(choice for _, _, choice in sorted(chosen, key=lambda each: each[:2]))


def whole(
    space: Space,
    batches: Sequence[int],
    lowering: str,
    budget: int,
    model: CostModel | None,
    known: Measured = NOTHING,
) -> tuple[Choice, ...]:
    """The smallest and the largest network of a family, as far as a quarter of the budget goes.

    None where the model knows all their ops.
    """
    ends = [
        next(iter(space._replace(choices=end).specs()), None)
        for end in (
            {name: values[:1] for name, values in space.choices.items()},
            {name: values[-1:] for name, values in space.choices.items()},
        )
    ]
    asked = [(spec, batch) for spec, batch in zip((ends[0], *ends), (
        max(batches), min(batches), min(batches)), strict=True) if spec is not None]  # fmt: skip
    result, left = list[Choice](), budget // 4
    for spec, batch in asked:
        ops = of_specs([spec], lowering)
        news = model is None or any(model.group(name) is None for name in ops.names)
        news &= (spec.notation, batch) not in known.cells
        if news and len(ops.row) <= left:
            left -= len(ops.row)
            result.append(Choice(spec, batch, "network", "whole", len(ops.row)))
    return tuple(result)


def _quotas(offered: Candidates, budget: int, model: CostModel | None) -> dict[str, int]:
    """Ops for each group: by its share of the family's time × its error, but a few for each."""
    groups, counts = np.unique(offered.groups, return_counts=True)
    wanted = {str(group): _weight(offered, str(group), model) for group in groups}
    total = sum(wanted.values())
    quotas = {group: min(LEAST, budget // len(groups)) for group in wanted}
    rest = budget - sum(quotas.values())
    for group, weight in wanted.items():
        quotas[group] += int(rest * weight / total)
    for group in sorted(wanted, key=lambda one: -wanted[one])[: budget - sum(quotas.values())]:
        quotas[group] += 1
    most = dict(zip(map(str, groups), counts, strict=True))
    return {group: min(quota, int(most[group])) for group, quota in quotas.items()}


def _weight(offered: Candidates, group: str, model: CostModel | None) -> float:
    fitted = model.group(group) if model else None
    if model is None or fitted is None:
        kinds = sum(str(one).startswith(group[:4]) for one in np.unique(offered.groups))
        share = _SHARES.get(group[:4])
        return (share / kinds if share else _OTHER_SHARE) * _ERROR
    rows = np.flatnonzero(offered.groups == group)
    seconds = _seconds(group, offered.at(rows), model)
    return float(np.exp(np.log(np.maximum(seconds, 1e-9)).mean())) * (fitted.error or _ERROR)


def _group(
    offered: Candidates,
    rows: NDArray[np.int64],
    group: str,
    quota: int,
    model: CostModel | None,
    known: Measured,
) -> list[Choice]:
    """The candidates of a group to measure, each with the stage that picked it."""
    mine = [index for index, one in enumerate(known.works) if one.group == group]
    old, own = work.columns_of([known.works[index] for index in mine]), offered.at(rows)
    where = pick.places(own, old)
    nearest = pick.distances(where[: len(rows)], where[len(rows) :])
    count = _count(group, model, len(mine))
    # What was measured is not asked again, nor what takes too long.
    fresh_cells = [
        (offered.specs[row].notation, int(offered.batches[row])) not in known.cells for row in rows
    ]
    free = (nearest > 1e-9) & np.array(fresh_cells) & (_seconds(group, own, model) <= MOST_S)
    names = _names(group, own, model)
    every, before = _rows(group, own, model, names), _rows(group, old, model, names)
    errors = pick.errors_near(where, len(rows), known.errors[mine]) if mine else np.ones(len(rows))
    picked: list[tuple[int, str]] = []
    for stage, upto in zip(STAGES[1:], (SEED, OPTIMAL, math.inf), strict=True):
        wanted = int(min(quota, max(0.0, upto - count))) - len(picked)
        if wanted <= 0 or not free.any():
            continue
        if stage == "D-optimal":
            start = np.concatenate((before, every[[index for index, _ in picked]]))
            fresh = pick.d_optimal(every, start, free, wanted)
        else:
            pull = errors if stage == "error" else np.ones(len(rows))
            fresh = pick.k_centre(where[: len(rows)], nearest, pull, free, wanted)
        for index in fresh:
            picked.append((index, stage))
            free[index] = False
            away = np.linalg.norm(where[: len(rows)] - where[index], axis=1)
            nearest = np.minimum(nearest, away)
    cells = [(rows[index], stage) for index, stage in picked]
    return [Choice(offered.specs[at], int(offered.batches[at]), group, why) for at, why in cells]


def _count(group: str, model: CostModel | None, measured: int) -> int:
    """Ops of a group that are known already, from the Runs or from what the model says."""
    fitted = model.group(group) if model else None
    return measured or (fitted.shapes if fitted else 0)


def _names(group: str, own: Mapping[str, Array], model: CostModel | None) -> tuple[str, ...]:
    """The features of the group's terms, where they say anything of the candidates."""
    terms = model.terms_of(group) if model else ()
    names = tuple(dict.fromkeys(term.feature for term in terms))
    return names if names and features.matrix(names, own).any() else _FIRST


def _seconds(group: str, columns: Mapping[str, Array], model: CostModel | None) -> Array:
    """What the ops take: by the model, or roughly."""
    moved = columns["bytes_in"] + columns["bytes_out"] + columns["bytes_weights"]
    roughly = _LAUNCH_S + columns["flops"] / _FLOPS_PER_S + moved / _BYTES_PER_S
    terms = model.terms_of(group) if model else ()
    if not terms:
        return np.asarray(roughly)
    amounts = features.matrix(tuple(term.feature for term in terms), columns)
    seconds = amounts @ np.array([term.coefficient for term in terms])
    return np.where(seconds > 0, seconds, roughly)


def _rows(
    group: str, columns: Mapping[str, Array], model: CostModel | None, names: tuple[str, ...]
) -> Array:
    """Features relative to the op's time: rows of the regression as the fit has them."""
    return features.matrix(names, columns) / _seconds(group, columns, model)[:, None]


def known(runs: Sequence[Run], model: CostModel | None) -> Measured:
    """The ops that Runs timed, with how far the model is off; without one all are alike.

    Raises:
        UsageError: they are of processors that keep images in blocks of different widths.
    """
    cells = [cell for run in runs for cell in run.measurements]
    by_cell = [
        [op for op in (cell.ops.ops if cell.ops else ()) if op.outputs and op.seconds > 0]
        for cell in cells
    ]
    timed = [op for ops in by_cell for op in ops]
    named = frozenset((cell.workload.model.network or "", cell.workload.batch) for cell in cells)
    # A cell at a time: whether an op runs in blocked layout shows in its neighbours.
    works = tuple(
        one
        for cell, ops in zip(cells, by_cell, strict=True)
        for one in ran.of_nodes(ops, kernels.lowering_of(cell.target))
    )
    device = (runs[0].environment.get("device") or {}) if runs else {}
    rules = ran.lowering_of(by_cell, device)
    if model is None or not works:
        return Measured(works, np.full(len(works), _ERROR), named, rules)
    if rules and model.lowering in kernels.BLOCKS and rules != model.lowering:
        raise UsageError(
            f"The Runs are of {rules} and {model.name} is of {model.lowering}: processors with "
            "blocks of different widths run different code.",
            "Give a model and Runs of one kind of processor.",
        )
    table = work.table([works])
    found = predict.op_seconds(model, table)[table.row]
    off = np.abs(np.log(np.array([op.seconds for op in timed]) / found))
    return Measured(works, np.where(np.isfinite(off), off, 1.0), named, rules)
