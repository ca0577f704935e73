"""The models that are compared: ours and the baselines, each learned from the same measurements.

A learner of ops takes measured ops and gives a function from ops to seconds; a learner of whole
networks does the same with networks. What a learner has not seen, it gives as NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from costmodel_tables import NetworkTable

from nnprof.profiler.costmodel import features, fit, joint, sets, solve
from nnprof.profiler.costmodel.rows import Rows
from nnprof.profiler.costmodel.work import Work, columns_of

Array: TypeAlias = np.ndarray
Columns: TypeAlias = Mapping[str, Array]
Predict: TypeAlias = Callable[[Sequence[Work]], Array]
Learner: TypeAlias = Callable[[Rows], Predict]
Whole: TypeAlias = Callable[[NetworkTable], Callable[[NetworkTable], Array]]

TREES = 100
# A1, fixed: launch, image tiles, FLOPs and bytes.
_COMPUTES = ("launch", "tiles", "flops", "bytes_in", "bytes_out", "bytes_weights")
_MOVES = ("launch", "bytes_in", "bytes_out")
_SIZES = ("batch", "m", "n", "k", "products", "c_in", "h_in", "c_out", "h_out", "window", "stride",
          "flops", "bytes_in", "bytes_out", "bytes_weights")  # fmt: skip


# --- ops ------------------------------------------------------------------------------------------


def ours(train: Rows) -> Predict:
    """What nnprof fit-model does, without its intervals and without its look at whole networks."""
    found = fit.fit(train)
    return lambda works: fit.seconds_of(found, works)


def by_group(solve: Callable[[str, Rows], Callable[[Columns], Array]]) -> Learner:
    """Each group predicted by what `solve` makes of its training rows."""

    def learn(train: Rows) -> Predict:
        groups = train.groups
        solved = {
            str(name): solve(str(name), train.only(groups == name)) for name in np.unique(groups)
        }

        def predict(works: Sequence[Work]) -> Array:
            asked, columns = np.array([one.group for one in works]), columns_of(works)
            result = np.full(len(works), np.nan)
            for name in set(asked) & set(solved):
                at = asked == name
                result[at] = solved[name]({key: values[at] for key, values in columns.items()})
            return result

        return predict

    return learn


def _form_2016(name: str, columns: Columns) -> Array:
    amount = "flops" if sets.computes(name) else "bytes_out"
    return np.column_stack((np.ones_like(columns["batch"]), columns[amount]))


def _paper(name: str, mine: Rows) -> Callable[[Columns], Array]:
    found = np.linalg.lstsq(_form_2016(name, mine.columns), mine.seconds, rcond=None)[0]
    return lambda asked: _form_2016(name, asked) @ found


def _paper_relative(name: str, mine: Rows) -> Callable[[Columns], Array]:
    found = solve.nnls(_form_2016(name, mine.columns), mine.seconds)
    return lambda asked: _form_2016(name, asked) @ found


def _simple(name: str, mine: Rows) -> Callable[[Columns], Array]:
    names = _COMPUTES if sets.computes(name) else _MOVES
    found = solve.nnls(features.matrix(names, mine.columns), mine.seconds)
    return lambda asked: features.matrix(names, asked) @ found


def sizes(columns: Columns) -> Array:
    """What learners see of ops: logarithms of their sizes, ops × sizes."""
    return np.log1p(np.column_stack([columns[name] for name in _SIZES]))


def learner(make: Callable, *, raw: bool = False) -> Learner:
    """A learner per group on logarithms of sizes; `raw`: of the time itself, not its logarithm."""

    def solve(_: str, mine: Rows) -> Callable[[Columns], Array]:
        if len(mine.seconds) < 2:  # nothing to learn from: boosting would draw no row at all
            return lambda asked: np.full(len(asked["batch"]), mine.seconds[0])
        target = mine.seconds if raw else np.log(mine.seconds)
        found = make().fit(sizes(mine.columns), target)
        back = np.asarray if raw else np.exp
        return lambda asked: back(found.predict(sizes(asked)))

    return by_group(solve)


def forest():
    """A random forest as nn-Meter has one for each kernel."""
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(n_estimators=TREES, random_state=0, n_jobs=1)


def boosting():
    """Gradient boosting."""
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(n_estimators=300, max_depth=4, learning_rate=0.05,
                                     subsample=0.8, random_state=0)  # fmt: skip


MODELS: dict[str, Learner] = {
    "2016": by_group(_paper),
    "2016-rel": by_group(_paper_relative),
    "A1": by_group(_simple),
    "ours": ours,
    "forest": learner(forest),
    "forest-raw": learner(forest, raw=True),
    "boosting": learner(boosting),
}


# --- whole networks -------------------------------------------------------------------------------


def amounts(table: NetworkTable) -> Array:
    """1, FLOPs, bytes of weights and batch of each network."""
    flops = [sum(op.flops for op in ops) for ops in table.works]
    weights = [sum(op.bytes_weights for op in ops) for ops in table.works]
    return np.column_stack((np.ones(len(flops)), flops, weights, table.batches))


def whole_flops(train: NetworkTable) -> Callable[[NetworkTable], Array]:
    """B0: a constant and FLOPs of the whole network, relative error."""
    found = solve.nnls(amounts(train)[:, :2], train.seconds)
    return lambda asked: amounts(asked)[:, :2] @ found


def whole_2016(train: NetworkTable) -> Callable[[NetworkTable], Array]:
    """The same by least squares."""
    found = np.linalg.lstsq(amounts(train)[:, :2], train.seconds, rcond=None)[0]
    return lambda asked: amounts(asked)[:, :2] @ found


def _whole_learner(make: Callable) -> Whole:
    def learn(train: NetworkTable) -> Callable[[NetworkTable], Array]:
        found = make().fit(np.log(amounts(train)), np.log(train.seconds))
        return lambda asked: np.exp(found.predict(np.log(amounts(asked))))

    return learn


def whole_ours(train: NetworkTable) -> Callable[[NetworkTable], tuple[Array, Array]]:
    """Terms fitted on whole networks, and the factors of 90 % intervals (NaN for too few)."""
    found = joint.fit_networks(train.works, train.seconds, train.names)

    def predict(asked: NetworkTable) -> tuple[Array, Array]:
        wider = np.exp(found.widening(train.works, asked.works))
        return found.seconds(asked.works), (found.factor or np.nan) * wider

    return predict


WHOLE: dict[str, Whole] = {
    "flops": whole_flops,
    "2016": whole_2016,
    "forest": _whole_learner(forest),
    "boosting": _whole_learner(boosting),
}
