"""What an ONNX file is: its bytes and the bytes of every file beside it that holds weights of it.

Two models are the same when all these bytes are the same: `Model.sha256` covers them all. Files are
read again at each look, at the speed of the disk or of SHA-256; nothing is remembered between two
looks. `exporters/beside.py` says which files belong to a model.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import msgspec
import psutil

from nnprof.errors import BadFile, OutOfMemory
from nnprof.exporters.beside import AGAIN, COMPLETE, Beside, find, outside, span_of
from nnprof.types import Model

if TYPE_CHECKING:
    import onnx

# Of one protobuf message, and so of a file without its weights:
# https://protobuf.dev/programming-guides/proto-limits
MOST_BYTES = (1 << 31) - 1
# Beside the bytes: the values that Python reads, and those that the checker reads.
_COPIES = 3
_BLOCK = 1 << 20
_PIECE = 1 << 16  # less than malloc takes from the system at once


class Found(NamedTuple):
    """An ONNX file, read once.

    Attributes:
        proto: without the values that are in other files.
        data: the bytes that it was read from.
        sha256: identity of the model.
        beside: the files that hold weights of it, by name.
    """

    proto: onnx.ModelProto
    data: bytes
    sha256: str
    beside: tuple[Beside, ...]


def read(path: Path) -> Found:
    """The file and its identity; the values in files beside it are hashed and not kept.

    Raises:
        BadFile: the file, or a file beside it, is missing, no regular file, cut off, or outside of
            the model's folder.
        OutOfMemory: reading takes more memory than is free.
    """
    data = _bytes(path)
    proto = _parsed(path, data)
    beside = find(path, data, proto)
    return Found(proto, data, _joined(hashlib.sha256(data).hexdigest(), beside), beside)


def files_beside(path: Path) -> tuple[Beside, ...]:
    """The files that hold weights of a model.

    Raises:
        BadFile, OutOfMemory: as `read`.
    """
    # As in `find`: a file without this word need not be parsed. Read in pieces, for a worker does
    # this before it measures memory, and a large piece that is freed changes how malloc works on.
    if not _mentions(path, b"location"):
        return ()
    data = _bytes(path)
    return find(path, data, _parsed(path, data))


def identity(path: Path) -> str:
    """What `Model.sha256` would be of this file now; without files beside it the plain SHA-256.

    Raises:
        BadFile, OutOfMemory: as `read`.
    """
    beside = files_beside(path)
    return _joined(sha256_of(path), beside)


def require_same(model: Model) -> None:
    """Refuse a model that is not on disk as it was read.

    Reads every file of the model, at the speed of SHA-256 (about a second for 1 GB).

    Raises:
        BadFile: its file, or a file with its weights, changed or is gone.
    """
    path = Path(model.path)
    try:
        same = sha256_of(path) == model.sha256 or identity(path) == model.sha256
        why = "it, or a file with its weights, has other content now"
    except BadFile as error:
        same, why = False, error.reason.rstrip(".")
    if not same:
        raise BadFile(
            f"{model.name} changed while it was measured ({path}): {why}.",
            "Let the file be until the Run is done, and measure again.",
        )


def send(model: Model, put: Callable[[Path, str], str]) -> str:
    """Copy all files of a model elsewhere, under its identity; the new place of its own file.

    Args:
        model: on disk.
        put: (file, name there) → place there.

    Raises:
        BadFile, OutOfMemory: as `read`.
    """
    path = Path(model.path)
    beside = files_beside(path)
    for one in beside:
        put(one.path, f"{model.sha256}/{one.name}")
    folder = f"{model.sha256}/" if beside else ""
    return put(path, f"{folder}{model.sha256}.onnx")


def whole(path: Path) -> onnx.ModelProto:
    """The model with all its weights, also those of other files.

    Raises:
        BadFile: as `read`.
        OutOfMemory: the weights take more memory than is free.
    """
    found = read(path)
    require_memory(found.beside, path.name)
    for tensor in outside(found.proto) if found.beside else ():
        bring_in(path, tensor)
    return found.proto


def bring_in(path: Path, tensor: onnx.TensorProto) -> None:
    """Read a tensor's values, which are in another file that `read` has accepted, into the tensor.

    Raises:
        OutOfMemory: they are larger than the free memory.
    """
    span = span_of(path, tensor)
    _require_memory(span.bytes, path.name)
    with _opened(path.parent / span.location) as file:
        file.seek(span.offset)
        tensor.raw_data = file.read(span.bytes)
    del tensor.external_data[:]
    tensor.data_location = tensor.DEFAULT


def require_memory(beside: tuple[Beside, ...], name: str) -> None:
    """Refuse weights that are larger than the free memory.

    Raises:
        OutOfMemory: the weights are larger.
    """
    _require_memory(sum(one.bytes for one in beside), name)


def _require_memory(needed: int, name: str) -> None:
    free = psutil.virtual_memory().available
    if needed > free:
        raise OutOfMemory(
            f"The weights of {name} take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory "
            "are free.",
            "Free some memory, or measure it on a larger machine.",
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of a regular file, read in blocks.

    Raises:
        BadFile: the file cannot be read, or is no regular file.
    """
    digest = hashlib.sha256()
    with _opened(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


# --- reading --------------------------------------------------------------------------------------


def _opened(path: Path) -> BinaryIO:
    """A regular file, open. Anything else (a pipe, a device) might never give its bytes."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise BadFile(f"'{path}' cannot be read: it is {what}.", COMPLETE)
        return path.open("rb")
    except OSError as error:
        raise BadFile(f"'{path}' cannot be read: {error.strerror}.", COMPLETE) from error
    except ValueError as error:  # a name with a zero byte
        raise BadFile(f"'{path!a}' cannot be read: {error}.", COMPLETE) from error


def _mentions(path: Path, word: bytes) -> bool:
    """Whether a file has these bytes anywhere."""
    with _opened(path) as file:
        _require_size(path, file)
        end = b""
        while piece := file.read(_PIECE):
            if word in end + piece:
                return True
            end = piece[1 - len(word) :]
    return False


def _bytes(path: Path) -> bytes:
    with _opened(path) as file:
        _require_size(path, file)
        return file.read(MOST_BYTES)


def _require_size(path: Path, file: BinaryIO) -> None:
    size, free = os.fstat(file.fileno()).st_size, psutil.virtual_memory().available
    if size > MOST_BYTES:
        raise BadFile(f"'{path}' has {size / 1e9:.1f} GB, and an ONNX file ends at 2 GB.", AGAIN)
    if size * _COPIES > free:
        raise OutOfMemory(
            f"'{path}' has {size / 1e9:.1f} GB; to read it takes {_COPIES} times that, and "
            f"{free / 1e9:.1f} GB of memory are free.",
            "Free some memory, or save the model with its weights in a file beside it.",
        )


def _parsed(path: Path, data: bytes) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise BadFile(f"'{path}' is no ONNX file, or is cut off.", COMPLETE) from error
    if not proto.HasField("graph"):
        raise BadFile(f"'{path}' is no ONNX file, or is cut off: it has no graph.", COMPLETE)
    if not _is_text(proto):
        raise BadFile(f"'{path}' is damaged: names in it are no text (UTF-8).", COMPLETE)
    return proto


def _is_text(message: Any) -> bool:
    """Whether all names are text; protobuf hands on others as bytes."""
    for field, value in message.ListFields():
        many = value if hasattr(value, "append") or hasattr(value, "add") else (value,)
        if field.type == field.TYPE_STRING:
            if not all(isinstance(one, str) for one in many):
                return False
        elif field.message_type is not None and not all(map(_is_text, many)):
            return False
    return True


def _joined(plain: str, beside: tuple[Beside, ...]) -> str:
    if not beside:
        return plain
    parts = [(one.name, sha256_of(one.path)) for one in beside]
    return hashlib.sha256(msgspec.json.encode(("model", plain, parts))).hexdigest()
