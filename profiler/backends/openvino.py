"""OpenVINO on the CPU: one stream, one request, synchronous calls on bound tensors.

OpenVINO compiles the whole network at once: it fuses, picks layouts, and for small batches makes
several layers one kernel. Its ops are the nodes of its runtime model, timed by its own counters. No
op is timed alone: a part cut out of the ONNX file would be compiled to other kernels, with reorders
at its borders.

The counters are whole microseconds, rounded down for each run of a node (openvino
src/plugins/intel_cpu/src/perf_count.h): a node below one microsecond reads zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile, Unavailable, UsageError
from nnprof.exporters import beside, identity
from nnprof.exporters.int8 import Form, on_processor
from nnprof.profiler import inputs, ports, waits
from nnprof.profiler.backends.refusals import translated
from nnprof.profiler.graph import fused, opgraph
from nnprof.profiler.place import computes
from nnprof.profiler.ports import Arrays, OpNode, Part, arrays_like
from nnprof.profiler.waits import opened
from nnprof.types import OpPass, Target, Workload

# Precision of a workload → the type that nodes compute with. Without this hint the plugin takes
# bfloat16 on processors that have it. int8 comes from the file; its other nodes stay float32.
_HINTS = {"fp32": "f32", "fp16": "f16", "int8": "f32"}
_OUTSIDE = ("Input", "Output", "Const")
_MEMORY = (
    *("Broadcast", "Concatenation", "Convert", "Gather", "Identity", "Pad", "Permute", "Reorder"),
    *("Reshape", "Slice", "Split", "StridedSlice", "Transpose"),
)
_NO_PARTS = (
    "OpenVINO compiles the network as a whole; a part of it would be compiled to other kernels."
)
_MOST_RUNS = 1000


def _runtime() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise Unavailable(
            "openvino is not installed.", "Try: pip install 'nnprof-embedded[openvino]'"
        ) from error
    return openvino


def _translated(workload: Workload) -> AbstractContextManager[None]:
    """OpenVINO's errors as ours; the last line of one says what is wrong."""
    return translated("OpenVINO", workload, words=_last_line)


def _last_line(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip(" -.")]
    return lines[-1].strip(" -.") if lines else "no reason given"


class OpenVinoSession:
    """One compiled model and one request. `infer` and `sample` share it."""

    clock = "perf_counter"

    def __init__(self, workload: Workload, target: Target) -> None:
        self._workload, self._target = workload, target
        self._openvino = _runtime()
        self._profiled: Any = None
        self._nodes: tuple[OpNode, ...] | None = None
        with _translated(workload):
            self._tiles = arrays_like(inputs.make(workload))
            watch = waits.Stopwatch()
            self._compiled = self._compile(profiled=False)
            self._request = self._bind(self._compiled)
            build = watch.lap()
            self._request.infer()
            self.opening = opened(build, watch.lap())
        self.facts: dict[str, Any] = {
            "transfers": "none: inputs and outputs are in host memory",
            "buffers": "bound once, reused",
            "streams": self._compiled.get_property("NUM_STREAMS"),
            "threads": self._compiled.get_property("INFERENCE_NUM_THREADS"),
            "runtime": self._compiled.get_property("RUNTIME_REQUIREMENTS"),
            # Of the kernels, because a hint that the processor cannot follow is dropped silently.
            "kernels": dict(Counter(self._kernels())),
            "parts": _NO_PARTS,
        }

    def _compile(self, *, profiled: bool) -> Any:
        self._require_followed()
        core = self._openvino.Core()
        model = core.read_model(self._workload.model.path)
        model.reshape({name: array.shape for name, array in self._tiles.items()})
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self._target.threads,
            "ENABLE_CPU_PINNING": False,  # the worker is pinned already
            "INFERENCE_PRECISION_HINT": _HINTS[self._workload.precision],
            "PERF_COUNT": profiled,
        }
        return core.compile_model(model, "CPU", settings)

    def _require_followed(self) -> None:
        """Refuse links out of the model's folder, which this runtime does not follow.

        Raises:
            BadFile: weights are behind one.
        """
        path = Path(self._workload.model.path)
        home = path.parent.resolve()
        for one in identity.files_beside(path):
            if not one.real.is_relative_to(home):
                raise BadFile(
                    f"OpenVINO does not follow links out of the folder of a model: '{one.name}' "
                    f"of {self._workload.model.name} leads to '{one.real}'.",
                    beside.copying(path.parent),
                )

    def _bind(self, compiled: Any) -> Any:
        """A request on our tiles; its outputs have a fixed shape, so it keeps their tensors."""
        request = compiled.create_infer_request()
        for name, array in self._tiles.items():
            request.set_tensor(name, self._openvino.Tensor(array, shared_memory=True))
        return request

    def _kernels(self) -> list[str]:
        """Precisions of the nodes of the compiled model that compute."""
        return [_info(node, "runtimePrecision") for node in _live(self._compiled)]

    def infer(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name; the batch must be that of the workload."""
        with _translated(self._workload):
            results = self._request.infer(dict(arrays))
            for name, array in self._tiles.items():
                self._request.set_tensor(name, self._openvino.Tensor(array, shared_memory=True))
        names = [tensor.name for tensor in self._workload.model.outputs]
        return {
            name: np.array(results[port])
            for name, port in zip(names, self._compiled.outputs, strict=True)
        }

    def sample(self, loops: int) -> float:
        """Seconds of `loops` inferences."""
        infer = self._request.infer
        with _translated(self._workload):
            start = perf_counter()
            for _ in range(loops):
                infer(share_outputs=True)
            return perf_counter() - start

    def pause(self, seconds: float) -> None:
        """Sleep."""
        sleep(seconds)

    def _watched(self) -> Any:
        """The model compiled once more, with counters."""
        if self._profiled is None:
            with _translated(self._workload):
                self._profiled = self._compile(profiled=True)
        return self._profiled

    def graph(self) -> tuple[OpNode, ...]:
        """Nodes of the runtime model that depend on the inputs, in order of execution.

        Nodes that only hand a buffer on are among them.
        """
        if self._nodes is None:
            with _translated(self._workload):
                asked = opgraph.asked(Path(self._workload.model.path), self._tiles)
                makers = _by_name(asked, Path(self._workload.model.path))
                nodes = _live(self._watched())
                live = {node.get_friendly_name() for node in nodes} | set(self._tiles)
                self._nodes = tuple(_describe(node, makers, live) for node in nodes)
        return self._nodes

    def op_times(self, budget_s: float) -> OpPass:
        """OpenVINO's own counters, in a compiled model and a request of their own."""
        nodes, request = self.graph(), self._bind(self._watched())
        with _translated(self._workload):
            first_s = _timed(request)
            cold_s = _counters_s(request)
            runs = int(min(_MOST_RUNS, max(1, budget_s / first_s)))
            latencies_s = [_timed(request) for _ in range(runs)]
            mean_s = _counters_s(request)
        # The counters are means over all runs so far: take the first, cold one out.
        ops = tuple(
            ports.timed(
                node,
                index,
                max(0.0, (mean_s[node.node] * (runs + 1) - cold_s[node.node]) / runs),
                "runtime",
                runs=runs,
                kernel=kernel,
            )
            for index, (node, kernel) in enumerate(zip(nodes, self._primitives(), strict=True))
        )
        return OpPass(
            method="runtime",
            latency_s=median(latencies_s),
            ops=ops,
            timed_s=first_s + sum(latencies_s),
        )

    def _primitives(self) -> list[str]:
        return [_info(node, "primitiveType") for node in _live(self._watched())]

    def alone(self, copies: Mapping[str, int]) -> Iterator[tuple[str, Part]]:  # noqa: ARG002
        """Not offered."""
        raise Unavailable(_NO_PARTS)

    def beginnings(self) -> Iterator[Part]:
        """Not offered."""
        raise Unavailable(_NO_PARTS)

    def close(self) -> None:
        """Drop the compiled models and their buffers."""
        del self._request, self._compiled
        self._profiled = None


def _timed(request: Any) -> float:
    start = perf_counter()
    request.infer(share_outputs=True)
    return perf_counter() - start


def _counters_s(request: Any) -> dict[str, float]:
    return {one.node_name: one.real_time.total_seconds() for one in request.profiling_info}


def _info(node: Any, key: str) -> str:
    info = node.get_rt_info()
    return str(info[key].astype(str)) if key in info else ""


def _sources(node: Any) -> list[Any]:
    return [port.get_source_output() for port in node.inputs()]


def _live(compiled: Any) -> list[Any]:
    """Nodes of the runtime model that something flows through, in order of execution.

    Those that hang on constants alone ran once, when the model was compiled.
    """
    live: set[str] = set()
    found = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        kind = _info(node, "layerType")
        above = {source.get_node().get_friendly_name() for source in _sources(node)}
        if kind == "Input" or above & live:
            live.add(node.get_friendly_name())
            if kind not in _OUTSIDE:
                found.append(node)
    return sorted(found, key=lambda node: int(_info(node, "execOrder")))


def _by_name(asked: tuple[OpNode, ...], path: Path) -> dict[str, OpNode]:
    """Nodes of the ONNX file by their name, and by the tensors that they make.

    OpenVINO calls the last node of a network after its output.
    """
    import onnx

    nodes = onnx.load(path, load_external_data=False).graph.node
    makers = {
        tensor: node for node, proto in zip(asked, nodes, strict=True) for tensor in proto.output
    }
    return {**makers, **{node.node: node for node in asked if node.node}}


def _origins(names: str, makers: Mapping[str, OpNode]) -> tuple[OpNode, ...]:
    """The ONNX nodes behind `originalLayersNames`, such as "conv1/WithoutBiases,conv1,relu"."""
    found: dict[int, OpNode] = {}
    for name in names.split(","):
        while name and name not in makers:
            name = name.rpartition("/")[0]
        if name:
            found[id(makers[name])] = makers[name]
    return tuple(found.values())


def _describe(node: Any, makers: Mapping[str, OpNode], live: Collection[str]) -> OpNode:
    origins = _origins(_info(node, "originalLayersNames"), makers)
    layer = _info(node, "layerType")
    sources = _sources(node)
    flowing = [one for one in sources if one.get_node().get_friendly_name() in live]
    return OpNode(
        node=node.get_friendly_name(),
        op=layer,
        kind=fused.kind(layer, origins, _MEMORY),
        origin=tuple(one.node for one in origins),
        key=_key(node),
        inputs=tuple(tuple(one.get_shape()) for one in sources),
        outputs=tuple(tuple(one.get_shape()) for one in node.outputs()),
        flops=fused.total(one.flops for one in origins),
        bytes_in=sum(map(_bytes, flowing)),
        bytes_out=sum(map(_bytes, node.outputs())),
        bytes_weights=sum(map(_bytes, sources)) - sum(map(_bytes, flowing)),
    )


def _bytes(port: Any) -> int:
    return int(np.prod(port.get_shape(), dtype=np.int64)) * int(port.get_element_type().size)


def _key(node: Any) -> str:
    """The same for two nodes of one layer type, kernel, layout and shapes."""
    parts = [_info(node, key) for key in ("layerType", "primitiveType", "outputLayouts")]
    parts += [f"{port.get_element_type()}{list(port.get_shape())}"
              for port in (*_sources(node), *node.outputs())]  # fmt: skip
    return fused.key(parts)


class OpenVino:
    """The backend."""

    packages = ("openvino",)
    on = ("cpu",)
    extra = "openvino"

    def int8(self, target: Target, device: Mapping[str, Any]) -> Form:  # noqa: ARG002
        """By the instructions of the processor."""
        return on_processor(device)

    def probe(self, target: Target | None = None) -> dict[str, Any]:  # noqa: ARG002  runs here
        """Version and devices."""
        runtime = _runtime()
        return {"version": runtime.__version__, "devices": runtime.Core().available_devices}

    def open(self, workload: Workload, target: Target) -> OpenVinoSession:
        """A session on the CPU."""
        computes.require_can("openvino", self.on, target)
        if target.options:
            raise UsageError(
                f"The openvino backend has no option '{min(target.options)}'.", "Leave it out."
            )
        return OpenVinoSession(workload, target)


BACKEND = OpenVino()
