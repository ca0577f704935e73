"""The files beside an ONNX file that hold weights of it: which they are, and which are refused.

A tensor may keep its values in another file (`external_data`): initialisers, also sparse ones and
those of graphs inside nodes and of functions, and tensors among attributes.

Runtimes open such a file by its name in the folder of the path that they were given, also where
that path is a link, and refuse a name that leads out of the folder. nnprof refuses it first:

* no absolute path, no `..`, no backslash, no file that is not a regular file;
* a link may lead to another file of that folder, or into the folder where the model's own link
  leads (so the cache of the Hugging Face hub lays its files). ONNX Runtime follows the same links
  (microsoft/onnxruntime#27374); hard links are files like any other.
"""

from __future__ import annotations

import math
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nnprof.errors import BadFile

if TYPE_CHECKING:
    import onnx

# Of all files beside a model. More would be read through only to be refused later.
MOST_BESIDE_BYTES = 256 << 30
COMPLETE = "Give a complete .onnx file; export or download it again if it was cut off."
AGAIN = "Save the model again with its weights in a file beside it (onnx.save_model does)."
_IN_MEMORY = "_ORT_MEM_ADDR_"  # ONNX Runtime's mark for an address in the memory of a process
_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}  # packed


class Beside(NamedTuple):
    """A file that holds weights of a model.

    Attributes:
        name: path from the folder of the model.
        path: where the file is opened; may be a link.
        real: the file itself, links followed.
        bytes: how much of the file the model's tensors take.
    """

    name: str
    path: Path
    real: Path
    bytes: int


class Span(NamedTuple):
    """Where a tensor's values are."""

    location: str
    offset: int
    bytes: int


def find(path: Path, data: bytes, proto: onnx.ModelProto) -> tuple[Beside, ...]:
    """The files beside the model `proto`, which was read from `data` of the file `path`.

    Raises:
        BadFile: a file is missing, cut off, no regular file, or outside of the model's folder.
    """
    # Protobuf keeps text as it is: without this word every tensor has its values inside.
    if b"location" not in data:
        return ()
    real: dict[str, Path] = {}
    used: dict[str, int] = {}
    for tensor in outside(proto):
        span = span_of(path, tensor)
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


def span_of(path: Path, tensor: onnx.TensorProto) -> Span:
    """Where a tensor says that its values are.

    Raises:
        BadFile: the tensor contradicts itself, or its shape.
    """
    said: dict[str, str] = {}
    for entry in tensor.external_data:
        # Of two entries with one key runtimes take one or the other.
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
    return Span(_location(path, tensor.name, said), int(said.get("offset", "0")), size)


def outside(message: Any) -> Iterator[onnx.TensorProto]:
    """Every tensor with its values in another file, anywhere in a model or a part of a model."""
    return (one for one in parts(message, "TensorProto") if one.data_location == one.EXTERNAL)


def parts(message: Any, kind: str) -> Iterator[Any]:
    """Every message of type `kind` anywhere in a model."""
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


def copying(folder: Path) -> str:
    """What to do about links that a runtime does not follow."""
    return (
        "Copy the folder with the files that its links lead to: "
        f"cp -rL {shlex.quote(str(folder))} COPY"
    )


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
        raise BadFile(f"'{path}' keeps its weights in {text!a}, which {wrong}.", AGAIN)
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
        raise BadFile(f"{start} cannot be read: {error.strerror}.", COMPLETE) from error
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


def _require_inside(path: Path, tensor: str, span: Span, size: int) -> None:
    end = span.offset + span.bytes
    if end > size:
        raise BadFile(
            f"'{path}' keeps tensor '{tensor}' in bytes {span.offset} to {end} of "
            f"'{span.location}', which has {size}: it is cut off, or of another model.",
            "Export or download both files again.",
        )


def _bad(path: Path, tensor: str, what: str) -> BadFile:
    return BadFile(f"Tensor '{tensor}' of '{path}', kept in another file, {what}.", AGAIN)
