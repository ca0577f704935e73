"""What looks between ops cost is taken off, and how much it varies is the doubt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from time import perf_counter

import pytest

from nnprof.profiler.backends import watched
from nnprof.profiler.backends.watched import Look, Looked
from nnprof.profiler.ports import OpNode

NODES = tuple(OpNode(node=name, op="Conv", kind="conv") for name in ("a", "b"))


def _spent(seconds: float) -> None:
    end = perf_counter() + seconds
    while perf_counter() < end:
        pass


def test_what_a_look_costs_is_taken_off_each_op() -> None:
    """By op, never below nothing; the inference itself is told as it was watched."""
    looked, idle = Looked(9e-6, (5e-6, 2e-6)), Looked(5e-6, (1e-6, 3e-6))
    found = watched.op_pass(NODES, lambda _: looked, lambda _: idle, 0.01, ("fast", "slow"))
    assert [op.seconds for op in found.ops] == pytest.approx([4e-6, 0.0])
    assert [op.kernel for op in found.ops] == ["fast", "slow"]
    assert found.latency_s == 9e-6
    assert found.method == "runtime"


@pytest.mark.parametrize(
    ("costs_s", "outside_s", "doubt_s"),
    [((0.5e-6, 1e-6, 1.5e-6), 1e-6, 0.5e-6), ((1e-6,), 3e-6, 1e-6), ((1e-6,), 0.5e-6, 0.0)],
)
def test_an_op_is_doubted_by_what_looking_may_have_cost_else(
    costs_s: tuple[float, ...], outside_s: float, doubt_s: float
) -> None:
    """By how much its cost varies, and by how much dearer it is amid the ops, for each op."""
    costs = cycle(costs_s)

    def idle(_: Look) -> Looked:
        cost_s = next(costs)
        return Looked(2 * cost_s + 1e-6, (cost_s, cost_s))

    watch = Looked(7e-6 + outside_s, (5e-6, 2e-6))
    found = watched.op_pass(NODES, lambda _: watch, idle, 0.01)
    for op, seconds in zip(found.ops, (4e-6, 1e-6), strict=True):
        assert op.seconds == pytest.approx(seconds, abs=1e-9)
        assert op.high_s is not None
        assert (op.high_s - op.seconds) / 2 == pytest.approx(doubt_s, rel=0.05, abs=1e-12)


def test_the_budget_pays_for_idle_looks_too() -> None:
    """Time that only tells the cost of looking is time of the pass."""

    def idle(_: Look) -> Looked:
        _spent(1e-3)
        return Looked(0.0, (0.0, 0.0))

    found = watched.op_pass(NODES, lambda _: Looked(1e-6, (1e-6, 0.0)), idle, 0.02)
    assert found.ops[0].runs <= 20
    assert found.timed_s >= 1e-3 * found.ops[0].runs


@pytest.mark.parametrize(("long", "seconds"), [(True, 4e-3), (False, 1.0)])
def test_looks_of_long_inferences_are_at_a_clock_of_their_own(
    monkeypatch: pytest.MonkeyPatch, long: bool, seconds: float
) -> None:
    """It stands still in waits, which each inference of many milliseconds has on a busy machine.

    Of short ones some have none, and reading it would cost more than their ops.
    """
    now_s = 0.0

    @contextmanager
    def own_clock() -> Iterator[Look]:
        yield lambda: now_s

    def watch(look: Look) -> Looked:
        nonlocal now_s
        start_s = look()
        now_s += seconds
        _spent(6e-3 if long else 1e-4)
        return Looked(look() - start_s, (look() - start_s, 0.0))

    monkeypatch.setattr(watched.waits, "own_clock", own_clock)
    found = watched.op_pass(NODES, watch, lambda _: Looked(0.0, (0.0, 0.0)), 0.05)
    assert (found.ops[0].seconds == pytest.approx(seconds)) == long
