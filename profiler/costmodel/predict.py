"""From a model and ops to seconds: one network with its breakdown, or thousands at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from nnprof.networks.spec import NetworkSpec
from nnprof.profiler.costmodel import features, work
from nnprof.profiler.costmodel.model import NETWORK, CostModel
from nnprof.profiler.costmodel.work import Table, Work

Array = NDArray[np.float64]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The share of one term, or of one op, in a prediction. `name` is the group or the op."""

    name: str
    term: str
    seconds: float


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What one network costs at one batch.

    Attributes:
        seconds: per inference (all tiles of the batch) of the known part.
        low_s, high_s: 90 % interval; None where the model has none.
        terms: every term that is not 0, network terms first; `layers`: every op, in order.
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
    total = np.bincount(ops.network, weights=each, minlength=ops.networks)
    launches = np.bincount(ops.network, minlength=ops.networks)
    return total + _overhead(model, batch, launches.astype(float))


def _overhead(model: CostModel, batch: int, launches: Array) -> Array:
    """Seconds of the terms that belong to no op."""
    one = np.ones_like(launches)
    amount = {"call": one, "tiles": batch * one, "launch": launches}
    total = np.zeros_like(launches)
    for term in model.terms_of(NETWORK):
        total += term.coefficient * amount[term.feature]
    return total


def predict_specs(model: CostModel, specs: Iterable[NetworkSpec], batch: int) -> Array:
    """Seconds per inference of many networks at one batch; NaN where the model lacks an op.

    The ops come from the model's lowering rules; no ONNX file is made and no runtime asked.
    """
    return network_seconds(model, work.of_specs(specs, model.lowering).at(batch), batch)


def predict(model: CostModel, ops: Sequence[Work], batch: int, network: str = "") -> Prediction:
    """One network from its ops at that batch (`work.of_nodes`, `work.of_specs`), broken down."""
    table = work.table([ops])
    each = op_seconds(model, table)[table.row]
    known = ~np.isnan(each)
    overhead = [
        Part(name=NETWORK, term=term.label or term.feature, seconds=float(seconds))
        for term in model.terms_of(NETWORK)
        for seconds in _overhead(
            msgspec.structs.replace(model, terms=(term,)), batch, np.array([float(len(ops))])
        )
    ]
    total = float(each[known].sum()) + sum(part.seconds for part in overhead)
    factor = model.network.factor
    return Prediction(
        network=network,
        batch=batch,
        seconds=total,
        low_s=total / factor if factor else None,
        high_s=total * factor if factor else None,
        terms=(*overhead, *_parts(model, table)),
        layers=tuple(
            Part(name=op.label or op.op, term=op.group, seconds=float(seconds))
            for op, seconds in zip(ops, each, strict=True)
        ),
        unknown=tuple(dict.fromkeys(op.op for op in ops if model.group(op.group) is None)),
    )


def _parts(model: CostModel, table: Table) -> list[Part]:
    parts = []
    for term in model.terms:
        if term.group not in table.names:
            continue
        at = table.row[table.codes[table.row] == table.names.index(term.group)]
        amount = features.FEATURES[term.feature].of(table.columns)[at].sum()
        seconds = float(amount) * term.coefficient
        parts.append(Part(name=term.group, term=term.label or term.feature, seconds=seconds))
    return parts
