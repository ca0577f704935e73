"""What a Run says in sentences: what its numbers rest on, and what is missing. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from statistics import median

from nnprof.profiler import checks, stats, turns
from nnprof.profiler.report.digits import aligned, digits
from nnprof.profiler.report.rows import total_rail
from nnprof.profiler.timing import energy
from nnprof.types import (
    Failure,
    Measurement,
    OpPass,
    Run,
    Workload,
)


def limit_lines(run: Run) -> list[str]:
    """A sentence where limits of the machine are known, but of another state of it."""
    why = (run.environment.get("not_used") or {}).get("roofline")
    return [f"No limits: {why}. Measure: nnprof devices --measure."] if why else []


def accuracy_lines(run: Run) -> list[str]:
    """One line per network: the accuracy in each precision, or why it is not known."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in sorted(run.accuracies, key=lambda one: one.precision != "fp32"):
        about = f"unknown: {one.reason}"
        if one.top1 is not None:
            about = f"on {one.tiles} {one.data}"
        share = f"{one.precision} {one.top1:.2%}" if one.top1 is not None else one.precision
        found.setdefault((one.network, about), []).append(share)
    return [
        f"Accuracy of {network} ({', '.join(shares)}) {about}."
        for (network, about), shares in found.items()
    ]


def conversion_lines(run: Run) -> list[str]:
    """One line per way in which models of the Run came to their precision."""
    models = [cell.workload.model for cell in run.study.cells]
    found = dict.fromkeys((one.precision, one.conversion) for one in models if one.conversion)
    return [f"{precision}: {how.removeprefix(precision).strip()}." for precision, how in found]


def residual_lines(measurement: Measurement) -> list[str]:
    """Σops, clean time and residual of the estimate; then by method; what the profiler costs."""
    if measurement.ops is None:
        return [f"No op times: {_why_no_ops(measurement)}."]
    if not checks.is_clean(measurement):
        ops_s = sum(op.seconds for op in measurement.ops.ops)
        return [f"Σops {digits(ops_s * 1e3)} ms; no clean time; method {measurement.ops.method}."]
    clean_s = stats.latency_s(measurement)
    ops_s = sum(op.seconds for op in measurement.ops.ops)
    ops_ms, clean_ms, rest_ms = aligned([ops_s * 1e3, clean_s * 1e3, (clean_s - ops_s) * 1e3])
    lines = [
        f"Σops {ops_ms} ms / clean {clean_ms} ms / residual {rest_ms} ms "
        f"({(clean_s - ops_s) / clean_s:+.1%}); method {measurement.ops.method}."
    ]
    passes: dict[str, list[OpPass]] = defaultdict(list)
    for one in measurement.op_passes:
        passes[one.method].append(one)
    sums_s = {method: median(map(_sum_s, own)) for method, own in passes.items()}
    sums_s.pop("floor", None)
    if len(sums_s) > 1:
        each = (
            f"{method} {digits(sum_s * 1e3)} ms ({(clean_s - sum_s) / clean_s:+.1%})"
            for method, sum_s in sums_s.items()
        )
        lines.append(f"Σops (residual) by method: {', '.join(each)}.")
    if runtime := passes["runtime"]:
        cost = median(one.latency_s for one in runtime) / clean_s - 1
        lines.append(f"While the runtime's profiler watched, an inference took {cost:+.1%}.")
    return lines + [_state_line(one) for one in passes["isolated"][:1]]


def _why_no_ops(measurement: Measurement) -> str:
    if measurement.stopped == "imported":
        return "in what was imported"
    if any(check.code == "ops_failed" for check in measurement.checks):
        return "their passes failed; a note says why"
    return "measured with --ops none"


def _sum_s(one: OpPass) -> float:
    """Σops of a pass; the call, which the runtime's profiler does not see, is in the others'."""
    return sum(op.seconds for op in one.ops) if one.method == "runtime" else one.latency_s


def _state_line(isolated: OpPass) -> str:
    """The state of the caches in which ops ran alone."""
    rotated = [op.rotated_bytes for op in isolated.ops if op.rotated_bytes]
    reused = f"{len(isolated.ops) - len(rotated)} of {len(isolated.ops)} ops alone"
    if not rotated:
        return f"Caches: {reused} on buffers reused, as warm as in the network."
    return (
        f"Caches: {reused} on buffers reused; {len(rotated)} with weights rotated through "
        f"{digits(min(rotated) / 1e6, 2)} MB or more, as cold as in the network."
    )


def batch_lines(run: Run) -> list[str]:
    """Where the batch of each network lies, where that is not plainly the first axis."""
    models = {cell.workload.model.sha256: cell.workload for cell in run.study.cells}
    lines = dict.fromkeys(_batch_line(work) for work in models.values())
    given = {f"{name}={side}" for work in models.values() for name, side in work.dims.items()}
    sides = [f"Free sides, as given: {', '.join(sorted(given))}."] if given else []
    return [line for line in lines if line] + sides


def _batch_line(work: Workload) -> str:
    model, axes = work.model, work.model.axes
    about = f"Batch of {model.name}:"
    if not work.counts_tiles:
        example = next((one.name for one in model.inputs if one.shape), "INPUT")
        return (
            f"{about} unknown; one inference is timed, and no tiles are counted. Say where it is "
            f"(--batch-axis {example}=AXIS), or that an inference is one tile (--batch 1)."
        )
    if not axes:
        return f"{about} none; an inference counts as one tile." if model.batch_from else ""
    whole = [one.name for one in model.inputs if one.shape and one.name not in axes]
    plain = not whole and not any(axes.values())
    if plain and model.batch_from in ("", "declared"):
        return ""
    places = ", ".join(f"axis {axis} of {name}" for name, axis in axes.items())
    rest = f" {', '.join(whole)} given whole." if whole else ""
    if model.batch_from == "guessed":
        first = next(iter(axes))
        return (
            f"{about} {places}, guessed from the shapes.{rest} If it is another: --batch-axis "
            f"{first}=AXIS, or {first}=none."
        )
    return f"{about} {places}, as {'given' if model.batch_from == 'given' else 'declared'}.{rest}"


def idle_lines(run: Run) -> list[str]:
    """Latency after pauses, over that without: what back-to-back loops hide."""
    lines = []
    for measurement in run.measurements:
        clean_s = stats.latency_s(measurement)
        for one in measurement.idle:
            if not any(one.samples_s):  # a check says why
                continue
            after_s = median(median(samples) for samples in one.samples_s if samples)
            lines.append(
                f"{measurement.workload.model.name}, batch {measurement.workload.batch}: "
                f"{digits(after_s * 1e3)} ms after {digits(one.gap_s * 1e3)} ms of pause, "
                f"{after_s / clean_s:.2f} times the clean latency."
            )
    return lines


def energy_lines(run: Run) -> list[str]:
    """Energy per tile of each rail that was read; where there is none, why."""
    total = total_rail(run)
    lines, reasons = [], []
    for measurement in run.measurements:
        cell = f"{measurement.workload.model.name}, batch {measurement.workload.batch}"
        for one in energy.per_tile(measurement, total):
            half = "" if one.low is None else f" ± {digits((one.joules - one.low) * 1e3, 2)}"
            whole = ", the whole board" if one.rail == total else ""
            each = "tile" if measurement.workload.tiles else "inference"
            lines.append(
                f"{cell}: {digits(one.joules * 1e3)}{half} mJ per {each} from {one.rail}{whole}."
            )
        reason = energy.why_none(measurement)
        reasons += [reason] if reason else []
    if reasons:
        cells = "1 cell" if len(reasons) == 1 else f"{len(reasons)} cells"
        lines.append(f"Energy: unknown in {cells}: {reasons[0]}.")
    beside = (run.environment.get("device") or {}).get("not_measured")
    if beside and len(lines) > bool(reasons):
        lines.append(f"In none of these rails, which are never added up: {beside}.")
    return lines


def drift_line(run: Run) -> str:
    """Whether a loop over all networks became slower from turn to turn (Table 1 of 2016)."""
    found = turns.drift(run.measurements)
    if found is None:
        return "Drift: unknown; it takes several networks and several turns."
    interval = f"{found.per_turn:+.2%} per turn (95 %: {found.low:+.2%} to {found.high:+.2%})"
    return f"Drift over the turns: {interval}: {'found' if found.found else 'not found'}."


def saved_line(run: Run) -> str | None:
    """How many times an op was not timed alone, because another cell had done so."""
    alone = [
        op for m in run.measurements for one in m.op_passes
        if one.method == "isolated" for op in one.ops
    ]  # fmt: skip
    if not alone:
        return None
    timed = sum(op.runs > 0 for op in alone)
    return (
        f"Ops timed alone: {len({op.key for op in alone})} distinct, in {timed} measurements; "
        f"{len(alone) - timed} more were saved by sharing."
    )


def failure_lines(failures: Iterable[Failure]) -> list[str]:
    """Each failed cell with its reason and remedy."""
    return [
        f"{failure.workload.model.name}, batch {failure.workload.batch}: {failure.error}: "
        f"{failure.reason} {failure.remedy}".strip()
        for failure in failures
    ]


def beside_lines(run: Run) -> list[str]:
    """Who else measured on this machine meanwhile, as far as the Run knows."""
    others = run.environment.get("measured_beside")
    return [
        f"Measured beside {other}: caches, memory and clocks were shared."
        for other in (others if isinstance(others, list) else [])
    ]


def timed_line(run: Run) -> str:
    """How much of the wall time was spent on warm-up, samples and op passes; or who measured."""
    if "imported" in run.environment:
        files = run.environment["imported"].get("files")
        known = [one for one in files if isinstance(one, dict)] if isinstance(files, list) else []
        names = ", ".join(str(one.get("name")) for one in known) or "elsewhere"
        return f"Imported from {names}; how it was measured is as its source tells."
    clean_s = sum(process.timed_s for m in run.measurements for process in m.processes)
    ops_s = sum(one.timed_s for m in run.measurements for one in m.op_passes)
    hot_s = sum(w.seconds for m in run.measurements for p in m.processes for w in p.windows)
    timed_s = clean_s + ops_s + hot_s
    wall_s = run.study.wall_s
    # A fake clock runs ahead of the wall; there is no share of it.
    share = f" ({timed_s / wall_s:.0%})" if wall_s > timed_s else ""
    rest = f"{hot_s:.1f} s without a rest" if hot_s else f"{ops_s:.1f} s for ops"
    parts = f"{clean_s:.1f} s clean and {rest}"
    return f"Measured for {wall_s:.1f} s, of which {timed_s:.1f} s timed inference{share}: {parts}."


def board_lines(run: Run) -> list[str]:
    """Of a Run of several boards: which, and how many processes each has done; else nothing."""
    done = Counter(process.board for cell in run.measurements for process in cell.processes)
    told = ", ".join(f"{board} ({done[board]})" for board in run.environment.get("boards") or ())
    return [f"Boards that are alike, and processes that each has measured: {told}."] if told else []
