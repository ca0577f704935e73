"""What an ONNX file is: its bytes and the bytes of every file beside it that holds weights of it.

A tensor may keep its values in another file (`external_data`): initialisers, also sparse ones and
those of graphs inside nodes and of functions, and tensors among attributes. Two models are the same
when all of that is the same, so all of it is in `Model.sha256`, and nothing is remembered between
two looks: files are read again each time, at the speed of the disk or of SHA-256.

Runtimes open such a file by its name in the folder of the path that they were given, also where
that path is a link, and refuse what leads out of it. So do we, before they do:

* no absolute path, no `..`, no backslash, no file that is not a regular one;
* a link may lead to another file of that folder, or into the folder where the model's own link
  leads (so the cache of the Hugging Face hub lays its files). That is what ONNX Runtime follows
  (microsoft/onnxruntime#27374); hard links are files like any other.
"""

from __future__ import annotations

import hashlib
import math
import os
import shlex
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import msgspec
import psutil

from nnprof.errors import BadFile, OutOfMemory
from nnprof.types import Model

if TYPE_CHECKING:
    import onnx

# Of one protobuf message, and so of a file without its weights:
# https://protobuf.dev/programming-guides/proto-limits
MOST_BYTES = (1 << 31) - 1
# Beside the bytes: the values that Python reads, and those that the checker reads.
_COPIES = 3
# Of all files beside a model: more is not read through in the hope that it will fit somewhere.
MOST_BESIDE_BYTES = 256 << 30
_COMPLETE = "Give a complete .onnx file; export or download it again if it was cut off."
_AGAIN = "Save the model again with its weights in a file beside it (onnx.save_model does)."
_BLOCK = 1 << 20
_IN_MEMORY = "_ORT_MEM_ADDR_"  # ONNX Runtime's mark for an address in the memory of a process
_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}  # packed


class Beside(NamedTuple):
    """A file that holds weights of a model.

    Attributes:
        name: from the folder of the model, as a plain path.
        path: where it is opened; may be a link.
        real: the file itself, links followed.
        bytes: of it that the model's tensors take.
    """

    name: str
    path: Path
    real: Path
    bytes: int


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
        BadFile: it, or a file that it needs, is missing, no regular file, cut off, or outside of
            its folder.
        OutOfMemory: it would take more memory than is free.
    """
    data = _bytes(path)
    proto = _parsed(path, data)
    beside = _beside(path, data, proto)
    return Found(proto, data, _joined(hashlib.sha256(data).hexdigest(), beside), beside)


def files_beside(path: Path) -> tuple[Beside, ...]:
    """The files that hold weights of a model.

    Raises:
        BadFile, OutOfMemory: as `read`.
    """
    data = _bytes(path)
    # Protobuf keeps text as it is, so without this word no tensor is anywhere else.
    return _beside(path, data, _parsed(path, data)) if b"location" in data else ()


def identity(path: Path) -> str:
    """What `Model.sha256` holds of this file now. Without files beside it, its plain SHA-256.

    Raises:
        BadFile, OutOfMemory: as `read`.
    """
    beside = files_beside(path)
    return _joined(sha256_of(path), beside)


def require_same(model: Model) -> None:
    """Refuse a model that is not on disk as it was read.

    Reads all that belongs to it, at the speed of SHA-256 (about a second for 1 GB).

    Raises:
        BadFile: its file, or one with weights of it, changed or went.
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
    """Put all files of a model elsewhere, under its identity; where its own file is then.

    Args:
        model: on disk.
        put: a file and the name that it shall have there → where it is.

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
        OutOfMemory: they would take more memory than is free.
    """
    found = read(path)
    require_memory(found.beside, path.name)
    for tensor in outside(found.proto) if found.beside else ():
        bring_in(path, tensor)
    return found.proto


def bring_in(path: Path, tensor: onnx.TensorProto) -> None:
    """Give a tensor of that model its values, which are in another file that was found good.

    Raises:
        OutOfMemory: they are larger than the free memory.
    """
    span = _span(path, tensor)
    _require_memory(span.bytes, path.name)
    with _opened(path.parent / span.location) as file:
        file.seek(span.offset)
        tensor.raw_data = file.read(span.bytes)
    del tensor.external_data[:]
    tensor.data_location = tensor.DEFAULT


def copying(folder: Path) -> str:
    """What to do about links that a runtime does not follow."""
    return (
        "Copy the folder with the files that its links lead to: "
        f"cp -rL {shlex.quote(str(folder))} COPY"
    )


def require_memory(beside: tuple[Beside, ...], name: str) -> None:
    """Refuse weights that are larger than the memory that is free.

    Raises:
        OutOfMemory: they are.
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
    """Of a regular file, in blocks.

    Raises:
        BadFile: it cannot be read, or is of another kind.
    """
    digest = hashlib.sha256()
    with _opened(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def outside(message: Any) -> Iterator[onnx.TensorProto]:
    """Every tensor with its values in another file, wherever in a model or part of it it stands."""
    return (one for one in parts(message, "TensorProto") if one.data_location == one.EXTERNAL)


def parts(message: Any, kind: str) -> Iterator[Any]:
    """Every message of that type within a model, wherever it stands."""
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.name in _LEAVES:
            continue
        for one in [value] if hasattr(value, "ListFields") else value:
            if one.DESCRIPTOR.name == kind:
                yield one
            else:
                yield from parts(one, kind)


# Hold no tensors; most of a large model's messages.
_LEAVES = {"ValueInfoProto", "TypeProto", "StringStringEntryProto", "OperatorSetIdProto"}


# --- reading --------------------------------------------------------------------------------------


def _opened(path: Path) -> BinaryIO:
    """A regular file, open. Anything else (a pipe, a device) might never give its bytes."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise BadFile(f"'{path}' cannot be read: it is {what}.", _COMPLETE)
        return path.open("rb")
    except OSError as error:
        raise BadFile(f"'{path}' cannot be read: {error.strerror}.", _COMPLETE) from error
    except ValueError as error:  # a name with a zero byte
        raise BadFile(f"'{path!a}' cannot be read: {error}.", _COMPLETE) from error


def _bytes(path: Path) -> bytes:
    with _opened(path) as file:
        size, free = os.fstat(file.fileno()).st_size, psutil.virtual_memory().available
        if size > MOST_BYTES:
            raise BadFile(
                f"'{path}' has {size / 1e9:.1f} GB, and an ONNX file ends at 2 GB.", _AGAIN
            )
        if size * _COPIES > free:
            raise OutOfMemory(
                f"'{path}' has {size / 1e9:.1f} GB; to read it takes {_COPIES} times that, and "
                f"{free / 1e9:.1f} GB of memory are free.",
                "Free some memory, or save the model with its weights in a file beside it.",
            )
        return file.read(MOST_BYTES)


def _parsed(path: Path, data: bytes) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise BadFile(f"'{path}' is no ONNX file, or is cut off.", _COMPLETE) from error
    if not proto.HasField("graph"):
        raise BadFile(f"'{path}' is no ONNX file, or is cut off: it has no graph.", _COMPLETE)
    if not _is_text(proto):
        raise BadFile(f"'{path}' is damaged: names in it are no text (UTF-8).", _COMPLETE)
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


# --- files beside it ------------------------------------------------------------------------------


class _Span(NamedTuple):
    """Where a tensor's values are."""

    location: str
    offset: int
    bytes: int


def _beside(path: Path, data: bytes, proto: onnx.ModelProto) -> tuple[Beside, ...]:
    if b"location" not in data:
        return ()
    real: dict[str, Path] = {}
    used: dict[str, int] = {}
    for tensor in outside(proto):
        span = _span(path, tensor)
        if span.location not in real:
            real[span.location] = _real(path, span.location)
        _require_inside(path, tensor.name, span, real[span.location].stat().st_size)
        used[span.location] = used.get(span.location, 0) + span.bytes
    found = tuple(
        Beside(name, path.parent / name, file, min(used[name], file.stat().st_size))
        for name, file in sorted(real.items())
    )
    total = sum(one.real.stat().st_size for one in found)
    if total > MOST_BESIDE_BYTES:
        raise BadFile(
            f"The files with the weights of '{path}' have {total / 1e9:.0f} GB, more than "
            f"{MOST_BESIDE_BYTES / 1e9:.0f} GB.",
            "Give a smaller model.",
        )
    return found


def _span(path: Path, tensor: onnx.TensorProto) -> _Span:
    """What a tensor says of its values.

    Raises:
        BadFile: that is not clear, or does not fit its shape.
    """
    said: dict[str, str] = {}
    for entry in tensor.external_data:
        # Of two, runtimes may take one or the other.
        if entry.key in said and entry.key in ("location", "offset", "length"):
            raise _bad(path, tensor.name, f"states the {entry.key} of its values twice")
        said[entry.key] = entry.value
    for key in ("offset", "length"):
        text = said.get(key, "0")
        if not (text.isascii() and text.isdecimal() and len(text) < 20):
            what = "a negative number" if text.startswith("-") else "no number of bytes"
            raise _bad(path, tensor.name, f"has {what} as its {key}: {text[:20]!a}")
    size = _size(path, tensor)
    length = int(said.get("length", "0")) or size
    if length != size:
        raise _bad(
            path, tensor.name, f"states {length} bytes of values, and its shape needs {size}"
        )
    return _Span(_location(path, tensor.name, said), int(said.get("offset", "0")), size)


def _size(path: Path, tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor's values, from its type and shape."""
    import onnx

    names = {number: name for name, number in onnx.TensorProto.DataType.items()}
    name = names.get(tensor.data_type, "")
    if name in ("", "UNDEFINED", "STRING"):
        raise _bad(path, tensor.name, f"is of type {name or tensor.data_type}, not to be kept so")
    if any(side < 0 for side in tensor.dims):
        raise _bad(path, tensor.name, "has a negative dimension")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    bits: int = _BITS.get(name, 8 * dtype.itemsize)
    return (int(math.prod(tensor.dims)) * bits + 7) // 8


def _location(path: Path, tensor: str, said: dict[str, str]) -> str:
    """The name of a file in the model's folder, as a plain path."""
    text = said.get("location", "")
    if not text:
        raise _bad(path, tensor, "does not say in which file its values are")
    parts = text.split("/")
    wrong = ""
    if not text.isprintable():
        wrong = "has control characters in its name"
    elif "\\" in text:
        wrong = "has a backslash in its name, which parts folders on Windows only"
    elif text.startswith("/"):
        wrong = "is named by an absolute path"
    elif ".." in parts:
        wrong = "is named by a path with '..'"
    elif _IN_MEMORY in parts:
        wrong = "is no file but an address in memory"
    if wrong:
        raise BadFile(f"'{path}' keeps its weights in {text!a}, which {wrong}.", _AGAIN)
    return "/".join(part for part in parts if part not in ("", ".")) or "."


def _real(path: Path, location: str) -> Path:
    """The file itself, links followed as far as they may lead.

    Raises:
        BadFile: it is missing, no regular file, or somewhere else.
    """
    file = path.parent / location
    real = Path(os.path.realpath(file))
    start = f"'{path}' keeps its weights in a file beside it, '{location}', and that"
    homes = Path(os.path.realpath(path.parent)), Path(os.path.realpath(path)).parent
    if not any(real.is_relative_to(home) for home in homes):
        raise BadFile(
            f"{start} is a link out of the model's folder, to '{real}', which is not followed.",
            copying(path.parent),
        )
    try:
        mode = file.stat().st_mode
    except FileNotFoundError as error:
        raise _missing(path, location, real) from error
    except OSError as error:
        raise BadFile(f"{start} cannot be read: {error.strerror}.", _COMPLETE) from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise BadFile(f"{start} is {what}.", "Put the data file itself there.")
    return real


def _missing(path: Path, location: str, real: Path) -> BadFile:
    remedy = "Put the data file into the same folder."
    behind = Path(os.path.realpath(path))
    if path.is_symlink() and (behind.parent / location).is_file():
        remedy = f"It is where the link leads: give '{behind}'."
    link = f", as a link to '{real}'" if (path.parent / location).is_symlink() else ""
    return BadFile(
        f"'{path}' keeps its weights in a file beside it, and that is missing: '{location}'{link}.",
        remedy,
    )


def _require_inside(path: Path, tensor: str, span: _Span, size: int) -> None:
    end = span.offset + span.bytes
    if end > size:
        raise BadFile(
            f"'{path}' keeps tensor '{tensor}' in bytes {span.offset} to {end} of "
            f"'{span.location}', which has {size}: it is cut off, or of another model.",
            "Export or download both files again.",
        )


def _bad(path: Path, tensor: str, what: str) -> BadFile:
    return BadFile(f"Tensor '{tensor}' of '{path}', kept in another file, {what}.", _AGAIN)
