"""Markdown for the summary of a step of GitHub Actions, which drops what is larger than 1 MiB.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from nnprof.profiler.deadlines import Verdict
from nnprof.profiler.decisions import of_verdict
from nnprof.profiler.exports import cells, judged
from nnprof.profiler.exports.export import Asked, Export, Made, one
from nnprof.profiler.report import rows
from nnprof.profiler.report.comparison import comparison_markdown
from nnprof.profiler.report.markdown import as_markdown
from nnprof.profiler.report.notes import note_lines
from nnprof.profiler.report.shown_deadlines import decision, time
from nnprof.text import markdown
from nnprof.types import Run

MOST_BYTES = (1 << 20) - (1 << 12)  # some room for what else the step says
_COLUMNS = (
    *("network", "batch", "precision", "backend", "device", "on", "latency_ms", "low_ms"),
    *("high_ms", "p99_ms", "tiles_per_ms", "state"),
)
_JUDGED = ("budget_ms", "headroom_ms", "missed_share", "verdict")
_MOST_NAME = 300


def make(asked: Asked) -> Made:
    """A table of the cells, the failures with their reasons, and the notes."""
    if asked.comparison:
        text = f"### nnprof compare\n\n{comparison_markdown(asked.comparison)}"
    else:
        text = _of_run(asked.run, asked.budget_s)
    kept, left = within(text, MOST_BYTES)
    lost = (f"The summary ends {left} lines early: GitHub takes 1 MiB.",) if left else ()
    return one(kept.encode(), lost)


def _of_run(run: Run, budget_s: float | None) -> str:
    known = judged.by_cell(run, budget_s)
    table = [
        {**row, "network": row["network"][:_MOST_NAME], **_judged(judged.of(known, cell))}
        for cell, row in zip(cells.every(run), rows.rows(run), strict=True)
    ]
    failed = [
        f"- {markdown(one.workload.model.name[:_MOST_NAME])}, batch {one.workload.batch} failed "
        f"({markdown(one.error)}): {markdown(one.reason)} {markdown(one.remedy)}".rstrip()
        for one in run.failures
    ]
    notes = [f"- {markdown(line)}" for line in note_lines(run)]
    title = f"### nnprof {markdown(run.study.name)}, {markdown(run.study.created)}"
    more = _JUDGED if known else ()
    parts = [[title], _verdict(known), failed, notes, [as_markdown(table, (*_COLUMNS, *more))]]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _verdict(known: dict[str, Verdict]) -> list[str]:
    """What decides, as `nnprof bench --budget` says it; nothing without a budget."""
    if not known:
        return []
    found = list(known.values())
    word, _, which = decision([of_verdict(one) for one in found]).rstrip(".").partition(" ")
    return [f"**{word}** a time budget of {time(found[0].budget_s)} {which}".rstrip() + "."]


def _judged(verdict: Verdict | None) -> dict[str, float | str | None]:
    if verdict is None:
        return {}
    told = judged.numbers(verdict)
    return {name: told[name] for name in _JUDGED}


def within(text: str, most: int) -> tuple[str, int]:
    """The first lines of a text that have at most so many bytes, and how many lines are left out.

    Where lines are left out, the last one says so.
    """
    if len(text.encode()) <= most:
        return text, 0
    lines = text.splitlines()
    size, kept = 0, 0
    for line in lines:
        size += len(line.encode()) + 1
        if size > most - 100:
            break
        kept += 1
    left = len(lines) - kept
    return "\n".join([*lines[:kept], "", f"… {left} lines more than GitHub shows.", ""]), left


EXPORT = Export(make, compares=True)
