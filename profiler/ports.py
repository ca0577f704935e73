"""Where new runtimes and devices plug in. The core never asks who is behind a port."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from nnprof.exporters.conversions import Conversion
from nnprof.types import Clock, Kind, Method, OpPass, OpTime, Reading, Target, Workload

Arrays = Mapping[str, NDArray[Any]]


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What opening a session took, as it timed itself; the fields are those of `Loading`.

    `first_s` is None where opening infers nothing: the first inference is then that of the warm-up.
    """

    build_s: float | None = None
    first_s: float | None = None
    waited_s: float = 0.0
    cached: bool = False


class OpNode(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the graph that really runs; the fields are those of `nnprof.types.OpTime`."""

    node: str
    op: str
    kind: Kind
    origin: tuple[str, ...] = ()
    key: str = ""
    inputs: tuple[tuple[int, ...], ...] = ()
    outputs: tuple[tuple[int, ...], ...] = ()
    flops: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    bytes_weights: int | None = None
    live_bytes: int | None = None


class Part(Protocol):
    """Something that can be timed: a network, one op of it, or its beginning."""

    def sample(self, loops: int) -> float:
        """Seconds of `loops` synchronised inferences, one after the other, on bound buffers."""
        ...

    def close(self) -> None:
        """Give back memory and files."""
        ...


class Session(Part, Protocol):
    """A loaded model with bound buffers, ready to be timed. It times itself.

    Attributes:
        clock: what times it: "perf_counter", "cuda_event", "fake", or "recorded" (the device's
            own times of a run that was over before they are handed out).
            A session whose inferences are over before they are counted also says `live = False`;
            one whose inferences take no time but what it tells says `simulated = True`.
        facts: what a reader needs to judge the numbers: whether transfers are inside, threads, …

    One that times its own opening has `opening: Opening`. One whose runtime counts what its
    allocator takes has the method `arena() -> int`: bytes, after inferences of its own; it may open
    the model once more, and is not timed.
    """

    clock: Clock
    facts: dict[str, Any]

    def infer(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name, for correctness; not timed."""
        ...

    def pause(self, seconds: float) -> None:
        """Let that much time of the session's clock pass without work."""
        ...

    def graph(self) -> tuple[OpNode, ...]:
        """What really runs, after fusion, in order of execution."""
        ...

    def op_times(self, budget_s: float) -> OpPass:
        """The runtime's own per-op times, in a pass of about `budget_s` seconds."""
        ...

    def alone(self, copies: Mapping[str, int]) -> Iterator[tuple[str, Part]]:
        """The ops that `copies` names by key, each as a part of its own.

        A part of several copies runs them all in one inference: they read the same inputs, which
        stay in the caches, but each has weights of its own.

        Raises:
            Unavailable: the runtime cannot run its ops alone; `facts["parts"]` says why.
        """
        ...

    def beginnings(self) -> Iterator[Part]:
        """For each node of the graph the network up to and with it; the last is all of it.

        Each is opened when it is asked for.

        Raises:
            Unavailable: as `alone`.
        """
        ...


class Backend(Protocol):
    """A runtime.

    One that does not compute on processors alone has the attribute `on`: what it can compute on
    ("cpu", "gpu", "dla"), the usual one first.
    One that works by running programs, and so needs no worker on a board, has the attribute
    `through_shell = True`, and runs them by `place.shells.at(target.host)`. One whose
    code on a processor the cost model knows has the attribute `library`, its name (`sets.sets_of`).
    One that imports its runtime when a model is opened names the packages of it in `packages`, so
    that this can be timed apart.
    One whose runtime reads files of its own, which a converter makes, is `Converting`.
    One that pip can install on a board has `extra`, the extra of setup.cfg that brings it; "" where
    nnprof itself is enough (`nnprof.profiler.setup`).
    One that computes nothing has `computes = False`: its workers are not pinned, and need not be
    alone on a processor (`nnprof.profiler.place.claims`).
    One whose options round has the method `rounds(target) -> bool`, whether they do: the Run then
    has the accuracy of its models.
    One that runs int8 has the method `int8(target, device) -> nnprof.exporters.int8.Form`: the form
    that is right there, by the facts of the device. Without it the form is that for any runtime.
    """

    def probe(self, target: Target | None = None) -> dict[str, Any]:
        """Versions and providers.

        Args:
            target: where to look; None is here. Only a runtime that runs programs on another
                host, from here, has to look there; the others run where the worker is.

        Raises:
            Unavailable: it cannot run there; the remedy says what to install.
        """
        ...

    def open(self, workload: Workload, target: Target) -> Session:
        """Load the model and bind buffers.

        Raises:
            BadFile: the runtime refuses the model.
            OutOfMemory: it does not fit.
        """
        ...


class Converting(Backend, Protocol):
    """A runtime that reads files of its own; a converter makes them from ONNX files.

    For a board that is done on the machine that asks (`nnprof.profiler.work.carried`). So nothing
    but `converter`, `convert` and an `open` without files may need the converter, and `convert`
    needs no runtime.
    """

    def converter(self) -> dict[str, str]:
        """What converts: version by distribution.

        Raises:
            Unavailable: it is not installed here; the remedy says what to install.
        """

    def convert(self, workload: Workload, target: Target) -> Conversion:
        """The files that `open` reads, made once and kept; the target's host does not count.

        Raises:
            BadFile: the converter refuses the model.
        """

    def open(self, workload: Workload, target: Target, made: Conversion | None = None) -> Session:
        """As `Backend.open`, from these files; without them it converts first."""


class Device(Protocol):
    """A kind of device: a place, and what of it computes.

    One with memory of its own has the method `memory() -> (ours, free, why)`: bytes that this
    process has there and that are free, None where that is not known, and why ours is not.

    Attributes:
        backend: the runtime that every such device has; "" where the usual one is as likely.
        on: what can compute on such a device: "cpu", "gpu", "dla". One of which not every one has
            all tells in its facts, as `computes_on`, which it has.
    """

    backend: str
    on: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """What it is: constant while it is on. Unknown is None."""
        ...

    def processors(self, threads: int) -> tuple[int, ...]:
        """The processors that a worker with so many threads is pinned to; empty: not pinned.

        Raises:
            Unavailable: it has fewer.
        """
        ...

    def read(self, processors: tuple[int, ...], on: str = "") -> Reading:
        """How it is now.

        Args:
            processors: those that a worker is pinned to.
            on: what computes, whose clock is wanted; "" is the device's own.
        """
        ...

    def over(self, shell: Shell) -> Device:
        """A device of this kind at the other end of a shell; none of its processors is pinned to.

        Raises:
            Unavailable: its kind can only be read where it is.
        """
        ...


class Shell(Protocol):
    """A place where programs run: this machine, or a board over SSH (`place.shells`).

    It has one folder that is ours. No argument is ever read by a command interpreter.
    """

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_s: float
    ) -> CompletedProcess[bytes]:
        """Run a program there to its end, whatever its exit code; 127: there is no such program.

        Raises:
            WorkerTimeout: it had not ended after `timeout_s`; it is ended.
            CellError: the place cannot be reached any more.
        """
        ...

    def start(self, argv: Sequence[str]) -> Popen[bytes]:
        """Start a program there in a session of its own, so that it outlives us and the connection.

        Its standard input ends when this process or the connection does, or, of another machine,
        when nothing was heard of us for `far_end.SILENCE_S` seconds. Both pipes are unbuffered.
        """
        ...

    def reopened(self, then: Callable[[], None]) -> AbstractContextManager[None]:
        """Meanwhile `then` is called each time the way there broke and was opened again."""
        ...

    def path(self, name: str) -> str:
        """The full path there of a file of that name in our folder."""
        ...

    def put(self, local: Path, name: str) -> str:
        """Have a copy of a file in our folder; its path there.

        The name has a digest of the content in it, so a file of that name is not sent again.
        """
        ...

    def get(self, remote: str) -> bytes:
        """Content of a file there.

        Raises:
            FileNotFoundError: there is none.
        """
        ...


def arrays_like(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Contiguous arrays that a runtime may bind; a scalar stays one."""
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}


def timed(
    node: OpNode,
    index: int,
    seconds: float,
    method: Method,
    *,
    runs: int = 1,
    kernel: str = "",
    doubt_s: float | None = None,
) -> OpTime:
    """A node with a time; with `doubt_s`, its standard error as the pass itself saw it."""
    return OpTime(
        **msgspec.structs.asdict(node),
        index=index,
        seconds=seconds,
        method=method,
        runs=runs,
        kernel=kernel,
        low_s=None if doubt_s is None else max(0.0, seconds - 2 * doubt_s),
        high_s=None if doubt_s is None else seconds + 2 * doubt_s,
    )
