"""TensorRT on the GPU of this machine, in Python.

Options (`--option NAME=VALUE`):

==============  ==================================================================
`engines`       how many engines the processes take in turn (1)
`batches`       build one engine for these batches, `1,16,1024`; else one for each
`cuda_graph`    `on` or `off` (off): launch the whole network at once
`transfers`     `inside` or `outside` (outside): copies to and from the device
==============  ==================================================================

A latency is the time between two CUDA events: just before an inference is enqueued on an idle
stream, and at its end. The next inference is enqueued only then. Times of ops come from TensorRT's
profiler, in a context and a pass of their own, because the profiler waits after every layer.

CUDA is called in `cuda_calls`; options are checked in `tensorrt_options`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean, median
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import onnx
from numpy.typing import NDArray

from nnprof.errors import CellError, OutOfMemory, Unavailable
from nnprof.exporters import tensorrt as engines
from nnprof.exporters.int8 import Form, signed
from nnprof.exporters.probes import FLOOR
from nnprof.exporters.tensorrt import Recipe
from nnprof.profiler import inputs
from nnprof.profiler.backends.cuda_calls import Buffer, Gpu, gpu_here, ok, pinned, runtime
from nnprof.profiler.backends.tensorrt_options import NO_PARTS, Choices, batches_of
from nnprof.profiler.graph import opgraph
from nnprof.profiler.importers import trtexec_layers, trtexec_ops
from nnprof.profiler.importers.trtexec_json import LayerTime, Profile
from nnprof.profiler.place import computes
from nnprof.profiler.ports import Arrays, Opening, OpNode, Part
from nnprof.types import OpPass, OpTime, Target, Workload

if TYPE_CHECKING:
    import tensorrt as trt

_MOST_RUNS = 100


class TensorrtSession:
    """An engine, a context for one batch, and its buffers."""

    clock = "cuda_event"

    def __init__(self, workload: Workload, target: Target) -> None:
        cuda = runtime()
        gpu, choices = gpu_here(), Choices(target.options, more=("batches",))
        self._workload, self._choices = workload, choices
        recipe = _recipe(workload, target, gpu)
        count = 1 if workload.model.name == FLOOR else choices.engines
        start = perf_counter()
        taken = engines.take(workload.model, recipe, count, engines.default_folder())
        self._profile_index = recipe.batches.index(workload.batch)
        self._stream = ok(cuda.cudaStreamCreate())
        # Events without blocking: waiting for them spins, as the pinned flags of trtexec ask for.
        self._start, self._stop = (ok(cuda.cudaEventCreate()) for _ in range(2))
        self._log = engines.logger()
        self._engine = self._deserialise(taken.plan)
        self._tiles = inputs.make(workload)
        self._buffers: dict[str, Buffer] = {}
        self._context = self._open_context()
        self._ops: OpPass | None = None
        self._graph: Any = None
        self._fill(self._tiles)
        self._launch = self._launcher()
        self.opening = Opening(build_s=perf_counter() - start, cached=not taken.fresh)
        self.facts: dict[str, Any] = {
            **_place_facts(gpu),
            "engine": {
                "index": taken.stamp.index,
                "of": choices.engines,
                "built_now": taken.fresh,
                "sha256": taken.stamp.sha256,
                "batches": list(recipe.batches),
            },
            "transfers": "inside" if choices.transfers else "outside",
            "cuda_graph": choices.cuda_graph,
            "wait": "spin",
            "tf32": "allowed for float32",
            "latency": "from before the enqueue on an idle stream to the end, by CUDA events",
            "parts": NO_PARTS,
        }

    def _deserialise(self, plan: bytes) -> trt.ICudaEngine:
        import tensorrt as trt

        self._runtime = trt.Runtime(self._log)  # the engine needs it for as long as it lives
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise engines.refused(self._workload.model, self._log.said)
        return engine

    def _open_context(self) -> trt.IExecutionContext:
        """A context for the batch, bound to the buffers; the first call makes the buffers."""
        import tensorrt as trt

        engine, batch = self._engine, self._workload.batch
        context = engine.create_execution_context()
        if context is None:
            raise OutOfMemory(
                f"{self._workload.model.name} at batch {batch} does not fit on the GPU.",
                "Ask for a smaller batch.",
            )
        if self._profile_index:  # the first is chosen already
            context.set_optimization_profile_async(self._profile_index, int(self._stream))
            ok(runtime().cudaStreamSynchronize(self._stream))
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        is_input = {name: engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
        for name in names:
            if is_input[name] and -1 in engine.get_tensor_shape(name)[:]:
                context.set_input_shape(name, trt.Dims(list(self._tiles[name].shape)))
        for name in names:
            if name not in self._buffers:
                shape = context.get_tensor_shape(name)[:]
                host = pinned(shape, trt.nptype(engine.get_tensor_dtype(name)))
                device = ok(runtime().cudaMalloc(max(1, host.nbytes)))
                self._buffers[name] = Buffer(int(device), host, is_input[name])
            context.set_tensor_address(name, self._buffers[name].device)
        return context

    # --- copies and launches

    def _copy(self, *, inwards: bool) -> None:
        cuda = runtime()
        kinds = cuda.cudaMemcpyKind
        kind = kinds.cudaMemcpyHostToDevice if inwards else kinds.cudaMemcpyDeviceToHost
        for device, host, is_input in self._buffers.values():
            if is_input == inwards:
                ends = (device, host.ctypes.data) if inwards else (host.ctypes.data, device)
                ok(cuda.cudaMemcpyAsync(*ends, host.nbytes, kind, self._stream))

    def _fill(self, arrays: Arrays) -> None:
        """Copy the tiles to the device, and wait."""
        for name, array in arrays.items():
            if name in self._buffers:  # an input that nothing reads is not in the engine
                self._buffers[name].host[...] = array
        self._copy(inwards=True)
        ok(runtime().cudaStreamSynchronize(self._stream))

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(int(self._stream)):
            raise self._failed()

    def _failed(self) -> CellError:
        said = " ".join((self._log.said or ["it does not say why"])[-1].split()).rstrip(".")
        return CellError(f"TensorRT could not run: {said}.", "Try the same cell alone.")

    def _launcher(self) -> Callable[[], None]:
        """The call that starts an inference: an enqueue, or the launch of a CUDA graph of one."""
        if not self._choices.cuda_graph:
            return self._enqueue
        cuda, stream = runtime(), self._stream
        self._enqueue()  # what happens only the first time must not be captured
        ok(cuda.cudaStreamSynchronize(stream))
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        ok(cuda.cudaStreamBeginCapture(stream, mode))
        self._enqueue()
        captured = ok(cuda.cudaStreamEndCapture(stream))
        self._graph = ok(cuda.cudaGraphInstantiate(captured, 0))
        ok(cuda.cudaGraphDestroy(captured))

        def launch() -> None:
            ok(cuda.cudaGraphLaunch(self._graph, stream))

        return launch

    def _timed_s(self, launch: Callable[[], None]) -> float:
        """One synchronised inference between two events."""
        cuda, stream = runtime(), self._stream
        ok(cuda.cudaEventRecord(self._start, stream))
        if self._choices.transfers:
            self._copy(inwards=True)
        launch()
        if self._choices.transfers:
            self._copy(inwards=False)
        ok(cuda.cudaEventRecord(self._stop, stream))
        ok(cuda.cudaEventSynchronize(self._stop))
        return float(ok(cuda.cudaEventElapsedTime(self._start, self._stop))) * 1e-3

    # --- the port

    def sample(self, loops: int) -> float:
        """Seconds of `loops` inferences, each waited for before the next."""
        return sum(self._timed_s(self._launch) for _ in range(loops))

    def pause(self, seconds: float) -> None:
        """Sleep."""
        sleep(seconds)

    def infer(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name; the tiles that are timed are put back."""
        self._fill(arrays)
        self._launch()
        self._copy(inwards=False)
        ok(runtime().cudaStreamSynchronize(self._stream))
        outputs = {
            name: buffer.host.copy()
            for name, buffer in self._buffers.items()
            if not buffer.is_input
        }
        self._fill(self._tiles)
        return outputs

    def graph(self) -> tuple[OpNode, ...]:
        """The engine's layers, with the ONNX nodes that each was made of."""
        return tuple(node_of(op) for op in (self._ops or self.op_times(0.0)).ops)

    def op_times(self, budget_s: float) -> OpPass:
        """TensorRT's own profiler on a second context."""
        rows: list[list[tuple[str, float]]] = []
        context = self._open_context()
        profiler = collector(rows)
        context.profiler = profiler
        clean, self._context = self._context, context
        try:
            rows.append([])
            first_s = self._timed_s(self._enqueue)
            runs = int(min(_MOST_RUNS, max(1, budget_s / first_s)))
            latencies_s = []
            for _ in range(runs):
                rows.append([])
                latencies_s.append(self._timed_s(self._enqueue))
        finally:
            self._context = clean
        proto = onnx.load(self._workload.model.path, load_external_data=False)
        ops = trtexec_ops.op_times(
            profile_of(rows[1:]), self._inspect(context), opgraph.op_types(proto)
        )
        self._ops = OpPass(
            method="runtime",
            latency_s=median(latencies_s),
            ops=ops,
            timed_s=first_s + sum(latencies_s),
        )
        return self._ops

    def _inspect(self, context: trt.IExecutionContext) -> trtexec_layers.Engine:
        import tensorrt as trt

        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = context  # with it, shapes are those of this batch
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        return trtexec_layers.read_engine(text.encode(), "The engine inspector's answer")

    def alone(self, copies: Mapping[str, int]) -> Iterator[tuple[str, Part]]:  # noqa: ARG002
        """Not offered."""
        raise Unavailable(NO_PARTS)

    def beginnings(self) -> Iterator[Part]:
        """Not offered."""
        raise Unavailable(NO_PARTS)

    def close(self) -> None:
        """Give back context, engine, buffers, events and stream, in this order."""
        cuda = runtime()
        if self._graph is not None:
            ok(cuda.cudaGraphExecDestroy(self._graph))
        del self._launch, self._context, self._engine, self._runtime
        for buffer in self._buffers.values():
            ok(cuda.cudaFree(buffer.device))
            ok(cuda.cudaFreeHost(buffer.host.ctypes.data))
        self._buffers.clear()
        for event in (self._start, self._stop):
            ok(cuda.cudaEventDestroy(event))
        ok(cuda.cudaStreamDestroy(self._stream))


def collector(rows: list[list[tuple[str, float]]]) -> Any:
    """A profiler that adds (layer, seconds) to the last of `rows`."""
    import tensorrt as trt

    class Collector(trt.IProfiler):  # type: ignore[misc]  # known only where tensorrt is installed
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: Any) -> None:
            rows[-1].append((layer_name, float(ms) * 1e-3))

    return Collector()


def profile_of(rows: Sequence[Sequence[tuple[str, float]]]) -> Profile:
    """Layer times of several inferences as one profile; equal names are matched in order."""
    seconds: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        seen: Counter[str] = Counter()
        for name, layer_s in row:
            seconds.setdefault((name, seen[name]), []).append(layer_s)
            seen[name] += 1
    layers = tuple(
        LayerTime(name=name, mean_s=fmean(times), median_s=median(times))
        for (name, _), times in seconds.items()
    )
    return Profile(count=len(rows), layers=layers)


def node_of(op: OpTime) -> OpNode:
    """The node without its time."""
    return OpNode(**{name: getattr(op, name) for name in OpNode.__struct_fields__})


def _recipe(workload: Workload, target: Target, gpu: Gpu) -> Recipe:
    """What the engine is built of and for; its cache key."""
    batches = batches_of(target.options.get("batches"), workload.batch)
    return Recipe(
        model=workload.model.sha256,
        batches=batches,
        shapes=inputs.profiles(workload, batches),
        precision=workload.precision,
        version=engines.library().__version__,
        device=gpu.name,
        compute=gpu.compute,
    )


def _place_facts(gpu: Gpu) -> dict[str, Any]:
    """Versions of TensorRT and CUDA, and the GPU."""
    cuda = runtime()
    return {
        "version": engines.library().__version__,
        "gpu": gpu.name,
        "compute_capability": gpu.compute,
        "cuda_runtime": ok(cuda.cudaRuntimeGetVersion()),
        "cuda_driver": ok(cuda.cudaDriverGetVersion()),
    }


class Tensorrt:
    """The backend."""

    packages = ("tensorrt",)
    on = ("gpu",)

    def int8(self, target: Target, device: Mapping[str, Any]) -> Form:  # noqa: ARG002
        """Signed and symmetric, as TensorRT wants it."""
        return signed("TensorRT")

    def probe(self, target: Target | None = None) -> dict[str, Any]:  # noqa: ARG002  runs here
        """Versions of TensorRT and CUDA, and the GPU."""
        engines.library()
        return _place_facts(gpu_here())

    def open(self, workload: Workload, target: Target) -> TensorrtSession:
        """An engine of the model for this batch, built if need be."""
        computes.require_can("tensorrt", self.on, target)
        return TensorrtSession(workload, target)


BACKEND = Tensorrt()
