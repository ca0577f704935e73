"""NVIDIA's own trtexec, on this machine or on a board that has nothing but JetPack.

Options (`--option NAME=VALUE`):

==============  ==================================================================
`trtexec`       its path; else looked for on PATH and where JetPack puts it
`engines`       how many engines the processes take in turn (1)
`cuda_graph`    `on` or `off` (off): launch the whole network at once
`transfers`     `inside` or `outside` (outside): copies to and from the device
`dla_core`      with `--on dla`: which of the board's DLA cores (0)
==============  ==================================================================

On a DLA layers that it does not take run on the GPU (`--allowGPUFallback`): without that trtexec
takes no float32 inputs there (samples/common/sampleEngines.cpp sets `kDIRECT_IO`).

trtexec times a whole run and writes the times of all its inferences. So a session runs trtexec
once, without warm-up, when the first sample is asked for. It hands out the inferences in order, the
cold ones first, and runs trtexec again when none is left. The clock is called "recorded": CUDA
events that were read before the sample was asked for.

The defaults of trtexec differ between versions, and each enqueues one inference ahead. The flags of
`pinned` make versions 8 to 11 give the same quantity: the time from just before an inference is
enqueued on an idle stream to its end; the next inference is enqueued only then. Sources:
NVIDIA/TensorRT samples/common at v8.6.1, v10.3.0 and v11.1 (sampleOptions.cpp, sampleInference.cpp:
`mDepth`).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nnprof.errors import BadFile, Unavailable
from nnprof.exporters import identity
from nnprof.exporters import tensorrt as engines
from nnprof.exporters.int8 import Form, signed
from nnprof.exporters.probes import FLOOR
from nnprof.exporters.tensorrt import Recipe
from nnprof.profiler import inputs
from nnprof.profiler.backends.tensorrt import node_of
from nnprof.profiler.backends.tensorrt_options import NO_PARTS, Choices
from nnprof.profiler.backends.trtexec_program import (
    build_flags,
    find,
    pinned,
    quoted,
    require_dla,
    shape_spec,
)
from nnprof.profiler.graph import opgraph
from nnprof.profiler.importers import trtexec_json, trtexec_layers, trtexec_ops
from nnprof.profiler.place import computes, shells
from nnprof.profiler.ports import Arrays, Opening, OpNode, Part
from nnprof.types import OpPass, Target, Workload

_CLEAN_S = 3.0  # of one run: more than a process's warm-up and samples take by default


_FLOOR_S = 0.3


_AGAIN_WARM_MS = 200  # a second run is not cold news


_GAPS = 25


_GPU_FACTS = {"gpu": "Selected Device", "compute_capability": "Compute Capability"}


class TrtexecSession:
    """One engine at one batch, run by trtexec as often as times are needed."""

    clock = "recorded"
    live = False

    def __init__(self, workload: Workload, target: Target) -> None:
        self._workload = workload
        dla = target.on == "dla"
        self._choices = Choices(target.options, more=("trtexec", *(["dla_core"] if dla else [])))
        self._core = self._choices.dla_core if dla else None
        self._shell = shells.at(target.host)
        self._program = find(self._shell, target.host, target.options.get("trtexec"))
        if dla:  # what does nothing has no precision to speak of
            floor = workload.model.name == FLOOR
            require_dla(self._program.version, "fp16" if floor else workload.precision)
        self._times_s: deque[float] = deque()
        self._gaps_s: dict[float, deque[float]] = {}
        self._gap_s = 0.0
        self._runs = 0
        self._written: set[str] = set()
        self._profile: OpPass | None = None
        self._arrays = inputs.make(workload)
        shapes = {name: array.shape for name, array in self._arrays.items()}
        self._shapes = shape_spec(workload.model, shapes)
        self._tiles = self._send(self._arrays)
        start = perf_counter()
        self._engine, index, fresh = self._take(target.host)
        self.opening = Opening(build_s=perf_counter() - start, cached=not fresh)
        choices = self._choices
        self._pinned = pinned(
            self._program.version, cuda_graph=choices.cuda_graph, transfers=choices.transfers
        ) + ([] if self._core is None else [f"--useDLACore={self._core}"])
        self.facts: dict[str, Any] = self._told(index, fresh)

    def _told(self, index: int, fresh: bool) -> dict[str, Any]:
        core, choices = self._core, self._choices
        dla = {"dla": f"core {core}; what it does not take runs on the GPU"}
        return {
            "version": ".".join(map(str, self._program.version)),
            "engine": {"index": index, "of": choices.engines, "built_now": fresh},
            "flags": [*self._build_flags(), *self._pinned],
            "transfers": "inside" if choices.transfers else "outside",
            "cuda_graph": choices.cuda_graph,
            **({} if core is None else dla),
            "latency": "from before the enqueue on an idle stream to the end, by CUDA events",
            "parts": NO_PARTS,
            "runs": 0,
        }

    # --- engine

    def _take(self, host: str) -> tuple[str, int, bool]:
        """Path of the engine whose turn it is, its index, and whether it was built just now."""
        workload, version = self._workload, self._program.version
        recipe = Recipe(
            model=workload.model.sha256,
            batches=(workload.batch,),
            shapes=inputs.profiles(workload, (workload.batch,)),
            precision=workload.precision,
            version=".".join(map(str, version)),
            device=host if self._core is None else f"{host}, DLA {self._core}",
        )
        count = 1 if workload.model.name == FLOOR else self._choices.engines
        names = [f"{recipe.key}-{index}{engines.SUFFIX}" for index in range(count)]
        folder = self._shell.path("")
        listed = self._shell.run(["ls", "-1tr", "--", folder], timeout_s=60).stdout.decode()
        built = [names.index(name) for name in listed.split("\n") if name in names]
        index = engines.next_index(built, count)
        path = self._shell.path(names[index])
        if index in built:
            self._shell.run(["touch", "--", path], timeout_s=60)
        else:
            self._build(path, f"timing-{recipe.version}-{index}.cache")
        return path, index, index not in built

    def _build_flags(self) -> list[str]:
        version, precision = self._program.version, self._workload.precision
        return build_flags(version, precision, dla_core=self._core)

    def _build(self, path: str, cache: str) -> None:
        model = self._workload.model
        there = identity.send(model, self._shell.put)
        draft = f"{path}.{uuid.uuid4().hex}.tmp"  # a build that is cut off leaves no engine
        flags = [f"--onnx={there}", f"--saveEngine={draft}"]
        flags.append(f"--timingCacheFile={self._shell.path(cache)}")
        flags += self._build_flags()
        if self._shapes:
            flags += [f"--{edge}Shapes={self._shapes}" for edge in ("min", "opt", "max")]
        self._program.run(flags, model)
        identity.require_same(model)  # or an engine of another model would stay under its key
        moved = self._shell.run(["mv", "--", draft, path], timeout_s=60)
        if moved.returncode:
            raise BadFile(
                f"trtexec left no engine of {model.name}.", "Is the disk there full? Free some."
            )

    # --- runs

    def _run(self, flags: Sequence[str], *exports: str) -> list[bytes]:
        """Run the engine; the content of the files that `--export…` flags of these names make."""
        paths = [self._shell.path(f"{uuid.uuid4().hex}.json") for _ in exports]
        self._written |= set(paths)
        every = [f"--loadEngine={self._engine}", *self._pinned, *flags]
        if self._shapes:
            every.append(f"--shapes={self._shapes}")
        every += [f"--{name}={path}" for name, path in zip(exports, paths, strict=True)]
        self._program.run(every, self._workload.model)
        self._runs += 1
        self.facts["runs"] = self._runs
        self.facts |= {name: self._program.gpu.get(said) for name, said in _GPU_FACTS.items()}
        try:
            return [self._shell.get(path) for path in paths]
        except FileNotFoundError:
            raise BadFile(
                f"trtexec wrote no file for --{' or --'.join(exports)}.",
                "Is the disk there full? Free some.",
            ) from None
        finally:
            self._clean()

    def _send(self, arrays: Arrays) -> str:
        """The tiles as files there; the value of `--loadInputs` for them."""
        pairs = []
        with tempfile.TemporaryDirectory(prefix="nnprof-") as folder:
            for name, array in arrays.items():
                raw = np.ascontiguousarray(array).tobytes()
                local = Path(folder, hashlib.sha256(raw).hexdigest())
                local.write_bytes(raw)
                there = self._shell.put(local, f"{local.name}.raw")
                pairs.append(f"{quoted(name)}:{there}")
        return ",".join(pairs)

    def _more(self, least: int, seconds: float, gap_s: float = 0.0) -> list[float]:
        """Seconds of each inference, in order: at least so many, for at least so long."""
        # Only the first run of all shall be cold; trtexec does not pause while it warms up.
        warm_ms = _AGAIN_WARM_MS if self._runs or gap_s else 0
        flags = [f"--warmUp={warm_ms}", f"--iterations={least}", f"--duration={seconds:g}"]
        flags += [f"--loadInputs={self._tiles}"]
        if gap_s:
            flags.append(f"--idleTime={gap_s * 1e3:g}")
        (times,) = self._run(flags, "exportTimes")
        return [query.latency_s for query in trtexec_json.read_times(times, "trtexec's answer")]

    def sample(self, loops: int) -> float:
        """Seconds of the next `loops` inferences of trtexec, with the asked pause before each."""
        if self._gap_s:
            queue = self._gaps_s.setdefault(self._gap_s, deque())
            seconds, gap_s, self._gap_s = 0.0, self._gap_s, 0.0
        else:
            queue = self._times_s
            seconds, gap_s = _FLOOR_S if self._workload.model.name == FLOOR else _CLEAN_S, 0.0
        while len(queue) < loops:
            least = max(loops - len(queue), _GAPS)
            queue.extend(self._more(least, seconds, gap_s)[bool(gap_s) :])
        return sum(queue.popleft() for _ in range(loops))

    def pause(self, seconds: float) -> None:
        """The next sample is taken from inferences that trtexec ran with such a pause before."""
        self._gap_s = seconds

    def infer(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name, as trtexec writes them: six digits."""
        flags = [f"--loadInputs={self._send(arrays)}", "--warmUp=0", "--iterations=1"]
        (text,) = self._run([*flags, "--duration=0"], "exportOutput")
        dtypes = {tensor.name: tensor.dtype for tensor in self._workload.model.outputs}
        return {
            one["name"]: np.array(one["values"], dtypes[one["name"]]).reshape(
                [int(side) for side in one["dimensions"].split("x")]
            )
            for one in json.loads(text)
        }

    # --- ops

    def graph(self) -> tuple[OpNode, ...]:
        """The engine's layers, with the ONNX nodes that each was made of."""
        return tuple(node_of(op) for op in self._profiled(0.0).ops)

    def op_times(self, budget_s: float) -> OpPass:
        """TensorRT's own profiler, in a run of its own, because it waits after every layer."""
        self._profile = None
        return self._profiled(budget_s)

    def _profiled(self, budget_s: float) -> OpPass:
        if self._profile is None:
            flags = ["--warmUp=0", "--iterations=20", f"--duration={budget_s:g}"]
            flags += [f"--loadInputs={self._tiles}"]
            times, layers = self._run(flags, "exportProfile", "exportLayerInfo")
            profile = trtexec_json.read_profile(times, "trtexec's profile")
            engine = trtexec_layers.read_engine(layers, "trtexec's layers")
            proto = onnx.load(self._workload.model.path, load_external_data=False)
            ops = trtexec_ops.op_times(profile, engine, opgraph.op_types(proto))
            self._profile = OpPass(
                method="runtime",
                # With its profiler on, trtexec reports no latency: "extra synchronizations".
                latency_s=sum(op.seconds for op in ops),
                ops=ops,
                timed_s=profile.count * sum(layer.mean_s for layer in profile.layers),
            )
        return self._profile

    def alone(self, copies: Mapping[str, int]) -> Iterator[tuple[str, Part]]:  # noqa: ARG002
        """Not offered."""
        raise Unavailable(NO_PARTS)

    def beginnings(self) -> Iterator[Part]:
        """Not offered."""
        raise Unavailable(NO_PARTS)

    def _clean(self) -> None:
        if self._written:
            self._shell.run(["rm", "-f", "--", *sorted(self._written)], timeout_s=60)
            self._written.clear()

    def close(self) -> None:
        """Remove what trtexec wrote for us; engines and tiles stay for the next process."""
        self._clean()


class Trtexec:
    """The backend. Its sessions stay here, and run programs where the target is."""

    through_shell = True
    on = ("gpu", "dla")

    def int8(self, target: Target, device: Mapping[str, Any]) -> Form:  # noqa: ARG002
        """Signed and symmetric, as TensorRT wants it."""
        return signed("TensorRT")

    def probe(self, target: Target | None = None) -> dict[str, Any]:
        """Where it is, and the version of TensorRT that it belongs to."""
        target = target or Target()
        program = find(shells.at(target.host), target.host, target.options.get("trtexec"))
        return {"version": ".".join(map(str, program.version)), "path": program.path}

    def open(self, workload: Workload, target: Target) -> TrtexecSession:
        """An engine of the model for this batch, built if need be."""
        computes.require_can("trtexec", self.on, target)
        return TrtexecSession(workload, target)


BACKEND = Trtexec()
