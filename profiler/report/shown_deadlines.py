"""Verdicts about a time budget in a terminal: three lines for each cell, and what decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nnprof.profiler.deadlines import EXIT_CODES, IN_BETWEEN, SHARE, Claim, Verdict, Word
from nnprof.profiler.decisions import Answer, deciding, of_verdict, word
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.names import labels, names
from nnprof.profiler.report.terminal import marked
from nnprof.terminal import Console, Table, styled

if TYPE_CHECKING:
    from nnprof.profiler.costmodel.prediction import Prediction
    from nnprof.types import Run

STYLES: dict[Word, str] = {
    "FITS": "green",
    "UNDECIDED": "yellow",
    "MISSES": "red",
    "FAILED": "red",
}

_NAMED = 3  # cells in a sentence
_NANOSECOND = 1e-9


def exit_code(made: Word) -> int:
    """0 fits, 1 misses or failed, 3 undecided."""
    return EXIT_CODES[made]


def print_runs(runs: Sequence[tuple[Run, Sequence[Verdict]]], code: int | None) -> None:
    """The verdicts of each Run, then what decides, with the exit code where it tells of that."""
    for run, found in runs:
        _print_verdicts(found, run)
    print_decision([of_verdict(one) for _, found in runs for one in found], code)


def _print_verdicts(found: Sequence[Verdict], run: Run) -> None:
    """A table of the claims of a Run, why some are open, and what they rest on."""
    console = Console()
    console.print()
    console.say(heading(found[0]), "bold")
    _, short = labels(names(run))
    by_name: dict[str, list[Verdict]] = {}
    for one in found:
        model = one.cell.workload.model
        by_name.setdefault(short[model.name] + marked(run, model), []).append(one)
    for name, own in by_name.items():
        console.say(name)
        console.print(_table(own))
    for line in lines(found):
        console.say(line)


def print_decision(answers: Sequence[Answer], code: int | None = None) -> None:
    """What decides, and the exit code that the command ends with, where that tells of it."""
    Console().say(decision(answers, code), STYLES[word(answers)])


def foretold(found: Sequence[Prediction], budget_s: float, *, shown: bool) -> int:
    """The exit code of predictions and a budget; with `shown` their verdicts are printed."""
    answers = [one.answer(budget_s) for one in found]
    code = EXIT_CODES[word(answers)]
    if shown:
        _print_predicted(found, budget_s)
        print_decision(answers, code)
    return code


def _print_predicted(found: Sequence[Prediction], budget_s: float) -> None:
    """What a cost model says of a budget: a line for each network and batch."""
    console = Console()
    what = "all inferences of an image" if found[0].frame else "one inference"
    console.print()
    console.say(budget_line(budget_s, what), "bold")
    claims = [one.claim(budget_s) for one in found]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("network", overflow="fold")
    for name in ("batch", "ms", "90 %", "headroom ms", "%"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    before = None
    for one, claim in zip(found, claims, strict=True):
        name, before = "" if one.asked == before else one.network, one.asked
        verdict = styled(claim.word, STYLES[claim.word])
        table.add_row(name, str(one.batch), *_times(claim, budget_s), verdict)
    console.print(table)
    for reason in dict.fromkeys(claim.reason for claim in claims if claim.reason):
        console.say(f"UNDECIDED: {reason}.")
    console.say("By the model's 90 % interval of the clean time; p99 takes measuring.")


def heading(one: Verdict) -> str:
    """The budget, and of what it is."""
    image = one.cell.workload.image
    what = f"an image of {image}: cut, and all its tiles" if image else "one inference"
    if _are_streams([one]):
        what += " of each stream"
    return budget_line(one.budget_s, what)


def budget_line(budget_s: float, what: str) -> str:
    """The budget as a time and a rate, and of what it is."""
    rate = f"{digits(1 / budget_s, 3)} per second"
    return f"Time budget {time(budget_s)} ({rate}) for {what}"


def _table(found: Sequence[Verdict]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    several = ["streams"] if _are_streams(found) else []
    for name in ("batch", *several, "", "ms", "95 %", "headroom ms", "%"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for one in found:
        which = [str(one.cell.workload.batch), str(one.cell.target.streams)][: 1 + len(several)]
        for name, claim in (("median", one.median), ("p99", one.p99), ("missed", one.missed)):
            numbers = _share(claim) if name == "missed" else _times(claim, one.budget_s)
            table.add_row(*which, name, *numbers, styled(claim.word, STYLES[claim.word]))
            which = [""] * len(which)
    return table


def _times(claim: Claim, budget_s: float) -> tuple[str, str, str, str]:
    """A time, its interval and what it leaves of the budget."""
    if claim.estimate is None:
        return "–", _interval(claim, 1e3), "–", "–"
    left_s = budget_s - claim.estimate
    return (
        digits(claim.estimate * 1e3),
        _interval(claim, 1e3),
        digits(left_s * 1e3, 3),
        f"{left_s / budget_s:.0%}",
    )


def _share(claim: Claim) -> tuple[str, str, str, str]:
    if claim.estimate is None:
        return "–", "–", "", ""
    return f"{percent(claim.estimate)}", f"{_ends(claim, percent)}", "", ""


def _interval(claim: Claim, factor: float) -> str:
    return _ends(claim, lambda value: digits(value * factor, 3 if value * factor < 100 else 4))


def _ends(claim: Claim, words: Callable[[float], str]) -> str:
    if claim.low is None and claim.high is None:
        return "–"
    low, high = (None if end is None else words(end) for end in (claim.low, claim.high))
    return f"{low or '?'}…{high or '?'}"


def percent(share: float) -> str:
    """A share with as many decimals as a hundredth of a percent needs."""
    return f"{share:.2%}" if 0 < share < 0.1 else f"{share:.1%}"


def time(seconds: float) -> str:
    """A time as people write a budget."""
    if seconds < _NANOSECOND:
        return "less than 1 ns"
    if seconds >= 1:
        return f"{digits(seconds, 3)} s"
    return f"{digits(seconds * 1e3, 3)} ms" if seconds >= 1e-3 else f"{digits(seconds * 1e6, 3)} µs"


def lines(found: Sequence[Verdict]) -> list[str]:
    """Why claims are open; then what the single inferences are, and what others took of them."""
    return [*_open(found), *_boards(found), *_rests_on(found), *_disturbed(found)]


def _boards(found: Sequence[Verdict]) -> list[str]:
    """Which boards differ, so that a verdict is one about each of them."""
    names = dict.fromkeys(board for one in found for board in one.boards)
    return [f"A verdict is one about each of {', '.join(names)}, which differ."] if names else []


def _open(found: Sequence[Verdict]) -> list[str]:
    """One line for each reason, with the cells that have it; that of most needs no names."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for one in found:
        claims = (("median", one.median), ("p99", one.p99), ("missed", one.missed))
        told = (
            [("", one.reason)] if one.reason else [(name, claim.reason) for name, claim in claims]
        )
        for name, reason in told:
            if reason:
                reasons.setdefault(reason, {}).setdefault(_cell(one), []).append(name)
    made = []
    if reasons.pop(IN_BETWEEN, None):
        made.append(
            f"UNDECIDED: {IN_BETWEEN}. What makes it narrower: --rigorous, a quiet machine."
        )
    for reason, cells in reasons.items():
        what = ", ".join(dict.fromkeys(name for names in cells.values() for name in names if name))
        which = "; ".join([*cells][:_NAMED]) + (" …" if len(cells) > _NAMED else "")
        where = f"of all {len(cells)} cells" if len(cells) == len(found) > 1 else f"of {which}"
        made.append(f"{what} {where}: {reason.rstrip('.')}.".strip().removeprefix("of "))
    return made


def _cell(one: Verdict) -> str:
    count = one.cell.target.streams
    streams = f", {count} streams" if count > 1 else ""
    return f"{one.cell.workload.model.name}, batch {one.cell.workload.batch}{streams}"


def _are_streams(found: Sequence[Verdict]) -> bool:
    return any(one.of_streams for one in found)


def _rests_on(found: Sequence[Verdict]) -> list[str]:
    """What the single inferences are, and what their clock could tell."""
    timed = [one for one in found if one.samples]
    if not timed:
        return []
    first = timed[0]
    paced = f"one each {time(first.period_s)}" if first.period_s else "one after the other"
    if _are_streams(timed):
        return [
            "The worst stream of each cell decides, while all work. p99 and missed rest on "
            f"{_span([one.samples for one in timed])} single inferences of a stream at least, "
            f"worth {_span([round(one.effective) for one in timed])} independent ones.",
            _least(first),
        ]
    steps = [one.resolution_s for one in timed if one.resolution_s]
    of_each = " on one board" if any(one.boards for one in timed) else ""
    clock = f"Their clock steps by {time(max(steps))}." if steps else "Their clock showed no step."
    return [
        f"p99 and missed rest on {_span([one.samples for one in timed])} single inferences of a "
        f"cell{of_each}, {paced}. Neighbours are alike: they are worth "
        f"{_span([round(one.effective) for one in timed])} independent ones. {clock}",
        _least(first),
    ]


def _least(one: Verdict) -> str:
    return (
        f"To keep the p99 within the budget at most {1 - SHARE:.0%} may be missed. That cannot be "
        f"claimed with fewer than {one.p99.least_samples} inferences."
    )


def _span(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return str(least) if least == most else f"{least} to {most}"


def _disturbed(found: Sequence[Verdict]) -> list[str]:
    """What it would be without other programs, where that makes a difference."""
    made = []
    for one in found:
        own, was = one.undisturbed_missed, one.missed.estimate
        if own is None or was is None or own == was:
            continue
        p99 = "–" if one.undisturbed_p99_s is None else f"{digits(one.undisturbed_p99_s * 1e3)} ms"
        made.append(
            f"Waits for other programs are in p99 and missed, as a deadline feels them. Without "
            f"them, {_cell(one)}: p99 {p99}, missed {percent(own)}."
        )
    return made


def decision(answers: Sequence[Answer], code: int | None = None) -> str:
    """The verdict on all, which answers it is of, and the exit code of a command."""
    best, made = deciding(answers), word(answers)
    which, count = "", sum(one.word == made for one in best)
    if len(best) < len(answers) and len(best) == 1:
        which = f" (batch {best[0].batch}, the best of {len(answers)}, decides)"
    elif len(best) < len(answers):
        which = f" ({count} of {len(best)}, each at its best batch; the worst decides)"
    elif len(best) > 1:
        which = f" ({count} of {len(best)} cells; the worst decides)"
    if code is None:
        return f"{made}{which}."
    why = "" if code == EXIT_CODES[made] else ", because not all could be measured"
    return f"{made}{which}: exit code {code}{why}."
