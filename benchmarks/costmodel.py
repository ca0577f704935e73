"""The whole evaluation of the cost model, in one command; results in benchmarks/results/.

    python benchmarks/costmodel.py [tx1] [tx2] [phones] [own] [speed]

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

from nnprof.profiler.costmodel import features, fit
from nnprof.profiler.costmodel.fit import Rows
from nnprof.profiler.costmodel.work import Work

RESULTS = Path(__file__).parent / "results"
SEEDS = range(5)
Predictor = Callable[[Rows, Sequence[Work]], np.ndarray]
_SIZES = ("batch", "m", "n", "k", "products", "c_in", "h_in", "c_out", "h_out", "window", "stride",
          "flops", "bytes_in", "bytes_out", "bytes_weights")  # fmt: skip


# --- models ---------------------------------------------------------------------------------------


def ours(train: Rows, works: Sequence[Work]) -> np.ndarray:
    return fit.seconds_of(fit.fit(train), works)


def by_group(train: Rows, works: Sequence[Work], solve: Callable) -> np.ndarray:
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
    def solve(name: str, mine: Rows, asked: dict) -> np.ndarray:
        found = np.linalg.lstsq(_form_2016(name, mine.columns), mine.seconds, rcond=None)[0]
        return _form_2016(name, asked) @ found

    return by_group(train, works, solve)


def paper_relative(train: Rows, works: Sequence[Work]) -> np.ndarray:
    def solve(name: str, mine: Rows, asked: dict) -> np.ndarray:
        return _form_2016(name, asked) @ fit.nnls(_form_2016(name, mine.columns), mine.seconds)

    return by_group(train, works, solve)


def simple(train: Rows, works: Sequence[Work]) -> np.ndarray:
    def solve(name: str, mine: Rows, asked: dict) -> np.ndarray:
        names = fit.SETS[fit.kind_of(name)][0]
        found = fit.nnls(features.matrix(names, mine.columns), mine.seconds)
        return features.matrix(names, asked) @ found

    return by_group(train, works, solve)


def _sizes(columns: dict) -> np.ndarray:
    return np.log1p(np.column_stack([columns[name] for name in _SIZES]))


def learner(make: Callable, *, raw: bool = False) -> Predictor:
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
    """Rows that cover each group: the next is the farthest, in logarithms of sizes, from all so far.

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
    print(f"\n{title}")
    print(f"{'':12}{'op MAPE':>9}{'±10 %':>7}{'network':>9}{'max':>7}{'±10 %':>7}")
    for name, one in table.items():
        ops, nets = one["ops"], one["networks"]
        print(f"{name:12}{ops['mape']:9.1%}{ops['within10']:7.0%}"
              f"{nets['mape']:9.1%}{nets['max']:7.0%}{nets['within10']:7.0%}")  # fmt: skip


# --- sets -----------------------------------------------------------------------------------------


def run_tx1(at: Path) -> dict:
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
                str(name): errors(totals(mine[rows.networks == name], keys[rows.networks == name]),
                                  totals(rows.seconds[rows.networks == name],
                                         keys[rows.networks == name]))
                for name in names
            },  # fmt: skip
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
    return {
        part: {key: float(np.mean([run[part][key] for run in runs])) for key in runs[0][part]}
        for part in runs[0]
    }


def run_phones(at: Path) -> dict:
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


def main() -> None:
    """Run the parts that are named, all without names."""
    parts = sys.argv[1:] or ["tx1", "tx2", "phones"]
    at = tables.folder()
    if at is None:
        print("NNPROF_DATA does not name a folder with latency/: those tables are left out.")
        parts = []
    known = {"tx1": run_tx1, "phones": run_phones}
    for part in parts:
        start = time.perf_counter()
        found = known[part](at)
        path = RESULTS / f"costmodel-{part}.json"
        path.write_text(json.dumps(rounded(found), indent=1) + "\n", encoding="utf-8")
        print(f"\n{path} ({time.perf_counter() - start:.0f} s)")


def rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return value


if __name__ == "__main__":
    main()
