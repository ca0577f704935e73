"""Which cells of two Runs are one network at one batch, and so can be compared. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from nnprof.errors import UsageError
from nnprof.profiler import compare, pairs
from nnprof.types import Measurement, Model, Run

Pair = tuple[Measurement, Measurement]


class Matched(NamedTuple):
    """Cells of both Runs, by network and batch; whether their processes alternated."""

    found: list[Pair]
    paired: bool


def cells(
    a: Run,
    b: Run,
    batches: Collection[int] = (),
    precisions: tuple[str, str] | None = None,
) -> Matched:
    """The cells that both Runs have.

    Args:
        a: a Run.
        b: another one, or the same where it holds two precisions.
        batches: only these; all where empty.
        precisions: that of a, and that of b, where a Run has several.

    Raises:
        UsageError: they have no cell in common, are of two networks, or several cells could be
            meant.
    """
    paired = pairs.are_sides(a, b)
    if paired:
        found = compare.sides(a, b)
    else:
        old, new = _chosen(a, b, precisions)
        found = [(one, other) for one in old if (other := _partner(one, old, new))]
    if not found:
        raise UsageError(*_nothing_in_common(a, b))
    known = sorted({one.workload.batch for one, _ in found})
    found = [pair for pair in found if not batches or pair[0].workload.batch in batches]
    if not found:
        raise UsageError(
            "The Runs have no cell of such a batch in common.",
            f"Batches of both: {', '.join(map(str, known))}.",
        )
    for pair in found:
        _require_one_network(*(one.workload.model for one in pair))
    return Matched(_by_network(found), paired)


def _by_network(found: Sequence[Pair]) -> list[Pair]:
    """By network in the order of a, then by batch."""
    names = list(dict.fromkeys(_network(one.workload.model) for one, _ in found))
    return sorted(
        found,
        key=lambda pair: (names.index(_network(pair[0].workload.model)), pair[0].workload.batch),
    )


def _network(model: Model) -> str:
    return model.network or model.name


def _chosen(
    a: Run, b: Run, precisions: tuple[str, str] | None
) -> tuple[list[Measurement], list[Measurement]]:
    """The finished cells of each side, of one precision each where that must be said."""
    done = [compare.finished(run) for run in (a, b)]
    known = [list(dict.fromkeys(m.workload.precision for m in own)) for own in done]
    if precisions is None and a is b and len(known[0]) == 2:
        precisions = (known[0][0], known[0][1])
    if precisions is None:
        return done[0], done[1]
    chosen = []
    for own, wanted, there, side in zip(done, precisions, known, "ab", strict=True):
        kept = [one for one in own if one.workload.precision == wanted]
        if not kept:
            raise UsageError(
                f"No cell of {side} is {wanted}.", f"It has: {', '.join(there) or 'no cells'}."
            )
        chosen.append(kept)
    return chosen[0], chosen[1]


def _partner(
    one: Measurement, old: Sequence[Measurement], new: Sequence[Measurement]
) -> Measurement | None:
    """The cell of b that asks the same of the same network, the one of a's precision first.

    Raises:
        UsageError: several do.
    """
    alike = [other for other in new if _same_question(one, other, old, new)]
    rivals = [other for other in old if alike and _same_question(other, alike[0], old, new)]
    best = [other for other in alike if other.workload.precision == one.workload.precision]
    if len(best) == 1 or (len(alike) == len(rivals) == 1):
        return (best or alike)[0]
    taken = {rival.workload.precision for rival in rivals}
    if all(other.workload.precision in taken for other in alike) and not best:
        return None  # they are the partners of others
    work = one.workload
    raise UsageError(
        f"Several cells are {work.model.name}, batch {work.batch}, and nothing tells which two to "
        "hold against each other.",
        "Say the precision of each side, such as --precision fp32,int8; or give Runs with one "
        "target and one precision each.",
    )


def _same_question(
    one: Measurement,
    other: Measurement,
    old: Sequence[Measurement],
    new: Sequence[Measurement],
) -> bool:
    work, theirs = one.workload, other.workload
    if work.batch != theirs.batch or work.dims != theirs.dims:
        return False
    if _is_same(work.model, theirs.model):
        return True
    # A name that an import made up says nothing: where each Run is of one network, it is that.
    return all(len({_network(m.workload.model) for m in side}) == 1 for side in (old, new))


def _is_same(one: Model, other: Model) -> bool:
    if one.sha256 and one.sha256 == other.sha256:
        return True
    if one.network and other.network:
        return one.network == other.network
    return one.name == other.name


def _require_one_network(one: Model, other: Model) -> None:
    if one.network and other.network and one.network != other.network:
        raise UsageError(
            f"These are two networks: a is {one.name}, and b is {other.name}.",
            "Give two Runs of one network. Two networks as a whole: nnprof bench A B --paired.",
        )


def _nothing_in_common(a: Run, b: Run) -> tuple[str, str]:
    sides = [sorted({_said(one) for one in compare.finished(run)}) for run in (a, b)]
    listed = ["; ".join(own[:3]) + (" …" if len(own) > 3 else "") or "none" for own in sides]
    return (
        "The two Runs have no finished cell of one network at one batch in common. "
        f"a: {listed[0]}; b: {listed[1]}.",
        "Measure the same network at the same batch.",
    )


def _said(one: Measurement) -> str:
    return f"{one.workload.model.name}, batch {one.workload.batch}"
