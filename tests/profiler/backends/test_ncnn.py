"""ncnn: what pnnx makes, whose layers come from which nodes, storage. The contract has the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnx.reference
import pytest

pytest.importorskip("ncnn")

from nnprof.errors import BadFile, Unavailable, UsageError
from nnprof.exporters import ncnn as exported
from nnprof.exporters.models import load_model
from nnprof.networks import bundled
from nnprof.profiler import inputs
from nnprof.profiler.backends import ncnn_net
from nnprof.profiler.backends.ncnn import BACKEND, NcnnSession
from nnprof.profiler.run import accuracy
from nnprof.types import Cell, Model, Target, Workload

try:
    exported.program()
except Unavailable as _reason:
    pytest.skip(str(_reason), allow_module_level=True)

helper = onnx.helper


def _work(batch: int) -> Workload:
    return Workload(
        model=load_model(bundled.model_path()), batch=batch, data=str(bundled.tiles_path())
    )


def _saved(path: Path, nodes: list[onnx.NodeProto], shape: list[int], **weights: object) -> Model:
    """A network of one input `x`, with free batch, and one output `y`."""
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("x", 1, ["batch", *shape])],
        [helper.make_tensor_value_info("y", 1, ["batch", 5])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path
    )
    return load_model(path)


def _branches(path: Path) -> Model:
    """Two convolutions that read one tensor, a sum of both and of it, what follows a pool."""
    random = np.random.default_rng(0).standard_normal
    node = helper.make_node
    pads = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    return _saved(
        path,
        [
            node("Conv", ["x", "w0"], ["a"], "first", **pads),
            node("Relu", ["a"], ["b"], "rectified"),
            node("Conv", ["b", "w1"], ["c"], "left", **pads),
            node("Relu", ["c"], ["d"], "left rectified"),
            node("Conv", ["b", "w2"], ["e"], "right", pads=[0] * 4, kernel_shape=[1, 1]),
            node("Add", ["d", "e"], ["f"], "sum"),
            node("Add", ["f", "b"], ["g"], "over"),
            node("Tanh", ["g"], ["h"], "bent"),
            node("GlobalAveragePool", ["h"], ["i"], "mean"),
            node("Flatten", ["i"], ["j"], "flat"),
            node("MatMul", ["j", "w3"], ["k"], "product"),
            node("Softmax", ["k"], ["y"], "shares", axis=1),
        ],
        [4, 8, 8],
        w0=random((8, 4, 3, 3), np.float32) / 6,
        w1=random((8, 8, 3, 3), np.float32) / 9,
        w2=random((8, 8, 1, 1), np.float32) / 3,
        w3=random((8, 5), np.float32),
    )


def _require_tensors(session: NcnnSession, model: Model, tiles: dict[str, np.ndarray]) -> None:
    """Each layer with ONNX nodes makes what the last of them makes."""
    proto = onnx.load(model.path)
    last = {node.name: node.output[0] for node in proto.graph.node}
    proto.graph.output.extend(
        helper.make_tensor_value_info(name, 1, None)
        for name in last.values()
        if name != proto.graph.output[0].name
    )
    names = [one.name for one in proto.graph.output]
    values = onnx.reference.ReferenceEvaluator(proto).run(names, tiles)
    known = dict(zip(names, values, strict=True))
    session.graph()
    extractor = session._loaded._begun(session._loaded.held(tiles))
    for layer, node in zip(session._ran, session.graph(), strict=True):
        failed, blob = extractor.extract(layer.makes[0])
        assert not failed
        if node.origin:
            expected = known[last[node.origin[-1]]]
            made = np.array(blob.numpy(batch_index=0))
            np.testing.assert_allclose(made.ravel(), expected.ravel(), atol=1e-4, err_msg=node.node)


@pytest.mark.parametrize("make", [lambda _: load_model(bundled.model_path()), _branches])
def test_a_layer_makes_what_its_last_node_makes(
    make: Callable[[Path], Model], tmp_path: Path
) -> None:
    """Names are lost, so the values tell: every blob holds the tensor that it is said to hold."""
    work = Workload(model=make(tmp_path / "net.onnx"), batch=3)
    tiles = inputs.make(work)
    session = BACKEND.open(work, Target())
    _require_tensors(session, work.model, tiles)
    named = [name for node in session.graph() for name in node.origin]
    assert len(named) == len(set(named))
    nodes = onnx.load(work.model.path).graph.node
    assert {node.name for node in nodes if node.op_type not in ("Flatten", "Reshape")} <= set(named)


def test_fused_and_inserted_layers_name_what_they_were_made_from(tmp_path: Path) -> None:
    """A ReLU is in its convolution; where a tensor has more readers, a Split is put in."""
    work = Workload(model=_branches(tmp_path / "net.onnx"), batch=2)
    found = BACKEND.open(work, Target()).graph()
    by_origin = {node.origin: node for node in found}
    conv = by_origin["first", "rectified"]
    assert (conv.op, conv.kind) == ("Convolution", "conv")
    assert conv.flops == 2 * 2 * 8 * 8 * 8 * 36 + 2 * 8 * 8 * 8
    assert conv.bytes_weights == 4 * 8 * 36
    assert conv.outputs == ((2, 8, 8, 8),)
    assert by_origin[("product",)].kind == "gemm"
    assert {node.op for node in found if not node.origin} == {"Split"}
    assert all(node.kind == "memory" for node in found if node.op == "Split")


def test_outputs_are_those_of_each_tile_alone() -> None:
    """A batch of ncnn's own changes nothing, and what is timed leaves the bound tiles alone."""
    work = _work(5)
    tiles = inputs.make(work)["tiles"]
    session, single = BACKEND.open(work, Target()), BACKEND.open(_work(1), Target())
    session.sample(3)
    (together,) = session.infer({"tiles": tiles}).values()
    alone = [single.infer({"tiles": tile[None]})["probabilities"] for tile in tiles]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-6)
    bound = session._loaded.run(session._loaded._bound)
    np.testing.assert_array_equal(bound[0], together)


def test_each_shape_and_choice_is_converted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept files are read; 16-bit weights are another file; of a cut one all are made again."""
    model, tiles = load_model(bundled.model_path()), inputs.make(_work(2))
    kept = exported.files(exported.converted(model, tiles))
    assert kept.batch_sides == {"in0": 0, "out0": 0}
    half = exported.files(exported.converted(model, tiles, exported.HALF))
    assert half.weights.stat().st_size < 0.6 * kept.weights.stat().st_size
    size = kept.weights.stat().st_size
    kept.weights.write_bytes(kept.weights.read_bytes()[:100])
    again = exported.converted(model, tiles)
    assert exported.files(again).weights.stat().st_size == size
    monkeypatch.setattr(exported, "_convert", lambda *_: pytest.fail("converted again"))
    assert exported.converted(model, tiles) == again


def test_pnnx_writes_nothing_beside_the_model(tmp_path: Path) -> None:
    """Its many files are made in a folder that is removed."""
    model = _branches(tmp_path / "net.onnx")
    exported.converted(model, inputs.make(Workload(model=model, batch=1)))
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_storage_changes_outputs_and_is_told() -> None:
    """The option is real: outputs differ a little, and the facts say how values are kept."""
    work = _work(4)
    tiles = inputs.make(work)
    made = {}
    for storage in ("fp32", "fp16", "bf16"):
        session = BACKEND.open(work, Target(options={"storage": storage}))
        made[storage] = session.infer(tiles)["probabilities"]
        assert session.facts["storage"] == storage
    for storage in ("fp16", "bf16"):
        assert 0 < np.abs(made[storage] - made["fp32"]).max() < 0.05, storage


def test_accuracy_is_due_where_the_runtime_rounds() -> None:
    """Speed by fewer bits of ncnn's own must say what it costs; float32 costs nothing."""
    for storage, due in (("fp32", False), ("fp16", True), ("bf16", True)):
        target = Target(backend="ncnn", options={"storage": storage})
        assert accuracy.due([Cell(workload=_work(1), target=target)]) is due


def test_layers_are_timed_one_after_the_other() -> None:
    """Each layer has a time, none negative, in all about the inference; the look is taken off."""
    session = BACKEND.open(_work(64), Target())
    ops = session.op_times(0.05)
    assert all(op.seconds >= 0 and op.method == "runtime" for op in ops.ops)
    assert 0.5 * ops.latency_s < sum(op.seconds for op in ops.ops) < 1.1 * ops.latency_s
    assert session.facts["look_s"] > 0
    assert all(op.kernel.startswith("pack ") for op in ops.ops)


def test_threads_are_those_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The net is told how many, and to let go of blobs as soon as it can (light mode)."""
    told = []
    really = ncnn_net._set

    def see(options: object, target: Target) -> None:
        really(options, target)
        told.append(options)

    monkeypatch.setattr(ncnn_net, "_set", see)
    facts = BACKEND.open(_work(1), Target(threads=2)).facts
    assert [(one.num_threads, one.lightmode) for one in told] == [(2, True)]
    assert facts["threads"] == 2
    assert facts["light_mode"] is True


def _gelu(path: Path) -> Model:
    """Five nodes that are one layer of ncnn."""
    node = helper.make_node
    return _saved(
        path,
        [
            node("MatMul", ["x", "w"], ["a"], "product"),
            node("Div", ["a", "root"], ["b"], "divided"),
            node("Erf", ["b"], ["c"], "erf"),
            node("Add", ["c", "one"], ["d"], "shifted"),
            node("Mul", ["a", "d"], ["e"], "times"),
            node("Mul", ["e", "half"], ["y"], "halved"),
        ],
        [5],
        w=np.eye(5, dtype=np.float32) / 100,
        root=np.float32(2**0.5),
        one=np.float32(1),
        half=np.float32(0.5),
    )


def test_several_nodes_that_are_one_layer_are_all_named(tmp_path: Path) -> None:
    """What is left over, and read by one layer only, is in that layer."""
    work = Workload(model=_gelu(tmp_path / "net.onnx"), batch=4)
    session = BACKEND.open(work, Target())
    last = session.graph()[-1]
    assert (last.op, last.kind) == ("GELU", "elementwise")
    assert last.origin == ("divided", "erf", "shifted", "times", "halved")
    assert session.graph()[0].origin == ("product",)
    _require_tensors(session, work.model, inputs.make(work))


def test_a_layer_that_ncnn_lacks_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What it prints becomes a sentence, and is not printed."""
    nodes = [helper.make_node("ArgMax", ["x"], ["i"], "largest", axis=1),
             helper.make_node("Cast", ["i"], ["y"], "cast", to=1)]  # fmt: skip
    model = _saved(tmp_path / "net.onnx", nodes, [5])
    with pytest.raises(BadFile, match="layer ArgMax not exists or registered"):
        BACKEND.open(Workload(model=model, batch=1), Target())
    assert capfd.readouterr().err == ""


def test_what_cannot_be_converted_is_told_in_a_sentence() -> None:
    """A type that ncnn lacks; files in int8 and float16, with why."""
    model = load_model(bundled.model_path())
    with pytest.raises(BadFile, match="type complex64"):
        exported.converted(model, {"tiles": np.zeros((1, 1, 28, 28), np.complex64)})
    for precision, says in (("int8", "ncnn2int8"), ("fp16", "storage=fp16")):
        other = Workload(model=msgspec.structs.replace(model, precision=precision), batch=1)
        with pytest.raises(BadFile, match=says):
            BACKEND.open(other, Target())
    refusal = exported._refused(model, "\nunknown op Foo. \n### done\n", 1)
    assert "pnnx refuses" in str(refusal)
    assert "unknown op Foo." in str(refusal)


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        (Target(device="cuda"), Unavailable, "computes on cpu, not on 'gpu' of device 'cuda'"),
        (Target(options={"streams": "2"}), UsageError, "no option 'streams'"),
        (Target(options={"storage": "int4"}), UsageError, "cannot be 'int4'"),
    ],
)
def test_refuses_what_it_does_not_do(target: Target, error: type[Exception], says: str) -> None:
    """Another device or an option is refused with a sentence."""
    with pytest.raises(error, match=says):
        BACKEND.open(_work(1), target)


def test_a_machine_without_it_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is one line, for ncnn and for pnnx."""
    monkeypatch.setattr(exported.metadata, "files", lambda _: None)
    with pytest.raises(Unavailable, match=r"pip install --no-deps pnnx"):
        BACKEND.converter()
    monkeypatch.setattr(exported.cache, "installed", lambda _: "")
    with pytest.raises(Unavailable, match=r"nnprof-embedded\[ncnn\]"):
        BACKEND.open(_work(1), Target())
