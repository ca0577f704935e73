"""What one file tells of one cell, and what the user tells → a measurement."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from nnprof.errors import BadFile, UsageError
from nnprof.exporters.models import load_model
from nnprof.networks.families import parse_network
from nnprof.profiler.graph import opgraph
from nnprof.profiler.importers.importer import METHOD, NO_PLAN, UNKNOWN, Told
from nnprof.types import Check, Clock, Measurement, Model, OpPass, Target, Workload

_SUFFIXES = re.compile(r"(\.(json|csv|txt|log|gz))+$", re.IGNORECASE)


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What a file tells of one cell.

    Attributes:
        path: the file, for errors.
        batch: as the shapes show it; None where they do not.
        samples_s, warmups_s: seconds of each inference.
        stand_in: what the samples are instead of clean times; None for clean times.
        facts: by the names of `Measurement.facts`.
    """

    path: Path
    model: Model
    batch: int | None
    runtime: str
    samples_s: tuple[float, ...]
    warmups_s: tuple[float, ...] = ()
    stand_in: str | None
    ops: OpPass | None
    facts: dict[str, Any]
    clock: Clock
    checks: Sequence[Check] = ()


def measurement(known: Known, told: Told) -> Measurement:
    """The cell as a measurement; what the user told goes before what the file tells.

    Raises:
        BadFile: an inference took no time.
        UsageError: neither tells the batch, or the user tells another than the model is bound to.
    """
    size, counts_tiles = _batch(known, told)
    found = list(known.checks)
    if known.stand_in:
        found.insert(0, Check(code="not_clean", data={"what": known.stand_in}))
    if known.batch and size != known.batch:
        found.append(Check(code="batch_told", data={"told": size, "shapes": known.batch}))
    if not all(0 < seconds < math.inf for seconds in known.samples_s):
        raise BadFile(f"{known.path} has an inference that took no time.", "Measure again.")
    return Measurement(
        workload=Workload(
            model=known.model,
            batch=size,
            counts_tiles=counts_tiles,
            precision=told.precision or UNKNOWN,
            data=UNKNOWN,
        ),
        target=Target(
            backend=told.runtime or known.runtime,
            device=told.device or UNKNOWN,
            host=UNKNOWN,
            threads=told.threads or 0,
        ),
        plan=NO_PLAN,
        clock=known.clock,
        samples_s=(known.samples_s,),
        warmups_s=(known.warmups_s,),
        processes=(),
        ops=known.ops,
        facts=known.facts,
        checks=tuple(found),
        stopped=METHOD,
    )


def _batch(known: Known, told: Told) -> tuple[int, bool]:
    """The batch, of the model's file, the user or the shapes; and whether it counts tiles."""
    model = known.model
    bound = model.fixed_batch if model.axes and model.batch_from != "guessed" else None
    if bound and told.batch and told.batch != bound:
        raise UsageError(
            f"{model.name} is bound to batch {bound}, not {told.batch}.",
            "Leave --batch out, or give the --onnx file that ran.",
        )
    batch = bound or told.batch or known.batch
    if batch is None and (not model.path or model.axes):
        raise UsageError(f"{known.path} does not tell the batch.", "Tell it with --batch N.")
    return batch or 1, batch is not None


def declared_batch(model: Model, shapes: Mapping[str, Sequence[int]]) -> int | None:
    """The batch of inputs of these shapes; None unless the model says which side is the batch."""
    sides = [
        shapes[name][axis] for name, axis in model.axes.items() if len(shapes.get(name, ())) > axis
    ]
    return sides[0] or None if len(set(sides)) == 1 else None


def model_of(path: Path, told: Told, onnx: Path | None) -> Model:
    """The model of the .onnx file; without it a name alone, as told or as the file is called."""
    if onnx is None:
        return named_model(told.network or _SUFFIXES.sub("", path.name) or path.name)
    model = load_model(onnx)
    return msgspec.structs.replace(model, name=told.network) if told.network else model


def named_model(text: str) -> Model:
    """A network without a file at hand; with its notation, where the name is a notation."""
    try:
        spec = parse_network(text)
    except UsageError:
        name, notation = text, None
    else:
        name, notation = spec.name, spec.notation
    return Model(
        name=name,
        path="",
        sha256="",
        opset=0,
        inputs=(),
        outputs=(),
        network=notation,
        weights=UNKNOWN,
        normalisation=UNKNOWN,
    )


def onnx_types(onnx: Path | None) -> Mapping[str, str]:
    """Name of each node of an ONNX file → its op type; {} without a file."""
    if onnx is None:
        return {}
    import onnx as library

    return opgraph.op_types(library.load(onnx, load_external_data=False))
