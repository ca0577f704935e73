"""Values of one input: its type, values that are made up for it, and a file's in its type. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile, UsageError
from nnprof.types import Tensor

# Small integers are valid as indices, token ids and class numbers alike.
_INTEGERS_BELOW = 2


def dtype_of(tensor: Tensor) -> np.dtype[Any]:
    """The type of the input's arrays: objects for text.

    Raises:
        UsageError: numpy has no such type, so no array of it can be made or read.
    """
    if tensor.dtype in ("string", "object"):
        return np.dtype(object)
    try:
        found = np.dtype(tensor.dtype)
    except TypeError:
        found = np.dtype(np.void)
    if found.kind == "V":  # bfloat16, int4 and the like, also where an extension knows them
        raise UsageError(
            f"Input '{tensor.name}' is of type {tensor.dtype}, which numpy and its files do not "
            "have: nothing can be fed in.",
            f"Export the model with a float32 input that is cast to {tensor.dtype} inside.",
        )
    return found


def made_up(
    tensor: Tensor, shape: tuple[int, ...], random: np.random.Generator
) -> NDArray[np.uint8]:
    """Values for an input as bytes: a float64 intermediate would need eight times the memory.

    Raises:
        UsageError: nothing can be made up for its type.
    """
    dtype = dtype_of(tensor)
    if dtype.kind == "f" or dtype == np.uint8:
        return random.integers(0, 256, shape, np.uint8)
    if dtype.kind in "iub":
        return random.integers(0, _INTEGERS_BELOW, shape, np.uint8)
    raise UsageError(
        f"Input '{tensor.name}' is of type {tensor.dtype}, which cannot be made up.",
        "Export the part behind the text, which takes numbers."
        if dtype.kind == "O"
        else "Give the inputs with --data FILE.npz.",
    )


def cast(tensor: Tensor, array: NDArray[Any], source: str) -> NDArray[Any]:
    """In the declared type; rounding to a narrower float is fine, any other loss is not.

    Raises:
        BadFile: the type cannot hold the values; names their `source`.
    """
    dtype = dtype_of(tensor)
    kinds = {"f": "buif", "i": "buif", "u": "buif", "b": "buif", "c": "buifc", "O": "OUS"}
    fits = array.dtype.kind in kinds.get(dtype.kind, "")
    if fits and array.dtype != dtype and dtype.kind != "O":
        with np.errstate(all="ignore"):
            made = array.astype(dtype)
            same = np.isfinite(made) == np.isfinite(array) if dtype.kind == "f" else made == array
        fits, array = bool(np.all(same)), made
    if not fits:
        raise BadFile(
            f"{source} has {array.dtype} values that input '{tensor.name}' cannot hold as "
            f"{tensor.dtype}.",
            f"Write them as {tensor.dtype}.",
        )
    return array.astype(dtype, copy=False)
