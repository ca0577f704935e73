"""fp16 and int8 files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from nnprof.errors import UsageError
from nnprof.exporters.int8 import Form, on_processor, signed
from nnprof.exporters.models import load_model
from nnprof.exporters.precision import Calibration, chunk, convert
from nnprof.networks import bundled
from nnprof.profiler.devices.cpu import DEVICE
from nnprof.types import Model

MODEL = load_model(bundled.model_path())
VNNI = ["avx2", "avx512f", "avx512_vnni"]


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    """The bundled digits."""
    with np.load(bundled.tiles_path()) as arrays:
        return np.asarray(arrays["tiles"], np.float32)


def _run(path: str, tiles: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"tiles": tiles})[0])


@pytest.mark.parametrize(("precision", "near"), [("fp16", 0.01), ("int8", 0.2)])
def test_converted_networks_still_read_the_digits(
    precision: str, near: float, tiles: np.ndarray
) -> None:
    """A converted file takes and gives what the original does, nearly the same, and says so."""
    model = convert(MODEL, precision, Calibration(tiles, "digits"))
    assert (model.precision, model.name, model.network) == (precision, MODEL.name, MODEL.network)
    assert (model.inputs, model.outputs) == (MODEL.inputs, MODEL.outputs)
    assert model.sha256 != MODEL.sha256
    before, after = _run(MODEL.path, tiles), _run(model.path, tiles)
    assert 0 < np.abs(before - after).max() < near
    assert (before.argmax(axis=1) == after.argmax(axis=1)).mean() > 0.98


def test_fp16_weights_are_half(tiles: np.ndarray) -> None:
    """All weights of an fp16 file are float16, and its nodes keep their names."""
    model = convert(MODEL, "fp16", Calibration(tiles, "digits"))
    graph = onnx.load(model.path).graph
    kinds = {one.data_type for one in graph.initializer}
    assert kinds <= {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64}
    assert {"conv1", "conv2", "fc1", "fc2"} <= {node.name for node in graph.node}
    assert model.conversion == "float16 inside"


def _constants(model: Model, ending: str) -> list[np.ndarray]:
    graph = onnx.load(model.path).graph
    return [
        onnx.numpy_helper.to_array(one) for one in graph.initializer if one.name.endswith(ending)
    ]


def test_int8_for_any_runtime_is_symmetric_and_keeps_names(tiles: np.ndarray) -> None:
    """Every zero point is a signed 0, as TensorRT wants it; convolutions keep their names."""
    model = convert(MODEL, "int8", Calibration(tiles, "digits"))
    graph = onnx.load(model.path).graph
    zeros = [one for one in _constants(model, "zero_point") if one.dtype != np.int32]
    assert zeros
    assert all(one.dtype == np.int8 and not one.any() for one in zeros)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in graph.node}
    assert {"conv1", "conv2", "fc1", "fc2"} <= {node.name for node in graph.node}
    assert model.conversion == (
        "int8 QDQ, S8S8 per channel, 7-bit weights (any runtime), calibrated on 64 digits"
    )


@pytest.mark.parametrize(
    "form",
    [
        signed("TensorRT"),
        on_processor({"extensions": ["avx2"]}),
        on_processor({"extensions": VNNI}),
    ],
)
def test_the_file_is_in_the_form_that_was_asked(form: Form, tiles: np.ndarray) -> None:
    """Signs and range stand in the tensors and in the file's own words; each form is a file."""
    model = convert(MODEL, "int8", Calibration(tiles, "digits"), form)
    assert model.conversion == f"int8 QDQ, {form}, calibrated on 64 digits"
    (activations,) = {one.dtype for one in _constants(model, "relu_zero_point")}
    assert activations == (np.uint8 if form.unsigned else np.int8)
    weights = _constants(model, "weight_quantized")
    assert len(weights) == 4
    most = max(int(np.abs(one.astype(int)).max()) for one in weights)
    assert most == (64 if form.reduced else 127)
    # Two products in 16 bits, as VPMADDUBSW sums them: what saturates and what cannot.
    assert (2 * 255 * most > 2**15 - 1) == (not form.reduced)
    assert model.sha256 != convert(MODEL, "int8", Calibration(tiles, "digits")).sha256


def test_the_form_for_this_processor_reads_the_digits(tiles: np.ndarray) -> None:
    """Whatever this processor is, int8 in its form gives the classes that fp32 gives."""
    form = on_processor(DEVICE.facts())
    model = convert(MODEL, "int8", Calibration(tiles, "digits"), form)
    before, after = _run(MODEL.path, tiles), _run(model.path, tiles)
    assert (before.argmax(axis=1) == after.argmax(axis=1)).mean() > 0.95


def test_the_same_question_gives_the_same_file(tiles: np.ndarray) -> None:
    """A second conversion reads the cache; other calibration tiles give another int8 file."""
    first = convert(MODEL, "int8", Calibration(tiles, "digits"))
    stamp = Path(first.path).stat().st_mtime_ns
    assert convert(MODEL, "int8", Calibration(tiles, "digits")) == first
    assert Path(first.path).stat().st_mtime_ns == stamp
    other = convert(MODEL, "int8", Calibration(tiles[:8], "digits"))
    assert other.sha256 != first.sha256


def _fed(path: Path, batch: int | str, *, every: int) -> Model:
    """A product of rows that go through in groups of `every`, saved with that first side."""
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    constants = [
        onnx.numpy_helper.from_array(np.ones((4, 4), np.float32), "w"),
        onnx.numpy_helper.from_array(np.array([-1, every, 4]), "groups"),
        onnx.numpy_helper.from_array(np.array([-1, 4]), "rows"),
    ]
    nodes = [
        node("Reshape", ["x", "groups"], ["g"]),
        node("MatMul", ["g", "w"], ["h"]),
        node("Reshape", ["h", "rows"], ["y"]),
    ]
    sides = [value(name, onnx.TensorProto.FLOAT, [batch, 4]) for name in "xy"]
    graph = onnx.helper.make_graph(nodes, "g", sides[:1], sides[1:], constants)
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return load_model(path)


@pytest.mark.parametrize(("batch", "every"), [("N", 6), (0, 1), (-1, 2)])
def test_calibration_runs_at_batches_that_the_network_takes(
    batch: int | str, every: int, tmp_path: Path
) -> None:
    """A network of whole groups, and one whose free side is written as 0 or -1, become int8."""
    model = _fed(tmp_path / "net.onnx", batch, every=every)
    calibration = Calibration(np.eye(20, 4, dtype=np.float32), "rows", chunk(6))
    made = convert(model, "int8", calibration)
    session = onnxruntime.InferenceSession(made.path, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.ones((6, 4), np.float32)})[0].shape == (6, 4)


@pytest.mark.parametrize(
    ("batch", "tiles"), [(1, 64), (4, 64), (6, 60), (48, 48), (100, 100), (1024, 64)]
)
def test_tiles_at_once_are_whole_batches(batch: int, tiles: int) -> None:
    """So many as fit into 64, or one batch; of a multiple of 64 no more than 64."""
    assert chunk(batch) == tiles


def test_all_calibration_tiles_are_used(tmp_path: Path) -> None:
    """A last tile that fills no whole batch still sets the range."""
    model = _fed(tmp_path / "net.onnx", "N", every=1)
    tiles = np.ones((7, 4), np.float32)
    tiles[-1] = 100
    made = convert(model, "int8", Calibration(tiles, "rows", 3))
    assert max(one.max() for one in _constants(made, "_scale")) > 100 / 256


def test_the_tools_leave_the_path_as_it_was(tiles: np.ndarray) -> None:
    """ONNX Runtime's converters put a folder on sys.path that has modules of our names."""
    before = list(sys.path)
    convert(MODEL, "int8", Calibration(tiles[:4], "digits"))
    assert sys.path == before


def test_what_cannot_be_converted_is_refused(tiles: np.ndarray) -> None:
    """An unknown precision, and a file that is converted already, get their sentence."""
    calibration = Calibration(tiles, "digits")
    with pytest.raises(UsageError, match=r"No precision 'int4'.*fp32, fp16, int8"):
        convert(MODEL, "int4", calibration)
    half = convert(MODEL, "fp16", calibration)
    with pytest.raises(UsageError, match="is fp16 already"):
        convert(half, "int8", calibration)
    assert convert(half, "fp16", calibration) == half
    assert convert(MODEL, "fp32", calibration) == MODEL
