"""The pass that cuts an image and sends all of it through a session."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from nnprof.errors import OutOfMemory
from nnprof.profiler import arrays, inputs
from nnprof.profiler.backends.fake import FakeSession
from nnprof.profiler.timing import frame
from nnprof.profiler.work import worker
from nnprof.profiler.work.jobs import Measure, Measured
from nnprof.types import Image, Model, Plan, Target, Tensor, Workload

IMAGE = Image(height=56, width=84, stride=14)  # 3 rows of 5 tiles
TILES = Tensor(name="x", dtype="float32", shape=("batch", 3, 28, 28))


def workload(batch: int = 5, *, last: bool = False) -> Workload:
    """A model that takes coloured tiles; `last`: its batch is its last side."""
    tensor = replace(TILES, shape=(3, 28, 28, "batch")) if last else TILES
    model = Model(
        name="m", path="m.onnx", sha256="m", opset=17, inputs=(tensor,), outputs=(tensor,),
        batch_axes={"x": 3 if last else 0},
    )  # fmt: skip
    return Workload(model=model, batch=batch, image=IMAGE, seed=3)


class Recording:
    """A session that keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[NDArray[Any]] = []

    def infer(self, given: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """No outputs."""
        self.given.append(given["x"])
        return {}


@pytest.mark.parametrize("last", [False, True])
def test_each_tile_goes_through_once(last: bool) -> None:
    """A whole frame gives the session all tiles of the image in order, batch by batch."""
    session, work = Recording(), workload(last=last)
    found = frame.measure(work, session)  # type: ignore[arg-type]
    assert (len(found.whole_s), found.unknown) == (1, "")
    assert found.whole_s[0] > 0
    _, *parts = session.given  # the first inference is a warm-up
    assert len(parts) == 3
    axis = 3 if last else 0
    tiles = np.moveaxis(np.concatenate(parts, axis=axis), axis, 0)
    assert tiles.dtype == np.float32
    assert np.array_equal(tiles, inputs.picture(work).cut("float32"))
    assert all(part.flags.c_contiguous for part in parts)


def test_a_runtime_that_computes_nothing_has_no_whole_frame() -> None:
    """Cutting is timed all the same; why there is no whole frame is data."""
    found = frame.measure(workload(), None)
    assert len(found.cut_s) >= 3
    assert min(found.cut_s) > 0
    assert (found.whole_s, found.unknown) == ((), "this runtime computes nothing")


def test_an_image_without_room_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its tiles are asked for, their memory is."""
    free = type("Free", (), {"available": 56 * 84 * 3 + 1})
    monkeypatch.setattr(arrays.psutil, "virtual_memory", free)
    with pytest.raises(OutOfMemory):
        frame.measure(workload(), None)


def test_a_board_that_our_worker_is_not_on(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the runtime works over a shell, cutting is not timed here: the reason is data."""
    monkeypatch.setattr(worker.shells, "is_driven", lambda *_: True)
    work = replace(workload(), model=replace(model, inputs=(TILES,), batch_axes=None))
    plan = Plan(op_method="none", warmup_limit_s=0.01, sample_s=0.01)
    job = Measure(
        workload=work, target=Target(backend="fake"), plan=plan, floor=model, chain=model,
        ops=False, frame=True,
    )  # fmt: skip
    told: list[Measured] = []
    found = worker.do(job, told.append)
    assert isinstance(found, Measured), found
    assert found.frame is not None
    assert (found.frame.cut_s, found.frame.whole_s) == ((), ())
    assert found.frame.unknown.startswith("not measured there")


def test_a_frame_that_fails_leaves_the_clean_time(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the session has against a whole frame is lost with its reason; the samples stay."""

    def refuse(*_: object) -> None:
        raise RuntimeError("no such batch")

    monkeypatch.setattr(FakeSession, "infer", refuse)
    monkeypatch.setattr(worker.registry.find("backend", "fake"), "computes", True, raising=False)
    monkeypatch.setattr(worker.spread, "pin", lambda *_: ())
    work = replace(workload(), model=replace(model, inputs=(TILES,), batch_axes=None))
    plan = Plan(op_method="none", warmup_limit_s=0.01, sample_s=0.01)
    job = Measure(
        workload=work, target=Target(backend="fake"), plan=plan, floor=model, chain=model,
        ops=False, frame=True,
    )  # fmt: skip
    found = worker.do(job, lambda _: None)
    assert isinstance(found, Measured), found
    assert found.samples_s
    assert found.frame is None
    assert [(one.what, one.reason) for one in found.lost] == [("frame", "no such batch")]
