"""Networks that meet a time budget: those of a family by prediction, trained ones by accuracy.

Pure, but for `records`, which reads what training left behind.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from nnprof.errors import UsageError
from nnprof.networks.checkpoint import RECORD, load_record
from nnprof.networks.counts import counted
from nnprof.networks.families import parameters, parse_network
from nnprof.networks.spaces import Space
from nnprof.networks.spec import NetworkSpec
from nnprof.profiler import frames
from nnprof.profiler.costmodel import lowering, made_for, predict, standins
from nnprof.profiler.costmodel.model import CostModel
from nnprof.profiler.costmodel.work import Table
from nnprof.types import Image

_LOG = logging.getLogger(__name__)
Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A network and what it is predicted to cost.

    Attributes:
        network: its name; `notation`: its layers.
        batch: tiles per inference, of those that were asked about the best one for this network.
        ms_per_tile, tiles_per_ms: predicted; `low_tiles_per_ms`, `high_tiles_per_ms`: 90 %
            interval, None where the model has none.
        meets: "surely" (the whole interval meets the budget), "probably" (the prediction does; the
            interval does not, or there is none) or "no".
        extrapolates: it leaves the domain of the model.
        weights: numbers that it learns.
        largest: no parameter has a next choice in the space that still meets the budget.
        accuracy: of the trained one, percent of the test tiles, None where not trained.
        front: no trained network is both faster and more accurate.
        known_error: of the model; `prediction.Prediction` says what that is.
        frames_per_s: of an image that is cut into tiles, inference alone, with the same interval;
            None where no image was asked about.
    """

    network: str
    notation: str
    batch: int
    ms_per_tile: float
    tiles_per_ms: float
    low_tiles_per_ms: float | None
    high_tiles_per_ms: float | None
    meets: Literal["surely", "probably", "no"]
    extrapolates: bool
    weights: int
    largest: bool = False
    accuracy: float | None = None
    front: bool = False
    known_error: float | None = None
    frames_per_s: float | None = None
    low_frames_per_s: float | None = None
    high_frames_per_s: float | None = None


class Found(NamedTuple):
    """What a search found.

    Attributes:
        candidates: those that meet the budget, of trained networks all that can be predicted.
        looked_at: how many networks there are; `unknown`: how many cannot be predicted.
        unseen: the types of op that is for.
        fastest: of all, None where none can be predicted.
        notes: a sentence for each training that tells no accuracy, and one where this machine is
            of another kind than the model's.
        known_error, doubt: of the model; `prediction.Prediction` says what they are.
        batches: tiles per inference; of several the best one counts for each network.
        tiles_per_frame: of an image, None where none was asked about.
        wanted: tiles/ms, or frames/s of an image, that were asked for.
        perhaps: networks that are predicted to be too slow, but may meet it by their interval.
    """

    candidates: tuple[Candidate, ...]
    looked_at: int
    unknown: int
    unseen: tuple[str, ...] = ()
    fastest: Candidate | None = None
    notes: tuple[str, ...] = ()
    known_error: float | None = None
    doubt: str = ""
    batches: tuple[int, ...] = ()
    tiles_per_frame: int | None = None
    wanted: float = 0.0
    perhaps: int = 0

    def on_frames(self, tiles: int) -> Found:
        """The same, with the frames/s of images of so many tiles."""
        return self._replace(
            candidates=tuple(_on_frames(one, tiles) for one in self.candidates),
            fastest=self.fastest and _on_frames(self.fastest, tiles),
            tiles_per_frame=tiles,
            wanted=self.wanted * 1e3 / tiles,
        )


def _on_frames(one: Candidate, tiles: int) -> Candidate:
    """With its frames/s: tiles/ms · 1000 / tiles."""
    rates = (one.tiles_per_ms, one.low_tiles_per_ms, one.high_tiles_per_ms)
    each, low, high = (None if rate is None else rate * 1e3 / tiles for rate in rates)
    return msgspec.structs.replace(
        one, frames_per_s=each, low_frames_per_s=low, high_frames_per_s=high
    )


def search(model: CostModel, space: Space, batches: Sequence[int], tiles_per_ms: float) -> Found:
    """The networks of a space that are predicted to reach so many tiles/ms, most weights first.

    Of several batches each network is taken at the best one.
    """
    specs = list(space.specs())
    predicted = _predicted(model, specs, batches, tiles_per_ms)
    rates = predicted.rates
    meeting = np.flatnonzero(rates >= tiles_per_ms).tolist()  # NaN never meets
    keys = {_place(space, specs[index]) for index in meeting}
    found = [
        msgspec.structs.replace(
            _candidate(specs, predicted, index, tiles_per_ms),
            largest=not any(key in keys for key in _next(space, _place(space, specs[index]))),
        )
        for index in meeting
    ]
    found.sort(key=lambda one: (-one.weights, one.ms_per_tile))
    fastest = None
    if not np.isnan(rates).all():
        fastest = _candidate(specs, predicted, int(np.nanargmax(rates)), tiles_per_ms)
    unknown = int(np.isnan(rates).sum())
    perhaps = (rates < tiles_per_ms) & (rates * predicted.factors >= tiles_per_ms)
    return Found(
        tuple(found), len(specs), unknown, predicted.unseen, fastest,
        known_error=model.network.error, doubt=model.doubt, batches=tuple(batches),
        wanted=tiles_per_ms, perhaps=int(perhaps.sum()),
    )  # fmt: skip


def _place(space: Space, spec: NetworkSpec) -> tuple[int, ...]:
    given = parameters(spec)
    return tuple(values.index(given[name]) for name, values in space.choices.items())


def _next(space: Space, place: tuple[int, ...]) -> Iterable[tuple[int, ...]]:
    """The places with one parameter a choice further, where there is one."""
    for at, values in enumerate(space.choices.values()):
        if place[at] + 1 < len(values):
            yield (*place[:at], place[at] + 1, *place[at + 1 :])


class _Predicted(NamedTuple):
    """Of each network, at its best batch: tiles/ms, NaN where an op is unknown; factor; flag.

    `factors` is that of the 90 % interval, NaN where there is none; `outside` whether the network
    leaves what the model was made from. `unseen` are the types of op that the model lacks, and
    `known_error` is the model's own.
    """

    batches: NDArray[np.int64]
    rates: Array
    factors: Array
    outside: Flags
    unseen: tuple[str, ...]
    known_error: float | None


def _predicted(
    model: CostModel, specs: Sequence[NetworkSpec], batches: Sequence[int], wanted: float
) -> _Predicted:
    if not specs:
        raise UsageError("The family has no such network.", "Widen the ranges.")
    _LOG.info("predicting %d networks", len(specs))
    lowered = lowering.of_specs(specs, model.lowering)
    tables = [lowered.at(batch, model.value_bytes) for batch in batches]
    seconds = np.array(
        [predict.network_seconds(model, *one) for one in zip(tables, batches, strict=True)]
    )
    factors = np.array([predict.network_factors(model, table) for table in tables])
    outside = np.array(
        [predict.extrapolating(model, *one) for one in zip(tables, batches, strict=True)]
    )
    with np.errstate(divide="ignore"):
        rates = np.array(batches)[:, None] / seconds / 1e3
    best = _best(rates, factors, wanted), np.arange(len(specs))
    unlike = np.array([bool(made_for.words(model, spec)) for spec in specs])
    return _Predicted(
        np.array(batches)[best[0]], rates[best], factors[best], outside[best] | unlike,
        _unseen(model, lowered), model.network.error,
    )  # fmt: skip


def _best(rates: Array, factors: Array, wanted: float) -> NDArray[np.int64]:
    """Of each network the batch with the best verdict, the fastest of those; a row for each batch.

    Wholly fast enough, then what may be, then what is not (`decisions`).
    """
    fits, may = rates / factors >= wanted, ~(rates * factors < wanted)
    places = np.lexsort((np.nan_to_num(rates), fits.astype(int) + may), axis=0)
    return np.asarray(places[-1])


def _unseen(model: CostModel, table: Table) -> tuple[str, ...]:
    """The types of op of which the model knows none."""
    return tuple(
        dict.fromkeys(
            op
            for op, code in zip(table.ops, table.codes.tolist(), strict=True)
            if standins.answer(model, table.names[code]).group is None
        )
    )


def _candidate(
    specs: Sequence[NetworkSpec], predicted: _Predicted, index: int, tiles_per_ms: float
) -> Candidate:
    spec = specs[index]
    rate, factor = float(predicted.rates[index]), float(predicted.factors[index])
    sure = math.isfinite(factor)
    surely = sure and rate / factor >= tiles_per_ms
    return Candidate(
        network=spec.name,
        notation=spec.notation,
        batch=int(predicted.batches[index]),
        ms_per_tile=1 / rate,
        tiles_per_ms=rate,
        low_tiles_per_ms=rate / factor if sure else None,
        high_tiles_per_ms=rate * factor if sure else None,
        meets="surely" if surely else "probably" if rate >= tiles_per_ms else "no",
        extrapolates=bool(predicted.outside[index]),
        weights=counted(spec).weights,
        known_error=predicted.known_error,
    )


# --- trained networks -----------------------------------------------------------------------------


class Trained(NamedTuple):
    """A trained network: accuracy on the test tiles in percent, the median over trainings."""

    spec: NetworkSpec
    accuracy: float
    trainings: int


def records(paths: Iterable[Path]) -> tuple[tuple[Trained, ...], tuple[str, ...]]:
    """What these trainings reached, and sentences about those that tell nothing.

    Args:
        paths: folders that `nnprof train` wrote, their record.json, or folders of such folders.

    Raises:
        BadFile: one is no record.
        UsageError: they are of several data sets, or none has an accuracy.
    """
    folders = [folder for path in paths for folder in _folders(path)]
    reached: dict[str, list[float]] = defaultdict(list)
    datasets, notes = set(), []
    for folder in folders:
        record = load_record(folder)
        if record.test_accuracy is None:
            notes.append(f"{folder} has no accuracy on test tiles yet; it is left out.")
            continue
        datasets.add(record.dataset)
        spec = parse_network(record.network)
        # Trainings from other seeds are trainings of the same network.
        same = NetworkSpec(spec.input_shape, spec.layers)
        reached[same.notation].append(record.test_accuracy)
    if len(datasets) > 1:
        listed = ", ".join(sorted(datasets))
        raise UsageError(f"The records are of several data sets: {listed}.", "Give those of one.")
    if not reached:
        raise UsageError("No record has an accuracy.", "Train networks with: nnprof train")
    found = (
        Trained(parse_network(notation), 100 * median(values), len(values))
        for notation, values in reached.items()
    )
    return tuple(found), tuple(notes)


def fitting(
    trained: Iterable[Trained], image: Image
) -> tuple[tuple[Trained, ...], int, tuple[str, ...]]:
    """Those for whose tiles an image can be cut, how many tiles that are, and notes on the others.

    Raises:
        UsageError: it can be cut for none; says why not for the first.
    """
    found: dict[int, list[Trained]] = defaultdict(list)
    refusals = []
    for one in trained:
        try:
            found[frames.tiles(one.spec.input_shape, one.spec.name, image)].append(one)
        except UsageError as error:  # noqa: PERF203  each is a network of its own
            refusals.append(error)
    if not found:
        raise refusals[0]
    tiles, *others = sorted(found, key=lambda count: -len(found[count]))
    notes = [f"{error.reason.rstrip('.')}; it is left out." for error in refusals]
    notes += [
        f"{one.spec.name} has tiles of another size, and is left out."
        for count in others
        for one in found[count]
    ]
    return tuple(found[tiles]), tiles, tuple(notes)


def _folders(path: Path) -> list[Path]:
    if path.name == RECORD:
        return [path.parent]
    inner = sorted(one.parent for one in path.glob(f"*/{RECORD}"))
    return inner if inner and not (path / RECORD).exists() else [path]


def front(
    model: CostModel, trained: Sequence[Trained], batches: Sequence[int], tiles_per_ms: float
) -> Found:
    """Trained networks, the fastest first, with the front of accuracy against predicted time."""
    specs = [one.spec for one in trained]
    predicted = _predicted(model, specs, batches, tiles_per_ms)
    rates = predicted.rates
    known = [index for index in np.argsort(-rates).tolist() if not np.isnan(rates[index])]
    best, result = -math.inf, []
    for index in known:
        accuracy = trained[index].accuracy
        plain = _candidate(specs, predicted, index, tiles_per_ms)
        result.append(msgspec.structs.replace(plain, accuracy=accuracy, front=accuracy > best))
        best = max(best, accuracy)
    fastest = result[0] if result else None
    return Found(
        tuple(result), len(specs), len(specs) - len(known), predicted.unseen, fastest,
        known_error=model.network.error, doubt=model.doubt, batches=tuple(batches),
        wanted=tiles_per_ms,
    )  # fmt: skip
