"""What an image takes, derived from the raw samples of a cell."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from msgspec.structs import replace

from nnprof.errors import BadFile, UsageError
from nnprof.profiler import framed_cells, frames, inputs, stats
from nnprof.profiler.report import rows
from nnprof.types import (
    Cell,
    FramePass,
    Image,
    Lost,
    Measurement,
    Model,
    Plan,
    Process,
    Reading,
    Target,
    Tensor,
    Workload,
)

TILE = Tensor(name="x", dtype="float32", shape=("batch", 1, 28, 28))
MODEL = Model(name="m", path="m.onnx", sha256="m", opset=17, inputs=(TILE,), outputs=(TILE,))
IMAGE = Image(height=784, width=784)


def cell(*processes: tuple[float, FramePass | None], batch: int = 98) -> Measurement:
    """A cell on the tiles of an image: seconds of an inference, and the frame of each process."""
    made = tuple(
        Process(
            round=number, processors=(0,), loops=1, state="steady", floor_s=0.0, open_s=0.0,
            timed_s=1.0, wall_s=1.0, before=Reading(), after=Reading(), frame=one,
        )
        for number, (_, one) in enumerate(processes)
    )  # fmt: skip
    samples_s = tuple((seconds, 1.1 * seconds, 0.9 * seconds) for seconds, _ in processes)
    return Measurement(
        workload=Workload(model=MODEL, batch=batch, image=IMAGE),
        target=Target(), plan=Plan(), clock="perf_counter", samples_s=samples_s,
        warmups_s=tuple(() for _ in processes), processes=made, stopped="processes",
    )  # fmt: skip


def whole(cut_s: float, whole_s: float, waited_s: float = 0.0) -> FramePass:
    """The frame of a process."""
    return FramePass(
        cut_s=(cut_s, cut_s),
        whole_s=(whole_s,),
        whole_waited_s=(waited_s,) if waited_s else (),
    )


def test_a_frame_is_so_many_inferences_and_a_cut() -> None:
    """784 tiles at batch 98 are 8 inferences; both parts come from the raw samples."""
    found = frames.measured(
        cell((0.010, whole(0.001, 0.09)), (0.012, whole(0.002, 0.1)), (0.011, whole(0.003, 0.2)))
    )
    assert found is not None
    assert (found.tiles, found.batch, found.unknown) == (784, 98, "")
    assert found.inference.seconds == pytest.approx(8 * 0.011)
    assert found.cutting is not None
    assert found.both is not None
    assert found.cutting.seconds == 0.002
    assert found.both.seconds == pytest.approx(8 * 0.011 + 0.002)
    assert found.whole_s == pytest.approx(0.1)


def test_at_the_batch_of_all_tiles_it_is_equation_12() -> None:
    """frames/s at batch 784 is tiles/ms · 1000 / 784 of the same cell, by the same samples."""
    measured = cell((0.010, whole(0.001, 0.1)), (0.012, whole(0.001, 0.1)), batch=784)
    found, row = frames.measured(measured), rows.row_of(measured)
    assert found is not None
    assert found.inference.per_s == pytest.approx(row["tiles_per_ms"] * 1000 / 784)


def test_the_interval_is_that_of_the_parts() -> None:
    """Inference alone has the cell's interval; with cutting half-widths add as squares."""
    measured = cell(*((0.010 + step / 1e3, whole(0.001 + step / 1e4, 1.0)) for step in range(4)))
    found, ends = frames.measured(measured), stats.interval_s(measured)
    assert found is not None
    assert found.both is not None
    assert found.cutting is not None
    assert ends is not None
    assert (found.inference.low_s, found.inference.high_s) == (8 * ends[0], 8 * ends[1])
    parts = (found.inference, found.cutting)
    up = [one.high_s - one.seconds for one in parts if one.high_s is not None]
    assert found.both.high_s == pytest.approx(found.both.seconds + math.hypot(*up))
    low, high = found.both.rates
    assert low is not None
    assert high is not None
    assert found.both.per_s is not None
    assert low < found.both.per_s < high


def test_waits_for_a_processor_are_no_part_of_a_frame() -> None:
    """What another program took of a whole frame is taken off, as it is of an inference."""
    found = frames.measured(cell((0.010, whole(0.001, 0.5, waited_s=0.4))))
    assert found is not None
    assert found.whole_s == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (FramePass(unknown="not measured there: our worker is not on the board"), "not measured"),
        (None, "the protocol rounds times inferences alone"),
    ],
)
def test_what_was_not_cut_is_no_zero(one: FramePass | None, said: str) -> None:
    """Without samples of cutting there is no time with cutting either, but a reason."""
    measured = cell((0.010, one), (0.011, one))
    found = frames.measured(measured)
    assert found is not None
    assert (found.cutting, found.both, found.whole_s) == (None, None, None)
    assert found.unknown.startswith(said)


def test_the_reason_of_a_lost_frame_is_told() -> None:
    """A pass that failed says why in the frame, too."""
    measured = cell((0.010, None))
    lost = (Lost(what="frame", error="OutOfMemory", reason="It does not fit."),)
    (process,) = measured.processes
    found = frames.measured(replace(measured, processes=(replace(process, lost=lost),)))
    assert found is not None
    assert found.unknown == "It does not fit"


def test_a_frame_needs_samples_or_a_reason() -> None:
    """A gap without a reason, and a time of 0, are no FramePass."""
    for wrong in ({}, {"cut_s": (0.1,)}, {"cut_s": (0.0,), "whole_s": (1.0,)}):
        with pytest.raises(ValueError, match=r"reason|positive"):
            FramePass(**wrong)


# --- pixels ---------------------------------------------------------------------------------------


def test_pixels_are_made_up_from_the_seed() -> None:
    """The same seed gives the same image, and a batch is its first tiles, row by row."""
    work = Workload(model=MODEL, batch=56, image=IMAGE, seed=5)
    pixels = inputs.picture(work).pixels
    assert (pixels.dtype, pixels.shape) == (np.uint8, (1, 784, 784))
    assert np.array_equal(pixels, inputs.picture(work).pixels)
    assert not np.array_equal(pixels, inputs.picture(replace(work, seed=6)).pixels)
    tiles = inputs.make(work)["x"]
    assert (tiles.shape, tiles.dtype) == ((56, 1, 28, 28), np.float32)
    assert np.array_equal(tiles[28], pixels[:, 28:56, :28])


@pytest.mark.parametrize("shape", [(56, 84), (1, 56, 84), (56, 84, 1)])
def test_an_image_of_the_users(shape: tuple[int, ...], tmp_path: Path) -> None:
    """A file's pixels are taken as they are, with the channel in front, at the end or left out."""
    pixels = np.arange(56 * 84, dtype=np.int64).reshape(shape) % 200
    np.save(tmp_path / "image.npy", pixels.astype(np.uint8))
    work = Workload(
        model=MODEL, batch=6, image=Image(height=56, width=84), data=str(tmp_path / "image.npy")
    )
    tiles = inputs.make(work)["x"]
    assert np.array_equal(tiles[4, 0], pixels.reshape(56, 84)[28:, 28:56])


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    """Its shape and the wanted one are told."""
    np.save(tmp_path / "image.npy", np.zeros((56, 56), np.uint8))
    work = Workload(
        model=MODEL, batch=6, image=Image(height=56, width=84), data=str(tmp_path / "image.npy")
    )
    with pytest.raises(BadFile, match="holds 56×56, not an image of 1×56×84"):
        inputs.make(work)


# --- cells ----------------------------------------------------------------------------------------


def cells_of(model: Model, image: str = "784x784", batches: tuple[int, ...] = ()) -> list[int]:
    """The batches of a model's cells on an image."""
    asked = [Cell(workload=Workload(model=model, batch=one), target=Target()) for one in (1, 7)]
    found = framed_cells.framed_cells(asked, image, batches)
    assert all(str(one.workload.image) == image for one in found)
    return [one.workload.batch for one in found]


def test_batches_divide_the_tiles() -> None:
    """Each network once at up to four batches that divide, or at those that were asked for."""
    assert cells_of(MODEL) == [1, 8, 98, 784]
    assert cells_of(MODEL, "784x784/14", (55, 3025)) == [55, 3025]
    with pytest.raises(UsageError, match="Batch 100 does not divide the 784 tiles"):
        cells_of(MODEL, batches=(100,))


def test_a_file_bound_to_a_batch() -> None:
    """It is asked at that batch, and refused where that does not divide the tiles."""
    bound = replace(MODEL, inputs=(replace(TILE, shape=(16, 1, 28, 28)),))
    assert cells_of(bound) == [16]
    with pytest.raises(UsageError, match="bound to batch 16, not 8"):
        cells_of(bound, batches=(8,))
    with pytest.raises(UsageError, match="Batch 16 does not divide the 9 tiles"):
        cells_of(bound, "84x84")


def test_an_image_goes_into_one_input() -> None:
    """A network of two inputs is refused by their number."""
    two = replace(MODEL, inputs=(TILE, replace(TILE, name="y")))
    with pytest.raises(UsageError, match="has 2 inputs; an image is cut for one"):
        cells_of(two)


def test_a_frame_is_of_undisturbed_samples() -> None:
    """The median over processes of the medians of their cuts, each once."""
    measured = cell(*((0.01, whole(value, 1.0)) for value in (0.3, 0.1, 0.2)))
    found = frames.measured(measured)
    assert found is not None
    assert found.cutting is not None
    assert found.cutting.seconds == median((0.3, 0.1, 0.2))
