"""A runtime that computes nothing and keeps perfect time: for tests, documents and trying things.

Every inference takes a simple sum over the model's nodes, on a clock that only this file moves.
Options (`--option NAME=VALUE`), all off by default:

=============  ==================================================================
`noise`        relative standard deviation of one sample (log-normal)
`process`      the same for the level of a whole process
`correlation`  of one sample's noise with the next one's, 0…1
`drift`        relative growth from one sample to the next
`cold`         the first inference takes that many times as long; halves each time
`speed`        divides every time
`contention`   each further stream makes all of them so much slower: 0.1 is a tenth
`throttle`     times become so many times as long …
`throttle_s`   … once so many seconds of its clock have passed in the session
`fault`        `crash`, `hang`, `memory`, `error` or `bug` when the model is opened …
`fault_batch`  … at this batch (every batch if not given)
`fault_pass`   … or not then, but in this pass: `runtime`, `isolated`,
               `differential`, `idle` or `close`
=============  ==================================================================
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from nnprof.errors import BadFile, OutOfMemory, UsageError
from nnprof.exporters.probes import FLOOR
from nnprof.profiler import inputs, ports
from nnprof.profiler.graph import opgraph
from nnprof.profiler.ports import Arrays, Opening, OpNode, Part
from nnprof.types import OpPass, Target, Workload

_CALL_S = 1e-6
_NODE_S = 1e-6
_WEIGHT_S = 1e-10
_PROFILER_S = 2e-6
_BUILD_S = 1e-3  # of a node, on its clock
_DEFAULTS = {
    "noise": 0.0,
    "process": 0.0,
    "correlation": 0.0,
    "drift": 0.0,
    "cold": 1.0,
    "speed": 1.0,
    "contention": 0.0,
    "fault_batch": 0.0,
    "throttle": 1.0,
    "throttle_s": 0.0,
}
_FAULTS = ("", "crash", "hang", "memory", "error", "bug")
_PASSES = ("", "runtime", "isolated", "differential", "idle", "close")
_WORDS = {"fault": _FAULTS, "fault_pass": _PASSES}


class FakeSession:
    """Times that follow from the model, the options and the seed, and from nothing else."""

    clock = "fake"
    simulated = True

    def __init__(self, workload: Workload, target: Target) -> None:
        import onnx

        self._workload, self._options = workload, target.options
        self._numbers = _numbers(target)
        graph = onnx.load(workload.model.path, load_external_data=False).graph
        weights = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
        self._nodes = tuple(
            OpNode(
                node=node.name or f"node_{index}",
                op=node.op_type,
                kind=opgraph.kind_of(node.op_type),
                origin=(node.name,) if node.name else (),
                key=f"{node.op_type}-{sum(weights.get(name, 0) for name in node.input)}"
                f"-{workload.batch}",
            )
            for index, node in enumerate(graph.node)
        )
        self._numbers["speed"] /= 1 + self._numbers["contention"] * (target.streams - 1)
        speed = self._numbers["speed"]
        self._node_s = [
            (
                _NODE_S
                + _WEIGHT_S * workload.batch * sum(weights.get(name, 0) for name in node.input)
            )
            / speed
            for node in graph.node
        ]
        self._random = np.random.default_rng(workload.seed)
        self._level: float = math.exp(self._random.normal(0, self._numbers["process"]))
        self._samples, self._passed_s = 0, 0.0
        self._noise = float(self._random.normal())
        self._cold = self._numbers["cold"]
        self.opening = Opening(build_s=_BUILD_S * len(self._nodes) / speed)
        self.facts: dict[str, Any] = {"transfers": "none", "buffers": "none"}

    def infer(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Zeros of the declared shapes; free sides but the batch, in front or by name, are 1."""
        axes = self._workload.model.axes
        batch = next((arrays[name].shape[axis] for name, axis in axes.items()), 1)
        work = replace(self._workload, batch=batch)
        return {
            tensor.name: np.zeros(
                [
                    side if isinstance(side, int) else 1 if at else batch
                    for at, side in enumerate(inputs.sides(tensor, work))
                ],
                tensor.dtype,
            )
            for tensor in self._workload.model.outputs
        }

    def sample(self, loops: int) -> float:
        """Seconds that `loops` inferences would take."""
        numbers, correlation = self._numbers, self._numbers["correlation"]
        fresh = float(self._random.normal()) * math.sqrt(1 - correlation**2)
        self._noise = correlation * self._noise + fresh
        factor = self._level * math.exp(numbers["noise"] * self._noise)
        factor *= 1 + numbers["drift"] * self._samples
        if self._passed_s >= numbers["throttle_s"]:
            factor *= numbers["throttle"]
        cold, self._cold = self._cold, 1 + (self._cold - 1) / 2
        self._samples += 1
        seconds = float(self.clean_s(sum(self._node_s)) * factor * (loops + cold - 1))
        self._passed_s += seconds
        return seconds

    def clean_s(self, work_s: float) -> float:
        """A call that does so much work, without noise."""
        return _CALL_S / self._numbers["speed"] + work_s

    def level(self) -> float:
        """How much slower than the truth this process is; 1 without the option."""
        return self._level

    def graph(self) -> tuple[OpNode, ...]:
        """The nodes of the file, as they stand."""
        return self._nodes

    def pause(self, seconds: float) -> None:
        """The fake waits for nobody; its clock goes on."""
        self._enter("idle")
        self._passed_s += seconds

    def op_times(self, budget_s: float) -> OpPass:  # noqa: ARG002  a fake takes no time
        """The terms of the sum, each read as a real profiler does: two microseconds too long."""
        self._enter("runtime")
        ops = tuple(
            ports.timed(node, index, seconds + _PROFILER_S, "runtime", kernel="fake")
            for index, (node, seconds) in enumerate(zip(self._nodes, self._node_s, strict=True))
        )
        return OpPass(method="runtime", latency_s=_CALL_S + sum(op.seconds for op in ops), ops=ops)

    def alone(self, copies: Mapping[str, int]) -> Iterator[tuple[str, Part]]:
        """Each node alone; a fake has no caches."""
        self._enter("isolated")
        seconds = {node.key: s for node, s in zip(self._nodes, self._node_s, strict=True)}
        for key, count in copies.items():
            yield key, _FakePart(self, count * seconds[key])

    def beginnings(self) -> Iterator[Part]:
        """The sums up to each node."""
        self._enter("differential")
        for end in range(len(self._nodes)):
            yield _FakePart(self, sum(self._node_s[: end + 1]))

    def close(self) -> None:
        """Nothing to give back."""
        self._enter("close")

    def _enter(self, what: str) -> None:
        """The fault that was asked for in this pass."""
        if self._options.get("fault_pass") == what and self._workload.model.name != FLOOR:
            _misbehave(self._options.get("fault", ""), self._workload)


class _FakePart:
    """A part of a network, as noiseless as its process allows."""

    def __init__(self, session: FakeSession, work_s: float) -> None:
        self._session, self._work_s = session, work_s

    def sample(self, loops: int) -> float:
        """Seconds that `loops` runs would take."""
        return loops * self._session.clean_s(self._work_s) * self._session.level()

    def close(self) -> None:
        """Nothing to give back."""


def _numbers(target: Target) -> dict[str, float]:
    unknown = set(target.options) - set(_DEFAULTS) - set(_WORDS)
    if unknown:
        raise UsageError(
            f"The fake backend has no option '{min(unknown)}'.",
            f"It has: {', '.join((*_DEFAULTS, *_WORDS))}.",
        )
    numbers = dict(_DEFAULTS)
    for name, value in target.options.items():
        if name in _WORDS:
            if value not in _WORDS[name]:
                raise UsageError(f"No {name} '{value}'.", f"Known: {', '.join(_WORDS[name][1:])}.")
            continue
        try:
            numbers[name] = float(value)
        except ValueError as error:
            raise UsageError(f"Option {name}={value} is not a number.") from error
    return numbers


def _misbehave(fault: str, workload: Workload) -> None:
    if fault == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "hang":
        time.sleep(3600)
    elif fault == "memory":
        raise OutOfMemory(f"Batch {workload.batch} does not fit.", "Ask for a smaller batch.")
    elif fault == "error":
        raise BadFile(f"The fake refuses {Path(workload.model.path).name}.")
    elif fault == "bug":
        raise RuntimeError("The fake has a bug.")


class Fake:
    """The backend."""

    computes = False
    on = ("cpu", "gpu", "dla")
    extra = ""

    def probe(self, target: Target | None = None) -> dict[str, Any]:  # noqa: ARG002
        """It is always here."""
        return {"version": "1"}

    def open(self, workload: Workload, target: Target) -> FakeSession:
        """A session, or the fault that was asked for."""
        session = FakeSession(workload, target)
        at = _numbers(target)["fault_batch"]
        later = bool(target.options.get("fault_pass"))
        if workload.model.name != FLOOR and not later and at in (0, workload.batch):
            _misbehave(target.options.get("fault", ""), workload)
        return session


BACKEND = Fake()
