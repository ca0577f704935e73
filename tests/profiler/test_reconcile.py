"""One estimate from several methods."""

from __future__ import annotations

import pytest

from nnprof.profiler import reconcile
from nnprof.types import OpPass, OpTime


def _op(index: int, seconds: float, method: str) -> OpTime:
    return OpTime(
        index=index, node=f"n{index}", op="Conv", kind="conv", inputs=(), outputs=(), origin=(),
        kernel="", seconds=seconds, runs=1, method=method,
    )  # fmt: skip


def _pass(method: str, seconds: list[float], process: int = 0) -> OpPass:
    ops = tuple(_op(index, value, method) for index, value in enumerate(seconds))
    return OpPass(method=method, latency_s=sum(seconds), ops=ops, process=process)


def test_nothing_measured() -> None:
    """Without passes there is no estimate."""
    assert reconcile.combine([]) is None


def test_small_op_is_believed_alone() -> None:
    """Of an op of one microsecond the isolated time is believed, not the profiler's two."""
    passes = [_pass(m, [t] * 1, p) for p in range(3) for m, t in
              (("runtime", 3e-6), ("isolated", 1e-6), ("differential", 1.1e-6))]  # fmt: skip
    (op,) = reconcile.combine(passes).ops
    assert op.seconds == pytest.approx(1e-6, rel=0.12)
    assert op.method == "combined"
    assert op.low_s <= op.seconds <= op.high_s


def test_long_op_is_believed_in_its_place() -> None:
    """Of an op of a millisecond that runs too fast alone, the profiler and differences decide."""
    passes = [_pass(m, [t], p) for p in range(3) for m, t in
              (("runtime", 1.0e-3), ("isolated", 0.8e-3), ("differential", 1.02e-3))]  # fmt: skip
    (op,) = reconcile.combine(passes).ops
    assert op.seconds == pytest.approx(1e-3, rel=0.03)


def test_nothing_is_scaled_to_fit() -> None:
    """The estimates are those of the methods, whatever the network takes in all."""
    passes = [_pass("runtime", [1e-3, 2e-3], p) for p in range(3)]
    ops = reconcile.combine([OpPass(method="runtime", latency_s=9.0, ops=passes[0].ops)]).ops
    assert [op.seconds for op in ops] == pytest.approx([1e-3, 2e-3])


def test_missing_isolated_ops_are_no_gap() -> None:
    """An isolated pass that lacks an op leaves that op to the other methods."""
    passes = [_pass("runtime", [1e-3, 2e-3]), _pass("isolated", [1e-3])]
    combined = reconcile.combine(passes)
    assert [op.node for op in combined.ops] == ["n0", "n1"]
    assert combined.ops[1].method == "runtime"


def test_negative_difference_is_no_negative_time() -> None:
    """A difference that noise made negative cannot make an op's time negative."""
    (op,) = reconcile.combine([_pass("differential", [-1e-6])]).ops
    assert op.seconds == 0
    assert op.low_s == 0


def test_wider_spread_wider_interval() -> None:
    """Processes that disagree make a wider interval."""
    calm = reconcile.combine([_pass("runtime", [t], p) for p, t in enumerate([1e-3] * 3)])
    wild = reconcile.combine([_pass("runtime", [t], p) for p, t in enumerate([1e-3, 2e-3, 3e-3])])
    width = [op.high_s - op.low_s for op in (calm.ops[0], wild.ops[0])]
    assert width[1] > 2 * width[0]
