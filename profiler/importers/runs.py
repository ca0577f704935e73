"""Files of other tools → a Run: tables, what trtexec writes and says, profiles of ONNX Runtime.

What a file is, is told by what it holds, not by its name. A Run made here has no processes and no
plan: `stopped` is "imported", and what the source does not tell is unknown.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

import msgspec

from nnprof.errors import BadFile, UsageError
from nnprof.exporters.models import load_model
from nnprof.profiler.importers import ort_profile, sources, table, trtexec_json, trtexec_log
from nnprof.profiler.importers.ort_profile import Inference
from nnprof.profiler.importers.table import METHOD, NO_PLAN, UNKNOWN, Told
from nnprof.profiler.importers.trtexec_log import Log
from nnprof.types import (
    Cell,
    Check,
    Measurement,
    Model,
    OpPass,
    Run,
    Study,
    Target,
    Workload,
)

_SUFFIXES = re.compile(r"(\.(json|csv|txt|log|gz))+$", re.IGNORECASE)
_SPREAD = ("min", "max", "mean")
_START = 1 << 16  # characters that tell what a file is
_LOG = "log of trtexec"
_FORMS = (
    "a .csv table, JSON of trtexec (profile, layers, times) or its log, a profile of ONNX Runtime"
)


class _File(msgspec.Struct, frozen=True, kw_only=True):
    path: Path
    form: str  # table, run, or as the readers call it
    text: str
    sha256: str


def run_from(
    paths: Sequence[Path],
    told: Told,
    onnx: Path | None,
    command: Sequence[str],
    rename: Mapping[str, str] = MappingProxyType({}),
) -> Run:
    """The Run that these files are.

    Args:
        paths: tables of any number, or the exports of one run of trtexec, or profiles.
        told: what the files do not say themselves.
        onnx: the network's file, for its ops' names and types; not for tables.
        command: the arguments given.
        rename: a table's column names → ours.

    Raises:
        BadFile: a file is none of these, or is damaged.
        UsageError: the files do not belong together, or something must be told.
    """
    files = [_read(path) for path in paths]
    forms = sorted({_family(file) for file in files})
    if len(forms) > 1:
        raise UsageError(
            f"These files are of several kinds: {', '.join(forms)}.", "Import one kind at a time."
        )
    ignored: tuple[str, ...] = ()
    version: str | None = None
    if forms != ["table"] and rename:
        raise UsageError("Only tables have columns to rename.", "Leave --rename out.")
    try:
        if forms == ["table"]:
            measurements, ignored, version = _tables(files, told, onnx, rename)
        elif forms == ["trtexec export"]:
            measurements = (_engine(files, told, onnx),)
        elif forms == [_LOG]:
            measurements, version = _logs(files, told, onnx)
        else:
            measurements = tuple(one for file in files for one in _profile(file, told, onnx))
    except ValueError as error:  # of our own values, which refuse what cannot be
        names = ", ".join(map(str, paths))
        raise BadFile(f"{names} has a value that cannot be: {error}.", "Correct it.") from error
    return _run(files, measurements, command, ignored=ignored, version=version)


def _read(path: Path) -> _File:
    data = sources.read(path)
    text = sources.text_of(data, str(path))
    digest = hashlib.sha256(data).hexdigest()
    return _File(path=path, form=_form(path, text), text=text, sha256=digest)


def _form(path: Path, text: str) -> str:
    """Told by how it begins, since a file that is cut off is one all the same."""
    if trtexec_log.is_log(text):
        return _LOG
    start = text[:_START].lstrip()
    if start.startswith("<"):
        raise BadFile(f"{path} is a web page or XML.", "Save the table as CSV, and import that.")
    if start[:1] not in ("[", "{"):
        return "table"
    form = trtexec_json.kind_of_file(start) or (
        "onnx runtime" if ort_profile.is_profile(start) else ""
    )
    if not form and start.startswith("{") and '"measurements"' in text:
        raise UsageError(f"{path} is a Run already.", f"Show it with: nnprof show {path}")
    if not form:
        raise BadFile(f"{path} is no file that can be imported.", f"It takes {_FORMS}.")
    return form


def _family(file: _File) -> str:
    names = {"onnx runtime": "profile of ONNX Runtime", **{n: n for n in ("table", _LOG)}}
    return names.get(file.form, "trtexec export")


def _run(
    files: Sequence[_File],
    measurements: Sequence[Measurement],
    command: Sequence[str],
    *,
    ignored: Sequence[str],
    version: str | None,
) -> Run:
    first = measurements[0].target
    environment: dict[str, Any] = {
        "imported": {
            "files": [
                {
                    "name": file.path.name,
                    "sha256": file.sha256,
                    "form": file.form,
                }
                for file in files
            ],
            "ignored_columns": list(ignored),
        },
        "backend": {"name": first.backend, **({"version": version} if version else {})},
        "device": {} if first.device == UNKNOWN else {"model": first.device},
    }
    study = Study(
        name=METHOD,
        command=tuple(command),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        plan=NO_PLAN,
        cells=tuple(Cell(workload=m.workload, target=m.target) for m in measurements),
    )
    _check_distinct(study.cells)
    return Run(study=study, environment=environment, measurements=tuple(measurements))


def _check_distinct(cells: Sequence[Cell]) -> None:
    seen: set[str] = set()
    for cell in cells:
        if cell.key in seen:
            work = cell.workload
            raise UsageError(
                f"{work.model.name} at batch {work.batch} comes twice.",
                "Import each measurement once, or give the files different networks.",
            )
        seen.add(cell.key)


def unknowns(run: Run) -> tuple[str, ...]:
    """What no file told and the user did not: names of flags that would tell it."""
    missing = {
        "device": any(m.target.device == UNKNOWN for m in run.measurements),
        "runtime": any(m.target.backend == UNKNOWN for m in run.measurements),
        "precision": any(m.workload.precision == UNKNOWN for m in run.measurements),
        "threads": any(m.target.threads == 0 and m.clock != "cuda_event" for m in run.measurements),
    }
    return tuple(name for name, is_missing in missing.items() if is_missing)


# --- tables ---------------------------------------------------------------------------------------


def _tables(
    files: Sequence[_File], told: Told, onnx: Path | None, rename: Mapping[str, str]
) -> tuple[tuple[Measurement, ...], tuple[str, ...], str | None]:
    if onnx is not None:
        raise UsageError("A table names its networks itself.", "Leave --onnx out.")
    read = [table.parse(file.text, str(file.path), rename) for file in files]
    rows = table.chosen([row for read in read for row in read.rows], told)
    ignored = tuple(dict.fromkeys(name for read in read for name in read.ignored))
    version = next((row.version for row in rows if row.version), None)
    return table.measurements(rows), ignored, version


# --- JSON -----------------------------------------------------------------------------------------


def _engine(files: Sequence[_File], told: Told, onnx: Path | None) -> Measurement:
    """Profile, layers and times of one run of trtexec; layers alone say nothing of time."""
    by_form = {file.form: file for file in files}
    if len(by_form) < len(files):
        raise UsageError(
            "There are several files of one kind.",
            "Import the exports of one run of trtexec at a time: profile, layers and times.",
        )
    model = _model(files[0].path, told, onnx)
    profile, layers, times = (by_form.get(form) for form in ("profile", "layers", "times"))
    if not profile and not times:
        raise UsageError(
            f"{files[0].path} has layers, but no times.",
            "Give the file of --exportProfile or of --exportTimes, too.",
        )
    engine = trtexec_json.read_engine(layers.text, str(layers.path)) if layers else None
    ops = None
    if profile:
        read = trtexec_json.read_profile(profile.text, str(profile.path))
        seconds = sum(layer.mean_s for layer in read.layers)
        timed = trtexec_json.op_times(read, engine, _types(onnx))
        ops = OpPass(method="runtime", latency_s=seconds, ops=timed)
    samples, facts = _queries(times) if times else (None, {})
    ports = {port.name: port.shape for port in engine.inputs} if engine else {}
    return _measured(
        files[0].path,
        told,
        model,
        batch=(_declared(model, ports) or trtexec_json.batch_of(engine)) if engine else None,
        runtime=trtexec_json.RUNTIME,
        samples=samples or (ops.latency_s if ops else 0.0,),
        stand_in=None if samples else "the sum of its layers",
        ops=ops,
        facts=facts,
        clock="cuda_event",
    )


def _declared(model: Model, shapes: Mapping[str, Sequence[int]]) -> int | None:
    """The batch of inputs of these shapes, where the network's file says which side it is."""
    sides = [
        shapes[name][axis] for name, axis in model.axes.items() if len(shapes.get(name, ())) > axis
    ]
    return sides[0] or None if len(set(sides)) == 1 else None


def _queries(times: _File) -> tuple[tuple[float, ...], dict[str, Any]]:
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


def _logs(
    files: Sequence[_File], told: Told, onnx: Path | None
) -> tuple[tuple[Measurement, ...], str | None]:
    """A cell of each log, and the version of TensorRT; logs of one GPU and one version."""
    logs = [trtexec_log.read(file.text, str(file.path)) for file in files]
    places = {(log.device, log.version) for log in logs}
    if len(places) > 1:
        listed = ", ".join(
            f"{device or 'an unknown GPU'} with TensorRT {trtexec_log.dotted(version) or 'unknown'}"
            for device, version in sorted(places, key=str)
        )
        raise UsageError(f"These logs are of several places: {listed}.", "Import one at a time.")
    cells = tuple(_logged(file, log, told, onnx) for file, log in zip(files, logs, strict=True))
    return cells, trtexec_log.dotted(logs[0].version)


def _logged(file: _File, log: Log, told: Told, onnx: Path | None) -> Measurement:
    """The median that trtexec gives, as it gives it; layers where it dumped them."""
    told = msgspec.structs.replace(
        told,
        network=told.network or (None if onnx else log.network),
        device=told.device or log.device,
        precision=told.precision or log.precision,
    )
    model = _model(file.path, told, onnx)
    ops = None
    if log.profile:
        timed = trtexec_json.op_times(log.profile, None, _types(onnx))
        ops = OpPass(method="runtime", latency_s=sum(op.seconds for op in timed), ops=timed)
    known = {"repetitions": log.queries, **{f"{one}_s": log.compute.get(one) for one in _SPREAD}}
    facts = {"loops": 1, "transfers": "outside", **known, **log.facts} if log.compute else {}
    return _measured(
        file.path,
        told,
        model,
        batch=_declared(model, log.inputs) or trtexec_log.batch_of(log),
        runtime=trtexec_json.RUNTIME,
        samples=(log.compute["median"],) if log.compute else (ops.latency_s if ops else 0.0,),
        stand_in=None if log.compute else "the sum of its layers",
        ops=ops,
        facts={name: value for name, value in facts.items() if value is not None},
        clock="cuda_event",
    )


def _profile(file: _File, told: Told, onnx: Path | None) -> tuple[Measurement, ...]:
    """A cell for each batch that the session ran."""
    every = ort_profile.read(file.text, str(file.path))
    same = ort_profile.alike(every)
    model = _model(file.path, told, onnx)
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
        return ort_profile.batch_of(run)
    import onnx as library

    ran = {(node.name, node.op): node.inputs for node in run.nodes}
    declared = {tensor.name: tensor.shape for tensor in model.inputs}
    for node in library.load(onnx, load_external_data=False).graph.node:
        shapes = ran.get((node.name, node.op_type), ())
        for name, shape in zip(node.input, shapes, strict=False):
            # Optional inputs that are left out shift those behind: then the sides differ.
            if name in model.axes and _fits(shape, declared[name]):
                return shape[model.axes[name]]
    return ort_profile.batch_of(run)


def _fits(shape: Sequence[int], declared: Sequence[int | str]) -> bool:
    return len(shape) == len(declared) and all(
        isinstance(said, str) or side == said for side, said in zip(shape, declared, strict=True)
    )


def _chosen(
    file: _File,
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
    file: _File,
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
    return _measured(
        file.path,
        told,
        model,
        batch=batch,
        runtime=ort_profile.RUNTIME,
        samples=kept or ((ops.latency_s,) if ops else ()),
        warmups=first,
        stand_in="the time of runs that the profiler watched" if kept else "the sum of its ops",
        ops=ops,
        facts={"loops": 1} if kept else {},
        clock=UNKNOWN,
        checks=[*checks, *odd],
    )


def _watched(
    file: _File, runs: Sequence[Inference], seconds: Sequence[float]
) -> tuple[OpPass | None, list[Check]]:
    """The ops of runs that took so long; none where their work was not timed."""
    if provider := runs[0].launched:
        if not seconds:
            raise UsageError(
                f"{file.path} times the launches of {provider} alone, not its work.",
                "Profile with a build of ONNX Runtime that has --enable_cuda_profiling.",
            )
        return None, [Check(code="launches_only", data={"provider": provider})]
    timed = ort_profile.op_times(runs, ())
    latency_s = median(seconds) if seconds else sum(op.seconds for op in timed)
    overlap = [Check(code="ops_overlap")] if any(run.overlap for run in runs) else []
    return OpPass(method="runtime", latency_s=latency_s, ops=timed), overlap


def _types(onnx: Path | None) -> Mapping[str, str]:
    if onnx is None:
        return {}
    import onnx as library

    return trtexec_json.onnx_types(library.load(onnx, load_external_data=False))


def _measured(
    path: Path,
    told: Told,
    model: Model,
    *,
    batch: int | None,
    runtime: str,
    samples: tuple[float, ...],
    stand_in: str | None,
    ops: OpPass | None,
    facts: dict[str, Any],
    clock: str,
    warmups: tuple[float, ...] = (),
    checks: Sequence[Check] = (),
) -> Measurement:
    found = list(checks)
    if stand_in:
        found.insert(0, Check(code="not_clean", data={"what": stand_in}))
    size, counts_tiles = _batch(path, told, batch, model)
    if batch and size != batch:
        found.append(Check(code="batch_told", data={"told": size, "shapes": batch}))
    if not all(0 < seconds < math.inf for seconds in samples):
        raise BadFile(f"{path} has an inference that took no time.", "Measure again.")
    return Measurement(
        workload=Workload(
            model=model,
            batch=size,
            counts_tiles=counts_tiles,
            precision=told.precision or UNKNOWN,
            data=UNKNOWN,
        ),
        target=Target(
            backend=told.runtime or runtime,
            device=told.device or UNKNOWN,
            host=UNKNOWN,
            threads=told.threads or 0,
        ),
        plan=NO_PLAN,
        clock=clock,
        samples_s=(samples,),
        warmups_s=(warmups,),
        processes=(),
        ops=ops,
        facts=facts,
        checks=tuple(found),
        stopped=METHOD,
    )


def _batch(path: Path, told: Told, shown: int | None, model: Model) -> tuple[int, bool]:
    """As the network's file binds it, as told, or as the shapes show; and if it counts tiles."""
    bound = model.fixed_batch if model.axes and model.batch_from != "guessed" else None
    if bound and told.batch and told.batch != bound:
        raise UsageError(
            f"{model.name} is bound to batch {bound}, not {told.batch}.",
            "Leave --batch out, or give the --onnx file that ran.",
        )
    batch = bound or told.batch or shown
    if batch is None and (not model.path or model.axes):
        raise UsageError(f"{path} does not tell the batch.", "Tell it with --batch N.")
    return batch or 1, batch is not None


def _model(path: Path, told: Told, onnx: Path | None) -> Model:
    if onnx is None:
        return table.named_model(told.network or _SUFFIXES.sub("", path.name) or path.name)
    model = load_model(onnx)
    return msgspec.structs.replace(model, name=told.network) if told.network else model
