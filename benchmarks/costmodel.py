"""The whole evaluation of the cost model, in one command; results in benchmarks/results/.

    python benchmarks/costmodel.py [own] [speed] [tx1] [tx2] [phones]

Models compared, all given the same measurements:

    2016        the form of Mattsson 2016 refitted: c·FLOPs + constant (or c·values), least squares
    2016-rel    the same features, relative error
    flops       one rate and one constant for whole networks (where there are networks)
    A1          NNLS on launch, FLOPs and bytes; no features chosen
    ours        nnprof fit-model
    forest      one random forest per group on logarithms of sizes, logarithm of the time
    forest-raw  the same on the raw time, as nn-Meter does
    boosting    gradient boosting, as forest

Needs scikit-learn for the last three. Tables of other people's devices are read from NNPROF_DATA.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import costmodel_tables as tables
import numpy as np

from nnprof.networks.families import mattsson, parse_network
from nnprof.profiler import results, stats
from nnprof.profiler.costmodel import assemble, features, fit, work
from nnprof.profiler.costmodel import model as models
from nnprof.profiler.costmodel.fit import Rows
from nnprof.profiler.costmodel.predict import predict, predict_specs
from nnprof.profiler.costmodel.work import Work

RESULTS = Path(__file__).parent / "results"
SEEDS = range(5)
Predictor = Callable[[Rows, Sequence[Work]], np.ndarray]
_SIZES = ("batch", "m", "n", "k", "products", "c_in", "h_in", "c_out", "h_out", "window", "stride",
          "flops", "bytes_in", "bytes_out", "bytes_weights")  # fmt: skip


# --- models ---------------------------------------------------------------------------------------


def ours(train: Rows, works: Sequence[Work]) -> np.ndarray:
    """What nnprof fit-model does, without the intervals."""
    return fit.seconds_of(fit.fit(train), works)


def by_group(train: Rows, works: Sequence[Work], solve: Callable) -> np.ndarray:
    """Each group predicted by what `solve` makes of its training rows."""
    groups = np.array([one.group for one in works])
    result = np.full(len(works), np.nan)
    for name in set(groups) & set(train.groups):
        mine, at = train.only(train.groups == name), groups == name
        asked = {key: values[at] for key, values in fit.columns_of(works).items()}
        result[at] = solve(name, mine, asked)
    return result


def _form_2016(name: str, columns: dict) -> np.ndarray:
    amount = "flops" if fit.kind_of(name) in ("conv", "gemm") else "bytes_out"
    return np.column_stack((np.ones_like(columns["batch"]), columns[amount]))


def paper(train: Rows, works: Sequence[Work]) -> np.ndarray:
    """The form of 2016, refitted by least squares."""

    def solve(name: str, mine: Rows, asked: dict) -> np.ndarray:
        found = np.linalg.lstsq(_form_2016(name, mine.columns), mine.seconds, rcond=None)[0]
        return _form_2016(name, asked) @ found

    return by_group(train, works, solve)


def paper_relative(train: Rows, works: Sequence[Work]) -> np.ndarray:
    """The features of 2016 with relative error."""

    def solve(name: str, mine: Rows, asked: dict) -> np.ndarray:
        return _form_2016(name, asked) @ fit.nnls(_form_2016(name, mine.columns), mine.seconds)

    return by_group(train, works, solve)


def simple(train: Rows, works: Sequence[Work]) -> np.ndarray:
    """The simplest features of nnprof, relative error, none chosen."""

    def solve(name: str, mine: Rows, asked: dict) -> np.ndarray:
        names = fit.SETS[fit.kind_of(name)][0]
        found = fit.nnls(features.matrix(names, mine.columns), mine.seconds)
        return features.matrix(names, asked) @ found

    return by_group(train, works, solve)


def _sizes(columns: dict) -> np.ndarray:
    return np.log1p(np.column_stack([columns[name] for name in _SIZES]))


def learner(make: Callable, *, raw: bool = False) -> Predictor:
    """A learner per group on logarithms of sizes; `raw`: on the time itself."""

    def solve(_: str, mine: Rows, asked: dict) -> np.ndarray:
        target = mine.seconds if raw else np.log(mine.seconds)
        found = make().fit(_sizes(mine.columns), target).predict(_sizes(asked))
        return found if raw else np.exp(found)

    return lambda train, works: by_group(train, works, solve)


def _forest():
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(n_estimators=100, random_state=0, n_jobs=1)


def _boosting():
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(n_estimators=300, max_depth=4, learning_rate=0.05,
                                     subsample=0.8, random_state=0)  # fmt: skip


MODELS: dict[str, Predictor] = {
    "2016": paper,
    "2016-rel": paper_relative,
    "A1": simple,
    "ours": ours,
    "forest": learner(_forest),
    "forest-raw": learner(_forest, raw=True),
    "boosting": learner(_boosting),
}


# --- judging --------------------------------------------------------------------------------------


def errors(predicted: np.ndarray, measured: np.ndarray) -> dict[str, float]:
    """Of predictions against measurements; what could not be predicted counts as 100 % off."""
    ratio = np.where(np.isfinite(predicted), predicted, 0.0) / measured
    off = np.abs(ratio - 1)
    return {
        "n": len(off),
        "mape": float(off.mean()),
        "median": float(np.median(off)),
        "rmspe": float(np.sqrt((off**2).mean())),
        "wape": float((off * measured).sum() / measured.sum()),
        "max": float(off.max()),
        **{f"within{limit}": float((off <= limit / 100).mean()) for limit in (5, 10, 20)},
        "bias": float(np.median(ratio - 1)),
    }


def totals(values: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Sums by key."""
    distinct, place = np.unique(keys, return_inverse=True)
    return np.bincount(place, weights=values, minlength=len(distinct))


def judged(predicted: np.ndarray, rows: Rows, keys: np.ndarray) -> dict[str, dict[str, float]]:
    """Errors per op and of the totals of networks."""
    return {
        "ops": errors(predicted, rows.seconds),
        "networks": errors(totals(predicted, keys), totals(rows.seconds, keys)),
    }


def split(model: Predictor, rows: Rows, tests: Sequence[np.ndarray]) -> np.ndarray:
    """Each test set predicted from the rest."""
    predicted = np.full(len(rows.seconds), np.nan)
    for test in tests:
        predicted[test] = model(rows.only(~test), rows.only(test).works)
    return predicted


def k_centre(rows: Rows, count: int, seed: int) -> np.ndarray:
    """Rows that cover each group: the next is the farthest, in logarithms of sizes, from the rest.

    Each group gets its share of the rows, and at least 2.
    """
    random = np.random.default_rng(seed)
    groups, sizes = rows.groups, _sizes(rows.columns)
    chosen: list[int] = []
    names, counts = np.unique(groups, return_counts=True)
    share = np.maximum(2, np.floor(count * counts / counts.sum())).astype(int)
    while share.sum() > count:
        share[share.argmax()] -= 1
    share[counts.argmax()] += count - share.sum()
    for name, number in zip(names, share, strict=True):
        at = np.flatnonzero(groups == name)
        points = sizes[at]
        picked = [int(random.integers(len(at)))]
        distance = np.linalg.norm(points - points[picked[0]], axis=1)
        while len(picked) < min(number, len(at)):
            picked.append(int(distance.argmax()))
            distance = np.minimum(distance, np.linalg.norm(points - points[picked[-1]], axis=1))
        chosen += list(at[picked])
    mask = np.zeros(len(groups), dtype=bool)
    mask[chosen] = True
    return mask


def covered(rows: Rows, tests: Sequence[np.ndarray], networks: bool) -> dict[str, float]:
    """How often the 90 % interval of an op holds its time, on ops that were held out."""
    inside, width = [], []
    for test in tests:
        train, asked = rows.only(~test), rows.only(test)
        found = fit.fit(train)
        factors = fit.factors(found, train, by_network=networks)
        predicted = fit.seconds_of(found, asked.works)
        factor = np.array([factors.get(str(name)) or np.nan for name in asked.groups])
        ratio = np.abs(np.log(predicted / asked.seconds))
        known = np.isfinite(ratio) & np.isfinite(factor)
        inside += list(ratio[known] <= np.log(factor[known]))
        width += list(factor[known])
    return {"n": len(inside), "coverage": float(np.mean(inside)), "factor": float(np.median(width))}


def show(title: str, table: dict[str, dict]) -> None:
    """One line per model."""
    print(f"\n{title}")
    print(f"{'':12}{'op MAPE':>9}{'±10 %':>7}{'network':>9}{'max':>7}{'±10 %':>7}")
    for name, one in table.items():
        ops, nets = one["ops"], one["networks"]
        print(f"{name:12}{ops['mape']:9.1%}{ops['within10']:7.0%}"
              f"{nets['mape']:9.1%}{nets['max']:7.0%}{nets['within10']:7.0%}")  # fmt: skip


# --- sets -----------------------------------------------------------------------------------------


def run_tx1(at: Path) -> dict:
    """Jetson TX1, five backends."""
    out: dict = {}
    for backend in tables.TX1_BACKENDS:
        table = tables.tx1(at, backend)
        rows, batches = table.rows, table.batches
        keys = np.array([f"{n} {b}" for n, b in zip(rows.networks, batches, strict=True)])
        names = np.unique(rows.networks)
        leave = [rows.networks == name for name in names]
        larger = [batches > 8]
        lono = {name: judged(split(model, rows, leave), rows, keys)
                for name, model in MODELS.items()}  # fmt: skip
        late = batches > 8
        batch = {name: judged(split(model, rows, larger)[late], rows.only(late), keys[late])
                 for name, model in MODELS.items()}  # fmt: skip
        mine = split(ours, rows, leave)
        out[backend] = {
            "noise": table.noise,
            "leave-one-network-out": lono,
            "by network": {
                str(name): errors(
                    totals(mine[rows.networks == name], keys[rows.networks == name]),
                    totals(rows.seconds[rows.networks == name], keys[rows.networks == name]),
                )
                for name in names
            },
            "batch to 8, then 10 to 16": batch,
            "coverage": covered(rows, leave, networks=True),
        }
        show(f"TX1 {backend}, leave one network out", lono)
        show(f"TX1 {backend}, batch ≤ 8 → 10…16", batch)
        print("coverage", out[backend]["coverage"])
        if backend in ("nvidia-cudnn", "nvidia-cuda", "cpu"):
            out[backend]["few"] = few(rows, keys)
    return out


def few(rows: Rows, keys: np.ndarray) -> dict:
    """Few ops, chosen by k-centre: the rest of the catalogue, and the networks' totals."""
    curve: dict = {}
    for count in (30, 61, 119, 241):
        by_model: dict = {}
        for name, model in MODELS.items():
            runs = []
            for seed in SEEDS:
                train = k_centre(rows, count, seed)
                predicted = rows.seconds.copy()
                predicted[~train] = model(rows.only(train), rows.only(~train).works)
                both = judged(predicted, rows, keys)
                both["ops"] = errors(predicted[~train], rows.seconds[~train])
                runs.append(both)
            by_model[name] = mean(runs)
        curve[str(count)] = by_model
        show(f"{count} ops by k-centre, {len(SEEDS)} seeds", by_model)
    return curve


def mean(runs: list[dict]) -> dict:
    """Each figure's mean over seeds."""
    return {
        part: {key: float(np.mean([run[part][key] for run in runs])) for key in runs[0][part]}
        for part in runs[0]
    }


def run_phones(at: Path) -> dict:
    """Six phones' GPUs: convolutions of unseen networks."""
    out: dict = {}
    for phone in tables.PHONES:
        rows, kernels = tables.phone(at, phone)
        keyed = rows._replace(works=tuple(
            one._replace(group=f"conv-{kernel}") for one, kernel in
            zip(rows.works, kernels, strict=True)))  # fmt: skip
        out[phone] = {"150": {}, "kernel known, 150": {}, "all": {}}
        fold = fit.folds(rows.networks)
        for label, source, count in (("150", rows, 150), ("kernel known, 150", keyed, 150),
                                     ("all", rows, 0)):  # fmt: skip
            for name, model in MODELS.items():
                if label != "150" and name not in ("ours", "A1", "forest"):
                    continue
                out[phone][label][name] = folded(model, source, fold, count)
            show(f"{phone}, {label}, leave networks out", out[phone][label])
        tests = [fold == one for one in range(fit.FOLDS)]
        out[phone]["coverage"] = covered(rows, tests, networks=True)
        print("coverage", out[phone]["coverage"])
    return out


def folded(model: Predictor, rows: Rows, fold: np.ndarray, count: int) -> dict:
    """Networks left out, fold by fold; trained on `count` distinct ops of the others, 0 for all."""
    predicted = np.full(len(rows.seconds), np.nan)
    for one in np.unique(fold):
        train = rows.only(fold != one)
        _, first = np.unique(train.shapes, return_index=True)
        if count:
            mask = np.zeros(len(train.seconds), dtype=bool)
            mask[first] = True
            train = train.only(mask)
            train = train.only(k_centre(train, count, int(one)))
        predicted[fold == one] = model(train, rows.only(fold == one).works)
    return judged(predicted, rows, rows.networks)


# --- whole networks -------------------------------------------------------------------------------


def whole_ours(train: tables.NetworkTable, test: tables.NetworkTable) -> np.ndarray:
    """Terms fitted on whole networks."""
    names = train.widths.astype(str)
    return fit.fit_networks(train.works, train.seconds, names).seconds(test.works)


def _network_sizes(table: tables.NetworkTable) -> np.ndarray:
    flops = [sum(op.flops for op in ops) for ops in table.works]
    weights = [sum(op.bytes_weights for op in ops) for ops in table.works]
    return np.column_stack((np.ones(len(flops)), flops, weights, table.batches))


def whole_2016(train: tables.NetworkTable, test: tables.NetworkTable) -> np.ndarray:
    """A constant and FLOPs, least squares."""
    found = np.linalg.lstsq(_network_sizes(train)[:, :2], train.seconds, rcond=None)[0]
    return _network_sizes(test)[:, :2] @ found


def whole_flops(train: tables.NetworkTable, test: tables.NetworkTable) -> np.ndarray:
    """The same with relative error."""
    return _network_sizes(test)[:, :2] @ fit.nnls(_network_sizes(train)[:, :2], train.seconds)


def whole_forest(train: tables.NetworkTable, test: tables.NetworkTable) -> np.ndarray:
    """A forest on logarithms of FLOPs, weights and batch."""
    model = _forest().fit(np.log(_network_sizes(train)), np.log(train.seconds))
    return np.exp(model.predict(np.log(_network_sizes(test))))


WHOLE = {"2016": whole_2016, "flops": whole_flops, "ours": whole_ours, "forest": whole_forest}


def _part(table: tables.NetworkTable, chosen: np.ndarray) -> tables.NetworkTable:
    works = tuple(ops for ops, keep in zip(table.works, chosen, strict=True) if keep)
    return tables.NetworkTable(
        works, table.seconds[chosen], table.widths[chosen], table.batches[chosen]
    )


def run_tx2(at: Path) -> dict:
    """Jetson TX2: MLPs, whole networks only, in two precisions and three power modes."""
    out: dict = {}
    for name, table in tables.tx2(at).items():
        count = len(table.seconds)
        each = [np.arange(count) == one for one in range(count)]
        splits = {
            "leave one out": each,
            "width 2048 left out": [table.widths == 2048],
            "batch below 64, then 64 and 128": [table.batches >= 64],
        }
        out[name] = {
            label: {model: _whole_errors(predict, table, tests)
                    for model, predict in WHOLE.items()}
            for label, tests in splits.items()
        }  # fmt: skip
    print(f"\n{'TX2 MLPs, mean of 6 sets':36}" + "".join(f"{name:>9}" for name in WHOLE))
    for label in next(iter(out.values())):
        means = {m: np.mean([one[label][m]["mape"] for one in out.values()]) for m in WHOLE}
        print(f"{label:36}" + "".join(f"{value:9.1%}" for value in means.values()))
    return out


def _whole_errors(predict: Callable, table: tables.NetworkTable, tests: list) -> dict:
    predicted, measured = [], []
    for test in tests:
        predicted += list(predict(_part(table, ~test), _part(table, test)))
        measured += list(table.seconds[test])
    return errors(np.array(predicted), np.array(measured))


# --- our own grid ---------------------------------------------------------------------------------

ROOT = RESULTS.parents[1]
FROZEN = RESULTS / "costmodel-own-frozen.json"


class Cells:
    """The cells of a Run as ops by rules, with their clean times and the noise of their repeats."""

    def __init__(self, paths: Sequence[Path]) -> None:
        cells = [cell for path in paths for cell in results.load(path).measurements]
        self.specs = [parse_network(cell.workload.model.network) for cell in cells]
        self.batches = np.array([cell.workload.batch for cell in cells])
        self.seconds = np.array([stats.latency_s(cell) for cell in cells])
        each = [np.array(stats.process_medians_s(cell)) for cell in cells]
        # What one more measurement of the same cell would be off by.
        self.noise = float(np.mean([np.abs(one / np.median(one) - 1).mean() for one in each]))
        self.works = [
            work.of_spec(spec, "blocked16", int(batch))
            for spec, batch in zip(self.specs, self.batches, strict=True)
        ]
        self.depths = np.array([
            max((layer.depth for layer in spec.layers if hasattr(layer, "depth")), default=0)
            for spec in self.specs
        ])  # fmt: skip

    def of(self, predictor: Predictor, train: Rows, call_s: float) -> np.ndarray:
        """Seconds of each cell: a call, and its ops as predicted."""
        every = [one for ops in self.works for one in ops]
        owner = np.repeat(np.arange(len(self.works)), [len(ops) for ops in self.works])
        each = predictor(train, every)
        return call_s + np.bincount(owner, weights=each, minlength=len(self.works))


def run_own(_: Path | None) -> dict:
    """Trained on at most 120 ops; judged on random networks drawn after the model was frozen."""
    frozen = models.load(str(FROZEN))
    measured = assemble.read(sorted((ROOT / "bench_results").glob("costmodel-train-*.json")))
    train, call_s = measured.rows, measured.call_s
    test = Cells(sorted((ROOT / "bench_results").glob("costmodel-test-*.json")))
    groups = Cells(sorted((ROOT / "bench_results").glob("group[1-4]-cpu-*.json")))
    found = {
        name: np.array([
            predict_specs(frozen, [spec], int(batch))[0]
            for spec, batch in zip(cells.specs, cells.batches, strict=True)
        ])
        for name, cells in (("random", test), ("2016", groups))
    }  # fmt: skip
    out: dict = {
        "ops": len(train.seconds),
        "noise": test.noise,
        "random networks": {"frozen": errors(found["random"], test.seconds)},
        "2016 groups": {"frozen": errors(found["2016"], groups.seconds)},
        "coverage": {
            name: _coverage(found[name], cells.seconds, frozen.network.factor)
            for name, cells in (("random", test), ("2016", groups))
        },
        "cells": [
            {"network": spec.notation, "batch": int(batch), "measured_s": one, "predicted_s": two}
            for spec, batch, one, two in zip(
                test.specs, test.batches, test.seconds.tolist(), found["random"].tolist(),
                strict=True)
        ],
    }  # fmt: skip
    for name, model in MODELS.items():
        out["random networks"][name] = errors(test.of(model, train, call_s), test.seconds)
        out["2016 groups"][name] = errors(groups.of(model, train, call_s), groups.seconds)
    shallow = (train.columns["n"] <= 64) | (train.groups == "gemm")
    shallow &= train.columns["c_in"] <= 64
    early = train.columns["batch"] <= 64
    for label, keep, cells, asked in (
        ("depth above 64 left out", shallow, test, test.depths > 64),
        ("depth above 64 left out, 2016 at 80", shallow, groups, groups.depths == 80),
        ("batch to 64, then above 512", early, test, test.batches > 512),
        ("batch to 64, then 1024 of 2016", early, groups, groups.batches == 1024),
    ):
        out[label] = {
            name: errors(cells.of(model, train.only(keep), call_s)[asked], cells.seconds[asked])
            for name, model in MODELS.items()
        }
    out["learning"] = _learning(train, test, call_s)
    for label in ("random networks", "2016 groups", *list(out)[6:-1]):
        _show_networks(label, out[label])
    print("noise", out["noise"], "coverage", out["coverage"])
    return out


def _learning(train: Rows, test: Cells, call_s: float) -> dict:
    """Errors with the first networks of the training set only, by the ops in them."""
    names = list(dict.fromkeys(train.networks))
    curve = {}
    for count in (2, 4, 6, 8, len(names)):
        part = train.only(np.isin(train.networks, names[:count]))
        curve[str(len(part.seconds))] = {
            name: errors(test.of(MODELS[name], part, call_s), test.seconds)
            for name in ("2016", "ours", "forest", "boosting")
        }
    for ops, one in curve.items():
        print(ops, "ops:", ", ".join(f"{name} {value['mape']:.1%}" for name, value in one.items()))
    return curve


def _coverage(predicted: np.ndarray, seconds: np.ndarray, factor: float) -> dict[str, float]:
    inside = np.abs(np.log(predicted / seconds)) <= np.log(factor)
    return {"n": len(inside), "coverage": float(inside.mean()), "factor": factor}


def _show_networks(title: str, table: dict[str, dict]) -> None:
    print(f"\n{title} (n = {next(iter(table.values()))['n']})")
    print(f"{'':12}{'MAPE':>8}{'median':>8}{'max':>8}{'±5 %':>7}{'±10 %':>7}{'bias':>8}")
    for name, one in table.items():
        print(f"{name:12}{one['mape']:8.1%}{one['median']:8.1%}{one['max']:8.1%}"
              f"{one['within5']:7.0%}{one['within10']:7.0%}{one['bias']:+8.1%}")  # fmt: skip


def run_speed(_: Path | None) -> dict:
    """One network, and a family of 100,000, on one core; nn-Meter's kind of forest beside."""
    frozen = models.load(str(FROZEN))
    start = time.perf_counter()
    family = [
        mattsson(conv=conv, fc=fc, depth=depth, neurons=neurons)
        for conv in range(1, 6)
        for fc in range(1, 6)
        for depth in range(5, 45)
        for neurons in range(100, 200)
    ]
    made_s = time.perf_counter() - start
    predict_specs(frozen, family, 1024)
    family_s = time.perf_counter() - start - made_s
    spec = mattsson(conv=3, fc=2)
    one_s = _each_s(lambda: predict_specs(frozen, [spec], 64))
    detail_s = _each_s(lambda: predict(frozen, work.of_spec(spec, frozen.lowering, 64), 64))
    train = assemble.read(sorted((ROOT / "bench_results").glob("costmodel-train-*.json"))).rows
    conv = train.only(train.groups == "conv")
    forest = _forest().fit(_sizes(conv.columns), np.log(conv.seconds))
    forest_s = _each_s(lambda: forest.predict(_sizes(conv.columns)[:1]))
    found = {"networks": len(family), "make_s": made_s, "predict_s": family_s, "one_s": one_s,
             "one_with_breakdown_s": detail_s, "one_op_of_a_forest_s": forest_s,
             "model_bytes": FROZEN.stat().st_size}  # fmt: skip
    print(found)
    return found


def _each_s(call: Callable) -> float:
    start = time.perf_counter()
    for _ in range(100):
        call()
    return (time.perf_counter() - start) / 100


def main() -> None:
    """Run the parts that are named, all without names."""
    known = {"own": run_own, "speed": run_speed, "tx1": run_tx1, "tx2": run_tx2,
             "phones": run_phones}  # fmt: skip
    at = tables.folder()
    for part in sys.argv[1:] or known:
        if at is None and part in ("tx1", "tx2", "phones"):
            print(f"NNPROF_DATA names no folder with latency/: {part} is left out.")
            continue
        start = time.perf_counter()
        found = known[part](at)
        path = RESULTS / f"costmodel-{part}.json"
        path.write_text(json.dumps(rounded(found), indent=1) + "\n", encoding="utf-8")
        print(f"\n{path} ({time.perf_counter() - start:.0f} s)")


def rounded(value: object) -> object:
    """Four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return value


if __name__ == "__main__":
    main()
