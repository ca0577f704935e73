"""`nnprof calibrate` from nothing to a model, and on."""

from __future__ import annotations

from pathlib import Path

import commands
import pytest

import nnprof
from nnprof.profiler.costmodel import model
from nnprof.profiler.run import sweep

FAKE = ("--backend", "fake", "--out", "runs", "-o", "here.json")


@pytest.fixture
def begun(tmp_path: Path, workers_here: None) -> Path:
    """A folder with a model after a few seconds of the fake, and its Run."""
    done = commands.nnprof("calibrate", *FAKE, "--minutes", 0.3, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "out").write_text(done.stdout)
    (tmp_path / "err").write_text(done.stderr)
    return tmp_path


def test_one_command_makes_a_model_and_goes_on(begun: Path) -> None:
    """It says what it measures and the error so far; the same -o goes on with the same Run.

    Flags that this Run would not obey are refused, and so is a model whose Run is not there.
    """
    said = (begun / "err").read_text()
    assert said.partition(" probe")[0].endswith("0.3 min left at most; error not known yet; now a")
    assert "whole networks, about" in said
    made = model.load(begun / "here.json")
    assert made.network.error is not None
    assert (begun / "out").read_text().endswith("Model: here.json\n")
    (run,) = (begun / "runs").iterdir()
    before = nnprof.load(run)
    assert len(before.study.cells) > 3
    refused = commands.nnprof("calibrate", *FAKE, "--batch", "1,4", folder=begun)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "would not obey --batch, --backend" in refused.stderr
    model_bytes = (begun / "here.json").read_bytes()
    alien = commands.nnprof("calibrate", "-o", "here.json", "--out", "elsewhere", folder=begun)
    assert (alien.returncode, alien.stderr.count("\n")) == (2, 1)
    assert "--resume" in alien.stderr
    assert (begun / "here.json").read_bytes() == model_bytes
    again = commands.nnprof(
        "calibrate", "--out", "runs", "-o", "here.json", "--minutes", 0.4, folder=begun
    )
    assert again.returncode == 0, again.stderr
    after = nnprof.load(run)
    assert len(after.measurements) > len(before.measurements)
    assert len(list((begun / "runs").iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--minutes", 0), "no time for a calibration"),
        (("--minutes", "nan"), "no time for a calibration"),
        (("--family", "mattsson(conv=7)"), "no such network"),
        (("--prior", "nonsense"), "There is no file nonsense"),
        (("--batch", "x"), "not a list of whole numbers"),
    ],
)
def test_bad_words_are_refused_before_anything_is_measured(
    words: tuple[object, ...], said: str, tmp_path: Path
) -> None:
    """One sentence, exit code 2, no Run."""
    done = commands.nnprof("calibrate", *FAKE, *words, folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("workers_here")
def test_a_stop_keeps_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C the model of what there is, exit code 130, and how to go on."""
    counted, really = 0, sweep.sweep

    def stopped(*words: object) -> object:
        nonlocal counted
        for step in really(*words):  # type: ignore[arg-type]
            counted += 1
            if counted > 40:
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr(sweep, "sweep", stopped)
    done = commands.nnprof("calibrate", *FAKE, "--minutes", 0.5, folder=tmp_path)
    assert done.returncode == 130, done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert f"nnprof calibrate --resume runs/{run.name} -o here.json\n" in done.stderr
    assert (tmp_path / "here.json").exists()


def test_a_run_of_bench_is_no_calibration(tmp_path: Path) -> None:
    """It says so, in a sentence."""
    run = next((Path(__file__).parents[2] / "bench_results").glob("group2-*.json"))
    done = commands.nnprof("calibrate", "--resume", run, "-o", "new.json", folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no Run of nnprof calibrate" in done.stderr
