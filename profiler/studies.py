"""From what a user names to cells: networks, files, checkpoints and studies on a target."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, NamedTuple

import msgspec

from nnprof import registry
from nnprof.documents import Document
from nnprof.errors import BadFile, UsageError
from nnprof.exporters import axes
from nnprof.exporters.export import export
from nnprof.exporters.models import load_model
from nnprof.files import AnyPath, write_atomically
from nnprof.networks import bundled
from nnprof.networks.families import parse_network
from nnprof.networks.spaces import calls
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


def _named(text: AnyPath) -> tuple[AnyPath, ...]:
    """A file or folder as it is; of a call with ranges each network."""
    return (text,) if Path(text).exists() else calls(os.fspath(text))


class Sides(NamedTuple):
    """What the user says of the sides of inputs.

    Attributes:
        axes: by input the axis that holds the batch, None for none; see `axes.given`.
        dims: sizes of other free sides, by name or as "INPUT.AXIS".
    """

    axes: Mapping[str, int | None] = MappingProxyType({})
    dims: Mapping[str, int] = MappingProxyType({})

    def of(self, models: Iterable[Model]) -> tuple[Model, ...]:
        """The models with their batch where the user says.

        Raises:
            UsageError: an input or a free side that none of the models has, or an axis that an
                input does not have.
        """
        told = tuple(axes.given(model, self.axes) for model in models)
        names = dict.fromkeys(tensor.name for model in told for tensor in model.inputs)
        for name in self.axes:
            if name not in names and name != axes.ALL:
                raise UsageError(f"There is no input '{name}'.", f"Inputs: {', '.join(names)}.")
        free = inputs.free_sides(told)
        kept = {name for model in told for name in inputs.check_dims(model, self.dims)}
        for name in self.dims:
            if name not in kept:
                known = (
                    f"Free besides the batch: {', '.join(free)}." if free else "Leave --dim out."
                )
                raise UsageError(f"No side '{name}' is free.", known)
        return told


AS_DECLARED = Sides()


def bundled_cells(
    target: Target,
    batches: Sequence[int] = (),
    *,
    sides: Sides = AS_DECLARED,
    data: AnyPath | None = None,
) -> tuple[Cell, ...]:
    """The bundled network on its own tiles, or on the user's."""
    (model,) = sides.of([load_model(bundled.model_path())])
    return _checked(_cells(model, batches, target, data or str(bundled.tiles_path()), sides.dims))


def named_cells(
    texts: Iterable[AnyPath],
    target: Target,
    batches: Sequence[int] = (),
    *,
    data: AnyPath = "generated",
    sides: Sides = AS_DECLARED,
) -> tuple[Cell, ...]:
    """Every named network at every batch; a file bound to one batch at that batch alone.

    A call of a family with ranges, such as `mattsson(conv=1..5)`, names several networks.

    Raises:
        UsageError: a batch that a file is not made for, or inputs that cannot be made up.
    """
    named = [name for text in texts for name in _named(text)]
    models = sides.of([model_of(name) for name in named])
    every = [_cells(model, batches, target, data, sides.dims) for model in models]
    return _checked([cell for cells in every for cell in cells])


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


def save_study(study: StudyFile, path: AnyPath) -> None:
    """Write a study file.

    Raises:
        UsageError: the folder cannot be written.
    """
    write_atomically(Path(path), msgspec.json.format(msgspec.json.encode(study), indent=1) + b"\n")


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


def study_cells(
    name: str,
    target: Target,
    batches: Sequence[int] = (),
    *,
    sides: Sides = AS_DECLARED,
    data: AnyPath = "generated",
) -> tuple[Cell, ...]:
    """A registered study, or one in a .json file; with `batches`, only those of its cells.

    Raises:
        UnknownName: no such study; lists the known.
        BadFile: no such file, or it is no study; or the data do not fit one of its networks.
        UsageError: none of its cells has such a batch, or a file is not made for it.
    """
    if data != "generated":  # before all is exported
        inputs.read_data(Path(data))
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
    made = []
    for number, (text, network) in enumerate(models.items(), start=1):
        _LOG.info("network %d of %d: %s", number, len(models), text)
        made.append(model_of(network) if isinstance(network, str) else export(network))
    exported = dict(zip(models, sides.of(made), strict=True))
    every = [
        _cells(exported[_text(network)], (batch,), target, data, sides.dims)
        for network, batch in kept
    ]
    return _checked([cell for cells in every for cell in cells])


def _text(network: NetworkSpec | str) -> str:
    return network if isinstance(network, str) else network.name


def _cells(
    model: Model, batches: Sequence[int], target: Target, data: AnyPath, dims: Mapping[str, int]
) -> list[Cell]:
    """The model at these batches, or at its own where none is asked for."""
    path = data if data == "generated" else str(Path(data).resolve())
    own = (model.fixed_batch,) if model.fixed_batch else BATCHES
    for batch in batches:
        inputs.check_batch(model, batch)
    works = [
        Workload(
            model=model,
            batch=batch,
            data=path,
            dims=inputs.check_dims(model, dims),
            # Of a file that tells no batch, only the user can say that an inference is one tile.
            counts_tiles=bool(model.axes or batches),
        )
        for batch in batches or own
    ]
    return [Cell(workload=work, target=target) for work in works]


def _checked(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells, their smallest inputs made once: what is wrong is said before any is measured."""
    smallest: dict[str, Workload] = {}
    for work in sorted((cell.workload for cell in cells), key=lambda work: work.batch):
        smallest.setdefault(work.model.sha256, work)
    for work in smallest.values():
        inputs.make(work)
    return tuple(cells)
