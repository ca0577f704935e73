"""`nnprof calibrate`: a cost model of this machine in one command: plan, measure, fit, by turns."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nnprof
from nnprof.cli import numbers, progress, resumed
from nnprof.cli.bench import (
    INTERRUPTED,
    BackendName,
    DeviceName,
    On,
    Options,
    PowerMode,
    Threads,
    Wait,
    claims,
)
from nnprof.cli.places import Place
from nnprof.errors import NnprofError
from nnprof.text import shell_word

if TYPE_CHECKING:
    from nnprof import CostModel, Target
    from nnprof.cli.progress import Shown

Family = Annotated[
    str, typer.Option(help="The networks that matter, such as 'mattsson(conv=1..3, depth=5..80)'.")
]
Batches = Annotated[
    str, typer.Option(help="The smallest and the largest batch that matter, and any between.")
]
Minutes = Annotated[float, typer.Option(help="How long it may take in all.")]
Precision = Annotated[str, typer.Option(help="fp32, fp16 or int8.")]
Prior = Annotated[
    str,
    typer.Option(
        metavar="MODEL",
        help="Start from this model of another device while there are few ops.",
        show_default="the nearest that comes with nnprof",
    ),
]
Out = Annotated[
    Path,
    typer.Option("-o", "--output", help="The model file; one from before is gone on with."),
]
Folder = Annotated[Path, typer.Option("--out", help="Folder for the Run.")]
Resume = Annotated[
    Path | None, typer.Option(metavar="RUN.json", help="Go on with the Run of a calibration.")
]


def calibrate(
    context: typer.Context,
    output: Out,
    family: Family = "mattsson",
    batch: Batches = "1,1024",
    minutes: Minutes = 15.0,
    backend: BackendName = None,
    device: DeviceName = "cpu",
    on: On = None,
    threads: Threads = 1,
    option: Options = None,
    precision: Precision = "fp32",
    prior: Prior = "",
    power_mode: PowerMode = None,
    out: Folder = Path("bench_results"),
    resume: Resume = None,
    wait: Wait = False,
) -> None:
    """Make a cost model of this machine: plan, measure and fit in so many minutes."""
    begun = resume or nnprof.calibrated_by(output, out)
    sizes = numbers.batch_sizes(batch)
    request = nnprof.Request(
        family=family, batches=sizes, minutes=minutes, precision=precision, prior=prior
    )
    with progress.shown() as shown, claims(wait) as alone:
        known = _target(context, begun)
        target = known or Place(backend, device, threads, option or [], on=on).target()
        alone(target)
        with nnprof.powered(target, power_mode):
            path = begun or nnprof.start_calibration(target, request, out, command=sys.argv[1:])
            alone(path)
            given = minutes if resumed.given(context, "minutes") else None
            complete = _measured(path, given, shown)
        again = f"nnprof calibrate --resume {shell_word(path)} -o {shell_word(output)}"
        if not complete:
            shown.say(f"Stopped. What is measured is kept, and fitted; go on with:\n{again}")
        with _told(shown, again):
            _print(nnprof.calibrated(path), output, path)
    if not complete:
        raise typer.Exit(INTERRUPTED)


@contextmanager
def _told(shown: Shown, again: str) -> Iterator[None]:
    """Where what there is makes no model, say how to measure more of it."""
    try:
        yield
    except NnprofError:
        shown.say(
            f"There is no model yet. What is measured is kept; go on, with more --minutes:\n{again}"
        )
        raise


def _target(context: typer.Context, begun: Path | None) -> Target | None:
    """What a Run that is gone on with was measured on; then no other flag may say it again."""
    if begun is None:
        return None
    resumed.refuse_others(context, _ALLOWED)
    return nnprof.load(begun).study.cells[0].target


# What says how it is done or for how long, not what is measured; all else stands in the Run.
_ALLOWED = {"output", "minutes", "out", "resume", "wait", "power_mode"}


def _measured(path: Path, minutes: float | None, shown: Shown) -> bool:
    """Measure and fit, showing each step; False when the user stopped it."""
    said = ""
    try:
        for one in nnprof.calibrate(path, minutes=minutes):
            if one.words != said:
                said = one.words
                shown.say(f"{one.left_s / 60:.1f} min left at most; {one.known}; now {said}")
            if one.step is not None:
                shown.step(one.step)
    except KeyboardInterrupt:
        return False
    return True


def _print(made: CostModel, output: Path, path: Path) -> None:
    from nnprof.profiler.report import shown_model

    nnprof.save_cost_model(made, output)
    shown_model.print_model(made)
    sys.stdout.write(f"Run: {shell_word(path)}\nModel: {shell_word(output)}\n")
