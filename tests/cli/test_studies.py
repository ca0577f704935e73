"""Studies on the command line: listed, trained in processes of their own, shown, gone on with."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import commands
import msgspec
import pytest

from nnprof.networks import checkpoint
from nnprof.networks.settings import TrainingSettings
from nnprof.networks.studies.claims import Above
from nnprof.networks.studies.study import Asked, Study, Training, load_study, save_study

NETWORK = "1x28x28 conv4k5s2 pool2 fc16 fc10"
SETTINGS = TrainingSettings(epochs=1, batch=64, momentum=0.9, patience=None)


def nnprof(*words: object) -> commands.Done:
    """Run the command, 120 columns wide; what starts processes of its own, in a new one."""
    if words[0] != "train":
        return commands.nnprof(*words, COLUMNS="120")
    done = subprocess.run(
        [sys.executable, "-m", "nnprof", *map(str, words)],
        env={**os.environ, "COLUMNS": "120"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return commands.Done(done.returncode, done.stdout, done.stderr)


def small_study(*, epochs: int = 1, names: tuple[str, ...] = ("conv", "dense")) -> Study:
    """Two networks on the bundled digits; the cell "wrong" has one that takes other inputs."""
    networks = {"conv": NETWORK, "dense": "784 fc16 fc10", "wrong": "1x9x9 fc10"}
    settings = msgspec.structs.replace(SETTINGS, epochs=epochs)
    cells = tuple(
        Asked(
            network=networks[name],
            batch=4,
            name=name,
            varied={"kind": name},
            train=Training(dataset="digits", settings=settings, seeds=(0, 1)),
        )
        for name in names
    )
    claim = Above(says="conv is better", of="test accuracy", above=("conv",), below=("dense",))
    return Study(
        name="small", asks="Which is better?", gives="a table", cells=cells, claims=(claim,)
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, commands.Done]:
    """A folder of the small study, one of whose cells cannot be trained, and what was said."""
    folder = tmp_path_factory.mktemp("study")
    save_study(small_study(names=("conv", "dense", "wrong")), folder / "small.json")
    out = folder / "out"
    return out, nnprof("train", "--study", folder / "small.json", "--out", out)


def test_a_study_trains_all_cells_and_tells_of_each(trained: tuple[Path, commands.Done]) -> None:
    """Every cell and seed has a folder; time is told first; a failure is data, and exit code 1."""
    out, done = trained
    assert done.returncode == 1
    assert "6 trainings, at most" in done.stderr
    for cell in ("conv", "dense"):
        for seed in (0, 1):
            record = checkpoint.load_record(out / cell / f"seed{seed}")
            assert record.finished
            assert (record.study, record.cell, record.seed) == ("small", cell, seed)
            assert record.varied == {"kind": cell}
    failure = json.loads((out / "wrong" / "seed1" / "failure.json").read_bytes())
    assert failure["error"] == "BadShape"
    assert "takes 1×9×9, but the inputs of 'digits' are 1×28×28" in failure["reason"]
    assert "6 of 6:" in done.stderr
    assert "2 trainings failed; try them again with --resume." in done.stderr


def test_the_table_of_a_study(trained: tuple[Path, commands.Done]) -> None:
    """Mean and deviation of each cell, weights, claims, and what failed."""
    out, done = trained
    shown = nnprof("show", out)
    assert shown.returncode == 0
    assert shown.stdout.rstrip() in done.stdout
    words = " ".join(shown.stdout.split())
    assert "small: Which is better?" in words
    assert "conv is better" in words
    assert "failed: wrong seed 0 (cpu), wrong seed 1 (cpu): The network takes 1×9×9" in words
    rows = json.loads(nnprof("show", out, "--format", "json").stdout)
    of_conv = rows[0]
    accuracies = [
        checkpoint.load_record(out / "conv" / f"seed{seed}").test_accuracy or 0 for seed in (0, 1)
    ]
    assert of_conv["test_accuracy"] == pytest.approx(sum(accuracies) / 2)
    assert (of_conv["test_accuracy_low"], of_conv["test_accuracy_high"]) == (
        min(accuracies),
        max(accuracies),
    )
    assert (of_conv["cell"], of_conv["seeds"], of_conv["weights"]) == ("conv", 2, 104 + 2320 + 170)


def test_curves_are_rows(trained: tuple[Path, commands.Done]) -> None:
    """One row for each training and epoch."""
    out, _ = trained
    text = nnprof("show", out, "--curves").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["cell"], row["seed"], row["epoch"]) for row in rows] == [
        ("conv", "0", "1"), ("conv", "1", "1"), ("dense", "0", "1"), ("dense", "1", "1"),
    ]  # fmt: skip
    assert float(rows[0]["validation_accuracy"]) > 0.1


def test_the_speed_of_a_run_beside_accuracy(
    trained: tuple[Path, commands.Done], tmp_path: Path
) -> None:
    """`bench --study` times the same networks; `show` joins both."""
    out, _ = trained
    study = load_study(out / "study.json")
    save_study(msgspec.structs.replace(study, cells=study.cells[:2]), tmp_path / "two.json")
    done = nnprof(
        "bench", "--study", tmp_path / "two.json", "--batch", "8", "--backend", "fake", "--quick",
        "--out", tmp_path / "runs",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").glob("*.json")
    rows = json.loads(nnprof("show", out, run, "--format", "json").stdout)
    assert [row["batch"] for row in rows] == [8, 8]
    assert all(row["low"] <= row["tiles_per_ms"] <= row["high"] for row in rows)


def test_more_at_a_time_change_no_weights(
    trained: tuple[Path, commands.Done], tmp_path: Path
) -> None:
    """Two trainings at a time give the bytes that one at a time gives; the record says it."""
    out, _ = trained
    save_study(small_study(), tmp_path / "small.json")
    done = nnprof(
        "train", "--study", tmp_path / "small.json", "--out", tmp_path / "two", "--jobs", "2"
    )
    assert done.returncode == 0, done.stderr
    for cell in ("conv", "dense"):
        name = Path(cell) / "seed1" / "weights.safetensors"
        assert (tmp_path / "two" / name).read_bytes() == (out / name).read_bytes()
    assert checkpoint.load_record(tmp_path / "two" / "conv" / "seed0").device["at_once"] == "2"
    assert "2 trainings ran at a time" in nnprof("show", tmp_path / "two").stdout


def test_a_killed_study_goes_on(tmp_path: Path) -> None:
    """Killed in its first training, it resumes to what it would have been; its process is gone."""
    study = small_study(epochs=6, names=("conv",))
    save_study(study, tmp_path / "small.json")
    words = ("train", "--study", str(tmp_path / "small.json"), "--out")
    whole = nnprof(*words, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    cut = tmp_path / "cut"
    process = subprocess.Popen(
        [sys.executable, "-m", "nnprof", *words, str(cut)], stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    state = cut / "conv" / "seed0" / "state.safetensors"
    end = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    refused = nnprof(*words, cut)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    done = nnprof(*words, cut, "--resume")
    assert done.returncode == 0, done.stderr
    for seed in ("seed0", "seed1"):
        name = Path("conv") / seed / "weights.safetensors"
        assert (cut / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_another_study_is_not_mixed_in(trained: tuple[Path, commands.Done]) -> None:
    """--resume with other settings is refused, and says how to go on."""
    out, _ = trained
    done = nnprof("train", "--study", out / "study.json", "--epochs", "9", "--out", out, "--resume")
    assert done.returncode == 2
    assert f"--study {out}/study.json --out {out} --resume" in done.stderr


def test_what_a_study_does_not_take(tmp_path: Path) -> None:
    """A network or a seed beside a study, or nothing at all, is a sentence."""
    done = nnprof("train", "784 fc10", "--study", "table2", "--out", tmp_path)
    assert done.returncode == 2
    assert "A study brings its own networks and seeds." in done.stderr
    assert "There is nothing to train." in nnprof("train", "--out", tmp_path).stderr
    assert "trains nothing" in nnprof("train", "--study", "group1", "--out", tmp_path).stderr


def test_networks_are_counted_without_measuring() -> None:
    """Weights and multiply-adds of a network, and of a study's, at a batch; Li's Table 3."""
    shown = nnprof("show", "784 fc100 bn relu fc180 bn relu fc10", "--format", "json")
    rows = json.loads(shown.stdout)
    assert sum(row["weights"] for row in rows) == 98_490
    assert sum(row["norm_weights"] for row in rows) == 560
    study = json.loads(nnprof("show", "--study", "li-cnn", "--format", "json").stdout)
    assert [row["mult_adds"] for row in study][:2] == [208_333_824, 632_181_248]
    assert {row["batch"] for row in study} == {512}
    assert "98,490" in nnprof("show", "784 fc100 bn relu fc180 bn relu fc10").stdout


def test_studies_are_listed() -> None:
    """Each with its cells and trainings, and about how long those take here."""
    rows = {row["study"]: row for row in json.loads(nnprof("studies", "--format", "json").stdout)}
    assert rows["swietek"]["trainings"] == 14
    assert rows["groth-kernel"]["trainings"] == 40
    assert rows["group1"]["cells"] == 45
    assert rows["group1"]["trainings"] == 0
    assert rows["li-cnn"]["training_s"] > rows["li-fcn"]["training_s"] > 0
    assert rows["groups"]["timing_s"] > rows["group1"]["timing_s"] > 45 * 0.45
    assert "swietek" in nnprof("studies").stdout
