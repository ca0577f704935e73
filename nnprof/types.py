"""The values that flow through nnprof: frozen, valid from birth, the same in memory and in JSON.

Times are seconds, sizes are bytes, clocks are hertz. Raw samples are kept; statistics are derived
from them (`nnprof.profiler.stats`). Building a value touches no file, device or environment.

This file is longer than 400 lines because it is the vocabulary: whoever reads a Run reads one file.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias, get_args

import msgspec

# The Run file's history.
# 1  first published form.
# 2  adds what a number rests on: batch axes, identity, precisions, what was left out.
SCHEMA = 2


# Bounds that no honest value reaches; beyond them arithmetic and waiting fail in other ways.
MOST_BATCH = 2**40
MOST_THREADS = 2**16
MOST_SIDE = 2**16  # pixels of an image
LOCAL = "local"  # the host of a Target that is here
# Devices that are one thing that computes; and what a device meant in Runs that do not say `on`.
_ALONE = {"cpu": "cpu", "cuda": "gpu", "pi": "cpu"}
_MEANT = {**_ALONE, "jetson": "gpu"}
MOST_TIME_S = 1e9  # that a measurement states: thirty years
MOST_S = 1e6  # eleven days; a wait of 2^31 ms or more overflows in the kernel's interface

# The words that a Run may use. Backends, devices, op types and checks are not listed: other
# distributions add their own. An error's class is not listed either: runtimes have their own.
Precision: TypeAlias = Literal[  # nnprof makes the first three; others' times may be of any
    "fp32", "fp16", "int8", "tf32", "bf16", "fp8", "int4", "unknown"
]
Normalisation: TypeAlias = Literal["folded", "op", "none", "unknown"]
BatchFrom: TypeAlias = Literal["declared", "guessed", "given", "none", ""]
OpMethod: TypeAlias = Literal["combined", "runtime", "none"]  # what a plan asks for
Protocol: TypeAlias = Literal["rounds", "loop", "loop-fresh", "pairs"]
Kind: TypeAlias = Literal[
    "conv", "gemm", "pool", "elementwise", "softmax", "recurrent", "memory", "other"
]
Method: TypeAlias = Literal[  # what gave an op's time
    "runtime", "isolated", "differential", "combined", "floor", "imported", "smallest", "largest"
]
State: TypeAlias = Literal["steady", "drifting", "bimodal", "not_reached"]
Side: TypeAlias = Literal["a", "b"]
Clock: TypeAlias = Literal["perf_counter", "cuda_event", "recorded", "fake", "unknown"]
Stopped: TypeAlias = Literal[
    "", "interval", "verdict", "processes", "time", "budget", "failure", "imported"
]


class _Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all values: immutable, unknown fields refused. Fields are given by name."""

    def _require_times(self, *names: str) -> None:
        """Refuse what no clock can have given; a difference of two times may be below 0."""
        for name in names:
            value = getattr(self, name)
            if value is not None:
                _require(abs(value) <= MOST_TIME_S, f"{name} must be a time, not {value}")

    def _require_counts(self, *names: str) -> None:
        """Refuse a number of things that is below 0."""
        for name in names:
            value = getattr(self, name)
            _require(value is None or value >= 0, f"{name} cannot be negative, but is {value}")


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ValueError(sentence)


def _is_part(value: float, whole: float) -> bool:
    return 0 <= value < whole


class Tensor(_Value, frozen=True, kw_only=True):
    """One input or output of a model.

    `shape` holds numbers, and names for free dimensions: `("batch", 1, 28, 28)`; "?" is a free
    dimension without a name.
    `dtype` is numpy's word, such as "float32".
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class Model(_Value, frozen=True, kw_only=True):
    """An ONNX file, and where it came from.

    Attributes:
        name: what tables show: the network's own text, or the file's name.
        path: the file, absolute; "" for a network that an imported table or profile only names.
        sha256: identity: of the file's bytes; where weights are in files beside it, of all their
            bytes together (`nnprof.exporters.identity`). Two models are the same when this is the
            same. "" without file.
        opset: ONNX operator set of the default domain, 0 where unknown.
        inputs, outputs: as declared in the file; () without file.
        network: notation that parses to the network (`nnprof.networks`), None for a foreign file.
        weights: "seed N" for untrained ones, "trained", "file" or "unknown".
        normalisation: "folded" (inside the first layer, costs nothing), "op" (an op of its own),
            or "none".
        dataset: the data set that it was trained on, empty where not known.
        precision: what its tensors are, as far as we made them: "fp32", "fp16" or "int8".
        conversion: how it came to that precision, empty where it was not converted.
        batch_axes: by input the axis that holds the batch; an input that is not named has none.
            None in files of schema 1: the first axis (`axes`).
        batch_from: how that is known: "declared" by the file (a free side, or a fixed leading 1),
            "guessed" from it, "given" by the user; "none" where the file does not tell, "" in files
            of schema 1.
    """

    name: str
    path: str
    sha256: str
    opset: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    network: str | None = None
    weights: str = "file"
    normalisation: Normalisation = "none"
    dataset: str = ""
    precision: Precision = "fp32"
    conversion: str = ""
    batch_axes: dict[str, int] | None = None
    batch_from: BatchFrom = ""

    def __post_init__(self) -> None:
        """Refuse a file without inputs or outputs, and a batch on an axis that is not there."""
        _require(bool(self.inputs) or not self.path, "a model needs at least one input")
        _require(bool(self.outputs) or not self.path, "a model needs at least one output")
        ranks = {tensor.name: len(tensor.shape) for tensor in self.inputs}
        for name, axis in (self.batch_axes or {}).items():
            _require(0 <= axis < ranks.get(name, 0), f"input '{name}' has no axis {axis}")

    @property
    def axes(self) -> dict[str, int]:
        """By input the axis that holds the batch; inputs that are not there have none."""
        if self.batch_axes is not None:
            return self.batch_axes
        return {
            tensor.name: 0
            for index, tensor in enumerate(self.inputs)
            if tensor.shape and (index == 0 or isinstance(tensor.shape[0], str))
        }

    @property
    def fixed_batch(self) -> int | None:
        """The batch that the file is bound to, None where it is free; 1 where it has no batch."""
        if self.batch_axes == {}:
            return 1
        axes = self.axes
        sides = (t.shape[axes[t.name]] for t in self.inputs if t.name in axes)
        return next((side for side in sides if isinstance(side, int)), None)


class Image(_Value, frozen=True, kw_only=True):
    """An image that is cut into tiles: its pixels, and how far apart tiles begin.

    Attributes:
        height, width: pixels.
        stride: pixels from one tile to the next, down and across; None: the tile's own sides, so
            that tiles lie side by side.
    """

    height: int
    width: int
    stride: int | None = None

    def __post_init__(self) -> None:
        """Refuse sides that no image has."""
        for side in (self.height, self.width, *([] if self.stride is None else [self.stride])):
            _require(1 <= side <= MOST_SIDE, f"a side must be from 1 to {MOST_SIDE}, not {side}")

    def __str__(self) -> str:
        """As it is written: 784x784, or 784x784/14."""
        apart = "" if self.stride is None else f"/{self.stride}"
        return f"{self.height}x{self.width}{apart}"


class Workload(_Value, frozen=True, kw_only=True):
    """What is asked: a model at one batch size.

    Attributes:
        batch: tiles of one inference; 1 for a model without a batch axis.
        precision: "fp32", "fp16", "int8", or "unknown" for an imported time.
        data: the tiles that go in: "generated" (from the declared shapes and types, seeded) or the
            path of a .npy or .npz file.
        dims: sizes of free dimensions other than the batch, by their name or as "INPUT.AXIS".
        counts_tiles: whether `batch` is known to be a number of tiles; False where the model tells
            of no batch and the user did not either: then there is one inference to time, no tile.
        image: that the tiles are cut from, None where they are tiles from the start. `data` is then
            the image: made up, or a file. How long an inference takes is the same question.
    """

    model: Model
    batch: int
    precision: Precision = "fp32"
    data: str = "generated"
    seed: int = 0
    dims: dict[str, int] = {}
    counts_tiles: bool = True
    image: Image | None = None

    def __post_init__(self) -> None:
        """Refuse a batch below 1 or beyond what arrays can have, and a side below 0."""
        _require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        _require(self.batch <= MOST_BATCH, f"batch must be at most {MOST_BATCH}")
        _require(self.seed >= 0, "seed cannot be negative")
        _require(all(side >= 0 for side in self.dims.values()), "a side cannot be negative")

    @property
    def tiles(self) -> int | None:
        """How many tiles one inference classifies; None where that is not known."""
        return self.batch if self.counts_tiles else None


class Target(_Value, frozen=True, kw_only=True):
    """Where it runs.

    For an imported time backend and device are whatever its source calls them, "unknown" if it does
    not.

    Attributes:
        device: the place: what facts, readings, power mode and energy are of.
        on: what of the device computes: "cpu", "gpu" or "dla"; "" where that is not known. Left
            out it is what the device meant before Runs told the two apart.
        host: the machine that the device is in, or the board that it is.
        threads: 0 where an imported time does not say.
        options: the backend's own, as text.
        streams: sessions that work at the same time, each with `threads` threads and a process of
            its own; the samples are then seconds per inference of all of them together.
    """

    backend: str = "onnxruntime"
    device: str = "cpu"
    host: str = LOCAL
    threads: int = 1
    options: dict[str, str] = {}
    streams: int = 1
    on: str = ""

    def __post_init__(self) -> None:
        """Fill in what computes; refuse numbers of threads and of streams that no machine has."""
        if not self.on:
            msgspec.structs.force_setattr(self, "on", _MEANT.get(self.device, ""))
        _require(
            1 <= self.streams <= MOST_THREADS,
            f"streams must be from 1 to {MOST_THREADS}, not {self.streams}",
        )
        _require(
            0 <= self.threads <= MOST_THREADS,
            f"threads must be from 0 to {MOST_THREADS}, not {self.threads}",
        )

    @property
    def where(self) -> str:
        """Device and what of it computes, for people: `cpu`, `cuda`, `jetson gpu`."""
        alone = self.on in ("", _ALONE.get(self.device))
        return self.device if alone else f"{self.device} {self.on}"

    @property
    def beyond_device(self) -> str:
        """What computes, where the device's name alone does not mean it; else ""."""
        return "" if self.on == _MEANT.get(self.device, "") else self.on


class Plan(_Value, frozen=True, kw_only=True):
    """How it is measured.

    Attributes:
        processes: worker processes per cell before it is decided how many more it needs.
        max_processes: how many it may have in all to make the interval narrow enough.
        fresh: how many more it gets once their spread says that these will do; what the interval
            is made of (`stats.level`). 0, or no room for so many: always `max_processes`.
        interval: wanted half-width of the 95 % interval, relative to the median.
        warmup_s, warmup_limit_s: least and most warm-up of one process; at least one inference.
        sample_s: time given to one process's samples: about as long as it takes to tell its level,
            for levels differ more than samples do (`stats`; docs/quiet.md).
        sample_min_s: a sample repeats the inference until it lasts this long.
        min_samples: samples of one process, however long an inference takes.
        cell_limit_s: no further process starts once a cell has been timed for this long.
        process_limit_s: a worker that has not answered by then is ended.
        op_method: "combined" (runtime, isolated and differential), "runtime" (the runtime's own
            profiler alone, in a pass of its own) or "none".
        op_processes: how many of a cell's processes time the ops, too.
        op_s: time given to each op pass; at least one inference after one warm-up.
        idle_s: pauses after which single inferences are timed, () for none.
        telemetry_s: time between readings of the device during the clean pass, by a process of its
            own; 0 for readings before and after only.
        energy_s: time of the pass that measures energy, and of idling around it; 0 for none.
        patient_s: how long each process may wait for other programs to end (`run.patience`).
        protocol: "rounds" (fresh processes in shuffled rounds), "loop" (our variant of
            Mattsson 2016, Table 1: all networks in order, several times over, but in one process;
            looks for drift), "loop-fresh" (as its section 3.1 lists it: `processes` loops
            over the networks, a fresh process for each network and loop) or "pairs"
            (rounds whose processes alternate with those of another Run, `Study.paired`, until the
            verdict on each two cells is clear; `processes` and `max_processes` count pairs then,
            and neither `interval` nor `fresh` means anything).
        seed: of the order of the rounds, and of who comes first in each pair.
        deadline_s: the user's time budget of one inference, or of one image where the tiles are
            cut from one; 0 for none. Verdicts are about it.
        singles_s: time given to the pass that times inferences one by one (`Singles`); 0 for none.
        period_s: in that pass, and in a sustained one, from the beginning of one inference to that
            of the next, as a camera would ask for them; 0: one right after the other.
        sustained_s: how long each process works without a rest (`Process.windows`); 0 for none.
        window_s: length of the windows of that time.
        streams_s: how long the streams of a cell work together (`Target.streams`), one stream, too;
            0: cells are measured alone, in a clean pass.
        budget_s: of measuring in all, 0 for none. What would pass it is not begun: further
            processes, op passes, at last whole cells (`Run.left_out`). A worker still at work when
            it is spent is ended.
    """

    processes: int = 3
    max_processes: int = 14
    fresh: int = 4
    interval: float = 0.01
    warmup_s: float = 0.15
    warmup_limit_s: float = 2.0
    sample_s: float = 0.3
    sample_min_s: float = 0.005
    min_samples: int = 5
    cell_limit_s: float = 60.0
    process_limit_s: float = 180.0
    op_method: OpMethod = "combined"
    op_processes: int = 3
    op_s: float = 0.3
    idle_s: tuple[float, ...] = ()
    telemetry_s: float = 0.0
    energy_s: float = 0.0
    patient_s: float = 0.0
    protocol: Protocol = "rounds"
    seed: int = 0
    budget_s: float = 0.0
    deadline_s: float = 0.0
    singles_s: float = 0.0
    period_s: float = 0.0
    sustained_s: float = 0.0
    window_s: float = 10.0
    streams_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a plan that could not end or would not measure."""
        for name, words in (("op_method", get_args(OpMethod)), ("protocol", get_args(Protocol))):
            word = getattr(self, name)
            _require(word in words, f"{name} must be one of {', '.join(words)}, not {word}")
        for name in self.__struct_fields__:
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                most = math.inf if name == "seed" else MOST_S
                if not isinstance(one, str):
                    _require(
                        0 <= one <= most and one < math.inf,
                        f"{name} must be from 0 to {most:g}, not {one}",
                    )
        _require(self.processes >= 1, "processes must be at least 1")
        _require(self.max_processes >= self.processes, "max_processes must be at least processes")
        _require(self.min_samples >= 1, "min_samples must be at least 1")
        _require(self.fresh == 0 or self.fresh >= 3, "fresh must be 0, or at least 3")
        _require(self.window_s > 0, "window_s must be above 0")


class OpTime(_Value, frozen=True, kw_only=True):
    """The time of one op that really ran.

    Attributes:
        index: position in the order of execution.
        node: the runtime's name for it.
        op: its type, such as "Conv".
        kind: conv, gemm, pool, elementwise, softmax, recurrent, memory or other.
        inputs, outputs: shapes of its tensors.
        origin: the ONNX nodes it was made from, where known.
        kernel: the implementation that ran, where the runtime tells.
        seconds: per inference.
        runs: inferences seen, or processes for a combined time.
        method: "runtime", "isolated", "differential", "combined" or "floor"; for an imported table
            "imported", and in passes of their own "smallest" and "largest" of its repetitions.
        low_s, high_s: 95 % interval, where there is one.
        disagreement: of a combined time, how far apart its methods are in units of their errors
            (the Birge ratio); above 1 it has widened the interval.
        key: the same for ops that do the same work, in any network.
        flops: of one inference, None where not counted.
        bytes_in, bytes_out, bytes_weights: read, written, and read of constants.
        rotated_bytes: of an isolated op: the weights that it went through before it met the same
            ones again, so that they were as cold as in the network; 0 where all was reused.
        live_bytes: of all tensors but weights that something still needs while the op runs
            (`nnprof.profiler.graph.lifetimes`); None where the graph is not known.
    """

    index: int
    node: str
    op: str
    kind: Kind
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    origin: tuple[str, ...]
    kernel: str
    seconds: float
    runs: int
    method: Method
    low_s: float | None = None
    high_s: float | None = None
    key: str = ""
    flops: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    bytes_weights: int | None = None
    rotated_bytes: int | None = None
    live_bytes: int | None = None
    disagreement: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no clock can have given, and counts below 0."""
        self._require_times("seconds", "low_s", "high_s")
        self._require_counts(
            *("index", "runs", "flops", "bytes_in", "bytes_out", "bytes_weights", "rotated_bytes"),
            "live_bytes",
        )


class OpPass(_Value, frozen=True, kw_only=True):
    """A pass that timed the ops, or the one estimate that was made of several passes.

    Attributes:
        method: of all its ops.
        latency_s: an inference of the whole network by this method. For "runtime": while the
            profiler watched, so that over the clean latency it is what the profiler costs.
        ops: in order of execution.
        process: the process of the cell that made it.
        timed_s: seconds of inference that it took.
    """

    method: Method
    latency_s: float
    ops: tuple[OpTime, ...]
    process: int = 0
    timed_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no clock can have given, and a process below 0."""
        self._require_times("latency_s", "timed_s")
        self._require_counts("process")


class IdlePass(_Value, frozen=True, kw_only=True):
    """Single inferences, each after a pause: per process, seconds each, () where that failed."""

    gap_s: float
    samples_s: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        """Refuse what no clock can have given."""
        _require(0 <= self.gap_s <= MOST_S, "gap_s must be a time")
        _require(
            bool(self.samples_s)
            and all(min(samples, default=0.0) >= 0 for samples in self.samples_s),
            "samples_s must be non-empty and not negative",
        )


class Reading(_Value, frozen=True, kw_only=True):
    """The machine at one moment, as far as it tells; None is unknown.

    Attributes:
        load_1m: runnable tasks, one-minute mean.
        clock_hz: of what computes: of the processors used the mean.
        temperature_c: of the hottest sensor, degrees Celsius.
        throttles: throttle events since boot: thermal ones of the processors used; on a board those
            of its over-current counters.
        stolen_s: processor time that the hypervisor gave to others since boot, all processors.
        preemptions: times that this process was put off a processor against its will.
        power_mode: the frequency governor, or the board's power mode.
        power_w: of the whole device, where one sensor measures that.
        locked: whether GPU and processors are held at one clock.
        clocks_hz: by part: gpu, cpu, emc (memory).
        rails_w: power by the rail's own name. Rails feed each other: they do not add up.
        volts: at the core, or of the supply, by name.
        alerts: what throttles at this moment, by the name that kernel or firmware has for it.
        events: those of `throttles` by kind, of a board; of a Raspberry Pi 1 for a kind that has
            happened since boot, however often.
        at_s: seconds since the clean pass began, of a reading within it.
        unknown: why a field that the device could have is None.
    """

    load_1m: float | None = None
    clock_hz: float | None = None
    temperature_c: float | None = None
    throttles: int | None = None
    stolen_s: float | None = None
    preemptions: int | None = None
    power_mode: str | None = None
    power_w: float | None = None
    locked: bool | None = None
    clocks_hz: dict[str, float] = {}
    rails_w: dict[str, float] = {}
    volts: dict[str, float] = {}
    alerts: tuple[str, ...] = ()
    events: dict[str, int] = {}
    at_s: float | None = None
    unknown: dict[str, str] = {}


class Energy(_Value, frozen=True, kw_only=True):
    """What each rail carried while a process worked, and while it idled before and after.

    Joules per tile are (busy_w - idle_w)·busy_s / tiles: `nnprof.profiler.timing.energy`.

    Attributes:
        busy_w, idle_w: mean power by rail, the idle one over both halves.
        busy_s: time of the work.
        tiles: classified in that time.
        readings: of each rail during the work.
        update_s: between new values of the slowest sensor, None where it does not tell.
        unknown: why there is none; the rest is then empty.
    """

    busy_w: dict[str, float] = {}
    idle_w: dict[str, float] = {}
    busy_s: float = 0.0
    tiles: int = 0
    readings: int = 0
    update_s: float | None = None
    unknown: str = ""

    def __post_init__(self) -> None:
        """Refuse powers and times that no sensor and no clock can have given."""
        watts = (*self.busy_w.values(), *self.idle_w.values())
        _require(all(map(math.isfinite, watts)), "busy_w and idle_w must be numbers")
        _require(0 <= self.busy_s <= MOST_TIME_S, f"busy_s must be a time, not {self.busy_s}")
        _require(min(self.tiles, self.readings) >= 0, "tiles and readings cannot be negative")


class FramePass(_Value, frozen=True, kw_only=True):
    """A whole image in one process, where the network runs.

    Attributes:
        cut_s: seconds to cut the image into all its tiles, in the model's type; raw samples.
        whole_s: seconds of one image from pixels to outputs: cut, then batch by batch given to the
            runtime with all copies that this takes. A check on the sum, not what is counted.
        cut_waited_s, whole_waited_s: of each sample what passed in waiting for a processor that
            another program had (`stats.own_s`); () where nobody counts that.
        unknown: why one of them, or both, were not measured; the rest is then empty.
    """

    cut_s: tuple[float, ...] = ()
    whole_s: tuple[float, ...] = ()
    cut_waited_s: tuple[float, ...] = ()
    whole_waited_s: tuple[float, ...] = ()
    unknown: str = ""

    def __post_init__(self) -> None:
        """Refuse what no clock can have given, and a gap without a reason."""
        for samples, waits in (
            (self.cut_s, self.cut_waited_s),
            (self.whole_s, self.whole_waited_s),
        ):
            _require(
                min(samples, default=1.0) > 0 and sum(samples) <= MOST_TIME_S,
                "cut_s and whole_s must be positive times",
            )
            _require(
                not waits or (len(waits) == len(samples) and all(map(_is_part, waits, samples))),
                "cut_waited_s and whole_waited_s must have a part of each sample",
            )
        known = bool(self.cut_s) and bool(self.whole_s)
        _require(known or bool(self.unknown), "what was not measured needs a reason")


class Singles(_Value, frozen=True, kw_only=True):
    """Inferences timed one by one, in a pass of its own after the clean pass of one process.

    A sample of the clean pass may be a mean over many inferences, and says nothing of the slowest
    ones. Here each inference has its own two readings of the clock.

    Attributes:
        samples_s: seconds of each inference, in order, from when it began; of a cell with an image,
            of each whole image: cut, and all its inferences.
        late_s: of each inference how long after its period's beginning it began, because the one
            before had not ended; () where `period_s` is 0. What a camera waits for a frame is
            `samples_s + late_s`.
        waited_s: of each what of `samples_s` passed in waiting for a processor that another program
            had; () where nobody counts that. A deadline feels it, so it is not taken off.
        period_s: as planned.
        resolution_s: the smallest step of the clock that was seen, its own cost included; 0 where
            no two samples differed.
        unknown: why there are no samples; the rest is then empty.
    """

    samples_s: tuple[float, ...] = ()
    late_s: tuple[float, ...] = ()
    waited_s: tuple[float, ...] = ()
    period_s: float = 0.0
    resolution_s: float = 0.0
    unknown: str = ""

    def __post_init__(self) -> None:
        """Refuse what no clock can have given, and a gap without a reason."""
        self._require_times("period_s", "resolution_s")
        _require(
            min(self.samples_s, default=0.0) >= 0 and sum(self.samples_s) <= MOST_TIME_S,
            "samples_s must be times",
        )
        for parts in (self.late_s, self.waited_s):
            _require(
                not parts or (len(parts) == len(self.samples_s) and min(parts) >= 0),
                "late_s and waited_s must have a part of each sample",
            )
        _require(
            bool(self.samples_s) or bool(self.unknown), "a pass without samples needs a reason"
        )

    @property
    def latencies_s(self) -> tuple[float, ...]:
        """What a camera waits for each inference: what it began too late, and its own time."""
        if not self.late_s:
            return self.samples_s
        return tuple(map(sum, zip(self.samples_s, self.late_s, strict=True)))


class Window(_Value, frozen=True, kw_only=True):
    """A part of a sustained pass: single inferences of so many seconds, summed up.

    Where tiles are cut from an image, each is a whole one: cut, and all its inferences.

    Attributes:
        at_s: its beginning, in seconds since the pass began.
        seconds: its length.
        inferences: that ended in it.
        median_s, p90_s, p99_s, slowest_s: of their latencies; a percentile is None where there were
            too few inferences for it.
        missed: how many took longer than the plan's `deadline_s`, what they began late included;
            None without one.
        reading: of the machine: clocks and powers as means over the window, all alerts that were
            seen in it, the rest as it was at its end.
        waited_s: how much of it passed in waiting for a processor that another program had; None
            where nobody counts that. It is in the latencies.
    """

    at_s: float
    seconds: float
    inferences: int
    median_s: float
    slowest_s: float
    reading: Reading
    p90_s: float | None = None
    p99_s: float | None = None
    missed: int | None = None
    waited_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no clock can have given, and a window in which nothing ended."""
        self._require_times(
            "at_s", "seconds", "median_s", "slowest_s", "p90_s", "p99_s", "waited_s"
        )
        self._require_counts("missed")
        _require(self.inferences >= 1, "inferences must be at least 1")


class Memory(_Value, frozen=True, kw_only=True):
    """Memory of one worker process, as the system and the runtime tell it; None is unknown.

    Attributes:
        before_bytes: resident before the runtime was imported.
        imported_bytes: resident after that, before the model was loaded.
        loaded_bytes: resident with the model loaded and its buffers bound.
        peak_load_bytes: the highest resident size up to then.
        peak_bytes: the highest resident size up to the end of the clean pass.
        arena_bytes: what the runtime's own allocator had taken at the end of the clean pass.
        device_bytes: that the process had on a device with memory of its own.
        free_bytes: that the machine, or a device with memory of its own, had left before that.
        apart: whether the device has memory of its own.
        whole: whether the peaks hold what the process took before the runtime was imported, too,
            because the kernel let nobody set them back.
        weights_bytes: of the model's file, each once.
        live_bytes: the most bytes of other tensors that are needed at one moment, from shapes and
            the order of the nodes. With the weights a lower bound of what the network takes
            (`nnprof.profiler.graph.lifetimes`).
        unknown: why a field is None.
    """

    before_bytes: int | None = None
    imported_bytes: int | None = None
    loaded_bytes: int | None = None
    peak_load_bytes: int | None = None
    peak_bytes: int | None = None
    arena_bytes: int | None = None
    device_bytes: int | None = None
    free_bytes: int | None = None
    apart: bool = False
    whole: bool = False
    weights_bytes: int | None = None
    live_bytes: int | None = None
    unknown: dict[str, str] = {}

    @property
    def added_bytes(self) -> int | None:
        """What the runtime and the network added to a process at the peak; None where not known."""
        if self.peak_bytes is None or self.before_bytes is None:
            return None
        return max(0, self.peak_bytes - self.before_bytes)

    @property
    def least_bytes(self) -> int | None:
        """The lower bound: weights, and what is needed at one moment; None where not known."""
        if self.weights_bytes is None or self.live_bytes is None:
            return None
        return self.weights_bytes + self.live_bytes

    def __post_init__(self) -> None:
        """Refuse sizes below 0."""
        self._require_counts(*(name for name in self.__struct_fields__ if name.endswith("_bytes")))


class Loading(_Value, frozen=True, kw_only=True):
    """What a fresh process spends before its second inference; None is unknown.

    Attributes:
        import_s: to import the runtime.
        build_s: to make a session of the model's file: parsed, optimised, compiled, and built where
            the runtime builds engines.
        cached: whether an artifact kept from before, such as an engine, made `build_s` shorter.
        first_s: the first inference.
        waited_s: how much of these passed in waiting for a processor that another program had, as
            far as that is counted.
        unknown: why a field is None.
    """

    import_s: float | None = None
    build_s: float | None = None
    cached: bool = False
    first_s: float | None = None
    waited_s: float = 0.0
    unknown: dict[str, str] = {}

    def __post_init__(self) -> None:
        """Refuse what no clock can have given."""
        self._require_times("import_s", "build_s", "first_s", "waited_s")


class Stream(_Value, frozen=True, kw_only=True):
    """One of several sessions that worked at the same time.

    Attributes:
        processors: those that it was pinned to.
        samples_s: seconds of each of its inferences while all streams worked.
    """

    processors: tuple[int, ...]
    samples_s: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what no clock can have given, and a stream that did nothing."""
        _require(
            bool(self.samples_s)
            and min(self.samples_s) >= 0
            and sum(self.samples_s) <= MOST_TIME_S,
            "samples_s must be non-empty and times",
        )


class Lost(_Value, frozen=True, kw_only=True):
    """A pass that failed after the process's clean pass had succeeded.

    Attributes:
        what: "telemetry", "idle", "frame", "singles", "sustained", "energy", "arena", "close"; of
            the ops "runtime", "isolated" or "differential", or "ops" where the whole worker ended
            in their passes.
        error: class of the error, of `nnprof.errors` or of the runtime's own; "NotReached" where an
            earlier pass ended the worker.
        reason, remedy: as in a Failure.
    """

    what: str
    error: str
    reason: str
    remedy: str = ""


class Process(_Value, frozen=True, kw_only=True):
    """One fresh worker process: the unit of repetition; in the protocol "loop" a turn.

    Attributes:
        round: which shuffled round it ran in, from 0.
        pair: of a cell of a paired Run, the pair that it belongs to, from 0: its partner is the
            process of the same number in the other Run's cell. None outside pairs.
        begun_at_s: when it was started, in seconds since 1970; None where that is not known.
        processors: those it was pinned to.
        cores: kinds of their cores ("performance", "efficiency"), empty where all are alike.
        siblings: other hardware threads of these cores, which had better been idle.
        loops: inferences per sample.
        state: steady, drifting, bimodal or not_reached (`stats.classify`).
        floor_s: seconds of one call on an identity graph through the same code.
        open_s: seconds to load the model and bind its buffers.
        timed_s: seconds of warm-up and sampling, floor and op passes left out.
        wall_s: seconds from starting the process to having its answer.
        before, after: the machine around the clean pass.
        during: the machine within it, as the plan's telemetry asked.
        energy: of a pass of its own, None where none was asked for.
        lost: what was asked for beside the clean time, and did not work.
        waited_s: of each sample the seconds per inference that passed in waiting for a processor
            that another program had (`stats.own_s`); () where nobody counts them.
        patience_s: seconds that it waited for other programs to end; the plan's limit, or more,
            where they had not.
        others: processors that other programs kept busy after that; None where nobody looked.
        frame: of the image that its tiles are cut from, None where there is none.
        singles: inferences timed one by one, None where that was not asked for.
        windows: of a sustained pass, in order; () where none was asked for.
        memory, loading: what it took; None where nobody looked, and in old files.
        streams: of each stream what it did; () where there is one stream only.
        board: of a fleet, the board that it ran on; empty where the target says it.
    """

    round: int
    processors: tuple[int, ...]
    loops: int
    state: State
    floor_s: float
    open_s: float
    timed_s: float
    wall_s: float
    before: Reading
    after: Reading
    during: tuple[Reading, ...] = ()
    energy: Energy | None = None
    cores: str = ""
    siblings: tuple[int, ...] = ()
    lost: tuple[Lost, ...] = ()
    waited_s: tuple[float, ...] = ()
    pair: int | None = None
    begun_at_s: float | None = None
    patience_s: float = 0.0
    others: float | None = None
    frame: FramePass | None = None
    singles: Singles | None = None
    windows: tuple[Window, ...] = ()
    memory: Memory | None = None
    loading: Loading | None = None
    streams: tuple[Stream, ...] = ()
    board: str = ""

    def __post_init__(self) -> None:
        """Refuse times that no clock can have given, and a round or pair below 0."""
        self._require_counts("round", "pair", "begun_at_s")
        for name in ("floor_s", "open_s", "timed_s", "wall_s"):
            value = getattr(self, name)
            _require(0 <= value <= MOST_TIME_S, f"{name} must be a time, not {value}")
        _require(self.loops >= 1, f"loops must be at least 1, not {self.loops}")


class Check(_Value, frozen=True, kw_only=True):
    """Something the reader should know about a number; text and advice are in `checks`."""

    code: str
    data: dict[str, Any] = {}


class Measurement(_Value, frozen=True, kw_only=True):
    """One cell: a workload on a target, measured in several processes.

    Attributes:
        clock: what timed it: "perf_counter", "cuda_event", "recorded" or "fake".
        samples_s: per process, seconds per inference of each sample (a mean over its `loops`).
        warmups_s: per process, the same for the warm-up; the first is the cold start.
        processes: what else is known of each process, in the same order; () if it was imported.
        ops: the best estimate of each op's time, None where none was made.
        op_passes: what that estimate was made of.
        idle: latencies after pauses.
        facts: of the session: transfers inside or outside, providers, buffers.
        checks: warnings, as data.
        stopped: why it ended: "interval" (narrow enough), "verdict" (of a pair of cells: clear
            enough), "processes" or "time" (the plan's limit),
            "budget" (that of the whole Run is spent), "failure" (see the Run's failures),
            "imported" (measured by another tool; the plan says nothing then), or "" while
            unfinished.
    """

    workload: Workload
    target: Target
    plan: Plan
    clock: Clock
    samples_s: tuple[tuple[float, ...], ...]
    warmups_s: tuple[tuple[float, ...], ...]
    processes: tuple[Process, ...]
    ops: OpPass | None = None
    op_passes: tuple[OpPass, ...] = ()
    idle: tuple[IdlePass, ...] = ()
    facts: dict[str, Any] = {}
    checks: tuple[Check, ...] = ()
    stopped: Stopped = ""

    def __post_init__(self) -> None:
        """Refuse samples that no clock can have given, and processes that do not match them."""
        _require(
            bool(self.samples_s)
            and all(
                samples and min(samples) > 0 and sum(samples) <= MOST_TIME_S
                for samples in self.samples_s
            ),
            "samples_s must be non-empty and positive",
        )
        count = len(self.samples_s) if self.processes or self.stopped != "imported" else 0
        _require(
            len(self.samples_s) == len(self.warmups_s) and len(self.processes) == count,
            "samples_s, warmups_s and processes must have one entry per process",
        )
        for samples, process in zip(self.samples_s, self.processes, strict=False):
            waits = process.waited_s
            _require(
                not waits or (len(waits) == len(samples) and all(map(_is_part, waits, samples))),
                "waited_s must have a part of each sample",
            )

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be measured."""
        return bool(self.stopped)


class Failure(_Value, frozen=True, kw_only=True):
    """A cell that could not be measured: why, and what to do. Never a zero, never a gap."""

    workload: Workload
    target: Target
    error: str
    reason: str
    remedy: str = ""


class Cell(_Value, frozen=True, kw_only=True):
    """One thing to measure. `key` is the same for the same question."""

    workload: Workload
    target: Target

    @property
    def key(self) -> str:
        """Identity of the cell: equal when model bytes, batch, sides, data and target are equal."""
        work, target = self.workload, self.target
        given = work.model.axes if work.model.batch_from == "given" else {}
        streams = [f"streams={target.streams}"] if target.streams > 1 else []
        on = [f"on={target.beyond_device}"] if target.beyond_device else []
        sides = [f"{name}={side}" for name, side in sorted(work.dims.items())]
        sides += [f"{name}@{axis}" for name, axis in sorted(given.items())]
        options = ",".join(f"{name}={value}" for name, value in sorted(target.options.items()))
        return "|".join(
            map(
                str,
                (
                    work.model.sha256 or work.model.name,
                    work.batch,
                    work.precision,
                    work.data,
                    work.seed,
                    target.backend,
                    target.device,
                    target.host,
                    target.threads,
                    options,
                    *sides,
                    *streams,
                    *on,
                ),
            )
        )


class Paired(_Value, frozen=True, kw_only=True):
    """What makes a Run one side of two whose processes alternated.

    The cells of both stand in the same order: the third of one was held against the third of the
    other.

    Attributes:
        side: "a" or "b"; ratios are b over a.
        other: name of the other side's file, in the same folder.
    """

    side: Side
    other: str

    def __post_init__(self) -> None:
        """Refuse a name that leads elsewhere."""
        _require(bool(self.other) and "/" not in self.other, "other must be the name of a file")


class Study(_Value, frozen=True, kw_only=True):
    """What one invocation set out to do, and what it spent.

    Attributes:
        name: of the study, or "bench".
        command: the arguments given.
        created: start, ISO 8601 with the time zone.
        plan: how each cell is measured.
        cells: all that was asked, in the order asked.
        wall_s: measuring time in all, resumed parts included.
        paired: the Run that this one alternates with, None for a Run of its own.
    """

    name: str
    command: tuple[str, ...]
    created: str
    plan: Plan
    cells: tuple[Cell, ...]
    wall_s: float = 0.0
    paired: Paired | None = None

    @property
    def target(self) -> Target:
        """What is measured on: with as many streams as any of the cells has."""
        return max((cell.target for cell in self.cells), key=lambda target: target.streams)

    def __post_init__(self) -> None:
        """Refuse a study that asks for nothing."""
        _require(bool(self.cells), "a study needs at least one cell")
        self._require_times("wall_s")


class Accuracy(_Value, frozen=True, kw_only=True):
    """How well a model classifies labelled tiles on the runtime that it is timed on.

    Attributes:
        sha256: of the model.
        network, precision: of the model, for those who read.
        top1: share of the tiles that get their label, None where it is not known.
        tiles: how many were classified.
        data: which tiles: "test tiles of mnist", or a file.
        reason: why it is not known, empty where it is.
    """

    sha256: str
    network: str
    precision: Precision
    top1: float | None = None
    tiles: int = 0
    data: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        _require(self.top1 is None or 0 <= self.top1 <= 1, f"top1 must be a share, not {self.top1}")
        _require(self.tiles >= 0, "tiles cannot be negative")


class Run(_Value, frozen=True, kw_only=True):
    """One invocation of `nnprof bench`, one file.

    `accuracies` is of the models in it, where precisions other than fp32 were asked for. `left_out`
    are the positions in `study.cells` of those that the plan's budget left no time for.
    """

    schema: int = SCHEMA
    study: Study
    environment: dict[str, Any]
    measurements: tuple[Measurement, ...] = ()
    failures: tuple[Failure, ...] = ()
    accuracies: tuple[Accuracy, ...] = ()
    left_out: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an environment whose parts are no objects."""
        for part in ("device", "backend", "imported"):
            told = self.environment.get(part, {})
            _require(isinstance(told, dict), f"environment.{part} must be an object")


class Epoch(_Value, frozen=True, kw_only=True):
    """One pass over the training set, or the part of it that a limit of steps leaves.

    Attributes:
        loss: mean over the steps, each before its update; None where it was no finite number.
        training_accuracy: share (0…1) of the inputs classified rightly in the steps, each before
            its update and with dropout, as Keras counts it; None for values and in old records.
        validation_loss: after the epoch; None where no finite number, and in old records.
        validation_accuracy: after the epoch; None for values.
        elapsed_s: wall time of all steps so far.
        seconds: wall time of this epoch's steps; `TrainingRecord.timed` says what it holds. None in
            old records.
        processor_s: processor time, of all threads, of the same steps: other programs make it
            hardly longer. None in old records.
    """

    loss: float | None
    validation_accuracy: float | None
    elapsed_s: float
    training_accuracy: float | None = None
    validation_loss: float | None = None
    seconds: float | None = None
    processor_s: float | None = None


class TrainingRecord(_Value, frozen=True, kw_only=True):
    """How a network was trained, saved beside its weights.

    Attributes:
        network: notation of the network.
        dataset: its name.
        normalisation: "channel", "pixel", "unit" or "none"; equations 1-3 of Mattsson 2016 are
            per pixel.
        settings: optimiser, learning rate, batch and so on, as given.
        seed: of the weights, the split and the order.
        epochs: one entry per pass.
        best_epoch: index of the epoch whose weights were kept.
        time_to: accuracy in percent ("90", "95", "97") → [seconds, epochs], None if not reached.
        test_accuracy: of the kept weights on the test set, None before the end and for values.
        finished: False while training goes on, or was cut off.
        test_loss: of the kept weights on the test set; None before the end, in old records, and
            where it is no finite number.
        subset: what part of the published data set was used; empty where it was the whole.
        device: facts of what trained: "device" (cpu, cuda), "processor", "gpu", "torch", "cuda".
        timed: what the seconds of the epochs hold.
        study: the study that the training is part of; empty where there is none.
        cell: its name within the study.
        varied: what the study varies → its value here.
    """

    network: str
    dataset: str
    normalisation: str
    settings: dict[str, Any]
    seed: int
    epochs: tuple[Epoch, ...] = ()
    best_epoch: int | None = None
    time_to: dict[str, tuple[float, float] | None] = {}
    test_accuracy: float | None = None
    finished: bool = False
    test_loss: float | None = None
    subset: str = ""
    device: dict[str, str] = {}
    timed: str = ""
    study: str = ""
    cell: str = ""
    varied: dict[str, str] = {}

    def __post_init__(self) -> None:
        """Refuse a best epoch that was never trained."""
        best = self.best_epoch
        _require(best is None or 0 <= best < len(self.epochs), f"there is no epoch {best}")
