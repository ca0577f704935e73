"""Inferences timed one by one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from nnprof.profiler import waits
from nnprof.profiler.backends.fake import BACKEND, FakeSession
from nnprof.profiler.timing import singles
from nnprof.types import Clock, Model, Plan, Target, Workload


def session(model: Model, **options: object) -> FakeSession:
    """The tiny network on the fake backend."""
    texts = {name: str(value) for name, value in options.items()}
    return BACKEND.open(Workload(model=model, batch=4), Target(backend="fake", options=texts))


def test_each_inference_has_a_sample(model: Model) -> None:
    """A network of microseconds has single times, as many as fit into the pass, up to 2000."""
    one = session(model, noise=0.1)
    found = singles.measure(one, one, Plan(singles_s=1e-3))
    assert sum(found.samples_s[:-1]) < 1e-3 <= sum(found.samples_s)
    assert len(set(found.samples_s)) > 50
    assert len(singles.measure(one, one, Plan(singles_s=10.0)).samples_s) == 2000


def test_a_slow_one_has_a_sample_all_the_same(model: Model) -> None:
    """An inference longer than the pass is timed once."""
    one = session(model, speed=1e-6)
    assert len(singles.measure(one, one, Plan(singles_s=0.5)).samples_s) == 1


def test_paced_ones_begin_at_their_period(model: Model) -> None:
    """The session pauses for the rest of each period; a pass of 10 ms has 10 of 1 ms."""
    one = session(model)
    paused: list[float] = []
    one.pause = paused.append  # type: ignore[method-assign]
    found = singles.measure(one, one, Plan(singles_s=0.01, period_s=1e-3))
    assert len(found.samples_s) == 10
    assert found.late_s == (0.0,) * 10
    assert paused == pytest.approx([1e-3 - found.samples_s[0]] * 9, rel=1e-3)


def test_a_network_slower_than_its_period_is_ever_later(model: Model) -> None:
    """Each inference adds what it lacks; nothing is dropped, nothing is paused."""
    one = session(model)
    each_s = one.sample(1)
    found = singles.measure(one, one, Plan(singles_s=10 * each_s, period_s=each_s / 2))
    late = [number * each_s / 2 for number in range(len(found.late_s))]
    assert found.late_s == pytest.approx(late, abs=1e-8)
    assert found.latencies_s[-1] == pytest.approx(late[-1] + each_s, abs=1e-8)


def test_what_is_over_cannot_be_paced(model: Model) -> None:
    """A session that hands out recorded times says why it has no paced ones."""
    one = session(model)
    one.live = False  # type: ignore[attr-defined]
    assert "nothing can pace" in singles.measure(one, one, Plan(singles_s=1, period_s=1)).unknown


class _Here:
    """A session that sleeps, on our own clock."""

    clock: Clock = "perf_counter"

    def sample(self, _: int) -> float:
        start = time.perf_counter()
        time.sleep(1e-4)
        return time.perf_counter() - start

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        """Nothing."""


def test_the_clock_is_read_for_its_step() -> None:
    """Our clock's resolution is a step that was seen: above 0, far below a millisecond."""
    one = _Here()
    found = singles.measure(one, one, Plan(singles_s=1e-3))  # type: ignore[arg-type]
    assert 0 < found.resolution_s < 1e-3


def test_waits_are_beside_each_sample() -> None:
    """Where the kernel counts waits each sample has its own, and files are closed afterwards."""
    one = _Here()
    before = len(list(Path("/proc/self/fd").iterdir()))
    found = singles.measure(one, one, Plan(singles_s=1e-3))  # type: ignore[arg-type]
    counted = waits.Undisturbed(one, one.clock).counted
    assert len(found.waited_s) == (len(found.samples_s) if counted else 0)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
