"""MNN on the CPU: one session, its inputs filled again before each inference, inside the clock.

MNN reads files of its own; the ONNX file is converted once (`nnprof.exporters.mnn`). A session
hands the memory of its inputs on to later ops, so whoever uses it must copy the tiles in again
before each inference (that inputs stay the user's, mode `Session_Input_User`, cannot be asked for
from Python). The copy is a part of what an inference costs, and is timed; `facts["copying_s"]` says
how long one takes.

Ops are those that MNN's callbacks name, with their ONNX nodes (`mnn_graph`). Callbacks from C++
into Python cost time, so op times come from a session of their own; the clean one is made in MNN's
release mode, which has none. What the callbacks of an op cost is told by inferences that skip all
ops, and is taken off (`watched`). No op is timed alone: a part of the file would be converted to
other ops, with changes of layout at its borders.

The option `weights=int8` has the converter keep weights in 8 bits. They are float32 again when the
session is made: a smaller file, the same speed, other outputs. That MNN computes with them in int8
(memory mode "low") took 25 times as long on x86 with AVX-512 (3.6.1), and is not offered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile, Unavailable, UsageError
from nnprof.exporters import mnn as exported
from nnprof.exporters.conversions import Conversion
from nnprof.profiler import inputs
from nnprof.profiler.backends import mnn_graph, watched
from nnprof.profiler.backends.mnn_graph import Ran
from nnprof.profiler.backends.mnn_library import library
from nnprof.profiler.backends.refusals import translated
from nnprof.profiler.backends.watched import Look, Looked
from nnprof.profiler.graph import opgraph
from nnprof.profiler.place import computes
from nnprof.profiler.ports import Arrays, OpNode, Part, arrays_like
from nnprof.types import Clock, OpPass, Target, Workload

# include/MNN/MNNForwardType.h, BackendConfig::PrecisionMode; Interpreter.hpp, SessionMode.
_HIGH, _LOW = 1, 2
_PRECISIONS = {"fp32": _HIGH, "fp16": _LOW, "int8": _HIGH}
_WORDS = {_HIGH: "high", _LOW: "low"}
_WATCHED, _RELEASE = 0, 1
_NO_PARTS = "MNN converts the network as a whole; a part of it would be converted to other ops."
_COPIES = 21


def _translated(workload: Workload) -> AbstractContextManager[None]:
    return translated("MNN", workload)


class _Loaded:
    """An interpreter with one session, of the shapes of the tiles."""

    def __init__(
        self, path: Path, tiles: Arrays, target: Target, mode: int, precision: int
    ) -> None:
        self._interpreter = library().module.Interpreter(str(path))
        self._interpreter.setSessionMode(mode)
        self._session = self._interpreter.createSession(
            {"backend": "CPU", "numThread": target.threads, "precision": precision}
        )
        known = self._interpreter.getSessionInputAll(self._session)
        self._tiles = {name: array for name, array in tiles.items() if name in known}
        for name, array in self._tiles.items():
            self._interpreter.resizeTensor(known[name], array.shape)
        self._interpreter.resizeSession(self._session)
        self._half = precision == _LOW
        self._slots = self._puts(tiles)

    def _puts(self, tiles: Arrays) -> list[Callable[[], object]]:
        """Calls that copy each input in, in its type.

        In precision "low" a session may keep floats in 16 bits, and its numpy views say 32 all the
        same (MNN 3.6.1 on Arm): there MNN's own copy is taken, which converts.
        """
        known = self._interpreter.getSessionInputAll(self._session)
        found: list[Callable[[], object]] = []
        for name in self._tiles:
            view = known[name].getNumpyData()
            array = np.ascontiguousarray(tiles[name].astype(view.dtype, copy=False))
            if self._half and view.dtype == np.float32:
                found.append(partial(known[name].copyFrom, _tensor(array)))
            else:
                found.append(partial(np.copyto, view, array))
        return found

    def fill(self, arrays: Arrays | None = None) -> None:
        """Copy the bound tiles in, or these."""
        for put in self._slots if arrays is None else self._puts(arrays):
            put()

    def loop(self, loops: int) -> float:
        """Seconds of so many inferences; before each the bound tiles are copied in."""
        run, session, slots = self._interpreter.runSession, self._session, self._slots
        failed = 0
        start = perf_counter()
        for _ in range(loops):
            for put in slots:
                put()
            failed |= run(session)
        seconds = perf_counter() - start
        _require_done(failed)
        return seconds

    def copying(self) -> float:
        """Seconds that copying the bound tiles in takes: the median of some."""
        return median(_timed(self.fill) for _ in range(_COPIES))

    def run(self) -> None:
        """One inference on what is in the buffers, which it overwrites."""
        _require_done(self._interpreter.runSession(self._session))

    def watched(self) -> tuple[float, list[float], list[Ran]]:
        """One inference with callbacks: its seconds, those of each op, and what the ops were."""
        ran: list[Ran] = []
        times: list[float] = []

        def before(tensors: Any, info: Any) -> bool:
            shapes = tuple(one.getShape() for one in tensors)
            ran.append(Ran(info.getName(), info.getType(), shapes, (), info.getFlops()))
            times.append(perf_counter())
            return True

        def after(tensors: Any, _: Any) -> bool:
            times[-1] = perf_counter() - times[-1]
            ran[-1] = ran[-1]._replace(outputs=tuple(one.getShape() for one in tensors))
            return True

        start = perf_counter()
        code = self._interpreter.runSessionWithCallBackInfo(self._session, before, after)
        seconds = perf_counter() - start
        _require_done(code)
        return seconds, times, ran

    def watch(self, look: Look) -> Looked:
        """One inference on the bound tiles, watched."""
        self.fill()
        return self._looked(look, run=True)

    def idle(self, look: Look) -> Looked:
        """An inference that skips all ops, which tells what the callbacks of each cost.

        MNN skips an op whose first callback says so, and calls the second one all the same
        (Pipeline::executeCallBack). None is run, because its inputs would not be there.
        """
        return self._looked(look, run=False)

    def _looked(self, look: Look, *, run: bool) -> Looked:
        """An inference with callbacks that do nothing but look at the clock."""
        begun: list[float] = []
        ended: list[float] = []

        def before(*_: Any) -> bool:
            begun.append(look())
            return run

        def after(*_: Any) -> bool:
            ended.append(look())
            return True

        start = look()
        code = self._interpreter.runSessionWithCallBackInfo(self._session, before, after)
        seconds = look() - start
        _require_done(code)
        return Looked(seconds, [end - at for at, end in zip(begun, ended, strict=True)])

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Copies of the outputs by name."""
        found = self._interpreter.getSessionOutputAll(self._session)
        return {name: self._read(tensor) for name, tensor in found.items()}

    def _read(self, tensor: Any) -> NDArray[Any]:
        view = tensor.getNumpyData()
        if not (self._half and view.dtype == np.float32):
            return np.array(view)
        host = _tensor(np.zeros(view.shape, view.dtype))
        tensor.copyToHostTensor(host)
        return np.array(host.getNumpyData())

    def memory_mb(self) -> float:
        """What the session says that it uses, in MB."""
        return float(self._interpreter.getSessionInfo(self._session, 0))


def _tensor(array: NDArray[np.float32]) -> Any:
    """The array as a tensor of MNN, in the order of dimensions that ONNX has."""
    mnn = library().module
    kind, order = mnn.Halide_Type_Float, mnn.Tensor_DimensionType_Caffe
    return mnn.Tensor(array.shape, kind, array, order)


def _timed(action: Callable[[], None]) -> float:
    start = perf_counter()
    action()
    return perf_counter() - start


def _require_done(code: int) -> None:
    if code:  # ErrorCode.hpp: 1 OUT_OF_MEMORY, 2 NOT_SUPPORT, 3 COMPUTE_SIZE_ERROR, …
        raise MemoryError if code == 1 else RuntimeError(f"an inference ended with code {code}")


class MnnSession:
    """One session of MNN. `infer` and `sample` share it."""

    clock: Clock = "perf_counter"

    def __init__(self, workload: Workload, target: Target, made: Conversion) -> None:
        self._workload, self._target, self._path = workload, target, made.path
        self._nodes: tuple[OpNode, ...] | None = None
        self._tiles = arrays_like(inputs.make(workload))
        self._precision = _PRECISIONS[workload.precision]
        self._loaded: _Loaded = self._load(_RELEASE)
        with _translated(workload):
            self._loaded.fill()
            self._loaded.run()
            missing = {one.name for one in workload.model.outputs} - set(self._loaded.outputs())
        if missing:
            raise BadFile(
                f"MNN lost the output '{min(missing)}' of {workload.model.name} when it converted "
                "it.",
                "Try another --backend.",
            )
        extensions = library().extensions
        self.facts: dict[str, Any] = {
            "transfers": "inputs copied within host memory before each inference, timed with it",
            "copying_s": self._loaded.copying(),
            "buffers": "the session's own, which it overwrites; outputs are read where they are",
            "threads": target.threads,
            "precision": _WORDS[self._precision],
            "computes": _computes(self._precision, extensions),
            **({"weights": "kept in 8 bits, made float32 when loaded"} if _eight(target) else {}),
            "extensions": extensions,
            "session_mb": round(self._loaded.memory_mb(), 3),
            **made.facts,
            "parts": _NO_PARTS,
        }

    def _load(self, mode: int) -> _Loaded:
        with _translated(self._workload):
            return _Loaded(self._path, self._tiles, self._target, mode, self._precision)

    def infer(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name; the batch must be that of the workload."""
        with _translated(self._workload):
            self._loaded.fill(arrays_like(arrays))
            self._loaded.run()
            made = self._loaded.outputs()
        return {
            one.name: made[one.name].astype(one.dtype, copy=False)
            for one in self._workload.model.outputs
        }

    def sample(self, loops: int) -> float:
        """Seconds of `loops` inferences, each with its tiles copied in."""
        with _translated(self._workload):
            return self._loaded.loop(loops)

    def pause(self, seconds: float) -> None:
        """Sleep."""
        sleep(seconds)

    def graph(self) -> tuple[OpNode, ...]:
        """The ops that MNN runs, in order, with the ONNX nodes that they came from."""
        if self._nodes is None:
            loaded = self._load(_WATCHED)
            with _translated(self._workload):
                loaded.fill()
                _, _, ran = loaded.watched()
                path = Path(self._workload.model.path)
                self._nodes = mnn_graph.nodes(ran, opgraph.asked(path, self._tiles), path)
        return self._nodes

    def op_times(self, budget_s: float) -> OpPass:
        """By MNN's callbacks around each op, less their cost, in a session of their own."""
        nodes = self.graph()
        loaded = self._load(_WATCHED)
        with _translated(self._workload):
            return watched.op_pass(nodes, loaded.watch, loaded.idle, budget_s)

    def alone(self, copies: Mapping[str, int]) -> Iterator[tuple[str, Part]]:  # noqa: ARG002
        """Not offered."""
        raise Unavailable(_NO_PARTS)

    def beginnings(self) -> Iterator[Part]:
        """Not offered."""
        raise Unavailable(_NO_PARTS)

    def close(self) -> None:
        """Drop the session and its buffers."""
        del self._loaded


def _computes(precision: int, extensions: Mapping[str, bool]) -> str:
    """What its kernels compute with, by what it says of the processor."""
    if precision == _HIGH:
        return "fp32"
    if "fp16" not in extensions:
        return "unknown: it does not say whether it finds fp16 arithmetic"
    return "fp16" if extensions["fp16"] else "fp32: it finds no fp16 arithmetic here"


class Mnn:
    """The backend."""

    packages = ("MNN",)
    on = ("cpu",)
    extra = "mnn"

    def probe(self, target: Target | None = None) -> dict[str, Any]:  # noqa: ARG002  runs here
        """Version, and the extensions of the processor that it found."""
        return {"version": exported.version(), "extensions": library().extensions}

    def rounds(self, target: Target) -> bool:
        """Whether weights are kept in 8 bits."""
        return "weights" in target.options

    def converter(self) -> dict[str, str]:
        """MNN's own."""
        return exported.converter()

    def convert(self, workload: Workload, target: Target) -> Conversion:
        """One file for all batches."""
        _require(target)
        return exported.converted(workload.model, exported.EIGHT_BITS if _eight(target) else ())

    def open(
        self, workload: Workload, target: Target, made: Conversion | None = None
    ) -> MnnSession:
        """A session on the CPU."""
        exported.version()
        _require(target)
        return MnnSession(workload, target, made or self.convert(workload, target))


def _require(target: Target) -> None:
    """Refuse what is not offered."""
    computes.require_can("mnn", Mnn.on, target)
    unknown = set(target.options) - {"weights"}
    if unknown:
        raise UsageError(
            f"The mnn backend has no option '{min(unknown)}'.", "It has one: weights=int8."
        )
    if target.options.get("weights", "int8") != "int8":
        raise UsageError(
            f"The option weights cannot be '{target.options['weights']}'.",
            "It can be: int8. Leave it out for the file's own weights.",
        )


def _eight(target: Target) -> bool:
    return target.options.get("weights") == "int8"


BACKEND = Mnn()
