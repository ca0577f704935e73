"""Inputs of a model, made from its declared shapes and types, or read from a file of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile, UsageError
from nnprof.profiler.arrays import read, require_memory
from nnprof.types import Model, Tensor, Workload

# Small integers are valid as indices, token ids and class numbers alike.
_INTEGERS_BELOW = 2


def make(workload: Workload) -> dict[str, NDArray[Any]]:
    """One array per input, the batch in front.

    Floating inputs get whole numbers from 0 to 255, as tiles are; integers 0 or 1; the seed makes
    them repeatable. With `workload.data` a file, its tiles, repeated until the batch is full.

    Raises:
        BadFile: the data file does not fit the model.
        UsageError: a type or a free dimension that nothing can be made up for.
    """
    if workload.data != "generated":
        return _from_file(workload)
    random = np.random.default_rng(workload.seed)
    return {
        tensor.name: _generate(tensor, workload.batch, random) for tensor in workload.model.inputs
    }


def check_batch(model: Model, batch: int) -> None:
    """Refuse a batch that the model is not made for.

    Raises:
        UsageError: the file is bound to another batch.
    """
    if model.fixed_batch not in (None, batch):
        raise UsageError(
            f"{model.name} is bound to batch {model.fixed_batch}, not {batch}.",
            f"Leave out --batch, or ask for --batch {model.fixed_batch}.",
        )


def shape_at(tensor: Tensor, batch: int) -> tuple[int, ...]:
    """The tensor's shape at a batch size.

    Raises:
        UsageError: a dimension other than the first is free.
    """
    sides = [batch if isinstance(side, str) and not axis else side
             for axis, side in enumerate(tensor.shape)]  # fmt: skip
    for axis, side in enumerate(sides):
        if isinstance(side, str):
            raise UsageError(
                f"Input '{tensor.name}' has a free dimension '{side}' at axis {axis}.",
                "Give the inputs with --data FILE.npz.",
            )
    return tuple(int(side) for side in sides)


def _generate(tensor: Tensor, batch: int, random: np.random.Generator) -> NDArray[Any]:
    shape = shape_at(tensor, batch)
    try:
        dtype = np.dtype(tensor.dtype)
    except TypeError:
        dtype = np.dtype(object)
    require_memory(tensor.name, shape, max(1, dtype.itemsize))
    if dtype.kind == "f":
        # Bytes first: a float64 intermediate would need eight times the memory.
        return random.integers(0, 256, shape, np.uint8).astype(dtype)
    if dtype == np.uint8:
        return random.integers(0, 256, shape, np.uint8)
    if dtype.kind in "iub":
        return random.integers(0, _INTEGERS_BELOW, shape, np.uint8).astype(dtype)
    raise UsageError(
        f"Input '{tensor.name}' is of type {tensor.dtype}, which cannot be made up.",
        "Give the inputs with --data FILE.npz.",
    )


def _from_file(workload: Workload) -> dict[str, NDArray[Any]]:
    arrays = read_data(Path(workload.data))
    tensors = workload.model.inputs
    if "" in arrays:
        arrays = {tensors[0].name: arrays[""]}
    elif len(tensors) == 1 and tensors[0].name not in arrays:
        # An .npz of labelled tiles: the first array that is no vector of labels.
        tiles = [array for array in arrays.values() if array.ndim > 1] or list(arrays.values())
        arrays = {tensors[0].name: tiles[0]}
    return {tensor.name: _fit(tensor, arrays, workload) for tensor in tensors}


def read_data(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz by name; the array of an .npy under the empty name.

    Raises:
        BadFile: not such a file, one that holds Python objects, or one beyond its bounds.
    """
    return read(path)


def _fit(tensor: Tensor, arrays: dict[str, NDArray[Any]], workload: Workload) -> NDArray[Any]:
    if tensor.name not in arrays:
        raise BadFile(
            f"{workload.data} has no array '{tensor.name}'.", f"It has: {', '.join(arrays)}."
        )
    array = arrays[tensor.name]
    wanted = tuple(side if isinstance(side, int) else None for side in tensor.shape[1:])
    fits = len(array.shape) == len(tensor.shape) and all(
        need in (None, have) for need, have in zip(wanted, array.shape[1:], strict=True)
    )
    if not fits or not len(array):
        shape = "×".join(map(str, tensor.shape))
        raise BadFile(
            f"{workload.data} holds {'×'.join(map(str, array.shape))}, "
            f"but input '{tensor.name}' needs {shape}.",
            "Give tiles of that shape.",
        )
    repeated = np.resize(array, (workload.batch, *array.shape[1:]))
    return repeated.astype(tensor.dtype)
