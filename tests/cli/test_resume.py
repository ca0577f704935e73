"""`nnprof bench --resume` and `--wait`: what they obey and refuse, and whom they wait for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from nnprof.cli.main import app
from nnprof.errors import Busy, NnprofError, UsageError
from nnprof.profiler import results, studies
from nnprof.profiler.run import begin, sweep
from nnprof.types import Plan, Target

NETWORK = "1x4x4 fc3"
QUICK = Plan(
    processes=1, max_processes=1, sample_s=0.01, warmup_s=0.0, warmup_limit_s=0.01, op_method="none"
)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Run of two cells on the fake, of which one is measured."""
    folder = tmp_path_factory.mktemp("half")
    cells = studies.named_cells([NETWORK], Target(backend="fake"), (1, 2))
    run, path = begin.start(cells, QUICK, folder, name="bench")
    steps = sweep.sweep(run, path)
    next(steps)
    steps.close()
    return path


@pytest.fixture
def run_file(half: Path, tmp_path: Path) -> Path:
    """The same, for a test of its own."""
    path = tmp_path / "run.json"
    path.write_bytes(half.read_bytes())
    return path


def resume(path: Path, *words: str) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(app, ["bench", "--resume", str(path), *words])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--backend", "nonsense"), "--backend"),
        (("--batch", "7x", "--precision", "int9"), "--batch, --precision"),
        (("--quick", "--rigorous"), "--quick, --rigorous"),
        (("--device", "cpu"), "--device"),  # though that is what it says anyway
        (("--threads", "1"), "--threads"),
        (("--no-telemetry",), "--telemetry"),
        (("--energy", "nan"), "--energy"),
        (("--out", "elsewhere"), "--out"),
        (("--option", "noise=1", "--engines", "2"), "--option, --engines"),
        (("--data", "x.npy"), "--data"),
        (("--study", "group1"), "--study"),
        (("--ops", "none", "--idle", "0", "--protocol", "loop"), "--ops, --idle, --protocol"),
        ((NETWORK,), "networks"),
    ],
)
def test_flags_that_would_be_ignored_are_refused(
    run_file: Path, words: tuple[str, ...], named: str
) -> None:
    """--resume names every flag that it would not obey, and touches nothing."""
    before = run_file.read_bytes()
    done = resume(run_file, *words)
    assert isinstance(done.exception, UsageError)
    assert f"would not obey {named}." in str(done.exception)
    assert run_file.read_bytes() == before


def test_flags_that_mean_something_are_obeyed(run_file: Path) -> None:
    """--limit, --format and --wait go with --resume, and the Run is finished."""
    done = resume(run_file, "--limit", "99", "--format", "json", "--wait")
    assert done.exit_code == 0, done.output
    run = results.load(run_file)
    assert run.study.plan.process_limit_s == 99
    assert all(one.finished for one in run.measurements)
    assert len(run.measurements) == 2
    assert [path.name for path in run_file.parent.iterdir()] == [run_file.name]


@pytest.fixture
def writer(run_file: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes the Run until its stdin is closed."""
    code = (
        "import sys\nfrom nnprof.profiler import results\n"
        f"with results.writing({str(run_file)!r}):\n    print(flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_the_second_resume_is_refused(run_file: Path, writer: subprocess.Popen[str]) -> None:
    """While another nnprof writes the Run, --resume says which one, and measures nothing."""
    before = run_file.read_bytes()
    done = resume(run_file)
    assert isinstance(done.exception, Busy)
    assert f"is being written by process {writer.pid} since" in str(done.exception)
    assert "--wait" in str(done.exception)
    assert run_file.read_bytes() == before


def test_the_second_resume_waits(run_file: Path, writer: subprocess.Popen[str]) -> None:
    """With --wait it says for whom, goes on when that one ends, and loses nothing of it."""
    assert writer.stdin is not None
    Timer(0.5, writer.stdin.close).start()
    done = resume(run_file, "--wait")
    assert done.exit_code == 0, done.output
    assert f"by process {writer.pid} since" in done.output
    assert len(results.load(run_file).measurements) == 2


def test_show_needs_no_lock(run_file: Path, writer: subprocess.Popen[str]) -> None:
    """A Run that is being written can be read."""
    assert writer.poll() is None
    assert CliRunner().invoke(app, ["show", str(run_file)]).exit_code == 0


def test_a_study_is_fed_the_data_that_is_given(tmp_path: Path) -> None:
    """--study with --data puts the user's tiles in; a file that does not fit is refused."""
    study = tmp_path / "study.json"
    study.write_text(
        f'{{"schema": 1, "name": "own", "cells": [{{"network": "{NETWORK}", "batch": 2}}]}}'
    )
    np.save(tmp_path / "fit.npy", np.zeros((2, 1, 4, 4), np.float32))
    np.save(tmp_path / "other.npy", np.zeros((2, 3, 5, 5), np.float32))
    target = Target(backend="fake")
    (cell,) = studies.study_cells(str(study), target, data=tmp_path / "fit.npy")
    assert cell.workload.data == str(tmp_path / "fit.npy")
    for name in ("other.npy", "nowhere.npy"):
        with pytest.raises(NnprofError):
            studies.study_cells(str(study), target, data=tmp_path / name)


def test_the_bundled_network_is_fed_the_data_that_is_given(tmp_path: Path) -> None:
    """So does the command without a network, whose own tiles are only what it takes else."""
    np.save(tmp_path / "tiles.npy", np.zeros((2, 1, 28, 28), np.uint8))
    (cell,) = studies.bundled_cells(Target(), (2,), data=tmp_path / "tiles.npy")
    assert cell.workload.data == str(tmp_path / "tiles.npy")
    (own,) = studies.bundled_cells(Target(), (2,))
    assert replace(cell, workload=replace(cell.workload, data=own.workload.data)) == own
