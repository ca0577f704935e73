"""The importer of what one run of trtexec exported: its profile, its layers and its times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from nnprof.errors import BadFile, UsageError
from nnprof.profiler.importers import sources, trtexec_json, trtexec_layers, trtexec_ops
from nnprof.profiler.importers.cell import (
    Known,
    declared_batch,
    measurement,
    model_of,
    onnx_types,
)
from nnprof.profiler.importers.importer import File, Found, Importer, Told
from nnprof.types import Measurement, OpPass


def _read(files: Sequence[File], told: Told, onnx: Path | None, _: Mapping[str, str]) -> Found:
    return Found(measurements=(_engine(files, told, onnx),))


def _engine(files: Sequence[File], told: Told, onnx: Path | None) -> Measurement:
    """Profile, layers and times of one run of trtexec; layers alone say nothing of time."""
    by_form = {file.form: file for file in files}
    if len(by_form) < len(files):
        raise UsageError(
            "There are several files of one kind.",
            "Import the exports of one run of trtexec at a time: profile, layers and times.",
        )
    model = model_of(files[0].path, told, onnx)
    profile, layers, times = (by_form.get(form) for form in ("profile", "layers", "times"))
    if not profile and not times:
        raise UsageError(
            f"{files[0].path} has layers, but no times.",
            "Give the file of --exportProfile or of --exportTimes, too.",
        )
    engine = trtexec_layers.read_engine(layers.text, str(layers.path)) if layers else None
    ops = None
    if profile:
        read = trtexec_json.read_profile(profile.text, str(profile.path))
        seconds = sum(layer.mean_s for layer in read.layers)
        timed = trtexec_ops.op_times(read, engine, onnx_types(onnx))
        ops = OpPass(method="runtime", latency_s=seconds, ops=timed)
    samples, facts = _queries(times) if times else (None, {})
    ports = {port.name: port.shape for port in engine.inputs} if engine else {}
    known = Known(
        path=files[0].path,
        model=model,
        batch=(declared_batch(model, ports) or trtexec_ops.batch_of(engine)) if engine else None,
        runtime=trtexec_json.RUNTIME,
        samples_s=samples or (ops.latency_s if ops else 0.0,),
        stand_in=None if samples else "the sum of its layers",
        ops=ops,
        facts=facts,
        clock="cuda_event",
    )
    return measurement(known, told)


def _queries(times: File) -> tuple[tuple[float, ...], dict[str, Any]]:
    """GPU compute time of each inference; copies stand beside it, as trtexec 11 has it."""
    queries = trtexec_json.read_times(times.text, str(times.path))
    if min(query.compute_s for query in queries) <= 0:
        raise BadFile(f"{times.path} has an inference that took no time.", "Measure again.")
    facts = {
        "loops": 1,
        "transfers": "outside",
        "h2d_s": median(query.h2d_s for query in queries),
        "d2h_s": median(query.d2h_s for query in queries),
        "enqueue_s": median(query.enqueue_s for query in queries),
    }
    return tuple(query.compute_s for query in queries), facts


IMPORTER = Importer(
    name="trtexec export",
    takes="JSON of trtexec (profile, layers, times)",
    form=lambda text: trtexec_json.kind_of_file(sources.start(text)),
    read=_read,
    order=1,
)
