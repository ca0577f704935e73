"""The ops of what a user names, for a model: asked of the runtime, or by the model's rules.

A network in notation is lowered by rules (`lowering.of_spec`), which are tested against the runtime
op by op and need neither runtime nor torch. An ONNX file is opened by the model's backend where
that is installed; where it is not, `onnx_rules` fuses the graph as it stands in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from msgspec.structs import replace

from nnprof import registry
from nnprof.errors import Unavailable, UnknownName, UsageError
from nnprof.exporters.models import load_model
from nnprof.networks.families import parse_network
from nnprof.networks.spec import NetworkSpec
from nnprof.profiler import frames, inputs
from nnprof.profiler.costmodel import kernels, lowering, made_for, onnx_rules, ran
from nnprof.profiler.costmodel.model import CostModel
from nnprof.profiler.costmodel.work import Work
from nnprof.profiler.ports import OpNode
from nnprof.profiler.studies import AS_DECLARED, Sides
from nnprof.types import Image, Model, Target, Workload

BATCHES = (1, 16, 1024)
NO_DIMS: Mapping[str, int] = MappingProxyType({})
UNTOLD = "untold"  # group of ops of which nothing says what they do


class Lowered(NamedTuple):
    """Ops by batch, where they came from ("rules" or "runtime"), and what the model is not for.

    `tiles` of an image, where one is cut for the network.
    """

    works: dict[int, tuple[Work, ...]]
    source: str
    unlike: tuple[str, ...] = ()
    tiles: int | None = None


def of_text(
    text: str,
    made: CostModel,
    batches: Sequence[int],
    sides: Sides = AS_DECLARED,
    image: Image | None = None,
    usual: Sequence[int] = BATCHES,
) -> tuple[str, Lowered]:
    """Name and ops of a network in notation, an ONNX file or a checkpoint's folder.

    Without batches the usual ones, or the one that a file is bound to; with an image those that
    divide its tiles.

    Raises:
        BadFile, BadNotation, BadShape: as the file or the text deserves.
        UsageError: a batch that the file is not made for, or that it does not tell of; or the image
            cannot be cut for the network, or the batch does not divide its tiles.
    """
    path = Path(text)
    if path.is_dir():
        from nnprof.networks.checkpoint import load_checkpoint

        return text, _of_spec(load_checkpoint(path).spec, text, made, (batches, usual), image)
    if path.is_file() or path.suffix == ".onnx":
        (model,) = sides.of([load_model(path)])
        if not (model.axes or batches or image):
            raise UsageError(
                f"No input of {model.name} has a batch axis that can be told, so its tiles cannot "
                "be counted.",
                "Say which with --batch-axis, or with --batch 1 that an inference is one tile.",
            )
        bound = (model.fixed_batch,) if model.fixed_batch and not batches else batches
        tiles = frames.tiles_of(model, image, sides.dims) if image else None
        own = frames.batches(tiles, bound) if tiles else bound or usual
        return model.name, of_file(model, made, own, sides.dims)._replace(tiles=tiles)
    spec = parse_network(text)
    return spec.name, _of_spec(spec, spec.name, made, (batches, usual), image)


def _of_spec(
    spec: NetworkSpec,
    name: str,
    made: CostModel,
    batches: tuple[Sequence[int], Sequence[int]],
    image: Image | None,
) -> Lowered:
    """At the batches that are asked for, else at the usual ones."""
    asked, usual = batches
    tiles = frames.tiles(spec.input_shape, name, image) if image else None
    own = frames.batches(tiles, asked) if tiles else asked or usual
    return of_spec(spec, made, own)._replace(tiles=tiles)


def of_spec(spec: NetworkSpec, made: CostModel, batches: Sequence[int]) -> Lowered:
    """By the model's rules."""
    works = {
        size: lowering.of_spec(spec, made.lowering, size, made.value_bytes) for size in batches
    }
    return Lowered(works, "rules", made_for.words(made, spec))


def of_file(
    model: Model, made: CostModel, batches: Sequence[int], dims: Mapping[str, int] = NO_DIMS
) -> Lowered:
    """As the model's runtime would run the file, or by rules where it is not here.

    Nor is it here where its blocks of channels are of another width than the model's.
    By rules, too, where those gave the ops that the model was fitted on.

    Raises:
        UsageError: a batch that the file is not made for, or other sizes that it leaves free.
        BadFile: the runtime refuses it.
    """
    own = inputs.check_dims(model, dims)
    workloads = {size: Workload(model=model, batch=size, dims=own) for size in batches}
    for size, one in workloads.items():
        inputs.check_batch(model, size)
        _check_sizes(one)
    if _is_of_ran_ops(made):
        try:
            asked = {size: _ran(one, made.target) for size, one in workloads.items()}
            if not any(_other_blocks(ops, made.lowering) for ops in asked.values()):
                works = {size: _works(ops) for size, ops in asked.items()}
                return Lowered(works, "runtime")
        except (Unavailable, UnknownName):
            pass  # a model of a device that is elsewhere: the rules stand in for its runtime
    return Lowered(
        {
            size: onnx_rules.of_workload(one, made.lowering, made.value_bytes)
            for size, one in workloads.items()
        },
        "rules",
    )


def _is_of_ran_ops(made: CostModel) -> bool:
    """Whether the model's groups are of ops as they ran, not of those that rules give a network.

    The latter of published models, and of those fitted on whole networks: a runtime that times no
    ops, or tells no shapes, may name its ops by other words than the rules, or by the same words.
    """
    return made.lowering != "layers" and any(group.rows for group in made.groups)


def _works(ops: Sequence[OpNode]) -> tuple[Work, ...]:
    """Ops as numbers; those of unknown shape as ones that no model has seen, for they cost, too."""
    untold = (Work(group=UNTOLD, op=f"{op.op} (shapes unknown)") for op in ops if not op.outputs)
    return (*ran.of_nodes(ops), *untold)


def _check_sizes(workload: Workload) -> None:
    try:
        inputs.shapes(workload)
    except UsageError as error:
        flags = " ".join(f"--dim {name}=N" for name in inputs.still_free(workload))
        raise UsageError(error.reason, f"Give its size with {flags}.") from error


def _other_blocks(ops: Sequence[OpNode], lowering: str) -> bool:
    """Whether the runtime here has blocks of another width than the model's, or none.

    The same runtime on a processor with other vectors; the model's rules stand in for it.
    """
    block = kernels.BLOCKS.get(lowering)
    if block is None or not any(op.kind == "conv" for op in ops):
        return False
    return block not in (ran.widths(ops) or ())


def _ran(workload: Workload, target: Target) -> tuple[OpNode, ...]:
    backend = registry.find("backend", target.backend)
    backend.probe(target)
    session = backend.open(workload, replace(target, host="local"))
    try:
        ran: tuple[OpNode, ...] = session.graph()
    finally:
        session.close()
    return ran
