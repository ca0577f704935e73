"""`nnprof bench --device all` or `--device a,b`: one Run for each kind of board, all at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

import nnprof
from nnprof.cli import numbers, plans, progress
from nnprof.cli import resumed as taken_up
from nnprof.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from nnprof import BoardKind
    from nnprof.cli.places import Place
    from nnprof.types import Cell, Run, Target

    Started = list[tuple[Run, Path]]

Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Of several boards: use this scheduler of dask, tls://host:port, not one of our own.",
    ),
]


class Fleet(NamedTuple):
    """How several boards are driven, in the user's words; no `names` where a Run has them."""

    names: tuple[str, ...]
    every: bool
    scheduler: str | None
    power_mode: str

    def kinds(self, place: Place) -> tuple[BoardKind, ...]:
        """The boards that answer, those that are alike together."""

        def target_of(name: str) -> Target:
            return place._replace(device=name).target()

        return nnprof.board_kinds(
            self.names, target_of, all_of_them=not self.every, power_mode=self.power_mode
        )


def meant(
    device: str, resume: Path | None, scheduler: str | None, power_mode: str | None
) -> Fleet | None:
    """What the flags say of several boards; None where they name one place.

    Raises:
        UsageError: --scheduler for one place.
    """
    names = nnprof.board_names(device)
    if resume is not None:
        names = () if nnprof.load(resume).environment.get("boards") else None
    if names is None and scheduler is not None:
        raise UsageError(
            "--scheduler is for several boards, and one place is named.",
            "Name boards, such as --device all, or leave it out.",
        )
    if names is None:
        return None
    return Fleet(names, device == "all", scheduler, power_mode or "")


def begun(
    fleet: Fleet,
    cells: Callable[[Target], tuple[str, tuple[Cell, ...]]],
    place: Place,
    how: Callable[[], dict[str, Any]],
    words: tuple[bool, bool],
    out: Path,
    *,
    bundled: bool,
    pairs: bool,
) -> Started:
    """A Run for each kind of board; `cells` gives its name, too."""
    if pairs:
        raise UsageError(
            "--paired holds two sides against each other in one place.", "Name one board."
        )
    # A budget for processes one after the other is none for several at once.
    passes, (quick, rigorous) = {**how(), "budget_s": 0.0}, words
    plan = plans.plan(passes, bundled=bundled, quick=quick, rigorous=rigorous)
    wanted = nnprof.parse_precisions(place.precision) if place.precision else ()
    found = [(kind, *cells(kind.first.target)) for kind in fleet.kinds(place)]
    return nnprof.start_fleet(
        [(kind, own) for kind, _, own in found],
        plan,
        out,
        precisions=wanted,
        name=found[0][1],
        command=sys.argv[1:],
        power_mode=fleet.power_mode,
    )


def resumed(fleet: Fleet, context: typer.Context, path: Path, limit: float) -> Started:
    """A Run of boards that are alike, taken up again."""
    taken_up.refuse_others(context)
    limit_s = numbers.seconds("--limit", limit, 0.01)
    given_s = limit_s if taken_up.given(context, "limit") else None
    return [(nnprof.resume_fleet(path, limit_s=given_s, power_mode=fleet.power_mode), path)]


def measured(fleet: Fleet, begin: Callable[[], Started]) -> tuple[bool, Sequence[Path]]:
    """Whether all that was to be measured is, and where."""
    with progress.shown():
        runs = begin()
    sweep = partial(
        nnprof.sweep_fleet, runs, scheduler=fleet.scheduler, power_mode=fleet.power_mode
    )
    paths = [path for _, path in runs]
    with ExitStack() as stack:
        try:
            view = stack.enter_context(progress.fleet(runs))
            for path, step in sweep(told=view.board):
                view.step(path, step)
        except KeyboardInterrupt:
            return False, paths
    return True, paths
