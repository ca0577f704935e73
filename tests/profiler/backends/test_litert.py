"""LiteRT: ops of a converted file, networks cut out of it, and conversions. The contract has more.

`tests/data/litert-bundled-16.tflite` is the bundled network at batch 16, as litert-torch 0.10.0
converted it; what converts is needed by few tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest

pytest.importorskip("ai_edge_litert")

from nnprof.errors import BadFile, Unavailable, UsageError
from nnprof.exporters import litert as exported
from nnprof.exporters.conversions import Conversion
from nnprof.exporters.models import load_model
from nnprof.networks import bundled
from nnprof.profiler import inputs
from nnprof.profiler.backends import litert_graph
from nnprof.profiler.backends.litert import BACKEND, LiteRtSession, _Loaded
from nnprof.types import Target, Workload

FILE = Path(__file__).parents[2] / "data" / "litert-bundled-16.tflite"
MADE = Conversion(files=(str(FILE),), by={"litert-torch": "0.10.0"}, machine="x86_64")


def _work(batch: int = 16) -> Workload:
    model = load_model(bundled.model_path())
    return Workload(model=model, batch=batch, data=str(bundled.tiles_path()))


@pytest.fixture
def session() -> LiteRtSession:
    """A session on the converted file."""
    return BACKEND.open(_work(), Target(), MADE)


def test_ops_name_what_they_were_made_from(session: LiteRtSession) -> None:
    """Each op has the ONNX nodes that are inside it; one that only gives another shape is none."""
    nodes = session.graph()
    assert [(node.op, node.origin) for node in nodes] == [
        ("DepthwiseConv2d", ("conv1", "conv1_relu")),
        ("MaxPool2d", ("pool1",)),
        ("Conv2d", ("conv2", "conv2_relu")),
        ("MaxPool2d", ("pool2",)),
        ("Transpose", ()),
        ("FullyConnected", ("fc1_flatten", "fc1", "fc1_relu")),
        ("FullyConnected", ("fc2",)),
        ("Softmax", ("fc2_softmax",)),
    ]
    conv = nodes[0]
    assert (conv.kind, nodes[5].kind, nodes[4].kind) == ("conv", "gemm", "memory")
    assert conv.flops == 2 * 16 * 8 * 24 * 24 * 25 + 16 * 8 * 24 * 24
    assert conv.bytes_weights == 4 * (8 * 25 + 8)
    assert conv.outputs == ((16, 24, 24, 8),)


def test_a_beginning_computes_what_the_network_computes_so_far(session: LiteRtSession) -> None:
    """Up to each convolution and pool it gives ONNX's own values; the last one the output."""
    work = _work()
    tiles = inputs.make(work)
    model = onnx.load(work.model.path)
    outputs = {node.name: node.output[0] for node in model.graph.node}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs.values())
    values = onnx.reference.ReferenceEvaluator(model).run(list(outputs.values()), tiles)
    expected = dict(zip(outputs, values, strict=True))
    for place, node in session._placed().items():
        part = _Loaded(
            litert_graph.beginning(FILE.read_bytes(), place + 1), 1, list(tiles.values())
        )
        part.sample(1)
        (made,) = part.outputs()
        if node.origin:
            array = expected[node.origin[-1]]
            last = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
            np.testing.assert_allclose(made, last, rtol=1e-4, atol=1e-4)
    nothing = _Loaded(litert_graph.beginning(FILE.read_bytes(), 0), 1, list(tiles.values()))
    assert nothing.sample(10) > 0


def test_weights_of_later_ops_are_left_out() -> None:
    """A beginning is as small as what it needs."""
    data = FILE.read_bytes()
    assert len(litert_graph.beginning(data, 2)) < len(data) / 4


def test_ops_are_timed_by_differences(session: LiteRtSession) -> None:
    """Each op has a difference, and all of them and a call are the network."""
    ops = session.op_times(0.05)
    assert ops.method == "differential"
    assert {op.method for op in ops.ops} == {"differential"}
    assert 0 < sum(op.seconds for op in ops.ops) <= ops.latency_s
    assert ops.ops[0].seconds > 0


def test_the_facts_say_what_runs(session: LiteRtSession) -> None:
    """XNNPACK took ops, and the inputs that are timed are still those of the workload."""
    assert session.facts["delegate"] == "XNNPACK"
    session.infer({name: np.zeros_like(array) for name, array in inputs.make(_work()).items()})
    session.sample(3)
    again = session.infer(inputs.make(_work()))
    np.testing.assert_array_equal(session._loaded.outputs()[0].shape, again["probabilities"].shape)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("Wrapper/torch.nn.ReLU_at1;;Wrapper/torch.nn.Conv2d_at0;1", [1, 0]),
        ("Wrapper/torch.nn.Linear_at12;2", [12]),
        ("serving_default_output_0_output", []),
        ("cat_at_last", []),
    ],
)
def test_places_are_read_from_names(name: str, places: list[int]) -> None:
    """The names that the converter makes tell the steps of the network."""
    assert exported.places_of(name) == places


def test_each_shape_is_converted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept file is read; a cut one is made again."""
    pytest.importorskip("litert_torch")
    model = load_model(bundled.model_path())
    tiles = inputs.make(_work(2))
    kept = exported.converted(model, tiles).path
    size = kept.stat().st_size
    kept.write_bytes(kept.read_bytes()[:100])
    again = exported.converted(model, tiles)
    assert again.path.stat().st_size == size
    monkeypatch.setattr(exported, "_run", lambda *_: pytest.fail("converted again"))
    assert exported.converted(model, tiles) == again


@pytest.mark.parametrize(
    ("target", "precision", "error", "says"),
    [
        (
            *(Target(device="cuda"), "fp32", Unavailable),
            "computes on cpu, not on 'gpu' of device 'cuda'",
        ),
        (Target(options={"streams": "2"}), "fp32", UsageError, "no option 'streams'"),
        (Target(), "int8", BadFile, "in int8"),
    ],
)
def test_refuses_what_it_does_not_do(
    target: Target, precision: Any, error: type[Exception], says: str
) -> None:
    """Another device, an option or a precision is refused with a sentence."""
    from msgspec.structs import replace

    work = _work()
    work = replace(work, precision=precision)
    with pytest.raises(error, match=says):
        BACKEND.open(work, target)


@pytest.mark.parametrize("missing", ["ai-edge-litert", "litert-torch"])
def test_what_is_missing_is_told_with_how_to_install_it(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime and the converter have an extra each; nothing is measured without both."""
    monkeypatch.setattr(exported.cache, "installed", lambda name: "" if name == missing else "1")
    extra = {"ai-edge-litert": r"\[litert\]", "litert-torch": r"\[litert-con"}[missing]
    first = BACKEND.probe if missing == "ai-edge-litert" else BACKEND.converter
    for needs in (first, lambda: BACKEND.open(_work(), Target())):
        with pytest.raises(Unavailable, match=extra):
            needs()
