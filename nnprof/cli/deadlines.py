"""`--budget` and `--period`: the time budget of a network, in the user's words, and its verdict."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

import nnprof
from nnprof.cli import numbers
from nnprof.errors import UsageError

if TYPE_CHECKING:
    from nnprof import Prediction, Verdict
    from nnprof.types import Run

_FORMS = "33ms, 0.5ms, 800us, 2s, or 30fps"
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="TIME|fps",
        help=f"The time budget of one inference, such as {_FORMS}; with --image of a whole image. "
        "FITS (exit code 0), MISSES (1) or UNDECIDED (3) for the median, the 99th percentile and "
        "the share of missed deadlines.",
    ),
]
Asked = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="TIME|fps",
        help=f"Judge it by a time budget, such as {_FORMS}: of one inference; of a whole image "
        "where tiles are cut from one.",
    ),
]
Foretold = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="TIME|fps",
        help=f"A time budget, such as {_FORMS}, of one inference; with --image of all its tiles. "
        "FITS (exit code 0), MISSES (1) or UNDECIDED (3) by the model's interval.",
    ),
]
Kept = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="TIME|fps",
        help=f"A time budget, such as {_FORMS}, of one inference (batch 1 where not given); with "
        "--image of all its tiles, cutting left out.",
    ),
]
Period = Annotated[
    str | None,
    typer.Option(
        "--period",
        metavar="TIME|fps",
        help="Time single inferences that begin so far apart, as a camera asks for them, such as "
        "33ms or 30fps.",
    ),
]

_RATE = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?(?:fps|/s)")
_LEAST_S, _MOST_S = 1e-7, 3600.0
_INFERENCES = 200  # of a process, at the budget: 7 processes then have 1400, and a p99 takes 662
_SHORTEST_S, _LONGEST_S = 0.5, 10.0  # of the pass of one process


def seconds(option: str, text: str) -> float:
    """Seconds of `33ms`, or of one of so many in a second: `30fps`.

    Raises:
        UsageError: it is neither, or no time that an inference could have.
    """
    rate, found = _RATE.fullmatch(text.strip()), numbers.time(text)
    if rate and float(rate[1]):
        found = 1 / float(rate[1])
    if found is None:
        raise UsageError(
            f"{option} {text} is no time.", f"Write it like this: {option} 33ms, or 30fps."
        )
    if not _LEAST_S <= found <= _MOST_S:
        raise UsageError(
            f"{option} {text} is no time that an inference can have.", "Give 0.1us to 3600s."
        )
    return found


def usual(budget: str | None) -> dict[str, tuple[int, ...]]:
    """Which batches are taken where nobody names any, as an argument: of a budget one tile."""
    return {} if budget is None else {"usual": (1,)}


def passes(
    how: Callable[[], dict[str, Any]], budget: str | None, period: str | None
) -> dict[str, Any]:
    """The fields of a plan with a budget or a period, on top of those that the other flags give.

    Raises:
        UsageError: one of them is no time; or the protocol makes no such pass.
    """
    plan = how()
    if budget is None and period is None:
        return plan
    if plan["protocol"] != "rounds":
        name = "--budget" if budget is not None else "--period"
        raise UsageError(
            f"--protocol {plan['protocol']} times no single inferences, so {name} cannot be kept.",
            f"Leave one of the two out: --protocol or {name}.",
        )
    deadline_s = 0.0 if budget is None else seconds("--budget", budget)
    period_s = 0.0 if period is None else seconds("--period", period)
    wanted_s = _INFERENCES * max(deadline_s, period_s)
    return {
        **plan,
        "deadline_s": deadline_s,
        "period_s": period_s,
        "singles_s": min(max(wanted_s, _SHORTEST_S), _LONGEST_S),
    }


def require_run(budget: str | None, *, is_run: bool) -> None:
    """Refuse a budget for what is no Run.

    Raises:
        UsageError: there is one, and it is none.
    """
    if budget is not None and not is_run:
        raise UsageError(
            "--budget judges the cells of a Run, and this shows something else.",
            "Give the .json file that nnprof bench wrote, without --grid.",
        )


def show(
    runs: Sequence[Run],
    budget_s: float | None = None,
    batches: Sequence[int] = (),
    *,
    code: int | None = None,
) -> None:
    """Print the verdicts of Runs that have a budget, or are given one; of these batches, or all.

    Then what decides, with the exit code that the command ends with where it tells of that.
    """
    judged = [run for run in runs if budget_s is not None or run.study.plan.deadline_s]
    found = [
        (run, [one for one in nnprof.verdicts(run, budget_s) if _is_of(one, batches)])
        for run in judged  # what judges loads numpy, which is a fifth of the time that show takes
    ]
    if any(own for _, own in found):
        from nnprof.profiler.report import shown_deadlines

        shown_deadlines.print_runs([(run, own) for run, own in found if own], code)


def _is_of(one: Verdict, batches: Sequence[int]) -> bool:
    return not batches or one.cell.workload.batch in batches


def exit_code(runs: Sequence[Run]) -> int:
    """Of `bench`: that of the verdict on all cells; 0 where no Run has a budget."""
    from nnprof.profiler.report import shown_deadlines

    found = [one for run in runs for one in nnprof.verdicts(run)]
    return shown_deadlines.exit_code(nnprof.decided(found)) if found else 0


def foretold(found: Sequence[Prediction], budget_s: float, *, shown: bool) -> int:
    """The exit code of predictions and a budget; with `shown` the verdicts are printed."""
    from nnprof.profiler.report import shown_deadlines

    return shown_deadlines.foretold(found, budget_s, shown=shown)
