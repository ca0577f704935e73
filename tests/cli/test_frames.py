"""`--image`: frames that are predicted, searched for and measured, as a user asks."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from statistics import median

import commands
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import nnprof
from nnprof.errors import UsageError
from nnprof.profiler.costmodel.prediction import Prediction
from nnprof.profiler.costmodel.search import Candidate, Found, Trained, fitting
from nnprof.types import Image, Plan

PUBLISHED = "gtx960-mattsson2016"


def foreign(path: Path, shape: list[str | int]) -> Path:
    """A file of somebody else's: a ReLU on tiles of that shape."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_a_predicted_frame_is_so_many_tiles(tmp_path: Path) -> None:
    """frames/s is tiles/ms · 1000 / tiles, at batches that divide the tiles of the image."""
    words = ("predict", PUBLISHED, "mattsson(conv=2)", "--image", "784x784")
    done = commands.nnprof(*words, "--format", "json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["batch"] for row in rows] == [1, 8, 98, 784]
    for row in rows:
        assert row["tiles_per_frame"] == 784
        assert row["frames_per_s"] == pytest.approx(row["tiles_per_ms"] * 1000 / 784)
        assert row["ms_per_frame"] == pytest.approx(row["ms_per_tile"] * 784)


def test_the_table_of_predicted_frames(tmp_path: Path) -> None:
    """It stands behind that of tiles, and says that cutting is not in it; without --image none."""
    words = ("predict", PUBLISHED, "mattsson(conv=2)", "--batch", "784")
    done = commands.nnprof(*words, "--image", "784x784", folder=tmp_path)
    assert "frames/s" in done.stdout
    assert "cutting the image into tiles is not in" in " ".join(done.stdout.split())
    assert "frames/s" not in commands.nnprof(*words, folder=tmp_path).stdout


def test_the_interval_of_a_frame_is_that_of_its_tiles() -> None:
    """The slow end of frames/s comes from the slow end of the seconds."""
    told = Prediction(
        network="n", batch=98, seconds=1.0, low_s=0.5, high_s=2.0, terms=(), layers=(),
        tiles_per_frame=784,
    )  # fmt: skip
    frame = told.frame
    assert frame is not None
    assert (frame.seconds, frame.per_s, frame.rates) == (8.0, 1 / 8, (1 / 16, 1 / 4))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mattsson(conv=2)", "--image", "800x784"), "784x784 and 812x784"),
        (("mattsson(conv=2)", "--image", "784"), "'784' is no image."),
        (("mattsson(conv=2)", "--image", "784x784", "--batch", "100"), "98, 112"),
        (("784 fc10", "--image", "784x784"), "such as 1x28x28"),
    ],
)
def test_what_cannot_be_predicted(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """A wrong image, batch or network is one sentence and exit code 2."""
    done = commands.nnprof("predict", PUBLISHED, *words, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("shape", "batches"),
    [(["batch", 3, 32, 32], [1, 2, 8, 16]), ([4, 3, 32, 32], [4]), ([3, 32, "batch", 32], None)],
)
def test_files_of_others(shape: list[str | int], batches: list[int] | None, tmp_path: Path) -> None:
    """Of an ONNX file N×C×H×W the tiles are C×H×W; the batch is where the file has it."""
    file = foreign(tmp_path / "net.onnx", shape)
    known = nnprof.load_cost_model(PUBLISHED)
    found = nnprof.predict(known, [file], partial=True, image="128x128")
    assert [one.batch for one in found] == (batches or [1, 2, 8, 16])
    assert {one.tiles_per_frame for one in found} == {16}


# --- search ---------------------------------------------------------------------------------------

SPACE = ("--family", "mattsson(conv=1..3, fc=1, depth=10|40, neurons=128)")


def searched(*words: str, folder: Path) -> list[dict[str, str]]:
    """What a search finds, as rows."""
    done = commands.nnprof("search", PUBLISHED, *SPACE, *words, "--format", "csv", folder=folder)
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def test_a_search_by_frames_is_one_by_tiles(tmp_path: Path) -> None:
    """30 frames/s of 784 tiles are 23.52 tiles/ms at the batch of all tiles: the same networks."""
    image = ("--image", "784x784", "--batch", "784")
    by_frames = searched(*image, "--min-frames-per-s", "30", folder=tmp_path)
    by_tiles = searched("--min-tiles-per-ms", "23.52", "--batch", "784", folder=tmp_path)
    assert [row["network"] for row in by_frames] == [row["network"] for row in by_tiles]
    assert 0 < len(by_frames) < 6
    for row in by_frames:
        rate = float(row["frames_per_s"])
        assert rate == pytest.approx(float(row["tiles_per_ms"]) * 1000 / 784)
        assert rate >= 30
    assert {row["frames_per_s"] for row in by_tiles} == {""}


def test_where_no_network_is_fast_enough_the_nearest_is_named(tmp_path: Path) -> None:
    """That is an answer: exit code 0, and the network that comes closest, in frames/s."""
    words = ("--image", "784x784", "--min-frames-per-s", "1000")
    done = commands.nnprof("search", PUBLISHED, *SPACE, *words, folder=tmp_path)
    said = " ".join(done.stdout.split())
    assert done.returncode == 0
    assert "0 of 6 networks reach 1000 frames/s at the best of the batches 1, 8, 98, 784 by" in said
    assert "The fastest is mattsson(conv=1, fc=1, depth=10, neurons=128): 129.1 frames/s" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "needs one budget, and has none"),
        (("--min-frames-per-s", "30"), "Give both: --image 784x784 --min-frames-per-s 30"),
        (("--image", "784x784", "--min-tiles-per-ms", "3"), "Give both: --image"),
        (
            ("--image", "784x784", "--min-tiles-per-ms", "3", "--min-frames-per-s", "30"),
            "needs one budget, and has 2",
        ),
        (("--image", "784x784", "--min-frames-per-s", "30", "--batch", "5"), "Batch 5 does not"),
        (("--image", "800x784", "--min-frames-per-s", "30"), "784x784 and 812x784"),
        (("--image", "784x784", "--min-frames-per-s", "nan"), "nan is not a speed"),
    ],
)
def test_what_cannot_be_searched_for(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """A search without one budget, or of an image that cannot be cut, is refused in a sentence."""
    done = commands.nnprof("search", PUBLISHED, *SPACE, *words, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_trained_networks_that_take_no_picture_are_left_out() -> None:
    """A note says why; where none is left, the reason is the refusal."""
    flat, tiles = (
        Trained(nnprof.parse_network(text), 90.0, 1) for text in ("784 fc10", "1x28x28 fc10")
    )
    kept, count, notes = fitting([flat, tiles], Image(height=56, width=56))
    assert (kept, count) == ((tiles,), 4)
    assert len(notes) == 1
    assert "784 fc10" in notes[0]
    assert notes[0].endswith("it is left out.")
    with pytest.raises(UsageError, match="such as 1x28x28"):
        fitting([flat], Image(height=56, width=56))


def test_the_interval_of_a_candidate_is_told_in_frames() -> None:
    """Both ends by the same factor as the speed; none where the model has none."""
    one = Candidate(
        network="n", notation="n", batch=1, ms_per_tile=0.1, tiles_per_ms=10.0,
        low_tiles_per_ms=5.0, high_tiles_per_ms=None, meets="probably", extrapolates=False,
        weights=1,
    )  # fmt: skip
    (found,) = Found((one,), 1, 0).on_frames(100).candidates
    assert (found.frames_per_s, found.low_frames_per_s, found.high_frames_per_s) == (100, 50, None)


# --- bench ----------------------------------------------------------------------------------------

FAKE = ("--backend", "fake", "--option", "noise=0.01", "--no-telemetry", "--ops", "none")
NETWORK = "1x28x28 conv4k5 pool2 fc10"


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short cells, whatever is asked."""
    plan = Plan(processes=3, max_processes=3, sample_s=0.02, warmup_limit_s=0.05)
    monkeypatch.setattr("nnprof.cli.plans._words_plan", lambda *_: plan)


def bench(*words: str, folder: Path) -> tuple[commands.Done, Path]:
    """The command, and the Run that it wrote."""
    done = commands.nnprof("bench", *words, folder=folder)
    return done, folder / done.stdout.rpartition("Run: ")[2].strip()


@pytest.mark.usefixtures("workers_here", "brief")
def test_a_measured_frame(tmp_path: Path) -> None:
    """The table, the rows and the file have frames/s, cutting apart; `show` prints it again."""
    done, path = bench(NETWORK, "--image", "56x84/14", *FAKE, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "A frame of 56x84/14: 3 × 5 = 15 tiles of 1×28×28, 14 apart" in done.stdout
    assert "with cut" in done.stdout
    run = nnprof.load(path)
    assert [cell.workload.batch for cell in run.study.cells] == [1, 3, 5, 15]
    for row, cell in zip(nnprof.rows(run), run.measurements, strict=True):
        batch = cell.workload.batch
        assert row["tiles_per_frame"] == 15
        assert row["ms_per_frame"] == pytest.approx(row["latency_ms"] * 15 / batch)
        assert row["frames_per_s"] == pytest.approx(row["tiles_per_ms"] * 1000 / 15)
        cuts_s = [median(own.frame.cut_s) for own in cell.processes if own.frame]
        assert len(cuts_s) == 3
        both_s = row["latency_ms"] * 15 / batch / 1e3 + row["cut_ms_per_frame"] / 1e3
        assert row["frames_per_s_with_cut"] == pytest.approx(1 / both_s)
    shown = commands.nnprof("show", path, folder=tmp_path).stdout
    assert "A frame of 56x84/14" in shown
    header, *rows = csv.reader(io.StringIO(csv_of(path, tmp_path)))
    assert "whole_ms_per_frame" in header
    assert len(rows) == 4


def csv_of(path: Path, folder: Path) -> str:
    """A Run as `show` gives it to programs."""
    return commands.nnprof("show", path, "--format", "csv", folder=folder).stdout


@pytest.mark.usefixtures("workers_here", "brief")
def test_a_whole_frame_really_runs(tmp_path: Path) -> None:
    """With a real runtime one frame goes end to end in each process, beside its cut."""
    words = ("--image", "56x56", "--batch", "2", "--ops", "none", "--no-telemetry")
    done, path = bench(NETWORK, *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "One frame end to end, with all copies:" in " ".join(done.stdout.split())
    (cell,) = nnprof.load(path).measurements
    for process in cell.processes:
        assert process.frame is not None
        assert len(process.frame.whole_s) == 1
        assert process.frame.whole_s[0] > min(process.frame.cut_s)


@pytest.mark.usefixtures("workers_here", "brief")
def test_a_study_on_an_image(tmp_path: Path) -> None:
    """`--study FILE --image` takes the networks of the study, at batches that divide the tiles."""
    study = {"schema": 1, "name": "figure9", "cells": [{"network": NETWORK, "batch": 1024}]}
    (tmp_path / "figure9.json").write_text(json.dumps(study))
    words = ("--study", "figure9.json", "--image", "56x56", "--batch", "4")
    done, path = bench(*words, *FAKE, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    run = nnprof.load(path)
    assert run.study.name == "figure9"
    assert [cell.workload.batch for cell in run.study.cells] == [4]


@pytest.mark.usefixtures("workers_here", "brief")
def test_a_picture_of_the_users_for_a_file_of_others(tmp_path: Path) -> None:
    """`--data` is the image then, with its colours last; the tiles are those of the ONNX file."""
    foreign(tmp_path / "net.onnx", ["batch", 3, 32, 32])
    np.save(tmp_path / "picture.npy", np.zeros((64, 96, 3), np.uint8))
    words = ("net.onnx", "--image", "64x96", "--data", "picture.npy", "--batch", "3")
    done, path = bench(*words, *FAKE, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "A frame of 64x96: 2 × 3 = 6 tiles of 3×32×32, side by side" in done.stdout
    (cell,) = nnprof.load(path).study.cells
    assert cell.workload.data == str(tmp_path / "picture.npy")


@pytest.mark.usefixtures("workers_here", "brief")
def test_a_loop_cuts_nothing(tmp_path: Path) -> None:
    """Its frames are of inferences alone, and it says so."""
    words = (NETWORK, "--image", "56x56", "--protocol", "loop")
    done, _ = bench(*words, *FAKE, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Cutting was not measured: the protocol loop" in " ".join(done.stdout.split())


@pytest.mark.usefixtures("workers_here", "brief")
def test_a_failed_cell_has_a_row_without_numbers(tmp_path: Path) -> None:
    """A batch that fails stands among the frames, too, and never as a zero."""
    fault = ("--option", "fault=error", "--option", "fault_batch=4")
    done, path = bench(NETWORK, "--image", "56x56", *FAKE, *fault, folder=tmp_path)
    assert done.returncode == 1
    failed = next(row for row in nnprof.rows(nnprof.load(path)) if row["state"] == "failed")
    assert (failed["batch"], failed["frames_per_s"]) == (4, None)
    assert done.stdout.count("–") >= 6


@pytest.mark.usefixtures("workers_here", "brief")
def test_without_an_image_nothing_changes(tmp_path: Path) -> None:
    """A Run of tiles has no frames: not in its table, not in its columns."""
    done, path = bench(NETWORK, "--batch", "4", *FAKE, folder=tmp_path)
    assert "frame" not in done.stdout
    assert "frame" not in csv_of(path, tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((NETWORK, "--image", "800x784"), "784x784 and 812x784"),
        ((NETWORK, "--image", "784x784", "--batch", "100"), "Batch 100 does not divide"),
        (("784 fc10", "--image", "784x784"), "such as 1x28x28"),
        ((NETWORK, "--image", "784x784", "--data", "no.npy"), "no.npy"),
        (("--study", "no-such-study", "--image", "784"), "'784' is no image"),  # said first
    ],
)
def test_what_cannot_be_measured(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """It is refused in one sentence before anything is measured, and no Run is left behind."""
    done = commands.nnprof("bench", *words, *FAKE, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not list(tmp_path.glob("bench_results/*.json"))
