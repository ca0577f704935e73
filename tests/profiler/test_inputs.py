"""Inputs of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnprof.errors import BadFile, UsageError
from nnprof.profiler import inputs
from nnprof.types import Model, Tensor, Workload


def _model(*tensors: Tensor) -> Model:
    output = Tensor(name="y", dtype="float32", shape=("batch", 10))
    return Model(name="m", path="/m.onnx", sha256="0", opset=18, inputs=tensors, outputs=(output,))


TILES = Tensor(name="tiles", dtype="float32", shape=("batch", 1, 28, 28))


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8", "int64", "bool"])
def test_declared_type_and_shape(dtype: str) -> None:
    """Each declared type comes as declared, at the asked batch."""
    tensor = Tensor(name="x", dtype=dtype, shape=("N", 3))
    made = inputs.make(Workload(model=_model(tensor), batch=5))
    assert (made["x"].dtype, made["x"].shape) == (np.dtype(dtype), (5, 3))


def test_tiles_are_raw_and_repeatable() -> None:
    """Floating inputs are whole numbers of 0…255; the same seed gives the same tiles."""
    work = Workload(model=_model(TILES), batch=3, seed=4)
    first, second = inputs.make(work)["tiles"], inputs.make(work)["tiles"]
    assert np.array_equal(first, second)
    assert np.array_equal(first, np.round(first))
    assert (first.min() >= 0, first.max() > 200, first.max() <= 255) == (True, True, True)


def test_integers_are_valid_indices() -> None:
    """Integer inputs stay below 2, so that any table they index has them."""
    tensor = Tensor(name="ids", dtype="int64", shape=("N", 50))
    assert set(np.unique(inputs.make(Workload(model=_model(tensor), batch=4))["ids"])) == {0, 1}


def test_free_dimension_is_refused() -> None:
    """A free dimension other than the batch is named, with its axis."""
    tensor = Tensor(name="x", dtype="float32", shape=("N", "length"))
    with pytest.raises(UsageError, match="'x' has a free dimension 'length' at axis 1"):
        inputs.make(Workload(model=_model(tensor), batch=1))


def test_text_input_is_refused() -> None:
    """A type that cannot be made up is named."""
    tensor = Tensor(name="x", dtype="string", shape=("N",))
    with pytest.raises(UsageError, match="cannot be made up"):
        inputs.make(Workload(model=_model(tensor), batch=1))


def test_file_is_repeated_to_fill_the_batch(tmp_path: Path) -> None:
    """Fewer tiles than the batch are repeated in order; labels beside them are left alone."""
    tiles = np.arange(2 * 784, dtype=np.uint16).reshape(2, 1, 28, 28)
    path = tmp_path / "tiles.npz"
    np.savez(path, labels=np.array([1, 2]), tiles=tiles)
    made = inputs.make(Workload(model=_model(TILES), batch=5, data=str(path)))["tiles"]
    assert made.dtype == np.float32
    assert np.array_equal(made, tiles[[0, 1, 0, 1, 0]])


def test_single_array_file(tmp_path: Path) -> None:
    """An .npy is the model's only input."""
    path = tmp_path / "tiles.npy"
    np.save(path, np.ones((4, 1, 28, 28)))
    assert (
        inputs.make(Workload(model=_model(TILES), batch=2, data=str(path)))["tiles"].sum() == 1568
    )


def test_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    """Tiles of another shape are refused with both shapes."""
    path = tmp_path / "tiles.npy"
    np.save(path, np.ones((4, 14, 14)))
    with pytest.raises(BadFile, match="holds 4×14×14, but input 'tiles' needs batch×1×28×28"):
        inputs.make(Workload(model=_model(TILES), batch=2, data=str(path)))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY\x01\x00", b"PK\x03\x04"])
def test_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is neither .npy nor .npz is refused, whatever it begins with."""
    path = tmp_path / "tiles.npz"
    path.write_bytes(content)
    with pytest.raises(BadFile, match="not a readable"):
        inputs.read_data(path)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    """An .npy of Python objects is refused, not unpickled."""
    path = tmp_path / "objects.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadFile):
        inputs.read_data(path)


def test_batch_of_a_bound_file() -> None:
    """A file bound to one batch refuses another and says which it takes."""
    tensor = Tensor(name="x", dtype="float32", shape=(8, 3))
    with pytest.raises(UsageError, match="bound to batch 8, not 4"):
        inputs.check_batch(_model(tensor), 4)
