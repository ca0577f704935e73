"""From a model and ops to seconds: one network with its breakdown, or thousands at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from nnprof.networks.spec import NetworkSpec
from nnprof.profiler.costmodel import features, work
from nnprof.profiler.costmodel.model import NETWORK, CostModel, Group, Term
from nnprof.profiler.costmodel.work import Table, Work

Array = NDArray[np.float64]

_BEYOND = 2.0  # times the largest amount in training at which a term is said to extrapolate
_MATTERS = 0.10  # of the op's time; terms with less are not spoken of
_SHARE = 0.02  # of the network's time; groups with less are not spoken of
_LEVER = 1.01  # over the largest leverage in training


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The share of one term, or of one op, in a prediction.

    `name` is the group or the op, `term` the feature or the group, `words` what people read.
    """

    name: str
    term: str
    seconds: float
    words: str = ""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What one network costs at one batch.

    Attributes:
        seconds: per inference (all tiles of the batch) of the known part.
        low_s, high_s: 90 % interval; None where the model has none, or a part is unknown.
        terms: every term, network terms first; `layers`: every op, in order, NaN where unknown.
        extrapolates: one sentence per group that leaves the model's domain; names the term.
        unknown: types of op that the model has not seen; where there are any, `seconds` is not
            the whole.
    """

    network: str
    batch: int
    seconds: float
    low_s: float | None
    high_s: float | None
    terms: tuple[Part, ...]
    layers: tuple[Part, ...]
    extrapolates: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def ms_per_tile(self) -> float:
        """Milliseconds per tile."""
        return self.seconds * 1e3 / self.batch


def op_seconds(model: CostModel, ops: Table) -> Array:
    """Seconds of each distinct op; NaN for ops of groups that the model has not seen."""
    result = np.full(len(ops.ops), np.nan)
    for code, name in enumerate(ops.names):
        if model.group(name) is None:
            continue
        at = ops.codes == code
        terms = model.terms_of(name)
        chosen = {column: values[at] for column, values in ops.columns.items()}
        amounts = features.matrix(tuple(term.feature for term in terms), chosen)
        result[at] = amounts @ np.array([term.coefficient for term in terms])
    return result


def network_seconds(model: CostModel, ops: Table, batch: int) -> Array:
    """Seconds of one inference of each network; NaN where it has an op that the model lacks."""
    each = op_seconds(model, ops)[ops.row]
    total: Array = np.bincount(ops.network, weights=each, minlength=ops.networks).astype(float)
    total += _cold_seconds(model, ops)
    launches = np.bincount(ops.network, minlength=ops.networks).astype(float)
    for term in model.terms_of(NETWORK):
        total += _overhead(term, batch, launches)
    return total


def _cold_seconds(model: CostModel, ops: Table) -> Array:
    """Seconds of the terms that depend on the whole network, which an op of many does not know."""
    total, touched = np.zeros(ops.networks), ops.touched()
    for code, name in enumerate(ops.names):
        for term in model.terms_of(name):
            if term.feature not in features.COLD:
                continue
            cold = touched > features.COLD[term.feature]
            at = (ops.codes[ops.row] == code) & cold[ops.network]
            weights = ops.columns["bytes_weights"][ops.row[at]]
            total += term.coefficient * np.bincount(ops.network[at], weights, ops.networks)
    return total


def _overhead(term: Term, batch: int, launches: Array) -> Array:
    """Seconds of a term that belongs to no op: once a call, a tile, or an op."""
    amount = {"call": np.ones_like(launches), "launch": launches}.get(term.feature)
    return term.coefficient * (np.full_like(launches, batch) if amount is None else amount)


def predict_specs(model: CostModel, specs: Iterable[NetworkSpec], batch: int) -> Array:
    """Seconds per inference of many networks at one batch; NaN where the model lacks an op.

    The ops come from the model's lowering rules; no ONNX file is made and no runtime asked.
    """
    return network_seconds(model, work.of_specs(specs, model.lowering).at(batch), batch)


def predict(model: CostModel, ops: Sequence[Work], batch: int, network: str = "") -> Prediction:
    """One network from its ops at that batch (`work.of_nodes`, `work.of_spec`), broken down."""
    count = np.array([float(len(ops))])
    overhead = [
        Part(
            name=NETWORK,
            term=term.feature,
            seconds=float(_overhead(term, batch, count)[0]),
            words=term.label or term.feature,
        )
        for term in model.terms_of(NETWORK)
    ]
    groups = [_Grouped.of(model, name, ops) for name in dict.fromkeys(op.group for op in ops)]
    each = np.full(len(ops), np.nan)
    for one in groups:
        if one.group is not None:
            each[one.at] = one.parts.sum(axis=1)
    known = ~np.isnan(each)
    total = float(each[known].sum()) + sum(part.seconds for part in overhead)
    factor = _factor(model, ops, each) if known.all() else None
    return Prediction(
        network=network,
        batch=batch,
        seconds=total,
        low_s=total / factor if factor else None,
        high_s=total * factor if factor else None,
        terms=(*overhead, *(part for one in groups for part in one.summed())),
        layers=tuple(
            Part(name=op.label or op.op, term=op.group, seconds=seconds)
            for op, seconds in zip(ops, each.tolist(), strict=True)
        ),
        extrapolates=tuple(sentence for one in groups if (sentence := one.extrapolates(total))),
        unknown=tuple(
            dict.fromkeys(ops[place].op for one in groups if one.group is None for place in one.at)
        ),
    )


class _Grouped(NamedTuple):
    """The ops of one group in a network: amounts, and seconds, op by term."""

    group: Group | None
    terms: tuple[Term, ...]
    at: list[int]
    amounts: Array
    parts: Array

    @classmethod
    def of(cls, model: CostModel, name: str, ops: Sequence[Work]) -> _Grouped:
        at = [index for index, op in enumerate(ops) if op.group == name]
        terms = model.terms_of(name)
        numbers = np.array([ops[index][3:] for index in at], dtype=float)
        columns = {column: numbers[:, index] for index, column in enumerate(work.COLUMNS)}
        amounts = features.matrix(tuple(term.feature for term in terms), columns)
        parts = amounts * np.array([term.coefficient for term in terms])
        return cls(model.group(name), terms, at, amounts, parts)

    def summed(self) -> list[Part]:
        """The group's time, term by term."""
        return [
            Part(
                name=term.group,
                term=term.feature,
                seconds=seconds,
                words=term.label or features.FEATURES[term.feature].words,
            )
            for term, seconds in zip(self.terms, self.parts.sum(axis=0).tolist(), strict=True)
        ]

    def extrapolates(self, total_s: float) -> str:
        """A sentence where the group matters to the network and leaves what was measured."""
        if self.group is None or not self.terms or self.parts.sum() < _SHARE * total_s:
            return ""
        return self._outside() or self._levered(self.group)

    def _outside(self) -> str:
        """Whether a term that matters is asked for far more than was seen."""
        matters = self.parts > _MATTERS * self.parts.sum(axis=1, keepdims=True)
        most = np.where(matters, self.amounts, 0.0).max(axis=0)
        for term, amount in zip(self.terms, most.tolist(), strict=True):
            if term.largest and amount > _BEYOND * term.largest:
                words = features.FEATURES[term.feature].words
                times = amount / term.largest
                return f"{term.group}: {times:.1f} times the most {words} that was measured"
        return ""

    def _levered(self, group: Group) -> str:
        """Whether a mix of terms is asked for that no measurement held down."""
        if group.leverage is None or not group.inverse:
            return ""
        inverse = np.zeros((len(self.terms), len(self.terms)))
        inverse[np.triu_indices(len(self.terms))] = group.inverse
        relative = self.amounts / np.maximum(self.parts.sum(axis=1, keepdims=True), 1e-12)
        pulled = relative @ inverse
        lever = (pulled**2).sum(axis=1)
        worst = int(lever.argmax())
        if lever[worst] <= group.leverage * _LEVER:
            return ""
        most = int(np.abs(relative[worst] * (inverse @ pulled[worst])).argmax())
        words = features.FEATURES[self.terms[most].feature].words
        return f"{group.name}: a mix that was not measured, in {words}"


def _factor(model: CostModel, ops: Sequence[Work], each: Array) -> float | None:
    """The factor of the interval: that of whole networks where some were held out.

    Else the mean of the ops' factors in the logarithm, by their time, as if all erred together.
    """
    if model.network.factor:
        return model.network.factor
    logs = [
        math.log(group.factor) if group and group.factor else math.nan
        for group in (model.group(op.group) for op in ops)
    ]
    total = float(each.sum())
    mean = float((np.array(logs) * each).sum()) / total if total else math.nan
    return math.exp(mean) if math.isfinite(mean) else None
