"""`nnprof plot` as a user runs it: learning curves from the records of trainings."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import nnprof
from nnprof.errors import BadFile, Unavailable, UsageError
from nnprof.types import Epoch, TrainingRecord

DEEP, FLAT = "1x28x28 conv4k5 pool2 fc10", "1x28x28 fc10"

# Where the extra is missing, what is said about that is tested all the same.
needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed"
)


def save(
    folder: Path, *losses: float | None, network: str = DEEP, seed: int = 0, **settings: Any
) -> None:
    """A record.json of a training with these losses."""
    record = TrainingRecord(
        network=nnprof.parse_network(f"{network} seed{seed}").notation,
        dataset="digits", normalisation="channel", settings=settings,
        seed=seed, finished=True,
        epochs=tuple(
            Epoch(loss=loss, validation_accuracy=loss and 1 - loss / 10, elapsed_s=1.0)
            for loss in losses
        ),
    )  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "record.json").write_bytes(msgspec.json.encode(record))


@needs_matplotlib
def test_the_command_draws_and_says_what_is_missing(tmp_path: Path) -> None:
    """Seeds of one network are one curve, which ends with the shortest; the command says so."""
    save(tmp_path / "nets" / "seed0", 2.0, 1.0, 0.5)
    save(tmp_path / "nets" / "seed1", 1.8, 0.9, seed=1)
    done = subprocess.run(
        [sys.executable, "-m", "nnprof", "plot", "nets", "-o", "curves.png"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "curves.png\n")
    assert "ended after 2 to 3 epochs: the curve ends after 2" in done.stderr
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@needs_matplotlib
def test_the_same_records_give_the_same_file(tmp_path: Path) -> None:
    """A picture carries no date and nothing of chance, and `$` in a name is no formula."""
    save(tmp_path / "a", 2.0, 1.0, file="$a$")
    save(tmp_path / "b", 2.0, 1.5, file="$b")
    pictures = [tmp_path / "1.svg", tmp_path / "2.svg"]
    assert [nnprof.plot_trainings([tmp_path], picture) for picture in pictures] == [(), ()]
    first, second = (picture.read_text(encoding="utf-8") for picture in pictures)
    assert first == second
    assert "<dc:date>" not in first


@needs_matplotlib
def test_each_network_has_a_colour(tmp_path: Path) -> None:
    """A curve more for another network, none more for another seed."""
    save(tmp_path / "a" / "0", 2.0, 1.0)
    save(tmp_path / "a" / "1", 1.0, 0.5, seed=1)
    save(tmp_path / "b", 3.0, 2.0, network=FLAT)
    nnprof.plot_trainings([tmp_path], tmp_path / "curves.svg")
    text = (tmp_path / "curves.svg").read_text(encoding="utf-8").lower()
    colours = set(re.findall("#[0-9a-f]{6}", text))
    assert {"#0072b2", "#d55e00"} <= colours
    assert "#009e73" not in colours


@needs_matplotlib
def test_a_loss_that_is_no_number_is_a_gap_that_is_told(tmp_path: Path) -> None:
    """Where a training diverged the curve has a gap, which a sentence tells; no value: refused."""
    save(tmp_path / "a", 2.0, None)
    (note,) = nnprof.plot_trainings([tmp_path], tmp_path / "curves.png")
    assert note == "'a' has epochs without a finite loss: gaps in its curve."
    save(tmp_path / "b", None)
    with pytest.raises(UsageError, match="No epoch has a finite loss"):
        nnprof.plot_trainings([tmp_path / "b"], tmp_path / "curves.png")


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    """No training, no epoch, another ending, more kinds than colours: a sentence each, no file."""
    out = tmp_path / "curves.svg"
    with pytest.raises(BadFile, match="nnprof train NETWORK --out"):
        nnprof.plot_trainings([tmp_path], out)
    save(tmp_path / "empty")
    with pytest.raises(UsageError, match="No epoch"):
        nnprof.plot_trainings([tmp_path], out)
    with pytest.raises(UsageError, match=r"\.svg, \.png, \.pdf"):
        nnprof.plot_trainings([tmp_path], tmp_path / "curves.txt")
    for batch in range(1, 16):
        save(tmp_path / "many" / str(batch), 1.0, batch=batch)
    with pytest.raises(UsageError, match="at most 14"):
        nnprof.plot_trainings([tmp_path], out)
    assert not out.exists()


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing matplotlib is a sentence with the line that installs it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    save(tmp_path / "a", 1.0)
    with pytest.raises(Unavailable, match=r"pip install 'nnprof-embedded\[plot\]'"):
        nnprof.plot_trainings([tmp_path], tmp_path / "curves.svg")
