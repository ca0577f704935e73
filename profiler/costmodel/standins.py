"""Ops of kinds that no Run measured: what stands in for their terms.

A network of somebody else has an average pool, a tanh, a sum, a convolution in groups, where only
max-pools and plain convolutions were measured. None of that is unknown altogether: a pool is
another pool's mate, and what moves values, or multiplies, does it at the device's own rates. So the
fit keeps terms for each kind of op beside those of the groups:

* pools: those of the pools that were measured most, in blocks of channels and not;
* convolutions and products: a launch, FLOPs and bytes as the other ops have them
  (`fit.device_prior`); a group's own terms would be another code's;
* the rest, which moves values: a launch and bytes likewise, pulled by the element by element ops
  that were measured, and what memory beyond the caches costs.

A prediction says which ops those are, and its interval is wider by what a prior may be off. What is
of no kind known here (a recurrent layer) may compute anything, and nothing stands in for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from nnprof.profiler.costmodel import features, fit
from nnprof.profiler.costmodel.fit import Fitted
from nnprof.profiler.costmodel.model import CostModel, Group, StandIn, Term
from nnprof.profiler.costmodel.rows import Rows
from nnprof.profiler.costmodel.sets import computes, kind_of
from nnprof.profiler.graph import opgraph

Array = NDArray[np.float64]

_PLAIN = "-plain"  # ends the names of pools that do not run in blocks of channels
_RATES = {
    "computes": ("launch", "flops", "bytes_moved", "bytes_weights"),
    "moves": ("launch", "bytes_moved"),
}
_MOVING = ("elementwise", "softmax", "memory")  # kinds of `opgraph` that compute next to nothing


class Answer(NamedTuple):
    """By what ops of a group are predicted.

    Attributes:
        group: its own, or one that stands in for it; None where nothing does.
        terms: of that.
        instead: in words what stands in; "" where the group was measured.
    """

    group: Group | None
    terms: tuple[Term, ...]
    instead: str = ""


def answer(model: CostModel, name: str) -> Answer:
    """What the model says of ops of a group."""
    group = model.group(name)
    if group is not None:
        return Answer(group, model.terms_of(name))
    have = {one.kind: one for one in model.standins}
    found = next((have[kind] for kind in kinds_of(name) if kind in have), None)
    if found is None:
        return Answer(None, ())
    rates = found.terms or {one.feature: one.coefficient for one in model.terms_of(found.whose)}
    terms = tuple(
        Term(group=name, feature=feature, coefficient=value, identified=False)
        for feature, value in rates.items()
    )
    return Answer(Group(name=name, ops=(), pooled=True), terms, found.whose)


def kinds_of(group: str) -> tuple[str, ...]:
    """The kinds that can stand in for a group, the best first; none where it may be anything."""
    if computes(group):
        return ("computes",)
    if kind_of(group) == "pool":
        plain = group.endswith(_PLAIN)
        return ("pool-plain", "pool", "moves") if plain else ("pool", "pool-plain", "moves")
    return ("moves",) if group in _MOVES else ()


_MOVES = frozenset(name.lower() for kind in _MOVING for name in opgraph.ops_of(kind))
_ELEMENTS = frozenset(name.lower() for name in opgraph.ops_of("elementwise"))


def of(
    rows: Rows, found: Mapping[str, Fitted], launches: float, prior: Sequence[StandIn] = ()
) -> tuple[StandIn, ...]:
    """What stands in for kinds of ops, from measured ops and the terms of groups.

    `launches` is the factor on each launch that whole networks gave; `prior` is taken for kinds of
    which the ops tell nothing.
    """
    made = [*_pools(rows, found), *_rates(rows, found)]
    own = tuple(
        replace(one, terms={
            name: value * (launches if name == "launch" else 1.0)
            for name, value in one.terms.items()
        })
        for one in made
    )  # fmt: skip
    have = {one.kind for one in own}
    return (*own, *(one for one in prior if one.kind not in have))


def scaled(prior: CostModel, scale: float) -> tuple[StandIn, ...]:
    """Another device's, as far as they are no features of its processor."""
    known = {name for names in _RATES.values() for name in names}
    return tuple(
        replace(one, whose=f"{one.whose} of the prior", terms={
            name: value * scale for name, value in one.terms.items() if name in known
        })
        for one in prior.standins if one.terms
    )  # fmt: skip


def _pools(rows: Rows, found: Mapping[str, Fitted]) -> list[StandIn]:
    """The pools that were measured most, of each layout."""
    groups, result = rows.groups, []
    for kind in ("pool", "pool-plain"):
        mine = [
            name
            for name, one in found.items()
            if kind_of(name) == "pool" and len(one.names)
            and name.endswith(_PLAIN) == kind.endswith(_PLAIN) and (groups == name).any()
        ]  # fmt: skip
        if mine:
            most = max(mine, key=lambda name: int((groups == name).sum()))
            result.append(StandIn(kind=kind, whose=most))
    return result


def _rates(rows: Rows, found: Mapping[str, Fitted]) -> list[StandIn]:
    """A launch, bytes and FLOPs at the rates of the device; none where those are not known."""
    result = []
    for kind, wanted in _RATES.items():
        names, prior = fit.device_prior(rows, found, wanted)
        if ("flops" if kind == "computes" else "bytes_moved") not in names:
            continue
        whose = "a launch, FLOPs and bytes of other ops"
        if kind == "moves":
            names, prior, whose = _moves(rows, found, names, prior)
        terms = {name: float(value) for name, value in zip(names, prior, strict=True) if value > 0}
        result.append(StandIn(kind=kind, whose=whose, terms=terms))
    return result


def _moves(
    rows: Rows, found: Mapping[str, Fitted], names: tuple[str, ...], prior: Array
) -> tuple[tuple[str, ...], Array, str]:
    """The terms of what moves values, and whose they are."""
    steps: dict[str, float] = {}
    for name, one in found.items():
        if kind_of(name) in ("pool", "other", "reorder"):
            expected = {key: value for key, value in one.expected.items() if key in _PAST}
            steps = steps or expected
    names = (*names, *steps)
    prior = np.append(prior, list(steps.values()))
    mates = np.isin(rows.groups, list(_ELEMENTS))
    if not mates.any():
        return names, prior, "a launch and bytes of other ops"
    pulled = fit.pulled(rows.only(mates), names, prior)
    whose = sorted(set(map(str, rows.groups[mates])))
    return pulled.names, pulled.coefficients, ", ".join(whose[:3]) + (" …" if whose[3:] else "")


_PAST = frozenset(name for name in features.FEATURES if name.startswith("bytes_moved_past_"))


def words(name: str, instead: str) -> str:
    """A sentence on ops that something stands in for."""
    return f"{name}: not measured, predicted as {instead}"
