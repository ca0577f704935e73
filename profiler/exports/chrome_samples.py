"""The second track of a cell's trace: its processes and samples over time, and the machine."""

from __future__ import annotations

from collections.abc import Iterator

from nnprof.profiler.exports.chrome_events import Event, counter, known, piece
from nnprof.types import Measurement, Process, Reading, Run, Window

_Track = tuple[int, int]


def first_s(run: Run) -> float | None:
    """When the first process of the Run began, in seconds since 1970; None where unknown."""
    begun = [one.begun_at_s for cell in run.measurements for one in cell.processes]
    return min((at for at in begun if at is not None), default=None)


def sample_events(track: _Track, cell: Measurement, began_s: float | None) -> Iterator[Event]:
    """A slice for each process, with one in it for each warm-up and sample.

    A process begins when it was started, where that is known, else after the one before; within it
    all follow each other without the pauses in between, which nobody timed.
    """
    free_s = 0.0
    processes = cell.processes or (None,) * len(cell.samples_s)
    for index, process in enumerate(processes):
        begun_s = process.begun_at_s if process else None
        known_s = 0.0 if begun_s is None or began_s is None else begun_s - began_s
        start_s = max(free_s, known_s)
        inside = _pieces(track, start_s, cell.warmups_s[index], cell.samples_s[index], process)
        end_s = _end_s(inside, start_s)
        if process:
            windows = _windows(track, end_s, process.windows)
            readings = list(_readings(track[0], start_s, end_s, process))
            inside += windows
            end_s = max(_end_s(inside, start_s), start_s + process.wall_s)
            yield from readings
            yield from _counters(track[0], end_s, process.after)
        yield piece(track, f"process {index + 1}", start_s, end_s, _about(process))
        yield from inside
        free_s = end_s


def _end_s(inside: list[Event], otherwise_s: float) -> float:
    return (inside[-1]["ts"] + inside[-1]["dur"]) / 1e6 if inside else otherwise_s


def _pieces(
    track: _Track,
    start_s: float,
    warmups_s: tuple[float, ...],
    samples_s: tuple[float, ...],
    process: Process | None,
) -> list[Event]:
    """Loading, warm-up and samples, one after the other."""
    found, at_s = [], start_s
    loops = process.loops if process else 1
    if process and process.open_s > 0:
        found.append(piece(track, "load", at_s, at_s + process.open_s, {}))
        at_s += process.open_s
    for word, own in (("warm-up", warmups_s), ("sample", samples_s)):
        for number, each_s in enumerate(own, start=1):
            args = {"ms_per_inference": each_s * 1e3, "inferences": loops, "number": number}
            found.append(piece(track, word, at_s, at_s + each_s * loops, args))
            at_s += each_s * loops
    return found


def _windows(track: _Track, start_s: float, windows: tuple[Window, ...]) -> list[Event]:
    """The windows of a sustained pass, which comes after the samples."""
    return [
        piece(
            track,
            "sustained",
            start_s + one.at_s,
            start_s + one.at_s + one.seconds,
            known(
                {
                    **{"inferences": one.inferences, "median_ms": one.median_s * 1e3},
                    "p99_ms": None if one.p99_s is None else one.p99_s * 1e3,
                    **{"slowest_ms": one.slowest_s * 1e3, "missed": one.missed},
                }
            ),
        )
        for one in windows
    ]


def _about(process: Process | None) -> Event:
    if process is None:
        return {}
    return {
        "round": process.round,
        "processors": ", ".join(map(str, process.processors)),
        "state": process.state,
        "placed_by_its_start": process.begun_at_s is not None,
    }


def _readings(pid: int, start_s: float, clean_end_s: float, process: Process) -> Iterator[Event]:
    """What was read of the machine before and within the clean pass, and in a sustained one."""
    yield from _counters(pid, start_s, process.before)
    for reading in process.during:
        at_s = start_s + process.open_s + (reading.at_s or 0.0)
        yield from _counters(pid, min(at_s, clean_end_s), reading)
    for window in process.windows:
        yield from _counters(pid, clean_end_s + window.at_s + window.seconds, window.reading)


def _counters(pid: int, at_s: float, reading: Reading) -> Iterator[Event]:
    clock = None if reading.clock_hz is None else reading.clock_hz / 1e6
    values = {
        "clock, MHz": clock,
        **{f"clock of {part}, MHz": hertz / 1e6 for part, hertz in reading.clocks_hz.items()},
        "temperature, °C": reading.temperature_c,
        "power, W": reading.power_w,
        **{f"power of {rail}, W": watts for rail, watts in reading.rails_w.items()},
    }
    for name, value in values.items():
        if value is not None:
            yield counter(pid, name, at_s, value)
