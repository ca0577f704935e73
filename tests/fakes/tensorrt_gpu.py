"""Stand-ins for the modules `tensorrt` and `cuda.bindings.runtime`: a GPU in the host's memory.

They have the names that our code uses, whose signatures `tests/exporters/
test_tensorrt_signatures.py` checks against the real bindings, and they complain where the real ones
would: an address or a shape that was not given, memory freed twice, a stream not waited for.
Inferences are computed by ONNX's reference; time passes on a clock of their own.
"""

# ruff: noqa: ARG002, ARG005, N815  names and arguments are those of the real modules

from __future__ import annotations

import ctypes
import enum
import json
import types
from typing import Any

import numpy as np
import onnx
import onnx.reference
from google.protobuf.message import DecodeError


class State:
    """What the pretended GPU holds: blocks of memory, its clock, what is under way."""

    def __init__(
        self, *, version: str = "10.3.0", name: str = "Orin", memory: int = 1 << 24
    ) -> None:
        self.version, self.name, self.memory = version, name, memory
        self.blocks: dict[int, Any] = {}
        self.handles: set[int] = set()
        self.now_ms, self.builds, self.inferences = 0.0, 0, 0
        self.pending, self.capturing = False, None
        self.refuse = ""

    def allocate(self, size: int) -> int:
        """Address of a new block."""
        block = (ctypes.c_byte * size)()
        self.blocks[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def handle(self) -> Handle:
        """Of an event, stream or graph that has to be destroyed."""
        made = Handle()
        self.handles.add(id(made))
        made.state = self
        return made


class Handle:
    """An opaque thing of CUDA: its number is what TensorRT is given."""

    at_ms = 0.0
    state: State

    def __int__(self) -> int:
        return id(self)


class Error(enum.IntEnum):
    """cudaError_t."""

    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorNoDevice = 100


class Copy(enum.IntEnum):
    """cudaMemcpyKind."""

    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class Capture(enum.IntEnum):
    """cudaStreamCaptureMode."""

    cudaStreamCaptureModeThreadLocal = 1


GOOD = Error.cudaSuccess


def cuda(state: State) -> types.ModuleType:
    """The module `cuda.bindings.runtime`."""
    module: Any = types.ModuleType("cuda.bindings.runtime")
    module.cudaMemcpyKind, module.cudaStreamCaptureMode = Copy, Capture
    module.cudaGetDeviceCount = lambda: (GOOD, 1) if state.name else (Error.cudaErrorNoDevice, None)
    module.cudaGetDeviceProperties = lambda device: (
        GOOD,
        types.SimpleNamespace(name=state.name.encode(), major=8, minor=7),
    )
    module.cudaRuntimeGetVersion = module.cudaDriverGetVersion = lambda: (GOOD, 12060)
    _memory(module, state)
    _streams(module, state)
    _graphs(module, state)
    return module


def _memory(module: Any, state: State) -> None:
    def malloc(size: int) -> tuple[Error, int | None]:
        used = sum(map(len, state.blocks.values()))
        if used + size > state.memory:
            return Error.cudaErrorMemoryAllocation, None
        return GOOD, state.allocate(size)

    def free(address: int) -> tuple[Error]:
        gone = state.blocks.pop(address, None)
        return (GOOD if gone is not None else Error.cudaErrorInvalidValue,)

    def copy(dst: int, src: int, count: int, kind: Copy, stream: Handle) -> tuple[Error]:
        inside = dst if kind == Copy.cudaMemcpyHostToDevice else src
        assert inside in state.blocks
        ctypes.memmove(dst, src, count)
        state.now_ms += 0.004
        state.pending = True
        return (GOOD,)

    module.cudaMalloc = module.cudaMallocHost = malloc
    module.cudaFree = module.cudaFreeHost = free
    module.cudaMemcpyAsync = copy


def _streams(module: Any, state: State) -> None:
    def record(event: Handle, stream: Handle) -> tuple[Error]:
        event.at_ms = state.now_ms
        return (GOOD,)

    def wait(thing: Handle) -> tuple[Error]:
        state.pending = False
        return (GOOD,)

    def destroy(thing: Handle) -> tuple[Error]:
        known = id(thing) in state.handles
        state.handles.discard(id(thing))
        return (GOOD if known else Error.cudaErrorInvalidValue,)

    module.cudaStreamCreate = module.cudaEventCreate = lambda: (GOOD, state.handle())
    module.cudaStreamSynchronize = module.cudaEventSynchronize = wait
    module.cudaEventRecord = record
    module.cudaEventElapsedTime = lambda start, end: (GOOD, end.at_ms - start.at_ms)
    module.cudaStreamDestroy = module.cudaEventDestroy = destroy
    module.cudaGraphDestroy = module.cudaGraphExecDestroy = destroy


def _graphs(module: Any, state: State) -> None:
    def begin(stream: Handle, mode: Capture) -> tuple[Error]:
        assert not state.pending
        state.capturing = []
        return (GOOD,)

    def end(stream: Handle) -> tuple[Error, Handle]:
        graph: Any = state.handle()
        graph.work, state.capturing = state.capturing, None
        return GOOD, graph

    def instantiate(graph: Any, flags: int) -> tuple[Error, Handle]:
        ready: Any = state.handle()
        ready.work = graph.work
        return GOOD, ready

    def launch(graph: Any, stream: Handle) -> tuple[Error]:
        for work in graph.work:
            work(0.25)
        return (GOOD,)

    module.cudaStreamBeginCapture, module.cudaStreamEndCapture = begin, end
    module.cudaGraphInstantiate, module.cudaGraphLaunch = instantiate, launch


# --- TensorRT -------------------------------------------------------------------------------------


class _Words(enum.IntEnum):
    """An enumeration of TensorRT's, with members by name as pybind11 has them."""


class NetworkDefinitionCreationFlag(_Words):
    """Of version 10."""

    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class BuilderFlag(_Words):
    """Those that are looked up."""

    FP16 = 0
    INT8 = 1


class ProfilingVerbosity(_Words):
    """How much an engine keeps."""

    LAYER_NAMES_ONLY = 0
    DETAILED = 1


class TensorIOMode(_Words):
    """Which way a tensor goes."""

    INPUT = 1
    OUTPUT = 2


class LayerInformationFormat(_Words):
    """Of the inspector."""

    ONELINE = 0
    JSON = 1


class Dims(tuple[int, ...]):
    """A shape: sliced it is a tuple."""


class ILogger:
    """Base of ours."""

    class Severity(_Words):
        """How bad."""

        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2


class IProfiler:
    """Base of ours."""


class OnnxParser:
    """Keeps the path."""

    def __init__(self, network: Any, logger: Any) -> None:
        self.network, self.logger, self.num_errors = network, logger, 0

    def parse_from_file(self, model: str) -> bool:
        """False with one error for what is no ONNX."""
        try:
            self.network.proto = onnx.load(model)
        except (OSError, DecodeError):
            self.num_errors = 1
            return False
        return True

    def get_error(self, index: int) -> Any:
        """The one."""
        return types.SimpleNamespace(desc=lambda: "In node 0: UNSUPPORTED_NODE\n   (no ONNX)")


class Network:
    """An ONNX file as read, and the flags that it was made with."""

    proto: Any

    def __init__(self, flags: int) -> None:
        self.flags = flags

    @property
    def num_inputs(self) -> int:
        """How many."""
        return len(self.proto.graph.input)

    def get_input(self, index: int) -> Any:
        """Name and shape, -1 where it is free."""
        value = self.proto.graph.input[index]
        sides = value.type.tensor_type.shape.dim
        shape = Dims(side.dim_value if side.HasField("dim_value") else -1 for side in sides)
        return types.SimpleNamespace(name=value.name, shape=shape)


class Config:
    """What a build was asked for."""

    profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY

    def __init__(self) -> None:
        self.flags: list[str] = []
        self.profiles: list[dict[str, Any]] = []
        self.cache = b""

    def set_flag(self, flag: BuilderFlag) -> None:
        """Allow something."""
        self.flags.append(flag.name)

    def create_timing_cache(self, serialized_timing_cache: bytes) -> bytes:
        """From bytes."""
        return serialized_timing_cache

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        """Use it."""
        assert not ignore_mismatch
        self.cache = cache
        return True

    def get_timing_cache(self) -> Any:
        """As it is after the build."""
        return types.SimpleNamespace(serialize=lambda: self.cache)

    def add_optimization_profile(self, profile: Profile) -> int:
        """One more."""
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1


class Profile:
    """Shapes of the inputs."""

    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, input: str, min: Dims, opt: Dims, max: Dims) -> None:
        """For one input; ours are made for one shape alone."""
        assert min == opt == max
        assert -1 not in opt
        self.shapes[input] = list(opt)


class Context:
    """An execution context: refuses to run before it was told all."""

    profiler: Any = None

    def __init__(self, engine: Engine) -> None:
        self.engine, self.profile = engine, 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Choose one of those that the engine was built with."""
        assert profile_index < len(self.engine.plan["profiles"])
        self.profile = profile_index
        return True

    def set_input_shape(self, name: str, shape: Dims) -> bool:
        """Only what the profile allows."""
        assert list(shape) == self.engine.plan["profiles"][self.profile][name]
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> Dims:
        """With the batch, once every input has its shape."""
        free = [one for one in self.engine.inputs if -1 in self.engine.get_tensor_shape(one)]
        assert all(one in self.shapes for one in free), "the shapes of the inputs come first"
        if name in self.shapes:
            return Dims(self.shapes[name])
        shape = self.engine.get_tensor_shape(name)
        batch = next(iter(self.shapes.values()))[0] if self.shapes else None
        return Dims(batch if side == -1 else side for side in shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Where it lies."""
        assert memory in self.engine.state.blocks
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Compute now; time passes as if it were done by a GPU."""
        state = self.engine.state
        assert isinstance(stream_handle, int)
        assert set(self.addresses) == set(self.engine.names), "an address is missing"
        if state.capturing is not None:
            state.capturing.append(self.run)
        else:
            self.run(1.0)
        return True

    def run(self, launch: float) -> None:
        """Read the inputs, compute, write the outputs, report the layers."""
        engine, state = self.engine, self.engine.state
        arrays = {name: self.view(name) for name in engine.inputs}
        results = onnx.reference.ReferenceEvaluator(engine.proto).run(None, dict(arrays))
        for value, result in zip(engine.proto.graph.output, results, strict=True):
            self.view(value.name)[...] = result
        state.inferences += 1
        state.pending = True
        state.now_ms += 0.010 * launch
        for node in engine.proto.graph.node:
            state.now_ms += 0.005
            if self.profiler is not None:
                self.profiler.report_layer_time(node.name, 0.006)

    def view(self, name: str) -> Any:
        """The tensor where it lies on the device."""
        block = self.engine.state.blocks[self.addresses[name]]
        shape = self.get_tensor_shape(name)
        return np.frombuffer(block, np.float32, count=int(np.prod(shape))).reshape(shape)


class Engine:
    """A plan that was read."""

    def __init__(self, plan: dict[str, Any], state: State) -> None:
        self.plan, self.state = plan, state
        self.proto = onnx.load_from_string(bytes.fromhex(plan["onnx"]))
        self.values = {
            value.name: value for value in (*self.proto.graph.input, *self.proto.graph.output)
        }
        self.names = list(self.values)
        self.inputs = [value.name for value in self.proto.graph.input]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, index: int) -> str:
        """By number."""
        return self.names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        """Which way."""
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        """As numpy has it."""
        return np.float32

    def get_tensor_shape(self, name: str) -> Dims:
        """-1 where it is free."""
        sides = self.values[name].type.tensor_type.shape.dim
        return Dims(side.dim_value if side.HasField("dim_value") else -1 for side in sides)

    def create_execution_context(self) -> Context:
        """A fresh one."""
        return Context(self)

    def create_engine_inspector(self) -> Any:
        """What an inspector says: a layer for each node."""
        layers = [
            {
                "Name": node.name,
                "LayerType": "kgen",
                "Inputs": [],
                "Outputs": [],
                "Metadata": f"[ONNX Layer: {node.name}]",
            }
            for node in self.proto.graph.node
        ]
        detailed = self.plan["verbosity"] == "DETAILED"
        said = layers if detailed else [layer["Name"] for layer in layers]
        text = json.dumps({"Layers": said, "Bindings": self.names})
        return types.SimpleNamespace(get_engine_information=lambda format: text)


def _builder(state: State) -> type:
    class Builder:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def create_network(self, flags: int = 0) -> Network:
            return Network(flags)

        def create_builder_config(self) -> Config:
            return Config()

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
            if state.refuse:
                self.logger.log(ILogger.Severity.WARNING, "slow")
                self.logger.log(ILogger.Severity.ERROR, state.refuse)
                return None
            state.builds += 1
            config.cache = config.cache or f"timings {state.builds}".encode()
            plan = {
                "onnx": network.proto.SerializeToString().hex(),
                "network": network.flags,
                "flags": config.flags,
                "profiles": config.profiles,
                "verbosity": config.profiling_verbosity.name,
                "tactics": config.cache.decode(),
                "version": state.version,
            }
            return json.dumps(plan).encode()

    return Builder


def _runtime(state: State) -> type:
    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
            plan = json.loads(serialized_engine)
            if plan["version"] != state.version:
                self.logger.log(ILogger.Severity.ERROR, "Version tag does not match.")
                return None
            return Engine(plan, state)

    return Runtime


def tensorrt(state: State) -> types.ModuleType:
    """The module `tensorrt`."""
    module: Any = types.ModuleType("tensorrt")
    module.__version__ = state.version
    module.Builder, module.Runtime = _builder(state), _runtime(state)
    for one in (ILogger, IProfiler, Dims, OnnxParser, NetworkDefinitionCreationFlag, BuilderFlag):
        setattr(module, one.__name__, one)
    for one in (ProfilingVerbosity, TensorIOMode, LayerInformationFormat):
        setattr(module, one.__name__, one)
    module.nptype = lambda trt_type: trt_type
    return module
