"""`nnprof train --study`: the trainings of a study, the user's settings before its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import nnprof
from nnprof.cli import forms, numbers, progress, resumed
from nnprof.errors import UsageError
from nnprof.text import duration, shell_word

if TYPE_CHECKING:
    from nnprof import Study
    from nnprof.cli.progress import Shown


def train(context: typer.Context, given: dict[str, Any]) -> None:
    """Train what is left of a study, and print its table.

    Args:
        context: of the command, which knows what the user typed.
        given: the command's options, by name.
    """
    out, format = given["out"], given["format"]
    if given["network"] or given["seed"] is not None:
        raise UsageError(
            "A study brings its own networks and seeds.",
            "Leave the network and --seed out; --seeds 0..3 says how many trainings each gets.",
        )
    study = _asked(context, given)
    devices = [word.strip() for word in given["device"].split(",")]
    jobs = nnprof.start_study(study, out, devices, at_once=given["jobs"], resume=given["resume"])
    try:
        with nnprof.alone(out / "study.json"), progress.shown() as shown:
            failed = _train(jobs, given["jobs"], shown)
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. What is trained is kept; add --resume to go on.\n")
        raise
    _say(out, format)
    if failed:
        sys.stderr.write(f"{failed} trainings failed; try them again with --resume.\n")
        raise typer.Exit(1)


def _asked(context: typer.Context, given: dict[str, Any]) -> Study:
    study = nnprof.find_study(given["study"])
    if resumed.given(context, "dataset"):
        study = nnprof.on_dataset(study, given["dataset"])
    names = set(nnprof.TrainingSettings.__struct_fields__) - {"device"}
    typed = {name: given[name] for name in names if resumed.given(context, name)}
    if "patience" in typed:
        typed["patience"] = numbers.patience(typed["patience"])
    seeds = numbers.seeds(given["seeds"]) if given["seeds"] is not None else None
    return nnprof.with_settings(study, typed, seeds) if typed or seeds else study


def _train(jobs: Any, at_once: int, shown: Shown) -> int:
    """Each training as it ends, and the time that is left; how many failed."""
    if not jobs:
        shown.say("All trainings of the study have ended.")
        return 0
    shown.say(f"{len(jobs)} trainings, {at_once} at a time; timing the first steps of each")
    seconds = nnprof.seconds_of(jobs)
    left = dict(zip((job.folder for job in jobs), seconds, strict=True))
    told = _left(left, at_once)
    shown.say(f"{len(jobs)} trainings, at most {told}" if told else "no training can begin")
    failed = 0
    for done, ended in enumerate(nnprof.train_jobs(jobs), start=1):
        left.pop(ended.job.folder)
        failed += ended.failure is not None
        name = f"{ended.job.cell} seed {ended.job.seed}"
        shown.say(f"{done} of {len(jobs)}: {name}: {_outcome(ended)}; {_left(left, at_once)} left")
    return failed


def _left(seconds: dict[Path, float | None], at_once: int) -> str:
    return duration(sum(value or 0 for value in seconds.values()) / at_once)


def _outcome(ended: Any) -> str:
    if ended.failure:
        return f"failed: {ended.failure.reason}"
    record = ended.record
    told = duration(record.epochs[-1].elapsed_s) if record.epochs else "no epoch"
    if record.test_accuracy is not None:
        return f"test {record.test_accuracy:.2%}, {told}"
    return f"test loss {record.test_loss:.4g}, {told}" if record.test_loss else told


def _say(out: Path, format: str) -> None:
    from nnprof.profiler.report import shown_trainings

    shown_trainings.print_folder(out, None, format)
    if format == forms.TABLE:
        sys.stdout.write(f"Trainings: {shell_word(out)}\n")
