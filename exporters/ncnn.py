"""ONNX files → ncnn's files, by the program pnnx, kept in the cache.

pnnx writes eight files beside its input, so it runs in a folder of its own on a copy. It is called
where its package has it, not through its Python module: that imports torch. Unless told otherwise
it writes weights in 16 bits (`fp16=1`).

ncnn keeps the batch out of a blob's shape. Which side of an in- or output is the batch, pnnx says
in one place only: the script that it writes for trying the network out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from nnprof.errors import BadFile, Unavailable
from nnprof.exporters import cache, conversions, identity
from nnprof.types import Model

_SCRIPT, _WEIGHTS, _LAYERS = "_ncnn.py", ".ncnn.bin", ".ncnn.param"  # the last is written last
_SUFFIXES = (_SCRIPT, _WEIGHTS, _LAYERS)
_BATCH = re.compile(r"(in\d+|out\d+)\.numpy\([^()]*\bbatch_index=(\d+)|"
                    r"\"(in\d+)\", ncnn\.Mat\(in\d+\.numpy\(\), batch_index=(\d+)\)")  # fmt: skip
_NO_BATCH = 233  # pnnx's word for none
_TYPES = {"float32": "f32", "float64": "f64", "float16": "f16", "int32": "i32", "int64": "i64",
          "int16": "i16", "int8": "i8", "uint8": "u8"}  # fmt: skip
HALF = "fp16=1"  # weights in 16 bits
WHOLE = "fp16=0"
_REFUSES = ("rror", "ailed", "unknown", "not ")  # words of the lines that say why
_NOOP = b"7767517\n2 2\nInput in0 0 1 in0\nNoop noop_0 1 1 in0 out0\n"  # magic, layers and blobs


class Files(NamedTuple):
    """ncnn's files of a model.

    Attributes:
        layers: the file with the layers, in order of execution.
        weights: the file with their weights.
        batch_sides: which side of an in- or output (`in0`, …, `out0`, …, in the model's order) is
            the batch; one without a batch is left out.
    """

    layers: Path
    weights: Path
    batch_sides: Mapping[str, int]


def version() -> str:
    """Of the installed package of ncnn.

    Raises:
        Unavailable: it is not installed.
    """
    found = cache.installed("ncnn")
    if not found:
        raise Unavailable("ncnn is not installed.", "Try: pip install 'nnprof-embedded[ncnn]'")
    return found


def converter() -> dict[str, str]:
    """What converts, with its version.

    Raises:
        Unavailable: it is not installed here.
    """
    program()
    return {"pnnx": cache.installed("pnnx")}


def program() -> Path:
    """Pnnx.

    Raises:
        Unavailable: it is not installed here.
    """
    try:
        files = metadata.files("pnnx") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "pnnx" and file.parent.name == "pnnx":
            return Path(str(file.locate()))
    raise Unavailable(
        "pnnx, which converts ONNX files for ncnn, is not installed here.",
        "Try: pip install --no-deps pnnx (with its dependencies it brings torch)",
    )


def converted(
    model: Model, tiles: Mapping[str, NDArray[Any]], weights: str = WHOLE
) -> conversions.Conversion:
    """The model as files of ncnn, made once for each shape, version of pnnx, and choice.

    Args:
        model: to convert.
        tiles: what goes in; its shapes and types count.
        weights: `WHOLE` or `HALF`.

    Raises:
        BadFile: pnnx refuses the model, or ncnn has no such type.
        Unavailable: pnnx is not installed here.
    """
    odd = next((one for one in model.outputs if not one.dtype.startswith("float")), None)
    if odd is not None:  # in Python its blobs are floats, whatever they hold
        raise BadFile(
            f"ncnn does not tell what it gives in '{odd.name}' of {model.name}, whose type is "
            f"{odd.dtype}.",
            "Try another --backend.",
        )
    shapes = ",".join(_shape(model, tiles[one.name]) for one in model.inputs)
    argv = (f"inputshape={shapes}", weights)
    return conversions.made(
        model,
        argv,
        converter(),
        _SUFFIXES,
        lambda folder: _nothing(model) or _convert(model, argv, folder),
    )


def files(conversion: conversions.Conversion) -> Files:
    """The files of a conversion by what they hold."""
    script, weights, layers = map(Path, conversion.files)
    return Files(layers, weights, _batch_sides(script.read_text(encoding="utf-8")))


def _batch_sides(script: str) -> dict[str, int]:
    found = {}
    for out, its, into, side in _BATCH.findall(script):
        if int(its or side) != _NO_BATCH:
            found[out or into] = int(its or side)
    return found


def _shape(model: Model, tile: NDArray[Any]) -> str:
    kind = _TYPES.get(str(tile.dtype))
    if kind is None or not tile.shape:
        raise BadFile(
            f"ncnn cannot take an input of {model.name}: "
            f"{f'type {tile.dtype}' if kind is None else 'a scalar'}.",
            "Try another --backend.",
        )
    return f"[{','.join(map(str, tile.shape))}]{kind}"


def _nothing(model: Model) -> tuple[bytes, ...]:
    """For a network that hands its one input on, at which pnnx ends: ncnn's own Noop; else ()."""
    import onnx

    graph = onnx.load(model.path, load_external_data=False).graph
    ends = len(model.inputs), len(model.outputs), len(graph.node)
    if ends != (1, 1, 1) or graph.node[0].op_type != "Identity":
        return ()
    return b"", b"", _NOOP


def _convert(model: Model, argv: tuple[str, ...], folder: Path) -> tuple[bytes, ...]:
    source, pnnx = Path(model.path), program()
    copy = folder / "model.onnx"
    if identity.files_beside(source):
        copy.write_bytes(identity.whole(source).SerializeToString())
    else:
        shutil.copyfile(source, copy)
    done = subprocess.run(
        [str(pnnx), copy.name, *argv],
        cwd=folder,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    written = [folder / f"model{suffix}" for suffix in _SUFFIXES]
    if done.returncode or not all(path.is_file() for path in written):
        said = (done.stderr + done.stdout).decode(errors="replace")
        raise _refused(model, said, done.returncode)
    return tuple(path.read_bytes() for path in written)


def _refused(model: Model, said: str, code: int) -> BadFile:
    lines = [line.strip() for line in said.splitlines() if any(word in line for word in _REFUSES)]
    why = lines[-1] if lines else f"it ended with code {code}"
    return BadFile(
        f"pnnx refuses {model.name}: {why.rstrip('. ')}.",
        f"Try another --backend, or another version of pnnx than {cache.installed('pnnx')}.",
    )
