"""Warm up, sample, stop."""

from __future__ import annotations

import gc

import pytest
from msgspec.structs import replace

from nnprof.profiler.backends.fake import BACKEND
from nnprof.profiler.timing import sample
from nnprof.types import Model, Plan, Target, Workload


def _session(model: Model, **options: float):
    texts = {name: str(value) for name, value in options.items()}
    target = Target(backend="fake", options=texts)
    return BACKEND.open(Workload(model=model, batch=4), target)


def test_samples_are_the_inference_time(model: Model) -> None:
    """Without noise every sample is just what one inference takes, cold start left behind."""
    session = _session(model, cold=50)
    result = sample.clean_pass(session, Plan())
    truth = list(session.beginnings())[-1].sample(1)
    assert result.samples_s == pytest.approx([truth] * len(result.samples_s), rel=1e-6)
    assert result.warmups_s[0] == pytest.approx(50 * truth)


def test_sample_lasts_long_enough(model: Model) -> None:
    """An inference of microseconds is repeated until a sample is long enough for the clock."""
    plan = Plan()
    result = sample.clean_pass(_session(model), plan)
    assert result.loops * result.samples_s[0] >= plan.sample_min_s


def test_slow_inference_is_sampled_all_the_same(model: Model) -> None:
    """An inference longer than all limits is warmed up once, and sampled as often as asked."""
    plan = Plan(min_samples=3)
    result = sample.clean_pass(_session(model, speed=1e-6), plan)
    assert (len(result.warmups_s), len(result.samples_s), result.loops) == (1, 3, 1)


def test_time_is_kept(model: Model) -> None:
    """What is reported as timed is the sum of all warm-ups and samples."""
    plan = replace(Plan(), sample_s=0.1, warmup_s=0.0)
    result = sample.clean_pass(_session(model, speed=1e-3), plan)
    sampled_s = sum(result.samples_s) * result.loops
    assert 0 < result.timed_s - sampled_s <= plan.warmup_limit_s * 2


def test_drifting_warm_up_ends_at_its_limit(model: Model) -> None:
    """A process that never settles leaves the warm-up at the limit instead of hanging."""
    plan = Plan(warmup_limit_s=0.5)
    result = sample.clean_pass(_session(model, drift=0.2), plan)
    assert len(result.samples_s) >= plan.min_samples


def test_collector_is_off_only_inside(model: Model) -> None:
    """The garbage collector is switched back on after sampling."""
    sample.clean_pass(_session(model), Plan())
    assert gc.isenabled()


def test_floor_is_one_call(model: Model) -> None:
    """The floor is the time of one call, not of all its loops."""
    session = _session(model)
    assert sample.floor_s(session) == pytest.approx(list(session.beginnings())[-1].sample(1))


class _Cold:
    """A part that takes a second, and ten more when another one has run before it."""

    last: object = None

    def sample(self, loops: int) -> float:
        cold = 0.0 if _Cold.last is self else 10.0
        _Cold.last = self
        return loops * 1.0 + cold

    def close(self) -> None:
        """Nothing."""


def test_parts_in_turns_are_timed_warm() -> None:
    """Before each sample the part runs once untimed, because the others have emptied its caches."""
    timed = sample.interleaved([_Cold(), _Cold(), _Cold()], budget_s=1.0)
    assert timed.each_s == (1.0, 1.0, 1.0)
