"""ONNX files → torch modules: the same graph, the same weights, the layers a torch user writes.

The module is a `torch.fx.GraphModule`, plain Python inside: each ONNX node is one call of an
`nn.Module` or of a function, in the file's order. So the file with its sha256 is timed, and not a
second network that should be the same.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from nnprof.errors import BadFile, Unavailable
from nnprof.exporters import identity, plain, torch_recurrent
from nnprof.exporters.torch_ops import FUNCTIONS, MODULES, Constants, Refused

if TYPE_CHECKING:
    import torch
    from torch import fx


class Rebuilt(NamedTuple):
    """A module that computes what an ONNX file computes.

    Attributes:
        module: takes the inputs in the file's order, gives a tuple of the outputs.
        steps: (name, fx node) of each ONNX node that computes something.
    """

    module: fx.GraphModule
    steps: tuple[tuple[str, fx.Node], ...]


def rebuild(path: Path) -> Rebuilt:
    """The file as a torch module on the CPU, in evaluation mode.

    Raises:
        BadFile: the file has an op, or an attribute of an op, that `torch_ops` does not know.
        Unavailable: torch is not installed.
    """
    try:
        import torch
        from torch import fx
    except ImportError as error:
        raise Unavailable(
            "torch is not installed.", "Try: pip install 'nnprof-embedded[train]'."
        ) from error
    model = identity.whole(path)
    plain.make_dense(model)
    graph = model.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    root, program = torch.nn.Module(), fx.Graph()
    values = {
        value.name: program.placeholder(f"input{index}")
        for index, value in enumerate(graph.input)
        if value.name not in weights
    }
    try:
        fixed = [value.name for value in graph.output if value.name in weights]
        if fixed:
            raise Refused(f"its output '{fixed[0]}' is a constant")
        steps = _steps(graph, root, program, values, weights)
    except Refused as refusal:
        raise BadFile(
            f"The torch backend cannot run {path.name}: {refusal}.",
            "Choose another --backend, or export the network without it.",
        ) from refusal
    program.output(tuple(values[value.name] for value in graph.output))
    return Rebuilt(fx.GraphModule(root, program).eval(), steps)


def _steps(
    graph: onnx.GraphProto,
    root: torch.nn.Module,
    program: fx.Graph,
    values: dict[str, fx.Node],
    weights: dict[str, NDArray[Any]],
) -> tuple[tuple[str, fx.Node], ...]:
    """Each node's name and its call, in order; `values` and `weights` take what the nodes give."""
    steps = []
    read = {name for node in graph.node for name in node.input}
    read |= {value.name for value in graph.output}
    for index, node in enumerate(graph.node):
        if node.op_type == "Constant":
            weights[node.output[0]] = _constant(node)
            continue
        wanted = tuple(at for at, name in enumerate(node.output) if name and name in read)
        step = _step(node, f"step{index}", root, program, values, weights, wanted or (0,))
        if len(wanted) > 1:
            for place, at in enumerate(wanted):
                values[node.output[at]] = program.call_function(operator.getitem, (step, place))
        else:
            values[node.output[wanted[0] if wanted else 0]] = step
        steps.append((node.name or next(name for name in node.output if name), step))
    return tuple(steps)


def _constant(node: onnx.NodeProto) -> NDArray[Any]:
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if "value" not in attributes:
        raise BadFile(f"A constant of '{node.name}' is no tensor.", "Export it as an initializer.")
    return numpy_helper.to_array(attributes["value"])


def _step(
    node: onnx.NodeProto,
    name: str,
    root: torch.nn.Module,
    program: fx.Graph,
    values: Mapping[str, fx.Node],
    weights: Mapping[str, NDArray[Any]],
    wanted: tuple[int, ...],
) -> fx.Node:
    """One call: of a module where torch has one for the op, else of a function.

    It gives the output of the place in `wanted`, or a tuple of them where several are read.
    """
    import torch

    if node.domain not in ("", "ai.onnx") or (
        wanted != (0,) and node.op_type not in torch_recurrent.OPS
    ):
        raise Refused(f"op '{node.op_type}' is not one of plain ONNX with one output")
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    constants = {at: weights[name] for at, name in enumerate(node.input) if name in weights}
    flowing = [values[name] for name in node.input if name in values]
    module = _module(node.op_type, attributes, constants, wanted)
    if module is not None:
        if len(flowing) != 1:
            raise Refused(f"a weight or state of a {node.op_type} flows in")
        root.add_module(name, module.requires_grad_(False))
        return program.call_module(name, tuple(flowing))
    if node.op_type not in FUNCTIONS:
        raise Refused(f"op '{node.op_type}' is not known to it")
    function, reads = FUNCTIONS[node.op_type](attributes, constants)
    arguments: list[Any] = []
    for at, source in enumerate(node.input):
        if source in values:
            arguments.append(values[source])
        elif at in reads:
            root.register_buffer(f"{name}_{at}", torch.tensor(constants[at]))
            arguments.append(program.get_attr(f"{name}_{at}"))
    return program.call_function(function, tuple(arguments))


def _module(
    op: str, attributes: Mapping[str, Any], constants: Constants, wanted: tuple[int, ...]
) -> torch.nn.Module | None:
    """The op as torch's module, None where it is none."""
    if op in torch_recurrent.OPS:
        return torch_recurrent.module(op, attributes, constants, wanted)
    return MODULES[op](attributes, constants) if op in MODULES else None
