"""The warnings of a Run as notes: each kind once, the most important first. Pure."""

from __future__ import annotations

from collections import defaultdict

from nnprof.profiler import checks
from nnprof.types import Check, Run


def note_lines(run: Run) -> list[str]:
    """A line for each kind of warning: how many cells have it, its sentence, what to do.

    The sentence is that of the first such cell; the order is that of `checks.TEXTS`.
    """
    found: dict[str, list[Check]] = defaultdict(list)
    for measurement in run.measurements:
        for check in measurement.checks:
            found[check.code].append(check)
    ranked = sorted(found, key=checks.rank)
    return [_line(found[code], len(run.measurements)) for code in ranked]


def _line(alike: list[Check], cells: int) -> str:
    sentence, advice = checks.text(alike[0])
    if cells == 1:
        return f"{sentence} {advice}"
    if len(alike) == cells:
        return f"all {cells} cells: {sentence} {advice}"
    return f"{len(alike)} of {cells} cells: {sentence} {advice}"
