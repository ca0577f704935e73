"""From what a user names to cells: networks, files, checkpoints and studies on a target."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from nnprof import registry
from nnprof.documents import Document
from nnprof.errors import BadFile, UsageError
from nnprof.exporters.onnx import export, load_model
from nnprof.files import AnyPath, write_atomically
from nnprof.networks import bundled
from nnprof.networks.families import parse_network
from nnprof.networks.spec import NetworkSpec
from nnprof.profiler import inputs
from nnprof.types import MOST_BATCH, Cell, Model, Target, Workload

_LOG = logging.getLogger(__name__)
BATCHES = (1, 4, 16, 64, 256, 1024)
STUDY_SCHEMA = 1
MOST_CELLS = 100_000  # a second for each is more than a day


def model_of(text: AnyPath) -> Model:
    """The model that a user's text stands for.

    A path of an ONNX file, a checkpoint's folder, or a network to be exported with seeded weights.

    Raises:
        BadFile, BadNotation, BadShape, Unavailable: as the file or the text deserves.
    """
    path = Path(text)
    if path.is_dir():
        from nnprof.networks.checkpoint import load_checkpoint

        return export(load_checkpoint(path).spec, checkpoint=path)
    if path.is_file() or path.suffix == ".onnx":
        return load_model(path)
    return export(parse_network(os.fspath(text)))


def bundled_cells(target: Target, batches: Sequence[int] = ()) -> tuple[Cell, ...]:
    """The bundled network on its own tiles."""
    model = load_model(bundled.model_path())
    return _cells(model, batches or BATCHES, target, str(bundled.tiles_path()))


def named_cells(
    texts: Iterable[AnyPath],
    target: Target,
    batches: Sequence[int] = (),
    data: AnyPath = "generated",
) -> tuple[Cell, ...]:
    """Every named network at every batch; a file bound to one batch at that batch alone.

    Raises:
        UsageError: a batch that a file is not made for, or inputs that cannot be made up.
    """
    cells: list[Cell] = []
    for text in texts:
        model = model_of(text)
        own = (model.fixed_batch,) if model.fixed_batch else BATCHES
        cells += _cells(model, batches or own, target, data)
    return tuple(cells)


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cell of a study file: a network (notation, family or ONNX file), a batch, and why."""

    network: str
    batch: Annotated[int, msgspec.Meta(ge=1, le=MOST_BATCH)]
    why: str = ""


class StudyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A study as a file, for `bench --study FILE`; its `name` is that of the Run.

    The file's history: 1, first published form.
    """

    schema: int = STUDY_SCHEMA
    name: str
    cells: tuple[Asked, ...]


_DOCUMENT = Document(StudyFile, "a study", "Give a file that nnprof plan wrote.", STUDY_SCHEMA)


def save_study(study: StudyFile, path: Path) -> None:
    """Write a study file.

    Raises:
        UsageError: the folder cannot be written.
    """
    write_atomically(path, msgspec.json.format(msgspec.json.encode(study), indent=1) + b"\n")


def load_study(path: Path) -> StudyFile:
    """Read a study file.

    Raises:
        NewerSchema: a later nnprof wrote it.
        BadFile: it is missing, cut off, empty, or no study.
    """
    study = _DOCUMENT.load(path)
    if not study.cells:
        raise BadFile(f"{path} asks for nothing.", _DOCUMENT.remedy)
    if len(study.cells) > MOST_CELLS:
        raise BadFile(
            f"{path} asks for {len(study.cells)} cells; {MOST_CELLS} are the most.",
            "Split it into several.",
        )
    return study


def _is_file(name: str) -> bool:
    return name.endswith(".json")


def study_name(name: str) -> str:
    """What the Run of a study is called: the name itself, or what its file says."""
    return load_study(Path(name)).name if _is_file(name) else name


def study_cells(name: str, target: Target, batches: Sequence[int] = ()) -> tuple[Cell, ...]:
    """A registered study, or one in a .json file; with `batches`, only those of its cells.

    Raises:
        UnknownName: no such study; lists the known.
        BadFile: no such file, or it is no study.
        UsageError: none of its cells has such a batch.
    """
    asked: list[tuple[NetworkSpec | str, int]]
    if _is_file(name):
        asked = [(cell.network, cell.batch) for cell in load_study(Path(name)).cells]
    else:
        asked = list(registry.find("study", name)())
    kept = [(network, batch) for network, batch in asked if not batches or batch in batches]
    if not kept:
        own = sorted({batch for _, batch in asked})
        raise UsageError(
            f"Study '{name}' has no cell at batch {', '.join(map(str, batches))}.",
            f"Its batches: {', '.join(map(str, own))}.",
        )
    models = {_text(network): network for network, _ in kept}
    exported = {}
    for number, (text, network) in enumerate(models.items(), start=1):
        _LOG.info("network %d of %d: %s", number, len(models), text)
        exported[text] = model_of(network) if isinstance(network, str) else export(network)
    return tuple(
        Cell(workload=Workload(model=exported[_text(network)], batch=batch), target=target)
        for network, batch in kept
    )


def _text(network: NetworkSpec | str) -> str:
    return network if isinstance(network, str) else network.name


def _cells(model: Model, batches: Sequence[int], target: Target, data: AnyPath) -> tuple[Cell, ...]:
    path = data if data == "generated" else str(Path(data).resolve())
    for batch in batches:
        inputs.check_batch(model, batch)
    # Making the smallest inputs here says what is wrong with them before anything is measured.
    inputs.make(Workload(model=model, batch=min(batches), data=path))
    return tuple(
        Cell(workload=Workload(model=model, batch=batch, data=path), target=target)
        for batch in batches
    )
