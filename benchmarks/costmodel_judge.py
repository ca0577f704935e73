"""How predictions are judged: errors, splits, few ops chosen by k-centre, bootstrap, intervals."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from costmodel_models import MODELS, Array, Learner, sizes

from nnprof.profiler.costmodel import fit, intervals, sets
from nnprof.profiler.costmodel.rows import Rows

LIMITS = (5, 10, 20)  # per cent
RESAMPLES = 2000
Mask = np.ndarray
Split = tuple[Mask, Mask]  # rows to learn from, rows to predict


class Outcome(NamedTuple):
    """What a learner made of the splits of a set: seconds, NaN where it was not asked or knew not.

    Attributes:
        measurements: rows that it learned from, mean over splits.
        fit_s, predict_s: seconds that it took in all, on whatever else the machine did then.
    """

    seconds: Array
    measurements: float
    fit_s: float
    predict_s: float


def run(learn: Learner, rows: Rows, splits: Sequence[Split]) -> Outcome:
    """Each split learned and predicted."""
    seconds = np.full(len(rows.seconds), np.nan)
    fit_s = predict_s = 0.0
    for train, test in splits:
        known, works = rows.only(train), rows.only(test).works
        start = time.perf_counter()
        predict = learn(known)
        between = time.perf_counter()
        seconds[test] = predict(works)
        fit_s += between - start
        predict_s += time.perf_counter() - between
    return Outcome(seconds, float(np.mean([train.sum() for train, _ in splits])), fit_s, predict_s)


def leave(tests: Sequence[Mask]) -> list[Split]:
    """Each test set, learned from all the rest."""
    return [(~test, test) for test in tests]


def random_splits(rows: Rows, seeds: Sequence[int], share: float = 0.2) -> list[Split]:
    """S1: a fifth of the shapes held out, for each seed; all rows of a shape on one side."""
    shapes, asked = np.unique(rows.shapes), judgeable(rows)
    splits = []
    for seed in seeds:
        drawn = np.random.default_rng(seed).permutation(shapes)[: round(share * len(shapes))]
        test = np.isin(rows.shapes, drawn)
        splits.append((~test, test & asked))
    return splits


def judgeable(rows: Rows) -> Mask:
    """Ops but views: these move nothing, and what is measured of them is mostly the profiler."""
    return np.array([sets.kind_of(str(name)) != "view" for name in rows.groups], dtype=bool)


# --- errors ---------------------------------------------------------------------------------------


def errors(
    predicted: Array, measured: Array, lacking: Mask | None = None
) -> dict[str, float | None]:
    """Of predictions against measurements; what could not be predicted counts as 100 % off.

    `lacking` marks predictions without a part that the model had not seen; they are counted, too.
    """
    known = np.isfinite(predicted)
    unknown = ~known if lacking is None else ~known | lacking
    ratio = np.where(known, predicted, 0.0) / measured
    off = np.abs(ratio - 1)
    return {
        "n": len(off),
        "unknown": int(unknown.sum()),
        "mape": float(off.mean()),
        "median": float(np.median(off)),
        "rmspe": float(np.sqrt((off**2).mean())),
        "wape": float((off * measured).sum() / measured.sum()),
        "max": float(off.max()),
        **{f"within{limit}": float((off <= limit / 100).mean()) for limit in LIMITS},
        "bias": float(np.median(ratio - 1)),
        "spearman": _spearman(ratio * measured, measured),
    }


def _spearman(predicted: Array, measured: Array) -> float | None:
    from scipy.stats import spearmanr

    if len(measured) < 3 or not np.ptp(predicted) or not np.ptp(measured):
        return None
    return float(spearmanr(predicted, measured).statistic)


def totals(values: Array, keys: Array) -> Array:
    """Sums by key, in the order of the sorted keys; NaN adds nothing."""
    distinct, place = np.unique(keys, return_inverse=True)
    return np.bincount(place, weights=np.nan_to_num(values), minlength=len(distinct))


def judged(predicted: Array, rows: Rows, keys: Array) -> dict[str, dict]:
    """Errors of ops, and of the totals of networks, which lack the ops that are unknown."""
    lacking = totals(np.isnan(predicted), keys) > 0
    return {
        "ops": errors(predicted, rows.seconds),
        "networks": errors(totals(predicted, keys), totals(rows.seconds, keys), lacking),
    }


def compared(
    rows: Rows, keys: Array, splits: Sequence[Split], models: Mapping[str, Learner] = MODELS
) -> dict:
    """Every model on the same splits; an op held out in several is judged in each.

    `keys` tell which network (at which batch) a row is of. Ours minus forest is over networks.
    """
    out: dict = {"models": {}}
    paired: dict[str, Array] = {}
    asked = np.concatenate([np.flatnonzero(test) for _, test in splits])
    # One block of keys for each split: totals of different splits do not add up.
    which = np.repeat(np.arange(len(splits)), [int(test.sum()) for _, test in splits])
    held = take(rows, asked)
    names = np.array([f"{part} {key}" for part, key in zip(which, keys[asked], strict=True)])
    for name, learn in models.items():
        parts = [run(learn, rows, [one]) for one in splits]
        seconds = np.concatenate(
            [part.seconds[test] for part, (_, test) in zip(parts, splits, strict=True)]
        )
        out["models"][name] = {**judged(seconds, held, names), **spent(parts)}
        paired[name] = totals(seconds, names)
    if {"ours", "forest"} <= set(paired):
        _, first = np.unique(names, return_index=True)
        out["ours minus forest"] = difference(
            paired["ours"], paired["forest"], totals(held.seconds, names), held.networks[first]
        )
    return out


def joined(train: Rows, test: Rows) -> tuple[Rows, Array]:
    """Both in one, and which are of the second."""
    both = train._replace(
        works=train.works + test.works,
        seconds=np.concatenate((train.seconds, test.seconds)),
        shapes=np.concatenate((train.shapes, test.shapes)),
        networks=np.concatenate((train.networks, test.networks)),
        weights=np.concatenate((train.weights, test.weights)),
        spreads=np.concatenate((train.spreads, test.spreads)),
    )
    return both, np.arange(len(both.seconds)) >= len(train.seconds)


def keys_of(rows: Rows) -> Array:
    """Network and batch of each op."""
    return np.array([
        f"{name} {one.batch:g}" for name, one in zip(rows.networks, rows.works, strict=True)
    ])  # fmt: skip


def take(rows: Rows, at: Array) -> Rows:
    """The rows at these places, which may repeat."""
    return rows._replace(
        works=tuple(rows.works[index] for index in at),
        seconds=rows.seconds[at],
        shapes=rows.shapes[at],
        networks=rows.networks[at],
        weights=rows.weights[at],
        spreads=rows.spreads[at] if len(rows.spreads) else rows.spreads,
    )


def spent(parts: Sequence[Outcome]) -> dict[str, float]:
    """Measurements that a model learned from, and seconds for one fit and all predictions of it."""
    return {
        "measurements": float(np.mean([part.measurements for part in parts])),
        "fit_s": float(np.mean([part.fit_s for part in parts])),
        "predict_s": float(np.mean([part.predict_s for part in parts])),
    }


def mean(runs: Sequence[dict]) -> dict:
    """Each figure's mean over seeds; None where any has none."""
    first = runs[0]
    if not isinstance(first, dict):
        known = [one for one in runs if one is not None]
        return float(np.mean(known)) if len(known) == len(runs) else None
    return {key: mean([one[key] for one in runs]) for key in first}


# --- ours against the forest ----------------------------------------------------------------------


def difference(first: Array, second: Array, measured: Array, clusters: Array) -> dict:
    """MAPE of the first minus that of the second with its 95 % interval: a paired bootstrap.

    Networks are drawn again, all batches of one together.
    """
    off = [np.abs(np.where(np.isfinite(one), one, 0.0) / measured - 1) for one in (first, second)]
    _, place = np.unique(clusters, return_inverse=True)
    sums, counts = np.bincount(place, weights=off[0] - off[1]), np.bincount(place)
    random = np.random.default_rng(0)
    drawn = random.integers(0, len(counts), (RESAMPLES, len(counts)))
    each = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(each, (0.025, 0.975))
    return {
        "difference": float(sums.sum() / counts.sum()),
        "low": float(low),
        "high": float(high),
        "networks": len(counts),
    }


# --- few ops --------------------------------------------------------------------------------------


def k_centre(rows: Rows, count: int, seed: int, least: int = 1) -> Mask:
    """Rows that cover all groups (Gonzalez 1985): one of each, then always the farthest.

    Far is the distance to the nearest row of the same group, in logarithms of sizes. On our own ops
    (60 and 120 of 480) that was better for networks than a share of the rows for each group.

    With `least` each group first gets so many, as far as there are, or an even share.
    """
    random = np.random.default_rng(seed)
    groups, points = rows.groups, sizes(rows.columns)
    chosen = np.zeros(len(groups), dtype=bool)
    distance = np.full(len(groups), np.inf)
    firsts = [int(random.choice(np.flatnonzero(groups == name))) for name in np.unique(groups)]
    least = min(least, max(count // len(firsts), 1))
    while chosen.sum() < min(count, len(groups)):
        short = [name for name in np.unique(groups) if _lacks(chosen[groups == name], least)]
        among = np.isin(groups, short[:1] if short else groups)
        place = firsts.pop() if firsts else int(np.where(among, distance, -np.inf).argmax())
        chosen[place] = True
        near = np.flatnonzero(groups == groups[place])
        apart = np.linalg.norm(points[near] - points[place], axis=1)
        distance[near] = np.minimum(distance[near], apart)
        distance[place] = -np.inf  # never again, where equal ops are all that is left
    return chosen


def _lacks(chosen: Mask, least: int) -> bool:
    return bool(chosen.sum() < min(least, len(chosen)))


def few(
    rows: Rows, keys: Array, count: int, seeds: Sequence[int], least: int = 1
) -> dict[str, dict]:
    """S2: learned from `count` ops of a catalogue; the rest of it, and the networks' totals.

    A total takes the ops that were measured as they were measured.
    """
    result = {}
    trains = [k_centre(rows, count, seed, least) for seed in seeds]
    for name, learn in MODELS.items():
        runs = []
        for train in trains:
            made = run(learn, rows, [(train, ~train)])
            both = judged(np.where(train, rows.seconds, made.seconds), rows, keys)
            both["ops"] = errors(made.seconds[~train], rows.seconds[~train])
            runs.append({**both, **spent([made])})
        result[name] = mean(runs)
    return result


# --- intervals ------------------------------------------------------------------------------------


def covered(rows: Rows, splits: Sequence[Split], *, networks: bool) -> dict:
    """How often the 90 % interval of an op holds its time, on ops that were held out."""
    return covered_in(
        [(rows.only(train), rows.only(test)) for train, test in splits], networks=networks
    )


def covered_in(pairs: Sequence[tuple[Rows, Rows]], *, networks: bool) -> dict:
    """The same for pairs of what is learned from and what is asked.

    `networks`: the factor comes from whole networks left out, as where new networks are asked.
    """
    inside, width, unknown = [], [], 0
    for known, asked in pairs:
        found = fit.fit(known)
        predicted = fit.seconds_of(found, asked.works)
        factor = _factors(found, known, asked, networks=networks)
        ratio = np.abs(np.log(predicted / asked.seconds))
        given = np.isfinite(ratio) & np.isfinite(factor)
        inside += list(ratio[given] <= np.log(factor[given]))
        width += list(factor[given])
        unknown += int((~given).sum())
    return interval(inside, width, unknown)


def _factors(found: Mapping[str, fit.Fitted], known: Rows, asked: Rows, *, networks: bool) -> Array:
    """The factor of each op's interval, wider where it leaves what is known; NaN without one."""
    factors = intervals.factors(found, known, by_network=networks)
    growths = intervals.growths(known, factors)
    result = np.full(len(asked.seconds), np.nan)
    for name, factor in factors.items():
        at = asked.groups == name
        if factor and at.any():
            far = intervals.beyond(
                found[name], known.only(known.groups == name).works, asked.only(at).works
            )
            result[at] = factor * np.exp(growths[name] * far.octaves + far.untold)
    return result


def interval(inside: Sequence[bool], factors: Sequence[float], unknown: int = 0) -> dict:
    """Share of times in their interval, and the median factor; `unknown` had no interval."""
    return {
        "n": len(inside),
        "unknown": unknown,
        "coverage": float(np.mean(inside)) if len(inside) else None,
        "factor": float(np.median(factors)) if len(factors) else None,
    }
