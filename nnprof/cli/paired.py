"""`nnprof bench --paired`: which two sides alternate, how long, and what is shown of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

import nnprof
from nnprof.cli import forms, resumed
from nnprof.errors import UsageError
from nnprof.text import json_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnprof.types import Plan, Run

Paired = Annotated[
    bool,
    typer.Option(
        "--paired",
        help="Hold two networks against each other: their processes alternate until it is clear "
        "which is faster. Or, with --against, two runtimes.",
    ),
]
Against = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="With --paired: hold each network against itself with this changed: backend, device, "
        "on, threads, precision or an option of the backend; repeatable.",
    ),
]


def plan(context: typer.Context, passes: dict[str, Any], *, quick: bool, rigorous: bool) -> Plan:
    """Many short processes: the shorter they are, the closer in time the two of a pair.

    For the same reason ops and telemetry are left out where the user does not ask for them.

    Raises:
        UsageError: the words exclude each other, or a protocol of another kind is asked for.
    """
    from nnprof.types import Plan

    if quick and rigorous:
        raise UsageError("--quick and --rigorous exclude each other.", "Choose one.")
    if resumed.given(context, "protocol"):
        raise UsageError("--paired is a protocol of its own.", "Leave --protocol out.")
    unasked: dict[str, tuple[str, Any]] = {
        "ops": ("op_method", "none"),
        "telemetry": ("telemetry_s", 0.0),
    }
    silent = {
        field: off for flag, (field, off) in unasked.items() if not resumed.given(context, flag)
    }
    return Plan(
        **{
            **passes,
            **silent,
            "processes": 6,
            "max_processes": 16 if quick else 200 if rigorous else 40,
            "fresh": 0,
            "sample_s": 0.2,
            "warmup_s": 0.05,
            "warmup_limit_s": 1.0,
            "cell_limit_s": 3600.0,  # the number of pairs is the limit
            "protocol": "pairs",
        }
    )


def require_sides(networks: Sequence[str], study: str | None, against: Sequence[str]) -> None:
    """Refuse --paired without two sides.

    Raises:
        UsageError: there are neither exactly two networks nor a change to hold them against.
    """
    if against:
        return
    if study:
        raise UsageError(
            f"--paired holds two sides against each other; study {study} is one.",
            "Name two networks, or what to change: --against threads=2.",
        )
    if len(networks) != 2:
        named = "1 network is" if len(networks) == 1 else f"{len(networks)} networks are"
        raise UsageError(
            f"--paired holds two networks against each other, and {named} named.",
            "Name two, or what to change: --against backend=NAME, --against threads=2.",
        )


def show(sides: tuple[Run, Run], output: str) -> None:
    """The comparison of the two, as `nnprof compare` prints it; what failed, where nothing else."""
    from nnprof.profiler.report import lines, shown

    if all(any(one.finished for one in side.measurements) for side in sides):
        found = nnprof.compare(*sides)
        if output == forms.JSON:
            sys.stdout.write(json_lines(found) + "\n")
        else:
            shown.print_comparison(found)
    for side in sides:
        for line in lines.failure_lines(side.failures):
            sys.stderr.write(f"Failed: {line}\n")
