"""The part speed: how long predictions take, with nn-Meter's kind of forest beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import costmodel_cells as own
import costmodel_show as show
import numpy as np
from costmodel_models import Array, forest, sizes
from costmodel_own import FROZEN

from nnprof.networks.families import mattsson
from nnprof.networks.spec import NetworkSpec
from nnprof.profiler.costmodel import gather, lowering
from nnprof.profiler.costmodel import model as models
from nnprof.profiler.costmodel.model import CostModel
from nnprof.profiler.costmodel.predict import (
    extrapolating,
    network_factors,
    predict,
    predict_specs,
)
from nnprof.profiler.costmodel.rows import Rows
from nnprof.profiler.costmodel.work import Work, columns_of

ROUNDS = 7
REPEATS = 100  # of a prediction of one network, in a round
SAMPLE = 1000  # networks of the family that the forests predict
BATCH = 1024


def run_speed(folder: Path, _: Path) -> dict:
    """One network, and a family of 100,000, on one core; all in turns, round by round."""
    model = models.load(str(FROZEN))
    trees = _forests(gather.read(own.paths(folder, "train")).rows)
    one, family = mattsson(conv=3, fc=2), _family()
    sample = family[:: len(family) // SAMPLE]
    ops = lowering.of_spec(one, model.lowering, BATCH)
    sampled = [op for spec in sample for op in lowering.of_spec(spec, model.lowering, BATCH)]
    parts: dict[str, tuple[Callable[[], object], int]] = {
        "one network, its time": (lambda: predict_specs(model, [one], BATCH), REPEATS),
        "one network, with its breakdown": (lambda: predict(model, ops, BATCH), REPEATS),
        "one network, from notation to breakdown": (
            lambda: predict(model, lowering.of_spec(mattsson(conv=3, fc=2), model.lowering, BATCH),
                            BATCH), REPEATS),
        "one network, forests": (lambda: _by_forests(trees, ops), 10),
        f"{len(family)} specs made": (_family, 1),
        f"{len(family)} specs predicted": (lambda: predict_specs(model, family, BATCH), 1),
        f"{len(family)} specs, intervals and flags": (lambda: _told(model, family), 1),
        f"{len(family)} specs made and predicted": (
            lambda: predict_specs(model, _family(), BATCH), 1),
        f"{len(sample)} specs, ours": (lambda: predict_specs(model, sample, BATCH), 1),
        f"{len(sample)} specs, forests": (lambda: _by_forests(trees, sampled), 1),
    }  # fmt: skip
    times = _interleaved(parts)
    out = {
        "rounds": ROUNDS,
        "model_bytes": FROZEN.stat().st_size,
        "trees of a group": trees[next(iter(trees))].n_estimators,
        "seconds": {name: _spread(values) for name, values in times.items()},
    }
    show.table(f"Seconds, {ROUNDS} rounds in turns", ("", "median", "least", "most"), [
        (name, *(f"{value[key]:.3g}" for key in ("median", "least", "most")))
        for name, value in out["seconds"].items()
    ])  # fmt: skip
    show.say("Forests predict ops that are at hand already; ours also makes them from specs.")
    return out


def _told(model: CostModel, family: Sequence[NetworkSpec]) -> tuple[Array, Array]:
    """What `nnprof search` says of each network beside its time."""
    table = lowering.of_specs(family, model.lowering).at(BATCH, model.value_bytes)
    return network_factors(model, table), extrapolating(model, table, BATCH)


def _family() -> list[NetworkSpec]:
    return [
        mattsson(conv=conv, fc=fc, depth=depth, neurons=neurons)
        for conv in range(1, 6)
        for fc in range(1, 6)
        for depth in range(5, 45)
        for neurons in range(100, 200)
    ]


def _forests(rows: Rows) -> dict[str, object]:
    """One for each group, of the raw time."""
    groups = rows.groups
    found = {}
    for name in np.unique(groups):
        mine = rows.only(groups == name)
        found[str(name)] = forest().fit(sizes(mine.columns), mine.seconds)
    return found


def _by_forests(trees: Mapping, works: list[Work] | tuple[Work, ...]) -> Array:
    groups, columns = np.array([one.group for one in works]), columns_of(works)
    result = np.full(len(works), np.nan)
    for name in set(groups) & set(trees):
        at = groups == name
        asked = sizes({key: values[at] for key, values in columns.items()})
        result[at] = trees[name].predict(asked)
    return result


def _interleaved(parts: Mapping[str, tuple[Callable[[], object], int]]) -> dict[str, list[float]]:
    """Seconds of one call of each, once a round."""
    times: dict[str, list[float]] = {name: [] for name in parts}
    for call, _ in parts.values():  # caches that any second call would find
        call()
    for _ in range(ROUNDS):
        for name, (call, repeats) in parts.items():
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            times[name].append((time.perf_counter() - start) / repeats)
    return times


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "least": min(values), "most": max(values)}
