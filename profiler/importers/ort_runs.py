"""The importer of ONNX Runtime's profiles: a measurement for each batch that a session ran."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from nnprof.errors import UsageError
from nnprof.profiler.importers import ort_ops, ort_profile, sources
from nnprof.profiler.importers.cell import Known, measurement, model_of
from nnprof.profiler.importers.importer import UNKNOWN, File, Found, Importer, Told
from nnprof.profiler.importers.ort_profile import Inference
from nnprof.types import Check, Measurement, Model, OpPass


def _read(files: Sequence[File], told: Told, onnx: Path | None, _: Mapping[str, str]) -> Found:
    return Found(measurements=tuple(one for file in files for one in _profile(file, told, onnx)))


def _profile(file: File, told: Told, onnx: Path | None) -> tuple[Measurement, ...]:
    """A cell for each batch that the session ran."""
    every = ort_profile.read(file.text, str(file.path))
    same = ort_ops.alike(every)
    model = model_of(file.path, told, onnx)
    groups: dict[Any, list[Inference]] = defaultdict(list)
    for one in same:
        groups[one.shapes].append(one)
    runs_of = {_shown(runs[0], model, onnx): runs for runs in groups.values()}
    if len(groups) > 1:
        runs_of = _chosen(file, told, groups.values(), runs_of)
    data = {"runs": len(every), "left_out": len(every) - len(same)}
    odd = (Check(code="runs_differ", data=data),) if data["left_out"] else ()
    return tuple(_session(file, told, model, runs, batch, odd) for batch, runs in runs_of.items())


def _shown(run: Inference, model: Model, onnx: Path | None) -> int | None:
    """The batch of a run: the side that the network's file calls it, or as the shapes show."""
    if onnx is None:
        return ort_ops.batch_of(run)
    import onnx as library

    ran = {(node.name, node.op): node.inputs for node in run.nodes}
    declared = {tensor.name: tensor.shape for tensor in model.inputs}
    for node in library.load(onnx, load_external_data=False).graph.node:
        shapes = ran.get((node.name, node.op_type), ())
        for name, shape in zip(node.input, shapes, strict=False):
            # Optional inputs that are left out shift those behind: then the sides differ.
            if name in model.axes and _fits(shape, declared[name]):
                return shape[model.axes[name]]
    return ort_ops.batch_of(run)


def _fits(shape: Sequence[int], declared: Sequence[int | str]) -> bool:
    return len(shape) == len(declared) and all(
        isinstance(said, str) or side == said for side, said in zip(shape, declared, strict=True)
    )


def _chosen(
    file: File,
    told: Told,
    groups: Collection[Sequence[Inference]],
    by_batch: dict[int | None, list[Inference]],
) -> dict[int | None, list[Inference]]:
    """Of runs with several shapes those of each batch, or of the one that was asked for."""
    if None in by_batch or len(by_batch) < len(groups):
        first, second = list(groups)[:2]
        raise UsageError(
            f"{file.path} is of runs with different shapes{_difference(first[0], second[0])}, and "
            "does not tell which batches those are.",
            "Give the network's file with --onnx, or profile each in a session of its own.",
        )
    if told.batch and told.batch not in by_batch:
        listed = ", ".join(map(str, by_batch))
        raise UsageError(f"{file.path} has no runs at batch {told.batch}.", f"It has: {listed}.")
    return {told.batch: by_batch[told.batch]} if told.batch else by_batch


def _difference(one: Inference, other: Inference) -> str:
    """The first node that got other shapes."""
    for node, twin in zip(one.nodes, other.nodes, strict=False):
        if node.inputs != twin.inputs:
            texts = [" ".join("x".join(map(str, side)) for side in n.inputs) for n in (node, twin)]
            return f" ({node.name or node.op}: {texts[0]}, then {texts[1]})"
    return ""


def _session(
    file: File,
    told: Told,
    model: Model,
    runs: Sequence[Inference],
    batch: int | None,
    odd: Sequence[Check],
) -> Measurement:
    """Ops, and runs that the profiler watched; the first run is the cold start."""
    seconds = tuple(run.seconds for run in runs if run.seconds is not None)
    kept, first = (seconds[1:], seconds[:1]) if len(seconds) > 1 else (seconds, ())
    ops, checks = _watched(file, runs[1:] or runs, kept)
    known = Known(
        path=file.path,
        model=model,
        batch=batch,
        runtime=ort_profile.RUNTIME,
        samples_s=kept or ((ops.latency_s,) if ops else ()),
        warmups_s=first,
        stand_in="the time of runs that the profiler watched" if kept else "the sum of its ops",
        ops=ops,
        facts={"loops": 1} if kept else {},
        clock=UNKNOWN,
        checks=[*checks, *odd],
    )
    return measurement(known, told)


def _watched(
    file: File, runs: Sequence[Inference], seconds: Sequence[float]
) -> tuple[OpPass | None, list[Check]]:
    """The ops of runs that took so long; none where their work was not timed."""
    if provider := runs[0].launched:
        if not seconds:
            raise UsageError(
                f"{file.path} times the launches of {provider} alone, not its work.",
                "Profile with a build of ONNX Runtime that has --enable_cuda_profiling.",
            )
        return None, [Check(code="launches_only", data={"provider": provider})]
    timed = ort_ops.op_times(runs, ())
    latency_s = median(seconds) if seconds else sum(op.seconds for op in timed)
    overlap = [Check(code="ops_overlap")] if any(run.overlap for run in runs) else []
    return OpPass(method="runtime", latency_s=latency_s, ops=timed), overlap


IMPORTER = Importer(
    name="profile of ONNX Runtime",
    takes="a profile of ONNX Runtime",
    form=lambda text: "onnx runtime" if ort_profile.is_profile(sources.start(text)) else "",
    read=_read,
    order=2,
)
