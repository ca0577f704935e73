"""From measured ops to terms: relative-error NNLS, features by grouped cross-validation.

The steps, per group of ops:

1. Candidate sets of features (`sets`), simplest first, without features that fewer than 3 shapes
   show (FLOPs of no kind may be lost that way). The simplest whose cross-validated error is within
   half a standard error of the best is taken. (A whole one, the usual rule, kept too simple ones on
   one of two training sets of our own; see docs/cost-model-history.md.) Folds hold all measurements
   of a shape together, so that no shape is predicted from itself.
2. Coefficients ≥ 0 with the least relative error (`nnls`).
3. With few rows or shapes the coefficients are pulled towards those of the kind, or of the
   device (`mapped`): what the group cannot tell is borrowed, and said to be.

How far off that is, is in `intervals`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler.costmodel import features, work
from nnprof.profiler.costmodel.processor import Processor, words
from nnprof.profiler.costmodel.rows import Rows
from nnprof.profiler.costmodel.sets import MOVING, computes, few_of, kind_of, sets_of
from nnprof.profiler.costmodel.solve import (
    Solver,
    choose,
    folds,
    held,
    held_out,
    mapped,
    near,
    nnls,
)
from nnprof.profiler.costmodel.work import Work

Array = NDArray[np.float64]


Columns = Mapping[str, Array]


FEW_ROWS = 15  # fewer than this are pulled towards the prior


FEW_SHAPES = 3


FEW_POINTS = 6  # fewer than this scale another device's model as a whole


_OPS_SD, _GROUPS_SD = 0.3, 0.35  # of logarithms of scales: ops in a group, groups of a device


_OWN_UNITS = ("line",)  # which no other group tells


def memory(kind: str, processor: Processor) -> dict[str, float]:
    """What a byte beyond each cache costs more than one within, seconds, of ops that move values.

    As the device's streams say. An op that computes hides some of that behind its arithmetic, so
    nothing is expected of it.
    """
    if kind not in ("pool", "other", "reorder") or not processor.beyond_s:
        return {}
    steps = zip(processor.caches, processor.beyond_s, strict=True)
    return {f"bytes_moved_past_{words(size)}": more_s for size, more_s in steps if more_s > 0}


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
            return near(self.names, self.expected)
        return lambda x, y, w: mapped(x, y, prior, w)

    def held(self, kept: NDArray[np.bool_]) -> Array:
        """Rows that stand for what is expected of the kept features (`nnls`)."""
        names = [name for name, keep in zip(self.names, kept, strict=True) if keep]
        return held(names, self.expected)


def fit(rows_: Rows) -> dict[str, Fitted]:
    """Every group's terms. Groups with enough rows first; they tell what the others borrow."""
    groups = rows_.groups
    names = sorted({str(name) for name in groups}, key=lambda name: (kind_of(name) == "view", name))
    rich = {name for name in names if _is_rich(rows_.only(groups == name))}
    found = {name: _own(rows_.only(groups == name)) for name in names if name in rich}
    found |= {name: _own(rows_.only(groups == name), _launch(found)) for name in found}
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
            found[name] = pulled(mine, *_kind_prior(rows_.only(of_kind)))
        elif rich:
            simple = _simple(kind_of(name), mine)
            names_, prior = device_prior(rows_, found, simple)
            found[name] = pulled(mine, names_, _with_own(mine, names_, prior))
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


def _launch(found: Mapping[str, Fitted]) -> dict[str, float]:
    """What a launch is held near, where three groups say it: the median of their launches.

    A group of large ops says nothing of its launch, and a free one takes what no other term
    explains: 91 µs for convolutions on a processor where a launch is 2.
    """
    launches = launches_s(found)
    return {"launch": float(np.median(launches))} if len(launches) >= FEW_SHAPES else {}


def _view(found: Mapping[str, Fitted], count: int) -> Fitted:
    """A view moves nothing: it costs the cheapest launch of all.

    What profilers say of views is mostly the profiler, so their rows are not fitted.
    """
    least = np.array([min(launches_s(found), default=0.0)])
    return Fitted(("launch",), least, np.full(count, np.nan), least)


def _own(mine: Rows, more: Mapping[str, float] = {}) -> Fitted:
    kind = kind_of(str(mine.groups[0]))
    expected, whole = {**memory(kind, mine.processor), **more}, []
    if _is_rich(mine):
        sets = sets_of(kind, mine.processor)
        shown = [_shown(names, mine, FEW_SHAPES) for names in sets]
        whole = [one for one, all_ in zip(shown, sets, strict=True) if _keeps(one, all_)]
    whole = [tuple(dict.fromkeys((*names, *expected))) for names in whole or [_simple(kind, mine)]]
    names = choose(mine, whole, expected) if len(whole) > 1 else whole[0]
    matrix = features.matrix(names, mine.columns)
    found = near(names, expected)(matrix, mine.seconds, mine.weights)
    kept = found > 0
    names = tuple(name for name, keep in zip(names, kept, strict=True) if keep)
    out = held_out(matrix[:, kept], mine, folds(mine.shapes), near(names, expected))
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
    offered = few_of(kind, mine.processor)
    kept = (names for names in offered if _keeps(_shown(names, mine, 1), names))
    return next(kept, offered[-1])


def pulled(mine: Rows, names: tuple[str, ...], prior: Array) -> Fitted:
    """The rows' terms near a prior, with what memory beyond the caches is expected to cost."""
    expected = memory(kind_of(str(mine.groups[0])), mine.processor)
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
    """The factor on a prior for a group that is much slower or faster than the prior tells.

    A prediction that is far too small costs at most 1, so a prior ten times too low would never be
    left. So the prior is rescaled first: factor = median of measured/told, where |ln factor| is
    beyond `features.UNTOLD`; else 1.
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


def device_prior(
    rows_: Rows, found: Mapping[str, Fitted], simple: Sequence[str]
) -> tuple[tuple[str, ...], Array]:
    """What the other groups say of the device: a launch, a byte, a FLOP.

    A byte and a FLOP are as fast as in a good quarter of the ops that move, or compute, the most.
    """
    launches = launches_s(found)
    columns, seconds = rows_.columns, rows_.seconds
    moved = columns["bytes_in"] + columns["bytes_out"] + columns["bytes_weights"]
    computing = np.array([computes(group) for group in rows_.groups], dtype=bool)
    # Views are told to read and write, and do not.
    moving = ~computing & np.array([kind_of(group) != "view" for group in rows_.groups], dtype=bool)
    rates = {
        "launch": float(np.median(launches)) if launches else float(seconds.min()),
        "byte": _fast(seconds[moving], moved[moving]),
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


def _scale(ratio: Array, weights: Array, device: float) -> float:
    """The scale of a group: its own median, the nearer to the device's the less its rows count.

    Partial pooling of logarithms: the mean of a normal with deviation `_OPS_SD` around the group's,
    which has `_GROUPS_SD` around the device's (Gelman & Hill 2007, equation 12.1). One op that was
    measured badly is no reason to make all of its group ten times as slow.
    """
    told, prior = weights.sum() / _OPS_SD**2, 1 / _GROUPS_SD**2
    own = math.log(float(np.median(ratio)))
    return math.exp((told * own + prior * math.log(device)) / (told + prior))


def calibrated(
    rows_: Rows, prior: Mapping[str, tuple[tuple[str, ...], Array]]
) -> tuple[dict[str, Fitted], float]:
    """Another device's terms on few measurements of this one, and the scale between the two.

    All are first scaled by the median of measured over predicted (for a group that was measured,
    towards its own, `_scale`); from 6 measurements on each coefficient of a measured group then
    moves on its own (`mapped`). Below that single scaling is the safer (reference, section 4.6).

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
        start = found * _scale(ratio[at], rows_.weights[at], scale)
        if known.sum() < FEW_POINTS:
            mine = features.matrix(names, rows_.only(at).columns)
            result[name] = Fitted(names, start, mine @ start, start)
        else:
            result[name] = pulled(rows_.only(at), names, start)
    return result, scale
