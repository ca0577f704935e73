"""JUnit XML, which CI servers show as tests: a testcase for each cell, or for each comparison.

Fields: https://github.com/testmoapp/junitxml. Seconds of a testcase are those that measuring took;
the latency stands among its properties.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from nnprof.profiler.compare import CellComparison, Comparison
from nnprof.profiler.conditions import MISSING
from nnprof.profiler.deadlines import Verdict, Word
from nnprof.profiler.decisions import Answer, deciding, of_verdict
from nnprof.profiler.exports import cells, judged
from nnprof.profiler.exports.export import Asked, Export, Made, one
from nnprof.profiler.report import rows
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.notes import note_lines
from nnprof.text import plain
from nnprof.types import Failure, Measurement, Run

_MOST_NAME = 500
# Beyond what `plain` takes: what XML 1.0 cannot hold, however written (section 2.2).
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SHOWN = (
    *("network", "batch", "precision", "backend", "device", "on", "threads", "latency_ms"),
    *("low_ms", "high_ms", "p90_ms", "p99_ms", "tiles_per_ms", "samples", "processes", "state"),
    "stopped",
)
_OUTCOMES: dict[Word, str] = {
    "FITS": "",
    "UNDECIDED": "skipped",
    "MISSES": "failure",
    "FAILED": "error",
}


class Case(NamedTuple):
    """A testcase: `outcome` is "", "failure", "error" or "skipped"; seconds None where unknown."""

    name: str
    classname: str
    properties: Mapping[str, object]
    seconds: float | None = None
    outcome: str = ""
    kind: str = ""
    message: str = ""
    details: str = ""


def make(asked: Asked) -> Made:
    """The verdict of each cell, or of each pair of cells."""
    run = asked.run
    if asked.comparison:
        cases, name = _compared(asked.comparison, asked.beyond, asked.allow), "nnprof compare"
        notes = []
    else:
        cases, name = _cases(run, asked.budget_s), f"nnprof {run.study.name}"
        notes = note_lines(run)
    return one(_xml(name, run.study.created, cases, notes))


def _cases(run: Run, budget_s: float | None) -> list[Case]:
    known = judged.by_cell(run, budget_s)
    listed: tuple[cells.AnyCell, ...] = (*cells.every(run), *cells.left_out(run))
    names = cells.names(listed, _MOST_NAME)
    best = {one.question: one for one in deciding(map(of_verdict, known.values()))}
    return [_case(name, cell, known, best) for name, cell in zip(names, listed, strict=True)]


def _case(
    name: str,
    cell: cells.AnyCell,
    known: Mapping[str, Verdict],
    best: Mapping[Hashable, Answer],
) -> Case:
    if isinstance(cell, Measurement):
        verdict = judged.of(known, cell)
        made = _measured(name, cell, verdict)
        counts = best[of_verdict(verdict).question] if verdict else None
        if counts is None or counts.batch == cell.workload.batch or not made.outcome:
            return made
        # Of an image the batch is a choice: what a worse one does is told, and fails nothing.
        message = f"{made.message} Batch {counts.batch} decides: {counts.word}."
        return made._replace(outcome="skipped", message=message)
    if isinstance(cell, Failure):
        return _failed(name, cell)
    message = "Not measured: there was no time left for it."
    return Case(name, _class(cell), {}, outcome="skipped", message=message)


def _measured(name: str, cell: Measurement, verdict: Verdict | None) -> Case:
    values = rows.row_of(cell) | (judged.numbers(verdict) if verdict else {})
    shown = {key: values[key] for key in (*_SHOWN, *judged.NUMBERS) if values.get(key) is not None}
    walls = [process.wall_s for process in cell.processes]
    return Case(
        name=name,
        classname=_class(cell),
        properties=shown,
        seconds=sum(walls) if walls else None,
        outcome=_OUTCOMES[verdict.word] if verdict else "",
        kind=verdict.word if verdict else "",
        message=judged.sentence(verdict) if verdict else "",
    )


def _failed(name: str, cell: Failure) -> Case:
    return Case(
        name=name,
        classname=_class(cell),
        properties={},
        outcome="error",
        kind=cell.error,
        message=cell.reason,
        details=cell.remedy,
    )


def _class(cell: cells.AnyCell) -> str:
    """Dots make folders in viewers, so that there is one between backend and device only."""
    words = (cell.target.backend, cells.place(cell.target))
    return ".".join(["nnprof", *(word.replace(".", "_") for word in words)])


def _compared(found: Comparison, beyond: float, allow: Sequence[str]) -> list[Case]:
    names = [
        f"{cell.network}{f' → {cell.after}' if cell.after else ''}, batch {cell.batch}, "
        f"{cell.precision}"
        for cell in found.cells
    ]
    short = [cells.shortened(name, _MOST_NAME) for name in names]
    cases = [
        _pair(name, cell, beyond)
        for name, cell in zip(cells.unique(short, _MOST_NAME), found.cells, strict=True)
    ]
    gone = "" if MISSING in allow else "failure"
    for outcome, kind, listed in (
        ("error", "failed after", found.failed),
        ("skipped", "failed before", found.failed_before),
        (gone, "only before", found.missing),
        ("skipped", "only after", found.added),
    ):
        message = f"It {kind}." if kind.startswith("failed") else f"It is there {kind}."
        cases += [
            Case(name, "nnprof.compare", {}, outcome=outcome, kind=kind, message=message)
            for name in listed
        ]
    return cases


def _pair(name: str, cell: CellComparison, beyond: float) -> Case:
    outcome, message = "", ""
    if cell.verdict == "SLOWER" and cell.ratio > 1 + beyond:
        outcome = "failure"
        message = (
            f"{cell.ratio:.3f} times as long as before: {digits(cell.before_s * 1e3)} ms, then "
            f"{digits(cell.after_s * 1e3)} ms."
        )
    elif cell.verdict == "AMBIGUOUS":
        outcome, message = "skipped", f"Undecided: {cell.reason}."
    values = {
        **{"before_ms": cell.before_s * 1e3, "after_ms": cell.after_s * 1e3},
        **{"ratio": cell.ratio, "ratio_low": cell.low, "ratio_high": cell.high},
        "verdict": cell.verdict,
    }
    known = {key: value for key, value in values.items() if value is not None}
    return Case(name, "nnprof.compare", known, None, outcome, cell.verdict, message)


# --- XML ------------------------------------------------------------------------------------------


def _xml(name: str, created: str, cases: Sequence[Case], notes: Sequence[str]) -> bytes:
    counts = {"tests": str(len(cases))}
    for word, outcome in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        counts[word] = str(sum(case.outcome == outcome for case in cases))
    if times := [case.seconds for case in cases if case.seconds is not None]:
        counts["time"] = f"{sum(times):.3f}"
    root = ElementTree.Element("testsuites", {"name": "nnprof", **counts})
    told = {"name": _text(name), **counts, "timestamp": _text(created)}
    suite = ElementTree.SubElement(root, "testsuite", told)
    for case in cases:
        _add(suite, case)
    if notes:
        ElementTree.SubElement(suite, "system-out").text = "\n".join(map(_text, notes))
    ElementTree.indent(root)
    xml: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return xml + b"\n"


def _add(suite: ElementTree.Element, case: Case) -> None:
    told = {"name": _text(case.name), "classname": _text(case.classname)}
    if case.seconds is not None:
        told["time"] = f"{case.seconds:.3f}"
    element = ElementTree.SubElement(suite, "testcase", told)
    if case.properties:
        listed = ElementTree.SubElement(element, "properties")
        for key, value in case.properties.items():
            ElementTree.SubElement(listed, "property", {"name": key, "value": _text(str(value))})
    if case.outcome:
        said = {"message": _text(case.message)}
        if case.outcome != "skipped":
            said["type"] = _text(case.kind)
        ElementTree.SubElement(element, case.outcome, said).text = _text(case.details) or None


def _text(text: str) -> str:
    """On one line, without what XML cannot hold."""
    return _NO_XML.sub("\ufffd", plain(text))


EXPORT = Export(make, compares=True)
