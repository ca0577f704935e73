"""FLOPs, against formulas written out by hand."""

from __future__ import annotations

import pytest

from nnprof.profiler import counts, opgraph


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


def test_unknown_op_is_not_zero() -> None:
    """An op that we cannot count is unknown, never 0."""
    assert counts.flops("LSTM", [(1, 2, 3)], [(1, 2, 3)], {}) is None


def test_memory_ops_count_nothing() -> None:
    """Every op that we count as 0 is one of the kind memory."""
    free = [op for op in counts.COUNTERS if not counts.COUNTERS[op]([(2, 3), (3, 4)], [(2, 4)], {})]
    assert {opgraph.kind_of(op) for op in free} == {"memory"}
