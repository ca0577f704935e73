"""Profiles of ONNX Runtime, written event by event as strangers' programs left them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from nnprof.profiler.importers import runs
from nnprof.profiler.importers.importer import Told
from nnprof.types import Measurement

Event = dict[str, Any]
Shapes = list[list[int]]


def run(dur: int, ts: int, **more: object) -> Event:
    """A whole inference; times in microseconds."""
    event = {"cat": "Session", "ph": "X", "pid": 1, "tid": 1, "name": "model_run", "args": {}}
    return {**event, "dur": dur, "ts": ts, **more}


def node(
    name: str,
    op: str,
    dur: int,
    ts: int,
    ins: Shapes | None = None,
    outs: Shapes | None = None,
    *,
    provider: str = "CPUExecutionProvider",
    tid: int = 1,
) -> Event:
    """A node of one."""
    args: Event = {"op_name": op, "provider": provider}
    if ins is not None:
        args["input_type_shape"] = [{"float": shape} for shape in ins]
        args["output_type_shape"] = [{"float": shape} for shape in outs or []]
    event = {"cat": "Node", "ph": "X", "pid": 1, "tid": tid, "name": f"{name}_kernel_time"}
    return {**event, "dur": dur, "ts": ts, "args": args}


def kernel(op: str, dur: int, ts: int, **args: object) -> Event:
    """What a GPU worked for the node before."""
    event = {"cat": "Kernel", "ph": "X", "pid": -1, "tid": -1, "name": f"void k_{op}()"}
    return {**event, "dur": dur, "ts": ts, "args": {"op_name": op, "stream": "7", **args}}


def write(path: Path, events: object) -> Path:
    """The events as a file."""
    path.write_text(json.dumps(events))
    return path


def imported(path: Path, onnx: Path | None = None, **told: object) -> tuple[Measurement, ...]:
    """The cells that `nnprof import` makes of one file."""
    return runs.import_run(
        [path], msgspec.convert(told, Told), onnx=onnx, command=["import"]
    ).measurements
