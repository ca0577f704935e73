"""A session of ONNX Runtime: buffers bound once, its optimised graph, parts of it, its profile."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from time import sleep
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile, Unavailable
from nnprof.exporters import plain
from nnprof.profiler import inputs, stats, waits
from nnprof.profiler.backends import ort_arena
from nnprof.profiler.backends.ort_bound import (
    Bound,
    as_ours,
    cut_up,
    library,
    share_pool,
)
from nnprof.profiler.graph import opgraph
from nnprof.profiler.importers import ort_ops, ort_profile
from nnprof.profiler.ports import Arrays, OpNode, Part, arrays_like
from nnprof.profiler.waits import opened
from nnprof.types import Clock, OpPass, Target, Workload

_CPU = "CPUExecutionProvider"


# (what computes, option) → providers in the order in which they may take nodes.
PROVIDERS = {
    ("cpu", ""): (_CPU,),
    ("gpu", ""): ("CUDAExecutionProvider",),
    ("gpu", "cuda"): ("CUDAExecutionProvider",),
    ("gpu", "tensorrt"): ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}
_MEMORY = {"cpu": "cpu", "gpu": "cuda"}  # what computes → the runtime's name for its memory


# Types of tensors that numpy has, too, so that what flows can be looked at and given again.
_TENSORS = tuple(
    f"tensor({name})"
    for name in (
        *("float", "float16", "double", "bool", "string"),
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    )
)


_QUIET = 3  # errors only: warnings would end up in the worker's stderr for every cell


class OrtSession(Bound):
    """One InferenceSession with bound buffers. `infer` and `sample` share it."""

    clock: Clock = "perf_counter"

    def __init__(self, workload: Workload, target: Target) -> None:
        self._workload, self._target = workload, target
        self._ort = library()
        self._cut: _Cut | None = None
        self._nodes: tuple[OpNode, ...] | None = None
        self._freed: bytes | None = None
        self._as_it_stands = target.options.get("optimise") == "0"
        self._asked = PROVIDERS[target.on, target.options.get("provider", "")]
        with as_ours(workload):
            self._tiles = arrays_like(inputs.make(workload))
            watch = waits.Stopwatch()
            session = self._load(self._options())
            if any(0 in one.shape and self._tiles[one.name].size for one in session.get_inputs()):
                self._freed = _freed(workload.model.path)
                session = self._load(self._options())
            build = watch.lap()
            super().__init__(session, self._bind(session, self._tiles), workload)
            self.opening = opened(build, watch.lap())
        place = "host memory" if target.on == "cpu" else "the device's memory"
        self.facts: dict[str, Any] = {
            "providers": session.get_providers(),
            **({} if target.on == "cpu" else {"nodes": self._placement(session)}),
            "transfers": f"none: inputs and outputs are in {place}",
            "buffers": "bound once, reused",
            **({"sides": "declared as 0, run as free"} if self._freed else {}),
            **({"optimised": "no: every node of the file runs"} if self._as_it_stands else {}),
            "pool": "none" if target.threads == 1 else "shared by the sessions of the process",
        }

    def _options(self, *, optimise: bool = True) -> Any:
        options = self._ort.SessionOptions()
        if self._target.threads > 1:
            share_pool(self._target.threads)
            options.use_per_session_threads = False
        else:
            options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _QUIET
        if not optimise or self._as_it_stands:
            level = self._ort.GraphOptimizationLevel
            options.graph_optimization_level = level.ORT_DISABLE_ALL
        return options

    def _load(self, options: Any, model: bytes | None = None) -> Any:
        half, whole = (self._workload.precision == name for name in ("fp16", "int8"))
        settings = {
            "TensorrtExecutionProvider": {"trt_fp16_enable": half, "trt_int8_enable": whole}
        }
        providers = [(name, settings.get(name, {})) for name in self._asked]
        source = model or self._freed or self._workload.model.path
        return self._ort.InferenceSession(source, options, providers=providers)

    def _bind(self, session: Any, arrays: Arrays) -> Any:
        """Bind inputs, and outputs of the shapes that one first inference shows."""
        binding, place = session.io_binding(), _MEMORY[self._target.on]
        for tensor in session.get_inputs():
            value = self._ort.OrtValue.ortvalue_from_numpy(arrays[tensor.name], place, 0)
            binding.bind_ortvalue_input(tensor.name, value)
        for output in session.get_outputs():
            binding.bind_output(output.name, place)
        session.run_with_iobinding(binding)
        for output, value in zip(session.get_outputs(), binding.get_outputs(), strict=True):
            binding.bind_ortvalue_output(output.name, value)
        return binding

    def infer(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name."""
        names = [output.name for output in self._session.get_outputs()]
        with as_ours(self._workload):
            results = self._session.run(names, dict(arrays))
        return {name: np.asarray(result) for name, result in zip(names, results, strict=True)}

    def pause(self, seconds: float) -> None:
        """Sleep."""
        sleep(seconds)

    def graph(self) -> tuple[OpNode, ...]:
        """Nodes of the optimised model, as ONNX Runtime writes it out."""
        if self._nodes is None:
            cut = self._anatomy()
            with cut_up(self._workload):
                path = Path(self._workload.model.path)
                self._nodes = opgraph.read(cut.model, path, cut.tensors)
        return self._nodes

    def _anatomy(self) -> _Cut:
        """The optimised model, and every tensor that flows in it for these tiles."""
        if self._cut is None:
            import onnx

            from nnprof.profiler.graph import cut

            with tempfile.TemporaryDirectory() as folder, as_ours(self._workload):
                options = self._options()
                options.optimized_model_filepath = str(Path(folder, "optimised.onnx"))
                self._load(options)
                model = onnx.load(Path(folder, "optimised.onnx"))
                plain.keep_inputs(model, self._tiles)
                plain.make_dense(model)
                watched = cut.with_all_tensors(model).SerializeToString()
                session = self._load(self._options(optimise=False), watched)
                outputs = session.get_outputs()
                strange = sorted({one.type for one in outputs} - set(_TENSORS))
                if strange:
                    raise BadFile(
                        f"{self._workload.model.name} cannot be cut: ops of it make "
                        f"{', '.join(strange)}, which cannot be handed on from here.",
                        "Its ops are timed by the runtime alone.",
                    )
                names = [output.name for output in outputs]
                given = {one.name: self._tiles[one.name] for one in session.get_inputs()}
                values = session.run(names, given)
            self._cut = _Cut(model, {**self._tiles, **dict(zip(names, values, strict=True))})
        return self._cut

    def alone(self, copies: Mapping[str, int]) -> Iterator[tuple[str, Part]]:
        """Each op as a session of its own, with the weights and inputs it really had."""
        from nnprof.profiler.graph import cut

        whole = self._anatomy()
        index_of = {node.key: index for index, node in enumerate(self.graph())}
        for key, count in copies.items():
            with cut_up(self._workload):
                part = cut.carve(whole.model, index_of[key], whole.tensors, count)
            yield key, self._part(part)

    def beginnings(self) -> Iterator[Part]:
        """The network up to each node."""
        from nnprof.profiler.graph import cut

        whole = self._anatomy()
        for index in range(len(whole.model.graph.node)):
            with cut_up(self._workload):
                part = cut.beginning(whole.model, index, whole.tensors)
            yield self._part(part)

    def _part(self, model: Any) -> Part:
        whole = self._anatomy()
        with as_ours(self._workload):
            # What was cut out of an optimised graph must run as it stands.
            session = self._load(self._options(optimise=False), model.SerializeToString())
            return Bound(session, self._bind(session, whole.tensors), self._workload)

    def op_times(self, budget_s: float) -> OpPass:
        """ONNX Runtime's own profile in whole microseconds, distorted; in a session of its own."""
        try:
            nodes = self.graph()
        except BadFile:  # a graph that cannot be cut can still be profiled
            nodes = ()
        if self._cut and not self._cut.model.graph.node:
            raise BadFile(
                f"{self._workload.model.name} has no ops to time: nothing of it depends on its "
                "inputs, or they are passed on as they are.",
                "Leave them out: --ops none.",
            )
        events, (first, *timed) = self._profile(budget_s)
        runs = ort_profile.inferences(events, "ONNX Runtime's profile")[-len(timed) :]
        if launched := runs[0].launched:
            raise Unavailable(
                f"ONNX Runtime times only the launches of {launched}, not the work.",
                "Use a build of it that has --enable_cuda_profiling, or --ops none.",
            )
        timed = timed[-len(runs) :]
        whole = stats.least_disturbed(*zip(*timed, strict=True))
        ops = ort_ops.op_times(ort_ops.alike([runs[index] for index in whole]), nodes)
        return OpPass(
            method="runtime",
            latency_s=median(timed[index].seconds for index in whole),
            ops=ops,
            timed_s=first.seconds + sum(one.seconds for one in timed),
        )

    def _profile(self, budget_s: float) -> tuple[list[dict[str, Any]], list[waits.Sample]]:
        """Events of the runtime's profiler; the inferences that they are of."""
        with tempfile.TemporaryDirectory() as folder, as_ours(self._workload):
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder, "profile"))
            session = self._load(options)
            bound = Bound(session, self._bind(session, self._tiles), self._workload)
            part = waits.Undisturbed(bound, self.clock)
            first = part.timed(1)
            # The profiler keeps at most a million events; a hundred inferences settle a median.
            runs = int(min(100, max(1, budget_s / first.seconds)))
            timed = [part.timed(1) for _ in range(runs)]
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return events, [first, *timed]

    def arena(self) -> int | None:
        """What the arenas of a session like this one take for two inferences."""
        with ort_arena.logged() as log, as_ours(self._workload):
            session = self._load(self._options())
            bound = Bound(session, self._bind(session, self._tiles), self._workload)
            bound.sample(1)
            bound.close()
            log.seek(0)
            return ort_arena.taken(log.read().decode(errors="replace"))

    def _placement(self, session: Any) -> dict[str, int]:
        """How many nodes ran on which provider, of one inference.

        Raises:
            Unavailable: the asked provider was not loaded, took none, or left some to the CPU.
        """
        first = self._asked[0]
        if first not in session.get_providers():
            raise Unavailable(
                f"ONNX Runtime could not load {first}, and would have run on the CPU.",
                "Its CUDA, cuDNN and TensorRT must be those that the package was built for: "
                "https://onnxruntime.ai/docs/execution-providers",
            )
        return check_placement(self._profile(0.0)[0], self._workload.model.name, first)


def _freed(path: str) -> bytes:
    """The model with sides declared as 0 left free; ONNX Runtime takes 0 literally."""
    import onnx

    proto = onnx.load(path)
    plain.free_empty_sides(proto)
    data: bytes = proto.SerializeToString()
    return data


class _Cut(NamedTuple):
    """An optimised model and the tensors between its nodes."""

    model: Any
    tensors: dict[str, NDArray[Any]]


def check_placement(events: list[dict[str, Any]], name: str, first: str) -> dict[str, int]:
    """How many nodes of a profile ran on which provider.

    Raises:
        Unavailable: a node that computes ran on the CPU, or none on the provider `first`.
    """
    ran = {
        event["name"]: event.get("args") or {}
        for event in events
        if event.get("cat") == "Node" and event.get("name", "").endswith("_kernel_time")
    }
    where = Counter(str(one.get("provider")) for one in ran.values())
    strays = sorted(
        {
            op
            for one in ran.values()
            if one.get("provider") == _CPU
            and opgraph.kind_of(op := str(one.get("op_name"))) != "memory"
        }
    )
    if not where[first] or (strays and first != _CPU):
        left = f"{', '.join(strays)} ran on the CPU" if strays else "it took no node"
        raise Unavailable(
            f"{first} does not run {name}: {left}.",
            "Take another --backend, or another --option provider.",
        )
    return dict(where)
