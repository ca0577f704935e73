"""Inputs of a model, made from its declared shapes and types, or read from a file of the user's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from nnprof.errors import BadFile, UsageError
from nnprof.exporters.axes import UNNAMED, back
from nnprof.networks import images
from nnprof.networks.images import Grid
from nnprof.networks.shapes import Shape
from nnprof.profiler import values
from nnprof.profiler.arrays import read, require_memory
from nnprof.types import Image, Model, Tensor, Workload


def make(workload: Workload) -> dict[str, NDArray[Any]]:
    """One array per input.

    Floating inputs get whole numbers from 0 to 255, as tiles are; integers 0 or 1; the seed makes
    them repeatable. With `workload.data` a file, its arrays as they are; along the batch axis alone
    the first tiles are taken, or repeated in order until the batch is full. With an image its first
    tiles, row by row; a file is then the image.

    Raises:
        BadFile: the data file does not fit the model.
        UsageError: a type or a free dimension that nothing can be made up for.
    """
    for tensor in workload.model.inputs:
        values.dtype_of(tensor)
    if workload.image:
        return _of_image(workload)
    if workload.data != "generated":
        return _from_file(workload)
    random = np.random.default_rng(workload.seed)
    return {tensor.name: _generate(tensor, workload, random) for tensor in workload.model.inputs}


def shapes(workload: Workload) -> dict[str, tuple[int, ...]]:
    """The shapes of what `make` gives, by input.

    Raises:
        BadFile, UsageError: as `make`.
    """
    if workload.data != "generated":
        return {name: array.shape for name, array in make(workload).items()}
    return {tensor.name: shape_at(tensor, workload) for tensor in workload.model.inputs}


def profiles(workload: Workload, batches: Sequence[int]) -> tuple[dict[str, tuple[int, ...]], ...]:
    """The shapes at each of these batches; () where only first axes are free, and are the batch."""
    axes = workload.model.axes
    plain = all(
        isinstance(side, int) or (axis == 0 and axes.get(tensor.name) == 0)
        for tensor in workload.model.inputs
        for axis, side in enumerate(tensor.shape)
    )
    return () if plain else tuple(shapes(replace(workload, batch=batch)) for batch in batches)


def check_batch(model: Model, batch: int) -> None:
    """Refuse a batch that the model is not made for.

    Raises:
        UsageError: the file is bound to another batch, or has none.
    """
    if model.fixed_batch in (None, batch):
        return
    if not model.axes and model.inputs:
        largest = max(model.inputs, key=lambda tensor: len(tensor.shape))
        free = (axis for axis, side in enumerate(largest.shape) if isinstance(side, str))
        where = f", or say where it is: --batch-axis {largest.name}={next(free, 0)}"
        raise UsageError(
            f"No input of {model.name} has a batch axis that can be told, so it is one inference "
            f"and not batch {batch}.",
            f"Leave out --batch{where if largest.shape else ''}.",
        )
    raise UsageError(
        f"{model.name} is bound to batch {model.fixed_batch}, not {batch}.",
        f"Leave out --batch, or ask for --batch {model.fixed_batch}.",
    )


def sides(tensor: Tensor, workload: Workload) -> tuple[int | str, ...]:
    """The input's shape with the batch and the given dimensions in it; a name where still free."""
    axis, dims = workload.model.axes.get(tensor.name), workload.dims
    named = _batch_names(workload.model)
    return tuple(
        side
        if isinstance(side, int)
        else workload.batch
        if at == axis or side in named
        else dims.get(f"{tensor.name}.{at}", dims.get(side, side))
        for at, side in enumerate(tensor.shape)
    )


def _batch_names(model: Model) -> set[str]:
    """What the file calls its batch."""
    axes = model.axes
    sides = {one.shape[axes[one.name]] for one in model.inputs if one.name in axes}
    return {side for side in sides if isinstance(side, str)} - {UNNAMED}


def shape_at(tensor: Tensor, workload: Workload) -> tuple[int, ...]:
    """The input's shape in that workload.

    Raises:
        UsageError: a dimension is free that is neither the batch nor given.
    """
    shape = sides(tensor, workload)
    for axis, side in enumerate(shape):
        if isinstance(side, str):
            called = "" if side == UNNAMED else f" '{side}'"
            flags = " ".join(f"--dim {word}=N" for word in still_free(workload))
            raise UsageError(
                f"Input '{tensor.name}' has a free dimension{called} at axis {axis}.",
                f"Give its size with {flags}, or the inputs with --data FILE.npz.",
            )
    return tuple(int(side) for side in shape)


def still_free(workload: Workload) -> tuple[str, ...]:
    """What `--dim` has to give for all inputs: a name where there is one, else INPUT.AXIS."""
    found = [
        f"{tensor.name}.{axis}" if side == UNNAMED else side
        for tensor in workload.model.inputs
        for axis, side in enumerate(sides(tensor, workload))
        if isinstance(side, str)
    ]
    return tuple(dict.fromkeys(found))


def check_dims(model: Model, dims: Mapping[str, int]) -> dict[str, int]:
    """Those of the given dimensions that the model leaves free.

    Raises:
        UsageError: one of them is the model's batch.
    """
    batch = _batch_names(model) | {f"{name}.{axis}" for name, axis in model.axes.items()}
    for name in dims:
        if name in batch:
            raise UsageError(
                f"'{name}' is the batch of {model.name}.", f"Give it with --batch {dims[name]}."
            )
    free = _free_sides(model)
    return {name: side for name, side in dims.items() if name in free}


def _free_sides(model: Model) -> set[str]:
    """What `--dim` can name: free dimensions by their name and as INPUT.AXIS."""
    found, batch = set(), _batch_names(model)
    for tensor in model.inputs:
        for axis, side in enumerate(tensor.shape):
            own = isinstance(side, str) and side not in batch
            if own and axis != model.axes.get(tensor.name):
                found |= {f"{tensor.name}.{axis}", str(side)} - {UNNAMED}
    return found


def free_sides(models: Iterable[Model]) -> tuple[str, ...]:
    """What `--dim` can name in any of these models, in order."""
    return tuple(sorted({name for model in models for name in _free_sides(model)}))


def _generate(tensor: Tensor, workload: Workload, random: np.random.Generator) -> NDArray[Any]:
    shape, dtype = shape_at(tensor, workload), values.dtype_of(tensor)
    require_memory(tensor.name, shape, max(1, dtype.itemsize))
    return values.made_up(tensor, shape, random).astype(dtype, copy=False)


# --- an image that is cut into tiles --------------------------------------------------------------


class Picture(NamedTuple):
    """A workload's image: its pixels (channels × height × width), and how tiles lie in it."""

    pixels: NDArray[Any]
    tile: Shape
    grid: Grid

    def cut(self, dtype: str) -> NDArray[Any]:
        """All tiles, N × C × H × W, of that type; see `images.cut`."""
        return images.cut(self.pixels, self.tile, self.grid.stride, dtype)


def picture(workload: Workload) -> Picture:
    """The image of a workload that has one: made up and seeded, or out of the user's file.

    Raises:
        UsageError: the model's input is no picture, or the image cannot be cut for it.
        BadFile: the file holds another image, or values that the input cannot hold.
    """
    tile, found = grid(workload)
    (tensor,), image = workload.model.inputs, _image(workload)
    shape = (tile[0], image.height, image.width)
    require_memory(tensor.name, shape, 1)
    if workload.data == "generated":
        return Picture(
            values.made_up(tensor, shape, np.random.default_rng(workload.seed)), tile, found
        )
    arrays = read_data(Path(workload.data))
    array = arrays.get(tensor.name, next(iter(arrays.values())))
    # A view of pixels whose colours come last: to gather them is part of cutting.
    views = (array, array[np.newaxis], np.moveaxis(array, -1, 0) if array.ndim == 3 else array)
    pixels = next((one for one in views if one.shape == shape), None)
    if pixels is None:
        raise BadFile(
            f"{workload.data} holds {_times(array.shape)}, not an image of {_times(shape)}.",
            "Give channels × height × width pixels, or the --image that it is.",
        )
    values.cast(tensor, pixels, workload.data)
    return Picture(pixels, tile, found)


def grid(workload: Workload) -> tuple[Shape, Grid]:
    """The tile that a workload's model takes, and how such tiles lie in the workload's image.

    Raises:
        UsageError: it has several inputs, one that is no picture, or a free side that is not given;
            or the image cannot be cut for it.
    """
    model, image = workload.model, _image(workload)
    if len(model.inputs) != 1:
        raise UsageError(
            f"{model.name} has {len(model.inputs)} inputs; an image is cut for one.",
            "Leave out --image, or export the part that takes the tiles.",
        )
    (tensor,) = model.inputs
    axis, shape = model.axes.get(tensor.name), shape_at(tensor, workload)
    own = images.require_picture([one for at, one in enumerate(shape) if at != axis], model.name)
    return own, images.grid(image, own)


def _image(workload: Workload) -> Image:
    if workload.image is None:
        raise UsageError("There is no image to cut.", "Give one: --image 784x784.")
    return workload.image


def _of_image(workload: Workload) -> dict[str, NDArray[Any]]:
    """The first tiles of the workload's image."""
    (tensor,), one = workload.model.inputs, picture(workload)
    rows = math.ceil(workload.batch / one.grid.columns)
    needed = one.pixels[:, : one.tile[1] + (rows - 1) * one.grid.stride[0]]
    tiles = one._replace(pixels=needed).cut(tensor.dtype)[: workload.batch]
    own = back(tiles, workload.model.axes.get(tensor.name))
    return {tensor.name: np.ascontiguousarray(own)}


# --- a file of the user's -------------------------------------------------------------------------


def _from_file(workload: Workload) -> dict[str, NDArray[Any]]:
    arrays = given(workload)
    _check_counts(arrays, workload)
    return {
        tensor.name: values.cast(
            tensor, _filled(tensor, arrays[tensor.name], workload), workload.data
        )
        for tensor in workload.model.inputs
    }


def given(workload: Workload) -> dict[str, NDArray[Any]]:
    """The arrays of `workload.data` by input, uncut and uncast, with as many tiles as they have.

    Raises:
        BadFile: the file has no array for an input, or one of another shape.
    """
    arrays, tensors = read_data(Path(workload.data)), workload.model.inputs
    if "" in arrays:
        arrays = {tensors[0].name: arrays[""]}
    elif len(tensors) == 1 and tensors[0].name not in arrays:
        arrays = {tensors[0].name: _tiles(tensors[0], arrays)}
    for tensor in tensors:
        _check_fits(tensor, arrays, workload)
    return {tensor.name: arrays[tensor.name] for tensor in tensors}


def _tiles(tensor: Tensor, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Of an .npz of labelled tiles: the first array of as many sides as the input has."""
    others = [array for name, array in arrays.items() if name != "labels"] or [*arrays.values()]
    alike = [array for array in others if array.ndim == len(tensor.shape)]
    return [*alike, *(array for array in others if array.ndim > 1), *others][0]


def read_data(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz by name; the array of an .npy under the empty name.

    Raises:
        BadFile: not such a file, one that holds Python objects, or one beyond its bounds.
    """
    return read(path)


def _check_fits(tensor: Tensor, arrays: Mapping[str, NDArray[Any]], workload: Workload) -> None:
    if tensor.name not in arrays:
        raise BadFile(
            f"{workload.data} has no array '{tensor.name}'.", f"It has: {', '.join(arrays)}."
        )
    have, need = arrays[tensor.name].shape, sides(tensor, workload)
    axis = workload.model.axes.get(tensor.name)
    fits = len(have) == len(need) and all(
        isinstance(side, str) or side == own or (at == axis and own)
        for at, (side, own) in enumerate(zip(need, have, strict=True))
    )
    if not fits:
        wanted = [tensor.shape[at] if at == axis else side for at, side in enumerate(need)]
        raise BadFile(
            f"{workload.data} holds {_times(have)}, but input '{tensor.name}' needs "
            f"{_times(wanted)}.",
            "Give tiles of that shape." if axis is not None else "Give an array of that shape.",
        )


def _times(shape: Iterable[int | str]) -> str:
    return "×".join(map(str, shape)) or "a single value"


def _check_counts(arrays: Mapping[str, NDArray[Any]], workload: Workload) -> None:
    """Refuse inputs of unlike numbers of tiles, and to cut along a free axis that is a guess.

    Along a fixed one of another length the data can be nothing else than tiles.
    """
    model = workload.model
    counts = {name: arrays[name].shape[axis] for name, axis in model.axes.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} along axis {model.axes[name]} of {name}"
                           for name, count in counts.items())  # fmt: skip
        raise BadFile(
            f"{workload.data} has unlike numbers of tiles: {listed}.",
            "Give as many of each; --batch-axis INPUT=AXIS, or INPUT=none, says what holds tiles.",
        )
    guessed = model.batch_from == "guessed" and model.fixed_batch is None
    for name, count in counts.items() if guessed else ():
        if count != workload.batch:
            raise BadFile(
                f"{workload.data} holds {count} along axis {model.axes[name]} of {name}, not "
                f"{workload.batch}, and that this axis is the batch is only a guess.",
                f"Say which is: --batch-axis {name}={model.axes[name]}, another axis, or none.",
            )


def _filled(tensor: Tensor, array: NDArray[Any], workload: Workload) -> NDArray[Any]:
    """The array with the batch's number of tiles along its batch axis, else as it is."""
    axis = workload.model.axes.get(tensor.name)
    if axis is None:
        return array
    count, have = int(sides(tensor, workload)[axis]), array.shape[axis]
    if count == have:
        return array
    require_memory(tensor.name, (count, array.size // have), array.itemsize)
    filled: NDArray[Any] = np.take(array, np.arange(count) % have, axis=axis)
    return filled
