"""One estimate from several methods."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nnprof.profiler.timing import reconcile
from nnprof.types import OpPass, OpTime


def _op(index: int, seconds: float, method: str) -> OpTime:
    return OpTime(
        index=index, node=f"n{index}", op="Conv", kind="conv", inputs=(), outputs=(), origin=(),
        kernel="", seconds=seconds, runs=1, method=method,
    )  # fmt: skip


def combine(passes: list[OpPass]) -> OpPass:
    """The estimate for a clean time of 1 s, with which passes agree unless a test says not."""
    found = reconcile.combine(passes, 1.0)
    assert found is not None
    return found


def _pass(method: str, seconds: list[float], process: int = 0) -> OpPass:
    ops = tuple(_op(index, value, method) for index, value in enumerate(seconds))
    return OpPass(method=method, latency_s=1.0, ops=ops, process=process)


def test_nothing_measured() -> None:
    """Without passes there is no estimate."""
    assert reconcile.combine([], 1.0) is None


def test_small_op_is_believed_alone() -> None:
    """Of an op of one microsecond the isolated time is believed, not the profiler's two."""
    passes = [_pass(m, [t] * 1, p) for p in range(3) for m, t in
              (("runtime", 3e-6), ("isolated", 1e-6), ("differential", 1.1e-6))]  # fmt: skip
    (op,) = combine(passes).ops
    assert op.seconds == pytest.approx(1e-6, rel=0.12)
    assert op.method == "combined"
    assert op.low_s <= op.seconds <= op.high_s


def test_long_op_is_believed_in_its_place() -> None:
    """Of an op of a millisecond that runs too fast alone, the profiler and differences decide."""
    passes = [_pass(m, [t], p) for p in range(3) for m, t in
              (("runtime", 1.0e-3), ("isolated", 0.8e-3), ("differential", 1.02e-3))]  # fmt: skip
    (op,) = combine(passes).ops
    assert op.seconds == pytest.approx(1e-3, rel=0.03)


def test_cold_weights_are_not_believed_warm() -> None:
    """In a network beyond a core's cache, an op that is mostly weights is not believed alone."""
    seconds = {"runtime": 62e-6, "isolated": 30e-6, "differential": 60e-6}
    estimates = []
    for weights in (1000, 1 << 21):
        passes = [_pass(method, [value], p) for p in range(3) for method, value in seconds.items()]
        heavy = [
            replace(one, ops=tuple(replace(op, bytes_weights=weights) for op in one.ops))
            for one in passes
        ]
        estimates.append(combine(heavy).ops[0].seconds)
    assert estimates[1] == pytest.approx(60e-6, rel=0.05)
    assert estimates[0] < estimates[1]


def test_weights_are_as_cold_as_in_the_network() -> None:
    """In a network that just overflows the cache neither colder nor warmer weights are believed.

    Measured: `1x28x28 fc500 fc300 fc100 fc10`, 2.4 MB, in a core's cache of 2 MiB. Alone, through 4
    MB, its products take 58 and 22 µs; of beginnings the first fits, and the second pays for both.
    """
    weights = (1_570_000, 600_000)
    seconds = {
        "runtime": (43e-6, 17e-6),
        "isolated": (58e-6, 22e-6),
        "differential": (24e-6, 30e-6),
    }
    passes = []
    for number in range(3):
        for method, values in seconds.items():
            one = _pass(method, list(values), number)
            rotated = 4_700_000 if method == "isolated" else None
            made = tuple(
                replace(op, bytes_weights=size, rotated_bytes=rotated)
                for op, size in zip(one.ops, weights, strict=True)
            )
            passes.append(replace(one, ops=made, latency_s=62e-6))
    found = reconcile.combine(passes, 62e-6, 2 << 20)
    assert found is not None
    assert [op.seconds for op in found.ops] == pytest.approx([43e-6, 17e-6], rel=0.15)
    # In a cache that holds it all, the beginnings are as warm as the whole.
    warm = reconcile.combine([one for one in passes if one.method != "isolated"], 62e-6, 8 << 20)
    assert warm is not None
    assert warm.ops[0].seconds < 0.8 * found.ops[0].seconds


def test_a_profiler_that_adds_up_is_believed() -> None:
    """What it does between nodes makes the network longer, but none of its ops."""
    alone = _pass("isolated", [1e-6, 2e-6, 100e-6])
    late = replace(_pass("runtime", [3.5e-6, 4.5e-6, 122.5e-6]), latency_s=200e-6)
    wrong = replace(_pass("runtime", [3.5e-6, 4.5e-6, 172.5e-6]), latency_s=200e-6)
    believed, doubted = (reconcile.combine([one, alone], 123e-6) for one in (late, wrong))
    assert believed is not None
    assert doubted is not None
    assert believed.ops[2].seconds > 115e-6
    assert doubted.ops[2].seconds < 130e-6


def test_the_smallest_is_not_favoured() -> None:
    """A method is not believed more because its value, and so a share of it, is smaller."""
    passes = [_pass("runtime", [t], p) for p in range(3) for t in (0.5,)]
    passes += [_pass("differential", [t], p) for p in range(3) for t in (1.5,)]
    (op,) = combine(passes).ops
    assert op.seconds > 1.0


def test_nothing_is_scaled_to_fit() -> None:
    """The estimates are those of the methods, whatever the network takes in all."""
    passes = [_pass("runtime", [1e-3, 2e-3], p) for p in range(3)]
    ops = combine([replace(passes[0], latency_s=9.0)]).ops
    assert [op.seconds for op in ops] == pytest.approx([1e-3, 2e-3])


def test_missing_isolated_ops_are_no_gap() -> None:
    """An isolated pass that lacks an op leaves that op to the other methods."""
    passes = [_pass("runtime", [1e-3, 2e-3]), _pass("isolated", [1e-3])]
    combined = combine(passes)
    assert [op.node for op in combined.ops] == ["n0", "n1"]
    assert combined.ops[1].method == "runtime"


def test_negative_difference_is_no_negative_time() -> None:
    """A difference that noise made negative cannot make an op's time negative."""
    (op,) = combine([_pass("differential", [-1e-6])]).ops
    assert 0 < op.seconds < 1e-6
    assert op.low_s == 0
    assert op.high_s == pytest.approx(2e-6, rel=0.05)


def test_op_that_took_time_alone_takes_time() -> None:
    """A negative difference pulls an op down and widens its interval, but not to nothing.

    Seen on an emulated board: a FusedGemm, "combined", 0.00 ms, without an interval.
    """
    for seconds in (-1e-6, -30e-6, -1e-3):
        passes = [_pass("isolated", [20e-6], p) for p in range(3)]
        passes += [_pass("differential", [seconds], p) for p in range(3)]
        (op,) = combine(passes).ops
        assert 0.5e-6 < op.seconds <= 20e-6
        assert op.low_s < op.seconds < op.high_s
        assert op.high_s >= 20e-6


def test_an_op_alone_is_doubted_by_how_much_calls_differ() -> None:
    """Calls of 4 and of 14 µs: an op that is alone no longer than its call may take microseconds.

    Seen on a noisy machine: convolutions of "0.0002 µs", at 21 TFLOP/s, with an interval of 0.2 µs.
    """

    def found(*calls_s: float) -> OpTime:
        passes = [_pass("isolated", [1e-9], p) for p in range(len(calls_s))]
        passes += [
            OpPass(method="floor", latency_s=one, ops=(), process=p)
            for p, one in enumerate(calls_s)
        ]
        return combine(passes).ops[0]

    assert found(4e-6, 14e-6, 13e-6).high_s > 5e-6
    assert found(4e-6, 4e-6, 4e-6).high_s < 0.3e-6
    assert found(4e-6).high_s < 0.3e-6


def _three(runtime: float, isolated: float, differential: float) -> OpTime:
    seconds = {"runtime": runtime, "isolated": isolated, "differential": differential}
    passes = [_pass(method, [time], p) for p in range(3) for method, time in seconds.items()]
    return combine(passes).ops[0]


def test_methods_that_disagree_widen_the_interval() -> None:
    """Of 1.30, 0.70 and 1.00 ms the interval holds all three: one is wrong, and which is unknown.

    By hand: errors of 2 %, 10 % and √(1² + 0.4²) % of 1.00 ms give a mean of 1.064 ± 0.0095 ms, χ²
    of the three is 180, and the Birge ratio √(180/2) = 9.5.
    """
    op = _three(1.3e-3, 0.7e-3, 1.0e-3)
    assert op.disagreement == pytest.approx(9.5, rel=0.03)
    assert op.low_s == pytest.approx(0.7e-3)
    assert op.high_s == pytest.approx(1.3e-3)
    agreed = _three(1.0e-3, 1.0e-3, 1.0e-3)
    assert agreed.disagreement == pytest.approx(0.0, abs=1e-9)
    # 2/√(1/2² + 1/10² + 1/1.08²) % of 1.00 ms: two standard errors, no less.
    assert agreed.high_s - agreed.seconds == pytest.approx(0.0189e-3, rel=0.03)


@given(st.floats(1.0, 3.0), st.floats(1.0, 1.5))
def test_more_disagreement_is_no_narrower(apart: float, more: float) -> None:
    """An interval never shrinks when a method moves away from the others, and holds the mean."""
    near, far = (_three(1e-3 * factor, 1e-3, 1e-3) for factor in (apart, apart * more))
    assert far.high_s - far.low_s >= (near.high_s - near.low_s) * (1 - 1e-6)
    for op in (near, far):
        assert op.low_s <= op.seconds <= op.high_s


def test_a_method_alone_disagrees_with_nobody() -> None:
    """Of one method there is an interval, but no ratio."""
    (op,) = combine([_pass("runtime", [1e-3], p) for p in range(3)]).ops
    assert op.disagreement is None
    assert op.high_s - op.seconds == pytest.approx(2 * math.hypot(0.02e-3, 2e-6), rel=1e-3)


def test_wider_spread_wider_interval() -> None:
    """Processes that disagree make a wider interval."""
    calm = combine([_pass("runtime", [t], p) for p, t in enumerate([1e-3] * 3)])
    wild = combine([_pass("runtime", [t], p) for p, t in enumerate([1e-3, 2e-3, 3e-3])])
    width = [op.high_s - op.low_s for op in (calm.ops[0], wild.ops[0])]
    assert width[1] > 2 * width[0]


def test_pass_that_distorts_is_doubted() -> None:
    """A pass in which the network took three times as long is hardly believed."""
    slow = replace(_pass("differential", [3e-3]), latency_s=3.0)
    (op,) = combine([_pass("runtime", [1e-3]), _pass("isolated", [1e-3]), slow]).ops
    assert op.seconds == pytest.approx(1e-3, rel=0.02)


def test_ops_are_matched_by_place() -> None:
    """A node that has another name in another session is still the same op."""
    passes = [_pass("isolated", [1e-6, 5e-6]), _pass("differential", [1e-6, 5e-6])]
    first, second = passes[1].ops
    swapped = (replace(first, node=second.node), replace(second, node=first.node))
    found = combine([passes[0], replace(passes[1], ops=swapped)])
    assert [op.seconds for op in found.ops] == pytest.approx([1e-6, 5e-6])


def test_cost_of_the_profiler_is_taken_off() -> None:
    """What the profiler adds to ops that ran alone is taken off the ones that could not."""
    alone = _pass("isolated", [1e-6, 2e-6, 100e-6])
    passes = [_pass("runtime", [3.5e-6, 4.5e-6, 102.5e-6, 3e-6]), alone]
    found = combine(passes).ops
    assert found[3].method == "runtime"
    assert found[3].seconds == pytest.approx(0.5e-6, abs=1e-9)
    assert found[2].seconds == pytest.approx(100e-6, rel=1e-3)


@pytest.mark.parametrize("doubt_s", [0.05e-6, 0.4e-6])
def test_a_pass_that_knows_its_error_is_believed(doubt_s: float) -> None:
    """An op of a microsecond is doubted by what the pass saw, not by two, however long it took."""
    one = _pass("runtime", [1e-6, 7e-6])
    own = tuple(replace(op, high_s=op.seconds + 2 * doubt_s) for op in one.ops)
    found = reconcile.combine([replace(one, latency_s=20e-6, ops=own)], 8e-6)
    assert found is not None
    assert found.ops[0].seconds == pytest.approx(1e-6)
    half_s = math.hypot(doubt_s, 0.02e-6, 0.05e-6)  # 2 % of the method, 5 % for a single process
    assert found.ops[0].high_s == pytest.approx(1e-6 + 2 * half_s, rel=1e-3)


def test_a_view_takes_no_longer_than_the_shortest_op() -> None:
    """What the profiler says of a reshape is mostly itself; a start is all that it costs."""
    view = replace(_op(0, 6e-6, "runtime"), op="Reshape")
    others = [_op(index, 4e-6, "runtime") for index in (1, 2)]
    runtime = OpPass(method="runtime", latency_s=1.0, ops=(view, *others))
    alone = OpPass(
        method="isolated", latency_s=1.0, ops=(_op(1, 1e-6, "isolated"), _op(2, 2e-6, "isolated"))
    )
    found = combine([runtime, alone]).ops
    assert found[0].seconds == pytest.approx(1e-6)
    assert found[0].low_s <= found[0].seconds <= found[0].high_s


def test_some_disagreement_widens_by_the_birge_ratio() -> None:
    """Of two methods 1.5 times too far apart for their errors the interval is 1.5 times as wide.

    With errors of 1, values ±d around the mean have a χ² of 2d², and so a ratio of √2·d.
    """
    mean, low, high, ratio = reconcile._mean([1.0, 1.0], [9.0, 9.0 + 1.5 * 2**0.5], view=False)
    assert ratio == pytest.approx(1.5)
    assert high - mean == pytest.approx(1.5 * 2 / 2**0.5)
    assert mean - low == pytest.approx(1.5 * 2 / 2**0.5)


def test_nothing_seen_is_half_a_normal_error() -> None:
    """Where no method saw any time, it is √(2/π) of the error, at most two; a view takes none."""
    error = 1 / 2**0.5
    mean, low, high, _ = reconcile._mean([1.0, 1.0], [0.0, 0.0], view=False)
    assert (mean, low, high) == pytest.approx((0.797885 * error, 0.0, 2 * error), rel=1e-5)
    assert reconcile._mean([1.0, 1.0], [0.0, 0.0], view=True)[0] == 0.0
    assert reconcile._mean([4.0], [5.0], view=False) == (5.0, 4.0, 6.0, None)


def test_far_disagreement_reaches_from_the_least_to_the_most() -> None:
    """Beyond twice the errors the interval holds all values, and what the ratio gives."""
    mean, low, high, ratio = reconcile._mean([100.0, 100.0, 1.0], [1.0, 2.0, 9.0], view=False)
    assert ratio is not None
    assert ratio > reconcile.DISAGREE
    reach = 2 * ratio / 201**0.5
    assert high == max(9.0, mean + reach)
    assert low == pytest.approx(min(1.0, mean - reach))
