"""Runs as people read them: tables for a terminal, rows for CSV, Markdown and JSON.

Here, and only here, seconds become milliseconds.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from nnprof.profiler import checks, stats
from nnprof.profiler.place import limits
from nnprof.profiler.place.limits import Roofline
from nnprof.profiler.timing import energy
from nnprof.terminal import Table, styled
from nnprof.text import csv_cell, markdown
from nnprof.types import (
    LOCAL,
    Check,
    Failure,
    Measurement,
    Model,
    OpPass,
    OpTime,
    Run,
    Target,
    Workload,
)

if TYPE_CHECKING:
    from rich.text import Text

    from nnprof.profiler.compare import Comparison

COLUMNS = (
    *("network", "batch", "precision", "backend", "device", "threads"),
    *("tiles_per_ms", "ms_per_tile", "latency_ms", "low_ms", "high_ms"),
    *("p90_ms", "p99_ms", "samples", "processes", "ops_over_clean", "state", "stopped"),
    *("mj_per_tile", "rail", "accuracy", "conversion"),
)
OP_COLUMNS = (
    *("network", "batch", "index", "op", "kind", "ms", "ms_per_tile", "share", "method"),
    *("low_ms", "high_ms", "flops", "bytes_in", "bytes_out", "bytes_weights"),
    *("of_limit", "bound", "node", "origin", "key"),
)

Row = dict[str, Any]


def rows(run: Run) -> list[Row]:
    """One row per cell with the keys of COLUMNS; a failed cell has None for numbers.

    `state` is steady, drifting, bimodal, not_reached, unfinished or failed; `accuracy` is a share
    of 1, None where it was not asked for or is not known.
    """
    total = _total_rail(run)
    measured = [
        {
            **_row(measurement),
            **_energy(measurement, total),
            "accuracy": _accuracy(run, measurement.workload.model.sha256),
            "conversion": measurement.workload.model.conversion or None,
        }
        for measurement in run.measurements
    ]
    return measured + [_failed_row(failure) for failure in run.failures]


def _what(item: Measurement | Failure) -> Row:
    return {
        "network": item.workload.model.name,
        "batch": item.workload.batch,
        "precision": item.workload.precision,
        "backend": item.target.backend,
        "device": item.target.device,
        "threads": item.target.threads,
    }


def _row(measurement: Measurement) -> Row:
    latency_s = stats.latency_s(measurement)
    low_s, high_s = stats.interval_s(measurement) or (None, None)
    tiles = measurement.workload.tiles
    return {
        **_what(measurement),
        "tiles_per_ms": tiles and tiles / (latency_s * 1e3),
        "ms_per_tile": _per(tiles, latency_s),
        "latency_ms": latency_s * 1e3,
        "low_ms": _ms(low_s),
        "high_ms": _ms(high_s),
        "p90_ms": _ms(stats.percentile_s(measurement, 0.90)),
        "p99_ms": _ms(stats.percentile_s(measurement, 0.99)),
        "samples": sum(map(len, measurement.samples_s)),
        "processes": len(measurement.processes),
        "ops_over_clean": checks.ops_over_clean(measurement),
        "state": stats.state(measurement),
        "stopped": measurement.stopped,
    }


def _total_rail(run: Run) -> str | None:
    name = run.environment.get("device", {}).get("total_rail")
    return name if isinstance(name, str) else None


def _energy(measurement: Measurement, total: str | None) -> Row:
    """From the rail that feeds the whole device; where there is none, from the GPU's."""
    first = next(iter(energy.per_tile(measurement, total)), None)
    counted = measurement.workload.tiles
    return {
        "mj_per_tile": first.joules * 1e3 if first and counted else None,
        "rail": first.rail if first else None,
    }


def _per(tiles: int | None, seconds: float) -> float | None:
    """Milliseconds per tile; None where an inference is not known to be any number of tiles."""
    return seconds * 1e3 / tiles if tiles else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _failed_row(failure: Failure) -> Row:
    empty = dict.fromkeys(COLUMNS)
    return {**empty, **_what(failure), "state": "failed", "stopped": failure.error}


def op_rows(run: Run) -> list[Row]:
    """One row per op of every cell, with the keys of OP_COLUMNS. `share` is of Σops."""
    known = roof(run)
    return [row for measurement in run.measurements for row in _op_rows(measurement, known)]


def roof(run: Run) -> Roofline | None:
    """The limits of the machine that a Run was made on, where they had been measured."""
    return limits.stated(run.environment)


def limit_lines(run: Run) -> list[str]:
    """A sentence where limits of the machine are known, but of another state of it."""
    why = (run.environment.get("not_used") or {}).get("roofline")
    return [f"No limits: {why}. Measure: nnprof devices --measure."] if why else []


def _op_rows(measurement: Measurement, known: Roofline | None) -> list[Row]:
    if measurement.ops is None:
        return []
    total_s = sum(op.seconds for op in measurement.ops.ops)
    work = measurement.workload
    return [
        {
            "network": work.model.name,
            "batch": work.batch,
            "index": op.index,
            "op": op.op,
            "kind": op.kind,
            "ms": op.seconds * 1e3,
            "ms_per_tile": _per(work.tiles, op.seconds),
            "share": op.seconds / total_s if total_s else None,
            "method": op.method,
            "low_ms": _ms(op.low_s),
            "high_ms": _ms(op.high_s),
            "flops": op.flops,
            "bytes_in": op.bytes_in,
            "bytes_out": op.bytes_out,
            "bytes_weights": op.bytes_weights,
            **_against(op, known),
            "node": op.node,
            "origin": " ".join(op.origin),
            "key": op.key,
        }
        for op in measurement.ops.ops
    ]


def _against(op: OpTime, known: Roofline | None) -> Row:
    """Which share of its limit an op reaches, and what that limit is."""
    least = known.limit(op) if known else None
    if least is None or not op.seconds:
        return {"of_limit": None, "bound": None}
    return {"of_limit": least[0] / op.seconds, "bound": least[1]}


def as_csv(table: Sequence[Row], columns: Sequence[str]) -> str:
    """The rows as CSV, numbers in full; text as `nnprof.text.csv_cell` makes it."""
    import pandas as pd

    # As objects, or a column with one gap would turn its whole numbers into fractions.
    cells = [{name: csv_cell(value) for name, value in row.items()} for row in table]
    return str(pd.DataFrame(cells, columns=list(columns), dtype=object).to_csv(index=False))


def as_markdown(table: Sequence[Row], columns: Sequence[str]) -> str:
    """The rows as a Markdown table, numbers to four digits."""
    import pandas as pd

    frame = pd.DataFrame(table, columns=list(columns), dtype=object).map(_as_markdown)
    return f"{frame.to_markdown(index=False, disable_numparse=True)}\n"


def _as_markdown(value: Any) -> Any:
    if value is None or isinstance(value, float):
        return digits(value)
    return markdown(value) if isinstance(value, str) else value


# --- tables for a terminal ------------------------------------------------------------------------


def digits(value: float | None, count: int = 4) -> str:
    """A number to so many significant digits, without exponents where they can be helped."""
    if value is None or math.isnan(value):
        return "–"
    if value == 0 or not 1e-6 <= abs(value) < 1e9:
        return f"{value:.{count}g}"
    decimals = max(0, count - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def aligned(values: Sequence[float], count: int = 4) -> list[str]:
    """Numbers with as many decimals as the largest needs for `count` significant digits."""
    largest = max((abs(value) for value in values), default=0.0)
    whole = math.floor(math.log10(largest)) if largest else 0
    return [f"{value:.{max(0, count - 1 - whole)}f}" for value in values]


def heading(run: Run) -> list[str]:
    """What all cells of a Run share, in one line or two."""
    first = run.study.cells[0]
    version = run.environment.get("backend", {}).get("version", "")
    counts = sorted({cell.target.threads for cell in run.study.cells})
    threads = ", ".join(_threads(count) for count in counts)
    runtime = f"{first.target.backend} {version}".strip()
    shared = (
        f"{run.study.name} on {_place(first.target)}, {runtime}, "
        f"{', '.join(_told('precision', one) for one in _precisions(run))}, {threads}"
    )
    common, _ = _labels(_names(run))
    return [shared, common] if common else [shared]


def _place(target: Target) -> str:
    """`cpu`; `jetson at ssh://me@orin`."""
    here = target.host == LOCAL
    return target.device if here else f"{target.device} at {target.host}"


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}" if count else "threads unknown"


def _told(what: str, word: str) -> str:
    return f"{what} unknown" if word == "unknown" else word


def cell_table(run: Run) -> Table:
    """One line per cell."""
    _, labels = _labels(_names(run))
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("network", overflow="fold")
    for name in ("batch", "tiles/ms", "ms/tile", "latency ms", "± %", "Σops/clean"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    previous: tuple[str, str] | None = None
    for measurement in run.measurements:
        model = measurement.workload.model
        label = labels[model.name] + _marked(run, model)
        same = (model.name, model.sha256)  # of imported models only the name is known
        table.add_row("" if same == previous else label, *_cell_line(measurement))
        previous = same
    for failure in run.failures:
        model, batch = failure.workload.model, str(failure.workload.batch)
        label = labels[model.name] + _marked(run, model)
        table.add_row(label, batch, *["–"] * 5, styled("failed", "red"))
    return table


def _precisions(run: Run) -> list[str]:
    return list(dict.fromkeys(cell.workload.precision for cell in run.study.cells))


def _marked(run: Run, model: Model) -> str:
    """A model's file, where another has its name; precision and accuracy, where not all is fp32."""
    mark = file_mark(run, model)
    if len(_precisions(run)) < 2 and not run.accuracies:
        return mark
    right = _accuracy(run, model.sha256)
    return f"{mark}, {model.precision}" + (f" ({right:.2%} right)" if right is not None else "")


def file_mark(run: Run, model: Model) -> str:
    """` (file)`, where another model of the same precision has this one's name; else nothing."""
    models = [cell.workload.model for cell in run.study.cells]
    alike = {
        one.path for one in models if (one.name, one.precision) == (model.name, model.precision)
    }
    return f" ({model.path})" if len(alike) > 1 and model.path else ""


def _accuracy(run: Run, sha256: str) -> float | None:
    return next((one.top1 for one in run.accuracies if one.sha256 == sha256), None)


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


def _names(run: Run) -> list[str]:
    asked = [cell.workload for cell in run.study.cells]
    found = [item.workload for items in (run.measurements, run.failures) for item in items]
    return [workload.model.name for workload in (*asked, *found)]


_FAMILY_CALL = re.compile(r"(\w+)\((.+)\)")


def _labels(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """What all networks of one family share, and for each network what is its own.

    Networks that are not all of one family keep their names, and share nothing.
    """
    calls = {name: _FAMILY_CALL.fullmatch(name) for name in names}
    families = {call[1] if call else "" for call in calls.values()}
    if len(calls) < 2 or len(families) > 1 or "" in families:
        return "", {name: name for name in names}
    arguments = {name: call[2].split(", ") for name, call in calls.items() if call}
    shared = [
        word for word in arguments[names[0]] if all(word in own for own in arguments.values())
    ]
    labels = {
        name: " ".join(word for word in own if word not in shared)
        for name, own in arguments.items()
    }
    return f"{families.pop()}({', '.join(shared)})", labels


def _cell_line(measurement: Measurement) -> list[str | Text]:
    row = _row(measurement)
    half = stats.relative_half_width(measurement)
    state = row["state"]
    return [
        str(row["batch"]),
        digits(row["tiles_per_ms"]),
        digits(row["ms_per_tile"]),
        digits(row["latency_ms"]),
        "–" if math.isinf(half) else f"{half * 100:.1f}",
        digits(row["ops_over_clean"], 3),
        styled(state, "" if state == "steady" else "yellow"),
    ]


def kind_table(measurement: Measurement) -> Table:
    """Time per kind of op, the longest first."""
    by_kind: dict[str, list[OpTime]] = defaultdict(list)
    for op in _ops(measurement):
        by_kind[op.kind].append(op)
    spent = {kind: sum(op.seconds for op in group) for kind, group in by_kind.items()}
    kinds = sorted(spent, key=lambda kind: -spent[kind])
    table = _op_layout("kind", "ops")
    numbers = _op_numbers([spent[kind] for kind in kinds], measurement.workload.tiles)
    for kind, own in zip(kinds, numbers, strict=True):
        methods = ", ".join(sorted({op.method for op in by_kind[kind]}))
        table.add_row(kind, *own, str(len(by_kind[kind])), methods)
    return table


def op_table(measurement: Measurement, known: Roofline | None = None) -> Table:
    """Time per op in order of execution; with limits, how close each comes to which of them."""
    ops = _ops(measurement)
    table = _op_layout("op", "± %", *(["of limit"] if known else []))
    numbers = _op_numbers([op.seconds for op in ops], measurement.workload.tiles)
    for op, own in zip(ops, numbers, strict=True):
        against = _against(op, known)
        reached = f"{against['of_limit']:.0%} {against['bound']}" if against["bound"] else "–"
        word = op.node if op.op == "unknown" else op.op  # an imported one may have a name only
        table.add_row(
            f"{op.index} {word}", *own, _half(op), *([reached] if known else []), op.method
        )
    return table


def _ops(measurement: Measurement) -> tuple[OpTime, ...]:
    return measurement.ops.ops if measurement.ops else ()


def _half(op: OpTime) -> str:
    if op.low_s is None or op.high_s is None or not op.seconds:
        return "–"
    return f"{(op.high_s - op.low_s) / 2 / op.seconds * 100:.0f}"


def _op_layout(first: str, *more: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in ("ms", "ms/tile", "share", *more):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("method", no_wrap=True)
    return table


def _op_numbers(seconds: Sequence[float], tiles: int | None) -> list[tuple[str, str, str]]:
    """Ms and ms/tile aligned on the decimal point, and the share of Σops."""
    total_s = sum(seconds)
    ms = aligned([value * 1e3 for value in seconds])
    ms_per_tile = ["–"] * len(ms)
    if tiles:
        ms_per_tile = aligned([value * 1e3 / tiles for value in seconds])
    shares = [f"{value / total_s:.1%}" if total_s else "–" for value in seconds]
    return list(zip(ms, ms_per_tile, shares, strict=True))


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
    total = _total_rail(run)
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
    return lines


def drift_line(run: Run) -> str:
    """Whether a loop over all networks became slower from turn to turn (Table 1 of 2016)."""
    found = stats.drift(run.measurements)
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


def check_lines(run: Run) -> list[str]:
    """Each kind of warning once, with the number of cells it concerns."""
    found: dict[str, list[Check]] = defaultdict(list)
    for measurement in run.measurements:
        for check in measurement.checks:
            found[check.code].append(check)
    lines = []
    for alike in found.values():
        sentence, advice = checks.text(alike[0])
        example = f"{len(alike)} of {len(run.measurements)} cells, for example: "
        lines.append(f"{example if len(run.measurements) > 1 else ''}{sentence} {advice}")
    return lines


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
    timed_s = clean_s + ops_s
    wall_s = run.study.wall_s
    # A fake clock runs ahead of the wall; there is no share of it.
    share = f" ({timed_s / wall_s:.0%})" if wall_s > timed_s else ""
    parts = f"{clean_s:.1f} s clean and {ops_s:.1f} s for ops"
    return f"Measured for {wall_s:.1f} s, of which {timed_s:.1f} s timed inference{share}: {parts}."


# --- comparisons ----------------------------------------------------------------------------------

_STYLES = {"FASTER": "green", "SLOWER": "red", "AMBIGUOUS": "yellow", "SAME": ""}
_COMPARED = ("network", "batch", "before ms", "after ms", "ratio", "95 %", "verdict")


def comparison_table(found: Comparison) -> Table:
    """One line per cell that both Runs have."""
    _, labels = _labels([cell.network for cell in found.cells])
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in _COMPARED:
        words = name in ("network", "verdict")
        table.add_column(
            name, justify="left" if words else "right", overflow="fold", no_wrap=name != "network"
        )
    for row, cell in zip(_compared_rows(found, labels), found.cells, strict=True):
        style = _STYLES[cell.verdict]
        table.add_row(*row[:-1], styled(row[-1], style))
    return table


def comparison_markdown(found: Comparison) -> str:
    """The comparison as Markdown, for a pull request: verdicts first, the table behind."""
    names = {cell.network: cell.network for cell in found.cells}
    table = as_markdown(
        [dict(zip(_COMPARED, row, strict=True)) for row in _compared_rows(found, names)], _COMPARED
    )
    return "\n".join([*map(markdown, comparison_lines(found)), "", table])


def _compared_rows(found: Comparison, labels: dict[str, str]) -> list[list[str]]:
    mixed = len({cell.precision for cell in found.cells}) > 1
    return [
        [
            labels[cell.network] + (f", {cell.precision}" if mixed else ""),
            str(cell.batch),
            digits(cell.before_s * 1e3),
            digits(cell.after_s * 1e3),
            f"{cell.ratio:.3f}",
            f"{cell.low:.3f}…{cell.high:.3f}" if cell.low and cell.high else "–",
            cell.verdict,
        ]
        for cell in found.cells
    ]


def comparison_lines(found: Comparison) -> list[str]:
    """Counts of the verdicts, the mean, and what could not be compared."""
    verdicts = [cell.verdict for cell in found.cells]
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in _STYLES if name in verdicts)
    lines = [f"{counts}; geometric mean of the ratios {found.geometric_mean:.3f} (after / before)."]
    lines += [f"Differs, as allowed: {name}: {was} and {now}." for name, was, now in found.allowed]
    for reason in dict.fromkeys(cell.reason for cell in found.cells if cell.reason):
        count = sum(cell.reason == reason for cell in found.cells)
        lines.append(f"AMBIGUOUS ({count}): {reason}.")
    edited = dict.fromkeys(cell.network for cell in found.cells if cell.edited)
    lines += [f"Edited: {name} has another content than before, under its name." for name in edited]
    for word, names in (
        ("Failed after", found.failed),
        ("Failed before", found.failed_before),
        ("Only before", found.missing),
        ("Only after", found.added),
    ):
        lines += [f"{word}: {name}." for name in names]
    alike = "; ".join(f"{name} {value}" for name, value in found.alike.items())
    return [*lines, f"Alike: {alike}."]
