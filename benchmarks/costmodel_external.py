"""The parts tx1, tx2, phones and transfer: devices that others measured (S2, S6, S7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import costmodel_judge as judge
import costmodel_show as show
import costmodel_tables as tables
import numpy as np
from costmodel_models import MODELS, WHOLE, Array, Learner, ours, whole_flops, whole_ours
from costmodel_tables import NetworkTable, OpTable

from nnprof.profiler.costmodel import fit, solve
from nnprof.profiler.costmodel.rows import Rows

SEEDS = range(5)
FEW_SEEDS = range(2)
COUNTS = (12, 20, 40, 61, 119, 241)
TARGET_COUNTS = (61, 119)
CURVED = "nvidia-cudnn"
CURVES = {CURVED: COUNTS, "nvidia-cuda": TARGET_COUNTS, "cpu": TARGET_COUNTS}
LATE = 8  # batches of the TX1 up to which is learned
SOME = ("ours", "A1", "forest")  # models that are shown without kernels, or with all ops
WHOLE_COUNTS = (6, 8, 12, 16, 24)  # of the TX2's 32 networks of a set
PHONE_COUNTS = (12, 20, 40, 80, 150)
CURVE_PHONES = ("pixel4", "iphonexs")
PHONE_SEEDS = range(2)
POINTS = (0, 5, 10, 20, 40)


# --- Jetson TX1 -----------------------------------------------------------------------------------


def run_tx1(at: Path, _: Path) -> dict:
    """Jetson TX1, five backends, ops of four networks at eight batches."""
    return {backend: _backend(tables.tx1(at, backend), backend) for backend in tables.TX1_BACKENDS}


def _backend(table: OpTable, backend: str) -> dict:
    rows, late = table.rows, table.batches > LATE
    keys = np.array([f"{n} {b}" for n, b in zip(rows.networks, table.batches, strict=True)])
    lono = judge.leave([rows.networks == name for name in np.unique(rows.networks)])
    sets = {
        "leave one network out": lono,
        f"batch to {LATE}, then more": [(~late, late)],
    }
    if backend == CURVED:
        sets["S1: a fifth of the shapes"] = judge.random_splits(rows, FEW_SEEDS)
    out: dict = {"noise": table.noise}
    for label, splits in sets.items():
        out[label] = judge.compared(rows, keys, splits)
        out[label]["models"]["flops"] = _whole_of_ops(rows, keys, table.batches, splits)
        show.models(f"TX1 {backend}, {label}", out[label])
    out["by network"] = _by_network(rows, keys, lono)
    out["coverage"] = {label: judge.covered(rows, splits, networks=splits is lono)
                       for label, splits in sets.items()}  # fmt: skip
    show.coverage(f"TX1 {backend}; repeats differ by {table.noise:.1%}", out["coverage"])
    if backend in CURVES:
        out["few"] = {}
        for count in CURVES[backend]:
            seeds = SEEDS if backend == CURVED and count in TARGET_COUNTS else FEW_SEEDS
            out["few"][str(count)] = judge.few(rows, keys, count, seeds, fit.FEW_ROWS)
        for part in ("ops", "networks"):
            show.curve(f"TX1 {backend}, {part} by ops measured, k-centre", out["few"], part)
    return out


def _whole_of_ops(
    rows: Rows, keys: Array, batches: Array, splits: Sequence[judge.Split]
) -> dict[str, dict | None]:
    """B0 where networks are sums of ops."""
    predicted, measured = [], []
    for train, test in splits:
        known, asked = (_networks(rows.only(one), keys[one], batches[one]) for one in (train, test))
        predicted.append(whole_flops(known)(asked))
        measured.append(asked.seconds)
    return {"ops": None, "networks": judge.errors(*map(np.concatenate, (predicted, measured)))}


def _networks(rows: Rows, keys: Array, batches: Array) -> NetworkTable:
    distinct, first, place = np.unique(keys, return_index=True, return_inverse=True)
    works: list[list] = [[] for _ in distinct]
    for one, index in zip(rows.works, place, strict=True):
        works[index].append(one)
    seconds = judge.totals(rows.seconds, keys)
    return NetworkTable(tuple(map(tuple, works)), seconds, rows.networks[first], batches[first])


def _by_network(rows: Rows, keys: Array, splits: Sequence[judge.Split]) -> dict:
    """Ours, each network left out: the totals of each."""
    found = {}
    seconds = judge.run(ours, rows, splits).seconds
    for name in np.unique(rows.networks):
        mine = rows.networks == name
        found[str(name)] = judge.judged(seconds[mine], rows.only(mine), keys[mine])["networks"]
    show.table("ours, each network left out: its totals", ("", "MAPE", "max"), [
        (name, show.percent(one["mape"]), show.percent(one["max"])) for name, one in found.items()
    ])  # fmt: skip
    return found


# --- Jetson TX2 -----------------------------------------------------------------------------------


def run_tx2(at: Path, _: Path) -> dict:
    """Jetson TX2: MLPs, whole networks only, in two precisions and three power modes."""
    out: dict = {"sets": {}, "coverage": {}, "few": {}}
    together: dict[str, list[dict[str, Array]]] = {}
    every = tables.tx2(at)
    for count in WHOLE_COUNTS:
        out["few"][str(count)] = _few_networks(tuple(every.values()), count)
    show.curve("TX2 MLPs, by networks measured, at random, 6 sets", out["few"], "networks")
    for name, table in every.items():
        out["sets"][name] = {}
        for label, splits in _whole_splits(table).items():
            found = _whole(table, splits)
            measured = np.concatenate([table.seconds[test] for _, test in splits])
            out["sets"][name][label] = {
                model: judge.errors(found[model], measured) for model in (*WHOLE, "ours")
            }
            names = np.concatenate([table.names[test] for _, test in splits])
            clusters = np.array([f"{name} {width}" for width in names])
            found |= {"measured": measured, "clusters": clusters}
            together.setdefault(label, []).append(found)
    for label, parts in together.items():
        joint = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        out[label] = _together(joint)
        show.networks(f"TX2 MLPs, {label}, 6 sets", out[label])
        off = np.abs(np.log(joint["ours"] / joint["measured"]))
        out["coverage"][label] = judge.interval(off <= np.log(joint["factor"]), joint["factor"])
    show.coverage("TX2 MLPs, 6 sets", out["coverage"])
    return out


def _few_networks(sets: Sequence[NetworkTable], count: int) -> dict[str, dict]:
    """S2: learned from so many networks of a set, drawn at random; the rest of it predicted."""
    found: dict[str, list] = {name: [] for name in (*WHOLE, "ours", "measured")}
    for table in sets:
        for seed in FEW_SEEDS:
            train = np.zeros(len(table.seconds), dtype=bool)
            train[np.random.default_rng(seed).permutation(len(train))[:count]] = True
            one = {**_whole(table, [(train, ~train)]), "measured": table.seconds[~train]}
            for name, values in found.items():
                values.append(one[name])
    joint = {name: np.concatenate(values) for name, values in found.items()}
    measured = joint.pop("measured")
    return {name: {"networks": judge.errors(one, measured)} for name, one in joint.items()}


def _whole_splits(table: NetworkTable) -> dict[str, list[judge.Split]]:
    place = np.arange(len(table.seconds))
    return {
        "leave one out": judge.leave([place == one for one in place]),
        "width 2048 left out": judge.leave([table.names == "2048"]),
        "batch below 64, then 64 and 128": judge.leave([table.batches >= 64]),
    }


def _whole(table: NetworkTable, splits: Sequence[judge.Split]) -> dict[str, Array]:
    """Seconds by every model, and the factor of our intervals."""
    found: dict[str, list] = {name: [] for name in (*WHOLE, "ours", "factor")}
    for train, test in splits:
        known, asked = table.only(train), table.only(test)
        for name, learn in WHOLE.items():
            found[name].append(learn(known)(asked))
        for name, values in zip(("ours", "factor"), whole_ours(known)(asked), strict=True):
            found[name].append(values)
    return {name: np.concatenate(one) for name, one in found.items()}


def _together(joint: Mapping[str, Array]) -> dict:
    measured = joint["measured"]
    return {
        "models": {name: judge.errors(joint[name], measured) for name in (*WHOLE, "ours")},
        "ours minus forest": judge.difference(
            joint["ours"], joint["forest"], measured, joint["clusters"]
        ),
    }


# --- phones ---------------------------------------------------------------------------------------


def run_phones(at: Path, _: Path) -> dict:
    """Six phones' GPUs: convolutions of unseen networks."""
    return {phone: _phone(at, phone) for phone in tables.PHONES}


# How the delegate's profiler calls the kernels of our groups.
_KERNELS = {
    "conv": "convolution",
    "gemm": "fully_connected",
    "conv-winograd": "convolution_winograd",
}


def _phone(at: Path, phone: str) -> dict:
    rows, names = tables.phone(at, phone)
    told = np.array([_KERNELS[name] for name in rows.groups])
    print(f"{phone}: kernels as the rules say: {np.mean(told == names):.2%} of {len(names)}")
    plain, _ = tables.phone(at, phone, by_kernel=False)
    fold = solve.folds(rows.networks)
    some = {name: MODELS[name] for name in SOME}
    out: dict = {
        "kernels told": float(np.mean(told == names)),
        "150": _folded(MODELS, rows, fold, 150),
        "all": _folded(some, rows, fold, 0),
        "without rules, 150": _folded(some, plain, fold, 150),
    }
    for label in ("150", "all", "without rules, 150"):
        show.models(f"{phone}, networks left out, ops: {label}", out[label])
    tests = judge.leave([fold == one for one in np.unique(fold)])
    out["coverage"] = {"all ops, networks left out": judge.covered(rows, tests, networks=True)}
    if phone in CURVE_PHONES:
        random = judge.random_splits(rows, PHONE_SEEDS)
        out["S1: a fifth of the shapes"] = judge.compared(rows, rows.networks, random)
        show.models(f"{phone}, S1: a fifth of the shapes", out["S1: a fifth of the shapes"])
        out["coverage"]["a fifth of the shapes"] = judge.covered(rows, random, networks=False)
        out["few"] = {str(count): _folded(MODELS, rows, fold, count)["models"]
                      for count in PHONE_COUNTS}  # fmt: skip
        for part in ("ops", "networks"):
            show.curve(f"{phone}, {part} by ops measured, networks left out", out["few"], part)
    show.coverage(phone, out["coverage"])
    return out


def _folded(models: Mapping[str, Learner], rows: Rows, fold: Array, count: int) -> dict:
    """Networks left out, fold by fold; learned from `count` distinct ops of others, 0 for all."""
    splits = []
    for one in np.unique(fold):
        train = fold != one
        if count:
            train = _distinct(rows, train, count, int(one))
        splits.append((train, fold == one))
    return judge.compared(rows, rows.networks, splits, models)


def _distinct(rows: Rows, among: Array, count: int, seed: int) -> Array:
    """So many rows among these, each of another shape."""
    at = np.flatnonzero(among)
    _, first = np.unique(rows.shapes[at], return_index=True)
    at = at[first]
    result = np.zeros(len(among), dtype=bool)
    result[at[judge.k_centre(judge.take(rows, at), count, seed)]] = True
    return result


# --- from one device to another -------------------------------------------------------------------


def run_transfer(at: Path, _: Path) -> dict:
    """S6: a stored model calibrated with few ops of another device; a fit of them alone beside."""
    phones = {phone: tables.phone(at, phone)[0] for phone in tables.PHONES}
    backends = {name: tables.tx1(at, name).rows for name in tables.TX1_BACKENDS}
    return {"phones": _transfer("phones", phones), "TX1 backends": _transfer("TX1", backends)}


def _transfer(title: str, devices: Mapping[str, Rows]) -> dict:
    """Every device from every other: op MAPE by points, the median over sources and the best."""
    priors = {
        name: {group: (one.names, one.coefficients) for group, one in fit.fit(rows).items()}
        for name, rows in devices.items()
    }
    out: dict = {}
    for target, rows in devices.items():
        others = {name: prior for name, prior in priors.items() if name != target}
        out[target] = {str(count): _calibrated(rows, others, count) for count in POINTS}
    for how in ("median source", "best source", "from scratch"):
        show.table(f"S6 {title}: op MAPE by points, {how}", ("to", *map(str, POINTS)), [
            (target, *(show.percent(one[str(count)][how]) for count in POINTS))
            for target, one in out.items()
        ])  # fmt: skip
    return out


def _calibrated(rows: Rows, priors: Mapping[str, Mapping], count: int) -> dict:
    """Mean over seeds of the errors on ops of other shapes than the points'."""
    runs = []
    for seed in FEW_SEEDS if count else (0,):
        train = _distinct(rows, np.ones(len(rows.seconds), dtype=bool), count, seed)
        test = rows.only(~np.isin(rows.shapes, rows.shapes[train]))
        one = {name: _error(_found(rows.only(train), prior), test)
               for name, prior in priors.items()}  # fmt: skip
        scratch = _error(fit.fit(rows.only(train)), test) if count else None
        runs.append({"sources": one, "from scratch": scratch})
    mean = judge.mean(runs)
    each = list(mean["sources"].values())
    return {**mean, "median source": float(np.median(each)), "best source": min(each)}


def _found(points: Rows, prior: Mapping) -> Mapping:
    if not len(points.seconds):  # the other device's model as it is
        return {name: fit.Fitted(names, values, np.zeros(0), None)
                for name, (names, values) in prior.items()}  # fmt: skip
    return fit.calibrated(points, prior)[0]


def _error(found: Mapping, test: Rows) -> float:
    mape = judge.errors(fit.seconds_of(found, test.works), test.seconds)["mape"]
    assert mape is not None
    return mape
