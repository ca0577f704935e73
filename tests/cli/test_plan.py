"""`nnprof plan`: from nothing, or from Runs, to a study that `nnprof bench` measures."""

from __future__ import annotations

import json
from pathlib import Path

import commands
import pytest

FAMILY = ("--family", "mattsson(conv=1, fc=1, depth=5|6, neurons=16|32)")


def nnprof(folder: Path, *arguments: object) -> commands.Done:
    """The command, run in a folder."""
    return commands.nnprof(*arguments, folder=folder)


@pytest.mark.usefixtures("workers_here")
def test_a_plan_is_measured_and_the_next_one_goes_on(tmp_path: Path) -> None:
    """Plan, bench --study, and a plan from that Run which asks for nothing twice."""
    first = nnprof(tmp_path, "plan", *FAMILY, "--budget", 4, "--batch", "1,4", "-o", "first.json")
    assert first.returncode == 0, first.stderr
    assert "0 were measured already" in first.stdout
    assert first.stdout.endswith("nnprof bench --study first.json\n")
    asked = json.loads((tmp_path / "first.json").read_text())["cells"]
    assert len(asked) == 4
    done = nnprof(
        tmp_path,
        "bench",
        "--study",
        "first.json",
        "--backend",
        "fake",
        "--no-telemetry",
        "--quick",
        "--out",
        "runs",
    )
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("first-cpu")
    measured = json.loads(run.read_text())["measurements"]
    assert len(measured) == 4
    second = nnprof(tmp_path, "plan", run, *FAMILY, "--budget", 4, "--batch", "1,4", "-o", "2.json")
    assert second.returncode == 0, second.stderr
    again = json.loads((tmp_path / "2.json").read_text())["cells"]
    same = {(cell["network"], cell["batch"]) for cell in asked} & {
        (cell["network"], cell["batch"]) for cell in again
    }
    assert not same


def test_a_bad_name_for_a_study_is_refused(tmp_path: Path) -> None:
    """One sentence, exit code 2, nothing written."""
    done = nnprof(tmp_path, "plan", *FAMILY, "-o", "plan.txt")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "ends in .json" in done.stderr
    assert not list(tmp_path.iterdir())
