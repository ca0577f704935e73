"""Graphs made only to be timed: a runtime's floor, its time per node, its bandwidth, its peaks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import onnx

from nnprof.exporters import cache
from nnprof.exporters.int8 import ANYWHERE, Form
from nnprof.exporters.models import set_facts
from nnprof.types import Model

FLOOR = "floor"  # the name of every probe
_SPREAD = 4.0  # standard deviations of the values that 8 bits hold
_node, _constant = onnx.helper.make_node, onnx.numpy_helper.from_array


def identity_model() -> Model:
    """One Identity node, float32 [1] → [1]: its time is the floor of a call."""
    return _made("identity1", _line("identity", ["Identity"]), [1])


def chain_model(nodes: int) -> Model:
    """A chain of `nodes` Neg nodes, float32 [1] → [1]: its time over the floor is the nodes' time.

    Neg, because a runtime would remove a chain of Identity nodes.
    """
    return _made(f"chain{nodes}", _line("chain", ["Neg"] * nodes), [1])


def stream_model(values: int) -> Model:
    """Neg of `values` float32: reads 4·values bytes, writes as many, computes next to nothing."""
    return _made(f"stream{values}", ([_node("Neg", ["x"], ["y"], name="stream")], []), [values])


def product_model(side: int, count: int, precision: str = "fp32", form: Form = ANYWHERE) -> Model:
    """`count` products of side × side matrices in a row, each by the same constant matrix.

    Input and output are float32 in every precision. int8 is QDQ in `form`, one scale per tensor.
    """
    # Scaled by 1/√side, so that the output is as large as the input.
    weights = np.random.default_rng(0).standard_normal((side, side)) / side**0.5
    make = {"fp32": _plain, "fp16": _half, "int8": _whole(form)}[precision]
    own = f"-{int(form.unsigned)}{int(form.reduced)}" if precision == "int8" else ""
    name = f"product{side}x{count}-{precision}{own}"
    return _made(name, make(weights.astype(np.float32), count), [side, side], precision)


_Graph = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]  # nodes, constants


def _plain(weights: np.ndarray, count: int) -> _Graph:
    names = ["x", *(f"p{index}" for index in range(1, count)), "y"]
    nodes = [_node("MatMul", [source, "w"], [made], name=made) for source, made in pairwise(names)]
    return nodes, [_constant(weights, "w")]


def _half(weights: np.ndarray, count: int) -> _Graph:
    nodes, constants = _plain(weights.astype(np.float16), count)
    nodes[0].input[0], nodes[-1].output[0] = "in", "out"
    first = _node("Cast", ["x"], ["in"], name="in", to=onnx.TensorProto.FLOAT16)
    last = _node("Cast", ["out"], ["y"], name="out", to=onnx.TensorProto.FLOAT)
    return [first, *nodes, last], constants


def _whole(form: Form) -> Callable[[np.ndarray, int], _Graph]:
    most = 64 if form.reduced else 127
    zero = np.uint8(128) if form.unsigned else np.int8(0)

    def made(weights: np.ndarray, count: int) -> _Graph:
        scale = np.float32(np.abs(weights).max() / most)
        constants = [
            _constant(np.round(weights / scale).astype(np.int8), "wq"),
            _constant(np.array(scale), "ws"),
            _constant(np.zeros((), np.int8), "wz"),
            _constant(np.array(np.float32(_SPREAD / 127)), "s"),
            _constant(np.array(zero), "z"),
        ]
        nodes = [_node("DequantizeLinear", ["wq", "ws", "wz"], ["w"], name="w")]
        tensor = "x"
        for index in range(count):
            nodes += [
                _node("QuantizeLinear", [tensor, "s", "z"], [f"q{index}"], name=f"q{index}"),
                _node("DequantizeLinear", [f"q{index}", "s", "z"], [f"d{index}"], name=f"d{index}"),
                _node("MatMul", [f"d{index}", "w"], [f"p{index}"], name=f"p{index}"),
            ]
            tensor = f"p{index}"
        nodes += [
            _node("QuantizeLinear", [tensor, "s", "z"], ["q"], name="q"),
            _node("DequantizeLinear", ["q", "s", "z"], ["y"], name="y"),
        ]
        return nodes, constants

    return made


def _line(name: str, ops: list[str]) -> _Graph:
    """These ops one after the other, from x to y."""
    names = ["x", *(f"t{index}" for index in range(1, len(ops))), "y"]
    nodes = [
        _node(op, [source], [made], name=f"{name}{index}")
        for index, (op, (source, made)) in enumerate(zip(ops, pairwise(names), strict=True))
    ]
    return nodes, []


def _made(name: str, parts: _Graph, shape: list[int], precision: str = "fp32") -> Model:
    """The file `name`.onnx: float32 x → y of the same shape."""
    nodes, constants = parts
    declared = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes, name, [declared("x", kind, shape)], [declared("y", kind, shape)], constants
    )
    # Versions of 2022, which every runtime in use can read.
    proto = onnx.helper.make_model(
        graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 13)]
    )
    set_facts(proto, {"name": FLOOR, **({} if precision == "fp32" else {"precision": precision})})
    return cache.keep_named(name, proto.SerializeToString(deterministic=True))
