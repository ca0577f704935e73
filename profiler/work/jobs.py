"""Jobs that a worker can be given, and their answers: the whole protocol, as types.

A job names the class of its answer, and knows which of its fields are files. A new kind of job is a
struct here, an entry in `Job` and `Answer`, and its work in `worker`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from nnprof import errors
from nnprof.errors import NnprofError
from nnprof.exporters import identity
from nnprof.exporters.conversions import Conversion
from nnprof.profiler.timing import sample
from nnprof.types import (
    Clock,
    Energy,
    FramePass,
    Loading,
    Lost,
    Memory,
    Model,
    OpPass,
    Plan,
    Reading,
    Singles,
    State,
    Stream,
    Target,
    Window,
    Workload,
)

if TYPE_CHECKING:
    from typing_extensions import Self

CHAIN = 9  # nodes of the graph whose time over that of one node tells what a node costs
_SUFFIXES = (".onnx", ".npy", ".npz")  # the rest of a file's name stays here
_MADE_UP = "generated"  # what Workload.data says where no file is meant

Put = Callable[[Path, str], str]  # a file here, and its name elsewhere → its path there


_Own = TypeVar("_Own", bound="Reply")


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer can be asked; most are given once, and whole."""

    @property
    def whole(self) -> bool:
        """Whether nothing more was to come."""
        return True

    def cut_off(self: _Own, error: NnprofError) -> _Own | None:  # noqa: ARG002  worth nothing
        """What the answer is worth when `error` ended its worker; None where nothing."""
        return None


Kind_co = TypeVar("Kind_co", bound=Reply, covariant=True)


class Asking(Protocol[Kind_co]):
    """What is the same for every job, by the class of its answer."""

    @property
    def target(self) -> Target:
        """Where it is to be done."""

    @property
    def answer(self) -> type[Kind_co]:
        """The class of its answer."""

    @property
    def opened(self) -> tuple[Workload, ...]:
        """What its worker opens sessions of."""

    def given(self, made: tuple[Made, ...]) -> Asking[Kind_co]:
        """The same job with what stands in for the ONNX file of each of `opened`."""

    def moved(self, put: Put) -> Asking[Kind_co]:
        """The same job with its files where `put` puts them."""


class Fault(Reply, frozen=True, kw_only=True, tag="fault"):
    """The answer to any job that could not be done. `error` names a class of `nnprof.errors`."""

    error: str
    reason: str
    remedy: str

    @classmethod
    def of(cls, error: NnprofError) -> Fault:
        """What an error says."""
        return cls(error=type(error).__name__, reason=error.reason, remedy=error.remedy)

    def raised(self, whose: str = "") -> NnprofError:
        """The error, to be raised elsewhere; `whose` begins its sentence."""
        kind: Any = getattr(errors, self.error, None)
        if not (isinstance(kind, type) and issubclass(kind, NnprofError)):
            kind = NnprofError
        # Some errors are built from parts; here the whole sentence is at hand.
        error: NnprofError = kind.__new__(kind)
        reason = self.reason.strip() or "The worker could not do its job, and did not say why."
        NnprofError.__init__(error, f"{whose}{reason}", self.remedy)
        return error


Made = Conversion | Fault  # what a runtime's converter made of a workload's model


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    """What every job has.

    Attributes:
        made: for each of `opened` the files that another machine made of its ONNX file, or why it
            did not; () where the worker's own runtime converts, or reads ONNX files.
    """

    target: Target
    made: tuple[Made, ...] = ()

    def given(self, made: tuple[Made, ...]) -> Self:
        """The same job with what stands in for the ONNX file of each of `opened`."""
        return replace(self, made=made)


class Probed(Reply, frozen=True, kw_only=True, tag="probed"):
    """The answer to a Probe."""

    environment: dict[str, Any]


class Probe(_Job, frozen=True, kw_only=True, tag="probe"):
    """Say what this place is, and whether it can open these workloads. Nothing is timed.

    The workloads of one model are tried in their order, until one opens.
    """

    answer: ClassVar[type[Probed]] = Probed
    timed: ClassVar[bool] = False

    workloads: tuple[Workload, ...] = ()

    @property
    def opened(self) -> tuple[Workload, ...]:
        """The workloads."""
        return self.workloads

    def moved(self, put: Put) -> Probe:
        """The same job with its files where `put` puts them."""
        return replace(self, workloads=_workloads(self.workloads, put), made=_made(self.made, put))


class Measured(Reply, frozen=True, kw_only=True, tag="measured"):
    """The answer to a Measure; see `nnprof.types.Process` and `Measurement` for the fields.

    A worker tells it after the clean pass and again after each further pass, so that nothing is
    lost if a later pass ends the worker. `pending` names the passes still to come.
    """

    clock: Clock
    facts: dict[str, Any]
    samples_s: tuple[float, ...]
    warmups_s: tuple[float, ...]
    loops: int
    state: State
    floor_s: float
    open_s: float
    timed_s: float
    processors: tuple[int, ...]
    before: Reading
    after: Reading
    op_passes: tuple[OpPass, ...] = ()
    idle: tuple[tuple[float, ...], ...] = ()
    during: tuple[Reading, ...] = ()
    energy: Energy | None = None
    cores: str = ""
    siblings: tuple[int, ...] = ()
    lost: tuple[Lost, ...] = ()
    pending: tuple[str, ...] = ()
    waited_s: tuple[float, ...] = ()
    frame: FramePass | None = None
    memory: Memory | None = None
    loading: Loading | None = None
    singles: Singles | None = None
    streams: tuple[Stream, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether no pass is still to come."""
        return not self.pending

    def cut_off(self, error: NnprofError) -> Measured:
        """What was measured before `error` ended the worker; the passes it cost are `lost`."""
        first, *others = self.pending or ("close",)
        name, after = type(error).__name__, f"It was to come after {first}, which failed."
        lost = (
            Lost(what=first, error=name, reason=error.reason, remedy=error.remedy),
            *(Lost(what=what, error="NotReached", reason=after) for what in others),
        )
        return replace(self, lost=(*self.lost, *lost), pending=())


class Windowed(Reply, frozen=True, kw_only=True, tag="windowed"):
    """One more window of a sustained pass, between two answers to a Measure; told once."""

    window: Window

    @property
    def whole(self) -> bool:
        """What it is a part of goes on."""
        return False


class Measure(_Job, frozen=True, kw_only=True, tag="measure"):
    """Measure one cell in this process.

    Attributes:
        floor, chain: graphs of one and of `CHAIN` trivial nodes: what a call and a node cost.
        ops: time the ops, too.
        energy: measure energy, too, for as long as the plan says.
        frame: cut the workload's image, and classify all of it once, too.
        arena: ask the runtime what its allocator takes, too.
        known: seconds of ops that need not be timed alone again, by `passes.share_key`.
    """

    answer: ClassVar[type[Measured]] = Measured
    timed: ClassVar[bool] = True

    workload: Workload
    plan: Plan
    floor: Model
    chain: Model
    ops: bool
    energy: bool = False
    frame: bool = False
    arena: bool = False
    known: dict[str, float] = {}

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """The cell's own."""
        return (self.workload,)

    @property
    def opened(self) -> tuple[Workload, ...]:
        """The cell's own, and the graphs of trivial nodes."""
        return (self.workload, sample.of_graph(self.floor), sample.of_graph(self.chain))

    def moved(self, put: Put) -> Measure:
        """The same job with its files where `put` puts them."""
        (workload,) = _workloads(self.workloads, put)
        floor, chain = _model(self.floor, put), _model(self.chain, put)
        made = _made(self.made, put)
        return replace(self, workload=workload, floor=floor, chain=chain, made=made)


class Looped(Reply, frozen=True, kw_only=True, tag="looped"):
    """The answer to a Loop: per turn and workload seconds of each call; readings around turns."""

    clock: Clock
    facts: dict[str, Any]
    samples_s: tuple[tuple[tuple[float, ...], ...], ...]
    open_s: tuple[tuple[float, ...], ...]
    readings: tuple[Reading, ...]
    floor_s: float
    processors: tuple[int, ...]


class Loop(_Job, frozen=True, kw_only=True, tag="loop"):
    """All networks in order, `turns` times over, in this one process: our variant of 2016."""

    answer: ClassVar[type[Looped]] = Looped
    timed: ClassVar[bool] = True

    workloads: tuple[Workload, ...]
    floor: Model
    turns: int = 4
    calls: int = 20

    @property
    def opened(self) -> tuple[Workload, ...]:
        """The workloads, and the graph of a trivial node."""
        return (*self.workloads, sample.of_graph(self.floor))

    def moved(self, put: Put) -> Loop:
        """The same job with its files where `put` puts them."""
        workloads, made = _workloads(self.workloads, put), _made(self.made, put)
        return replace(self, workloads=workloads, floor=_model(self.floor, put), made=made)


class Scored(Reply, frozen=True, kw_only=True, tag="scored"):
    """The answer to a Score: how many tiles got their label."""

    right: int


class Score(_Job, frozen=True, kw_only=True, tag="score"):
    """Classify labelled tiles; nothing is timed.

    `workload.data` names an .npz with `tiles` and `labels`; the batch is how many go in at once.
    """

    answer: ClassVar[type[Scored]] = Scored
    timed: ClassVar[bool] = False

    workload: Workload

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """The one whose tiles are classified."""
        return (self.workload,)

    @property
    def opened(self) -> tuple[Workload, ...]:
        """The same."""
        return (self.workload,)

    def moved(self, put: Put) -> Score:
        """The same job with its files where `put` puts them."""
        (workload,) = _workloads(self.workloads, put)
        return replace(self, workload=workload, made=_made(self.made, put))


class Converted(Reply, frozen=True, kw_only=True, tag="converted"):
    """The answer to a Convert."""

    made: tuple[Made, ...]


class Convert(_Job, frozen=True, kw_only=True, tag="convert"):
    """Have the runtime's converter make its files of these workloads' models; nothing is opened."""

    answer: ClassVar[type[Converted]] = Converted
    timed: ClassVar[bool] = False

    workloads: tuple[Workload, ...]

    @property
    def opened(self) -> tuple[Workload, ...]:
        """None."""
        return ()

    def moved(self, put: Put) -> Convert:
        """The same job: it is done where its files are."""
        del put
        return self


Job = Probe | Measure | Loop | Score | Convert
Answer = Probed | Measured | Windowed | Looped | Scored | Converted | Fault
Tell = Callable[[Measured | Windowed], None]


def _workloads(workloads: tuple[Workload, ...], put: Put) -> tuple[Workload, ...]:
    return tuple(
        replace(
            work,
            model=_model(work.model, put),
            data=work.data if work.data == _MADE_UP else _file(Path(work.data), put),
        )
        for work in workloads
    )


def _made(made: tuple[Made, ...], put: Put) -> tuple[Made, ...]:
    """Under their own names, which promise their content."""
    return tuple(
        one
        if isinstance(one, Fault)
        else replace(
            one, files=tuple(put(Path(file), Path(file).name) for file in one.files), carried=True
        )
        for one in made
    )


def _model(model: Model, put: Put) -> Model:
    """By its identity; with weights in files beside it, in a folder of its own with them."""
    return replace(model, path=identity.send(model, put))


def _file(path: Path, put: Put) -> str:
    digest = identity.sha256_of(path)
    return put(path, f"{digest}{path.suffix if path.suffix in _SUFFIXES else ''}")
