"""`--on`: what of a device computes, from the command to the tables."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import commands
import pytest

from nnprof.profiler import results

FAKE = ("1x28x28 fc10", "--backend", "fake", "--device", "jetson", "--batch", "4", "--quick")

pytestmark = pytest.mark.usefixtures("workers_here")


def _bench(folder: Path, *words: str) -> Path:
    done = commands.nnprof("bench", *FAKE, *words, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.splitlines()[-1].removeprefix("Run: ")


def test_another_part_of_a_board_is_another_target(board: Path, tmp_path: Path) -> None:
    """Two parts of one board are told apart in tables and by compare, and are one board still."""
    cpu, gpu = (_bench(tmp_path, "--on", on, "--out", on) for on in ("cpu", "gpu"))
    runs = [results.load(path) for path in (cpu, gpu)]
    assert [run.study.target.on for run in runs] == ["cpu", "gpu"]
    assert runs[0].environment["device"] == runs[1].environment["device"]
    shown = commands.nnprof("show", cpu).stdout
    assert "on jetson cpu, fake" in " ".join(shown.split())
    (row,) = csv.DictReader(io.StringIO(commands.nnprof("show", cpu, "--format", "csv").stdout))
    assert (row["device"], row["on"]) == ("jetson", "cpu")
    refused = commands.nnprof("compare", cpu, gpu)
    assert refused.returncode == 2
    assert "on: cpu and gpu" in refused.stderr
    assert commands.nnprof("compare", cpu, gpu, "--allow", "on").returncode == 0
    assert (
        "(cpu)" in commands.nnprof("trend", cpu, cpu, gpu, _bench(tmp_path, "--on", "cpu")).stdout
    )


def test_two_parts_of_a_board_in_pairs(board: Path, tmp_path: Path) -> None:
    """`--against on=gpu` holds a board's processors against its GPU."""
    path = _bench(tmp_path, "--on", "cpu", "--paired", "--against", "on=gpu")
    targets = [run.study.target for run in results.load_sides(path)]
    assert [(one.device, one.on) for one in targets] == [("jetson", "cpu"), ("jetson", "gpu")]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--on", "gpu"), "onnxruntime backend computes on cpu and gpu; device 'cpu' has cpu, and"),
        (("--on", "npu"), "and 'npu' was asked for. Ask for --on cpu"),
        (("--backend", "mnn", "--device", "cuda"), "mnn backend computes on cpu; device 'cuda' ha"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    """A part that device or backend does not have is a sentence with a remedy, and exit code 2."""
    done = commands.nnprof("bench", *words, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in " ".join(done.stderr.split())
    assert not list(tmp_path.rglob("*.json"))


def test_one_board_in_full(board: Path, tmp_path: Path) -> None:
    """`nnprof devices jetson` says what computes on it, and reads the clock of what is asked."""
    told = {}
    for on in ("cpu", "gpu"):
        done = commands.nnprof(
            "devices", "jetson", "--on", on, "--backend", "fake", folder=tmp_path
        )
        assert done.returncode == 0, done.stderr
        told[on] = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}
    assert told["cpu"]["computes_on"][1:] == ["cpu", "gpu"]
    assert told["cpu"]["clock_hz"] != told["gpu"]["clock_hz"]
