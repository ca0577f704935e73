"""`nnprof search`: networks that meet a time budget, and which of the trained ones are best."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nnprof
from nnprof.cli import progress
from nnprof.cli.numbers import within
from nnprof.text import plain
from nnprof.types import MOST_BATCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnprof import Candidate, Found
    from nnprof.terminal import Table

_SHOWN = 20


ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model.json, or the name of a published model.")
]
Least = Annotated[float, typer.Option("--min-tiles-per-ms", help="The budget.")]
Family = Annotated[
    str,
    typer.Option(
        help="A family, or part of it: 'mattsson(conv=1..3, depth=5..80/5, neurons=128|256)'."
    ),
]
Batch = Annotated[int, typer.Option(help="Tiles per inference.", min=1, max=MOST_BATCH)]
Accuracy = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FOLDER",
        help="A folder that nnprof train wrote, or a folder of such; repeatable. The networks are "
        "then those that were trained, with the front of accuracy against predicted time.",
    ),
]
Form = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="<table|csv|md|json>",
        help="How to print it; all but the table have all.",
    ),
]


def search(
    model: ModelName,
    least: Least,
    family: Family = "mattsson",
    batch: Batch = 1024,
    accuracy: Accuracy = None,
    output: Form = "table",
) -> None:
    """Find the networks that a cost model predicts to be fast enough."""
    within("--min-tiles-per-ms", least, 0, 1e12, "a speed")
    with progress.shown():
        known = nnprof.load_cost_model(model)
        found = nnprof.search(
            known, min_tiles_per_ms=least, family=family, batch=batch, trained=accuracy or ()
        )
    for note in found.notes:
        sys.stderr.write(f"nnprof: {plain(note)}\n")
    if output != "table":
        sys.stdout.write(_text(found.candidates, output))
        return
    _print_lines(_lines(found, known.name, least, batch, trained=bool(accuracy)))
    shown = found.candidates if accuracy else [one for one in found.candidates if one.largest]
    if shown:
        _print(shown[:_SHOWN], trained=bool(accuracy))
    if len(shown) > _SHOWN:
        _print_lines([f"… and {len(shown) - _SHOWN} more; all with --format csv."])


def _print_lines(lines: Sequence[str]) -> None:
    from nnprof.terminal import Console

    console = Console()
    for line in lines:
        console.say(line)


def _text(candidates: Sequence[Candidate], output: str) -> str:
    import msgspec

    from nnprof.profiler.report import forms

    found = [msgspec.structs.asdict(one) for one in candidates]
    columns = [field.name for field in msgspec.structs.fields(nnprof.Candidate)]
    return forms.written(output, found, columns)


def _lines(found: Found, name: str, least: float, batch: int, *, trained: bool) -> list[str]:
    from nnprof.profiler.report.digits import digits

    meeting = [one for one in found.candidates if one.meets != "no"]
    lines = [
        f"{len(meeting)} of {found.looked_at} networks reach {least:g} tiles/ms at batch {batch} "
        f"by {name}."
    ]
    surely = sum(one.meets == "surely" for one in meeting)
    if meeting and meeting[0].low_tiles_per_ms is None:
        lines[0] += " The model has no interval, so none is sure."
    elif meeting:
        lines[0] += f" {surely} of them surely: with their whole 90 % interval."
    if found.unknown:
        lines.append(
            f"{found.unknown} have an op that the model has not seen, and are left out: "
            f"{', '.join(found.unseen)}."
        )
    fastest = found.fastest
    if not meeting and fastest is not None:
        mark = ", outside what the model was made from" if fastest.extrapolates else ""
        lines.append(
            f"The fastest is {fastest.network}: {digits(fastest.tiles_per_ms)} tiles/ms{mark}."
        )
    strange = sum(one.extrapolates for one in meeting)
    if strange:
        lines.append(f"{strange} lie outside what the model was made from (marked ?).")
    if meeting and not trained:
        count = sum(one.largest for one in meeting)
        lines.append(f"{count} cannot grow: a step of any parameter and they are too slow.")
    return lines


def _print(candidates: Sequence[Candidate], *, trained: bool) -> None:
    from nnprof.terminal import Console, Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("network", overflow="fold")
    for name in ("tiles/ms", "90 %", "weights", *(["accuracy %"] if trained else [])):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("meets", no_wrap=True)
    if trained:
        table.add_column("front", no_wrap=True)
    _fill(table, candidates, trained=trained)
    Console().print(table)


def _fill(table: Table, candidates: Sequence[Candidate], *, trained: bool) -> None:
    from nnprof.profiler.report.digits import digits

    for one in candidates:
        low, high = one.low_tiles_per_ms, one.high_tiles_per_ms
        table.add_row(
            one.network,
            digits(one.tiles_per_ms) + ("?" if one.extrapolates else ""),
            f"{digits(low, 3)}…{digits(high, 3)}" if low and high else "–",
            f"{one.weights:,}",
            *([digits(one.accuracy)] if trained else []),
            one.meets,
            *(["*" if one.front else ""] if trained else []),
        )
