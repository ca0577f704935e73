"""Arrays in .npy and .npz files of the user's: read to a bound, and never Python objects."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
from numpy.lib import format as npy
from numpy.typing import NDArray

from nnprof.errors import BadFile, OutOfMemory
from nnprof.files import foreign

MOST_BYTES = 1 << 33  # of a file's arrays together, unpacked
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_PIECE = 1 << 20
_REMEDY = "Write it with numpy.save or numpy.savez."


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz by name; the array of an .npy under the empty name.

    Raises:
        BadFile: not such a file, one that holds Python objects, or one whose arrays have more than
            `MOST_BYTES`, or more than half of the memory that is free.
    """
    with foreign(f"{path} cannot be read", _REMEDY):
        opened = path.open("rb")
    with opened as file, foreign(f"{path} is not a readable .npy or .npz file.", _REMEDY):
        if file.read(2) == b"PK":
            return _npz(path, file)
        file.seek(0, 2)
        size = file.tell()
        file.seek(0)
        _require_room(path, size)
        return {"": _array(file, size)}


def require_memory(name: str, shape: tuple[int, ...], itemsize: int) -> None:
    """Refuse an array that the machine has no memory for, before it is asked for.

    Raises:
        OutOfMemory: it is larger than what is free.
    """
    size, free = math.prod(shape) * itemsize, psutil.virtual_memory().available
    if size > free:
        raise OutOfMemory(
            f"The cell does not fit into memory: input '{name}' would take {size / 2**30:.3g} GiB, "
            f"and {free / 2**30:.3g} GiB are free.",
            "Ask for a smaller batch.",
        )


def _npz(path: Path, file: IO[bytes]) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(file) as packed:
        members = [one for one in packed.infolist() if one.filename.endswith(".npy")]
        _require_room(path, sum(one.file_size for one in members))
        found = {}
        for one in members:
            with packed.open(one) as stream:
                found[one.filename.removesuffix(".npy")] = _array(stream, one.file_size)
        if not found:
            raise BadFile(f"{path} holds no array.", _REMEDY)
        return found


def _require_room(path: Path, size: int) -> None:
    most = min(MOST_BYTES, psutil.virtual_memory().available // 2)
    if size > most:
        raise BadFile(
            f"{path} holds {size / 2**20:.0f} MiB of arrays; {most / 2**20:.0f} MiB are the most "
            "that are read.",
            "Give fewer tiles: a batch is filled up by repeating them.",
        )


def _array(stream: IO[bytes], size: int) -> NDArray[Any]:
    """The array in a stream of `size` bytes, which may say more of itself than it holds."""
    version = npy.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"format {version[0]}.{version[1]} of arrays is not read")
    shape, by_columns, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    wanted = math.prod(shape) * dtype.itemsize
    if not wanted:
        return np.empty(shape, dtype)
    if min(shape, default=0) < 0 or wanted > size:
        raise ValueError("it announces more than it holds")
    data = bytearray()
    while len(data) < wanted and (piece := stream.read(min(_PIECE, wanted - len(data)))):
        data += piece
    if len(data) < wanted:
        raise ValueError("it is cut off")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")
