"""The limits of the machine."""

from __future__ import annotations

import msgspec
import pytest

from nnprof.profiler import roofline
from nnprof.profiler.roofline import Roofline
from nnprof.types import OpTime, Target

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


def test_kept_for_the_same_machine_only() -> None:
    """Limits are found again for the same machine, runtime and threads, and for no other."""
    roofline.save(LIMITS, ENVIRONMENT, 1)
    other = {**ENVIRONMENT, "backend": {"name": "fake", "version": "2"}}
    assert roofline.load(ENVIRONMENT, 1) == LIMITS
    assert roofline.load(ENVIRONMENT, 2) is None
    assert roofline.load(other, 1) is None


@pytest.mark.usefixtures("workers_here")
def test_measured_with_the_fake() -> None:
    """The fake's limits follow from its own constants: bandwidth and peak beyond any machine."""
    limits = roofline.measure(Target(backend="fake"))
    assert limits.flops_per_s > 0
    assert limits.launch_s == pytest.approx(1e-6, rel=0.01)
    assert [size for size, _ in limits.bandwidths] == sorted(size for size, _ in limits.bandwidths)


def test_a_view_is_bound_by_its_launch() -> None:
    """A Reshape moves nothing, so its bytes set no limit."""
    op = OpTime(
        index=0, node="r", op="Reshape", kind="memory", inputs=((4,),), outputs=((2, 2),),
        origin=(), kernel="", seconds=1e-6, runs=1, method="combined",
        flops=0, bytes_in=1 << 30, bytes_out=1 << 30,
    )  # fmt: skip
    limits = Roofline(flops_per_s=1e9, bandwidths=((1 << 40, 1e9),), launch_s=1e-7)
    assert limits.limit(op) == (1e-7, "launch")


def test_a_run_states_its_own_limits() -> None:
    """What stands in a Run counts, wherever it is read; else what was kept; imported, neither."""
    roofline.save(LIMITS, ENVIRONMENT, 1)
    stated = msgspec.structs.replace(LIMITS, launch_s=2e-7)
    told = {**ENVIRONMENT, "roofline": msgspec.to_builtins(stated)}
    assert roofline.stated(told, 1) == stated
    assert roofline.stated({**ENVIRONMENT, "roofline": None}, 1) == LIMITS
    assert roofline.stated({"imported": "a table"}, 1) is None
