"""ONNX Runtime on the CPU, with inputs and outputs bound once."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile, OutOfMemory, Unavailable
from nnprof.profiler import inputs, opgraph
from nnprof.profiler.ports import Arrays, OpNode, arrays_like
from nnprof.types import OpPass, OpTime, Target, Workload

_PROVIDERS = {"cpu": "CPUExecutionProvider"}
_QUIET = 3  # errors only: warnings would end up in the worker's stderr for every cell


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise Unavailable(
            "onnxruntime is not installed.", "Try: pip install 'nnprof-embedded[cpu]'"
        ) from error
    return onnxruntime


def _errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        *("Fail", "InvalidArgument", "NoSuchFile", "NoModel", "EngineError", "RuntimeException"),
        *("InvalidProtobuf", "ModelLoaded", "NotImplemented", "InvalidGraph", "EPFail"),
    )
    own = (getattr(state, name) for name in names if hasattr(state, name))
    # A bound run raises plain RuntimeErrors.
    return (*own, RuntimeError, MemoryError)


@contextmanager
def _translated(workload: Workload) -> Iterator[None]:
    """The runtime's errors as ours."""
    try:
        yield
    except _errors() as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise OutOfMemory(
                f"{workload.model.name} at batch {workload.batch} does not fit into memory.",
                "Ask for a smaller batch.",
            ) from error
        raise BadFile(
            f"ONNX Runtime refuses {workload.model.name}: {lines[0].rstrip('.')}.",
            "Check the file with: python -m onnx.checker FILE",
        ) from error


class OrtSession:
    """One InferenceSession with bound buffers. `infer` and `sample` share it."""

    clock = "perf_counter"

    def __init__(self, workload: Workload, target: Target) -> None:
        self._workload, self._target = workload, target
        self._ort = _runtime()
        with _translated(workload):
            self._tiles = arrays_like(inputs.make(workload))
            self._session = self._load(self._options())
            self._binding = self._bind(self._session)
        self.facts: dict[str, Any] = {
            "providers": self._session.get_providers(),
            "transfers": "none: inputs and outputs are in host memory",
            "buffers": "bound once, reused",
        }

    def _options(self) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._target.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _QUIET
        return options

    def _load(self, options: Any) -> Any:
        return self._ort.InferenceSession(
            self._workload.model.path, options, providers=[_PROVIDERS[self._target.device]]
        )

    def _bind(self, session: Any) -> Any:
        """Bind inputs, and outputs of the shapes that one first inference shows."""
        binding = session.io_binding()
        for name, array in self._tiles.items():
            binding.bind_ortvalue_input(name, self._ort.OrtValue.ortvalue_from_numpy(array))
        for output in session.get_outputs():
            binding.bind_output(output.name)
        session.run_with_iobinding(binding)
        for output, value in zip(session.get_outputs(), binding.get_outputs(), strict=True):
            binding.bind_ortvalue_output(output.name, value)
        return binding

    def infer(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name."""
        names = [output.name for output in self._session.get_outputs()]
        results = self._session.run(names, dict(arrays))
        return {name: np.asarray(result) for name, result in zip(names, results, strict=True)}

    def sample(self, loops: int) -> float:
        """Seconds of `loops` inferences."""
        run, binding = self._session.run_with_iobinding, self._binding
        start = perf_counter()
        for _ in range(loops):
            run(binding)
        return perf_counter() - start

    def graph(self) -> tuple[OpNode, ...]:
        """Nodes of the optimised model, as ONNX Runtime writes it out."""
        with tempfile.TemporaryDirectory() as folder:
            optimised = Path(folder, "optimised.onnx")
            options = self._options()
            options.optimized_model_filepath = str(optimised)
            self._load(options)
            return opgraph.read(optimised, Path(self._workload.model.path))

    def op_times(self, budget_s: float) -> OpPass:
        """ONNX Runtime's own profile: integer microseconds, distorting, in a session of its own."""
        origins = {node.node: node.origin for node in self.graph()}
        with tempfile.TemporaryDirectory() as folder, _translated(self._workload):
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder, "profile"))
            session = self._load(options)
            binding = self._bind(session)
            first_s = _timed(session, binding)
            # The profiler keeps at most a million events; a hundred inferences settle a median.
            runs = int(min(100, max(1, budget_s / first_s)))
            latencies_s = [_timed(session, binding) for _ in range(runs)]
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        ops = read_profile(events, runs, origins)
        return OpPass(method="runtime", latency_s=median(latencies_s), ops=ops)

    def close(self) -> None:
        """Drop the session and its buffers."""
        del self._binding, self._session


def _timed(session: Any, binding: Any) -> float:
    start = perf_counter()
    session.run_with_iobinding(binding)
    return perf_counter() - start


def read_profile(
    events: list[dict[str, Any]], runs: int, origins: dict[str, tuple[str, ...]]
) -> tuple[OpTime, ...]:
    """Ops of the last `runs` inferences in ONNX Runtime's profile, in order of execution.

    The format is Chrome's trace; a node's event is called `<node>_kernel_time`, `dur` is in whole
    microseconds (onnxruntime/core/common/profiler.h).
    """
    durations: dict[str, list[float]] = defaultdict(list)
    arguments: dict[str, dict[str, Any]] = {}
    for event in events:
        name = event.get("name", "")
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            node = name.removesuffix("_kernel_time")
            durations[node].append(event["dur"] * 1e-6)
            arguments[node] = event["args"]
    return tuple(
        OpTime(
            index=index,
            node=node,
            op=arguments[node]["op_name"],
            kind=opgraph.kind_of(arguments[node]["op_name"]),
            inputs=_shapes(arguments[node].get("input_type_shape", [])),
            outputs=_shapes(arguments[node].get("output_type_shape", [])),
            origin=origins.get(node, ()),
            kernel=arguments[node].get("provider", ""),
            seconds=median(seconds[-runs:]),
            runs=len(seconds[-runs:]),
            method="runtime",
        )
        for index, (node, seconds) in enumerate(durations.items())
    )


def _shapes(tensors: list[dict[str, list[int]]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(shape) for tensor in tensors for shape in tensor.values())


class OnnxRuntime:
    """The backend."""

    def probe(self) -> dict[str, Any]:
        """Version and providers compiled in."""
        runtime = _runtime()
        return {
            "version": runtime.__version__,
            "providers": runtime.get_available_providers(),
        }

    def open(self, workload: Workload, target: Target) -> OrtSession:
        """A session on the asked device."""
        if target.device not in _PROVIDERS:
            raise Unavailable(
                f"The onnxruntime backend does not run on device '{target.device}'.",
                f"It runs on: {', '.join(_PROVIDERS)}.",
            )
        return OrtSession(workload, target)


BACKEND = OnnxRuntime()
