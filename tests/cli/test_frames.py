"""`--image`: frames that are predicted, searched for and measured, as a user asks."""

from __future__ import annotations

import json
from pathlib import Path

import commands
import onnx
import pytest
from onnx import TensorProto, helper

import nnprof
from nnprof.profiler.costmodel.prediction import Prediction

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
