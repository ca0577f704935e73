"""Coefficients, features and intervals on devices whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnprof.networks.spec import parse
from nnprof.profiler.costmodel import (
    features,
    fit,
    intervals,
    joint,
    lowering,
    processor,
    sets,
    solve,
    work,
)
from nnprof.profiler.costmodel.processor import UNKNOWN, Processor
from nnprof.profiler.costmodel.rows import Rows, rows_of
from nnprof.profiler.costmodel.work import Work

LAUNCH_S, FLOP_S, BYTE_S = 2e-6, 1e-11, 1e-10
TRUTH = np.array([LAUNCH_S, FLOP_S, BYTE_S, BYTE_S, BYTE_S])
NAMES = ("launch", "flops", "bytes_in", "bytes_out", "bytes_weights")


def products(count: int, seed: int = 0) -> list[Work]:
    """Fully connected layers of random sizes."""
    random = np.random.default_rng(seed)
    return [
        work.at_batch(work.gemm(*(int(2**size) for size in random.uniform(4, 11, 2))), int(batch))
        for batch in 2 ** random.uniform(0, 10, count)
    ]


def measured(works: list[Work], noise: float = 0.0, seed: int = 0) -> Rows:
    """Their times on the device, with log-normal noise."""
    seconds = features.matrix(NAMES, work.columns_of(works)) @ TRUTH
    seconds *= np.exp(np.random.default_rng(seed).normal(0, noise, len(works)))
    return rows_of(works, seconds, [str(index % 5) for index in range(len(works))])


def test_exact_times_give_the_device_back() -> None:
    """Launch, FLOP/s and bytes/s come out as they went in."""
    rows = measured(products(40))
    found = solve.nnls(features.matrix(NAMES, rows.columns), rows.seconds)
    np.testing.assert_allclose(found, TRUTH, rtol=1e-6)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_coefficients_are_never_negative(seed: int) -> None:
    """Whatever the times."""
    rows = measured(products(20, seed), noise=1.0, seed=seed)
    found = solve.nnls(features.matrix(NAMES, rows.columns), rows.seconds)
    assert (found >= 0).all()


def test_one_wild_row_does_not_move_the_rest() -> None:
    """A row ten times too long counts as an outlier, not as the device."""
    rows = measured(products(40))
    seconds = rows.seconds.copy()
    seconds[3] *= 10
    found = solve.nnls(features.matrix(NAMES, rows.columns), seconds)
    np.testing.assert_allclose(found, TRUTH, rtol=0.05)


def test_work_of_a_kind_that_was_not_seen_is_not_free() -> None:
    """Convolutions of one channel in tell a rate that those of 32 channels have, too."""

    def blocked(channels: int, depth: int, side: int, batch: int) -> Work:
        one = work.conv((channels, side, side), (depth, side - 4, side - 4), 5, 1)
        return work.at_batch(lowering.in_blocks(one, 16), batch)

    seen = [blocked(1, depth, side, batch) for depth in (16, 48, 80) for side in (12, 20, 28)
            for batch in (1, 16, 128)]  # fmt: skip
    found = fit.fit(measured(seen))
    asked = measured([blocked(32, 64, 20, 8)])
    assert 0.5 < fit.seconds_of(found, asked.works)[0] / asked.seconds[0] < 2


def test_batches_of_a_shape_stay_in_one_fold() -> None:
    """Otherwise a shape would be predicted from itself."""
    works = [work.at_batch(work.gemm(64, 32 + size), batch) for size in range(9)
             for batch in (1, 8, 64)]  # fmt: skip
    rows = measured(works)
    fold = solve.folds(rows.shapes)
    for shape in set(rows.shapes):
        assert len(set(fold[rows.shapes == shape])) == 1
    assert len(set(fold)) == solve.FOLDS


def test_simple_features_are_kept_where_they_do() -> None:
    """More features win only by more than a standard error."""
    rows = measured(products(60), noise=0.05)
    assert solve.choose(rows, sets.sets_of("gemm")) == sets.sets_of("gemm")[0]


def test_what_was_not_measured_is_borrowed() -> None:
    """Four rows of one shape keep the launch and the rates of the other ops."""
    many = measured(products(40))
    few = [work.at_batch(work.conv((8, 20, 20), (16, 18, 18), 3, 1), size) for size in (1, 2, 4, 8)]
    seconds = features.matrix(NAMES, work.columns_of(few)) @ TRUTH
    rows = rows_of([*many.works, *few], [*many.seconds, *seconds])
    found = fit.fit(rows)
    assert found["conv"].prior is not None
    assert found["gemm"].prior is None
    np.testing.assert_allclose(fit.seconds_of(found, few), seconds, rtol=0.1)


def activations() -> list[Work]:
    """Ops that move values only."""
    shapes = [(depth, side, side) for depth in (2, 8, 32) for side in (5, 9, 17, 28, 40, 60)]
    return [work.at_batch(work.plain("Relu", shape), 16) for shape in shapes]


def test_few_rows_of_other_work_are_believed() -> None:
    """A normalisation that takes powers, a hundred times slower per byte than copies, stays so."""
    many = measured([*products(40), *activations()])
    odd = [work.at_batch(work.plain("LRN", (16, 20, 20)), size) for size in (2, 30)]
    seconds = [LAUNCH_S + 100 * BYTE_S * (one.bytes_in + one.bytes_out) for one in odd]
    rows = rows_of([*many.works, *odd], [*many.seconds, *seconds])
    asked = work.at_batch(work.plain("LRN", (32, 12, 12)), 16)
    expected = LAUNCH_S + 100 * BYTE_S * (asked.bytes_in + asked.bytes_out)
    assert fit.seconds_of(fit.fit(rows), [asked])[0] == pytest.approx(expected, rel=0.25)


def test_few_pools_tell_what_a_line_costs() -> None:
    """No other op has lines; what the device leaves of the pools' own times is theirs."""
    line_s = 2e-8
    many = measured(activations())

    def pool(depth: int, side: int, batch: int) -> Work:
        one = work.sliding("MaxPool", (depth, side, side), (depth, side // 2, side // 2), 2, 2)
        return work.at_batch(one, batch)

    def seconds(one: Work) -> float:
        moved = BYTE_S * (one.bytes_in + one.bytes_out)
        return LAUNCH_S + moved + line_s * one.batch * one.c_out * one.h_out

    known = [pool(depth, side, batch) for depth in (5, 30) for side in (8, 24)
             for batch in (1, 60)]  # fmt: skip
    rows = rows_of([*many.works, *known], [*many.seconds, *map(seconds, known)], processor=FMA3)
    asked = pool(60, 10, 200)
    found = fit.seconds_of(fit.fit(rows), [asked])[0]
    assert found == pytest.approx(seconds(asked), rel=0.15)


def test_without_rows_the_prior_stands() -> None:
    """The most probable device is then the one that was assumed."""
    prior = TRUTH * 3
    empty = np.zeros((0, len(NAMES)))
    np.testing.assert_allclose(solve.mapped(empty, np.zeros(0), prior), prior)


def test_a_new_device_needs_few_points() -> None:
    """Twelve ops of a device with slower memory beat the old model scaled, by far."""
    old = {"gemm": (NAMES, TRUTH)}
    works = products(200, seed=1)
    new = features.matrix(NAMES, work.columns_of(works)) @ (TRUTH * [1, 0.5, 4, 4, 4])
    found, scale = fit.calibrated(rows_of(works[:12], new[:12]), old)
    plain = scale * (features.matrix(NAMES, work.columns_of(works)) @ TRUTH)
    error = np.abs(fit.seconds_of(found, works) / new - 1).mean()
    assert error < 0.05
    assert error < np.abs(plain / new - 1).mean() / 4


def test_fewer_points_only_scale() -> None:
    """Below six measurements no coefficient moves on its own."""
    rows = measured(products(4))
    found, _ = fit.calibrated(rows, {"gemm": (NAMES, TRUTH / 2)})
    np.testing.assert_allclose(found["gemm"].coefficients, TRUTH)


def test_conformal_factors_cover_what_they_promise() -> None:
    """Of new ops of the same kind about 90 % lie within the factor, in the mean of 8 devices.

    Of a single one the share has a deviation of 3 % itself, with 150 residuals.
    """
    shares = []
    for seed in range(8):
        train = measured(products(150, seed), noise=0.1, seed=seed)
        found = fit.fit(train)
        factor = intervals.factors(found, train)["gemm"]
        assert factor is not None
        asked = measured(products(400, seed + 1), noise=0.1, seed=seed + 1)
        off = np.abs(np.log(fit.seconds_of(found, asked.works) / asked.seconds))
        shares.append((off <= np.log(factor)).mean())
    assert 0.87 <= np.mean(shares) <= 0.93


# A stream of so many bytes moves so many a second: half as many beyond 1 MiB, a quarter beyond 32.
STREAMS = ((1 << 18, 4e10), (1 << 20, 4e10), (1 << 22, 2e10), (1 << 25, 2e10), (1 << 28, 1e10))
FACTS = {"caches": {"L1d": "32K", "L2": "1024K", "L3": "32768K"}}
STREAMING = processor.of_device(FACTS, "", STREAMS)
FMA3 = Processor("fma3", "mlas", (1 << 19, 1 << 25))


def copies(sizes: list[int]) -> Rows:
    """Ops that read and write so many bytes each, as fast as the streams."""
    works = [Work(group="copy", op="Copy", bytes_in=size, bytes_out=size) for size in sizes]
    moved = 2.0 * np.array(sizes)
    past = [np.maximum(moved - (mib << 20), 0) for mib in (1, 32)]
    seconds = LAUNCH_S + moved / 4e10 + past[0] / 4e10 + past[1] / 2e10
    return rows_of(works, seconds.tolist(), processor=STREAMING)


def test_memory_beyond_the_ops_is_known_from_the_bandwidth() -> None:
    """Copies within the caches tell what copies beyond them take, where streams were measured."""
    small, large = copies([2**size for size in range(4, 19)] * 2), copies([1 << 25, 1 << 27])
    found = fit.fit(small)["copy"]
    assert found.expected == pytest.approx(
        {"bytes_moved_past_1m": 2.5e-11, "bytes_moved_past_32m": 5e-11}
    )
    told = fit.seconds_of({"copy": found}, large.works)
    np.testing.assert_allclose(told, large.seconds, rtol=0.05)
    blind = fit.seconds_of(fit.fit(small._replace(processor=UNKNOWN)), large.works)
    assert (blind < 0.5 * large.seconds).all()


def test_rows_outweigh_what_is_expected() -> None:
    """Copies that hide the memory's slowness are believed, not the bandwidth."""
    sizes = [2**size for size in range(4, 28)] * 2
    rows = copies(sizes)
    hidden = rows._replace(seconds=LAUNCH_S + 2.0 * np.array(sizes) / 4e10)
    told = fit.seconds_of(fit.fit(hidden), hidden.works)
    np.testing.assert_allclose(told, hidden.seconds, rtol=0.1)


def test_ops_that_compute_are_expected_to_hide_memory() -> None:
    """Nothing is added to a convolution or a product for it."""
    assert fit.memory("conv", STREAMING) == fit.memory("gemm", STREAMING) == {}


def test_intervals_grow_as_errors_do_beyond_the_measurements() -> None:
    """Where large ops are slower than small ones tell, each doubling widens; else at least 5 %."""
    plain = measured(products(120), noise=0.02)
    bent = plain._replace(seconds=plain.seconds * (plain.seconds / plain.seconds.min()) ** 0.4)
    growth = {}
    for name, rows in (("plain", plain), ("bent", bent)):
        factors = intervals.factors(fit.fit(rows), rows)
        growth[name] = intervals.growths(rows, factors)["gemm"]
    assert growth["plain"] == 0.05
    assert growth["bent"] > 0.1


def test_ops_that_hardly_matter_do_not_widen_intervals() -> None:
    """Errors of ops that count for nothing in the fit say nothing of the others."""
    plain, bent = measured(products(60), noise=0.02), measured(products(60, 1), noise=0.02)
    works = [one._replace(group="gemm-odd") for one in bent.works]
    seconds = bent.seconds * (bent.seconds / bent.seconds.min()) ** 0.4
    growth = []
    for share in (1.0, 1e-6):
        rows = rows_of(
            [*plain.works, *works],
            [*plain.seconds, *seconds],
            shares=[1.0] * 60 + [share] * 60,
        )
        factors = intervals.factors(fit.fit(rows), rows)
        # Of too few rows to tell alone, so that all groups speak for it.
        growth.append(intervals.growths(rows.only(np.arange(120) >= 30), factors)["gemm"])
    assert growth[0] > 0.1
    assert growth[1] == 0.05


def test_the_steps_of_one_library_are_not_those_of_another() -> None:
    """Products of a device whose code is not known are offered what the literature has."""
    plain = {name for names in sets.sets_of("gemm") for name in names}
    known = {name for names in sets.sets_of("gemm", FMA3) for name in names}
    assert "gemm_steps_fma3" in known - plain
    other = {name for names in sets.sets_of("gemm", Processor("fma3")) for name in names}
    assert "vectors_fma3" in other - plain
    assert "gemm_steps_fma3" not in other
    rows = measured(products(60))
    assert not any("steps" in name for name in fit.fit(rows)["gemm"].names)


def test_a_launch_that_no_small_op_shows_is_that_of_the_others() -> None:
    """A group of large ops alone cannot give its launch the time that its features do not tell."""
    small = measured(products(60))
    shapes = [((8, 24, 24), (depth, 20, 20)) for depth in range(20, 40)]
    large = [work.at_batch(work.conv(*sides, 5, 1), 50) for sides in shapes]
    seconds = [1e-4 + 1e-11 * op.flops for op in large]  # many times the launch of the products
    others = [one._replace(group=name) for name in ("gemm-odd", "gemm-even") for one in small.works]
    rows = rows_of(
        [*small.works, *others, *large], [*small.seconds, *small.seconds, *small.seconds, *seconds]
    )
    found = fit.fit(rows)["conv"]
    launch = dict(zip(found.names, found.coefficients, strict=True)).get("launch", 0.0)
    assert launch < 5 * LAUNCH_S


def test_nothing_is_wider_inside_the_measurements() -> None:
    """An op that was measured leaves nothing; four times the largest is two doublings."""
    rows = measured(products(40))
    found = fit.fit(rows)["gemm"]
    inside = intervals.beyond(found, rows.works, rows.works)
    assert not inside.octaves.any()
    assert not inside.untold.any()
    largest = max(rows.works, key=lambda one: one.flops)
    grown = work.at_batch(largest._replace(batch=1.0), 4)
    assert intervals.beyond(found, rows.works, [grown]).octaves[0] == pytest.approx(2, abs=0.05)


def test_too_few_residuals_give_no_factor() -> None:
    """Eight cannot hold 90 %; nine can."""
    assert intervals.factor(np.full(8, 0.1)) is None
    assert intervals.factor(np.full(9, 0.1)) == pytest.approx(np.exp(0.1))


def test_whole_networks_tell_the_terms_of_their_ops() -> None:
    """Times of networks alone, no op timed, predict other networks."""
    networks = [
        lowering.of_spec(parse(f"784 fc{width} fc{width} fc10 linear"), "fused", batch)
        for width in (16, 40, 100, 250, 630, 1600)
        for batch in (1, 8, 64, 512)
    ]
    seconds = np.array([
        1e-5 + (features.matrix(NAMES, work.columns_of(ops)) @ TRUTH).sum() for ops in networks
    ])  # fmt: skip
    names = np.repeat(np.arange(6), 4).astype(str)
    known = names != "5"
    chosen = [ops for ops, keep in zip(networks, known, strict=True) if keep]
    found = joint.fit_networks(chosen, seconds[known], names[known])
    np.testing.assert_allclose(found.seconds(networks[-4:]), seconds[-4:], rtol=0.05)


def test_one_bad_op_does_not_scale_its_group() -> None:
    """A group follows its own ops the more of them there are; one alone is between both."""
    device, own = 2.0, 20.0
    scales = [
        fit._scale(np.full(count, own), np.full(count, weight), device)
        for count, weight in ((1, 0.0), (1, 1.0), (50, 1.0))
    ]
    assert scales[0] == pytest.approx(device)
    assert device < scales[1] < own
    assert scales[2] == pytest.approx(own, rel=0.05)
