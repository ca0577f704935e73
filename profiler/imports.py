"""Files of other tools → a Run: tables, exports of trtexec, profiles of ONNX Runtime.

What a file is, is told by what it holds, not by its name. A Run made here has no processes and no
plan: `stopped` is "imported", and what the source does not tell is unknown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

import msgspec

from nnprof.errors import BadFile, UsageError
from nnprof.exporters.onnx import load_model
from nnprof.profiler import ortjson, tables, trtjson
from nnprof.profiler.tables import METHOD, NO_PLAN, UNKNOWN, Told
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

_FORMS = "a .csv table, JSON of trtexec (profile, layers, times), a profile of ONNX Runtime"


class _File(msgspec.Struct, frozen=True, kw_only=True):
    path: Path
    form: str  # table, run, or as the readers call it
    data: bytes


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
    if forms == ["table"]:
        measurements, ignored, version = _tables(files, told, onnx, rename)
    elif rename:
        raise UsageError("Only tables have columns to rename.", "Leave --rename out.")
    elif forms == ["trtexec export"]:
        measurements = (_engine(files, told, onnx),)
    else:
        measurements = tuple(_profile(file, told, onnx) for file in files)
    return _run(files, measurements, command, ignored=ignored, version=version)


def _read(path: Path) -> _File:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.") from error
    return _File(path=path, form=_form(path, data), data=data)


def _form(path: Path, data: bytes) -> str:
    start = data.lstrip()[:1]
    if path.suffix == ".gz" or start not in (b"[", b"{"):
        return "table"
    form = trtjson.kind_of_file(data) or ("onnx runtime" if ortjson.is_profile(data) else "")
    if not form and data.lstrip().startswith(b"{") and b'"measurements"' in data:
        raise UsageError(f"{path} is a Run already.", f"Show it with: nnprof show {path}")
    if not form:
        raise BadFile(f"{path} is no file that can be imported.", f"It takes {_FORMS}.")
    return form


def _family(file: _File) -> str:
    names = {"table": "table", "onnx runtime": "profile of ONNX Runtime"}
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
                    "sha256": hashlib.sha256(file.data).hexdigest(),
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
    read = [tables.read(file.path, rename) for file in files]
    rows = tables.chosen([row for table in read for row in table.rows], told)
    ignored = tuple(dict.fromkeys(name for table in read for name in table.ignored))
    version = next((row.version for row in rows if row.version), None)
    return tables.measurements(rows), ignored, version


# --- JSON -----------------------------------------------------------------------------------------


def _engine(files: Sequence[_File], told: Told, onnx: Path | None) -> Measurement:
    """Profile, layers and times of one run of trtexec; layers alone say nothing of time."""
    by_form = {file.form: file for file in files}
    if len(by_form) < len(files):
        raise UsageError(
            "There are several files of one kind.",
            "Import the exports of one run of trtexec at a time: profile, layers and times.",
        )
    profile, layers, times = (by_form.get(form) for form in ("profile", "layers", "times"))
    if not profile and not times:
        raise UsageError(
            f"{files[0].path} has layers, but no times.",
            "Give the file of --exportProfile or of --exportTimes, too.",
        )
    engine = trtjson.read_engine(layers.data, str(layers.path)) if layers else None
    ops = None
    if profile:
        read = trtjson.read_profile(profile.data, str(profile.path))
        seconds = sum(layer.mean_s for layer in read.layers)
        timed = trtjson.op_times(read, engine, _types(onnx))
        ops = OpPass(method="runtime", latency_s=seconds, ops=timed)
    samples, facts = _queries(times) if times else (None, {})
    return _measured(
        files[0].path,
        told,
        onnx,
        batch=trtjson.batch_of(engine) if engine else None,
        runtime=trtjson.RUNTIME,
        samples=samples or (ops.latency_s if ops else 0.0,),
        stand_in=None if samples else "the sum of its layers",
        ops=ops,
        facts=facts,
        clock="cuda_event",
    )


def _queries(times: _File) -> tuple[tuple[float, ...], dict[str, Any]]:
    """GPU compute time of each inference; copies stand beside it, as trtexec 11 has it."""
    queries = trtjson.read_times(times.data, str(times.path))
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


def _profile(file: _File, told: Told, onnx: Path | None) -> Measurement:
    """Ops, and runs that the profiler watched; the first run is the cold start."""
    events = ortjson.read(file.data, str(file.path))
    runs = ortjson.run_times(events)
    kept = runs[1:] or runs
    ops = ortjson.op_times(events, max(1, len(kept)), ())
    latency_s = median(kept) if kept else sum(op.seconds for op in ops)
    first = ops[0].inputs[0] if ops[0].inputs and ops[0].inputs[0] else (None,)
    return _measured(
        file.path,
        told,
        onnx,
        batch=first[0],
        runtime=ortjson.RUNTIME,
        samples=kept or (latency_s,),
        warmups=runs[:1] if len(runs) > 1 else (),
        stand_in="the time of runs that the profiler watched" if kept else "the sum of its ops",
        ops=OpPass(method="runtime", latency_s=latency_s, ops=ops),
        facts={"loops": 1} if kept else {},
        clock=UNKNOWN,
    )


def _types(onnx: Path | None) -> Mapping[str, str]:
    if onnx is None:
        return {}
    import onnx as library

    return trtjson.onnx_types(library.load(onnx, load_external_data=False))


def _measured(
    path: Path,
    told: Told,
    onnx: Path | None,
    *,
    batch: int | None,
    runtime: str,
    samples: tuple[float, ...],
    stand_in: str | None,
    ops: OpPass | None,
    facts: dict[str, Any],
    clock: str,
    warmups: tuple[float, ...] = (),
) -> Measurement:
    if told.batch and batch and told.batch != batch:
        raise UsageError(
            f"{path} ran at batch {batch}, not {told.batch}.", "Leave --batch out, or correct it."
        )
    if not (told.batch or batch):
        raise UsageError(f"{path} does not tell the batch.", "Tell it with --batch.")
    if not min(samples) > 0:
        raise BadFile(f"{path} has an inference that took no time.", "Measure again.")
    return Measurement(
        workload=Workload(
            model=_model(path, told, onnx),
            batch=told.batch or batch or 0,
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
        checks=(Check(code="not_clean", data={"what": stand_in}),) if stand_in else (),
        stopped=METHOD,
    )


def _model(path: Path, told: Told, onnx: Path | None) -> Model:
    if onnx is None:
        return tables.named_model(told.network or path.stem)
    model = load_model(onnx)
    return msgspec.structs.replace(model, name=told.network) if told.network else model
