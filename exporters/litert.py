"""ONNX files → LiteRT files (`.tflite`), by way of torch and `litert-torch`, kept in the cache.

LiteRT has no reader of ONNX. The file is rebuilt as torch modules (`nnprof.exporters.torch`), and
Google's `litert-torch` converts those for shapes that are fixed, so each batch has a file of its
own. It works in a process of its own, which torch, transformers and JAX are loaded into.

Each torch module is named by the place of its ONNX node, `at0`, `at1`, …: the converter puts these
names into those of its tensors (`place_of`), and so each op of the file tells what it came from.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from numpy.typing import NDArray

from nnprof.errors import BadFile, NnprofError, Unavailable
from nnprof.exporters import cache, conversions
from nnprof.exporters.torch import rebuild
from nnprof.types import Model

if TYPE_CHECKING:
    from torch import fx

_PROGRAM = "import sys; from nnprof.exporters.litert import convert; convert(*sys.argv[1:])"
_CONVERTERS = ("litert-torch", "litert-converter", "torch")
_APART = "in an environment of its own: it brings torch, and older versions of some packages"
_SUFFIX = ".tflite"
_PLACE = re.compile(r"_at(\d+)(?![0-9A-Za-z_])")


def version() -> str:
    """Of the installed runtime.

    Raises:
        Unavailable: it is not installed.
    """
    found = cache.installed("ai-edge-litert")
    if not found:
        raise Unavailable(
            "ai-edge-litert is not installed.", "Try: pip install 'nnprof-embedded[litert]'"
        )
    return found


def converter() -> dict[str, str]:
    """What converts, with versions.

    Raises:
        Unavailable: it is not installed here.
    """
    found = {name: cache.installed(name) for name in _CONVERTERS}
    missing = [name for name, number in found.items() if not number]
    if missing:
        raise Unavailable(
            f"Converting to LiteRT needs {missing[0]}, which is not installed here.",
            f"Try: pip install 'nnprof-embedded[litert-convert]' ({_APART})",
        )
    return found


def places_of(name: str) -> list[int]:
    """Places of the ONNX nodes that a tensor's name tells, each once; constants are not counted."""
    return list(dict.fromkeys(int(place) for place in _PLACE.findall(name)))


def converted(model: Model, tiles: Mapping[str, NDArray[Any]]) -> conversions.Conversion:
    """The model as a file of LiteRT for inputs of these shapes, made once for each.

    Raises:
        BadFile: the model has an op that `nnprof.exporters.torch` or the converter does not know.
        Unavailable: the converter is not installed here.
    """
    wanted = [(str(tiles[one.name].dtype), list(tiles[one.name].shape)) for one in model.inputs]
    return conversions.made(
        model, wanted, converter(), (_SUFFIX,), lambda folder: (_run(model, wanted, folder),)
    )


def _run(model: Model, wanted: Sequence[tuple[str, list[int]]], folder: Path) -> bytes:
    made, why = folder / "model.tflite", folder / "why"
    asked = [model.path, msgspec.json.encode(wanted).decode(), str(made), str(why)]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *asked],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode or not made.is_file():
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        said = why.read_text(encoding="utf-8") if why.is_file() else (lines or ["no reason"])[-1]
        raise BadFile(
            f"{model.name} cannot be converted to LiteRT: {said.rstrip('. ')}.",
            "Try another --backend.",
        )
    return made.read_bytes()


def convert(source: str, wanted: str, made: str, why: str) -> None:
    """Write a file of LiteRT; where that is refused, the reason into the file `why`.

    Args:
        source: path of an ONNX file.
        wanted: JSON: (type, shape) of each input.
        made: path of the file to write.
        why: path of a file for the reason.
    """
    import litert_torch
    import torch

    try:
        module = _placed(rebuild(Path(source)).module)
    except NnprofError as refusal:
        Path(why).write_text(refusal.reason.partition(": ")[2] or refusal.reason, encoding="utf-8")
        sys.exit(1)
    examples = tuple(
        torch.zeros(shape, dtype=getattr(torch, kind))
        for kind, shape in msgspec.json.decode(wanted)
    )
    litert_torch.convert(module, examples).export(made)


def _placed(module: fx.GraphModule) -> fx.GraphModule:
    """The module with each step as a submodule that is named by the step's place."""
    import operator

    import torch

    class Call(torch.nn.Module):
        def __init__(self, function: Any) -> None:
            super().__init__()
            self.function = function

        def forward(self, *arguments: Any) -> Any:
            return self.function(*arguments)

    place = 0
    for node in module.graph.nodes:
        if node.op == "call_module":
            step = module.get_submodule(node.target)
            module.delete_submodule(node.target)  # or its weights would be told by that name
        elif node.op == "call_function" and node.target is not operator.getitem:
            step = Call(node.target)
        else:
            continue
        module.add_module(f"at{place}", step)
        node.op, node.target, place = "call_module", f"at{place}", place + 1
    module.recompile()
    return module.eval()
