"""From what a user names to cells: networks, files, checkpoints and studies on a target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from nnprof import registry
from nnprof.errors import UsageError
from nnprof.exporters.onnx import export, load_model
from nnprof.networks import bundled
from nnprof.networks.families import parse_network
from nnprof.networks.spec import NetworkSpec
from nnprof.profiler import inputs
from nnprof.types import Cell, Model, Target, Workload

BATCHES = (1, 4, 16, 64, 256, 1024)


def model_of(text: str) -> Model:
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
    return export(parse_network(text))


def bundled_cells(target: Target, batches: Sequence[int] = ()) -> tuple[Cell, ...]:
    """The bundled network on its own tiles."""
    model = load_model(bundled.model_path())
    return _cells(model, batches or BATCHES, target, str(bundled.tiles_path()))


def named_cells(
    texts: Iterable[str], target: Target, batches: Sequence[int] = (), data: str = "generated"
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


def study_cells(name: str, target: Target, batches: Sequence[int] = ()) -> tuple[Cell, ...]:
    """A registered study; with `batches`, only those of its cells.

    Raises:
        UnknownName: no such study; lists the known.
        UsageError: none of its cells has such a batch.
    """
    asked: list[tuple[NetworkSpec, int]] = list(registry.find("study", name)())
    kept = [(spec, batch) for spec, batch in asked if not batches or batch in batches]
    if not kept:
        own = sorted({batch for _, batch in asked})
        raise UsageError(
            f"Study '{name}' has no cell at batch {', '.join(map(str, batches))}.",
            f"Its batches: {', '.join(map(str, own))}.",
        )
    models = {spec.name: spec for spec, _ in kept}
    exported = {network: export(spec) for network, spec in models.items()}
    return tuple(
        Cell(workload=Workload(model=exported[spec.name], batch=batch), target=target)
        for spec, batch in kept
    )


def _cells(model: Model, batches: Sequence[int], target: Target, data: str) -> tuple[Cell, ...]:
    path = data if data == "generated" else str(Path(data).resolve())
    for batch in batches:
        inputs.check_batch(model, batch)
    # Making the smallest inputs here says what is wrong with them before anything is measured.
    inputs.make(Workload(model=model, batch=min(batches), data=path))
    return tuple(
        Cell(workload=Workload(model=model, batch=batch, data=path), target=target)
        for batch in batches
    )
