"""CUDA's runtime, called through NVIDIA's own `cuda-bindings`: errors, the GPU, pinned memory."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import CellError, OutOfMemory, Unavailable


def runtime() -> Any:
    """CUDA's runtime.

    Raises:
        Unavailable: its bindings are not installed.
    """
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise Unavailable(
            "cuda-bindings is not installed.", "Try: pip install 'nnprof-embedded[tensorrt]'"
        ) from error
    return runtime


def ok(answer: tuple[Any, ...]) -> Any:
    """The value that a call of CUDA gave, without its error code.

    Raises:
        OutOfMemory, Unavailable, CellError: the code was not success.
    """
    error, *values = answer
    name = error.name
    if name == "cudaErrorMemoryAllocation":
        raise OutOfMemory("The GPU has no memory left.", "Ask for a smaller batch.")
    if name in ("cudaErrorNoDevice", "cudaErrorInsufficientDriver", "cudaErrorInitializationError"):
        raise Unavailable(
            f"CUDA finds no GPU ({name}).",
            "Is NVIDIA's driver loaded, new enough, and may you use it?",
        )
    if name != "cudaSuccess":
        raise CellError(f"CUDA failed with {name}.", "Try the same cell alone; look at: sudo dmesg")
    return values[0] if values else None


class Gpu(NamedTuple):
    """Name and compute capability, such as "Orin" and "8.7"."""

    name: str
    compute: str


def gpu_here() -> Gpu:
    """The first GPU of this machine.

    Raises:
        Unavailable: CUDA finds none.
    """
    cuda = runtime()
    ok(cuda.cudaGetDeviceCount())
    properties = ok(cuda.cudaGetDeviceProperties(0))
    return Gpu(properties.name.decode(), f"{properties.major}.{properties.minor}")


class Buffer(NamedTuple):
    """A tensor of the engine: on the device, and pinned on the host for the copies."""

    device: int
    host: NDArray[Any]
    is_input: bool


def pinned(shape: Sequence[int], dtype: Any) -> NDArray[Any]:
    """An array in page-locked memory of the host; free its address with `cudaFreeHost`."""
    size = max(1, int(np.prod(shape)) * np.dtype(dtype).itemsize)
    address = ok(runtime().cudaMallocHost(size))
    raw = (ctypes.c_byte * size).from_address(int(address))
    return np.frombuffer(raw, dtype, count=int(np.prod(shape))).reshape(shape)
