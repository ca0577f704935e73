"""LiteRT (once TensorFlow Lite) on the CPU: one interpreter with XNNPACK, on buffers of its own.

LiteRT reads files of its own; the ONNX file is converted once for each batch
(`nnprof.exporters.litert`). XNNPACK, its default, takes the ops that it knows, as a rule all of
them, and optimises them together.

Python is told no times of ops: the profiler of its C library has no documented binary interface,
and counts whole microseconds. So ops are timed by differences: the network up to each op, cut out
of the converted file, all open at once and run in turns. Ops that only give a tensor another shape
are never an end, where they would have to copy: their time is in that of the op after them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile, Unavailable, UsageError
from nnprof.exporters import litert as exported
from nnprof.exporters.conversions import Conversion
from nnprof.profiler import inputs, ports, stats, waits
from nnprof.profiler.backends import litert_graph
from nnprof.profiler.backends.refusals import translated
from nnprof.profiler.graph import opgraph
from nnprof.profiler.place import computes
from nnprof.profiler.ports import Arrays, OpNode, Part, arrays_like
from nnprof.profiler.waits import opened
from nnprof.types import Clock, OpPass, Target, Workload

_NO_PARTS = (
    "LiteRT's ops are timed by differences of cut networks already; XNNPACK optimises the network "
    "as a whole, and an op alone may run as another one."
)
_LEAST_ROUNDS, _MOST_ROUNDS = 5, 1000
_SAMPLE_S = 1e-3


def _translated(workload: Workload) -> AbstractContextManager[None]:
    return translated("LiteRT", workload)


@contextmanager
def _unheard() -> Iterator[None]:
    """What C++ logs to stderr meanwhile is dropped: that it has made a delegate."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


class _Loaded:
    """An interpreter whose inputs are filled. It is a part that can be timed."""

    def __init__(self, data: bytes, threads: int, arrays: Sequence[NDArray[Any]]) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with _unheard():
            self._interpreter: Any = Interpreter(model_content=data, num_threads=threads)
            self._interpreter.allocate_tensors()
        self._ins = self._interpreter.get_input_details()
        self._outs = self._interpreter.get_output_details()
        self.fill(arrays)

    def fill(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Copy values into the inputs, which inferences leave alone."""
        for detail, array in zip(self._ins, arrays, strict=True):
            self._interpreter.tensor(detail["index"])()[...] = array

    def outputs(self) -> list[NDArray[Any]]:
        """Copies of the outputs."""
        return [self._interpreter.get_tensor(detail["index"]) for detail in self._outs]

    def delegated(self) -> bool:
        """Whether a delegate took ops; XNNPACK is the only one here."""
        details = self._interpreter._get_ops_details()
        return any(one["op_name"] == "DELEGATE" for one in details)

    def sample(self, loops: int) -> float:
        """Seconds of `loops` inferences."""
        invoke = self._interpreter.invoke
        start = perf_counter()
        for _ in range(loops):
            invoke()
        return perf_counter() - start

    def close(self) -> None:
        """Drop the interpreter and its buffers."""
        self._interpreter = None


class LiteRtSession:
    """One interpreter. `infer` and `sample` share it."""

    clock: Clock = "perf_counter"

    def __init__(self, workload: Workload, target: Target, made: Conversion) -> None:
        self._workload, self._target = workload, target
        self._nodes: dict[int, OpNode] | None = None
        self._tiles = arrays_like(inputs.make(workload))
        self._data = made.path.read_bytes()
        with _translated(workload):
            watch = waits.Stopwatch()
            self._loaded = self._load(self._data)
            build = watch.lap()
            self._loaded.sample(1)
            self.opening = opened(build, watch.lap())
        self.facts: dict[str, Any] = {
            "transfers": "none: inputs and outputs are in host memory",
            "buffers": "the interpreter's own, filled once; inferences leave the inputs alone",
            "threads": target.threads,
            "delegate": "XNNPACK" if self._loaded.delegated() else "none: LiteRT's own kernels",
            "computes": "fp32",
            **made.facts,
            "ops_by": "differences of cut networks",
            "parts": _NO_PARTS,
        }

    def _load(self, data: bytes) -> _Loaded:
        return _Loaded(data, self._target.threads, self._in_order(self._tiles))

    def _in_order(self, arrays: Arrays) -> list[NDArray[Any]]:
        return [arrays[one.name] for one in self._workload.model.inputs]

    def infer(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name; the batch must be that of the workload. What is timed stays filled."""
        with _translated(self._workload):
            self._loaded.fill(self._in_order(arrays_like(arrays)))
            self._loaded.sample(1)
            made = self._loaded.outputs()
            self._loaded.fill(self._in_order(self._tiles))
        asked = self._workload.model.outputs
        return {
            one.name: array.astype(one.dtype, copy=False)
            for one, array in zip(asked, made, strict=True)
        }

    def sample(self, loops: int) -> float:
        """Seconds of `loops` inferences."""
        with _translated(self._workload):
            return self._loaded.sample(loops)

    def pause(self, seconds: float) -> None:
        """Sleep."""
        sleep(seconds)

    def graph(self) -> tuple[OpNode, ...]:
        """The ops of the converted file, in order, with the ONNX nodes that they came from."""
        return tuple(self._placed().values())

    def _placed(self) -> dict[int, OpNode]:
        """Each op by its place in the converted file."""
        if self._nodes is None:
            path = Path(self._workload.model.path)
            asked = opgraph.asked(path, self._tiles)
            with _translated(self._workload):
                self._nodes = litert_graph.nodes(self._data, asked, path)
        return self._nodes

    def op_times(self, budget_s: float) -> OpPass:
        """The network up to each op less the network up to the one before, all open at once."""
        placed = self._placed()
        counts = (0, *(place + 1 for place in placed))
        cut = [litert_graph.beginning(self._data, count) for count in counts]
        with _translated(self._workload):
            parts = [waits.Undisturbed(self._load(data), self.clock) for data in cut]
            timed, spent_s = _in_turns(parts, budget_s)
        for part in parts:
            part.close()
        upto_s = [_least_disturbed(samples) for samples in timed]
        each_s = np.diff(upto_s).tolist()
        return OpPass(
            method="differential",
            latency_s=upto_s[-1],
            ops=tuple(
                ports.timed(node, index, each, "differential", runs=len(timed[0]))
                for index, (node, each) in enumerate(zip(placed.values(), each_s, strict=True))
            ),
            timed_s=spent_s,
        )

    def alone(self, copies: Mapping[str, int]) -> Iterator[tuple[str, Part]]:  # noqa: ARG002
        """Not offered."""
        raise Unavailable(_NO_PARTS)

    def beginnings(self) -> Iterator[Part]:
        """Not offered."""
        raise Unavailable(_NO_PARTS)

    def close(self) -> None:
        """Drop the interpreter."""
        self._loaded.close()


def _in_turns(
    parts: Sequence[waits.Undisturbed], budget_s: float
) -> tuple[list[list[waits.Sample]], float]:
    """Samples of each part, per inference, in rounds, so that a drift hits all alike.

    A sample has as many inferences as take a millisecond: the first of them finds the caches as
    the part before has left them.
    """
    once_s = [part.timed(1).seconds for part in parts]
    loops = [max(1, int(_SAMPLE_S / one_s)) for one_s in once_s]
    round_s = sum(count * one_s for count, one_s in zip(loops, once_s, strict=True))
    rounds = int(min(_MOST_ROUNDS, max(_LEAST_ROUNDS, budget_s / round_s)))
    found: list[list[waits.Sample]] = [[] for _ in parts]
    spent_s = sum(once_s)
    for _ in range(rounds):
        for samples, part, count in zip(found, parts, loops, strict=True):
            one = part.timed(count)
            samples.append(waits.Sample(one.seconds / count, one.waited_s / count))
            spent_s += one.seconds
    return found, spent_s


def _least_disturbed(samples: Sequence[waits.Sample]) -> float:
    whole = stats.least_disturbed(*zip(*samples, strict=True))
    return median(samples[index].seconds for index in whole)


class LiteRt:
    """The backend."""

    packages = ("ai_edge_litert",)
    on: tuple[str, ...] = ("cpu",)

    extra = "litert"

    def converter(self) -> dict[str, str]:
        """litert-torch and torch, which its runtime does not bring."""
        return exported.converter()

    def probe(self, target: Target | None = None) -> dict[str, Any]:  # noqa: ARG002  runs here
        """Version."""
        return {"version": exported.version()}

    def convert(self, workload: Workload, target: Target) -> Conversion:
        """A file for the shapes of the workload."""
        _require(workload, target)
        return exported.converted(workload.model, inputs.make(workload))

    def open(
        self, workload: Workload, target: Target, made: Conversion | None = None
    ) -> LiteRtSession:
        """A session on the CPU."""
        _require(workload, target)
        exported.version()
        return LiteRtSession(workload, target, made or self.convert(workload, target))


def _require(workload: Workload, target: Target) -> None:
    """Refuse what is not offered."""
    computes.require_can("litert", LiteRt.on, target)
    if target.options:
        raise UsageError(
            f"The litert backend has no option '{min(target.options)}'.", "Leave it out."
        )
    if workload.precision != "fp32":
        raise BadFile(
            f"LiteRT cannot have {workload.model.name} in {workload.precision}: its converter "
            "was tried with fp32 files alone.",
            "Ask for fp32.",
        )


BACKEND = LiteRt()
