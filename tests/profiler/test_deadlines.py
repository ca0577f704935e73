"""FITS, MISSES or UNDECIDED, from the raw samples of cells."""

from __future__ import annotations

import math
from statistics import median

import numpy as np
import pytest
from msgspec.structs import replace

from nnprof.profiler import deadlines, decisions, stats
from nnprof.types import (
    Cell,
    Failure,
    FramePass,
    Image,
    Lost,
    Measurement,
    Model,
    Plan,
    Process,
    Reading,
    Run,
    Singles,
    Study,
    Target,
    Tensor,
    Workload,
)

TILE = Tensor(name="x", dtype="float32", shape=("batch", 1, 28, 28))
MODEL = Model(name="m", path="m.onnx", sha256="m", opset=17, inputs=(TILE,), outputs=(TILE,))
WORK = Workload(model=MODEL, batch=98)
COUNT = 200


def singles(level: float, seed: int, period_s: float = 0.0) -> Singles:
    """Inferences of so many seconds in the median, with a tail."""
    random = np.random.default_rng(seed)
    values = level * np.exp(0.02 * np.abs(random.normal(size=COUNT)))
    return Singles(samples_s=tuple(values.tolist()), period_s=period_s, resolution_s=1e-7)


def cell(work: Workload = WORK, *, timed: bool = True, processes: int = 7) -> Measurement:
    """A cell of about 10 ms, its processes within a percent of each other."""
    levels = [0.01 * (1 + 0.002 * math.sin(number)) for number in range(processes)]
    made = tuple(
        Process(
            round=number, processors=(0,), loops=1, state="steady", floor_s=0.0, open_s=0.0,
            timed_s=1.0, wall_s=1.0, before=Reading(), after=Reading(),
            singles=singles(level, number) if timed else None,
        )
        for number, level in enumerate(levels)
    )  # fmt: skip
    return Measurement(
        workload=work, target=Target(), plan=Plan(), clock="perf_counter",
        samples_s=tuple((level,) * 5 for level in levels), warmups_s=((),) * processes,
        processes=made, stopped="processes",
    )  # fmt: skip


def run(*found: Measurement | Failure, plan: Plan | None = None, more: int = 0) -> Run:
    """A Run of these cells, and of as many more that there was no time for."""
    cells = [Cell(workload=one.workload, target=one.target) for one in found]
    cells += [
        Cell(workload=replace(WORK, batch=1000 + number), target=Target()) for number in range(more)
    ]
    return Run(
        study=Study(name="s", command=(), created="now", plan=plan or Plan(), cells=tuple(cells)),
        environment={},
        measurements=tuple(one for one in found if isinstance(one, Measurement)),
        failures=tuple(one for one in found if isinstance(one, Failure)),
        left_out=tuple(range(len(found), len(cells))),
    )


def test_the_best_batch_is_told_by_its_median() -> None:
    """Of two batches that miss the faster one counts, though its p99 alone is known, and bad."""
    image = Image(height=28 * 14, width=28 * 14)
    slow = cell(replace(WORK, batch=49, image=image), timed=False)  # four inferences
    fast = cell(replace(WORK, batch=98, image=image))  # two, and now and then a slow image
    late = [replace(one, singles=singles(0.05, 1)) for one in fast.processes]
    fast = replace(fast, processes=tuple(late))
    made = deadlines.verdicts(run(slow, fast), 0.001)
    assert [one.word for one in made] == ["MISSES", "MISSES"]
    (best,) = decisions.deciding(map(decisions.of_verdict, made))
    assert best.batch == 98
    assert decisions.decided(made) == "MISSES"


def judged(measurement: Measurement, budget_s: float) -> deadlines.Verdict:
    """The only verdict."""
    (one,) = deadlines.verdicts(run(measurement), budget_s)
    return one


def words(one: deadlines.Verdict) -> tuple[str, str, str, str]:
    """Of the claims, and of the whole."""
    return one.median.word, one.p99.word, one.missed.word, one.word


@pytest.mark.parametrize(
    ("budget_s", "expected"),
    [
        (0.02, ("FITS", "FITS", "FITS", "FITS")),
        (0.0103, ("FITS", "MISSES", "MISSES", "MISSES")),
        (0.01, ("UNDECIDED", "MISSES", "MISSES", "MISSES")),
        (0.005, ("MISSES", "MISSES", "MISSES", "MISSES")),
    ],
)
def test_the_whole_interval_decides(budget_s: float, expected: tuple[str, ...]) -> None:
    """Within the budget FITS, beyond it MISSES, on both sides UNDECIDED; the worst is the whole."""
    assert words(judged(cell(), budget_s)) == expected


def test_at_the_percentile_itself_nothing_is_claimed() -> None:
    """A budget that is just the 99th percentile that was seen is undecided."""
    p99 = judged(cell(), 1.0).p99.estimate
    assert p99 is not None
    assert words(judged(cell(), p99)) == ("FITS", "UNDECIDED", "UNDECIDED", "UNDECIDED")


def test_estimates_are_those_of_the_samples() -> None:
    """The median is that of `stats`; p99 and share are plain counts over all single inferences."""
    found, budget_s = cell(), 0.0104
    one = judged(found, budget_s)
    pooled = sorted(x for process in found.processes for x in process.singles.samples_s)  # type: ignore[union-attr]
    assert one.median.estimate == stats.latency_s(found)
    assert (one.median.low, one.median.high) == stats.interval_s(found)
    assert one.p99.estimate == pooled[math.ceil(0.99 * len(pooled)) - 1]
    assert one.missed.estimate == pytest.approx(sum(x > budget_s for x in pooled) / len(pooled))
    assert one.headroom_s == pytest.approx(budget_s - one.p99.estimate)
    assert (one.samples, one.processes, one.resolution_s) == (7 * COUNT, 7, 1e-7)
    assert stats.percentile_s(found, 0.99) == one.p99.estimate


def test_no_claim_with_too_few_inferences() -> None:
    """600 inferences all within the budget are no FITS: 662 it takes, and the reason says so."""
    one = judged(cell(processes=3), 0.02)
    assert words(one) == ("FITS", "UNDECIDED", "UNDECIDED", "UNDECIDED")
    assert one.p99.reason == "to claim FITS takes 662 single inferences, and there are 600"
    assert one.missed.reason == one.p99.reason
    assert one.p99.least_samples == 662


def test_what_misses_needs_no_more_inferences() -> None:
    """600 are enough for MISSES; only the number that they do not give has a reason."""
    one = judged(cell(processes=3), 0.005)
    assert words(one) == ("MISSES",) * 4
    assert (one.missed.estimate, one.missed.reason) == (1.0, "")
    assert one.p99.estimate is None
    lacks = "but its value takes 662 single inferences, and there are 600"
    assert one.p99.reason == f"it is beyond the budget, {lacks}"


def test_without_single_inferences_the_median_alone_is_judged() -> None:
    """A Run that was measured without a budget; what is not known says why, and is no number."""
    one = judged(cell(timed=False), 0.02)
    assert words(one) == ("FITS", "UNDECIDED", "UNDECIDED", "UNDECIDED")
    assert (one.p99.estimate, one.missed.estimate) == (None, None)
    assert "one by one" in one.p99.reason
    assert one.headroom_s == pytest.approx(0.01, rel=0.01)


def test_a_pass_that_failed_says_why() -> None:
    """Single inferences that were asked for and lost: their error is the reason."""
    bare = cell(timed=False)
    lost = Lost(what="singles", error="OutOfMemory", reason="It does not fit.")
    broken = replace(bare, processes=tuple(replace(p, lost=(lost,)) for p in bare.processes))
    assert "OutOfMemory: It does not fit." in judged(broken, 0.02).p99.reason


def test_one_process_decides_nothing() -> None:
    """A single process tells no spread, so not even the median is judged."""
    one = judged(cell(processes=1), 0.02)
    assert words(one) == ("UNDECIDED",) * 4
    assert "single process" in one.median.reason
    assert "single process" in one.p99.reason


def test_failed_and_left_out_cells_have_their_line() -> None:
    """Every cell that was asked for has a verdict; a failed one is FAILED, with its reason."""
    failed = Failure(
        workload=replace(WORK, batch=1), target=Target(), error="OutOfMemory", reason="Too large."
    )
    good, bad, left = deadlines.verdicts(run(cell(), failed, more=1), 0.02)
    assert (good.word, bad.word, left.word) == ("FITS", "FAILED", "UNDECIDED")
    assert "Too large." in bad.reason
    assert "no time" in left.reason
    assert deadlines.EXIT_CODES[deadlines.worst([good.word, left.word])] == 3
    assert deadlines.EXIT_CODES[deadlines.worst([good.word, left.word, bad.word])] == 1


def test_the_budget_of_the_plan_is_the_default() -> None:
    """A Run without a budget has no verdict, unless it is given one."""
    assert deadlines.verdicts(run(cell())) == ()
    (one,) = deadlines.verdicts(run(cell(), plan=Plan(deadline_s=0.02)))
    assert (one.budget_s, one.word) == (0.02, "FITS")


def test_an_image_is_cut_within_its_budget() -> None:
    """The budget of an image is that of cutting and of all inferences of its tiles."""
    work = replace(WORK, image=Image(height=784, width=784))
    bare = cell(work)
    cut = FramePass(cut_s=(0.02,), whole_s=(0.2,))
    framed = replace(bare, processes=tuple(replace(p, frame=cut) for p in bare.processes))
    one = judged(framed, 0.09)
    assert one.median.estimate == pytest.approx(8 * 0.01 + 0.02, rel=0.01)
    assert one.median.word == "MISSES"
    assert judged(framed, 0.11).median.word == "FITS"
    assert judged(bare, 0.11).median.word == "UNDECIDED"
    assert "cutting is not known" in judged(bare, 0.11).median.reason


def test_a_paced_median_is_of_what_the_camera_waits() -> None:
    """With a period the median is that of the single inferences, lateness and rest included."""
    bare = cell()
    slow = tuple(
        replace(p, singles=replace(p.singles, samples_s=(0.03,) * COUNT, period_s=0.04))
        for p in bare.processes
    )
    assert judged(replace(bare, processes=slow), 0.02).median.estimate == 0.03
    assert judged(replace(bare, processes=slow), 0.02).period_s == 0.04


def test_waits_count_and_are_told_beside() -> None:
    """What another program took is in p99 and missed; without it there is another number beside."""
    bare = cell()
    waited = tuple(
        replace(
            p,
            singles=Singles(
                samples_s=tuple(x + 0.05 * (n < 10) for n, x in enumerate(p.singles.samples_s)),
                waited_s=tuple(0.05 * (n < 10) for n in range(COUNT)),
            ),
        )
        for p in bare.processes
        if p.singles
    )
    one = judged(replace(bare, processes=waited), 0.02)
    assert one.missed.estimate == pytest.approx(10 / COUNT)
    assert one.undisturbed_missed == 0.0
    assert one.undisturbed_p99_s == pytest.approx(judged(bare, 0.02).p99.estimate)
    several = tuple(replace(p, processors=(0, 1)) for p in waited)
    assert judged(replace(bare, processes=several), 0.02).undisturbed_missed is None


def test_spread_is_that_of_processes_after_the_decision() -> None:
    """Processes that were chosen for being close do not tell how far processes are apart."""
    close = cell()
    values = [median(one) for one in close.samples_s]
    assert stats.decided_after(values, close.plan) == 3
    level = deadlines._level(close, values, close.processes)
    assert level is not None
    assert level.freedom == 3
