"""From measured ops to terms: relative-error NNLS, features by grouped cross-validation.

The steps, per group of ops:

1. Candidate sets of features (`sets`), simplest first, without features that fewer than 3 shapes
   show (FLOPs of no kind may be lost that way). The simplest whose cross-validated error is within
   half a standard error of the best is taken. (A whole one, the usual rule, kept too simple ones on
   one of two training sets of our own; see docs/cost-model-results.md.) Folds hold all measurements
   of a shape together, so that no shape is predicted from itself.
2. Coefficients ≥ 0 with the least relative error (`nnls`).
3. With few rows or shapes the coefficients are pulled towards those of the kind, or of the
   device (`mapped`): what the group cannot tell is borrowed, and said to be.

How far off that is, is in `intervals`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler.costmodel import features, work
from nnprof.profiler.costmodel.sets import MOVING, computes, few_of, kind_of, sets_of
from nnprof.profiler.costmodel.work import Work

Array = NDArray[np.float64]
Columns = Mapping[str, Array]
Streams = tuple[tuple[int, float], ...]

HUBER = 0.10  # relative residual beyond which a row counts less (reference: 0.10-0.15)
HALF_SHARE = 0.02  # of its network's time, at which an op counts half
FEW_ROWS = 15  # fewer than this are pulled towards the prior
FEW_SHAPES = 3
FEW_POINTS = 6  # fewer than this scale another device's model as a whole
FOLDS = 5
PRIOR_SD = features.PRIOR_SD  # of log coefficients around the prior
RESAMPLES = 200
_OWN_UNITS = ("line",)  # which no other group tells
_ROUNDS = 12
_SLOWER = 1.1  # times a bandwidth, at which a larger stream has left a cache
_REPEATS = 5  # draws of the folds that sets are compared over
_REACH = 0.5  # standard errors that a simpler set may be worse by


class Rows(NamedTuple):
    """Measured ops.

    Attributes:
        works: what they had to do.
        seconds: how long they took.
        shapes: the same for ops that differ in the batch only; what folds and resamples keep whole.
        networks: what they were measured in.
        weights: by which each counts.
        streams: (bytes moved, bytes per second) of the device by size, as measured; empty where
            that was not done.
        spreads: relative spread of each one's repeats; empty where nobody asks for it.
        library: whose code the ops are, "mlas" or "" for any other (`sets.sets_of`).
    """

    works: tuple[Work, ...]
    seconds: Array
    shapes: NDArray[np.str_]
    networks: NDArray[np.str_]
    weights: Array
    streams: Streams = ()
    spreads: Array = np.zeros(0)
    library: str = ""

    def only(self, chosen: NDArray[np.bool_]) -> Rows:
        """Those rows."""
        works = tuple(one for one, keep in zip(self.works, chosen, strict=True) if keep)
        return self._replace(
            works=works,
            seconds=self.seconds[chosen],
            shapes=self.shapes[chosen],
            networks=self.networks[chosen],
            weights=self.weights[chosen],
            spreads=self.spreads[chosen] if len(self.spreads) else self.spreads,
        )

    @property
    def groups(self) -> NDArray[np.str_]:
        """Group of each row."""
        return np.array([one.group for one in self.works])

    @property
    def columns(self) -> dict[str, Array]:
        """What features read."""
        return work.columns_of(self.works)


def rows(
    works: Iterable[Work],
    seconds: Iterable[float],
    networks: Iterable[str] = (),
    spreads: Iterable[float] = (),
    streams: Streams = (),
    shares: Iterable[float] = (),
    library: str = "",
) -> Rows:
    """Measured ops; those of no time at all are left out.

    A row counts 1 / (1 + spread²/HUBER²) with the relative spread of its repeats, and, of an op
    with a share of its network's time, share / (share + HALF_SHARE): to be wrong by a tenth on what
    takes a hundredth of a network is no loss.
    """
    every, times = tuple(works), np.array(list(seconds), dtype=float)
    names = np.array(list(networks) or [""] * len(every), dtype=str)
    spread = np.array(list(spreads) or [0.0] * len(every), dtype=float)
    shapes = np.array([shape_of(one) for one in every], dtype=str)
    share = np.array(list(shares) or [np.inf] * len(every), dtype=float)
    counts_ = 1 / (1 + (spread / HUBER) ** 2) / (1 + HALF_SHARE / np.maximum(share, 1e-12))
    made = Rows(every, times, shapes, names, counts_, streams, spread, library)
    return made.only(times > 0)


def shape_of(one: Work) -> str:
    """The op's shape with the batch left out.

    Of an op that computes next to nothing the batch is kept: it is all that such ops differ in.
    """
    if kind_of(one.group) in MOVING:
        return f"{one.group} {one.bytes_in:.6g} {one.bytes_out:.6g}"
    batch = max(one.batch, 1.0)
    sizes = (one.m / batch, one.n, one.k, one.products, one.h_in, one.window, one.stride,
             one.bytes_in / batch, one.bytes_out / batch)  # fmt: skip
    return f"{one.group} " + " ".join(f"{size:.6g}" for size in sizes)


# --- coefficients ---------------------------------------------------------------------------------


def nnls(
    matrix: Array,
    seconds: Array,
    weights: Array | None = None,
    held: Array | None = None,
) -> Array:
    """Coefficients ≥ 0 with the least relative error, robust against outliers.

    Minimises Σ wᵢ ρ(xᵢc / yᵢ - 1) with Huber's ρ, by iteratively reweighted non-negative least
    squares (Lawson & Hanson 1974). Columns are scaled, so that units do not matter.

    Each row h of `held` is one more measurement, h·c = HUBER / PRIOR_SD: a normal prior (`_held`).
    """
    from scipy.optimize import nnls as solve

    relative = matrix / seconds[:, None]
    base = np.ones(len(seconds)) if weights is None else weights
    held = np.zeros((0, matrix.shape[1])) if held is None else held
    goal = np.concatenate((np.ones(len(seconds)), np.full(len(held), HUBER / PRIOR_SD)))
    stacked = np.vstack((relative, held))
    scale = np.sqrt((stacked**2).mean(axis=0))
    used = scale > 0
    result = np.zeros(matrix.shape[1])
    if not used.any():
        return result
    columns, firm = stacked[:, used] / scale[used], np.ones(len(held))
    weight = base
    for _ in range(_ROUNDS):
        root = np.sqrt(np.concatenate((weight, firm)))
        found, _rest = solve(columns * root[:, None], goal * root, maxiter=100 * columns.shape[1])
        residual = np.abs(columns[: len(seconds)] @ found - 1)
        fresh = base * np.minimum(1.0, HUBER / np.maximum(residual, 1e-12))
        done = np.allclose(fresh, weight, rtol=1e-3)
        weight = fresh
        if done:
            break
    result[used] = found / scale[used]
    return result


def mapped(
    matrix: Array,
    seconds: Array,
    prior: Array,
    weights: Array | None = None,
    known: Array | float = 0.0,
) -> Array:
    """The most probable coefficients > 0 around a prior: log-normal, PRIOR_SD in the logarithm.

    Minimises Σ wᵢ ρ(rᵢ / HUBER) + Σ (ln cⱼ - ln priorⱼ)² / sd² with rᵢ the relative residual, so a
    row weighs as much as its residual is large beside the noise that Huber's ρ assumes. Features
    whose prior is 0 stay 0. `known` seconds of each row are not up for fitting.
    """
    from scipy.optimize import least_squares

    used = prior > 0
    relative = matrix[:, used] / seconds[:, None]
    root = np.ones(len(seconds)) if weights is None else np.sqrt(weights)
    rest = 1 - known / seconds
    start = np.log(prior[used])

    def residuals(logs: Array) -> Array:
        off = (relative @ np.exp(logs) - rest) / HUBER
        size = np.abs(off)
        robust = np.where(size <= 1, off, np.sign(off) * np.sqrt(2 * np.maximum(size, 1) - 1))
        return np.concatenate((root * robust, (logs - start) / PRIOR_SD))

    found = least_squares(residuals, start)
    result = np.zeros(len(prior))
    result[used] = np.exp(found.x)
    return result


# --- features -------------------------------------------------------------------------------------


def folds(shapes: NDArray[np.str_], count: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """A fold for each row; all rows of a shape are in one. Deterministic."""
    distinct = sorted(set(shapes))
    order = np.random.default_rng(seed).permutation(len(distinct))
    place = {shape: int(order[index]) % count for index, shape in enumerate(distinct)}
    return np.array([place[shape] for shape in shapes], dtype=np.int64)


Solver = Callable[[Array, Array, Array], Array]


def memory(kind: str, streams: Streams) -> dict[str, float]:
    """What a byte beyond each cache costs more than one within, seconds, of ops that move values.

    The steps between the measured bandwidths (`roofline`). An op that computes hides some of that
    behind its arithmetic, so nothing is expected of it.
    """
    if not streams or kind not in ("pool", "other", "reorder"):
        return {}
    found = {}
    for mib in features.PAST_MIB:
        size = mib << 20
        within = [rate for moved, rate in streams if moved <= size]
        beyond = [rate for moved, rate in streams if moved > size]
        if within and beyond and beyond[0] < within[-1] / _SLOWER:
            found[f"bytes_moved_past_{mib}m"] = 1 / beyond[0] - 1 / within[-1]
    return found


def held_out(matrix: Array, rows_: Rows, fold: NDArray[np.int64], solve: Solver) -> Array:
    """Each row predicted by coefficients from the other folds; NaN where there are none."""
    predicted = np.full(len(rows_.seconds), np.nan)
    for one in np.unique(fold):
        inside, outside = fold == one, fold != one
        if outside.any():
            found = solve(matrix[outside], rows_.seconds[outside], rows_.weights[outside])
            predicted[inside] = matrix[inside] @ found
    return predicted


def choose(
    rows_: Rows, sets: Sequence[tuple[str, ...]], expected: Mapping[str, float] = {}
) -> tuple[str, ...]:
    """The simplest set of features within `_REACH` standard errors of the best."""
    columns = rows_.columns
    scores = [
        repeated(features.matrix(names, columns), rows_, _near(names, expected)) for names in sets
    ]
    return sets[simplest(scores)]


def repeated(matrix: Array, rows_: Rows, solve: Solver) -> tuple[float, float]:
    """Score of a set, and its standard error: means over several ways to draw the folds.

    With few shapes one way alone decides by chance (Kim 2009, "Estimating classification error
    rate: repeated cross-validation").
    """
    drawn = (folds(rows_.shapes, seed=seed) for seed in range(_REPEATS))
    each = [_score(held_out(matrix, rows_, fold, solve), rows_) for fold in drawn]
    mean, error = np.mean(each, axis=0).tolist()
    return mean, error


def _held(names: Sequence[str], expected: Mapping[str, float]) -> Array:
    """A row for each feature of which something is expected.

    It weighs as much as a measurement whose noise is Huber's when it is off by as many times HUBER
    as the coefficient is off by times PRIOR_SD.
    """
    rows_ = np.diag([HUBER / PRIOR_SD / expected.get(name, np.inf) for name in names])
    return np.asarray(rows_[[name in expected for name in names]])


def _near(names: Sequence[str], expected: Mapping[str, float]) -> Solver:
    """`nnls` near what is expected of these features."""
    held = _held(names, expected)
    return lambda x, y, w: nnls(x, y, w, held)


def _score(out: Array, rows_: Rows) -> tuple[float, float]:
    """Mean relative error over shapes, each error at most 1, and its standard error.

    Rows count by their weights: an op that was not measured well says little of a set.
    """
    error = np.minimum(np.abs(out / rows_.seconds - 1), 1.0)
    _, place = np.unique(rows_.shapes, return_inverse=True)
    weights = np.bincount(place, rows_.weights) / np.bincount(place)
    by_shape = np.bincount(place, rows_.weights * error) / np.bincount(place, rows_.weights)
    mean = float(np.average(by_shape, weights=weights))
    return mean, math.sqrt(float(((weights * (by_shape - mean)) ** 2).sum())) / weights.sum()


def simplest(scores: Sequence[tuple[float, float]]) -> int:
    """Which of these (score, standard error), simplest first, is the first that is good enough."""
    best, error = min(scores)
    return next(index for index, one in enumerate(scores) if one[0] <= best + _REACH * error)


# --- groups ---------------------------------------------------------------------------------------


class Fitted(NamedTuple):
    """A group's terms as numbers.

    Attributes:
        names: features; `coefficients`: seconds per unit of each.
        out: each training row as predicted from other shapes; NaN with a single shape.
        prior: what the coefficients were pulled towards, None where the rows sufficed.
        expected: what single features are held near by measurements of something else.
    """

    names: tuple[str, ...]
    coefficients: Array
    out: Array
    prior: Array | None
    expected: Mapping[str, float] = {}

    def solver(self) -> Solver:
        """How the coefficients are found from other rows."""
        prior = self.prior
        if prior is None:
            return _near(self.names, self.expected)
        return lambda x, y, w: mapped(x, y, prior, w)

    def held(self, kept: NDArray[np.bool_]) -> Array:
        """Rows that stand for what is expected of the kept features (`nnls`)."""
        names = [name for name, keep in zip(self.names, kept, strict=True) if keep]
        return _held(names, self.expected)


def fit(rows_: Rows) -> dict[str, Fitted]:
    """Every group's terms. Groups with enough rows first; they tell what the others borrow."""
    groups = rows_.groups
    names = sorted({str(name) for name in groups}, key=lambda name: (kind_of(name) == "view", name))
    rich = {name for name in names if _is_rich(rows_.only(groups == name))}
    found = {name: _own(rows_.only(groups == name)) for name in names if name in rich}
    for name in names:
        if name in rich:
            continue
        if kind_of(name) == "view":
            found[name] = _view(found, int((groups == name).sum()))
            continue
        mine = rows_.only(groups == name)
        kin = [other for other in rich if kind_of(other) == kind_of(name)]
        if kin and kind_of(name) not in MOVING:
            of_kind = np.array([kind_of(group) == kind_of(name) for group in groups])
            found[name] = _pulled(mine, *_kind_prior(rows_.only(of_kind)))
        elif rich:
            simple = _simple(kind_of(name), mine)
            names_, prior = _device_prior(rows_, found, simple)
            found[name] = _pulled(mine, names_, _with_own(mine, names_, prior))
        else:
            found[name] = _own(mine)
    return found


def _is_rich(mine: Rows) -> bool:
    if kind_of(str(mine.groups[0])) == "view":
        return False
    return len(mine.seconds) >= FEW_ROWS and len(set(mine.shapes)) >= FEW_SHAPES


def launches_s(found: Mapping[str, Fitted]) -> list[float]:
    """What one launch takes in each group that has such a term."""
    return [
        float(value)
        for one in found.values()
        for name, value in zip(one.names, one.coefficients, strict=True)
        if name == "launch" and value > 0
    ]


def _view(found: Mapping[str, Fitted], count: int) -> Fitted:
    """A view moves nothing: it costs the cheapest launch of all.

    What profilers say of views is mostly the profiler, so their rows are not fitted.
    """
    least = np.array([min(launches_s(found), default=0.0)])
    return Fitted(("launch",), least, np.full(count, np.nan), least)


def _own(mine: Rows) -> Fitted:
    kind = kind_of(str(mine.groups[0]))
    expected, whole = memory(kind, mine.streams), []
    if _is_rich(mine):
        sets = sets_of(kind, mine.library)
        shown = [_shown(names, mine, FEW_SHAPES) for names in sets]
        whole = [one for one, all_ in zip(shown, sets, strict=True) if _keeps(one, all_)]
    whole = [tuple(dict.fromkeys((*names, *expected))) for names in whole or [_simple(kind, mine)]]
    names = choose(mine, whole, expected) if len(whole) > 1 else whole[0]
    matrix = features.matrix(names, mine.columns)
    found = _near(names, expected)(matrix, mine.seconds, mine.weights)
    kept = found > 0
    names = tuple(name for name, keep in zip(names, kept, strict=True) if keep)
    out = held_out(matrix[:, kept], mine, folds(mine.shapes), _near(names, expected))
    return Fitted(names, found[kept], out, None, expected)


def _shown(names: Sequence[str], mine: Rows, shapes: int) -> tuple[str, ...]:
    """Those of which there is some in at least so many shapes."""
    amounts = features.matrix(tuple(names), mine.columns)
    shown = [len(set(mine.shapes[amounts[:, at] > 0])) for at in range(len(names))]
    return tuple(name for name, count in zip(names, shown, strict=True) if count >= shapes)


def _keeps(shown: Sequence[str], names: Sequence[str]) -> bool:
    """Whether no FLOPs were lost: what was not shown would be free elsewhere."""
    return all(name in shown or features.FEATURES[name].resource != "flop" for name in names)


def _simple(kind: str, mine: Rows) -> tuple[str, ...]:
    offered = few_of(kind, mine.library)
    kept = (names for names in offered if _keeps(_shown(names, mine, 1), names))
    return next(kept, offered[-1])


def _pulled(mine: Rows, names: tuple[str, ...], prior: Array) -> Fitted:
    expected = memory(kind_of(str(mine.groups[0])), mine.streams)
    more = [name for name in expected if name not in names]
    steps = np.array([expected[name] for name in more])
    names = (*names, *more)
    matrix = features.matrix(names, mine.columns)
    told = matrix @ np.append(prior, steps)
    prior = np.append(prior * _other_work(mine.seconds, told), steps)
    found = mapped(matrix, mine.seconds, prior, mine.weights)
    out = held_out(matrix, mine, folds(mine.shapes), lambda x, y, w: mapped(x, y, prior, w))
    return Fitted(names, found, out, prior, expected)


def _other_work(seconds: Array, told: Array) -> float:
    """What a prior is multiplied by for a group that is much slower or faster than it can tell.

    Errors relative to the measurement never pass 100 % from below, so no few rows could drag terms
    out of a prior that is off by ten, such as the bytes of copies for a normalisation that takes
    powers. Within 90 % of the prior its own scale stands.
    """
    if not told.all():  # the prior takes some of it for free
        return 1.0
    ratio = float(np.median(seconds / told))
    return ratio if abs(math.log(ratio)) > features.UNTOLD else 1.0


def _kind_prior(of_kind: Rows) -> tuple[tuple[str, ...], Array]:
    """The simplest model of all groups of a kind taken together."""
    names = _simple(kind_of(str(of_kind.groups[0])), of_kind)
    found = nnls(features.matrix(names, of_kind.columns), of_kind.seconds, of_kind.weights)
    kept = found > 0
    return tuple(name for name, keep in zip(names, kept, strict=True) if keep), found[kept]


def _device_prior(
    rows_: Rows, found: Mapping[str, Fitted], simple: Sequence[str]
) -> tuple[tuple[str, ...], Array]:
    """What the other groups say of the device: a launch, a byte, a FLOP.

    A byte and a FLOP are as fast as in a good quarter of the ops that move, or compute, the most.
    """
    launches = launches_s(found)
    columns, seconds = rows_.columns, rows_.seconds
    moved = columns["bytes_in"] + columns["bytes_out"] + columns["bytes_weights"]
    computing = np.array([computes(group) for group in rows_.groups])
    rates = {
        "launch": float(np.median(launches)) if launches else float(seconds.min()),
        "byte": _fast(seconds[~computing], moved[~computing]),
        "flop": _fast(seconds[computing], columns["flops"][computing]),
    }
    units = {name: features.FEATURES[name].unit for name in simple}
    names = tuple(name for name, unit in units.items() if rates.get(unit) or unit in _OWN_UNITS)
    return names, np.array([rates.get(units[name], np.nan) for name in names])


def _with_own(mine: Rows, names: tuple[str, ...], prior: Array) -> Array:
    """The prior with what the device does not tell from what it leaves of the group's own times."""
    matrix, told = features.matrix(names, mine.columns), np.isfinite(prior)
    rest = np.maximum(mine.seconds - matrix[:, told] @ prior[told], 0.0)
    result = np.where(told, prior, 0.0)
    for at in np.flatnonzero(~told):
        has = matrix[:, at] > 0
        result[at] = float(np.median(rest[has] / matrix[has, at])) if has.any() else 0.0
    return np.asarray(result)


def _fast(seconds: Array, amount: Array) -> float:
    large = amount >= np.median(amount) if len(amount) else np.zeros(0, dtype=bool)
    if not large.any() or not amount[large].all():
        return 0.0
    return float(np.quantile(seconds[large] / amount[large], 0.25))


def seconds_of(found: Mapping[str, Fitted], works: Sequence[Work]) -> Array:
    """Seconds of each op; NaN for groups that were not fitted."""
    columns = work.columns_of(works)
    groups = np.array([one.group for one in works])
    result = np.full(len(works), np.nan)
    for name, one in found.items():
        at = groups == name
        chosen = {column: values[at] for column, values in columns.items()}
        result[at] = features.matrix(one.names, chosen) @ one.coefficients
    return result


def calibrated(
    rows_: Rows, prior: Mapping[str, tuple[tuple[str, ...], Array]]
) -> tuple[dict[str, Fitted], float]:
    """Another device's terms on few measurements of this one, and the scale between the two.

    All are first scaled by the median of measured over predicted (its own for a group that was
    measured); from 6 measurements on each coefficient of a measured group then moves on its own
    (`mapped`). Below that single scaling is the safer (reference, section 4.6).

    Raises:
        ValueError: no op is of a group that the prior knows.
    """
    source = {
        name: Fitted(names, found, np.zeros(0), None) for name, (names, found) in prior.items()
    }
    ratio = rows_.seconds / seconds_of(source, rows_.works)
    known = np.isfinite(ratio)
    if not known.any():
        raise ValueError("no op in common")
    scale, groups = float(np.median(ratio[known])), rows_.groups
    result = {}
    for name, (names, found) in prior.items():
        at = (groups == name) & known
        if not at.any():
            result[name] = Fitted(names, found * scale, np.zeros(0), found * scale)
            continue
        start = found * float(np.median(ratio[at]))
        if known.sum() < FEW_POINTS:
            mine = features.matrix(names, rows_.only(at).columns)
            result[name] = Fitted(names, start, mine @ start, start)
        else:
            result[name] = _pulled(rows_.only(at), names, start)
    return result, scale
