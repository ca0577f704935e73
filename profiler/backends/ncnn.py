"""ncnn on the CPU: one net, its inputs bound once, an extractor for each inference.

ncnn reads files of its own; the ONNX file is converted once for each shape of the tiles
(`nnprof.exporters.ncnn`). An inference is what ncnn's manual has: an extractor is made, takes the
inputs by reference, and gives the outputs, which it unpacks, makes float32, and copies out of the
memory that the net keeps. All of that is timed.

Ops are its layers, timed blob by blob (`ncnn_net`), with their ONNX nodes (`ncnn_graph`). No layer
is timed alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

from numpy.typing import NDArray

from nnprof.errors import BadFile, Unavailable, UsageError
from nnprof.exporters import ncnn as exported
from nnprof.exporters.conversions import Conversion
from nnprof.profiler import inputs
from nnprof.profiler.backends import ncnn_graph, watched
from nnprof.profiler.backends.ncnn_net import STORAGES, Net, extensions, library
from nnprof.profiler.backends.refusals import translated
from nnprof.profiler.graph import opgraph
from nnprof.profiler.place import computes
from nnprof.profiler.ports import Arrays, OpNode, Part, arrays_like
from nnprof.types import Clock, OpPass, Target, Workload

# Precision of an ONNX file → why ncnn cannot have it, and what to do.
_FILES = {
    "fp16": (
        "pnnx does not convert the casts of a float16 file.",
        "Ask for fp32 with --option storage=fp16: 16 bits of ncnn's own.",
    ),
    "int8": (
        "pnnx does not convert what ONNX calls QDQ, and ncnn's own int8 needs programs that its "
        "package lacks (ncnn2table, ncnn2int8).",
        "Ask for fp32.",
    ),
}
_NO_PARTS = "pnnx converts the network as a whole; a part of it would be converted to other layers."
_BATCH = (
    "ncnn's own: a blob holds all tiles, and a layer takes them one by one unless it knows batches"
)

_LOOKS = 101


def _translated(workload: Workload) -> AbstractContextManager[None]:
    return translated("ncnn", workload, remedy=_remedy)


def _remedy() -> str:
    return f"Try another --backend, or other versions of ncnn and pnnx than {exported.version()}."


class NcnnSession:
    """One net of ncnn. `infer` and `sample` share it."""

    clock: Clock = "perf_counter"

    def __init__(self, workload: Workload, target: Target, made: Conversion) -> None:
        self._workload, self._target = workload, target
        self._tiles = arrays_like(inputs.make(workload))
        files = exported.files(made)
        self._nodes: tuple[OpNode, ...] = ()
        with _translated(workload):
            self._loaded = Net(files, workload, target)
            self._loaded.bind(self._tiles)
            self._loaded.loop(1)
            look_s = median(self._loaded.idle([0] * _LOOKS, perf_counter).ops_s)
            self._ran = self._loaded.layers()
        self.facts: dict[str, Any] = {
            "transfers": "none: inputs are taken by reference; outputs are unpacked, made float32 "
            "and copied out of the net's memory, timed with it",
            "buffers": "inputs bound once; an extractor for each inference, its blobs in memory "
            "that the net keeps",
            "threads": target.threads,
            "light_mode": bool(library().Net().opt.lightmode),
            "storage": _storage(target),
            "kernels": dict(Counter(map(ncnn_graph.kernel, self._ran))),
            "batch": _BATCH if files.batch_sides else "among the sides of the blobs",
            "extensions": extensions(),
            **made.facts,
            "op_times": "blob by blob in one inference, less what a call for a blob takes",
            "look_s": look_s,
            "parts": _NO_PARTS,
        }

    def infer(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name; the batch must be that of the workload."""
        with _translated(self._workload):
            made = self._loaded.run(self._loaded.held(arrays_like(arrays)))
        return {
            one.name: array.astype(one.dtype, copy=False)
            for one, array in zip(self._workload.model.outputs, made, strict=True)
        }

    def sample(self, loops: int) -> float:
        """Seconds of `loops` inferences, each with an extractor of its own."""
        with _translated(self._workload):
            return self._loaded.loop(loops)

    def pause(self, seconds: float) -> None:
        """Sleep."""
        sleep(seconds)

    def graph(self) -> tuple[OpNode, ...]:
        """The layers that ncnn runs, in order, with the ONNX nodes that they came from."""
        if not self._nodes:
            path = Path(self._workload.model.path)
            asked = opgraph.asked(path, self._tiles)
            with _translated(self._workload):
                self._nodes = ncnn_graph.nodes(self._ran, self._loaded.ends(), asked, path)
        return self._nodes

    def op_times(self, budget_s: float) -> OpPass:
        """By asking for the blobs of an inference one after the other."""
        nodes, kernels = self.graph(), [ncnn_graph.kernel(one) for one in self._ran]
        tops = [one.makes[0] for one in self._ran]
        watch, idle = (partial(do, tops) for do in (self._loaded.watched, self._loaded.idle))
        with _translated(self._workload):
            return watched.op_pass(nodes, watch, idle, budget_s, kernels)

    def alone(self, copies: Mapping[str, int]) -> Iterator[tuple[str, Part]]:  # noqa: ARG002
        """Not offered."""
        raise Unavailable(_NO_PARTS)

    def beginnings(self) -> Iterator[Part]:
        """Not offered."""
        raise Unavailable(_NO_PARTS)

    def close(self) -> None:
        """Drop the net and its buffers."""
        del self._loaded


class Ncnn:
    """The backend."""

    packages = ("ncnn",)
    on: tuple[str, ...] = ("cpu",)
    extra = "ncnn"

    def converter(self) -> dict[str, str]:
        """Pnnx, a package of its own."""
        return exported.converter()

    def probe(self, target: Target | None = None) -> dict[str, Any]:  # noqa: ARG002  runs here
        """Version, and the extensions of the processor that it found."""
        return {"version": exported.version(), "extensions": extensions()}

    def rounds(self, target: Target) -> bool:
        """Whether values are kept in fewer bits."""
        return _storage(target) != "fp32"

    def convert(self, workload: Workload, target: Target) -> Conversion:
        """Files for the shapes of the workload."""
        _require(workload, target)
        weights = exported.HALF if _storage(target) == "fp16" else exported.WHOLE
        return exported.converted(workload.model, inputs.make(workload), weights)

    def open(
        self, workload: Workload, target: Target, made: Conversion | None = None
    ) -> NcnnSession:
        """A session on the CPU."""
        _require(workload, target)
        exported.version()
        return NcnnSession(workload, target, made or self.convert(workload, target))


def _require(workload: Workload, target: Target) -> None:
    """Refuse what is not offered."""
    computes.require_can("ncnn", Ncnn.on, target)
    unknown = set(target.options) - {"storage"}
    if unknown:
        raise UsageError(
            f"The ncnn backend has no option '{min(unknown)}'.",
            f"It has one: storage={'|'.join(STORAGES)}.",
        )
    if _storage(target) not in STORAGES:
        raise UsageError(
            f"The option storage cannot be '{_storage(target)}'.",
            f"It can be: {', '.join(STORAGES)}.",
        )
    if workload.model.precision in _FILES:
        why, remedy = _FILES[workload.model.precision]
        raise BadFile(f"ncnn cannot run {workload.model.name}: {why}", remedy)


def _storage(target: Target) -> str:
    return target.options.get("storage", "fp32")


BACKEND = Ncnn()
