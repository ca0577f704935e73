"""Joules per tile: what the rails carried while a network ran, less what they carry while idle.

A sensor has a new value only each update interval (for the INA3221 that is its number of samples
times both conversion times, docs.kernel.org/hwmon/ina3221), so a single inference cannot be seen.
Power is therefore integrated over seconds of the same work, in a pass of its own, and tiles are
counted. Idling is measured for half that time before and half after, so that what drifts evenly
cancels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from nnprof.profiler import stats
from nnprof.types import Energy, Measurement, Reading

if TYPE_CHECKING:
    from nnprof.profiler.ports import Session
    from nnprof.profiler.timing.telemetry import Watch

LEAST_UPDATES = 20  # of the sensor in a window
_READ_S = 0.05  # no sensor is read more often: reading costs power itself
_CHUNK_S = 0.05  # of work between two looks at the time
_UPDATE_S = 0.1  # taken for a sensor that does not tell
_COMPUTE = ("GPU", "VDD_CORE")  # in names of rails that feed what computes: Jetson, Raspberry Pi

Span = tuple[float, float]


class PerTile(NamedTuple):
    """Joules of one tile, from one rail, and the 95 % interval over processes."""

    rail: str
    joules: float
    low: float | None
    high: float | None


def mean_w(points: Sequence[tuple[float, float]], span: Span) -> float | None:
    """Mean power over a span of time: the trapezoidal integral over its length.

    Args:
        points: (seconds, watts), in order of time. At the edges power is taken from a straight line
            between neighbours.
        span: from, to; None where the points do not cover it.
    """
    import numpy as np

    start, end = span
    if not points or end <= start or points[0][0] > start or points[-1][0] < end:
        return None
    times, watts = (np.array(column) for column in zip(*points, strict=True))
    inside = times[(times > start) & (times < end)]
    grid = np.concatenate(([start], inside, [end]))
    power = np.interp(grid, times, watts)
    return float(np.sum((power[1:] + power[:-1]) / 2 * np.diff(grid)) / (end - start))


def summed(
    readings: Sequence[Reading], idle: tuple[Span, Span], busy: Span, tiles: int, update_s: float
) -> Energy:
    """The energy of a pass from its readings.

    The first `update_s` of a span is dropped: the sensor still averages the span before it.
    `at_s` of the readings and the spans are on one clock.
    """
    settle = update_s + _READ_S
    spans = {"before": idle[0], "busy": busy, "after": idle[1]}
    means: dict[str, dict[str, float]] = {}
    rails = sorted({rail for reading in readings for rail in reading.rails_w})
    for name, (start, end) in spans.items():
        means[name] = {}
        for rail in rails:
            points = [
                (one.at_s, one.rails_w[rail])
                for one in readings
                if one.at_s is not None and rail in one.rails_w
            ]
            watts = mean_w(points, (start + settle, end))
            if watts is not None:
                means[name][rail] = watts
    known = [rail for rail in rails if all(rail in mean for mean in means.values())]
    if not known:
        return Energy(unknown="the rails could not be read throughout")
    return Energy(
        busy_w={rail: means["busy"][rail] for rail in known},
        idle_w={rail: (means["before"][rail] + means["after"][rail]) / 2 for rail in known},
        busy_s=busy[1] - busy[0],
        tiles=tiles,
        readings=sum(busy[0] <= (one.at_s or 0.0) <= busy[1] for one in readings),
        update_s=update_s,
    )


def measure(
    session: Session,
    watch: Watch,
    facts: Mapping[str, Any],
    seconds: float,
    work: tuple[int, float],
) -> Energy:
    """Idle, work for `seconds`, idle again, with the rails read all the while.

    Args:
        session: what works.
        watch: who reads.
        facts: of the device; `rails` are its power sensors.
        seconds: of work; half of it is idled before, half after.
        work: tiles of an inference, and its seconds.
    """
    rails = facts.get("rails") or {}
    if not rails:
        why = facts.get("why", {}).get("rails", "the device shows no power sensor")
        return Energy(unknown=f"no rail can be read: {why}")
    if not getattr(session, "live", True):
        return Energy(unknown="the inferences were over before they were counted")
    if watch.why:
        return Energy(unknown=f"nobody could read the rails: {watch.why}")
    update_s = max(rail.get("update_s") or _UPDATE_S for rail in rails.values())
    if seconds < LEAST_UPDATES * update_s:
        return Energy(
            unknown=f"{seconds:g} s are fewer than {LEAST_UPDATES} updates of the sensor, which "
            f"has a new value each {update_s:g} s"
        )
    tiles, marks = _idle_work_idle(session, watch, max(update_s, _READ_S), seconds, work)
    readings = watch.end()
    start, first, second, end = (mark - marks[0] for mark in marks)
    return summed(readings, ((start, first), (second, end)), (first, second), tiles, update_s)


def _idle_work_idle(
    session: Session, watch: Watch, interval_s: float, seconds: float, work: tuple[int, float]
) -> tuple[int, list[float]]:
    """Tiles that were classified, and when each part began and ended."""
    batch, latency_s = work
    loops, tiles = max(1, int(_CHUNK_S / latency_s)), 0
    watch.begin(interval_s)  # which may wait for its process, so the time is taken after it
    marks = [time.monotonic()]
    time.sleep(seconds / 2)
    marks.append(time.monotonic())
    while time.monotonic() < marks[1] + seconds:
        session.sample(loops)
        tiles += loops * batch
    marks.append(time.monotonic())
    time.sleep(seconds / 2)
    marks.append(time.monotonic())
    time.sleep(2 * interval_s)  # until a reading has seen the end
    return tiles, marks


def per_tile(measurement: Measurement, total: str | None) -> tuple[PerTile, ...]:
    """Joules per tile of each rail that was read: the total's first, then that of what computes.

    `total` is the rail that feeds the whole device, where there is one.
    """
    passes = [
        process.energy
        for process in measurement.processes
        if process.energy and not process.energy.unknown and process.energy.tiles
    ]
    rails = sorted(
        set[str]().union(*(one.busy_w for one in passes)),
        key=lambda rail: (rail != total, not any(one in rail for one in _COMPUTE), rail),
    )
    found = []
    for rail in rails:
        joules = [
            (one.busy_w[rail] - one.idle_w[rail]) * one.busy_s / one.tiles
            for one in passes
            if rail in one.busy_w
        ]
        mean, low, high = fmean(joules), None, None
        if len(joules) > 1:
            reach = stats.t_975(len(joules) - 1) * stdev(joules) / math.sqrt(len(joules))
            low, high = mean - reach, mean + reach
        found.append(PerTile(rail, mean, low, high))
    return tuple(found)


def why_none(measurement: Measurement) -> str | None:
    """Why a cell that was asked for its energy has none; None where it has, or was not asked."""
    asked = [process.energy for process in measurement.processes if process.energy]
    if not asked or any(not one.unknown for one in asked):
        return None
    return asked[0].unknown
