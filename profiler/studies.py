"""From what a user names to cells: networks, files, checkpoints and studies on a target."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from nnprof.errors import Unexportable, UsageError
from nnprof.exporters import axes
from nnprof.exporters.export import export
from nnprof.exporters.models import load_model
from nnprof.files import AnyPath
from nnprof.networks import bundled
from nnprof.networks.families import parse_network
from nnprof.networks.spaces import calls
from nnprof.networks.studies.study import Study, find, is_file, load_study
from nnprof.profiler import inputs
from nnprof.types import Cell, Model, Target, Workload

_LOG = logging.getLogger(__name__)
BATCHES = (1, 4, 16, 64, 256, 1024)


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
    usual: Sequence[int] = BATCHES,
) -> tuple[Cell, ...]:
    """The bundled network on its own tiles, or on the user's; batches as for `named_cells`."""
    (model,) = sides.of([load_model(bundled.model_path())])
    path = data or str(bundled.tiles_path())
    return _checked(_cells(model, (batches, usual), target, path, sides.dims))


def named_cells(
    texts: Iterable[AnyPath],
    target: Target,
    batches: Sequence[int] = (),
    *,
    data: AnyPath = "generated",
    sides: Sides = AS_DECLARED,
    usual: Sequence[int] = BATCHES,
) -> tuple[Cell, ...]:
    """Every named network at every batch; a file bound to one batch at that batch alone.

    Without batches at the usual ones.

    A call of a family with ranges, such as `mattsson(conv=1..5)`, names several networks.

    Raises:
        UsageError: a batch that a file is not made for, or inputs that cannot be made up.
    """
    named = [name for text in texts for name in _named(text)]
    models = sides.of([model_of(name) for name in named])
    every = [_cells(model, (batches, usual), target, data, sides.dims) for model in models]
    return _checked([cell for cells in every for cell in cells])


def study_name(name: str) -> str:
    """What the Run of a study is called: the name itself, or what its file says."""
    return load_study(Path(name)).name if is_file(name) else name


def study_cells(
    name: str,
    target: Target,
    batches: Sequence[int] = (),
    *,
    sides: Sides = AS_DECLARED,
    data: AnyPath = "generated",
) -> tuple[Cell, ...]:
    """A registered study, or one in a .json file; with `batches`, each of its networks at those.

    Raises:
        UnknownName: no such study; lists the known.
        BadFile: no such file, or it is no study; or the data do not fit one of its networks.
        UsageError: a file is not made for the batch.
    """
    if data != "generated":  # before all is exported
        inputs.read_data(Path(data))
    asked = _asked(find(name), batches)
    models = _models(tuple(dict.fromkeys(network for network, _ in asked)))
    exported = dict(zip(models, sides.of(models.values()), strict=True))
    every = [
        _cells(exported[network], (batch, BATCHES), target, data, sides.dims)
        for network, batch in asked
        if network in exported
    ]
    return _checked([cell for cells in every for cell in cells])


def _models(networks: Sequence[str]) -> dict[str, Model]:
    """Each network exported; those that can only be trained are left out, and told.

    Raises:
        Unexportable: none of them can be exported.
    """
    models: dict[str, Model] = {}
    for number, network in enumerate(networks, start=1):
        _LOG.info("network %d of %d: %s", number, len(networks), network)
        try:
            models[network] = model_of(network)
        except Unexportable as error:
            if number == len(networks) and not models:
                raise
            _LOG.warning("Left out: %s", error.reason)
    return models


def _asked(study: Study, batches: Sequence[int]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Each network with batches, once: the study's own, or those that the user gives."""
    given = tuple(batches)
    own = [(one.network, given or ((one.batch,) if one.batch else ())) for one in study.cells]
    return tuple(dict.fromkeys(own))


def _cells(
    model: Model,
    asked: tuple[Sequence[int], Sequence[int]],
    target: Target,
    data: AnyPath,
    dims: Mapping[str, int],
) -> list[Cell]:
    """The model at these batches; where none is asked for at its own, or else the usual ones."""
    batches, usual = asked
    path = data if data == "generated" else str(Path(data).resolve())
    own = (model.fixed_batch,) if model.fixed_batch else usual
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
