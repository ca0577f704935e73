"""What a search found, printed to a terminal: how many networks, and a table of the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnprof.profiler.report import costmodel
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.shown_deadlines import time
from nnprof.terminal import Console, Table

if TYPE_CHECKING:
    from nnprof.profiler.costmodel.search import Candidate, Found

_SHOWN = 20


def print_found(found: Found, name: str, *, trained: bool, budget_s: float | None = None) -> None:
    """What reaches the speed by the model `name`: in words, then at most 20 as a table.

    That is tiles/ms, or of an image frames/s, or a time budget. Of networks that were not trained,
    those that cannot grow are shown.
    """
    console = Console()
    for line in _lines(found, name, trained=trained, budget_s=budget_s):
        console.say(line)
    shown = found.candidates if trained else [one for one in found.candidates if one.largest]
    if shown:
        wanted = None if budget_s is None else found.wanted
        console.print(_table(shown[:_SHOWN], found, wanted, trained=trained))
    if len(shown) > _SHOWN:
        console.say(f"… and {len(shown) - _SHOWN} more; all with --format csv.")


def _unit(found: Found) -> str:
    return "frames/s" if found.tiles_per_frame else "tiles/ms"


def _batches(found: Found) -> str:
    words = ", ".join(map(str, found.batches))
    return f"the best of the batches {words}" if len(found.batches) > 1 else f"batch {words}"


def _rates(one: Candidate) -> tuple[float, float | None, float | None]:
    """Speed in the unit of the search, with its interval."""
    if one.frames_per_s is not None:
        return one.frames_per_s, one.low_frames_per_s, one.high_frames_per_s
    return one.tiles_per_ms, one.low_tiles_per_ms, one.high_tiles_per_ms


def _reach(found: Found, budget_s: float | None) -> str:
    """What those networks do that are counted."""
    if budget_s is None:
        return f"reach {found.wanted:g} {_unit(found)}"
    what = "all inferences of an image" if found.tiles_per_frame else "one inference"
    return f"are predicted to keep to {time(budget_s)} for {what}"


def _lines(found: Found, name: str, *, trained: bool, budget_s: float | None) -> list[str]:
    """How many networks meet the budget, how surely, and what the model does not know."""
    meeting = [one for one in found.candidates if one.meets != "no"]
    lines = [
        f"{len(meeting)} of {found.looked_at} networks {_reach(found, budget_s)} at "
        f"{_batches(found)} by the model {name}."
    ]
    surely = sum(one.meets == "surely" for one in meeting)
    if meeting and meeting[0].low_tiles_per_ms is None:
        lines[0] += " The model has no interval, so none is sure."
    elif meeting:
        word = "surely" if budget_s is None else "FIT"
        lines[0] += f" {surely} of them {word}: with their whole 90 % interval."
    if budget_s is not None and found.perhaps:
        lines.append(
            f"{found.perhaps} more are UNDECIDED: predicted to miss, but not with all of their "
            "interval. They are not listed."
        )
    if found.tiles_per_frame:
        lines.append(f"A frame has {found.tiles_per_frame} tiles; cutting them out is not in it.")
    if found.unknown:
        lines.append(
            f"{found.unknown} have an op that the model has not seen, and are left out: "
            f"{', '.join(found.unseen)}."
        )
    fastest = found.fastest
    if not meeting and fastest is not None:
        mark = ", outside what the model was made from" if fastest.extrapolates else ""
        lines.append(
            f"The fastest is {fastest.network}: {digits(_rates(fastest)[0])} {_unit(found)}{mark}."
        )
    lines.append(costmodel.error_line(found.known_error, found.doubt))
    strange = sum(one.extrapolates for one in meeting)
    if strange:
        lines.append(f"{strange} lie outside what the model was made from (marked ?).")
    if meeting and not trained:
        count = sum(one.largest for one in meeting)
        lines.append(f"{count} cannot grow: a step of any parameter and they are too slow.")
    return lines


def _table(
    candidates: Sequence[Candidate], found: Found, wanted: float | None, *, trained: bool
) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("network", overflow="fold")
    several = ["batch"] if len(found.batches) > 1 else []
    more = ["accuracy %"] if trained else []
    for name in (*several, _unit(found), "90 %", "weights", *more):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("meets" if wanted is None else "verdict", no_wrap=True)
    if trained:
        table.add_column("front", no_wrap=True)
    _fill(table, candidates, wanted, several=bool(several), trained=trained)
    return table


def _verdict(one: Candidate, wanted: float) -> str:
    """FITS where the slow end of the interval is fast enough, MISSES where the fast end is not."""
    _, low, high = _rates(one)
    if low is not None and low >= wanted:
        return "FITS"
    return "MISSES" if high is not None and high < wanted else "UNDECIDED"


def _fill(
    table: Table,
    candidates: Sequence[Candidate],
    wanted: float | None,
    *,
    several: bool,
    trained: bool,
) -> None:
    for one in candidates:
        rate, low, high = _rates(one)
        table.add_row(
            one.network,
            *([str(one.batch)] if several else []),
            digits(rate) + ("?" if one.extrapolates else ""),
            f"{digits(low, 3)}…{digits(high, 3)}" if low and high else "–",
            f"{one.weights:,}",
            *([digits(one.accuracy)] if trained else []),
            one.meets if wanted is None else _verdict(one, wanted),
            *(["*" if one.front else ""] if trained else []),
        )
