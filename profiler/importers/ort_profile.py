"""ONNX Runtime's profile: Chrome's trace format, read as inferences and the nodes of each.

Pure. A node's event is called `<node>_kernel_time`, a whole inference `model_run`; `ts` and `dur`
are in whole microseconds. An event is written when it ends, so the events inside stand before it
(onnxruntime/core/common/profiler.h, core/framework/sequential_executor.cc). Names of
nodes may be empty or equal: a node is known by its place in the inference.

On a GPU a node's event times the launch. The work is in events of category `Kernel`, which only
builds with `--enable_cuda_profiling` write: behind their node, with its `op_name` and, in later
versions, its event's name as `parent_name` (core/common/gpu_profiler_common.h, `MergeEvents`).
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from nnprof.errors import BadFile
from nnprof.profiler.importers import sources

RUNTIME = "onnxruntime"  # the name of its backend

_NODE, _KERNEL, _RUN = "Node", "Kernel", "model_run"
_SUFFIX = "_kernel_time"
_AGAIN = "Let the program call session.end_profiling() before it ends."
_EVENT = re.compile(r'"cat"\s*:\s*"(Session|Node|Kernel)"|"\w*_kernel_time"')
_LONGEST_US = 1e15  # thirty years: no clock counts further
# Ops that run graphs of their own, whose nodes have events, too.
_HOLDERS = frozenset(
    ("If", "Loop", "Scan", "SequenceMap", "BeamSearch", "GreedySearch", "Sampling")
) | {"WhisperBeamSearch", "unknown"}
# Providers that return from a node before its work is done.
_LAUNCHING = frozenset(
    f"{name}ExecutionProvider"
    for name in (
        *("CUDA", "Tensorrt", "NvTensorRTRTX", "ROCM", "MIGraphX"),
        *("Dml", "WebGpu", "Js", "WebNN", "CANN"),
    )
)
Shape = tuple[int, ...]


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """One node of one inference; `arguments` are its event's, {} where it has none."""

    name: str
    op: str
    provider: str
    seconds: float
    arguments: Mapping[str, Any]

    @property
    def inputs(self) -> tuple[Shape, ...]:
        """Shapes of what went in, weights among them."""
        return shapes_of(self.arguments.get("input_type_shape"))


class Inference(msgspec.Struct, frozen=True, kw_only=True):
    """One inference.

    Attributes:
        seconds: of the whole inference, under the profiler; None where no event tells.
        nodes: of the model's own graph, in order of execution. Nodes inside an If, a Loop or a
            Scan are left out: the time of the outer node contains theirs.
        launched: the provider whose nodes only launched work that nothing here times, or "".
        overlap: whether some of its nodes ran at the same time.
    """

    seconds: float | None
    nodes: tuple[Ran, ...]
    launched: str = ""
    overlap: bool = False

    @property
    def order(self) -> tuple[tuple[str, str], ...]:
        """Name and type of each node."""
        return tuple((node.name, node.op) for node in self.nodes)

    @property
    def shapes(self) -> tuple[tuple[Shape, ...], ...]:
        """What went into each node."""
        return tuple(node.inputs for node in self.nodes)


class _Event(msgspec.Struct):
    """As much of an event as we read; times in microseconds."""

    name: str = ""
    cat: str = ""
    ph: str = "X"
    dur: float = 0.0
    ts: float | None = None
    tid: int | str | None = None
    args: dict[str, Any] | None = None

    @property
    def is_node(self) -> bool:
        return self.cat == _NODE and self.name.endswith(_SUFFIX)

    @property
    def end(self) -> float:
        return (self.ts or 0.0) + self.dur

    @property
    def op(self) -> str:
        return str((self.args or {}).get("op_name") or "unknown")

    @property
    def provider(self) -> str:
        return str((self.args or {}).get("provider") or "")


# --- reading --------------------------------------------------------------------------------------


def is_profile(start: str) -> bool:
    """Whether a file that begins so is a profile, as the runtime or Chrome's tools write it."""
    is_trace = start.startswith("[") or '"traceEvents"' in start
    return is_trace and bool(_EVENT.search(start))


def read(text: str, source: str) -> tuple[Inference, ...]:
    """The inferences of a profile, in order, the first and cold one too; `source` is for errors.

    Raises:
        BadFile: no such file, or cut off; no node of it ran; or its runs cannot be told apart.
    """
    events = sources.json_of(text, source, _AGAIN)
    if isinstance(events, dict):
        events = events.get("traceEvents")
    return inferences(events, source)


def inferences(events: Any, source: str) -> tuple[Inference, ...]:
    """The same, of the events themselves.

    Raises:
        BadFile: as `read`.
    """
    rows = _events(events, source)
    if not any(row.is_node for row in rows):
        raise BadFile(f"{source} has no node that ran.", "Run the session while it profiles.")
    launched = "" if any(row.cat == _KERNEL for row in rows) else _launching(rows)
    found = [
        _inference(run, inside, launched)
        for run, inside in _runs(rows, source)
        if any(row.is_node for row in inside)
    ]
    if not found:
        raise BadFile(f"{source} has no run that ended.", "Run the session while it profiles.")
    return tuple(found)


def _events(events: Any, source: str) -> list[_Event]:
    """The events that have a duration; refuses impossible times."""
    try:
        rows = msgspec.convert(events, list[_Event])
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadFile(
            f"{source} is not a whole profile of ONNX Runtime: {str(error).rstrip('.')}.",
            _AGAIN,
        ) from error
    rows = [row for row in rows if row.ph == "X"]
    for row in rows:
        # Not a number fails both.
        if not (0 <= row.dur < _LONGEST_US and abs(row.ts or 0.0) < _LONGEST_US):
            raise BadFile(
                f"{source}: the event '{row.name[:80]}' takes {row.dur:g} µs, at {row.ts} µs.",
                "No event can. Profile again.",
            )
    return rows


def _launching(rows: Sequence[_Event]) -> str:
    return min({row.provider for row in rows if row.is_node} & _LAUNCHING, default="")


def _runs(rows: Sequence[_Event], source: str) -> Iterator[tuple[float | None, list[_Event]]]:
    """Seconds of each inference, and the events inside, as they stand in the file."""
    ends = [at for at, row in enumerate(rows) if row.name == _RUN and row.cat != _NODE]
    if not ends:
        yield None, _only_run(rows, source)
        return
    runs = [rows[at] for at in ends]
    if _at_once(runs):
        raise BadFile(
            f"{source} is of a session that several threads ran at the same time.",
            "Profile one inference at a time.",
        )
    nodes = [at for at, row in enumerate(rows) if row.is_node]
    if nodes[0] > ends[0] and nodes[-1] > ends[-1]:
        # Sorted by start, as other programs write it: a run stands before what is inside.
        spans = list(zip(ends, [*ends[1:], len(rows)], strict=True))
    else:
        spans = list(zip([0, *ends[:-1]], ends, strict=True))
    for run, (first, last) in zip(runs, spans, strict=True):
        yield run.dur * 1e-6, [row for row in rows[first:last] if row.name != _RUN]


def _only_run(rows: Sequence[_Event], source: str) -> list[_Event]:
    seen = Counter(
        (row.name, row.op, str((row.args or {}).get("node_index"))) for row in rows if row.is_node
    )
    if max(seen.values()) > 1:
        raise BadFile(
            f"{source} does not tell where one inference ends and the next begins: it has no "
            f"'{_RUN}'.",
            "Let the program profile the session, not one run of it.",
        )
    return list(rows)


def _at_once(runs: Sequence[_Event]) -> bool:
    """Whether runs of different threads overlap."""
    timed = sorted((run for run in runs if run.ts is not None), key=lambda run: run.ts or 0.0)
    return any(
        before.tid != after.tid and (after.ts or 0.0) < before.end
        for before, after in pairwise(timed)
    )


def _inference(seconds: float | None, rows: Sequence[_Event], launched: str) -> Inference:
    nodes = [row for row in rows if row.is_node]
    outer = _outermost(nodes)
    kernels, apart_us = _kernels(rows, nodes, outer)
    top = [at for at in range(len(nodes)) if outer[at] == at]
    ran = [_ran(nodes[at], kernels.get(at)) for at in top]
    if apart_us:
        ran.append(
            Ran(
                name="kernels of no node",
                op="unknown",
                provider="",
                seconds=apart_us * 1e-6,
                arguments={},
            )
        )
    own = [nodes[at] for at in top if at not in kernels]
    return Inference(
        seconds=seconds,
        nodes=tuple(ran),
        launched=launched,
        overlap=not launched and _overlap(own),
    )


def _ran(row: _Event, kernels_us: float | None) -> Ran:
    took_us = row.dur if kernels_us is None else kernels_us
    return Ran(
        name=row.name.removesuffix(_SUFFIX),
        op=row.op,
        provider=row.provider,
        seconds=took_us * 1e-6,
        arguments=row.args or {},
    )


def _outermost(nodes: Sequence[_Event]) -> list[int]:
    """For each node the place of the outermost node that it ran in; mostly its own place."""
    outer = list(range(len(nodes)))
    threads: dict[Any, list[int]] = defaultdict(list)
    for at, row in enumerate(nodes):
        if row.ts is not None:
            threads[row.tid].append(at)
    for members in threads.values():
        members.sort(
            key=lambda at: (nodes[at].ts, -nodes[at].end, nodes[at].op not in _HOLDERS, -at)
        )
        open_: list[int] = []
        for at in members:
            while open_ and nodes[open_[-1]].end < (nodes[at].ts or 0.0):
                open_.pop()
            holder = next((one for one in reversed(open_) if _holds(nodes, one, at)), at)
            outer[at] = outer[holder]
            open_.append(at)
    return outer


def _holds(nodes: Sequence[_Event], one: int, other: int) -> bool:
    """Whether `other` ran inside of `one`, by their times; both are cut to whole microseconds."""
    outer, inner = nodes[one], nodes[other]
    starts, begins = outer.ts or 0.0, inner.ts or 0.0
    if begins < starts or inner.end > outer.end + 1:
        return False
    written_before = other < one
    if begins == starts and not inner.dur:
        return False  # the node before
    if outer.op in _HOLDERS:
        return begins < outer.end or (begins == outer.end and written_before and outer.dur > 0)
    return written_before and begins > starts


def _kernels(
    rows: Sequence[_Event], nodes: Sequence[_Event], outer: Sequence[int]
) -> tuple[dict[int, float], float]:
    """Microseconds that the device worked for each outermost node; those of no node.

    Where there are kernels at all, a node of a launching provider without one took none.
    """
    work = [row for row in rows if row.cat == _KERNEL]
    if not work:
        return {}, 0.0
    took = {outer[at]: 0.0 for at, row in enumerate(nodes) if row.provider in _LAUNCHING}
    apart = 0.0
    at = -1
    latest: dict[str, int] = {}
    for row in rows:
        if row.is_node:
            at += 1
            latest |= {row.name: at, f"op {row.op}": at}
        elif row.cat == _KERNEL:
            said = row.args or {}
            parent = str(said.get("parent_name") or f"op {said.get('op_name')}")
            if parent in latest:
                node = outer[latest[parent]]
                took[node] = took.get(node, 0.0) + row.dur
            else:
                apart += row.dur
    return took, apart


def _overlap(nodes: Sequence[_Event]) -> bool:
    timed = sorted((row for row in nodes if row.ts is not None), key=lambda row: row.ts or 0.0)
    until = -math.inf
    for row in timed:
        if (row.ts or 0.0) < until:
            return True
        until = max(until, row.end)
    return False


def shapes_of(tensors: Any) -> tuple[Shape, ...]:
    """Of `[{"float": [4, 3]}, …]`; () where it is anything else."""
    try:
        listed = msgspec.convert(tensors, list[dict[str, list[int]]])
    except (ValueError, TypeError, OverflowError, RecursionError):
        return ()
    shapes = tuple(tuple(shape) for tensor in listed for shape in tensor.values())
    return () if any(side < 0 for shape in shapes for side in shape) else shapes
