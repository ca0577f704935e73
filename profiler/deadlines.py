"""Whether a network keeps to a time budget: FITS, MISSES or UNDECIDED, with intervals. Pure.

A claim is made only where its whole 95 % interval lies on one side of the budget, so that at most
2.5 % of all claims are wrong (`benchmarks/budget_calibration.py`). The median is that of `stats`,
with the process as the unit; the 99th percentile and the share of missed deadlines come from single
inferences (`tails`). A deadline feels what another program took, so waits for a processor count in
these two; how it would be without them is told beside. The median is without them, as everywhere.

Where boards that measured a cell differ (`twins`), a claim is one about each of them. For the
median that is in its interval. How slow the slowest inferences of a board are only that board
shows, so the other two are judged by each board's own inferences.

This file is longer than 400 lines because every way to measure ends here: cells, whole images,
paced inferences, several streams, work without a rest; all have the same three claims.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Literal, TypeAlias, get_args

import msgspec
from msgspec.structs import replace

from nnprof.profiler import frames, stats, steady
from nnprof.profiler.shares import Estimate, Share
from nnprof.profiler.tails import Tail, late_s, least_samples, tail
from nnprof.types import Cell, Failure, Measurement, Process, Run, Singles

Word: TypeAlias = Literal["FITS", "UNDECIDED", "MISSES", "FAILED"]
RANK: dict[Word, int] = {one: place for place, one in enumerate(get_args(Word))}  # best first
EXIT_CODES: dict[Word, int] = {"FITS": 0, "UNDECIDED": 3, "MISSES": 1, "FAILED": 1}
SHARE = 0.99  # the percentile that is judged; a share of 1 - SHARE of deadlines may be missed
FEWEST = 2  # processes that tell a spread
IN_BETWEEN = "the budget lies within the interval"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One number, and on which side of the budget it lies.

    Attributes:
        estimate: seconds, or of missed deadlines a share; None where it is not known.
        low, high: its 95 % interval; an end that is open is None.
        word: FITS where all of the interval is within the budget, MISSES where none of it is.
        reason: why it is undecided, or what is not known; empty where all is.
        least_samples: single inferences that it takes to claim FITS, where neighbours are not alike
            and processes do not differ; of the median processes.
    """

    estimate: float | None
    low: float | None
    high: float | None
    word: Word
    reason: str = ""
    least_samples: int = FEWEST


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said of one cell and a time budget.

    Attributes:
        cell: that it is about.
        budget_s: of one inference, or of one image where the tiles are cut from one.
        median, p99, missed: the claims.
        word: the worst of them, or FAILED.
        reason: why the cell failed or was left out; else empty.
        processes, samples: what the claims rest on: processes, single inferences.
        effective: how many independent inferences those are worth; 0 without any. Of boards that
            differ it is the board that has the fewest.
        period_s: from the beginning of one single inference to that of the next; 0: as they came.
        resolution_s: of the clock that timed them, None where it is not known.
        boards: that differ, each of which the claims are about; () where none do.
        undisturbed_p99_s, undisturbed_missed: the same without what other programs took (`stats`);
            None where nobody counted that, or on several processors.
        of_streams: several sessions worked at once, and each claim is that of the worst of them;
            samples and effective are then of a stream.
    """

    cell: Cell
    budget_s: float
    median: Claim
    p99: Claim
    missed: Claim
    word: Word
    reason: str = ""
    processes: int = 0
    samples: int = 0
    effective: float = 0.0
    period_s: float = 0.0
    resolution_s: float | None = None
    boards: tuple[str, ...] = ()
    undisturbed_p99_s: float | None = None
    undisturbed_missed: float | None = None
    of_streams: bool = False

    @property
    def headroom_s(self) -> float | None:
        """What the 99th percentile leaves of the budget, or the median where that is not known."""
        known = self.median if self.p99.estimate is None else self.p99
        return None if known.estimate is None else self.budget_s - known.estimate


def verdicts(run: Run, budget_s: float | None = None) -> tuple[Verdict, ...]:
    """One verdict for each cell that was asked for, in that order.

    Args:
        run: with or without single inferences; without them the median alone is judged.
        budget_s: of one inference, or of one whole image (cut, and all its inferences) where tiles
            are cut from one; that of the plan where not given. () where there is none. Of work
            without a rest its steady state is judged.
    """
    budget_s = run.study.plan.deadline_s if budget_s is None else budget_s
    if not budget_s:
        return ()
    found = _found(run)
    return tuple(_judged(cell, found.get(cell.key), budget_s) for cell in run.study.cells)


def worst(words: Iterable[Word]) -> Word:
    """Of several words the one that decides."""
    return max(words, key=RANK.__getitem__, default="UNDECIDED")


def claim(estimate: Estimate | Share, limit: float, reason: str = "", least: int = FEWEST) -> Claim:
    """On which side of a limit an estimate lies, by its whole interval."""
    value, low, high = estimate
    word: Word = "UNDECIDED"
    if high is not None and high <= limit:
        word = "FITS"
    elif low is not None and low > limit:
        word = "MISSES"
    if word == "UNDECIDED" and not reason:
        reason = IN_BETWEEN
    return Claim(estimate=value, low=low, high=high, word=word, reason=reason, least_samples=least)


def median_of(measurement: Measurement) -> tuple[Estimate, str]:
    """The median of a cell, or of its whole image, with its interval; and what of it is not known.

    Of paced inferences it is that of the single ones, since the clean pass does not rest.
    """
    paced = [one for one in _known(measurement) if one.period_s]
    if paced:
        values = [median(one.latencies_s) for one in paced]
        timed = _timed(measurement)
        middle = stats.at_middle(measurement, values, timed)
        bounds = stats.on_each_board(measurement, _level(measurement, middle, timed), values)
        return Estimate(median(values), *(bounds or (None, None))), "" if bounds else _ONE
    frame = frames.measured(measurement)
    if frame and frame.both:
        low, high = frame.both.low_s, frame.both.high_s
        return Estimate(frame.both.seconds, low, high), "" if low else _ONE
    if frame:
        inference = frame.inference
        return Estimate(
            inference.seconds, inference.low_s, None
        ), f"cutting is not known: {frame.unknown}"
    bounds = stats.interval_s(measurement)
    return Estimate(stats.latency_s(measurement), *(bounds or (None, None))), "" if bounds else _ONE


def tail_of(measurement: Measurement, board: str = "") -> Tail | None:
    """The single inferences of a cell, or of a board; None where there are none, or of one process.

    Args:
        measurement: the cell.
        board: whose processes count; empty: those of all.
    """
    known = [one for one in _timed(measurement) if board in ("", one.board)]
    if len(known) < FEWEST:
        return None
    series = [one.singles.latencies_s for one in known if one.singles]
    level = _level(measurement, [median(one) for one in series], known)
    return tail(series, level) if level else None


def missed(seen: Tail, budget_s: float) -> Claim:
    """The share of inferences that take longer than the budget; a hundredth may."""
    made = claim(seen.slower(budget_s), 1 - SHARE, least=least_samples(SHARE))
    return _few(made, seen.size)


def percentile(seen: Tail, budget_s: float) -> Claim:
    """The 99th percentile; whether it is within the budget is the same question as `missed`."""
    made = claim(seen.percentile_s(SHARE), budget_s, least=least_samples(SHARE))
    return _few(made, seen.size)


def _few(made: Claim, count: int) -> Claim:
    """The claim where it rests on so many inferences: with too few no FITS, and a reason.

    That deadlines are missed may show sooner; then what needs a reason is a number that lacks.
    """
    if count >= made.least_samples or made.reason not in ("", IN_BETWEEN):
        return made
    there = f"{made.least_samples} single inferences, and there are {count}"
    if made.word == "MISSES":
        lacks = f"it is beyond the budget, but its value takes {there}"
        return replace(made, reason=lacks if made.estimate is None else "")
    return replace(made, word="UNDECIDED", reason=f"to claim FITS takes {there}")


def _unknown(why: str) -> Claim:
    return Claim(
        estimate=None, low=None, high=None, word="UNDECIDED", reason=why,
        least_samples=least_samples(SHARE),
    )  # fmt: skip


_ONE = "a single process tells no spread"
_NO_IMAGES = "streams time inferences, and no whole images"
_NOT_ASKED = "inferences were not timed one by one"


def _key(one: Measurement | Failure) -> str:
    return Cell(workload=one.workload, target=one.target).key


def _found(run: Run) -> dict[str, Measurement | Failure]:
    """By the key of its cell what there is of each; what was measured before what failed."""
    failed: list[Measurement | Failure] = [*run.failures]
    return {_key(one): one for one in [*failed, *run.measurements]}


def _judged(cell: Cell, found: Measurement | Failure | None, budget_s: float) -> Verdict:
    if isinstance(found, Measurement):
        if any(one.streams for one in found.processes):
            return _streamed(cell, found, budget_s)
        worked = found.plan.sustained_s and found.processes
        return (_worked if worked else _measured)(cell, found, budget_s)
    reason = "not measured: there was no time left for it"
    if found is not None:
        reason = f"{found.error}: {found.reason} {found.remedy}".strip()
    word: Word = "UNDECIDED" if found is None else "FAILED"
    none = Claim(estimate=None, low=None, high=None, word=word, reason=reason)
    return Verdict(
        cell=cell, budget_s=budget_s, median=none, p99=none, missed=none, word=word, reason=reason
    )


def _measured(cell: Cell, found: Measurement, budget_s: float) -> Verdict:
    middle, unknown = median_of(found)
    central = claim(middle, budget_s, unknown)
    boards = tuple(stats.board_steps(found)[0])
    seen = {board: tail_of(found, board) for board in boards or ("",)}
    p99, late = (
        _of_each({
            board: made(one, budget_s) if one else _unknown(_why(found, board))
            for board, one in seen.items()
        })
        for made in (percentile, missed)
    )  # fmt: skip
    own = _undisturbed(found)
    return Verdict(
        cell=cell,
        budget_s=budget_s,
        median=central,
        p99=p99,
        missed=late,
        word=worst((central.word, p99.word, late.word)),
        processes=len(found.samples_s),
        samples=min(sum(len(one.samples_s) for one in _known(found, board)) for board in seen),
        effective=min((one.effective for one in seen.values() if one), default=0.0),
        boards=boards,
        period_s=max((one.period_s for one in _known(found)), default=0.0),
        resolution_s=max((one.resolution_s for one in _known(found)), default=0.0) or None,
        undisturbed_p99_s=_percentile(own),
        undisturbed_missed=sum(one > budget_s for one in own) / len(own) if own else None,
    )


def _streamed(cell: Cell, found: Measurement, budget_s: float) -> Verdict:
    """Of several streams: each is to keep to the budget while all work, so the worst decides."""
    boards = tuple(stats.board_steps(found)[0]) or ("",)
    timed = [one for one in found.processes if one.streams]
    series = [
        [one.streams[number].samples_s for one in timed if board in ("", one.board)]
        for number in range(min(len(one.streams) for one in timed))
        for board in boards
    ]
    each = [_of_series(found, own, budget_s) for own in series]
    claims = [one[:3] for one in each]
    if cell.workload.image:
        claims = [(_unknown(_NO_IMAGES),) * 3]
    central, p99, late = (max(own, key=_severity) for own in zip(*claims, strict=True))
    return Verdict(
        cell=cell,
        budget_s=budget_s,
        median=central,
        p99=p99,
        missed=late,
        word=worst((central.word, p99.word, late.word)),
        processes=len(timed),
        samples=min(sum(map(len, own)) for own in series),
        effective=min(seen.effective if seen else 0.0 for *_, seen in each),
        of_streams=True,
    )


def _severity(made: Claim) -> tuple[int, float]:
    return RANK[made.word], made.estimate or 0.0


def _of_series(
    found: Measurement, series: Sequence[Sequence[float]], budget_s: float
) -> tuple[Claim, Claim, Claim, Tail | None]:
    """Median, p99 and missed of single inferences, a series for each round; and their tail."""
    if not series:
        return _unknown(_ONE), _unknown(_ONE), _unknown(_ONE), None
    values = [median(one) for one in series]
    decided = stats.decided_after(stats.process_medians_s(found), found.plan)
    fresh = values[decided:] if decided and len(values) == len(found.processes) else []
    level = stats.level_among(values, fresh if len(fresh) >= stats.FEWEST_FRESH else ())
    if level is None:
        lone = claim(Estimate(median(values), None, None), budget_s, _ONE)
        return lone, _unknown(_ONE), _unknown(_ONE), None
    middle = Estimate(median(values), *(stats.bounds(level, values) or (None, None)))
    seen = tail(series, level)
    return claim(middle, budget_s), percentile(seen, budget_s), missed(seen, budget_s), seen


def _worked(cell: Cell, found: Measurement, budget_s: float) -> Verdict:
    """Of work without a rest: what its steady state says, of this one process."""
    end = steady.at_end(found.processes[-1])
    if end is None:
        none = _unknown("fewer than two windows")
        return Verdict(
            cell=cell, budget_s=budget_s, median=none, p99=none, missed=none, word="UNDECIDED",
            processes=1,
        )  # fmt: skip
    central = _not_too_soon(claim(end.median, budget_s, end.why))
    if end.missed is None or budget_s != found.plan.deadline_s:
        late = _unknown("its windows count what is missed of the budget of bench only")
    else:
        late = _not_too_soon(claim(end.missed, 1 - SHARE, end.why, least_samples(SHARE)))
    p99 = _few(replace(late, estimate=end.p99_s, low=None, high=None), end.inferences)
    late = _few(late, end.inferences)
    return Verdict(
        cell=cell,
        budget_s=budget_s,
        median=central,
        p99=p99,
        missed=late,
        word=worst((central.word, p99.word, late.word)),
        processes=1,
        samples=end.inferences,
        effective=end.effective,
        period_s=found.plan.period_s,
        resolution_s=found.facts.get("timer_s"),
    )


def _not_too_soon(made: Claim) -> Claim:
    """No FITS where something is not known; that deadlines are missed may show all the same."""
    return replace(made, word="UNDECIDED") if made.reason and made.word == "FITS" else made


def _of_each(claims: Mapping[str, Claim]) -> Claim:
    """One claim about each of several boards, of which each has its own: the highest of them.

    FITS where all fit and MISSES where none does, as an interval that holds all of them would say.
    """
    if len(claims) == 1:
        return next(iter(claims.values()))
    words = {one.word for one in claims.values()}
    word: Word = next(iter(words)) if len(words) == 1 else "UNDECIDED"
    values, lows, highs = (
        [getattr(one, name) for one in claims.values()] for name in ("estimate", "low", "high")
    )
    return Claim(
        estimate=None if None in values else max(values),
        low=None if None in lows else min(lows),
        high=None if None in highs else max(highs),
        word=word,
        reason=_by_board(claims),
        least_samples=max(one.least_samples for one in claims.values()),
    )


def _by_board(claims: Mapping[str, Claim]) -> str:
    """Why a claim about each board is open; one reason for all needs no names."""
    if len({(one.word, one.reason) for one in claims.values()}) == 1:
        return next(iter(claims.values())).reason
    told = [
        f"{board} {one.word}" + (f" ({one.reason})" if one.reason else "")
        for board, one in claims.items()
    ]
    return f"the boards differ, and each is judged by its own inferences: {', '.join(told)}"


def _known(measurement: Measurement, board: str = "") -> list[Singles]:
    """The single inferences of each process, of a board alone where one is named."""
    timed = (one for one in _timed(measurement) if board in ("", one.board))
    return [one.singles for one in timed if one.singles]


def _timed(measurement: Measurement) -> list[Process]:
    """The processes that have single inferences."""
    return [one for one in measurement.processes if one.singles and one.singles.samples_s]


def _level(
    measurement: Measurement, values: Sequence[float], timed: Sequence[Process]
) -> stats.Level | None:
    """What these medians of processes say; their spread is that of processes none was chosen by."""
    decided = stats.decided_after(stats.process_medians_s(measurement), measurement.plan)
    fresh: Sequence[float] = ()
    if decided is not None and len(_timed(measurement)) == len(measurement.processes):
        fresh = [value for value, one in zip(values, timed, strict=True) if one.round >= decided]
    return stats.level_among(values, fresh if len(fresh) >= stats.FEWEST_FRESH else ())


def _why(measurement: Measurement, board: str) -> str:
    """Why there is no tail, of a board where one is named."""
    lost = [
        one for process in measurement.processes for one in process.lost if one.what == "singles"
    ]
    told = [one.singles.unknown for one in measurement.processes if one.singles]
    if lost:
        return f"their pass failed: {lost[0].error}: {lost[0].reason}"
    if any(told):
        return next(filter(None, told))
    if _known(measurement):
        return _ONE if _known(measurement, board) else "no process ran there"
    return _NOT_ASKED


def _undisturbed(measurement: Measurement) -> list[float]:
    """All latencies without waits for others, sorted; [] where these are not known to be lost."""
    processes = _timed(measurement)
    found: list[float] = []
    for process in processes:
        one = process.singles
        if one is None or not one.waited_s or len(process.processors) > 1:
            return []
        own_s = stats.own_s(one.samples_s, one.waited_s, len(process.processors))
        late = late_s(own_s, one.period_s) or (0.0,) * len(own_s)
        found += map(sum, zip(own_s, late, strict=True))
    return sorted(found)


def _percentile(ordered: Sequence[float]) -> float | None:
    """The 99th, where there are enough."""
    if len(ordered) < least_samples(SHARE):
        return None
    return ordered[math.ceil(SHARE * len(ordered)) - 1]
