"""FLOPs, against formulas written out by hand."""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from nnprof import registry
from nnprof.exporters.int8 import on_processor
from nnprof.exporters.models import load_model
from nnprof.exporters.precision import Calibration, convert
from nnprof.networks import bundled
from nnprof.profiler.backends.onnxruntime import BACKEND
from nnprof.profiler.costmodel import ran
from nnprof.profiler.devices.cpu import DEVICE
from nnprof.profiler.graph import counts, opgraph
from nnprof.profiler.ports import OpNode
from nnprof.types import Target, Workload


@pytest.fixture(scope="module")
def bundled_int8() -> tuple[OpNode, ...]:
    """What ONNX Runtime runs here of the bundled network in int8, at batch 1."""
    with np.load(bundled.tiles_path()) as arrays:
        tiles = np.asarray(arrays["tiles"], np.float32)
    model = load_model(bundled.model_path())
    form = on_processor(DEVICE.facts())
    model = convert(model, "int8", Calibration(tiles, "digits"), form=form)
    session = BACKEND.open(Workload(model=model, batch=1), Target())
    nodes = session.graph()
    session.close()
    return nodes


@pytest.mark.parametrize(
    ("op", "inputs", "outputs", "attributes", "flops"),
    [
        pytest.param(
            "Conv", [(2, 3, 28, 28), (20, 3, 5, 5)], [(2, 20, 24, 24)], {},
            2 * 2 * 20 * 24 * 24 * 3 * 25, id="conv",
        ),
        pytest.param(
            "FusedGemm", [(8, 720), (720, 128)], [(8, 128)], {}, 2 * 8 * 720 * 128, id="gemm"
        ),
        pytest.param(
            "Gemm", [(720, 8), (720, 128)], [(8, 128)], {"transA": 1}, 2 * 8 * 720 * 128,
            id="gemm, transposed",
        ),
        pytest.param(
            "MaxPool", [(2, 4, 8, 8)], [(2, 4, 4, 4)], {"kernel_shape": [2, 2]},
            2 * 4 * 4 * 4 * 4, id="pool",
        ),
        pytest.param("GlobalAveragePool", [(2, 4, 8, 8)], [(2, 4, 1, 1)], {}, 2 * 4 * 64, id="all"),
        # 4 gates of 1 feature and 50 units; 3 sigmoids and 2 tanh of 4 FLOPs, 3 products, 1 sum
        pytest.param(
            "LSTM", [(60, 8, 1), (1, 200, 1), (1, 200, 50), (1, 400)], [(60, 1, 8, 50)], {},
            60 * 8 * (2 * 200 * 51 + 50 * (5 * 4 + 4)), id="lstm",
        ),
        pytest.param(
            "GRU", [(8, 60, 3), (2, 150, 3), (2, 150, 50)], [(2, 8, 50)],
            {"layout": 1, "activations": [b"Sigmoid", b"Relu"] * 2},
            60 * 8 * 2 * (2 * 150 * 53 + 50 * (2 * 4 + 1 + 5)), id="gru, both ways, relu",
        ),
        pytest.param(
            "RNN", [(5, 1, 3), (1, 4, 3), (1, 4, 4)], [(5, 1, 1, 4)], {},
            5 * (2 * 4 * 7 + 4 * 4), id="rnn",
        ),
        pytest.param(
            "QLinearConv", [(2, 28, 28, 3), (), (), (20, 3, 5, 5), (20,), (20,), (), (), (20,)],
            [(2, 24, 24, 20)], {}, 2 * 2 * 20 * 24 * 24 * 3 * 25, id="int8 conv, channels last",
        ),
        pytest.param(
            "ConvInteger", [(2, 3, 28, 28), (20, 3, 5, 5), ()], [(2, 20, 24, 24)], {},
            2 * 2 * 20 * 24 * 24 * 3 * 25, id="whole conv",
        ),
        pytest.param(
            "ConvTranspose", [(2, 8, 5, 5), (8, 3, 2, 2)], [(2, 3, 10, 10)], {"strides": [2, 2]},
            2 * 2 * 3 * 10 * 10 * 8, id="transposed conv without overlap",
        ),
        pytest.param(
            "ConvTranspose", [(1, 8, 5, 5), (8, 1, 3, 3)], [(1, 4, 7, 7)], {"group": 4},
            2 * 8 * 25 * 9, id="transposed conv in groups",
        ),
        pytest.param(
            "QGemm", [(8, 720), (), (), (128, 720), (128,), (128,), (128,), (), ()], [(8, 128)],
            {"transB": 1}, 2 * 8 * 720 * 128, id="int8 gemm",
        ),
        pytest.param(
            "QGemm", [(720, 8), (), (), (720, 128), (), ()], [(8, 128)], {"transA": 1},
            2 * 8 * 720 * 128, id="int8 gemm, transposed",
        ),
        pytest.param(
            "QLinearMatMul", [(2, 8, 720), (), (), (720, 128), (), (), (), ()], [(2, 8, 128)], {},
            2 * 2 * 8 * 720 * 128, id="int8 matmul",
        ),
        pytest.param(
            "MatMulInteger", [(8, 720), (720, 128), (), ()], [(8, 128)], {}, 2 * 8 * 720 * 128,
            id="whole matmul",
        ),
        pytest.param(
            "DynamicQuantizeMatMul", [(8, 720), (720, 128), (128,), (128,)], [(8, 128)], {},
            2 * 8 * 720 * 128, id="dynamic matmul",
        ),
        pytest.param(
            "NhwcMaxPool", [(2, 8, 8, 4)], [(2, 4, 4, 4)], {"kernel_shape": [2, 2]},
            2 * 4 * 4 * 4 * 4, id="pool, channels last",
        ),
        pytest.param(
            "QLinearGlobalAveragePool", [(2, 8, 8, 4), (), ()], [(2, 1, 1, 4)],
            {"channels_last": 1}, 2 * 4 * 64, id="all, channels last",
        ),
        pytest.param("QLinearAdd", [(2, 5), (), (), (2, 5)], [(2, 5)], {}, 40, id="int8 sum"),
        pytest.param("DequantizeLinear", [(2, 5), (), ()], [(2, 5)], {}, 20, id="scaled back"),
        pytest.param("Relu", [(2, 5)], [(2, 5)], {}, 10, id="relu"),
        pytest.param("Reshape", [(2, 5)], [(10,)], {}, 0, id="reshape does nothing"),
    ],
)  # fmt: skip
def test_flops(
    op: str, inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]],
    attributes: dict[str, object], flops: int,
) -> None:  # fmt: skip
    """Each op counts as its formula says."""
    assert counts.flops(op, inputs, outputs, attributes) == flops


def test_every_op_of_an_int8_network_is_counted(bundled_int8: tuple[OpNode, ...]) -> None:
    """What ONNX Runtime runs of the bundled network in int8 has FLOPs, bytes and kinds."""
    assert {"QLinearConv", "QGemm"} <= {node.op for node in bundled_int8}
    for node in bundled_int8:
        assert node.flops is not None, node.op
        assert node.kind != "other", node.op
        assert node.bytes_in, node.op
    products = [node for node in bundled_int8 if node.op in counts.WHOLE]
    assert sum(node.flops or 0 for node in products) == 2 * (
        8 * 24 * 24 * 25 + 16 * 8 * 8 * 8 * 25 + 256 * 64 + 64 * 10
    )


def test_quantised_convolutions_are_ops_of_the_cost_model(
    bundled_int8: tuple[OpNode, ...],
) -> None:
    """Channels last and weights in the fourth place: channels, sums and FLOPs are right."""
    convs = [one for one in ran.of_nodes(bundled_int8) if one.group == "conv"]
    found = [(one.c_in, one.c_out, one.h_out, one.k, one.n, one.groups) for one in convs]
    assert found == [(1, 8, 24, 25, 8, 1), (8, 16, 8, 200, 16, 1)]
    assert [one.flops for one in convs] == [2.0 * 8 * 24 * 24 * 25, 2.0 * 16 * 8 * 8 * 200]
    assert [one.bytes_weights for one in convs] == [8 * 25, 16 * 8 * 25]


def test_unknown_op_is_not_zero() -> None:
    """An op that we cannot count is unknown, never 0."""
    assert counts.flops("Einsum", [(1, 2, 3)], [(1, 2, 3)], {}) is None


def two_per_value(_: object, outputs: list[tuple[int, ...]], __: object) -> int:
    """A counter as another package has it."""
    return 2 * outputs[0][0]


def test_another_packages_counter_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line in `nnprof.counters` counts an op that we cannot; entry points are read once."""
    asked = []

    def entry_points(**wanted: str) -> list[EntryPoint]:
        asked.append(wanted)
        assert wanted["group"] == "nnprof.counters"
        return [
            EntryPoint(op, f"{__name__}:two_per_value", wanted["group"]) for op in ("My", "Relu")
        ]

    monkeypatch.setattr(EntryPoint, "load", lambda _: two_per_value)
    monkeypatch.setattr(registry, "entry_points", entry_points)
    for cache in (counts._registered, counts._registered_ops):
        monkeypatch.setattr(counts, cache.__name__, functools.cache(cache.__wrapped__))
    assert [counts.flops("My", [(3,)], [(3,)], {}) for _ in range(3)] == [6, 6, 6]
    assert counts.flops("Other", [(3,)], [(3,)], {}) is None
    assert len(asked) == 2
    assert counts.flops("Relu", [(3,)], [(3,)], {}) == 3, "our own ops keep their formula"


def test_memory_ops_count_nothing() -> None:
    """Every op that we count as 0 is one of the kind memory."""
    shapes = ([(2, 3), (3, 4)], [(2, 4)], {})
    free = [op for op, count in counts.COUNTERS.items() if count(*shapes) == 0]
    assert {opgraph.kind_of(op) for op in free} == {"memory"}
