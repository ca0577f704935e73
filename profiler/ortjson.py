"""ONNX Runtime's profile: Chrome's trace format, read as ops and as whole runs.

Pure. A node's event is called `<node>_kernel_time`, a run's `model_run`; `dur` is in whole
microseconds (onnxruntime/core/common/profiler.h, core/framework/sequential_executor.cc).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import msgspec

from nnprof.errors import BadFile
from nnprof.profiler import counts, opgraph, ports
from nnprof.profiler.ports import OpNode
from nnprof.types import OpTime

RUNTIME = "onnxruntime"  # the name of its backend

Events = list[dict[str, Any]]

# Their FLOPs need attributes that a profile does not have.
_WINDOWED = {"MaxPool", "AveragePool", "LpPool"}


class _Event(msgspec.Struct):
    """As much of an event as every one that we read has."""

    name: str
    dur: float
    cat: str = ""
    args: dict[str, Any] = {}


def read(text: bytes, source: str) -> Events:
    """The events of a profile; `source` is for errors.

    Raises:
        BadFile: it is no such file, is cut off, or no node of it ran.
    """
    try:
        events = json.loads(text)
        rows = msgspec.convert([row for row in events if row.get("ph") == "X"], list[_Event])
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadFile(
            f"{source} is not a whole profile of ONNX Runtime: {str(error).rstrip('.')}.",
            "Let the program call session.end_profiling() before it ends.",
        ) from error
    if not any(row.cat == "Node" and row.name.endswith("_kernel_time") for row in rows):
        raise BadFile(f"{source} has no node that ran.", "Run the session while it profiles.")
    return list(events)


def is_profile(text: bytes) -> bool:
    """Whether this is such a file, by what is inside."""
    try:
        events = json.loads(text)
    except (ValueError, RecursionError):
        return False
    first = events[0] if isinstance(events, list) and events else None
    return isinstance(first, dict) and {"cat", "ph", "dur", "name"} <= set(first)


def run_times(events: Events) -> tuple[float, ...]:
    """Seconds of each run of the session, the first included, while the profiler watched."""
    return tuple(event["dur"] * 1e-6 for event in events if event.get("name") == "model_run")


def op_times(events: Events, runs: int, nodes: Sequence[OpNode]) -> tuple[OpTime, ...]:
    """Ops of the last `runs` inferences, in order of execution; medians.

    Args:
        events: of a profile.
        runs: how many of the last inferences count.
        nodes: what is known of the graph, in order; what is not is described from the profile.
            They are found by their place, since every session gives other names to the reorders
            that it inserts; by name only where the runtime took another order.
    """
    durations: dict[str, list[float]] = defaultdict(list)
    arguments: dict[str, dict[str, Any]] = {}
    for event in events:
        name = event.get("name", "")
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            node = name.removesuffix("_kernel_time")
            durations[node].append(event["dur"] * 1e-6)
            arguments[node] = event["args"]
    in_order = [arguments[name]["op_name"] for name in durations] == [node.op for node in nodes]
    place = {node.node: index for index, node in enumerate(nodes)}
    ops = []
    for at, (name, seconds) in enumerate(durations.items()):
        # Behind the graph and its call, where the graph does not know it.
        index = at if in_order or not nodes else place.get(name, len(nodes) + 1 + at)
        ops.append(
            ports.timed(
                nodes[index] if index < len(nodes) else described(name, arguments[name]),
                index,
                median(seconds[-runs:]),
                "runtime",
                runs=len(seconds[-runs:]),
                kernel=arguments[name].get("provider", ""),
            )
        )
    return tuple(ops)


def described(node: str, arguments: Mapping[str, Any]) -> OpNode:
    """A node as its event describes it."""
    op = arguments["op_name"]
    kind = opgraph.kind_of(op)
    inputs = _shapes(arguments.get("input_type_shape", []))
    outputs = _shapes(arguments.get("output_type_shape", []))
    weights = _number(arguments.get("parameter_size"))
    if kind == "gemm" and len(inputs) == 1 and outputs and inputs[0] and outputs[0]:
        # Weights that were packed at the start are no input any more, and count as 0 bytes.
        inside = (inputs[0][-1], outputs[0][-1])
        inputs, weights = (*inputs, inside), 4 * math.prod(inside)
    countable = outputs and op not in _WINDOWED and (kind != "conv" or len(inputs) > 1)
    return OpNode(
        node=node,
        op=op,
        kind=kind,
        inputs=inputs,
        outputs=outputs,
        flops=counts.flops(op, inputs, outputs, {}) if countable else None,
        bytes_in=_number(arguments.get("activation_size")),
        bytes_out=_number(arguments.get("output_size")),
        bytes_weights=weights,
    )


def _number(text: Any) -> int | None:
    return int(text) if text is not None and str(text).isdecimal() else None


def _shapes(tensors: list[dict[str, list[int]]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(shape) for tensor in tensors for shape in tensor.values())
