"""The limits of the machine."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from nnprof.profiler.place import kept, limits
from nnprof.profiler.place.limits import Roofline
from nnprof.profiler.place.place import Place
from nnprof.profiler.report import rows
from nnprof.types import Cell, OpTime, Plan, Run, Study, Target

LIMITS = Roofline(flops_per_s=1e9, bandwidths=((1000, 1e9), (1 << 30, 1e8)), launch_s=1e-7)
ENVIRONMENT = {
    "device": {"name": "cpu", "model": "Z80", "extensions": [], "processors": 1, "caches": {}},
    "backend": {"name": "fake", "version": "1"},
}


def _op(flops: int | None, moved: int) -> OpTime:
    return OpTime(
        index=0, node="n", op="Conv", kind="conv", inputs=(), outputs=(), origin=(), kernel="",
        seconds=1.0, runs=1, method="combined", flops=flops, bytes_in=moved, bytes_out=0,
    )  # fmt: skip


def _product(op: str, bytes_in: int, bytes_out: int, kind: str = "gemm") -> OpTime:
    """A million FLOPs on 1000 values of so many bytes each."""
    return OpTime(
        index=0, node="n", op=op, kind=kind, inputs=((10, 100), (100, 100)), outputs=((10, 100),),
        origin=(), kernel="", seconds=1.0, runs=1, method="combined", flops=1_000_000,
        bytes_in=1000 * bytes_in, bytes_out=1000 * bytes_out,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flops", "moved", "seconds", "bound"),
    [
        (1_000_000, 100, 1e-3, "compute"),
        (10, 1000, 1e-6, "memory"),
        (10, 1001, 1001e-8, "memory"),
        (10, 10, 1e-7, "launch"),
    ],
)
def test_what_binds(flops: int, moved: int, seconds: float, bound: str) -> None:
    """The largest of work, bytes at the rate of their size, and launch is the limit."""
    limit = LIMITS.limit(_op(flops, moved))
    assert limit is not None
    assert limit[0] == pytest.approx(seconds)
    assert limit[1] == bound


def test_uncounted_op_has_no_limit() -> None:
    """An op whose work we cannot count is not held against anything."""
    assert LIMITS.limit(_op(None, 10)) is None


@pytest.mark.parametrize(
    ("op", "moved", "peak"),
    [
        (_product("Gemm", 4, 4), 4, "fp32"),
        (_product("Gemm", 2, 2), 2, "fp16"),
        (_product("Convolution", 1, 1), 1, "int8"),
        (_product("FullyConnected", 1, 4), 1, "int8"),  # its output is scaled back to float32
        (_product("QGemm", 1, 4), 1, "int8"),
        (_product("DynamicQuantizeMatMul", 4, 4), 4, "int8"),  # whole inside, by its type
        (_product("QuantizeLinear", 4, 1, "elementwise"), 4, "fp32"),
    ],
)
def test_an_op_is_held_against_the_peak_of_its_own_precision(
    op: OpTime, moved: int, peak: str
) -> None:
    """int8 and fp16 products have peaks of their own; without one there is no limit, not fp32's."""
    assert limits.precision_of(op) == peak
    peaks = {"fp16": 2e9, "int8": 8e9}
    known = replace(LIMITS, launch_s=0.0, bandwidths=((1 << 40, 1e30),), peaks=peaks)
    found = known.limit(op)
    assert found is not None
    assert found == (pytest.approx(1e6 / {"fp32": 1e9, **peaks}[peak]), "compute")
    if peak != "fp32":
        assert replace(known, peaks={}).limit(op) is None


def test_streams_that_the_call_hides_give_no_bandwidth() -> None:
    """A stream no slower than an empty call has no rate; none of those left is below 0."""
    streams = {1000: 9e-6, 4000: 10e-6, 8000: 10.3e-6, 1 << 20: 20e-6, 1 << 30: 1.01e-3}
    found = limits.bandwidths(streams, call_s=10e-6, spread_s=0.2e-6)
    assert found == ((1 << 20, pytest.approx((1 << 20) / 10e-6)), (1 << 30, (1 << 30) / 1e-3))
    # Of a clock that repeats itself a percent of the call still counts.
    assert limits.bandwidths({1000: 10.05e-6, 2000: 10.2e-6}, 10e-6, 0.0)[0][0] == 2000
    assert limits.bandwidths({1000: 9e-6}, 10e-6, 0.0) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"bandwidths": ((1000, -1.0),)},
        {"bandwidths": ((1000, 0.0),)},
        {"bandwidths": ()},
        {"flops_per_s": 0.0},
        {"peaks": {"int8": -3.0}},
        {"peaks": {"fp16": float("inf")}},
        {"launch_s": -1e-9},
    ],
)
def test_limits_of_no_machine_are_refused(wrong: dict[str, Any]) -> None:
    """No rate is 0, below 0 or endless, in memory as in a file."""
    with pytest.raises(ValueError, match="must be"):
        replace(LIMITS, **wrong)


def test_a_view_is_bound_by_its_launch() -> None:
    """A Reshape moves nothing, so its bytes set no limit."""
    op = OpTime(
        index=0, node="r", op="Reshape", kind="memory", inputs=((4,),), outputs=((2, 2),),
        origin=(), kernel="", seconds=1e-6, runs=1, method="combined",
        flops=0, bytes_in=1 << 30, bytes_out=1 << 30,
    )  # fmt: skip
    known = Roofline(flops_per_s=1e9, bandwidths=((1 << 40, 1e9),), launch_s=1e-7)
    assert known.limit(op) == (1e-7, "launch")


def test_a_run_states_its_own_limits(cells: tuple[Cell, ...]) -> None:
    """What stands in a Run counts, wherever it is read, and nothing that this machine has kept."""
    kept.save(LIMITS, Place(Target(), ENVIRONMENT))
    stated = replace(LIMITS, launch_s=2e-7, peaks={"int8": 5.0})
    told = {**ENVIRONMENT, "roofline": msgspec.to_builtins(stated)}
    assert limits.stated(told) == stated
    old = {"flops_per_s": 1e9, "bandwidths": [[1000, 1e9]], "launch_s": 0.0}
    assert limits.stated({"roofline": old}) == replace(
        LIMITS, bandwidths=((1000, 1e9),), launch_s=0.0
    )
    assert limits.stated({**ENVIRONMENT, "roofline": None}) is None
    assert limits.stated({"imported": "a table"}) is None
    study = Study(name="one", command=(), created="", plan=Plan(), cells=cells)
    assert rows.roof(Run(study=study, environment=told)) == stated
