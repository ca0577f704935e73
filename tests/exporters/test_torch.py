"""ONNX files as torch modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from nnprof.errors import BadFile, BadShape
from nnprof.exporters import export as exporter
from nnprof.exporters.check import generated_tiles
from nnprof.exporters.torch import rebuild
from nnprof.networks.spec import parse


def _same(path: Path, tiles: np.ndarray) -> None:
    """The module gives what ONNX's own reference gives."""
    (expected,) = onnx.reference.ReferenceEvaluator(str(path)).run(
        None, {onnx.load(path).graph.input[0].name: tiles}
    )
    with torch.inference_mode():
        (result,) = rebuild(path).module(torch.tensor(tiles))
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-4, atol=1e-5)


_LAYERS = st.sampled_from(
    [
        *("conv3k3", "conv4k2s2same", "conv2k3same tanh", "conv2k3 linear bn softsign"),
        *("pool2", "avgpool2", "pool3s1", "bn", "sigmoid"),
    ]
)


@given(st.lists(_LAYERS, max_size=4), st.sampled_from(["fc5", "fc6 tanh fc4", "fc3 linear"]))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_network_of_ours_computes_the_same(tmp_path: Path, front: list[str], end: str) -> None:
    """The module of an exported network computes what the file says, whatever its layers."""
    try:
        spec = parse(" ".join(["2x12x12", *front, end]))
    except BadShape:
        assume(False)
    model = exporter.export(spec, cache=tmp_path)
    _same(Path(model.path), generated_tiles(spec.input_shape, 3))


def _single(
    path: Path, op: str, shape: tuple[int, ...], *constants: np.ndarray, **attributes: object
) -> Path:
    """An ONNX file of one op on an input of that shape; its constants as initializers."""
    names = [f"c{at}" for at in range(len(constants))]
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *names], ["y"], name="only", **attributes)],
        "single",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(value, name)
            for value, name in zip(constants, names, strict=True)
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path
    )
    return path


_F = np.float32
_CASES: list[tuple[str, tuple[int, ...], list[np.ndarray], dict[str, object]]] = [
    ("Conv", (2, 4, 9), [np.ones((6, 2, 3), _F)], {"group": 2, "pads": [2, 0], "dilations": [2]}),
    ("Gemm", (2, 3), [np.ones((3, 4), _F), np.ones((1, 4), _F)], {"alpha": 0.5, "beta": 2.0}),
    ("MaxPool", (1, 1, 7, 7), [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", (1, 1, 6, 6), [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("Pad", (1, 1, 3, 3), [np.array([0, 0, 1, 0, 0, 0, 0, 2])], {}),
    ("Clip", (2, 3), [np.array(0, _F), np.array(6, _F)], {}),
    ("Transpose", (2, 3, 4), [], {"perm": [2, 0, 1]}),
    ("Transpose", (2, 3), [], {}),
    ("Reshape", (2, 6), [np.array([0, 2, 3])], {}),
    ("Concat", (2, 3), [np.ones((2, 1), _F)], {"axis": 1}),
    ("MatMul", (2, 3), [np.ones((3, 5), _F)], {}),
    ("GlobalAveragePool", (2, 3, 4, 4), [], {}),
    ("LeakyRelu", (2, 3), [], {"alpha": 0.2}),
    ("Flatten", (2, 3, 4), [], {}),
    ("Softmax", (2, 3), [], {"axis": 0}),
]


@pytest.mark.parametrize(("op", "shape", "constants", "attributes"), _CASES)
def test_single_ops_compute_the_same(
    tmp_path: Path,
    op: str,
    shape: tuple[int, ...],
    constants: list[np.ndarray],
    attributes: dict[str, object],
) -> None:
    """Each op that foreign files may hold computes what ONNX says, attributes included."""
    tiles = np.random.default_rng(0).normal(size=shape).astype(np.float32) * 5
    _same(_single(tmp_path / "one.onnx", op, shape, *constants, **attributes), tiles)


@pytest.mark.parametrize(
    ("op", "attributes", "says"),
    [
        ("LRN", {"size": 3}, "op 'LRN' is not known"),
        ("MaxPool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, "auto_pad"),
        ("AveragePool", {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}, "pads unevenly"),
    ],
)
def test_what_torch_cannot_do_alike_is_refused(
    tmp_path: Path, op: str, attributes: dict[str, object], says: str
) -> None:
    """An op or attribute that is not carried over is named; nothing near it is run instead."""
    path = _single(tmp_path / "one.onnx", op, (1, 3, 6, 6), **attributes)
    with pytest.raises(BadFile, match=says):
        rebuild(path)
