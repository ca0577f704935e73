"""What an ONNX file says of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nnprof.errors import BadFile
from nnprof.exporters.models import load_model
from nnprof.types import Tensor


def save(path: Path, nodes: list[onnx.NodeProto], **parts: list[object]) -> Path:
    """Write a model of these nodes; inputs, outputs and initialisers as given."""
    value = helper.make_tensor_value_info
    inputs = parts.get("inputs", [value("x", TensorProto.FLOAT, [4, 3])])
    outputs = parts.get("outputs", [value("y", TensorProto.FLOAT, [4, 3])])
    graph = helper.make_graph(nodes, "g", inputs, outputs, parts.get("initializers"))
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opsets), path)
    return path


RELU = [helper.make_node("Relu", ["x"], ["y"])]


def test_a_foreign_file_says_what_it_declares(tmp_path: Path) -> None:
    """Fixed, named and nameless sizes, types, and weights among the inputs are told apart."""
    value = helper.make_tensor_value_info
    path = save(
        tmp_path / "foreign.onnx",
        [helper.make_node("Gather", ["w", "x"], ["y"])],
        inputs=[
            value("x", TensorProto.INT64, ["n", None]),
            value("w", TensorProto.FLOAT16, [2]),
        ],
        outputs=[value("y", TensorProto.FLOAT16, ["n", None])],
        initializers=[helper.make_tensor("w", TensorProto.FLOAT16, [2], [0, 1])],
    )
    model = load_model(path)
    assert model.inputs == (Tensor(name="x", dtype="int64", shape=("n", "?")),)
    assert model.outputs == (Tensor(name="y", dtype="float16", shape=("n", "?")),)
    assert (model.name, model.opset, model.network) == ("foreign", 17, None)
    assert (model.weights, model.normalisation) == ("file", "none")
    fixed = load_model(save(tmp_path / "fixed.onnx", RELU))
    assert (fixed.inputs[0].shape, fixed.fixed_batch) == ((4, 3), 1)


def _write_truncated(path: Path) -> None:
    big = helper.make_tensor("w", TensorProto.FLOAT, [4, 3], range(12))
    save(path, [helper.make_node("Add", ["x", "w"], ["y"])], initializers=[big])
    path.write_bytes(path.read_bytes()[:-40])


def _write_without_data(path: Path) -> None:
    big = onnx.numpy_helper.from_array(np.zeros((4, 3), np.float32), "w")
    save(path, [helper.make_node("Add", ["x", "w"], ["y"])], initializers=[big])
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, location="w.data", size_threshold=0
    )
    assert load_model(path).inputs[0].shape == (4, 3)
    (path.parent / "w.data").unlink()


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda _: None, "cannot be read"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: path.write_bytes(b""), "no valid ONNX model|no ONNX file"),
        (lambda path: path.write_text("<html>\nNot found\n</html>\n"), "no ONNX file"),
        (_write_truncated, "no ONNX file, or is cut off"),
        (
            lambda path: save(path, [helper.make_node("Frobnicate", ["x"], ["y"])]),
            "an op that ONNX .* does not have.*Frobnicate",
        ),
        (lambda path: save(path, [helper.make_node("Relu", ["z"], ["y"])]), "no valid ONNX model"),
        (_write_without_data, "a file beside it, and that is missing"),
        (
            lambda path: save(
                path,
                [helper.make_node("Constant", [], ["y"], value_float=1.0)],
                inputs=[],
                outputs=[helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
            ),
            "has no inputs",
        ),
        (
            lambda path: save(
                path,
                [helper.make_node("SequenceAt", ["x", "i"], ["y"])],
                inputs=[
                    helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None),
                    helper.make_tensor_value_info("i", TensorProto.INT64, []),
                ],
            ),
            "is no tensor",
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, write: object, words: str) -> None:
    """Whatever is wrong with a file is one sentence that names it, with a remedy."""
    path = tmp_path / "given.onnx"
    write(path)  # type: ignore[operator]
    with pytest.raises(BadFile, match=words) as caught:
        load_model(path)
    assert "given.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
