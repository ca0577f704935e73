"""`nnprof bench --streams 1,2,4`: so many sessions at once; which flags go with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnprof.cli import numbers, resumed
from nnprof.errors import UsageError

if TYPE_CHECKING:
    from nnprof.types import Cell, Target

Streams = Annotated[
    str | None,
    typer.Option(
        "--streams",
        metavar="1,2,4",
        help="So many sessions at once, each in a process on processors of its own: throughput, "
        "p50, p99 and fairness against their number; with --budget whether each keeps to it.",
    ),
]

_MOST = 256  # processes of ours on one machine
_TOGETHER_S = 0.5  # that they work together, in each round
# They are timed together, and nothing else is.
_ALONE = {"op_method": "none", "idle_s": (), "energy_s": 0.0, "telemetry_s": 0.0, "singles_s": 0.0}
_REFUSED = (
    "ops",
    "idle",
    "protocol",
    "pair",
    "against",
    "energy",
    "for_",
    "period",
)


def counts(text: str) -> tuple[int, ...]:
    """The numbers of `--streams 1,2,4`, each once.

    Raises:
        UsageError: one of them is no number, or none of streams.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and len(word) < 9 and int(word) >= 1 for word in words):
        raise UsageError(
            f"--streams {text} is not a list of whole numbers of at least 1.",
            "Write it like this: --streams 1,2,4",
        )
    found = tuple(dict.fromkeys(map(int, words)))
    numbers.within("--streams", max(found), 1, _MOST, "a number of streams")
    return found


def passes(context: typer.Context, how: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The fields of a plan for `--streams`, on top of those that the other flags give.

    Raises:
        UsageError: a flag is given that asks for something else than streams.
    """
    own = {one.name: max(one.opts, key=len) for one in context.command.params}
    given = [own[name] for name in _REFUSED if resumed.given(context, name)]
    if given:
        raise UsageError(
            f"--streams times several sessions at once, and nothing beside; it does not go with "
            f"{', '.join(given)}.",
            "Leave that out, or measure it in a run of its own."
            if own["pair"] not in given
            else "Measure each side in a run of its own, and hold them against each other with: "
            "nnprof compare A.json B.json",
        )
    if resumed.given(context, "image") and resumed.given(context, "budget"):
        raise UsageError(
            "--streams times inferences, so a --budget of a whole --image cannot be judged.",
            "Leave one of the three out; without --image the budget is of one inference.",
        )
    plan = how()
    # As long as a pass of single inferences would: each stream's own are judged by the budget.
    return {**plan, **_ALONE, "streams_s": max(_TOGETHER_S, plan.get("singles_s", 0.0))}


def each(cells: tuple[Cell, ...], asked: tuple[int, ...]) -> tuple[Cell, ...]:
    """Each cell with each of these numbers of streams; as they are where none is asked for."""
    from msgspec.structs import replace

    return tuple(
        replace(cell, target=replace(cell.target, streams=count))
        for cell in cells
        for count in asked or (cell.target.streams,)
    )


def widest(target: Target, asked: tuple[int, ...]) -> Target:
    """The target with as many streams as are asked for at most."""
    from msgspec.structs import replace

    return replace(target, streams=max(asked, default=target.streams))
