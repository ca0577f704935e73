"""Logs of trtexec (TensorRT 8 to 11), and their importer.

The summary at the end has one line per quantity, in milliseconds (samples/common/
sampleReporting.cpp, `printPerformanceReport`); `--dumpProfile` adds a table of layers (`print` of
the same file), in 8.0 to 8.3 with the name first. The first and last lines hold the version, the
command and how it ended (samples/common/logger.cpp).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from nnprof.errors import BadFile, UsageError
from nnprof.profiler.importers import trtexec_ops
from nnprof.profiler.importers.cell import (
    Known,
    declared_batch,
    measurement,
    model_of,
    onnx_types,
)
from nnprof.profiler.importers.importer import File, Found, Importer, Told
from nnprof.profiler.importers.trtexec_json import RUNTIME, LayerTime, Profile
from nnprof.types import Measurement, OpPass, Precision

Version = tuple[int, ...]
Shape = tuple[int, ...]

ERROR = re.compile(r"\[E\] (.*\S)")
_BANNER = re.compile(r"\[TensorRT v(\d+)\]")
_ENDS = re.compile(r"&&&& (RUNNING|PASSED|FAILED) TensorRT\.trtexec\b[^#\n]*(?:# ?(.*))?")
_LOG = re.compile(
    r"&&&& (?:RUNNING|PASSED|FAILED) TensorRT\.trtexec"
    r"|\[I\] (?:GPU Compute Time: min|=== (?:Performance summary|Trace details|Profile \())"
)
_SUMMARY = re.compile(r"\[I\] ([A-Z][\w -]*?)(?: Time| Latency)?: (min = .*)")
_STATISTIC = re.compile(r"(\w+(?:\(\d+%\))?) = (\S+) ms")
_QUERIES = re.compile(r"\[I\] Timing trace has (\d+) queries")
_DEVICE = re.compile(r"\[I\] Selected Device: (.*\S)")
_BINDING = re.compile(
    r"\[I\] (?:Created input|Input) binding for (.+) with dimensions (\d+(?:x\d+)*)(?:\s|$)"
)
_PROFILE = re.compile(r"\[I\] === Profile \((\d+) iterations ?\) ===")
_ROW = re.compile(r"\[I\] (.*\S)")
_NUMBER = r"\d+(?:\.\d+)?"
_NAME_LAST = re.compile(rf"\s*({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s+{_NUMBER}\s+(.+)")
_NAME_FIRST = re.compile(rf"\s*(.+?)\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s+{_NUMBER}")


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """What the log of one run of trtexec states; times in seconds; None or {} for what it does not.

    Attributes:
        version: of TensorRT.
        compute: statistics of GPU compute time by their names: min, max, mean, median, …
        facts: what else was timed: copies, enqueueing, latency with the copies.
        queries: number of timed inferences.
        profile: the layers, where they were dumped.
        inputs: shapes of the inputs as they ran, or as the command has them.
        implicit_batch: of `--batch`, which TensorRT 9 and before had.
        network: stem of the ONNX file.
        device: name of the GPU.
        precision: by the flags of the build; None where they leave it open.
    """

    version: Version | None
    compute: dict[str, float]
    facts: dict[str, float]
    queries: int | None
    profile: Profile | None
    inputs: dict[str, Shape]
    implicit_batch: int | None
    network: str | None
    device: str | None
    precision: Precision | None


def version_of(said: str) -> Version | None:
    """The version in the first line of a run: v8601 → (8, 6, 1), v100300 → (10, 3, 0); or None.

    Up to 9 the number is major·1000 + minor·100 + patch, since 10 it is major·10000 + …
    """
    found = _BANNER.search(said)
    if not found or len(found[1]) > 9:
        return None
    number = int(found[1])
    major, rest = divmod(number, 10000 if number >= 100000 else 1000)
    return major, rest // 100, rest % 100


def dotted(version: Version | None) -> str | None:
    """(8, 6, 1) → "8.6.1"."""
    return ".".join(map(str, version)) if version else None


def is_log(text: str) -> bool:
    """Whether a text is a log of trtexec, from anywhere in it: other lines may stand first."""
    return bool(_LOG.search(text))


def read(text: str, source: str) -> Log:
    """What a log states; `source` is for errors.

    Raises:
        BadFile: trtexec failed, had not ended, or timed nothing; or the log is of several runs.
    """
    ends = _ENDS.findall(text)
    if sum(word != "RUNNING" for word, _ in ends) > 1:
        raise _several(source)
    said = dict(ends)
    if "FAILED" in said:
        errors = ERROR.findall(text)
        reason = f": {errors[0][:200].rstrip('.')}" if errors else ""
        raise BadFile(f"{source} is of a run of trtexec that failed{reason}.", "Run it again.")
    compute, facts = _summary(text, source)
    profile = _profile(text, source)
    if not compute and not profile:
        if "PASSED" in said:
            raise BadFile(
                f"{source} has no times: trtexec built an engine, and ran no inference.",
                "Run it without --buildOnly and --skipInference.",
            )
        raise BadFile(
            f"{source} is cut off: trtexec had not yet told its times.", "Let it end, and log all."
        )
    command = _words(said.get("PASSED") or said.get("RUNNING") or "")
    queries, device, version = _QUERIES.search(text), _DEVICE.search(text), version_of(text)
    onnx = command.get("onnx")
    return Log(
        version=version,
        compute=compute,
        facts=facts,
        queries=int(queries[1]) if queries and len(queries[1]) < 16 else None,
        profile=profile,
        inputs=_inputs(text, command),
        implicit_batch=_batch(command),
        network=PurePosixPath(onnx.replace("\\", "/")).stem or None if onnx else None,
        device=device[1] if device else None,
        precision=_precision(command, version),
    )


def _several(source: str) -> BadFile:
    return BadFile(f"{source} is of several runs of trtexec.", "Split it, one run a file.")


def _summary(text: str, source: str) -> tuple[dict[str, float], dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name, values in _SUMMARY.findall(text):
        if name in found:
            raise _several(source)
        found[name] = {word: _seconds(value, source) for word, value in _STATISTIC.findall(values)}
    compute = found.get("GPU Compute", {})
    if compute and not compute.get("median", 0) > 0:
        raise BadFile(f"{source} has no median of GPU compute time above 0.", "Measure again.")
    names = {"H2D": "h2d_s", "D2H": "d2h_s", "Enqueue": "enqueue_s", "Latency": "latency_s"}
    facts = {
        fact: found[name]["median"]
        for name, fact in names.items()
        if "median" in found.get(name, {})
    }
    return compute, facts


def _seconds(text: str, source: str) -> float:
    try:
        value = float(text.rstrip(","))
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e12:
        raise BadFile(f"{source}: '{text[:40]} ms' is not a time.", "Log the run again.")
    return value * 1e-3


def _profile(text: str, source: str) -> Profile | None:
    heads = list(_PROFILE.finditer(text))
    if not heads:
        return None
    if len(heads) > 1:
        raise _several(source)
    layers: list[LayerTime] = []
    by_name: bool | None = None  # whether the name comes first; the row of headings tells
    for line in text[heads[0].end() :].splitlines()[1:]:
        row = _ROW.search(line)
        if row is None:
            break
        words = row[1].split()
        if by_name is None:
            by_name = words[0] == "Layer"
            continue
        found = (_NAME_FIRST if by_name else _NAME_LAST).fullmatch(row[1])
        if found is None:
            break
        name, _, mean, median = found.groups() if by_name else (found[4], *found.groups()[:3])
        if name.strip() == "Total":
            break
        layers.append(
            LayerTime(
                name=name.strip(),
                mean_s=_seconds(mean, source),
                median_s=_seconds(median, source),
            )
        )
    if not any(layer.mean_s > 0 for layer in layers):
        raise BadFile(f"{source} is cut off in its table of layers.", "Let trtexec end.")
    return Profile(count=int(heads[0][1][:15]), layers=tuple(layers))


def _words(command: str) -> dict[str, str]:
    """Flags of a command line, as trtexec repeats it without quotes → values, "" for none."""
    pairs = (word[2:].partition("=") for word in command.split() if word.startswith("--"))
    return {name: value for name, _, value in pairs}


def _inputs(text: str, command: Mapping[str, str]) -> dict[str, Shape]:
    """Shapes of the bindings; else of the command: `--shapes`, or `--optShapes`, which then run."""
    bound = dict(_BINDING.findall(text))
    if not bound:
        spec = command.get("shapes") or command.get("optShapes") or ""
        pairs = (one.rpartition(":") for one in spec.split(","))
        bound = {name.strip("'\""): sides for name, _, sides in pairs if name}
    return {
        name: tuple(map(int, sides.split("x")))
        for name, sides in bound.items()
        if re.fullmatch(r"\d{1,9}(x\d{1,9})*", sides)
    }


def _batch(command: Mapping[str, str]) -> int | None:
    text = command.get("batch", "")
    return int(text) if re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII) else None


def _precision(command: Mapping[str, str], version: Version | None) -> Precision | None:
    """Of an engine that was built in this run: int8 may fall back to fp16, as nnprof's own does."""
    open_ = {"best", "fp8", "bf16", "int4", "stronglyTyped", "layerPrecisions", "loadEngine"}
    if version is None or version >= (11,) or "onnx" not in command or open_ & set(command):
        return None
    if "int8" in command:
        return "int8"
    return "fp16" if "fp16" in command else "fp32"


def batch_of(log: Log) -> int | None:
    """The batch, where inputs share their first side and one of them is an image or a volume."""
    if log.implicit_batch:
        return log.implicit_batch
    first = {shape[0] for shape in log.inputs.values()}
    images = any(len(shape) > 3 for shape in log.inputs.values())
    return first.pop() or None if len(first) == 1 and images else None


# --- logs → measurements --------------------------------------------------------------------------


def _logs(files: Sequence[File], told: Told, onnx: Path | None, _: Mapping[str, str]) -> Found:
    """A cell of each log, and the version of TensorRT; logs of one GPU and one version."""
    logs = [read(file.text, str(file.path)) for file in files]
    places = {(log.device, log.version) for log in logs}
    if len(places) > 1:
        listed = ", ".join(
            f"{device or 'an unknown GPU'} with TensorRT {dotted(version) or 'unknown'}"
            for device, version in sorted(places, key=str)
        )
        raise UsageError(f"These logs are of several places: {listed}.", "Import one at a time.")
    cells = tuple(_logged(file, log, told, onnx) for file, log in zip(files, logs, strict=True))
    return Found(measurements=cells, version=dotted(logs[0].version))


def _logged(file: File, log: Log, told: Told, onnx: Path | None) -> Measurement:
    """The median that trtexec states is the one sample; layers, if they were dumped."""
    told = msgspec.structs.replace(
        told,
        network=told.network or (None if onnx else log.network),
        device=told.device or log.device,
        precision=told.precision or log.precision,
    )
    model = model_of(file.path, told, onnx)
    ops = None
    if log.profile:
        timed = trtexec_ops.op_times(log.profile, None, onnx_types(onnx))
        ops = OpPass(method="runtime", latency_s=sum(op.seconds for op in timed), ops=timed)
    known = {
        "repetitions": log.queries,
        **{f"{one}_s": log.compute.get(one) for one in ("min", "max", "mean")},
    }
    facts = {"loops": 1, "transfers": "outside", **known, **log.facts} if log.compute else {}
    cell = Known(
        path=file.path,
        model=model,
        batch=declared_batch(model, log.inputs) or batch_of(log),
        runtime=RUNTIME,
        samples_s=(log.compute["median"],) if log.compute else (ops.latency_s if ops else 0.0,),
        stand_in=None if log.compute else "the sum of its layers",
        ops=ops,
        facts={name: value for name, value in facts.items() if value is not None},
        clock="cuda_event",
    )
    return measurement(cell, told)


IMPORTER = Importer(
    name="log of trtexec",
    takes="a log of trtexec",
    form=lambda text: "log of trtexec" if is_log(text) else "",
    read=_logs,
    order=0,
)
