"""ONNX's recurrent ops in torch, against ONNX Runtime."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from nnprof.errors import BadFile
from nnprof.exporters.torch import rebuild

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, TILES, FEATURES, UNITS = 7, 3, 2, 5


def file_of(
    path: Path, op: str, outputs: list[str], directions: int = 1, **attributes: object
) -> Path:
    """An ONNX file of one recurrent op with weights drawn at random."""
    rng, rows = np.random.default_rng(1), _GATES[op] * UNITS
    weights = {
        "w": (directions, rows, FEATURES),
        "r": (directions, rows, UNITS),
        "b": (directions, 2 * rows),
    }
    shape = (TILES, STEPS) if attributes.get("layout") else (STEPS, TILES)
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *weights], outputs, hidden_size=UNITS, **attributes)],
        "single",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (*shape, FEATURES))],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs if n],
        [
            numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path
    )
    return path


@pytest.mark.parametrize(
    ("op", "outputs", "directions", "attributes"),
    [
        ("LSTM", ["y", "h", "c"], 1, {}),
        ("LSTM", ["", "h"], 2, {"direction": "bidirectional"}),
        ("LSTM", ["y"], 1, {"activations": ["Sigmoid", "Relu", "Relu"]}),
        ("GRU", ["y", "h"], 1, {"linear_before_reset": 1}),
        ("GRU", ["y"], 1, {}),
        ("GRU", ["", "h"], 1, {"linear_before_reset": 1, "activations": ["Sigmoid", "Relu"]}),
        ("RNN", ["y"], 1, {}),
        ("RNN", ["y", "h"], 1, {"activations": ["Relu"]}),
    ],
)
def test_it_computes_what_onnx_runtime_does(
    tmp_path: Path, op: str, outputs: list[str], directions: int, attributes: dict[str, object]
) -> None:
    """Every wanted output of the op, whatever its activations: the same values."""
    path = file_of(tmp_path / "one.onnx", op, outputs, directions, **attributes)
    shape = (STEPS, TILES, FEATURES)
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    expected = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})
    with torch.inference_mode():
        results = rebuild(path).module(torch.tensor(x))
    assert len(results) == len(expected)
    for result, one in zip(results, expected, strict=True):
        np.testing.assert_allclose(result.numpy(), one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_tiles_first_are_the_same_values_in_another_order(tmp_path: Path, op: str) -> None:
    """`layout=1`, which ONNX Runtime does not run: steps and tiles swapped, in and out."""
    plain = rebuild(file_of(tmp_path / "a.onnx", op, ["y", "h"])).module
    swapped = rebuild(file_of(tmp_path / "b.onnx", op, ["y", "h"], layout=1)).module
    x = torch.randn(STEPS, TILES, FEATURES)
    every, last = plain(x)
    other, end = swapped(x.transpose(0, 1))
    torch.testing.assert_close(other, every.permute(2, 0, 1, 3))
    torch.testing.assert_close(end, last.transpose(0, 1))


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"clip": 1.0}, "a LSTM of it has 'clip'"),
        ({"direction": "reverse"}, "a LSTM of it runs backwards"),
        ({"activations": ["Sigmoid", "HardSigmoid", "Tanh"]}, "'hardsigmoid' of a LSTM"),
    ],
)
def test_what_torch_cannot_run_is_told(
    tmp_path: Path, attributes: dict[str, object], why: str
) -> None:
    """What the rebuilt module would not compute is refused by name, never left out."""
    path = file_of(tmp_path / "one.onnx", "LSTM", ["y"], **attributes)
    with pytest.raises(BadFile, match=re.escape(why)):
        rebuild(path)
