"""Arrays in files of the user's: read as numpy reads them, to a bound."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nnprof.errors import BadFile, OutOfMemory
from nnprof.profiler import arrays, inputs
from nnprof.types import Model, Tensor, Workload


def _npy(shape: str, dtype: str = "<f4", body: bytes = bytes(16)) -> bytes:
    """A .npy that says of itself what we want."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.float64(3.5),
        np.zeros((0, 3), np.uint8),
        np.array(["one", "two"]),
        np.array([True, False]),
        np.arange(3, dtype=">i2"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_arrays_are_read_as_numpy_reads_them(array: np.ndarray, tmp_path: Path) -> None:
    """Each kind of array comes back, from an .npy and from packed and unpacked .npz files."""
    np.save(tmp_path / "one.npy", array)
    np.savez(tmp_path / "two.npz", a=array, b=array)
    np.savez_compressed(tmp_path / "three.npz", a=array)
    for path, name in (("one.npy", ""), ("two.npz", "b"), ("three.npz", "a")):
        read = arrays.read(tmp_path / path)[name]
        np.testing.assert_array_equal(read, array)
        assert (read.dtype, read.shape) == (array.dtype, array.shape)


@pytest.mark.parametrize(
    "shape", ["(1000000000000000,)", "(-1,)", "(4, 10000000000000)", "(9" + "9" * 30 + ",)", "(5,)"]
)
def test_a_shape_larger_than_its_file(shape: str, tmp_path: Path) -> None:
    """What a header announces and the file does not hold is never allocated."""
    path = tmp_path / "tiles.npy"
    path.write_bytes(_npy(shape))
    with pytest.raises(BadFile, match="not a readable"):
        arrays.read(path)
    with zipfile.ZipFile(tmp_path / "tiles.npz", "w") as packed:
        packed.writestr("x.npy", _npy(shape))
    with pytest.raises(BadFile, match="not a readable"):
        arrays.read(tmp_path / "tiles.npz")


def test_a_bomb(tmp_path: Path) -> None:
    """A small file that unpacks to more than the bound is refused by what it announces."""
    piece = bytes(1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in "ab":
            with packed.open(f"{name}.npy", "w", force_zip64=True) as stream:
                stream.write(_npy("(1073741824,)", body=b""))
                for _ in range(8):
                    stream.write(piece)
    path = tmp_path / "bomb.npz"
    data = path.read_bytes()
    size = struct.pack("<I", (8 << 20) + 128)
    assert data.count(size) >= 2
    path.write_bytes(data.replace(size, struct.pack("<I", 0xFFFFFFF0)))
    with pytest.raises(BadFile, match=r"MiB of arrays; \d+ MiB are the most|not a readable"):
        arrays.read(path)


def test_a_file_beyond_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound holds for an .npy and for all arrays of an .npz together."""
    monkeypatch.setattr(arrays, "MOST_BYTES", 1 << 20)
    array = np.zeros(1 << 19, np.uint8)
    np.save(tmp_path / "large.npy", np.zeros(1 << 20, np.uint8))
    np.savez_compressed(tmp_path / "fits.npz", a=array)
    np.savez_compressed(tmp_path / "bomb.npz", a=array, b=array, c=array)
    assert arrays.read(tmp_path / "fits.npz")["a"].nbytes == 1 << 19
    for name in ("large.npy", "bomb.npz"):
        with pytest.raises(BadFile, match="1 MiB are the most that are read"):
            arrays.read(tmp_path / name)


def test_what_cannot_be_unpacked(tmp_path: Path) -> None:
    """Cut, changed, encrypted and oddly packed files are one sentence each."""
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, a=np.arange(1000), b=np.arange(3))
    data = whole.read_bytes()
    cut, changed = data[: len(data) // 2], bytearray(data)
    changed[100:140] = bytes(40)
    encrypted = data.replace(b"PK\x01\x02\x2d\x03\x2d\x00\x00", b"PK\x01\x02\x2d\x03\x2d\x00\x01")
    odd = data.replace(b"\x08\x00\x00\x00\x21\x00", b"\x63\x00\x00\x00\x21\x00")
    for number, wrong in enumerate((cut, bytes(changed), encrypted, odd)):
        assert wrong != data
        path = tmp_path / f"{number}.npz"
        path.write_bytes(wrong)
        with pytest.raises(BadFile, match="not a readable"):
            arrays.read(path)


def test_an_input_larger_than_memory() -> None:
    """Inputs that cannot be made up for lack of memory are told before memory is asked for."""
    tensor = Tensor(name="x", dtype="float32", shape=("batch", 1000, 1000))
    answer = Tensor(name="y", dtype="float32", shape=("batch", 10))
    model = Model(name="m", path="m", sha256="", opset=18, inputs=(tensor,), outputs=(answer,))
    with pytest.raises(OutOfMemory, match=r"input 'x' would take \S+ GiB, and \S+ GiB are free"):
        inputs.make(Workload(model=model, batch=2**31))
