"""MNN: its converter, what its callbacks tell, and its option. The contract has the rest."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import msgspec
import numpy as np
import onnx
import onnx.reference
import pytest

pytest.importorskip("MNN")

from nnprof.errors import BadFile, Unavailable, UsageError
from nnprof.exporters import mnn as exported
from nnprof.exporters.models import load_model
from nnprof.networks import bundled
from nnprof.profiler import inputs
from nnprof.profiler.backends import mnn_library
from nnprof.profiler.backends.mnn import BACKEND
from nnprof.profiler.backends.mnn_graph import Ran, nodes
from nnprof.profiler.graph import opgraph
from nnprof.types import Target, Workload

WEIGHTS = Target(options={"weights": "int8"})


def _work(batch: int) -> Workload:
    return Workload(model=load_model(bundled.model_path()), batch=batch)


def test_fused_and_inserted_ops_name_what_they_were_made_from() -> None:
    """A convolution takes its ReLU in, a product runs as one, a Raster may come from nowhere."""
    found = BACKEND.open(_work(16), Target()).graph()
    by_origin = {node.origin: node for node in found if node.origin}
    conv = by_origin["conv1", "conv1_relu"]
    assert (conv.op, conv.kind) == ("Convolution", "conv")
    assert conv.flops == 2 * 16 * 8 * 24 * 24 * 25 + 16 * 8 * 24 * 24
    assert conv.bytes_weights == 4 * (8 * 25 + 8)
    assert conv.outputs == ((16, 8, 24, 24),)
    product = by_origin["fc1", "fc1_relu"]
    assert (product.op, product.kind) == ("Convolution", "gemm")
    assert by_origin[("fc1_flatten",)].op == "Raster"
    assert {node.op for node in found if not node.origin} == {"Raster"}


def test_of_two_ops_with_one_name_the_heavier_owns_the_node(tmp_path: Path) -> None:
    """No ONNX node is in two ops; longer names are not taken for shorter ones."""
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["a"], "first"),
         helper.make_node("Exp", ["a"], ["a_1"], "second")],
        "two",
        [helper.make_tensor_value_info("x", 1, [2])],
        [helper.make_tensor_value_info("a_1", 1, [2])],
    )  # fmt: skip
    path = tmp_path / "two.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    asked = opgraph.asked(path, {"x": np.zeros(2, np.float32)})
    told = (("a_bias", 1.0), ("a", 2.0), ("a_1", 1.0))
    ran = [Ran(name, "UnaryOp", ((2,),), ((2,),), work) for name, work in told]
    assert [node.origin for node in nodes(ran, asked, path)] == [(), ("first",), ("second",)]


def test_inputs_are_the_tiles_in_every_inference() -> None:
    """MNN overwrites its inputs; outputs after many timed inferences are those of the first."""
    work = Workload(
        model=load_model(bundled.model_path()), batch=16, data=str(bundled.tiles_path())
    )
    session = BACKEND.open(work, Target())
    expected = session.infer(inputs.make(work))["probabilities"]
    session.sample(5)
    np.testing.assert_array_equal(session._loaded.outputs()["probabilities"], expected)


def test_each_choice_is_converted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept file is read; other weights are another file; a cut one is made again."""
    model = load_model(bundled.model_path())
    kept = exported.converted(model).path
    eight = exported.converted(model, exported.EIGHT_BITS).path
    assert eight.stat().st_size < kept.stat().st_size / 2
    size = kept.stat().st_size
    kept.write_bytes(kept.read_bytes()[:100])
    again = exported.converted(model)  # another name: each file of MNN has an identity of its own
    assert again.path.stat().st_size == size
    monkeypatch.setattr(exported, "_convert", lambda *_: pytest.fail("converted again"))
    assert exported.converted(model) == again


def test_weights_of_eight_bits_change_outputs_and_are_told() -> None:
    """The option is real: outputs differ a little, and the facts say what is kept how."""
    work = _work(4)
    tiles = inputs.make(work)
    whole, eight = BACKEND.open(work, Target()), BACKEND.open(work, WEIGHTS)
    (a, b) = (session.infer(tiles)["probabilities"] for session in (whole, eight))
    assert 0 < np.abs(a - b).max() < 0.2
    assert "8 bits" in eight.facts["weights"]
    assert "weights" not in whole.facts


def test_ops_are_timed_by_callbacks() -> None:
    """Each op has a time of the runtime's own, none negative, in all about the inference."""
    ops = BACKEND.open(_work(64), Target()).op_times(0.05)
    assert all(op.seconds >= 0 and op.method == "runtime" for op in ops.ops)
    assert 0 < sum(op.seconds for op in ops.ops) < 1.5 * ops.latency_s


def test_looks_without_ops_run_no_op() -> None:
    """What tells the cost of callbacks leaves all memory as it was; the next inference is whole."""
    session = BACKEND.open(_work(2), Target())
    loaded = session._load(0)
    loaded.fill()  # which overwrites outputs: MNN hands the memory on
    before = loaded.outputs()["probabilities"]
    assert len(loaded.idle(perf_counter).ops_s) == len(session.graph())
    np.testing.assert_array_equal(loaded.outputs()["probabilities"], before)
    loaded.run()
    np.testing.assert_allclose(loaded.outputs()["probabilities"].sum(axis=1), 1, atol=1e-5)


def test_int8_files_are_refused_by_their_form(tmp_path: Path) -> None:
    """A converter that stops at QDQ is told in one sentence, with what MNN has instead."""
    refusal = exported._refused(load_model(bundled.model_path()), "[1] :2: Some Error: x. \n", 0)
    assert "refuses 1x28x28" in str(refusal)
    assert "Some Error: x." in str(refusal)
    helper = onnx.helper
    bad = helper.make_graph(
        [helper.make_node("NoSuchOp", ["x"], ["y"], domain="nowhere")],
        "strange",
        [helper.make_tensor_value_info("x", 1, [1])],
        [helper.make_tensor_value_info("y", 1, [1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("nowhere", 1)]
    onnx.save(helper.make_model(bad, opset_imports=opsets, ir_version=9), tmp_path / "bad.onnx")
    onnx_model = load_model(tmp_path / "bad.onnx")
    with pytest.raises(BadFile, match="NoSuchOp"):
        exported.converted(onnx_model)
    eight = msgspec.structs.replace(onnx_model, precision="int8")
    with pytest.raises(BadFile, match="QDQ") as refused:
        exported.converted(eight)
    assert "weights=int8" in str(refused.value)


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        (Target(device="cuda"), Unavailable, "computes on cpu, not on 'gpu' of device 'cuda'"),
        (Target(options={"streams": "2"}), UsageError, "no option 'streams'"),
        (Target(options={"weights": "int4"}), UsageError, "cannot be 'int4'"),
    ],
)
def test_refuses_what_it_does_not_do(target: Target, error: type[Exception], says: str) -> None:
    """Another device or an option is refused with a sentence."""
    with pytest.raises(error, match=says):
        BACKEND.open(_work(1), target)


def test_a_machine_without_it_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is one line."""
    monkeypatch.setattr(exported.cache, "installed", lambda _: "")
    with pytest.raises(Unavailable, match=r"nnprof-embedded\[mnn\]"):
        BACKEND.open(_work(1), Target())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_values_go_in_and_out_in_either_precision(precision: str) -> None:
    """Whatever a session keeps floats in, its outputs are those of ONNX's own reference."""
    work = msgspec.structs.replace(_work(4), precision=precision, data=str(bundled.tiles_path()))
    tiles = inputs.make(work)
    (expected,) = onnx.reference.ReferenceEvaluator(work.model.path).run(None, tiles)
    session = BACKEND.open(work, Target())
    (made,) = session.infer(tiles).values()
    np.testing.assert_allclose(made, expected, atol=1e-4 if precision == "fp32" else 1e-2)


def test_a_worker_that_has_imported_it_knows_the_extensions() -> None:
    """What MNN said of the processor when it was first imported is asked for anew."""
    import MNN  # noqa: F401  as a worker does, to time it

    mnn_library.library.cache_clear()
    assert "fp16" in mnn_library.library().extensions
