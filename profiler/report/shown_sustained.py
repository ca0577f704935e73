"""Work without a rest: its windows as a table or rows, and what they say in sentences."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

from nnprof.errors import UsageError
from nnprof.profiler import steady
from nnprof.profiler.report.digits import aligned, digits
from nnprof.profiler.report.forms import TABLE, written
from nnprof.profiler.steady import Sustained, Throttle
from nnprof.terminal import Console, Table, styled
from nnprof.text import clock, duration
from nnprof.types import Measurement, Process, Run, Window

COLUMNS = (
    *("network", "batch", "at_s", "seconds", "inferences", "median_ms", "p90_ms", "p99_ms"),
    *("slowest_ms", "missed", "waited_share", "clock_mhz", "temperature_c", "power_w"),
    *("throttles", "alerts"),
)
_MOST = 24  # lines of a table
_WAITED = 0.01  # of the time: others were hardly there
_WHOLE = 0.99  # of the planned time: nothing is missing
_FEWEST = 2 * steady.LEAST

Row = dict[str, Any]


def heated(run: Run) -> list[tuple[Measurement, Process]]:
    """The cells of a Run that worked without a rest, and the process of each."""
    return [
        (one, process) for one in run.measurements for process in one.processes if process.windows
    ]


def print_all(run: Run, form: str) -> None:
    """Every window, in this form.

    Raises:
        UsageError: there are none.
    """
    if not heated(run):
        raise UsageError(
            "No cell of this Run worked without a rest.", "Measure: nnprof bench --for 10min."
        )
    if form == TABLE:
        print_windows(run, whole=True)
    else:
        sys.stdout.write(written(form, window_rows(run), COLUMNS))


def print_windows(run: Run, *, whole: bool = False) -> None:
    """Of each cell that worked without a rest: its windows, some of many or the `whole`."""
    console = Console()
    for measurement, process in heated(run):
        console.print()
        console.say(heading(measurement), "bold")
        console.print(table(process, whole=whole))
        for line in () if whole else thinned_lines(process):
            console.say(line)
        for line in lines(process, measurement.plan.sustained_s):
            console.say(line)


def heading(measurement: Measurement) -> str:
    """What the windows are of."""
    work, plan = measurement.workload, measurement.plan
    paced = f", one each {digits(plan.period_s * 1e3)} ms" if plan.period_s else ""
    return (
        f"{work.model.name}, batch {work.batch}, without a rest for {duration(plan.sustained_s)}"
        f"{paced}; windows of {digits(plan.window_s, 3)} s"
    )


def window_rows(run: Run) -> list[Row]:
    """One row per window, with the keys of COLUMNS."""
    return [
        {
            "network": one.workload.model.name,
            "batch": one.workload.batch,
            "at_s": window.at_s,
            "seconds": window.seconds,
            "inferences": window.inferences,
            "median_ms": window.median_s * 1e3,
            "p90_ms": _ms(window.p90_s),
            "p99_ms": _ms(window.p99_s),
            "slowest_ms": window.slowest_s * 1e3,
            "missed": window.missed,
            "waited_share": _share(window),
            "clock_mhz": window.reading.clock_hz and window.reading.clock_hz / 1e6,
            "temperature_c": window.reading.temperature_c,
            "power_w": window.reading.power_w,
            "throttles": window.reading.throttles,
            "alerts": " ".join(window.reading.alerts),
        }
        for one, process in heated(run)
        for window in process.windows
    ]


def table(process: Process, *, whole: bool = False) -> Table:
    """Windows in order, red where the device was throttled; of many, those of `shown`."""
    windows = process.windows if whole else shown(process)
    found = steady.throttled(process)
    columns = _columns(windows)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for index, window in enumerate(windows):
        style = "red" if any(one.at_s <= window.at_s < one.until_s for one in found) else ""
        table.add_row(*(styled(cells[index], style) for cells in columns.values()))
    return table


def shown(process: Process) -> tuple[Window, ...]:
    """Every so-and-so-many window, and those at which a level, or throttling, begins."""
    windows = process.windows
    step = math.ceil(len(windows) / _MOST)
    begins = steady.beginnings(process)
    return tuple(
        one for index, one in enumerate(windows) if index % step == 0 or one.at_s in begins
    )


def thinned_lines(process: Process) -> list[str]:
    """How many windows the table leaves out; () where it has all."""
    kept, count = len(shown(process)), len(process.windows)
    if kept == count:
        return []
    return [f"{kept} of {count} windows are shown; all of them: nnprof show RUN --windows."]


def _columns(windows: Sequence[Window]) -> dict[str, list[str]]:
    """By name the cells of each column that has any."""
    seen = [one.reading for one in windows]
    missed = [one.missed and one.missed / one.inferences for one in windows]
    waited = [_share(one) for one in windows]
    throttled = [", ".join(one.alerts) for one in seen]
    tenths = windows[0].seconds < 1
    found = {
        "from": [clock(one.at_s, tenths=tenths) for one in windows],
        "inferences": [str(one.inferences) for one in windows],
        "ms": aligned([one.median_s * 1e3 for one in windows]),
        "p99 ms": _digits([_ms(one.p99_s) for one in windows]),
        "slowest": _digits([_ms(one.slowest_s) for one in windows], 3),
        "missed": ["–" if one is None else f"{one:.2%}" for one in missed],
        "others": ["–" if one is None else f"{one:.0%}" for one in waited],
        "MHz": _digits([one.clock_hz and one.clock_hz / 1e6 for one in seen]),
        "°C": _digits([one.temperature_c for one in seen], 3),
        "W": _digits([one.power_w for one in seen], 3),
        "throttles": ["–" if one.throttles is None else str(one.throttles) for one in seen],
        "alerts": [one or "–" for one in throttled],
    }
    if max((one or 0.0 for one in waited), default=0.0) <= _WAITED:
        del found["others"]
    return {name: cells for name, cells in found.items() if set(cells) != {"–"}}


def lines(process: Process, planned_s: float) -> list[str]:
    """What the windows say: cut off or whole, steady since when, throttled when, what is unseen."""
    found = steady.found(process, planned_s)
    if found is None:
        return []
    return [
        *_cut_off(found),
        _steady(found),
        *_shifts(found),
        *[_throttled(one, found) for one in found.throttles],
        *_unseen(found),
        *_waited(found),
    ]


def _cut_off(found: Sustained) -> list[str]:
    if found.done_s >= _WHOLE * found.planned_s:
        return []
    times = f"{clock(found.done_s)} of {clock(found.planned_s)}"
    return [f"Cut off after {times}; what is said here is of that time."]


def _steady(found: Sustained) -> str:
    first = f"{_ms_words(found.first_s)} in the first {clock(found.first_until_s)}"
    now = _ms_words(found.steady_s)
    if found.end == "too_short":
        return f"Steady: unknown, for {_FEWEST} windows are needed to tell; {now} at last."
    if found.since_s is None or found.ratio is None or found.low is None or found.high is None:
        return f"Not steady at the end ({found.end}): {now} in the last windows, {first}."
    interval = f"95 %: {found.low - 1:+.1%} to {found.high - 1:+.1%}"
    return (
        f"Steady since {clock(found.since_s)}: {now}, {found.ratio - 1:+.1%} ({interval}) against "
        f"{first}."
    )


def _shifts(found: Sustained) -> list[str]:
    return [
        f"At {clock(one.at_s)} the latency went from {_ms_words(one.before_s)} to "
        f"{_ms_words(one.after_s)} ({one.after_s / one.before_s - 1:+.1%})."
        for one in found.shifts
    ]


def _throttled(one: Throttle, found: Sustained) -> str:
    to = "the end" if one.until_s >= found.done_s else clock(one.until_s)
    signs = [f"{one.events} events"] if one.events else []
    signs += one.alerts
    if one.clock_hz and signs:
        signs.append(f"clock {_mhz(one.clock_hz)}")
    what = "Throttled" if signs else "The clock was lower"
    told = ", ".join(signs) if signs else _mhz(one.clock_hz or (0.0, 0.0))
    slower = ""
    if one.latency_s:
        before, within = one.latency_s
        slower = f"; latency {_ms_words(before)} → {_ms_words(within)} ({within / before - 1:+.1%})"
    return f"{what} from {clock(one.at_s)} to {to}: {told}{slower}."


def _unseen(found: Sustained) -> list[str]:
    if not found.unseen:
        return [] if found.throttles else ["No throttling was seen."]
    reasons = "; ".join(f"{name}: {why}" for name, why in found.unseen.items())
    return [f"Not seen here: {reasons}."]


def _waited(found: Sustained) -> list[str]:
    if found.waited is None or found.waited <= _WAITED:
        return []
    return [
        f"Other programs had our processor for {found.waited:.0%} of the time; that is in the "
        "slowest inferences here, and hardly in the medians."
    ]


def _share(window: Window) -> float | None:
    return None if window.waited_s is None else min(1.0, window.waited_s / window.seconds)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _ms_words(seconds: float) -> str:
    return f"{digits(seconds * 1e3)} ms"


def _mhz(pair: tuple[float, float]) -> str:
    return " → ".join(f"{one / 1e6:.0f}" for one in pair) + " MHz"


def _digits(values: Sequence[float | None], count: int = 4) -> list[str]:
    return [digits(value, count) for value in values]
