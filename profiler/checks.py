"""Every warning that nnprof can give: when it is due, what it says, what to do about it.

A check is data in the Run; its sentence lives here, once. This file is longer than 400 lines
because each warning stands in it with its words and its condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from nnprof.profiler import stats, twins
from nnprof.profiler.devices.vcgencmd import UNDER_VOLTAGE
from nnprof.profiler.timing import reconcile
from nnprof.types import Check, Measurement, Process, Reading

# Each warning by its code: (sentence, advice), both filled from the check's data. The most
# important first: what is missing, what makes a time wrong, or uncertain, what to read it by.
TEXTS: dict[str, tuple[str, str]] = {
    "ops_failed": (
        "The clean time was measured, but timing the ops failed ({what}) in {count} of "
        "{processes} processes: {error}: {reason}",
        "{remedy}",
    ),
    "pass_failed": (
        "The clean time was measured, but what was asked for beside it failed ({what}) in {count} "
        "of {processes} processes: {error}: {reason}",
        "{remedy}",
    ),
    "does_not_fit": (
        "The network needs at least {least_mb:,.0f} MB, and {free_mb:,.0f} MB were free.",
        "Ask for a smaller batch: part of it lay in swap, and its time is that of the disk.",
    ),
    "memory_tight": (
        "The process took {added_mb:,.0f} MB of the {free_mb:,.0f} MB that were free.",
        "Ask for a smaller batch where anything else is to run beside it.",
    ),
    "not_clean": (
        "No clean time was given; {what} stands in for it.",
        "Do not hold the ops against it.",
    ),
    "emulated": (
        "An emulator of another kind of processor ran this: its times say nothing of the device.",
        "Measure on the device itself.",
    ),
    "debug_build": (
        "Python is a debug build, which slows every call.",
        "Measure with a release build.",
    ),
    "throttled": (
        "The device was throttled {events} times.",
        "Let it cool, improve the cooling or the power supply, or lower the power mode.",
    ),
    "throttling": (
        "The device was being throttled: {alerts}.",
        "Let it cool, improve the cooling, or lower the power mode.",
    ),
    "under_voltage": (
        "The supply's voltage fell too low while it was measured, {told}: the board lowers its "
        "clocks then.",
        "Use the supply made for the board (a Raspberry Pi 5: 5 V, 5 A), and a short cable.",
    ),
    "power_mode_changed": (
        "The power mode changed: {modes}.",
        "Measure again, and let nothing else set it meanwhile.",
    ),
    "clock_changed": (
        "The clock changed by {change:.0%} during the measurement.",
        "Lock the clocks, or let the machine warm up first.",
    ),
    "loaded_machine": (
        "Other work was running: load {load_1m:.1f}, of which {own} is ours.",
        "Stop it and measure again.",
    ),
    "interrupted": (
        "Other programs had our processor in {count} of {samples} samples, for {share:.0%} of the "
        "time; that time is not in the latency.",
        "Stop them, or keep them off this processor; what they leave in the caches still counts.",
    ),
    "not_quiet": (
        "Others kept up to {others:.1f} processors busy when {count} of {processes} processes "
        "began, after {waited_s:.0f} s of waiting for their end.",
        "Stop them, or wait longer: --patient SECONDS.",
    ),
    "stolen_time": (
        "The hypervisor took {share:.0%} of the processor time away.",
        "Measure on a machine of your own, or take more processes.",
    ),
    "levels_differ": (
        "Its processes differ by {change:.0%}, each on a level of its own.",
        "Take more processes; memory layout or a neighbour decides which level one gets.",
    ),
    "boards_differ": (
        "Boards that are alike are not as fast as each other: over all cells {slow} takes "
        "{change:.1%} longer than {fast}, more than the spread of their processes explains.",
        "Intervals hold each of these boards, and say nothing of another one. Look for what "
        "differs (nnprof doctor --device {slow}), or measure one board alone.",
    ),
    "one_board": (
        "Of boards that differ by {change:.1%} only {board} measured it, so its latency is that "
        "board's.",
        "Read it by its interval, which holds the others, too; or measure again.",
    ),
    "boards_unknown": (
        "Only {board} measured it, and no cell was measured by two boards: whether the boards of "
        "this Run differ is not known.",
        "Hold no cell of one board against one of another. Give more cells than boards, or measure "
        "one board alone.",
    ),
    "not_steady": (
        "{count} of {processes} processes were not steady ({states}).",
        "Look at the raw samples, or take more processes.",
    ),
    "few_processes": (
        "Only {processes} processes: the interval is wide or unknown.",
        "Raise the time limit, or leave out --quick.",
    ),
    "interval_wide": (
        "The interval is ±{half_width:.1%}, wider than the ±{wanted:.1%} asked for.",
        "Measure with --rigorous on a quiet machine.",
    ),
    "ops_do_not_add_up": (
        "The ops add up to {ratio:.2f} of the clean time.",
        "Trust the clean time, and the ops for their order only.",
    ),
    "methods_disagree": (
        "The methods of timing ops disagree on {count} ops of some length, most on {op} "
        "({ratio:.1f} times their errors).",
        "Their intervals hold what each method says: see show --ops.",
    ),
    "runs_differ": (
        "{left_out} of {runs} runs did not run the same nodes, and are not in the op times.",
        "Profile runs of one input.",
    ),
    "batch_told": (
        "The batch {told} was told; the shapes say {shapes}.",
        "Leave --batch out where the shapes are right.",
    ),
    "launches_only": (
        "Its ops are not shown: {provider} only launched them, and their work was not timed.",
        "Use a build of ONNX Runtime that has --enable_cuda_profiling.",
    ),
    "ops_overlap": (
        "Ops ran at the same time, so that they add up to more than the network takes.",
        "Hold none against the whole, or profile with the sequential executor.",
    ),
    "floor_high": (
        "The call itself is {share:.0%} of the latency.",
        "Read such latencies as an upper limit, or use larger batches.",
    ),
    "timer_coarse": (
        "A sample of {sample_s:.2g} s is short for a timer of {resolution_s:.2g} s.",
        "Raise the shortest sample of the plan.",
    ),
    "governor": (
        "The frequency governor is '{governor}'.",
        "Set it: sudo cpupower frequency-set -g performance",
    ),
    "clocks_free": (
        "The clocks of the board follow the load.",
        "Lock them: sudo jetson_clocks, or nnprof bench --power-mode NAME",
    ),
    "outliers": (
        "{count} of {samples} samples are outliers, the worst {worst:.1f} times the median.",
        "They are kept; the median does not feel them, a mean would.",
    ),
}
# Something that was asked for is not there: exit code 1.
INCOMPLETE = ("ops_failed", "pass_failed")

_OF_BOARDS = (stats.BOARDS_DIFFER, "one_board", "boards_unknown")  # found over all cells of a Run
_SUPPLY_EVENTS = (UNDER_VOLTAGE, "oc1")  # of a Raspberry Pi, and of a Jetson
_GOVERNORS = {"conservative", "ondemand", "powersave", "schedutil", "userspace"}
_FOREIGN_LOAD = 0.75
_STOLEN = 0.01
_WAITED = 0.01
_CLOCK = 0.05
_FLOOR = 0.10
_RESIDUAL = 0.10
_MATTERS = 0.05  # of the network's time: an op with less may be as uncertain as it likes
_LEVELS = 0.10
_TICKS = 1000
_TIGHT = 0.8
_OP_PASSES = ("runtime", "isolated", "differential", "ops")
_WITHOUT = {
    True: "Measure again, or without the ops: --ops none.",
    False: "Measure again, or without it.",
}


def find(measurement: Measurement) -> tuple[Check, ...]:
    """All checks that a finished cell deserves."""
    processes = measurement.processes
    found = [
        *_load(processes),
        *_interrupted(measurement),
        *_not_quiet(measurement),
        *_stolen(processes),
        *_governor(processes),
        *_clock(processes),
        *_throttle(processes),
        *_supply(processes),
        *_board(processes),
        *_floor(measurement),
        *_states(processes),
        *_precision(measurement),
        *_samples(measurement),
        *_ops(measurement),
        *_disagreement(measurement),
        *_memory(processes),
        *_lost(processes),
    ]
    return tuple(found)


def of_boards(cells: Sequence[Measurement]) -> tuple[tuple[Check, ...], ...]:
    """All checks of each cell of a Run that several boards shared, once all are there.

    Whether boards differ shows over all cells; it concerns each of those that have ended.
    """
    found = twins.levels(cells)
    own = [tuple(one for one in cell.checks if one.code not in _OF_BOARDS) for cell in cells]
    if found is None and len(twins.boards(cells)) > 1:
        return tuple(
            (*checks, *(_boards_unknown(cell) if cell.finished else ()))
            for cell, checks in zip(cells, own, strict=True)
        )
    if found is None or not found.differ:
        return tuple(own)
    return tuple(
        (*checks, *(_boards(cell, found) if cell.finished else ()))
        for cell, checks in zip(cells, own, strict=True)
    )


def _boards_unknown(cell: Measurement) -> Iterable[Check]:
    for board in twins.boards([cell]):
        yield Check(code="boards_unknown", data={"board": board})


def _boards(cell: Measurement, found: twins.Levels) -> Iterable[Check]:
    names = twins.boards([cell])
    if not set(names) <= set(found.steps):
        return  # nothing was measured both there and elsewhere
    yield Check(
        code=stats.BOARDS_DIFFER,
        data={
            "fast": found.fast,
            "slow": found.slow,
            "change": found.change,
            "p": found.p,
            "steps": found.steps,
            "error": found.error,
        },
    )
    if len(names) == 1:
        yield Check(code="one_board", data={"board": names[0], "change": found.change})


def rank(code: str) -> int:
    """Where a warning stands by importance, 0 first; one that nnprof does not know comes last."""
    return {known: place for place, known in enumerate(TEXTS)}.get(code, len(TEXTS))


def text(check: Check) -> tuple[str, str]:
    """The sentence and the advice of a check; an unknown code speaks for itself."""
    if check.code not in TEXTS:
        return check.code, ""
    sentence, advice = TEXTS[check.code]
    try:
        return sentence.format(**check.data), advice.format(**check.data)
    except (LookupError, ValueError, TypeError, AttributeError):  # by another version, or by hand
        told = ", ".join(f"{name} {value}" for name, value in check.data.items()) or "no figures"
        return f"{check.code} ({told}).", "" if "{" in advice else advice


def _load(processes: Iterable[Process]) -> Iterable[Check]:
    for process in processes:
        own, load = len(process.processors), process.before.load_1m
        if load is not None and load > own + _FOREIGN_LOAD:
            yield Check(code="loaded_machine", data={"load_1m": load, "own": own})
            return


def _interrupted(measurement: Measurement) -> Iterable[Check]:
    """Samples that waited, where that was more than a hundredth of the time of all."""
    pairs = [
        (seconds, waited_s)
        for samples, process in zip(measurement.samples_s, measurement.processes, strict=False)
        for seconds, waited_s in zip(samples, process.waited_s, strict=False)
    ]
    share = sum(wait for _, wait in pairs) / sum(one for one, _ in pairs) if pairs else 0.0
    if share > _WAITED:
        count = sum(wait > _WAITED * one for one, wait in pairs)
        yield Check(
            code="interrupted", data={"count": count, "samples": len(pairs), "share": share}
        )


def _not_quiet(measurement: Measurement) -> Iterable[Check]:
    """Processes that began before others had ended: their waiting was over."""
    limit_s = measurement.plan.patient_s
    late = [one for one in measurement.processes if one.others and one.patience_s >= limit_s > 0]
    if late:
        others = max(one.others or 0.0 for one in late)
        counts = {"count": len(late), "processes": len(measurement.processes)}
        yield Check(code="not_quiet", data={"others": others, "waited_s": limit_s, **counts})


def _stolen(processes: Iterable[Process]) -> Iterable[Check]:
    stolen = wall = 0.0
    for process in processes:
        before, after = process.before.stolen_s, process.after.stolen_s
        if before is not None and after is not None:
            stolen += after - before
            wall += process.timed_s
    if wall and stolen / wall > _STOLEN:
        yield Check(code="stolen_time", data={"share": stolen / wall})


def _governor(processes: Iterable[Process]) -> Iterable[Check]:
    modes = {process.before.power_mode for process in processes}
    for mode in sorted(mode for mode in modes if mode and _GOVERNORS & set(mode.split(", "))):
        yield Check(code="governor", data={"governor": mode})


def _clock(processes: Iterable[Process]) -> Iterable[Check]:
    clocks = [
        reading.clock_hz
        for process in processes
        for reading in _at_work(process)
        if reading.clock_hz
    ]
    if clocks and max(clocks) / min(clocks) - 1 > _CLOCK:
        yield Check(code="clock_changed", data={"change": max(clocks) / min(clocks) - 1})


def _at_work(process: Process) -> tuple[Reading, ...]:
    """Readings that should be alike: within the pass once it had started, else around it."""
    return process.during[1:] if len(process.during) > 2 else (process.before, process.after)


def _readings(process: Process) -> list[Reading]:
    windows = (window.reading for window in process.windows)
    return [process.before, *process.during, process.after, *windows]


def _board(processes: Iterable[Process]) -> Iterable[Check]:
    readings = [reading for process in processes for reading in _readings(process)]
    alerts = sorted({alert for reading in readings for alert in reading.alerts} - {UNDER_VOLTAGE})
    if alerts:
        yield Check(code="throttling", data={"alerts": ", ".join(alerts)})
    if any(reading.locked is False for reading in readings):
        yield Check(code="clocks_free")
    modes = {reading.power_mode for reading in readings if reading.locked is not None}
    names = sorted(mode for mode in modes if mode)
    if len(names) > 1:
        yield Check(code="power_mode_changed", data={"modes": ", ".join(names)})


def _supply(processes: Iterable[Process]) -> Iterable[Check]:
    """A supply that is too weak: seen in a reading, or told of the time between two."""
    every = list(map(_readings, processes))
    readings = [one for own in every for one in own]
    seen = sum(UNDER_VOLTAGE in one.alerts for one in readings)
    between = any(
        own[-1].events.get(kind, 0) > own[0].events.get(kind, 0)
        for own in every
        for kind in _SUPPLY_EVENTS
    )
    if seen or between:
        told = f"in {seen} of {len(readings)} readings" if seen else "between two readings"
        yield Check(code="under_voltage", data={"told": told})


def _throttle(processes: Iterable[Process]) -> Iterable[Check]:
    every = list(map(_readings, processes))
    events = sum((own[-1].throttles or 0) - (own[0].throttles or 0) for own in every)
    if events > 0:
        yield Check(code="throttled", data={"events": events})


def _floor(measurement: Measurement) -> Iterable[Check]:
    floor_s = median(process.floor_s for process in measurement.processes)
    share = floor_s / stats.latency_s(measurement) / measurement.target.streams
    if share > _FLOOR:
        yield Check(code="floor_high", data={"share": share})


def _states(processes: tuple[Process, ...]) -> Iterable[Check]:
    others = sorted({process.state for process in processes} - {"steady"})
    if others:
        count = sum(process.state != "steady" for process in processes)
        yield Check(
            code="not_steady",
            data={"count": count, "processes": len(processes), "states": ", ".join(others)},
        )


def _precision(measurement: Measurement) -> Iterable[Check]:
    medians = stats.process_medians_s(measurement)
    if len(medians) < 3 and not measurement.plan.sustained_s:  # which has one on purpose
        yield Check(code="few_processes", data={"processes": len(medians)})
    elif measurement.plan.protocol == "pairs" or measurement.plan.sustained_s:
        return  # what is asked of a pair of cells is their ratio
    elif stats.relative_half_width(measurement) > measurement.plan.interval:
        yield Check(
            code="interval_wide",
            data={
                "half_width": stats.relative_half_width(measurement),
                "wanted": measurement.plan.interval,
            },
        )


def _samples(measurement: Measurement) -> Iterable[Check]:
    medians = stats.process_medians_s(measurement)
    if max(medians) / min(medians) - 1 > _LEVELS:
        yield Check(code="levels_differ", data={"change": max(medians) / min(medians) - 1})
    ratios = [
        value / median(samples)
        for samples in stats.undisturbed_s(measurement)
        for value in samples
        if stats.is_outlier(value, samples)
    ]
    if ratios:
        count = sum(map(len, measurement.samples_s))
        data = {"count": len(ratios), "samples": count, "worst": max(ratios)}
        yield Check(code="outliers", data=data)
    resolution_s = measurement.facts.get("timer_s")
    if resolution_s:
        shortest_s = min(
            process.loops * min(samples)
            for process, samples in zip(measurement.processes, measurement.samples_s, strict=True)
        )
        if shortest_s < _TICKS * resolution_s:
            data = {"sample_s": shortest_s, "resolution_s": resolution_s}
            yield Check(code="timer_coarse", data=data)
    for code in ("emulated", "debug_build"):
        if measurement.facts.get(code):
            yield Check(code=code)


def _disagreement(measurement: Measurement) -> Iterable[Check]:
    """Ops that matter, of which one method must be wrong."""
    ops = measurement.ops.ops if measurement.ops else ()
    least_s = _MATTERS * sum(op.seconds for op in ops)
    found = [
        op for op in ops if (op.disagreement or 0.0) > reconcile.DISAGREE and op.seconds >= least_s
    ]
    if found:
        worst = max(found, key=lambda op: op.disagreement or 0.0)
        data = {"ratio": worst.disagreement, "op": f"{worst.index} {worst.op}", "count": len(found)}
        yield Check(code="methods_disagree", data=data)


def _ops(measurement: Measurement) -> Iterable[Check]:
    ratio = ops_over_clean(measurement)
    if ratio is not None and abs(ratio - 1) > _RESIDUAL:
        yield Check(code="ops_do_not_add_up", data={"ratio": ratio})


def _memory(processes: Sequence[Process]) -> Iterable[Check]:
    """Whether the cell fits into the memory that was free; the first process where it does not."""
    known = [(one, one.free_bytes) for process in processes if (one := process.memory)]
    for one, free in known:
        if free is None:
            continue
        added = (one.device_bytes if one.apart else one.added_bytes) or 0
        least, free_mb = one.least_bytes or 0, free / 1e6
        if least > free:
            yield Check(code="does_not_fit", data={"least_mb": least / 1e6, "free_mb": free_mb})
            return
        if added > _TIGHT * free:
            yield Check(code="memory_tight", data={"added_mb": added / 1e6, "free_mb": free_mb})
            return


def _lost(processes: Sequence[Process]) -> Iterable[Check]:
    """What did not work after the clean pass; of several errors the first."""
    for code, of_ops in (("ops_failed", True), ("pass_failed", False)):
        found = [
            [lost for lost in process.lost if (lost.what in _OP_PASSES) == of_ops]
            for process in processes
        ]
        lost = [one for own in found for one in own]
        if lost:
            first = lost[0]
            data = {
                "what": ", ".join(dict.fromkeys(one.what for one in lost)),
                "count": sum(map(bool, found)),
                "processes": len(processes),
                "error": first.error,
                "reason": first.reason,
                "remedy": first.remedy or _WITHOUT[of_ops],
            }
            yield Check(code=code, data=data)


def is_complete(measurement: Measurement) -> bool:
    """Whether all that was asked for beside the clean time is there, too."""
    return all(check.code not in INCOMPLETE for check in measurement.checks)


def is_clean(measurement: Measurement) -> bool:
    """Whether the latency is a clean one, not what an imported file had in its place."""
    return all(check.code != "not_clean" for check in measurement.checks)


def ops_over_clean(measurement: Measurement) -> float | None:
    """Σops over the clean latency; None where one of them was not timed."""
    if measurement.ops is None or not measurement.ops.ops or not is_clean(measurement):
        return None
    return sum(op.seconds for op in measurement.ops.ops) / stats.latency_s(measurement)
