"""View 1: does a cell fit into the budget, why not, and what puts its numbers in doubt. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from nnprof.profiler import checks, deadlines, stats
from nnprof.profiler.deadlines import Claim
from nnprof.profiler.deadlines import Verdict as Judged
from nnprof.profiler.page import ops
from nnprof.profiler.page.cells import Cell
from nnprof.profiler.page.values import Column, Part, Table, Verdict
from nnprof.profiler.place.limits import Roofline
from nnprof.profiler.report import rows
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.shown_deadlines import heading, lines, percent
from nnprof.text import plain
from nnprof.types import Cell as Asked
from nnprof.types import Check, OpTime

_REASONS = 3
NONE = "NO BUDGET"
_ORDER = ("FITS", "UNDECIDED", "MISSES")  # the best first

Fact = tuple[str, str, str]
Found = Mapping[int, Judged]  # by the number of the cell


def judged(cells: Sequence[Cell], deadline_s: float) -> Found:
    """The verdict of each cell, by its number; those of Runs without a budget are not there.

    Args:
        cells: of the page.
        deadline_s: the budget; 0: that of each Run's plan.
    """
    runs = {id(cell.run): cell.run for cell in cells}
    known = {
        (key, one.cell.key): one
        for key, run in runs.items()
        for one in deadlines.verdicts(run, deadline_s or None)
    }
    found = {}
    for number, cell in enumerate(cells):
        asked = Asked(workload=cell.one.workload, target=cell.one.target)
        if (one := known.get((id(cell.run), asked.key))) is not None:
            found[number] = one
    return found


def best(cells: Sequence[Cell], found: Found) -> int:
    """The cell to show first.

    With a budget the most tiles/ms of those that fit, or come nearest to a claim of it; else the
    most of those whose ops were timed.
    """

    def rank(number: int) -> tuple[int, bool, float]:
        cell, one = cells[number], found.get(number)
        place = len(_ORDER) if one is None or one.word not in _ORDER else _ORDER.index(one.word)
        return (-place, cell.one.ops is not None, cell.tiles_ms or 0.0)

    return max(range(len(cells)), key=rank)


def part(cell: Cell, one: Judged | None) -> Part:
    """The card of a cell."""
    told = f"{cell.name}: {spoken(cell)} an inference."
    if one is None:
        why = "Without a budget nothing fits or misses: add --budget 33ms."
        if cell.one.plan.sustained_s:
            why = "Work without a rest: its windows stand below."
        card = _card(cell, NONE, why, (*_plain_facts(cell), *_always(cell)))
        return Part(told=told, verdict=card)
    about = f"{heading(one)}: {_about(one)}"
    facts = (*_claims(one), _headroom(one), *_always(cell))
    return Part(
        told=f"{one.word}: {about} {told}",
        verdict=_card(cell, one.word, about, facts),
        notes=tuple(map(plain, lines([one]))),
    )


def _card(cell: Cell, word: str, about: str, facts: Sequence[Fact]) -> Verdict:
    return Verdict(
        word=word, about=plain(about), facts=tuple(facts), reasons=reasons(cell), flags=flags(cell)
    )


def _about(one: Judged) -> str:
    """What decides: the claims that have the worst word."""
    if one.reason:
        return one.reason
    named = (("the median", one.median), ("the p99", one.p99), ("missed deadlines", one.missed))
    worst = [name for name, claim in named if claim.word == one.word]
    verb = {"FITS": "within it", "MISSES": "beyond it"}.get(one.word, "not decided")
    return f"{', '.join(worst)} {verb}."


def _claims(one: Judged) -> Iterator[Fact]:
    for name, claim in (("median", one.median), ("p99", one.p99)):
        value = "–" if claim.estimate is None else f"{digits(claim.estimate * 1e3)} ms"
        yield name, value, _remark(claim, lambda end: digits(end * 1e3))
    missed = one.missed
    value = "–" if missed.estimate is None else percent(missed.estimate)
    yield "missed", value, _remark(missed, percent)


def _remark(claim: Claim, words: Callable[[float], str]) -> str:
    """The word of a claim with its interval, or why there is none."""
    if claim.low is None or claim.high is None:
        return f"{claim.word}: {claim.reason}" if claim.reason else claim.word
    return f"{claim.word}; {words(claim.low)} to {words(claim.high)}"


def _headroom(one: Judged) -> Fact:
    left_s = one.headroom_s
    of = "median" if one.p99.estimate is None else "p99"
    if left_s is None:
        return "headroom", "–", "nothing was measured"
    return "headroom", f"{digits(left_s * 1e3, 3)} ms", f"{left_s / one.budget_s:.0%}, of the {of}"


def spoken(cell: Cell) -> str:
    """A cell's latency with its interval, as people write it."""
    if cell.ends_ms is None:
        return f"{digits(cell.ms)} ms"
    low, high = (digits(end) for end in cell.ends_ms)
    return f"{digits(cell.ms)} ms ({low} to {high})"


def _plain_facts(cell: Cell) -> Iterator[Fact]:
    """Median and p99 where there is no budget."""
    p99_s = stats.percentile_s(cell.one, deadlines.SHARE)
    ends = cell.ends_ms
    interval = (
        f"95 %: {digits(ends[0])} to {digits(ends[1])}" if ends else "one process: no interval"
    )
    yield "median", f"{digits(cell.ms)} ms", interval
    if p99_s is None:
        yield "p99", "–", "takes 662 single inferences"
    else:
        yield "p99", f"{digits(p99_s * 1e3)} ms", "of single inferences"


def _always(cell: Cell) -> Iterator[Fact]:
    """Throughput, and what it all rests on."""
    rate, one = cell.tiles_ms, cell.one
    processes = f"{len(one.samples_s)} process" + ("es" if len(one.samples_s) > 1 else "")
    samples = f"{sum(map(len, one.samples_s))} samples"
    unknown = "" if rate else "the batch is not known; "
    yield "tiles/ms", digits(rate), f"{unknown}{processes}, {samples}, {stats.state(one)}"


def reasons(cell: Cell) -> tuple[str, ...]:
    """The ops that take the longest, each with how near its limit it is."""
    if cell.one.ops is None:
        return ()
    known, own = rows.roof(cell.run), cell.one.ops.ops
    total_s = sum(op.seconds for op in own)
    longest = sorted(own, key=lambda op: -op.seconds)[:_REASONS]
    return tuple(_reason(op, total_s, known) for op in longest if op.seconds > 0)


def _reason(op: OpTime, total_s: float, known: Roofline | None) -> str:
    limit = rows.against(op, known)
    reached = f", {limit['of_limit']:.0%} of its limit ({limit['bound']})" if limit["bound"] else ""
    share = f"{op.seconds / total_s:.0%} of the ops' time"
    return f"{ops.spoken(op)}: {share}, {digits(op.seconds * 1e3, 3)} ms{reached}"


def flags(cell: Cell) -> tuple[str, ...]:
    """What the checks of a cell say, the most important first."""
    ranked = sorted(cell.one.checks, key=lambda check: checks.rank(check.code))
    return tuple(plain(line) for line in _lines(ranked))


def _lines(ranked: Iterable[Check]) -> Iterator[str]:
    for check in ranked:
        yield " ".join(checks.text(check)).strip()


def every(cells: Sequence[Cell], found: Found) -> Part | None:
    """A table of all cells, with their verdicts where there is a budget; None of a single cell."""
    if len(cells) < 2:
        return None
    columns = [
        Column(title="cell", form="cell"),
        Column(title="batch"),
        Column(title="tiles/ms"),
        Column(title="ms"),
        Column(title="low", note="lower end of the 95 % interval over processes"),
        Column(title="high", note="upper end"),
        Column(title="p99 ms", note="where there are 662 single inferences"),
        Column(title="state", form="text"),
    ]
    if found:
        columns += [
            Column(title="verdict", form="text"),
            Column(title="headroom ms", note="of the p99, or of the median where that is unknown"),
            Column(title="missed", form="percent"),
        ]
    table = Table(
        caption="All cells",
        columns=tuple(columns),
        rows=tuple(_row(number, cell, found) for number, cell in enumerate(cells)),
    )
    return Part(told=_every_told(cells, found), tables=(table,))


def _row(number: int, cell: Cell, found: Found) -> tuple[str | float | None, ...]:
    p99_s = stats.percentile_s(cell.one, deadlines.SHARE)
    low, high = cell.ends_ms or (None, None)
    row: tuple[str | float | None, ...] = (
        *(number, cell.batch, cell.tiles_ms, cell.ms, low, high),
        *(None if p99_s is None else p99_s * 1e3, stats.state(cell.one)),
    )
    if not found:
        return row
    one = found.get(number)
    if one is None:
        return (*row, "no budget", None, None)
    left_s = one.headroom_s
    return (*row, one.word, None if left_s is None else left_s * 1e3, one.missed.estimate)


def _every_told(cells: Sequence[Cell], found: Found) -> str:
    if found:
        words = [one.word for one in found.values()]
        told = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(sorted(words)))
        return f"Of {len(found)} cells with a budget: {told}."
    fastest = min(cells, key=lambda cell: cell.ms)
    slowest = max(cells, key=lambda cell: cell.ms)
    return (
        f"{len(cells)} cells, from {digits(fastest.ms)} ms ({fastest.name}) to "
        f"{digits(slowest.ms)} ms ({slowest.name}) an inference."
    )
