"""What many cost models say of one network: a table of boards, the best on top, and records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from nnprof.profiler.costmodel import across
from nnprof.profiler.deadlines import EXIT_CODES
from nnprof.profiler.decisions import deciding, word
from nnprof.profiler.frames import FrameTime
from nnprof.profiler.report import costmodel, shown_frames
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.shown_deadlines import STYLES, budget_line, time
from nnprof.terminal import Console, Table, styled
from nnprof.text import plain

if TYPE_CHECKING:
    from nnprof.profiler.costmodel.across import Offer
    from nnprof.profiler.costmodel.kept import Kept
    from nnprof.profiler.costmodel.prediction import Prediction

_NESTED = ("terms", "layers")  # of a record: no cell of a table can hold them
_LISTS = ("extrapolation", "unknown")


def print_offers(found: Sequence[Offer], left_out: Sequence[str], budget_s: float | None) -> None:
    """A table for each network, what decides, and what a reader must know of the models."""
    console = Console()
    names = _names(found)
    for network in dict.fromkeys(one.network for one in found):
        own = [one for one in found if one.network == network]
        said = next((one.prediction for one in own if one.prediction), None)
        console.say(said.network if said else network, "bold")
        if budget_s is not None:
            console.say(budget_line(budget_s, _what(said)))
        console.print(_table(own, names))
        for line in _lines(own, names, budget_s):
            console.say(line)
        console.print()
    for line in (*_models(found, names), *left_out):
        console.say(line, "yellow")
    if budget_s is not None:
        made = word(across.answers(found))
        console.say(f"{made}{_which(found)}: exit code {EXIT_CODES[made]}.", STYLES[made])


def _what(one: Prediction | None) -> str:
    return "all inferences of an image" if one and one.frame else "one inference"


def _names(found: Sequence[Offer]) -> dict[Path, str]:
    """What the table calls each model, by its file, which stands beside where two are alike."""
    names = {one.kept.path: one.kept.made.name for one in found}
    alike = Counter(names.values())
    return {
        path: f"{name} ({path.name})" if alike[name] > 1 else name for path, name in names.items()
    }


def runtime(kept: Kept) -> str:
    """Runtime, what of a device computes that has several parts, threads if several, precision."""
    target = kept.made.target
    part = target.on if target.where != target.device else ""
    threads = f"{target.threads} threads" if target.threads > 1 else ""
    return " ".join(filter(None, (target.backend, part, threads, kept.made.precision)))


def _table(own: Sequence[Offer], names: dict[Path, str]) -> Table:
    """A board and under it its runtime, for neither fits beside the numbers in 80 columns."""
    said = [one.prediction for one in own if one.prediction]
    energy = any(one.joules for one in said)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("board", overflow="fold")
    framed = any(one.frame for one in said)
    columns = ("batch", "ms/image" if framed else "ms", "90 %", "ms/tile")
    for name in (*columns, *(["mJ/tile"] if energy else [])):
        table.add_column(name, justify="right", no_wrap=True)
    if own[0].claim:
        table.add_column("verdict", no_wrap=True)
    for one in own:
        table.add_row(
            Text(f"{plain(names[one.kept.path])}\n  {plain(runtime(one.kept))}"),
            *_numbers(one.prediction, energy=energy),
            *([styled(one.claim.word, STYLES[one.claim.word])] if one.claim else []),
        )
    return table


def _numbers(one: Prediction | None, *, energy: bool) -> tuple[str, ...]:
    """Batch, time with its interval, time of a tile, and its energy where any is known."""
    if one is None:
        return ("–",) * (4 + energy)
    whole = one.frame or FrameTime(one.seconds, one.low_s, one.high_s)
    middle, low, high = (None if each is None else each * 1e3 for each in whole[:3])
    mark = "+" if one.unknown else "?" if one.extrapolates else ""
    joules = one.joules.per_tile * 1e3 if one.joules else None
    return (
        str(one.batch),
        digits(middle, 3) + mark,
        "–" if low is None or high is None else f"{digits(low, 3)}…{digits(high, 3)}",
        digits(one.ms_per_tile, 3),
        *([digits(joules, 3)] if energy else []),
    )


def _lines(own: Sequence[Offer], names: dict[Path, str], budget_s: float | None) -> list[str]:
    """Which is the best, who refuses and why, and what the marks mean."""
    said = [one.prediction for one in own if one.prediction]
    lines = _best(own, names, budget_s) if budget_s is not None else []
    lines += [f"{names[one.kept.path]}: {one.refused}" for one in own if one.refused]
    reasons = (one.claim.reason for one in own if one.claim and not one.refused)
    lines += [f"UNDECIDED: {reason}." for reason in dict.fromkeys(reasons) if reason]
    if any(one.frame for one in said):
        lines.append(shown_frames.NO_CUTTING)
    if any(one.extrapolates for one in said):
        lines.append("? outside what its model was made from; predict MODEL NETWORK says in what.")
    if any(one.unknown for one in said):
        lines.append("+ the sum of the known ops only; predict MODEL NETWORK names the others.")
    if any(one.joules for one in said):
        lines.append("mJ/tile: beyond what the device takes idle; – where no Run measured it.")
    elif said:
        lines.append("mJ/tile is unknown: no Run of these models measured it at these batches.")
    return lines


def _best(own: Sequence[Offer], names: dict[Path, str], budget_s: float) -> list[str]:
    """The fastest per tile that fits, and the one that takes the least energy, where known."""
    fitting = [one for one in own if one.claim and one.claim.word == "FITS"]
    if not fitting:
        return [f"No board is sure to keep to {time(budget_s)} with its whole interval."]
    lines = [f"The fastest per tile that fits: {_told(fitting[0], names)}."]
    known = [(one.prediction.joules.per_tile, at) for at, one in enumerate(fitting)
             if one.prediction and one.prediction.joules]  # fmt: skip
    if known:
        of = "" if len(known) == len(fitting) else f", of {len(known)} whose energy is known"
        lines.append(f"The least energy that fits{of}: {_told(fitting[min(known)[1]], names)}.")
    return lines


def _told(one: Offer, names: dict[Path, str]) -> str:
    batch = one.prediction.batch if one.prediction else 0
    return f"{names[one.kept.path]}, {runtime(one.kept)}, batch {batch}"


def _models(found: Sequence[Offer], names: dict[Path, str]) -> list[str]:
    """How far off each model is known to be; and where this machine is another than a model's."""
    models = {one.kept.path: one.kept.made for one in found}
    errors = [
        f"{names[path]}: {costmodel.error_line(made.network.error, made.doubt)}"
        for path, made in models.items()
    ]
    elsewhere = (
        f"{names[one.kept.path]}: {one.prediction.elsewhere}"
        for one in found
        if one.prediction and one.prediction.elsewhere
    )
    return [*errors, *dict.fromkeys(elsewhere)]


def _which(found: Sequence[Offer]) -> str:
    """Whose verdict it is."""
    framed = any(one.prediction and one.prediction.frame for one in found)
    best = "board, at its best batch," if framed else "board"
    questions = deciding(across.answers(found))
    if len(questions) == 1:
        return f" (the best {best} counts)"
    networks = len({one.network for one in found})
    of = "networks" if len(questions) == networks else "networks and batches"
    return f" (the best {best} of each of {len(questions)} {of} counts; the worst decides)"


def exit_code(found: Sequence[Offer]) -> int:
    """0 where a board fits, 1 where each misses, 3 where none surely fits, but one may."""
    return EXIT_CODES[word(across.answers(found))]


def records(found: Sequence[Offer], budget_s: float | None) -> list[dict[str, Any]]:
    """The offers as plain values, in order, for JSON."""
    return [_record(one, budget_s) for one in found]


def _record(one: Offer, budget_s: float | None) -> dict[str, Any]:
    made = one.kept.made
    place = {
        "model": made.name,
        "file": str(one.kept.path),
        "host": made.target.host,
        "device": made.target.device,
        "on": made.target.on or None,
        "backend": made.target.backend,
        "threads": made.target.threads,
        "precision": made.precision,
        "refused": one.refused or None,
    }
    if one.prediction is not None:
        return {**place, **costmodel.records([one.prediction], budget_s)[0]}
    judged = {} if one.claim is None else costmodel.judged(one.claim, budget_s or 0.0)
    return {**place, "network": one.network, "batch": None, **judged}


def flat(found: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Records as rows of a table, and its columns: without terms and layers, lists as text."""
    rows = [
        {
            name: "; ".join(value) if name in _LISTS else value
            for name, value in record.items()
            if name not in _NESTED
        }
        for record in found
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in columns} for row in rows], columns
