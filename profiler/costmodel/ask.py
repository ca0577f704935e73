"""What a user asks of a cost model: fit it, predict with it, search with it, plan what comes next.

These four functions stand behind the commands of the same names, and are public as `nnprof.…`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from nnprof.errors import UsageError
from nnprof.files import AnyPath
from nnprof.networks import images
from nnprof.networks.spaces import Space, parse_space
from nnprof.networks.studies.study import Asked, Study
from nnprof.profiler import frames, results
from nnprof.profiler.costmodel import across, design, gather, graphs, here, parted, power, work
from nnprof.profiler.costmodel import predict as predicting
from nnprof.profiler.costmodel import search as searching
from nnprof.profiler.costmodel.across import Offer
from nnprof.profiler.costmodel.design import Choice, Measured
from nnprof.profiler.costmodel.kept import Kept
from nnprof.profiler.costmodel.model import CostModel, Peaks, load
from nnprof.profiler.costmodel.parted import OfTarget
from nnprof.profiler.costmodel.prediction import Prediction
from nnprof.profiler.costmodel.search import Found
from nnprof.profiler.studies import AS_DECLARED, Sides
from nnprof.types import Image

BATCHES = (1, 16, 64, 256, 1024)  # that matter where a plan is not told
BATCH = 1024  # of a search that is not told


class Planned(NamedTuple):
    """What to measure next; `known` ops were measured already."""

    choices: tuple[Choice, ...]
    known: int

    def study(self, name: str) -> Study:
        """The choices as a study that `nnprof bench --study` measures."""
        return Study(
            name=name,
            cells=tuple(
                Asked(network=one.spec.name, batch=one.batch, why=f"{one.group}, {one.stage}")
                for one in self.choices
            ),
        )


def fit_model(
    runs: Iterable[AnyPath],
    *,
    name: str = "",
    peaks: Peaks | None = None,
    prior: CostModel | None = None,
) -> CostModel:
    """The cost model of what these files of Runs measured.

    Args:
        runs: files of one target, with the times of ops.
        name: what tables call the model; the device where not given.
        peaks: of the device, from its data sheet.
        prior: a model of another device to start from; 10 to 12 measured ops are then enough.

    Raises:
        BadFile: a file is no Run.
        UsageError: the Runs are of different targets, or hold nothing that can be fitted.
    """
    return parted.fitted(*gather.loaded([Path(run) for run in runs]), name, peaks, prior)


def fit_models(
    runs: Iterable[AnyPath],
    *,
    name: str = "",
    peaks: Peaks | None = None,
    prior: CostModel | None = None,
) -> tuple[OfTarget, ...]:
    """A cost model of each target and precision that these files measured, as a fleet's do.

    Args:
        runs: files of one or several targets, with the times of ops.
        name: what tables call the model, where there is one target.
        peaks: of its device, from its data sheet.
        prior: a model of another device to start from.

    Raises:
        BadFile: a file is no Run.
        UsageError: the Runs hold no measurement; several targets are given one name, or peaks; or
            there is one target, and nothing of it can be fitted.
    """
    return parted.of_each(*gather.loaded([Path(run) for run in runs]), name, peaks, prior)


def predict(
    model: CostModel,
    networks: Iterable[AnyPath],
    *,
    batches: Sequence[int] = (),
    sides: Sides = AS_DECLARED,
    partial: bool = False,
    image: str = "",
    usual: Sequence[int] = graphs.BATCHES,
) -> tuple[Prediction, ...]:
    """What each network costs at each batch, without running it.

    Args:
        model: fitted, or published.
        networks: in notation, ONNX files, or folders that `nnprof train` wrote.
        batches: the usual ones where not given, or the batch that a file is bound to.
        sides: what the files do not tell of their inputs.
        partial: predict the known ops where others are unknown.
        image: that is cut into tiles, such as "784x784" or "784x784/14" (`networks.images`): the
            batches, up to four where not given, divide its tiles, and `Prediction.frame` is of all.
        usual: batches that are asked about where nobody names some and there is no image.

    Raises:
        BadFile, BadNotation, BadShape: as a file or a text deserves.
        UsageError: an op is unknown, and `partial` is not set; or a batch does not fit a file, or
            does not divide the tiles of the image; or the image cannot be cut for a network.
    """
    whole = images.parse(image) if image else None
    found = tuple(
        one
        for network in networks
        for one in _of_network(model, str(network), batches, sides, whole, usual)
    )
    for one in found:
        if one.unknown and not partial:
            raise UsageError(
                f"The model has not seen {', '.join(one.unknown)} of {one.network}.",
                "Measure networks with it and fit again, or ask for the known part with --partial.",
            )
    return found


def _of_network(
    model: CostModel,
    network: str,
    batches: Sequence[int],
    sides: Sides,
    image: Image | None,
    usual: Sequence[int],
) -> Iterator[Prediction]:
    """What one network costs at each batch."""
    name, lowered = graphs.of_text(network, model, batches, sides, image, usual)
    for size, works in lowered.works.items():
        one = predicting.predict(model, works, size, name)
        yield replace(
            one,
            extrapolates=(*one.extrapolates, *lowered.unlike),
            known_error=model.network.error,
            doubt=model.doubt,
            ops_from=lowered.source,
            elsewhere=here.elsewhere(model),
            joules=power.joules(model, one),
            tiles_per_frame=lowered.tiles,
            asked=network,
        )


def predict_all(
    models: Iterable[Kept],
    networks: Iterable[AnyPath],
    *,
    batches: Sequence[int] = (),
    sides: Sides = AS_DECLARED,
    partial: bool = False,
    image: str = "",
    budget_s: float | None = None,
) -> tuple[Offer, ...]:
    """What each network costs by each model, the best first, the networks in order.

    Args:
        models: such as `kept_models` finds.
        networks: as for `predict`, and so are the others.
        batches: 1, 16 and 1024 where not given, or the batch that a file is bound to; with
            `budget_s` and no image 1.
        sides: what the files do not tell of their inputs.
        partial: predict the known ops where others are unknown.
        image: that is cut into tiles.
        budget_s: that one inference may take; with an image all inferences of its tiles.

    Raises:
        UsageError: all models refuse a network for one and the same reason; see `predict`.
    """
    asked, found = tuple(models), list[Offer]()
    usual = graphs.BATCHES if budget_s is None else (1,)
    for network in map(str, networks):

        def said(kept: Kept, network: str = network) -> tuple[Prediction, ...]:
            return predict(
                kept.made, [network], batches=batches, sides=sides, partial=partial, image=image,
                usual=usual,
            )  # fmt: skip

        found += across.offers(asked, network, said, budget_s)
    return tuple(found)


def search(
    model: CostModel,
    *,
    min_tiles_per_ms: float | None = None,
    family: str = "mattsson",
    batch: int | None = None,
    trained: Iterable[AnyPath] = (),
    image: str = "",
    min_frames_per_s: float | None = None,
    budget_s: float | None = None,
) -> Found:
    """The networks that are predicted to be fast enough.

    Args:
        model: fitted, or published.
        min_tiles_per_ms: what they are to reach; or, with an image, `min_frames_per_s`; or, of
            either, `budget_s`.
        family: the networks to look at, such as "mattsson(conv=1..3, depth=5..80/5)".
        batch: tiles per inference, 1024 where not given, 1 with `budget_s`; with an image of up to
            four that divide its tiles the best for each network.
        trained: folders that `nnprof train` wrote. The networks are then the trained ones, with
            the front of accuracy against predicted time, and `family` is not read.
        image: that is cut into tiles, such as "784x784" (`networks.images`).
        min_frames_per_s: what is to be reached with an image, by inference alone.
        budget_s: that one inference may take; with an image all inferences of its tiles.

    Raises:
        BadNotation, UsageError: there is no such family, or it has no such network; there is not
            one budget; or the image cannot be cut, or the batch does not divide its tiles.
        BadFile: a folder holds no training.
    """
    budget = _budget(budget_s, (min_tiles_per_ms, min_frames_per_s), batch, image)
    folders = [Path(folder) for folder in trained]
    if folders:
        found = _of_trained(model, folders, budget)
    else:
        found = _of_family(model, parse_space(family), budget)
    elsewhere = here.elsewhere(model)
    return found._replace(notes=(*found.notes, *([elsewhere] if elsewhere else [])))


class _Budget(NamedTuple):
    """Tiles/ms that are wanted, or frames/s of an image; and the batch that was asked for."""

    least: float
    batch: int | None
    image: Image | None

    def at(self, tiles: int | None) -> tuple[tuple[int, ...], float]:
        """Batches, and tiles/ms at least, where an image has so many tiles; None: no image."""
        if tiles is None:
            return (self.batch or BATCH,), self.least
        asked = (self.batch,) if self.batch else ()
        return frames.batches(tiles, asked), self.least * tiles / 1e3


def _budget(
    budget_s: float | None, speeds: tuple[float | None, float | None], batch: int | None, image: str
) -> _Budget:
    """The one that was given: a speed, or the time of an inference (batch 1) or of an image.

    Raises:
        UsageError: there are a time and a speed; see also `_least`.
    """
    whole = images.parse(image) if image else None
    if budget_s is None:
        return _Budget(_least(*speeds, image), batch, whole)
    if any(one is not None for one in speeds):
        raise UsageError(
            "A search needs one budget, and has 2.", "Give a time budget, or a least speed."
        )
    if whole:
        return _Budget(1 / budget_s, batch, whole)
    return _Budget((batch or 1) / (budget_s * 1e3), batch or 1, None)


def _least(tiles_per_ms: float | None, frames_per_s: float | None, image: str) -> float:
    """The one budget that was given.

    Raises:
        UsageError: there is none, or there are two; or an image without frames/s.
    """
    if bool(image) != (frames_per_s is not None):
        raise UsageError(
            "An image is searched for by its frames/s.",
            "Give both: --image 784x784 --min-frames-per-s 30, or --budget 30fps.",
        )
    given = [one for one in (tiles_per_ms, frames_per_s) if one is not None]
    if len(given) != 1:
        raise UsageError(
            f"A search needs one budget, and has {len(given) or 'none'}.",
            "Give --budget, --min-tiles-per-ms, or --image with --min-frames-per-s.",
        )
    return given[0]


def _of_family(model: CostModel, space: Space, budget: _Budget) -> Found:
    """All networks of a family have tiles of one size."""
    first = next(iter(space.specs()), None)
    tiles = None
    if budget.image and first:
        tiles = frames.tiles(first.input_shape, first.name, budget.image)
    found = searching.search(model, space, *budget.at(tiles))
    return found.on_frames(tiles) if tiles else found


def _of_trained(model: CostModel, folders: Sequence[Path], budget: _Budget) -> Found:
    records, notes = searching.records(folders)
    tiles = None
    if budget.image:
        records, tiles, more = searching.fitting(records, budget.image)
        notes = (*notes, *more)
    found = searching.front(model, records, *budget.at(tiles))._replace(notes=notes)
    return found.on_frames(tiles) if tiles else found


def plan(
    sources: Iterable[AnyPath] = (),
    *,
    family: str = "mattsson",
    budget: int = 120,
    batches: Sequence[int] = BATCHES,
) -> Planned:
    """The ops whose times would teach a cost model most.

    Args:
        sources: what is known: a cost model, files of Runs, both, or nothing.
        family: the networks that matter.
        budget: ops to measure, at most.
        batches: that matter.

    Raises:
        UsageError: nothing is left to measure, or there are several models.
        BadFile: a source is neither a model nor a Run.
    """
    model, known, lowering = _known([str(source) for source in sources])
    space = parse_space(family)
    whole = design.whole(space, batches, lowering, budget, model, known)
    left = budget - sum(choice.ops for choice in whole)
    value_bytes = model.value_bytes if model else work.VALUE_BYTES
    offered = design.candidates(space, batches, lowering, value_bytes)
    chosen = (*whole, *design.plan(offered, left, model, known))
    if not chosen:
        raise UsageError("Nothing is left to measure.", "Widen the family or the batches.")
    return Planned(chosen, len(known.works))


def _known(sources: Sequence[str]) -> tuple[CostModel | None, Measured, str]:
    """The model that was given, what the Runs measured, and how networks become ops there."""
    runs = [Path(source) for source in sources if results.is_run(Path(source))]
    models = [load(source) for source in sources if Path(source) not in runs]
    if len(models) > 1:
        raise UsageError("There are several cost models.", "Give one, and all the Runs.")
    model = models[0] if models else None
    known = design.known([results.load(path) for path in runs], model)
    return model, known, model.lowering if model else known.lowering or "fused"
