"""The last view: where each Run comes from, and why what is not known is not. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from nnprof.profiler.page.values import Column, Part, Table
from nnprof.profiler.report.lines import beside_lines, failure_lines, timed_line
from nnprof.profiler.report.notes import note_lines
from nnprof.text import plain
from nnprof.types import Measurement, Reading, Run

_COLUMNS = (
    Column(title="what", form="text"),
    Column(title="value", form="text"),
    Column(title="why not", form="text", note="why it is not known"),
)
_LETTERS = 12  # of a hash
_NO_REASON = "the Run does not say"
_APART = ("roofline", "telemetry_effect", "not_used")


def part(runs: Mapping[str, Run]) -> Part:
    """A table for each Run; `runs` are Runs by name."""
    tables = [_table(name, run) for name, run in runs.items()]
    unknown = sum(row[1] == "–" for table in tables for row in table.rows)
    first = next(iter(runs.values()))
    about = f"{len(runs)} Runs, the first" if len(runs) > 1 else "The Run was"
    told = f"{about} made on {first.study.created} on {_machine(first)}; {unknown} facts unknown."
    notes = [line for run in runs.values() for line in _notes(run)]
    return Part(told=told, tables=tuple(tables), notes=tuple(map(plain, notes)))


def _notes(run: Run) -> Iterator[str]:
    yield from (f"Failed: {line}" for line in failure_lines(run.failures))
    yield from note_lines(run)
    yield from beside_lines(run)
    yield timed_line(run)


def _machine(run: Run) -> str:
    device = run.environment.get("device") or {}
    name = next((device[key] for key in ("board", "model", "name") if device.get(key)), "a device")
    return plain(str(name))


def _table(name: str, run: Run) -> Table:
    study, plan = run.study, msgspec.to_builtins(run.study.plan)
    rows: list[tuple[str, str, str]] = [
        ("file", plain(name), ""),
        ("made", study.created, ""),
        ("command", plain(shlex.join(("nnprof", *study.command))), ""),
        ("cells", _counts(run), ""),
        *_models(run),
        *_facts("", run.environment, {}),
        *_state(run.measurements),
        ("plan", _words(plan), ""),
    ]
    return Table(caption=f"Provenance of {plain(name)}", columns=_COLUMNS, rows=tuple(rows))


def _counts(run: Run) -> str:
    told = f"{len(run.study.cells)} asked, {len(run.measurements)} measured"
    failed = f", {len(run.failures)} failed" if run.failures else ""
    left = f", {len(run.left_out)} left out for want of time" if run.left_out else ""
    return told + failed + left


def _models(run: Run) -> Iterator[tuple[str, str, str]]:
    models = {cell.workload.model.sha256: cell.workload.model for cell in run.study.cells}
    for sha256, model in models.items():
        about = f"sha256 {sha256[:_LETTERS]}, opset {model.opset}, weights {model.weights}"
        why = "" if sha256 else "the network is only named in what was imported"
        yield f"network {plain(model.name)}", about if sha256 else "–", why


def _facts(
    prefix: str, told: Mapping[str, Any], why: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Facts and facts of facts, each with why it is unknown where it is."""
    why = {**why, **(told.get("why") or {})}
    for name, value in told.items():
        if name == "why" or (not prefix and name in _APART):
            continue
        label = f"{prefix} {name}".strip().replace("_", " ")
        if isinstance(value, dict) and value:
            yield from _facts(label, value, {})
        elif value is None:
            yield label, "–", plain(str(why.get(name) or _reason(prefix)))
        else:
            yield label, plain(_value(value)), ""


def _reason(prefix: str) -> str:
    return "not installed" if prefix == "packages" else _NO_REASON


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return _words(value) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _words(told: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in told.items())


def _state(measurements: Iterable[Measurement]) -> Iterator[tuple[str, str, str]]:
    """The machine around the first process that was measured: clocks, power mode, and so on."""
    first = next((one.processes[0] for one in measurements if one.processes), None)
    if first is None:
        return
    reading = first.before
    for name in Reading.__struct_fields__:
        value = getattr(reading, name)
        if name in ("unknown", "at_s", "preemptions") or (
            not value and name not in reading.unknown
        ):
            continue
        label = f"{name.replace('_', ' ')} at the start"
        if value is None:
            yield label, "–", plain(reading.unknown.get(name, _NO_REASON))
        else:
            yield label, plain(_value(value)), ""
