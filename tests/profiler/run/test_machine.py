"""What is measured once of a machine, on the fake backend."""

from __future__ import annotations

import pytest

from nnprof.errors import BadFile, UsageError
from nnprof.profiler.run import machine
from nnprof.types import Model, Target


def test_a_machine_that_tells_nothing_has_no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where products or streams take no longer than a call, a sentence comes instead of numbers."""
    monkeypatch.setattr(machine, "_times_s", lambda *_: [1e-3])
    with pytest.raises(UsageError, match="a matrix product took no longer than an empty call"):
        machine.measured_limits(Target(backend="fake"))

    def times_s(model: Model, _: Target) -> list[float]:
        return [2e-3 if "x5" in model.path else 1e-3]

    monkeypatch.setattr(machine, "_times_s", times_s)
    with pytest.raises(UsageError, match="any stream took no longer"):
        machine.measured_limits(Target(backend="fake"))


def test_a_precision_that_the_runtime_refuses_has_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime without int8 has the other peaks; one without fp32 has no limits."""

    def times_s(model: Model, _: Target) -> list[float]:
        if model.precision == "int8":
            raise BadFile("It has no QuantizeLinear.", "Leave it out.")
        return [5e-3 if "x5" in model.path or "stream" in model.path else 1e-3]

    monkeypatch.setattr(machine, "_times_s", times_s)
    assert set(machine.measured_limits(Target(backend="fake")).peaks) == {"fp16"}


@pytest.mark.usefixtures("workers_here")
def test_measured_with_the_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake's limits follow from its own constants: bandwidth and peak beyond any machine."""
    monkeypatch.setattr(machine, "_PROCESSES", 1)
    known = machine.measured_limits(Target(backend="fake"))
    assert known.flops_per_s > 0
    assert set(known.peaks) <= {"fp16", "int8"}
    assert known.launch_s == pytest.approx(1e-6, rel=0.01)
    assert [size for size, _ in known.bandwidths] == sorted(size for size, _ in known.bandwidths)


@pytest.mark.usefixtures("workers_here")
def test_measured_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the fake clock, which telemetry cannot disturb, it costs exactly nothing."""
    monkeypatch.setattr(machine, "_PAIRS", 2)
    effect = machine.measured_watching(Target(backend="fake"))
    assert (effect.ratio, effect.low, effect.high) == pytest.approx((1.0, 1.0, 1.0))
