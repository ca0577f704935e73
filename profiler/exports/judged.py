"""What is said of a cell and its time budget, in words and as numbers for other tools."""

from __future__ import annotations

from collections.abc import Mapping

from nnprof.profiler.deadlines import Claim, Verdict, verdicts
from nnprof.profiler.report.shown_deadlines import percent, time
from nnprof.types import Cell, Failure, Measurement, Run


def by_cell(run: Run, budget_s: float | None) -> dict[str, Verdict]:
    """The verdicts by the key of their cells; {} where the Run has no budget and none is given."""
    return {one.cell.key: one for one in verdicts(run, budget_s)}


def of(found: Mapping[str, Verdict], cell: Measurement | Failure | Cell) -> Verdict | None:
    """The verdict of a cell, None where there is no budget."""
    return found.get(Cell(workload=cell.workload, target=cell.target).key)


def sentence(verdict: Verdict) -> str:
    """The budget, and each number that decides with its interval, or with why it is open."""
    if verdict.reason:
        return f"{verdict.word}: {verdict.reason}"
    claims = (("median", verdict.median), ("p99", verdict.p99), ("missed", verdict.missed))
    told = [_told(name, claim) for name, claim in claims if claim.word == verdict.word]
    return f"{verdict.word} a budget of {time(verdict.budget_s)}: {'; '.join(told)}."


def _told(name: str, claim: Claim) -> str:
    shown = percent if name == "missed" else time
    words = [name]
    if claim.estimate is not None:
        words.append(shown(claim.estimate))
    if claim.low is not None or claim.high is not None:
        low, high = ("?" if end is None else shown(end) for end in (claim.low, claim.high))
        words.append(f"({low} to {high})")
    return " ".join(words) + (f", {claim.reason.rstrip('.')}" if claim.reason else "")


def numbers(verdict: Verdict) -> dict[str, float | str | None]:
    """The verdict and its numbers, times in milliseconds; None where one is not known."""
    p99, headroom_s = verdict.p99, verdict.headroom_s
    return {
        "verdict": verdict.word,
        "budget_ms": verdict.budget_s * 1e3,
        "headroom_ms": None if headroom_s is None else headroom_s * 1e3,
        "judged_p99_ms": _ms(p99.estimate),
        "judged_p99_low_ms": _ms(p99.low),
        "judged_p99_high_ms": _ms(p99.high),
        "missed_share": verdict.missed.estimate,
    }


NUMBERS = (
    *("verdict", "budget_ms", "headroom_ms", "judged_p99_ms", "judged_p99_low_ms"),
    *("judged_p99_high_ms", "missed_share"),
)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3
