"""The ONNX nodes of a model, if its file is still the one that was measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from nnprof.errors import BadFile
from nnprof.exporters import identity
from nnprof.profiler.diff.values import CONVERSIONS
from nnprof.profiler.graph import origins
from nnprof.types import Model, OpTime

# Types of nodes that stand for one of these in whole numbers, in ONNX Runtime's QOperator files;
# its quantiser calls the node after the one that it replaces, with this ending
# (onnxruntime/python/tools/quantization/operators).
_QUANT = "_quant"
_QUANTISED = re.compile(r"QLinear|QGemm|Integer|^Quant")
_BY_NAME = re.compile(r"(Dynamic|De)?QuantizeLinear(?=_?\d*$|_Output)|_cast\d*$", re.IGNORECASE)


class Nodes(msgspec.Struct, frozen=True):
    """The nodes of a file by name → type, in order; and what was read, for names of tensors.

    Attributes:
        types: name → ONNX type.
        asked: the nodes as ONNX has them; () where there is no file.
        why: the file was not read, "" where it was.
    """

    types: dict[str, str]
    asked: tuple[Any, ...] = ()
    why: str = ""


def read(model: Model) -> Nodes:
    """The nodes of the model's file; none, and why, where it is gone or another one."""
    path = Path(model.path)
    if not model.path:
        return Nodes({}, why="it was imported without its ONNX file")
    try:
        if not path.is_file():
            return Nodes({}, why=f"{path} is not there")
        found = identity.read(path)
        if found.sha256 != model.sha256:
            return Nodes({}, why=f"{path} is another file now")
        asked = tuple(found.proto.graph.node)
    except BadFile as error:
        return Nodes({}, why=error.reason.rstrip("."))
    return Nodes({origins.called(node): str(node.op_type) for node in asked}, asked)


def both(a: Model, b: Model) -> tuple[Nodes, Nodes]:
    """Of two models; one whose own file is gone may have the same content as the other."""
    first = read(a)
    if not a.sha256 or a.sha256 != b.sha256:
        return first, read(b)
    if first.why:
        first = read(b)
    return first, first


class Files:
    """Files of two models, read once where several cells after each other have the same."""

    def __init__(self) -> None:
        self._models: tuple[str, ...] = ()
        self._nodes = Nodes({}), Nodes({})

    def both(self, a: Model, b: Model) -> tuple[Nodes, Nodes]:
        """As `both`; only the last two are kept, for models can be large."""
        models = (a.path, a.sha256, b.path, b.sha256)
        if models != self._models:
            self._nodes = both(a, b)
            self._models = models
        return self._nodes


def is_conversion(name: str, types: Mapping[str, str]) -> bool:
    """Whether a node only quantises, dequantises or casts: by its type, else by its name."""
    known = types.get(name)
    return known in CONVERSIONS if known else bool(_BY_NAME.search(name))


def original(name: str, op: str, others: Mapping[str, str]) -> str:
    """The name by which the other model knows a node: the one that a quantised node replaced."""
    base = name.removesuffix(_QUANT)
    if name not in others and base in others and _QUANTISED.search(op):
        return base
    return name


def named(ops: Sequence[OpTime], own: Nodes, other: Nodes) -> tuple[tuple[str, ...], ...]:
    """For each op, the ONNX nodes in it: as it says; where no op says any, by the ops' names.

    Args:
        ops: in order of execution.
        own: nodes of their model.
        other: those of the other side's, which are asked where the file is not at hand.
    """
    asked = own.asked or other.asked
    if any(op.origin for op in ops) or not asked:
        return tuple(tuple(_known(name, own) for name in op.origin) for op in ops)
    return tuple(
        origins.find([origins.Ran(op.node, copies=op.kind == "memory") for op in ops], asked)
    )


def _known(name: str, own: Nodes) -> str:
    """A name as the file has it: a runtime may call a node without a name after its output."""
    if name in own.types or not own.asked:
        return name
    for node in own.asked:
        if name in node.output or name.removeprefix("node_of_") in node.output:
            return origins.called(node)
    return name
