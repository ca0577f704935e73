"""Chains of matrix products in each precision: what a runtime computes at best."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx

from nnprof.exporters.export import measuring
from nnprof.exporters.int8 import ANYWHERE, Form
from nnprof.types import Model

_SPREAD = 4.0  # standard deviations of the values that 8 bits hold


def product_model(
    side: int,
    count: int,
    precision: str = "fp32",
    form: Form = ANYWHERE,
    cache: Path | None = None,
) -> Model:
    """So many products of square matrices, one after the other, by the same constant one.

    In- and output are float32 in every precision; int8 is QDQ in that form, of whole tensors.
    """
    # Of such a size that what comes out is as large as what went in.
    weights = np.random.default_rng(0).standard_normal((side, side)) / side**0.5
    make = {"fp32": _plain, "fp16": _half, "int8": _whole(form)}[precision]
    nodes, constants = make(weights.astype(np.float32), count)
    own = f"-{int(form.unsigned)}{int(form.reduced)}" if precision == "int8" else ""
    name = f"product{side}x{count}-{precision}{own}"
    return measuring(name, nodes, [side, side], constants, cache, precision)


_Graph = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]
_node, _constant = onnx.helper.make_node, onnx.numpy_helper.from_array


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
