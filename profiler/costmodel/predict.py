"""From a model and ops to seconds: one network with its breakdown, or thousands at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.networks.spec import NetworkSpec
from nnprof.profiler.costmodel import features, lowering, nearby, standins, work
from nnprof.profiler.costmodel.model import NETWORK, CostModel, Group, Term
from nnprof.profiler.costmodel.prediction import Part, Prediction
from nnprof.profiler.costmodel.work import Table, Work

Array = NDArray[np.float64]

_BEYOND = 2.0  # times the largest amount in training at which a term is said to extrapolate
_SHARE = 0.10  # of the network's time; ops of a group with less in all cannot move it much
_APART = 4.0  # times: batches closer together do not tell a call from a tile; our choice
_LEVER = 1.01  # over the largest leverage in training


def op_seconds(model: CostModel, ops: Table) -> Array:
    """Seconds of each distinct op; NaN for ops of groups that the model has not seen."""
    result = np.full(len(ops.ops), np.nan)
    for code, name in enumerate(ops.names):
        group, terms, _ = standins.answer(model, name)
        if group is None:
            continue
        at = ops.codes == code
        chosen = {column: values[at] for column, values in ops.columns.items()}
        amounts = features.matrix(tuple(term.feature for term in terms), chosen)
        result[at] = amounts @ np.array([term.coefficient for term in terms])
    return result


def network_seconds(model: CostModel, ops: Table, batch: int) -> Array:
    """Seconds of one inference of each network; NaN where it has an op that the model lacks."""
    total = _summed(op_seconds(model, ops), ops) + _missed_seconds(model, ops)
    launches = np.bincount(ops.network, minlength=ops.networks).astype(float)
    for term in model.terms_of(NETWORK):
        total += _overhead(term, batch, launches)
    return total * nearby.factors(model, ops, batch)


def _missed_seconds(model: CostModel, ops: Table) -> Array:
    """Seconds of the terms that depend on the whole network, which an op of many does not know."""
    total, touched = np.zeros(ops.networks), ops.touched()
    asked = ops.columns["touched"][ops.row] == 0
    for code, name in enumerate(ops.names):
        for term in standins.answer(model, name).terms:
            if term.feature not in features.MISSED:
                continue
            at = (ops.codes[ops.row] == code) & asked
            network = ops.network[at]
            amount = ops.columns[features.MISSED[term.feature][0]][ops.row[at]]
            missed = features.missed(term.feature, touched[network], amount)
            total += term.coefficient * np.bincount(network, missed, ops.networks)
    return total


def _overhead(term: Term, batch: int, launches: Array) -> Array:
    """Seconds of a term that belongs to no op: once a call, a tile, or an op."""
    amount = {"call": np.ones_like(launches), "launch": launches}.get(term.feature)
    return term.coefficient * (np.full_like(launches, batch) if amount is None else amount)


def predict_specs(model: CostModel, specs: Iterable[NetworkSpec], batch: int) -> Array:
    """Seconds per inference of many networks at one batch; NaN where the model lacks an op.

    The ops come from the model's lowering rules; no ONNX file is made and no runtime asked.
    """
    ops = lowering.of_specs(specs, model.lowering).at(batch, model.value_bytes)
    return network_seconds(model, ops, batch)


def predict(model: CostModel, ops: Sequence[Work], batch: int, network: str = "") -> Prediction:
    """One network from its ops at that batch (`ran.of_nodes`, `lowering.of_spec`), broken down."""
    groups = [_Grouped.of(model, name, ops) for name in dict.fromkeys(op.group for op in ops)]
    each = np.full(len(ops), np.nan)
    for one in groups:
        if one.group is not None:
            each[one.at] = one.parts.sum(axis=1)
    known = ~np.isnan(each)
    overhead = _of_network(model, ops, batch, each)
    total = float(each[known].sum()) + sum(part.seconds for part in overhead)
    factor = _factor(model, groups, batch) if known.all() else math.nan
    factor *= float(_below(model, work.table([ops]), batch, np.array([factor]))[0])
    return Prediction(
        network=network,
        batch=batch,
        seconds=total,
        low_s=total / factor if math.isfinite(factor) else None,
        high_s=total * factor if math.isfinite(factor) else None,
        terms=(*overhead, *(part for one in groups for part in one.summed())),
        layers=tuple(
            Part(name=op.label or op.op, term=op.group, seconds=seconds)
            for op, seconds in zip(ops, each.tolist(), strict=True)
        ),
        extrapolates=(
            *_batch_words(model, batch),
            *(sentence for one in groups if (sentence := one.extrapolates(total))),
        ),
        unknown=tuple(
            dict.fromkeys(ops[place].op for one in groups if one.group is None for place in one.at)
        ),
    )


def _of_network(model: CostModel, ops: Sequence[Work], batch: int, each: Array) -> list[Part]:
    """What belongs to no op; with what networks beside it add, or take, where all ops are known."""
    count = np.array([float(len(ops))])
    told = [
        (term.feature, float(_overhead(term, batch, count)[0]), term.label or term.feature)
        for term in model.terms_of(NETWORK)
    ]
    if model.nearby and not np.isnan(each).any():
        total_s = float(each.sum()) + sum(seconds for _, seconds, _ in told)
        more_s = total_s * (nearby.factor(model, ops) - 1)
        told.append(("nearby", more_s, "networks beside it"))
    return [Part(name=NETWORK, term=term, seconds=s, words=words) for term, s, words in told]


class _Grouped(NamedTuple):
    """The ops of one group in a network: amounts, and seconds, op by term.

    `outside`: for each op whether it leaves the group's domain, and in which column; used only for
    models whose terms lack `largest`. `instead`: what stands in for a group that was not measured.
    """

    group: Group | None
    terms: tuple[Term, ...]
    at: list[int]
    amounts: Array
    parts: Array
    outside: tuple[NDArray[np.bool_], str]
    instead: str = ""

    @classmethod
    def of(cls, model: CostModel, name: str, ops: Sequence[Work]) -> _Grouped:
        at = [index for index, op in enumerate(ops) if op.group == name]
        columns = work.columns_of([ops[index] for index in at])
        return cls.of_columns(model, name, at, columns)

    @classmethod
    def of_columns(
        cls, model: CostModel, name: str, at: list[int], columns: Mapping[str, Array]
    ) -> _Grouped:
        group, terms, instead = standins.answer(model, name)
        amounts = features.matrix(tuple(term.feature for term in terms), columns)
        parts = amounts * np.array([term.coefficient for term in terms])
        told = group is None or any(term.largest for term in terms)
        outside = _outside({} if told or group is None else group.domain, columns)
        return cls(group, terms, at, amounts, parts, outside, instead)

    @classmethod
    def of_table(cls, model: CostModel, ops: Table, code: int) -> _Grouped:
        """All distinct ops of the group of that code."""
        at = ops.codes == code
        chosen = {column: values[at] for column, values in ops.columns.items()}
        return cls.of_columns(model, ops.names[code], np.flatnonzero(at).tolist(), chosen)

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
        """A sentence where the group leaves what was measured, and matters to the network."""
        if self.group is None or not self.terms:
            return ""
        if self.instead:
            return standins.words(self.group.name, self.instead)
        if self.outside[0].any():
            return f"{self.group.name}: {self.outside[1]} beyond what the model was made for"
        if self.parts.sum() < _SHARE * total_s:
            return ""
        return (
            self._outside_words() or self._untold_words(total_s) or self._levered_words(self.group)
        )

    def leaves(self) -> NDArray[np.bool_]:
        """Of each op: whether it leaves what was measured of the group."""
        if self.group is None or not self.terms:
            return np.zeros(len(self.at), dtype=bool)
        levers = self._pulled(self.group)[1]
        beyond = (self._beyond() > _BEYOND).any(axis=1)
        return np.asarray(beyond | (levers > _LEVER))

    def _most(self) -> Array:
        """Of each term, the most that was measured; 0 where there was none."""
        return np.array([term.largest or 0.0 for term in self.terms])

    def _beyond(self) -> Array:
        """Ops by terms: times the most that was measured, 0 for terms that do not matter."""
        return features.beyond(self.amounts, self.parts, self._most())

    def widening(self) -> Array:
        """What the logarithm of each op's factor gains for leaving the measurements.

        Nothing where the model does not tell what was measured.
        """
        if self.instead:
            return np.full(len(self.at), features.UNTOLD)
        if self.group is None or not self._most().any():
            return np.zeros(len(self.at))
        far = features.octaves(self.amounts, self.parts, self._most())
        return (self.group.growth or 0.0) * far + features.untold(self.parts, self._most())

    def untold_s(self) -> Array:
        """Ops by terms: seconds of terms that no measured op has any of."""
        most = self._most()
        return np.where((most <= 0) & most.any(), self.parts, 0.0)

    def _untold_words(self, total_s: float) -> str:
        """Which term that matters to the network is known from something else than its ops."""
        seconds = self.untold_s().sum(axis=0)
        if seconds.sum() < _SHARE * total_s:
            return ""
        term = self.terms[int(seconds.argmax())]
        words = features.FEATURES[term.feature].words
        return f"{term.group}: no op that was measured has any {words}"

    def _outside_words(self) -> str:
        """Which term that matters is asked for far more than was seen."""
        for term, times in zip(self.terms, self._beyond().max(axis=0).tolist(), strict=True):
            if times > _BEYOND:
                words = features.FEATURES[term.feature].words
                return f"{term.group}: {times:.1f} times the most {words} that was measured"
        return ""

    def _pulled(self, group: Group) -> tuple[Array, Array, Array]:
        """Ops by relative features; of each op its leverage over the most in training; R⁻¹.

        The latter two are 0 where the model does not say.
        """
        relative = self.amounts / np.maximum(self.parts.sum(axis=1, keepdims=True), 1e-12)
        inverse = np.zeros((len(self.terms), len(self.terms)))
        if group.leverage is None or not group.inverse:
            return relative, np.zeros(len(self.at)), inverse
        inverse[np.triu_indices(len(self.terms))] = group.inverse
        return relative, ((relative @ inverse) ** 2).sum(axis=1) / group.leverage, inverse

    def _levered_words(self, group: Group) -> str:
        """Whether a mix of terms is asked for that no measurement held down."""
        relative, levers, inverse = self._pulled(group)
        worst = int(levers.argmax())
        if levers[worst] <= _LEVER:
            return ""
        most = int(np.abs(relative[worst] * (inverse @ (relative[worst] @ inverse))).argmax())
        words = features.FEATURES[self.terms[most].feature].words
        return f"{group.name}: a mix that was not measured, most in '{words}'"


def _outside(
    domain: Mapping[str, tuple[float, float]], columns: Mapping[str, Array]
) -> tuple[NDArray[np.bool_], str]:
    """Ops that leave a domain, and the first column in which one does."""
    off, where = np.zeros(len(columns["batch"]), dtype=bool), ""
    for column, (low, high) in domain.items():
        # Rounded on disk: a thousandth over the edge is on the edge.
        beyond = (columns[column] < low * (1 - 1e-3)) | (columns[column] > high * (1 + 1e-3))
        where = where or (column if beyond.any() else "")
        off |= beyond
    return off, where


def _batch_words(model: CostModel, batch: int) -> tuple[str, ...]:
    """A sentence where the batch was not seen; above those that were, terms tell it themselves."""
    if not model.batches:
        return ()
    low, high = model.batches
    if batch < low:
        return (f"batch {batch} is below the least that was measured, {low}",)
    if batch <= high or any(term.largest for term in model.terms):
        return ()
    return (f"the model was made for batch {low}{f' to {high}' if high > low else ''}",)


def network_factors(model: CostModel, ops: Table) -> Array:
    """The factor of each network's 90 % interval at the table's batch; NaN where there is none.

    That of whole networks where some were held out. Else the mean of the ops' factors in the
    logarithm, by their time, as if all erred together; a group without a factor has the largest.
    Ops beyond the measurements make it wider by their share of the time, and so does a batch below
    those that were measured (`_below`).
    """
    ops = ops.apart()
    logs = np.array(_logs(model, ops.names))[ops.codes]
    if np.isnan(logs).any():
        return np.full(ops.networks, np.nan)
    for code in range(len(ops.names)):
        logs[ops.codes == code] += _Grouped.of_table(model, ops, code).widening()
    batch = float(ops.columns["batch"].max(initial=1.0))
    logs += nearby.wider(model, batch)
    seconds = op_seconds(model, ops)
    with np.errstate(invalid="ignore", divide="ignore"):
        factors = np.exp(_summed(logs * seconds, ops) / _summed(seconds, ops))
    return factors * _below(model, ops, round(batch), factors)


def _below(model: CostModel, ops: Table, batch: int, factors: Array) -> Array:
    """What a batch below the least that was measured multiplies the factors by.

    At that least batch the model may be off by its factor, and nothing tells whether by what a call
    and an op cost at any batch or by what a tile costs. In the worst case it is all of the former:
    as many seconds are in doubt at the smaller batch. Where all batches were about the same, the
    two were not told apart at all, and the time may as well be that of the tiles alone.
    """
    if not model.batches or batch >= model.batches[0]:
        return np.ones(ops.networks)
    low, high = model.batches
    total = network_seconds(model, ops, batch)
    least = network_seconds(model, ops.at(low / batch), low)
    wider = 1 + (factors - 1) * least / total * (1 - batch / low)
    if high < _APART * low:
        tiles = total / (least * batch / low)
        wider = np.maximum(wider, np.maximum(tiles, 1 / tiles))
    return np.asarray(wider)


def _logs(model: CostModel, names: Sequence[str]) -> list[float]:
    """Logarithm of the factor of ops of these groups, inside what was measured; NaN without one."""
    if model.network.factor:
        return [math.log(model.network.factor)] * len(names)
    known = {group.name: math.log(group.factor) for group in model.groups if group.factor}
    most = max(known.values(), default=math.nan)
    return [known.get(model.same.get(name, name), most) for name in names]


def _factor(model: CostModel, groups: Sequence[_Grouped], batch: int) -> float:
    """`network_factors` of one network that is at hand by groups."""
    names = [one.group.name if one.group else "" for one in groups]
    spent = [one.parts.sum(axis=1) for one in groups]
    total = sum(float(each.sum()) for each in spent)
    if not total:
        return math.nan
    log = sum(
        float(each @ (one.widening() + base))
        for each, one, base in zip(spent, groups, _logs(model, names), strict=True)
    )
    return math.exp(log / total + nearby.wider(model, batch))


def extrapolating(model: CostModel, ops: Table, batch: int) -> NDArray[np.bool_]:
    """Networks that leave what was measured: those of which `predict` says so."""
    ops = ops.apart()
    seconds, total = op_seconds(model, ops), network_seconds(model, ops, batch)
    result = np.full(ops.networks, bool(_batch_words(model, batch)))
    for code in range(len(ops.names)):
        at, one = ops.codes == code, _Grouped.of_table(model, ops, code)
        leaves, outside, untold = (np.zeros(len(ops.ops)) for _ in range(3))
        leaves[at], outside[at] = one.leaves(), one.outside[0] | bool(one.instead)
        untold[at] = one.untold_s().sum(axis=1)
        result |= _summed(outside, ops) > 0
        if untold.any():
            result |= _summed(untold, ops) >= _SHARE * total
        if leaves.any():
            spent = _summed(np.where(at, seconds, 0.0), ops)
            result |= (spent >= _SHARE * total) & (_summed(leaves, ops) > 0)
    return result


def _summed(values: Array, ops: Table) -> Array:
    """What is known of each distinct op, summed over the ops of each network."""
    return np.bincount(ops.network, weights=values[ops.row], minlength=ops.networks).astype(float)
