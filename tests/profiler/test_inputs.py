"""Inputs of a model."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as some

from nnprof.errors import BadFile, UsageError
from nnprof.exporters import axes
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


@pytest.mark.parametrize(
    ("shape", "reason", "remedy"),
    [
        (("N", "length"), "'x' has a free dimension 'length' at axis 1", "--dim length=N"),
        (("N", 3, "?"), "'x' has a free dimension at axis 2", "--dim x.2=N"),
    ],
)
def test_free_dimension_is_refused(shape: tuple[int | str, ...], reason: str, remedy: str) -> None:
    """A free dimension other than the batch is named, with its axis and how to give it."""
    tensor = Tensor(name="x", dtype="float32", shape=shape)
    with pytest.raises(UsageError, match=reason) as caught:
        inputs.make(Workload(model=_model(tensor), batch=1))
    assert remedy in caught.value.remedy


def test_given_dimensions_stand_for_free_ones() -> None:
    """--dim goes by a dimension's name on every input, or by input and axis for one."""
    found = _found(("N", "length", "?"), (2, "length"))
    work = Workload(model=found, batch=4, dims={"length": 7, "x0.2": 3})
    assert inputs.shapes(work) == {"x0": (4, 7, 3), "x1": (2, 7)}
    assert {name: array.shape for name, array in inputs.make(work).items()} == inputs.shapes(work)


def test_the_batch_is_no_dimension_to_give() -> None:
    """--dim for the batch is refused with the flag that is for it; what a model lacks is left."""
    model = _found(("N", "length"))
    for name in ("N", "x0.0"):
        with pytest.raises(UsageError, match=f"'{name}' is the batch of m"):
            inputs.check_dims(model, {name: 4})
    assert inputs.check_dims(model, {"length": 3, "other": 4}) == {"length": 3}


@pytest.mark.parametrize("dtype", ["bfloat16", "int4", "float8e4m3fn", "no such type"])
@pytest.mark.parametrize("data", ["generated", "tiles.npz"])
def test_types_that_numpy_lacks_are_not_sent_to_data(dtype: str, data: str) -> None:
    """A type that no array and no file can hold is refused for what it is, with or without data."""
    tensor = Tensor(name="x", dtype=dtype, shape=("N", 3))
    with pytest.raises(UsageError, match="numpy and its files do not have") as caught:
        inputs.make(Workload(model=_model(tensor), batch=1, data=data))
    assert "--data" not in caught.value.remedy


def test_text_input_is_refused() -> None:
    """Text is named, and not sent to --data, where the runtimes do not take it either."""
    tensor = Tensor(name="x", dtype="string", shape=("N",))
    with pytest.raises(UsageError, match=r"cannot be made up.*part behind the text"):
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


def test_a_model_without_a_batch_is_one_inference() -> None:
    """Where no batch can be told, another than 1 is refused, with the flag that would tell."""
    model = _found((3, 64, 64))
    inputs.check_batch(model, 1)
    with pytest.raises(UsageError, match="No input of m has a batch axis") as caught:
        inputs.check_batch(model, 4)
    assert "--batch-axis x0=0" in caught.value.remedy
    assert inputs.make(Workload(model=model, batch=1))["x0"].shape == (3, 64, 64)


def test_engines_have_profiles_of_the_real_shapes() -> None:
    """A profile for each batch where sides but the first are free; none where it is the batch."""
    assert inputs.profiles(Workload(model=_found(("N", 3), (30, 4)), batch=2), (1, 2)) == ()
    work = Workload(model=_found(("time", "batch", 16)), batch=1, dims={"time": 7})
    assert inputs.profiles(work, (1, 8)) == ({"x0": (7, 1, 16)}, {"x0": (7, 8, 16)})


def test_tiles_for_a_bound_batch_are_taken_or_repeated(tmp_path: Path) -> None:
    """A file bound to batch 8 takes the first eight tiles of more, and repeats fewer."""
    model = _found((8, 1, 4, 4), outputs=[(8, 10)])
    tiles = np.arange(320, dtype=np.float32).reshape(20, 1, 4, 4)
    assert np.array_equal(_fed(tmp_path, model, 8, x0=tiles)["x0"], tiles[:8])
    assert np.array_equal(_fed(tmp_path, model, 8, x0=tiles[:3])["x0"][:6], tiles[[0, 1, 2] * 2])


# --- arrays of the user's -------------------------------------------------------------------------


def test_time_is_not_cut(tmp_path: Path) -> None:
    """A hundred steps of one sequence stay a hundred steps, at whatever batch."""
    steps = np.arange(1600, dtype=np.float32).reshape(100, 1, 16)
    model = _found(("time", "batch", 16))
    for batch in (1, 3):
        made = _fed(tmp_path, model, batch, x0=steps)["x0"]
        assert np.array_equal(made, np.repeat(steps, batch, axis=1))


def test_whole_inputs_stay_whole(tmp_path: Path) -> None:
    """A table, a scalar and a state beside tiles are given as they are."""
    model = _found(("batch", 4), (30, 2), (), (2, "batch", 3))
    given_ = {
        "x0": np.ones((2, 4), np.float32),
        "x1": np.arange(60, dtype=np.float32).reshape(30, 2),
        "x2": np.float32(16000),
        "x3": np.ones((2, 2, 3), np.float32),
    }
    made = _fed(tmp_path, model, 4, **given_)
    assert [made[name].shape for name in made] == [(4, 4), (30, 2), (), (2, 4, 3)]
    assert np.array_equal(made["x1"], given_["x1"])
    assert made["x2"] == 16000


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x0": (4, 8), "x1": (3, 2, 2)}, "unlike numbers of tiles: 4 along axis 0 of x0, 2 along"),
        ({"x0": (4, 9), "x1": (3, 4, 2)}, "holds 4×9, but input 'x0' needs batch×8"),
        ({"x0": (4, 8), "x1": (4, 3, 2)}, "holds 4×3×2, but input 'x1' needs 3×batch×2"),
        ({"x0": (0, 8), "x1": (3, 0, 2)}, "holds 0×8, but input 'x0' needs batch×8"),
        ({"x0": (8,), "x1": (3, 4, 2)}, "holds 8, but input 'x0' needs batch×8"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, tuple[int, ...]], reason: str
) -> None:
    """Sides that differ, and inputs with unlike numbers of tiles, get a sentence with both."""
    model = _found(("batch", 8), (3, "batch", 2))
    with pytest.raises(BadFile, match=reason):
        _fed(tmp_path, model, 4, **{name: np.ones(shape) for name, shape in arrays.items()})


def test_a_guess_is_not_cut_by(tmp_path: Path) -> None:
    """Where the batch axis is a guess, data of another length there asks for the user's word."""
    model = _found(("?", "?", 16))
    steps = np.ones((100, 1, 16), np.float32)
    with pytest.raises(BadFile, match="100 along axis 0 of x0, not 1, and") as caught:
        _fed(tmp_path, model, 1, x0=steps)
    assert "--batch-axis x0=0, another axis, or none" in caught.value.remedy
    told = axes.given(model, {"x0": 1})
    assert _fed(tmp_path, told, 1, x0=steps)["x0"].shape == (100, 1, 16)


@pytest.mark.parametrize(
    ("dtype", "values", "fits"),
    [
        ("int64", np.array([[1.0, 2.0]]), True),
        ("int64", np.array([[1.5, 2.0]]), False),
        ("int64", np.array([[np.nan, 2.0]]), False),
        ("uint8", np.array([[-1, 2]]), False),
        ("uint8", np.array([[256, 2]]), False),
        ("bool", np.array([[2, 0]]), False),
        ("float32", np.array([[0.1, 1e-50]]), True),
        ("float32", np.array([[1e39, 0.0]]), False),
        ("float16", np.array([[70000, 1]]), False),
        ("float32", np.array([[np.inf, np.nan]]), True),
        ("float32", np.array([["1", "2"]]), False),
        ("float32", np.array([[1j, 0]]), False),
        ("object", np.array([["a", "b"]]), True),
        ("object", np.array([[1, 2]]), False),
    ],
)
def test_values_are_not_changed_by_their_type(
    tmp_path: Path, dtype: str, values: np.ndarray, fits: bool
) -> None:
    """Values reach the model as they are, up to the rounding of floats, or are refused."""
    model = _model(Tensor(name="x0", dtype=dtype, shape=("N", 2)))
    if not fits:
        with pytest.raises(BadFile, match=f"values that input 'x0' cannot hold as {dtype}"):
            _fed(tmp_path, model, 1, x0=values)
        return
    made = _fed(tmp_path, model, 1, x0=values)["x0"]
    assert made.dtype == np.dtype(dtype)
    if dtype != "object":
        assert np.allclose(made, values, equal_nan=True)


# --- any model ------------------------------------------------------------------------------------

_SIDES = some.one_of(
    some.integers(1, 3), some.sampled_from(["batch", "N", "?", "time", "s0", "s1", "height"])
)
_SHAPES = some.lists(some.lists(_SIDES, max_size=4).map(tuple), min_size=1, max_size=3)


@given(inputs_=_SHAPES, outputs=_SHAPES, batch=some.integers(1, 4), tiles=some.integers(1, 5))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_the_batch_axis_is_ever_cut(
    tmp_path: Path,
    inputs_: list[tuple[int | str, ...]],
    outputs: list[tuple[int | str, ...]],
    batch: int,
    tiles: int,
) -> None:
    """Whatever is declared, inputs come in that shape, and data is cut along the batch alone."""
    model = _found(*inputs_, outputs=outputs)
    batch = model.fixed_batch or batch
    sizes = dict(zip(inputs.free_sides([model]), itertools.cycle((4, 6, 7)), strict=False))
    work = Workload(model=model, batch=batch, dims=inputs.check_dims(model, sizes))
    shapes = {name: array.shape for name, array in inputs.make(work).items()}
    assert shapes == inputs.shapes(work)
    given_ = {}
    for tensor in model.inputs:
        axis, shape = model.axes.get(tensor.name), list(shapes[tensor.name])
        declared = [side for side in tensor.shape if isinstance(side, int)]
        assert declared == [own for own, side in zip(shape, tensor.shape, strict=True)
                            if isinstance(side, int)]  # fmt: skip
        if axis is not None:
            shape[axis] = tiles
        given_[tensor.name] = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    # A second side of the batch's name can only be as long as the batch.
    assume(all(_fits(tensor, given_[tensor.name], model, work) for tensor in model.inputs))
    if model.batch_from == "guessed" and model.fixed_batch is None and tiles != batch:
        with pytest.raises(BadFile, match="only a guess"):
            _fed(tmp_path, model, batch, dims=work.dims, **given_)
        return
    for name, array in _fed(tmp_path, model, batch, dims=work.dims, **given_).items():
        axis = model.axes.get(name)
        assert array.shape == shapes[name]
        wanted = given_[name]
        if axis is not None:
            wanted = np.take(wanted, np.arange(batch) % tiles, axis=axis)
        assert np.array_equal(array, wanted)


def _fits(tensor: Tensor, array: np.ndarray, model: Model, work: Workload) -> bool:
    axis = model.axes.get(tensor.name)
    return all(
        at == axis or own == side
        for at, (own, side) in enumerate(zip(array.shape, inputs.sides(tensor, work), strict=True))
    )


def _found(
    *shapes: tuple[int | str, ...], outputs: list[tuple[int | str, ...]] | None = None
) -> Model:
    """A model of inputs x0, x1, … as a file would be read that declares these shapes."""
    declared = tuple(
        Tensor(name=f"x{index}", dtype="float32", shape=shape) for index, shape in enumerate(shapes)
    )
    made = tuple(
        Tensor(name=f"y{index}", dtype="float32", shape=shape)
        for index, shape in enumerate(outputs or [("y", 10)])
    )
    found = axes.find(declared, made)
    return Model(
        name="m",
        path="/m.onnx",
        sha256="0",
        opset=18,
        inputs=declared,
        outputs=made,
        batch_axes=found.axes,
        batch_from=found.how,
    )


def _fed(
    folder: Path, model: Model, batch: int, dims: dict[str, int] | None = None, **arrays: np.ndarray
) -> dict[str, np.ndarray]:
    path = folder / "given.npz"
    np.savez(path, **arrays)
    return inputs.make(Workload(model=model, batch=batch, data=str(path), dims=dims or {}))
