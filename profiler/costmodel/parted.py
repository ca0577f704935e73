"""Runs of several targets, as a fleet makes them: one cost model for each target and precision."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from nnprof.errors import NnprofError, UsageError
from nnprof.profiler.costmodel import assemble, gather, power
from nnprof.profiler.costmodel.model import CostModel, Peaks, Source, fitted_in
from nnprof.profiler.place.boards import KIND
from nnprof.types import LOCAL, Measurement, Run, Target

_NO_LETTER = re.compile(r"[^A-Za-z0-9._-]+")


class OfTarget(NamedTuple):
    """What came of the Runs of one target and precision: a model, or why there is none.

    `name` tells it from the others, in words that a file's name can have.
    """

    name: str
    target: Target
    precision: str
    made: CostModel | None
    error: NnprofError | None = None


class _Part(NamedTuple):
    """The cells of one target and precision, in Runs that have no others."""

    target: Target
    precision: str
    runs: tuple[Run, ...]
    sources: tuple[Source, ...]


def fitted(
    runs: Sequence[Run],
    sources: Sequence[Source],
    name: str = "",
    peaks: Peaks | None = None,
    prior: CostModel | None = None,
) -> CostModel:
    """The model of Runs of one target, with the power that they measured.

    Raises:
        UsageError: see `gather.gathered` and `assemble.model`.
    """
    made = assemble.model(gather.gathered(runs, tuple(sources)), name, peaks, prior)
    return fitted_in(replace(made, power=power.seen(runs)))


def of_each(
    runs: Sequence[Run],
    sources: Sequence[Source],
    name: str = "",
    peaks: Peaks | None = None,
    prior: CostModel | None = None,
) -> tuple[OfTarget, ...]:
    """A model of each target and precision, in the order in which the Runs have them.

    Raises:
        UsageError: the Runs hold no measurement, or several have a name or peaks that are one's; or
            there is one target, and nothing of it can be fitted.
    """
    parts = _parts(runs, sources)
    if len(parts) < 2:
        one = gather.gathered(runs, tuple(sources)).target
        made = fitted(runs, sources, name, peaks, prior)
        return (OfTarget("", one, made.precision, made),)
    if name or peaks is not None:
        raise UsageError(
            f"A name and peaks are those of one model, and the Runs are of {len(parts)} targets "
            "and precisions.",
            "Leave --name, --peak-gflops and --peak-gbytes out, or fit the Runs of each alone.",
        )
    return tuple(_tried(part, own, prior) for part, own in zip(parts, _names(parts), strict=True))


def _tried(part: _Part, name: str, prior: CostModel | None) -> OfTarget:
    """One of several: what one lacks is no reason to have none of the others."""
    told = "" if part.target.host == LOCAL else part.target.host.removeprefix(KIND)
    try:
        made = fitted(part.runs, part.sources, told, None, prior)
    except UsageError as error:
        return OfTarget(name, part.target, part.precision, None, error)
    return OfTarget(name, part.target, part.precision, made)


def _parts(runs: Sequence[Run], sources: Sequence[Source]) -> list[_Part]:
    """The Runs with the cells of one target and precision alone, for each of these."""
    found: dict[bytes, tuple[Measurement, list[tuple[Run, Source]]]] = {}
    for run, source in zip(runs, sources, strict=True):
        cells: dict[bytes, list[Measurement]] = {}
        for cell in run.measurements:
            cells.setdefault(_key(cell), []).append(cell)
        for key, own in cells.items():
            alone = replace(run, measurements=tuple(own))
            found.setdefault(key, (own[0], []))[1].append((alone, source))
    return [
        _Part(cell.target, cell.workload.precision, *map(tuple, zip(*own, strict=True)))
        for cell, own in found.values()
    ]


def _key(cell: Measurement) -> bytes:
    return msgspec.json.encode((cell.target, cell.workload.precision), order="deterministic")


def _names(parts: Sequence[_Part]) -> list[str]:
    """Board, and what else tells the parts apart, as the end of a file's name; no two alike."""
    words = [
        (
            part.target.host.removeprefix(KIND),
            part.target.backend,
            part.target.on,
            f"{part.target.threads}-threads",
            part.precision,
            "-".join(f"{key}-{value}" for key, value in sorted(part.target.options.items())),
        )
        for part in parts
    ]
    names = [own[0] for own in words]
    for at in range(1, len(words[0])):
        if len(set(names)) < len(names) and len({own[at] for own in words}) > 1:
            names = [
                "-".join(filter(None, (name, own[at])))
                for name, own in zip(names, words, strict=True)
            ]
    names = [_NO_LETTER.sub("-", name) for name in names]
    counts = [names[:at].count(name) for at, name in enumerate(names)]
    return [
        f"{name}~{count + 1}" if count else name for name, count in zip(names, counts, strict=True)
    ]
