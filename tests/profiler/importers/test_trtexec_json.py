"""The JSON of trtexec, versions 8 to 11."""

from __future__ import annotations

import json
import string
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnprof.errors import BadFile
from nnprof.profiler.importers import trtexec_json, trtexec_layers, trtexec_ops
from nnprof.types import OpTime

DATA = Path(__file__).parents[2] / "data" / "trtexec"
VERSIONS = ("8.6", "10.3", "11.1")
TYPES = {
    **{"conv1": "Conv", "conv1_relu": "Relu", "conv2": "Conv", "conv2_relu": "Relu"},
    **{"pool1": "MaxPool", "fc1_flatten": "Reshape", "fc1": "Gemm", "fc1_relu": "Relu"},
    **{"fc2": "Gemm", "fc2_softmax": "Softmax"},
}


def engine(version: str) -> trtexec_layers.Engine:
    """The engine of the network in one version's words."""
    return trtexec_layers.read_engine((DATA / version / "layers.json").read_bytes(), "layers.json")


def profile(version: str) -> trtexec_json.Profile:
    """Its profile."""
    return trtexec_json.read_profile((DATA / version / "profile.json").read_bytes(), "profile.json")


def ops(version: str, types: dict[str, str] = TYPES) -> list[OpTime]:
    """Its ops that did something."""
    every = trtexec_ops.op_times(profile(version), engine(version), types)
    return [op for op in every if op.seconds]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_tells_the_same_network(version: str) -> None:
    """Both convolutions, the pool, both products: same kind, origin and FLOPs in each version."""
    found = {op.origin[0]: op for op in ops(version) if op.origin}
    assert found["conv1"].kind == found["conv2"].kind == "conv"
    assert found["conv2"].flops == 2 * 64 * 20 * 20 * 20 * 20 * 25
    assert found["conv2"].inputs == ((64, 20, 24, 24), (20, 20, 5, 5))
    assert found["pool1"].op == "MaxPool"
    (dense,) = (op for op in ops(version) if "fc1" in op.origin)
    assert (dense.op, dense.flops) == ("Gemm", 2 * 64 * 2000 * 128)
    assert dense.inputs[0] == (64, 2000)
    assert dense.outputs == ((64, 128),)


@pytest.mark.parametrize("version", VERSIONS)
def test_inputs_outputs_and_batch(version: str) -> None:
    """Bindings and `I/O Tensors` give the same answer; the batch is the one that ran."""
    found = engine(version)
    assert [port.name for port in found.inputs] == ["tiles"]
    assert found.inputs[0].dtype == "float32"
    assert [port.shape for port in found.outputs] == [(64, 10)]
    assert trtexec_ops.batch_of(found) == 64


@pytest.mark.parametrize("version", VERSIONS)
def test_seconds_are_medians_in_the_order_of_execution(version: str) -> None:
    """Milliseconds become seconds, the median of each layer, layer by layer."""
    rows = json.loads((DATA / version / "profile.json").read_text(), strict=False)[1:]
    found = trtexec_ops.op_times(profile(version), engine(version), TYPES)
    assert [op.node for op in found] == [row["name"] for row in rows]
    assert [op.seconds for op in found] == pytest.approx([row["medianMs"] * 1e-3 for row in rows])
    assert {op.runs for op in found} == {100}


def test_what_an_engine_hides_is_unknown() -> None:
    """A layer of many ops that shows neither kernel nor weights has no FLOPs and no weights."""
    foreign = ops("8.6")[-1]
    assert foreign.node.startswith("{ForeignNode[")
    assert foreign.origin == ("fc2", "fc2_softmax")
    assert (foreign.op, foreign.flops, foreign.bytes_weights) == ("Gemm", None, None)


def test_copies_stay_copies() -> None:
    """A reformat is memory work, whatever ONNX node it is booked on, and computes nothing."""
    first = ops("10.3")[0]
    assert (first.op, first.kind, first.flops, first.origin) == ("Reformat", "memory", 0, ())
    assert (first.bytes_in, first.bytes_out) == (64 * 784 * 4, 64 * 784 * 2)


def test_local_functions_are_left_off_the_origin() -> None:
    """`[ONNX Layer: NAME | function]` names the node NAME."""
    assert ops("10.3")[-1].origin == ("fc2_softmax",)
    assert ops("10.3")[-1].flops == 5 * 64 * 10


def test_without_the_onnx_file_a_layer_says_what_it_can() -> None:
    """No types: the layer's own type decides, and the origin is still told."""
    found = trtexec_ops.op_times(profile("10.3"), engine("10.3"))
    assert [op.op for op in found[:4]] == ["Reformat", "Conv", "Conv", "MaxPool"]
    assert found[4].op == "MatMul"
    assert (found[6].op, found[6].kind) == ("kgen", "other")


def test_a_profile_alone_has_times_and_names() -> None:
    """Without layer information ops are unknown, of kind other, with no counts."""
    found = trtexec_ops.op_times(profile("11.1"))
    assert {(op.op, op.kind, op.flops) for op in found} == {("unknown", "other", None)}


def test_equal_names_are_matched_in_order() -> None:
    """Two layers of one name keep their own shapes."""
    layers = [
        {
            "Name": "same",
            "LayerType": "SoftMax",
            "Inputs": [{"Name": "x", "Dimensions": [2, width]}],
            "Outputs": [{"Name": "y", "Dimensions": [2, width]}],
        }
        for width in (3, 4)
    ]
    rows = [{"count": 2}, *({"name": "same", "averageMs": ms, "timeMs": 2 * ms} for ms in (1, 2))]
    found = trtexec_ops.op_times(
        trtexec_json.read_profile(json.dumps(rows).encode(), "p"),
        trtexec_layers.read_engine(json.dumps({"Layers": layers}).encode(), "l"),
    )
    assert [(op.outputs, op.seconds) for op in found] == [(((2, 3),), 1e-3), (((2, 4),), 2e-3)]


def test_free_dimensions_are_unknown() -> None:
    """A layer asked without a batch (-1) has no shapes, no bytes and no FLOPs."""
    tensor = {"Name": "x", "Dimensions": [-1, 3], "Format/Datatype": "N/A due to dynamic shapes"}
    layer = {"Name": "s", "LayerType": "SoftMax", "Inputs": [tensor], "Outputs": [tensor]}
    found = trtexec_layers.read_engine(json.dumps({"Layers": [layer]}).encode(), "l").layers[0].node
    assert (found.inputs, found.outputs, found.flops, found.bytes_in) == ((), (), None, None)


def test_a_convolution_with_its_pool_has_no_count() -> None:
    """Its output is that of the pool, so its FLOPs cannot be told."""
    tensor = {"Name": "x", "Dimensions": [1, 4, 8, 8], "Format/Datatype": "Row major linear FP32"}
    layer = {"Name": "c", "LayerType": "CaskConvActPool", "Inputs": [tensor], "Outputs": [tensor]}
    layer |= {"ConvKernel": [3, 3], "ConvGroups": 1, "ParameterType": "ConvActPool"}
    found = trtexec_layers.read_engine(json.dumps({"Layers": [layer]}).encode(), "l").layers[0].node
    assert (found.op, found.flops, found.inputs[1]) == ("Conv", None, (4, 4, 3, 3))


def test_only_the_first_optimisation_profile_counts() -> None:
    """Layers of further profiles carry a suffix, and are not the ones that ran."""
    text = json.dumps({"Layers": ["a", "a [profile 1]"], "Bindings": []}).encode()
    found = trtexec_layers.read_engine(text, "l")
    assert [layer.node.node for layer in found.layers] == ["a"]
    assert not found.detailed


def test_times_are_seconds_of_each_inference() -> None:
    """Copies, computing and their sum, per inference."""
    found = trtexec_json.read_times((DATA / "10.3" / "times.json").read_bytes(), "times.json")
    assert len(found) == 5
    for query in found:
        assert query.latency_s == pytest.approx(query.h2d_s + query.compute_s + query.d2h_s, 1e-4)
        assert query.enqueue_s == pytest.approx(2e-5, 1e-3)


def test_numbers_that_are_none_are_read() -> None:
    """A percentage of nothing is `nan`, which JSON has no word for; the rest is kept."""
    text = (
        b'[ { "count" : 1 }, { "name" : "a", "timeMs" : 1, "averageMs" : 1, "percentage" : -nan } ]'
    )
    assert trtexec_json.read_profile(text, "p").layers[0].mean_s == 1e-3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is empty"),
        (b'[ { "count" : 1 }', "is cut off: it ends in line 1"),
        (b"[]", "--exportProfile"),
        (b"{}", "--exportProfile"),
        (b"3", "--exportProfile"),
        (b'[{"count": 1}, {"name": "a"}]', "averageMs"),
        (b'[{"count": 0}]', "no layer that took any time"),
        (b"\xff\xfe", "is empty"),
    ],
)
def test_bad_profiles_are_one_sentence(text: bytes, said: str) -> None:
    """A file that is no profile says so, with its name."""
    with pytest.raises(BadFile, match=said) as caught:
        trtexec_json.read_profile(text, "p.json")
    assert str(caught.value).startswith("p.json")


def test_the_wrong_file_is_named() -> None:
    """Layers where times are wanted, and the other way round."""
    layers = (DATA / "8.6" / "layers.json").read_bytes()
    times = (DATA / "8.6" / "times.json").read_bytes()
    with pytest.raises(BadFile, match="--exportTimes"):
        trtexec_json.read_times(layers, "x")
    with pytest.raises(BadFile, match="--exportLayerInfo"):
        trtexec_layers.read_engine(times, "x")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["profile", "layers", "times"])
def test_files_are_known_by_what_they_hold(version: str, kind: str) -> None:
    """No file name is needed to tell the three apart."""
    assert trtexec_json.kind_of_file((DATA / version / f"{kind}.json").read_text()) == kind


NAMES = st.text(string.ascii_letters + "/+[]{} \x1e\x1f_.:", min_size=1, max_size=30)
TIMES = st.floats(1e-4, 1e3)


@given(st.lists(st.tuples(NAMES, TIMES), min_size=1, max_size=20), st.integers(1, 10**6))
def test_what_trtexec_prints_is_read_back(layers: list[tuple[str, float]], count: int) -> None:
    """Any names, with bare control characters too, and any times come back in order."""
    lines = [f'[\n  {{ "count" : {count} }}']
    lines += [
        f', {{ "name" : "{name}", "timeMs" : {ms * count:g}, "averageMs" : {ms:g}, '
        f'"medianMs" : {ms:g}, "percentage" : 1 }}'
        for name, ms in layers
    ]
    found = trtexec_json.read_profile("\n".join([*lines, "]"]).encode(), "p")
    assert found.count == count
    assert [layer.name for layer in found.layers] == [name for name, _ in layers]
    assert [layer.mean_s * 1e3 for layer in found.layers] == pytest.approx(
        [ms for _, ms in layers], rel=1e-5
    )


@given(st.binary(max_size=200))
def test_anything_else_is_refused_with_a_sentence(text: bytes) -> None:
    """Whatever the bytes, the readers give a value or a BadFile, never another error."""
    for read in (trtexec_json.read_profile, trtexec_layers.read_engine, trtexec_json.read_times):
        with suppress(BadFile):
            read(text, "x")
