"""Other precisions of a network, and how many labelled tiles it still gets right.

Speed that costs accuracy must say so: where a Run has cells that are not fp32, or the runtime was
told to round (`Backend.rounds`), each of its models, and the fp32 file that each came from,
classifies labelled tiles on the runtime that is timed.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from nnprof import registry
from nnprof.errors import NnprofError, Unavailable, UsageError
from nnprof.exporters.axes import front
from nnprof.exporters.int8 import ANYWHERE, Form
from nnprof.exporters.precision import CALIBRATION_TILES, PRECISIONS, Calibration, chunk, convert
from nnprof.networks import bundled, datasets
from nnprof.networks.datasets import Dataset
from nnprof.profiler import inputs, results
from nnprof.profiler.run import begin
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import Score
from nnprof.types import Accuracy, Cell, Model, Run, Target, TrainingRecord, Workload

_LOG = logging.getLogger(__name__)
_LIMIT_S = 600.0


class Labelled(NamedTuple):
    """Tiles (N, …) with their labels (N,), and what they are, for people."""

    tiles: NDArray[Any]
    labels: NDArray[np.int64]
    source: str


def parse(text: str) -> tuple[str, ...]:
    """`fp32,int8` as precisions, each once.

    Raises:
        UsageError: one of them is not known.
    """
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    wrong = [word for word in words if word not in PRECISIONS]
    if wrong:
        raise UsageError(f"No precision '{wrong[0]}'.", f"Known: {', '.join(PRECISIONS)}.")
    return words


def due(cells: Sequence[Cell]) -> bool:
    """Whether speed may cost accuracy in these cells of one target: by precision or by option."""
    target = cells[0].target
    rounds = getattr(registry.find("backend", target.backend), "rounds", None)
    told = rounds is not None and rounds(target)
    return told or any(cell.workload.precision != "fp32" for cell in cells)


def in_precisions(
    cells: Sequence[Cell], precisions: Sequence[str]
) -> tuple[tuple[Cell, ...], dict[str, Model]]:
    """Every cell in every precision; for each converted model, by its sha256, what it came from.

    Without precisions each cell in that of its file. The form of int8 is that of the cell's target.

    Raises:
        UsageError: a model cannot be converted.
        Unavailable: the tools are not installed.
    """
    found: list[Cell] = []
    sources: dict[str, Model] = {}
    converted: dict[tuple[str, str, Form], Model] = {}
    forms: dict[bytes, Form] = {}
    for asked in precisions or ("",):
        for cell in cells:
            work = cell.workload
            precision = asked or work.model.precision
            form = ANYWHERE
            if precision == "int8" != work.model.precision:
                place = msgspec.json.encode(cell.target)
                form = forms[place] = forms.get(place) or form_for(cell.target)
            key = f"{work.model.sha256} {work.model.path}", precision, form
            if key not in converted:
                converted[key] = _converted(work, precision, form)
            model = converted[key]
            if model is not work.model:
                sources[model.sha256] = work.model
            found.append(
                replace(cell, workload=replace(work, model=model, precision=model.precision))
            )
    return tuple(found), sources


def form_for(target: Target) -> Form:
    """The form of int8 that a target runs right, by its backend and the facts of its device.

    Of a runtime that is not installed there the facts are unknown: its files can be made elsewhere.

    Raises:
        UnknownName: there is no such backend.
        UsageError: the target cannot be reached.
    """
    backend = registry.find("backend", target.backend)
    if not hasattr(backend, "int8"):
        return ANYWHERE
    try:
        facts = begin.probe(target).get("device") or {}
    except Unavailable:
        facts = {}
    form: Form = backend.int8(target, facts)
    return form


def _converted(work: Workload, precision: str, form: Form) -> Model:
    if precision == work.model.precision:
        return work.model
    _LOG.info("converting %s to %s", work.model.name, precision)
    tiles = calibration(work) if precision == "int8" else Calibration(np.zeros(0), "")
    made = convert(work.model, precision, tiles, form=form)
    # Where the batch lies is not for the converted file to say, which may name its sides anew.
    return replace(made, batch_axes=work.model.batch_axes, batch_from=work.model.batch_from)


def calibration(work: Workload) -> Calibration:
    """The tiles whose activations set the ranges of an int8 network: real ones where any are known.

    In this order: tiles of the workload's file; of the data set that the network was trained on;
    the bundled tiles for the bundled network; generated tiles, which do for speed only.
    """
    work = _without_image(work)
    if work.data not in ("generated", str(bundled.tiles_path())):
        return _filled(work, f"tiles of {Path(work.data).name}")
    training = _dataset(work.model)
    if isinstance(training, Dataset):
        # Spread over the set, since the order of a set may follow its classes.
        count = min(CALIBRATION_TILES, len(training.train_inputs))
        chosen = np.linspace(0, len(training.train_inputs) - 1, count).astype(int)
        tiles = _shaped(training.train_inputs[chosen], work)
        return Calibration(tiles, f"training tiles of {training.name}", chunk(work.batch))
    if work.data != "generated":
        return _filled(work, "bundled tiles")
    return _filled(work, "generated tiles")


def _without_image(work: Workload) -> Workload:
    """An image has no labels, and its tiles are not those that a network is for."""
    return replace(work, image=None, data="generated") if work.image else work


def _filled(work: Workload, source: str) -> Calibration:
    if work.data == "generated":
        batch = work.model.fixed_batch or CALIBRATION_TILES
        (array, *_) = inputs.make(replace(work, batch=batch)).values()
    else:
        (array, *_) = inputs.given(work).values()
    tiles = front(array, _axis(work.model))[:CALIBRATION_TILES]
    return Calibration(tiles, source, chunk(work.batch))


def _axis(model: Model) -> int | None:
    return model.axes.get(model.inputs[0].name)


def _shaped(tiles: NDArray[Any], work: Workload) -> NDArray[Any]:
    """A data set's tiles (N, …) in the shape that the model has for one."""
    tensor, axis = work.model.inputs[0], _axis(work.model)
    shape = inputs.shape_at(tensor, work)
    return tiles.reshape(len(tiles), *(side for at, side in enumerate(shape) if at != axis))


def _dataset(model: Model) -> Dataset | str:
    """The data set that a network was trained on; a sentence where there is none."""
    name = model.dataset
    if not name and model.sha256 == sha256(bundled.model_path().read_bytes()).hexdigest():
        record = msgspec.json.decode(bundled.record_path().read_bytes(), type=TrainingRecord)
        name = record.dataset
    if not name:
        return (
            f"no labelled tiles of {model.name} are known: give --data FILE.npz with an array "
            "'labels'"
        )
    try:
        return datasets.load(name)
    except NnprofError as error:
        return error.reason.rstrip(".")


def labelled(work: Workload, source: Model) -> Labelled | str:
    """Labelled tiles for a model that came from `source`; a reason where there are none."""
    if work.data != "generated" and work.data != str(bundled.tiles_path()):
        arrays = inputs.read_data(Path(work.data))
        if "labels" in arrays:
            return _from_file(work, arrays)
    training = _dataset(source)
    if isinstance(training, Dataset) and training.task == "values":
        return f"{training.name} has values, not classes, to tell right from wrong"
    if isinstance(training, Dataset):
        tiles = _shaped(training.test_inputs, work)
        return Labelled(tiles, training.test_targets, f"test tiles of {training.name}")
    if work.data == str(bundled.tiles_path()):
        return _from_file(work, inputs.read_data(Path(work.data)))
    return training


def _from_file(work: Workload, arrays: Mapping[str, NDArray[Any]]) -> Labelled | str:
    name, labels = Path(work.data).name, arrays["labels"]
    tiles = front(next(iter(inputs.given(work).values())), _axis(work.model))
    if labels.shape != (len(tiles),):
        return f"{name} does not have one label for each tile"
    return Labelled(tiles, labels, f"tiles of {name}")


def score(run: Run, path: Path, sources: Mapping[str, Model]) -> Run:
    """The Run with the accuracy of its models and of what they came from; saved."""
    works = {cell.workload.model.sha256: cell.workload for cell in run.study.cells}
    for digest, source in sources.items():
        works.setdefault(
            source.sha256, replace(works[digest], model=source, precision=source.precision)
        )
    found = tuple(_score(run, work, sources) for work in works.values())
    run = replace(run, accuracies=found)
    results.save(run, path)
    return run


def _score(run: Run, work: Workload, sources: Mapping[str, Model]) -> Accuracy:
    work = _without_image(work)
    model, target = work.model, run.study.cells[0].target
    known = Accuracy(sha256=model.sha256, network=model.name, precision=model.precision)
    if len(model.inputs) != 1:
        return replace(known, reason="it has several inputs")
    tiles = labelled(work, sources.get(model.sha256, model))
    if isinstance(tiles, str):
        return replace(known, reason=tiles)
    _LOG.info("accuracy of %s, %s, on %s", model.name, model.precision, tiles.source)
    with tempfile.TemporaryDirectory(prefix="nnprof-") as folder:
        file = Path(folder, "labelled.npz")
        np.savez(file, tiles=tiles.tiles, labels=tiles.labels)
        batch = model.fixed_batch or chunk(work.batch)
        job = Score(workload=replace(work, batch=batch, data=str(file)), target=target)
        try:
            answer = hosts.run(job, _LIMIT_S)
        except NnprofError as error:
            return replace(known, reason=error.reason.rstrip("."))
    count = len(tiles.labels)
    return replace(known, top1=answer.right / count, tiles=count, data=tiles.source)
