"""PyTorch, eager or compiled, on a CPU or an NVIDIA GPU.

What runs is the ONNX file rebuilt as torch modules (`nnprof.exporters.torch`). Options:

============  ======================================================================
`mode`        `eager` (default): one call per ONNX node. `compile`: torch.compile, whose
              kernels take several nodes in; needs a C++ compiler (Triton on CUDA)
`cuda_graph`  `1`: the whole inference as one captured CUDA graph (CUDA only)
============  ======================================================================
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile, Unavailable, UsageError
from nnprof.exporters.torch import rebuild
from nnprof.profiler import inputs, ports, waits
from nnprof.profiler.backends.refusals import translated
from nnprof.profiler.backends.torch_graph import (
    INFERENCE,
    beginning,
    described,
    kernel_of,
    kernels_of,
    labelled,
    recorder,
    steps_of,
)
from nnprof.profiler.graph import opgraph
from nnprof.profiler.place import computes
from nnprof.profiler.ports import Arrays, OpNode, Part, arrays_like
from nnprof.profiler.waits import opened
from nnprof.types import OpPass, OpTime, Target, Workload

if TYPE_CHECKING:
    from torch import fx

_OPTIONS = {"mode": ("eager", "compile"), "cuda_graph": ("0", "1")}
_DEVICES = {"cpu": "cpu", "gpu": "cuda"}  # what computes → torch's name for it
_NO_PARTS = "torch.compile makes one program of the network; a part of it would be another one."
_MOST_RUNS = 50  # the profiler keeps every event


def _runtime() -> Any:
    try:
        import torch
    except ImportError as error:
        raise Unavailable(
            "torch is not installed.", "Try: pip install 'nnprof-embedded[train]'."
        ) from error
    return torch


def _translated(workload: Workload) -> AbstractContextManager[None]:
    """The runtime's errors as ours."""
    remedy = "Try another --backend, or leave out the options."
    return translated("torch", workload, remedy=lambda: remedy)


class _Timed:
    """Calls, one after the other, on tensors that stay where they are: one inference."""

    def __init__(
        self,
        workload: Workload,
        calls: Sequence[Callable[..., Any]],
        bound: Sequence[Any],
        cuda: bool,
    ) -> None:
        self._torch, self._workload = _runtime(), workload
        self._calls, self._bound, self._cuda = calls, bound, cuda

    def sample(self, loops: int) -> float:
        """Seconds of `loops` inferences; on CUDA by events, the device waited for after each."""
        calls, bound = chain.from_iterable(repeat(self._calls, loops)), self._bound
        with _translated(self._workload), self._torch.inference_mode():
            if self._cuda:
                return self._sample_cuda(calls)
            start = perf_counter()
            for call in calls:
                call(*bound)
            return perf_counter() - start

    def _sample_cuda(self, calls: Iterable[Callable[..., Any]]) -> float:
        bound, cuda = self._bound, self._torch.cuda
        begin, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        wait = cuda.current_stream().synchronize
        wait()
        begin.record()
        for call in calls:
            call(*bound)
            wait()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) * 1e-3

    def close(self) -> None:
        """Drop the calls and their tensors."""
        self._calls, self._bound = (), ()


class TorchSession(_Timed):
    """One rebuilt module with bound inputs. `infer` and `sample` share it."""

    def __init__(self, workload: Workload, target: Target) -> None:
        torch = _runtime()
        self._workload, self._device = workload, torch.device(_DEVICES[target.on])
        self._compiled = target.options.get("mode") == "compile"
        self.clock = "cuda_event" if target.on == "gpu" else "perf_counter"
        torch.set_num_threads(target.threads)
        self._tiles = arrays_like(inputs.make(workload))
        with _translated(workload):
            watch = waits.Stopwatch()
            self._module, self._steps = rebuild(Path(workload.model.path))
            self._module.to(self._device)
            self._run = self._compile({}) if self._compiled else _called(torch, self._module)
            bound = self._on_device(self._tiles)
            super().__init__(workload, [self._run], bound, self._device.type == "cuda")
            build = watch.lap()
            self.sample(1)  # mode=compile compiles in it
            self.opening = opened(build, watch.lap())
            graphed = target.options.get("cuda_graph") == "1"
            if graphed:
                self._calls = [self._captured()]
        self._nodes: tuple[OpNode, ...] | None = None
        self._watched: Callable[..., Any] | None = None
        self.facts: dict[str, Any] = {
            "transfers": f"none: inputs and outputs are in the memory of the {self._device}",
            "buffers": "inputs bound once; torch allocates each output",
            "mode": "compile" if self._compiled else "eager",
            "cuda_graph": graphed,
            "threads": torch.get_num_threads(),
            "tf32": bool(torch.backends.cudnn.allow_tf32) if self._cuda else None,
            **({"parts": _NO_PARTS} if self._compiled else {}),
        }

    def arena(self) -> int | None:
        """The most that the caching allocator of the GPU had reserved; a processor has none."""
        return int(self._torch.cuda.max_memory_reserved()) if self._cuda else None

    def _compile(self, options: dict[str, Any]) -> Callable[..., Any]:
        from torch._inductor import config

        # Its pool of compiling processes would go on running beside what is timed.
        config.compile_threads = 1
        torch = _runtime()
        compiled: Callable[..., Any] = torch.compile(self._module, dynamic=False, options=options)
        return compiled

    def _captured(self) -> Callable[..., Any]:
        """The inference as a CUDA graph, after warm-up on a side stream as torch asks for it."""
        cuda = self._torch.cuda
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        graph = cuda.CUDAGraph()
        with self._torch.inference_mode():
            with cuda.stream(side):
                for _ in range(3):
                    self._run(*self._bound)
            cuda.current_stream().wait_stream(side)
            with cuda.graph(graph):
                self._outputs = self._run(*self._bound)
        return lambda *_: graph.replay()

    def _on_device(self, arrays: Arrays) -> list[Any]:
        names = [tensor.name for tensor in self._workload.model.inputs]
        torch = _runtime()
        return [torch.tensor(arrays[name], device=self._device) for name in names]

    def infer(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name."""
        with _translated(self._workload), self._torch.inference_mode():
            results = self._run(*self._on_device(arrays))
        names = [tensor.name for tensor in self._workload.model.outputs]
        return {
            name: np.array(result.cpu().numpy())
            for name, result in zip(names, results, strict=True)
        }

    def pause(self, seconds: float) -> None:
        """Sleep."""
        sleep(seconds)

    def graph(self) -> tuple[OpNode, ...]:
        """Eager: the ONNX nodes. Compiled: the kernels and calls that one inference makes."""
        if self._nodes is None:
            if self._compiled:
                self._nodes = tuple(described(events, at) for at, events in self._kernels(1)[0])
            else:
                names = {name for name, _ in self._steps}
                asked = opgraph.asked(Path(self._workload.model.path), self._tiles)
                self._nodes = tuple(node for node in asked if node.node in names)
        return self._nodes

    def op_times(self, budget_s: float) -> OpPass:
        """Torch's own profiler: the device's time on CUDA, else the time inside each op."""
        nodes = self.graph()
        first_s = self.sample(1)
        runs = int(min(_MOST_RUNS, max(1, budget_s / first_s)))
        found, latencies_s = self._kernels(runs)
        ops = tuple(self._op(node, *events) for node, events in zip(nodes, found, strict=True))
        return OpPass(
            method="runtime",
            latency_s=median(latencies_s),
            ops=ops,
            timed_s=first_s + sum(latencies_s),
        )

    def _op(self, node: OpNode, index: int, events: Sequence[Sequence[Any]]) -> OpTime:
        seconds = [sum(map(self._seconds, one)) for one in events]
        kernel = kernel_of(events[-1])
        return ports.timed(
            node, index, median(seconds), "runtime", runs=len(seconds), kernel=kernel
        )

    def _seconds(self, event: Any) -> float:
        time_us = event.device_time_total if self._cuda else event.cpu_time_total
        return float(time_us) * 1e-6

    def _kernels(self, runs: int) -> tuple[list[tuple[int, list[list[Any]]]], list[float]]:
        """For each op its index and, per inference, its events; seconds of each inference."""
        from torch import profiler

        # A compiled module has no truth value.
        call = self._watch() if self._watched is None else self._watched
        kinds = [profiler.ProfilerActivity.CPU]
        kinds += [profiler.ProfilerActivity.CUDA] if self._cuda else []
        latencies_s = []
        with _translated(self._workload), self._torch.inference_mode():
            call(*self._bound)
            with profiler.profile(activities=kinds, record_shapes=True) as watched:
                # The first under the profiler pays for its own start.
                for _ in range(runs + 1):
                    start = perf_counter()
                    with profiler.record_function(INFERENCE):
                        call(*self._bound)
                        if self._cuda:
                            self._torch.cuda.synchronize()
                    latencies_s.append(perf_counter() - start)
        return self._by_op(watched.events()), latencies_s[1:]

    def _watch(self) -> Callable[..., Any]:
        """What is run under the profiler: labelled node by node, or with its kernels labelled."""
        if self._compiled:
            self._watched = self._compile({"cpp.enable_kernel_profile": True})
        else:
            self._watched = labelled(self._module, [node for _, node in self._steps]).run
        return self._watched

    def _by_op(self, events: Sequence[Any]) -> list[tuple[int, list[list[Any]]]]:
        host = [event for event in events if "CPU" in str(event.device_type)]
        inferences = [event for event in host if event.name == INFERENCE][1:]
        per_inference = [
            kernels_of(one) if self._compiled else [step.cpu_children for step in steps_of(one)]
            for one in inferences
        ]
        count = min(map(len, per_inference))
        if count != max(map(len, per_inference)):
            raise BadFile(
                f"{self._workload.model.name} runs other kernels from one inference to the next.",
                "Its ops cannot be timed: ask for --ops none.",
            )
        return [(at, [one[at] for one in per_inference]) for at in range(count)]

    def alone(self, copies: Mapping[str, int]) -> Iterator[tuple[str, Part]]:
        """ONNX nodes as calls of their own; not offered for a compiled network."""
        if self._compiled:
            raise Unavailable(_NO_PARTS)
        return self._alone(copies)

    def _alone(self, copies: Mapping[str, int]) -> Iterator[tuple[str, Part]]:
        recorded = recorder(self._module)
        with self._torch.inference_mode():
            recorded.run(*self._bound)
        step_of = {
            node.key: step for node, (_, step) in zip(self.graph(), self._steps, strict=True)
        }
        for key, count in copies.items():
            step = step_of[key]
            call: Any = step.target
            if step.op == "call_module":
                call = self._module.get_submodule(str(step.target))
            # Functions have no weights worth rotating.
            calls = [call, *(deepcopy(call) for _ in range(count - 1))]
            arguments = [recorded.made[source] for source in step.args]
            yield key, _Timed(self._workload, calls, arguments, self._cuda)

    def beginnings(self) -> Iterator[Part]:
        """The network up to each node; not offered for a compiled network."""
        if self._compiled:
            raise Unavailable(_NO_PARTS)
        programs = (beginning(self._module, step) for _, step in self._steps)
        return (
            _Timed(self._workload, [_called(self._torch, program)], self._bound, self._cuda)
            for program in programs
        )

    def close(self) -> None:
        """Drop the module and its tensors."""
        super().close()
        self._watched = None
        del self._run, self._module
        if self._cuda:
            self._torch.cuda.empty_cache()


def _called(torch: Any, module: fx.GraphModule) -> Callable[..., Any]:
    """The call of an ordinary module: fx wraps a second one around it, to explain errors."""
    return partial(torch.nn.Module.__call__, module)


class Torch:
    """The backend."""

    packages = ("torch",)
    on = ("cpu", "gpu")
    extra = "torch"

    def probe(self, target: Target | None = None) -> dict[str, Any]:  # noqa: ARG002  runs here
        """Version, the CUDA it was built with, and the devices that it sees."""
        torch = _runtime()
        count = torch.cuda.device_count()
        return {
            "version": str(torch.__version__),  # a string of its own kind
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "devices": [torch.cuda.get_device_name(at) for at in range(count)],
            "mkldnn": torch.backends.mkldnn.is_available(),
        }

    def open(self, workload: Workload, target: Target) -> TorchSession:
        """A session on what was asked for."""
        torch = _runtime()
        computes.require_can("torch", self.on, target)
        if target.on == "gpu" and not torch.cuda.is_available():
            built = torch.version.cuda
            raise Unavailable(
                "torch sees no CUDA device here."
                if built
                else f"The torch that is installed ({torch.__version__}) is built without CUDA.",
                "Check the driver with: nvidia-smi"
                if built
                else "Install the CUDA build: https://pytorch.org/get-started",
            )
        _check_options(target)
        return TorchSession(workload, target)


def _check_options(target: Target) -> None:
    for name, value in target.options.items():
        if name not in _OPTIONS:
            raise UsageError(
                f"The torch backend has no option '{name}'.", f"It has: {', '.join(_OPTIONS)}."
            )
        if value not in _OPTIONS[name]:
            raise UsageError(
                f"Option {name}={value} is not known.", f"Known: {', '.join(_OPTIONS[name])}."
            )
    if target.options.get("cuda_graph") == "1" and target.on != "gpu":
        raise UsageError("CUDA graphs need a GPU.", "Leave out --option cuda_graph=1.")
    compiler = os.environ.get("CXX") or "g++"
    if target.options.get("mode") == "compile" and not shutil.which(compiler):
        raise Unavailable(
            f"torch.compile needs a C++ compiler, and '{compiler}' is not here.",
            "Install one (sudo apt install g++), or leave out --option mode=compile.",
        )


BACKEND = Torch()
