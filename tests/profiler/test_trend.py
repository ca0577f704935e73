"""Cells over many Runs: steps, drifts, and what is neither."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import commands
import numpy as np
import pytest
from msgspec.structs import replace

from nnprof.errors import UsageError
from nnprof.profiler import changes, results, series, trend
from nnprof.profiler.report import shown_trend
from nnprof.types import Failure, Run

GOLDEN = results.load(Path(__file__).parents[1] / "data" / "run-v2.json")
STATE = 0.003  # of a Run: what all its processes share


def _run(number: int, levels: Sequence[float], version: str = "1.0", batch: int = 1) -> Run:
    """A Run of one cell, whose processes have these times."""
    (pattern, *_) = (one for one in GOLDEN.measurements if len(one.processes) > 0)
    cell = replace(
        pattern,
        workload=replace(pattern.workload, batch=batch),
        samples_s=tuple((float(one),) for one in levels),
        warmups_s=tuple((1.0,) for _ in levels),
        processes=tuple(
            replace(pattern.processes[0], round=at, waited_s=()) for at in range(len(levels))
        ),
        ops=None,
        op_passes=(),
        idle=(),
        stopped="processes",
    )
    began = datetime(2026, 11, 1, tzinfo=timezone.utc) + timedelta(days=number)
    environment = {**GOLDEN.environment, "backend": {"name": "fake", "version": version}}
    return replace(
        GOLDEN,
        study=replace(GOLDEN.study, created=began.isoformat()),
        environment=environment,
        measurements=(cell,),
        failures=(),
    )


def _logs(count: int, level: Callable[[int], float], state: float, seed: int) -> list[list[float]]:
    random = np.random.default_rng(seed)
    return [
        list(level(at) + random.normal(0, state) + random.normal(0, 0.005, 5))
        for at in range(count)
    ]


def _runs(count: int, level: Callable[[int], float], seed: int = 0) -> list[Run]:
    """Runs whose logarithms of time are these and some noise."""
    return [_run(at, 1e-3 * np.exp(own)) for at, own in enumerate(_logs(count, level, STATE, seed))]


def _only(runs: Sequence[Run]) -> trend.CellTrend:
    (cell,) = trend.trend(runs).cells
    return cell


def test_a_step_is_found_with_what_changed_beside_it() -> None:
    """A level that rises by 5 % with a new version: the step is at that Run, and names it."""
    runs = _runs(20, lambda at: 0.05 * (at >= 12))
    new = {"name": "fake", "version": "1.1"}
    runs[12:] = [replace(one, environment={**one.environment, "backend": new}) for one in runs[12:]]
    cell = _only(runs)
    (step,) = cell.steps
    assert (step.at, step.created) == (12, runs[12].study.created)
    assert step.change == pytest.approx(0.05, abs=0.01)
    assert step.changed == (("version", "1.0", "1.1"),)
    assert cell.drift is None


def test_two_steps_are_two() -> None:
    """Up at Run 10 and down at Run 20: both are found, at their Runs."""
    cell = _only(_runs(30, lambda at: 0.05 * (10 <= at < 20)))
    assert [step.at for step in cell.steps] == [10, 20]
    assert [step.change > 0 for step in cell.steps] == [True, False]


def test_a_slow_drift_over_twenty_runs_shows() -> None:
    """4 % over twenty Runs, of which no neighbours differ beyond noise: a drift, and no step."""
    cell = _only(_runs(20, lambda at: 0.04 * at / 19))
    assert cell.steps == ()
    assert cell.drift is not None
    assert cell.drift.low <= 0.04 / 19 <= cell.drift.high
    assert cell.drift.total == pytest.approx(0.04, abs=0.01)


def test_a_single_last_run_is_no_step() -> None:
    """One Run that is off is no level: nothing is called on it."""
    assert _only(_runs(12, lambda at: 0.2 * (at == 11))).steps == ()


@pytest.mark.parametrize("state", [0.0, 0.01])
def test_it_seldom_cries_wolf(state: float) -> None:
    """In Runs without a change, each with a state of its own, a step is called in few of 100."""
    many = [_logs(20, lambda _: 0.0, state, seed) for seed in range(100)]
    steps = [series.cuts(one) for one in many]
    assert sum(bool(one) and one[0][1] <= changes.ERROR for one in steps) <= 10
    assert sum(series.drift(one).doubt <= changes.ERROR for one in many) <= 10


def test_many_cells_do_not_make_luck_a_finding() -> None:
    """Of 40 cells without a change hardly one is called changed, for their doubts are shared."""
    parts = [
        [_run(at, 1e-3 * np.exp(own), batch=seed + 1).measurements[0]
         for at, own in enumerate(_logs(10, lambda _: 0.0, 0.01, seed))]
        for seed in range(40)
    ]  # fmt: skip
    runs = [
        replace(_run(at, [1.0]), measurements=cells)
        for at, cells in enumerate(zip(*parts, strict=True))
    ]
    found = trend.trend(runs)
    assert len(found.cells) == 40
    assert sum(bool(one.steps or one.drift) for one in found.cells) <= 2


def test_few_runs_are_listed_and_not_judged() -> None:
    """With seven Runs there are first, last and change, and a sentence on what is missing."""
    runs = _runs(7, lambda at: 0.1 * (at >= 4))
    cell = _only(runs)
    assert (cell.judged, cell.steps, cell.drift) == (False, (), None)
    assert cell.change == pytest.approx(np.expm1(0.1), abs=0.02)
    assert "Steps and drifts take 8 Runs" in " ".join(shown_trend.lines(trend.trend(runs)))


def test_order_is_that_of_time_and_copies_count_once() -> None:
    """Runs in any order, one of them twice, are the same trend."""
    runs = _runs(10, lambda at: 0.01 * at)
    assert trend.trend([*runs[::-1], runs[3]]) == trend.trend(runs)


def test_unlike_machines_are_not_joined() -> None:
    """Runs of two devices are two lines, each with its own Runs."""
    runs = _runs(12, lambda at: 0.3 * (at % 2))
    other = {**(GOLDEN.environment.get("device") or {}), "model": "Another", "board": None}
    runs[1::2] = [
        replace(one, environment={**one.environment, "device": other}) for one in runs[1::2]
    ]
    cells = trend.trend(runs).cells
    assert [len(one.points) for one in cells] == [6, 6]
    assert "Another" in cells[1].machine
    assert all(abs(one.change) < 0.02 for one in cells)


def test_a_failed_run_is_told() -> None:
    """A Run in which the cell failed has no point, and stands among those that lack it."""
    runs = _runs(9, lambda _: 0.0)
    cell = runs[4].measurements[0]
    failure = Failure(workload=cell.workload, target=cell.target, error="OutOfMemory", reason="x")
    runs[4] = replace(runs[4], measurements=(), failures=(failure,))
    found = _only(runs)
    assert (len(found.points), found.lacking) == (8, ((4, "OutOfMemory"),))


def test_one_run_has_no_trend() -> None:
    """One Run, or Runs without a common cell, are refused with what to do."""
    with pytest.raises(UsageError, match="no trend"):
        trend.trend(_runs(1, lambda _: 0.0))
    with pytest.raises(UsageError, match="finished in two"):
        trend.trend([_run(0, [1e-3], batch=1), _run(1, [1e-3], batch=2)])


def test_a_sparkline_does_not_make_noise_a_mountain() -> None:
    """Half a percent of noise is flat; a doubling goes from the lowest bar to the highest."""
    assert set(shown_trend.sparkline([1.0, 1.004, 0.998, 1.002])) <= set("▄▅")
    assert shown_trend.sparkline([1.0] * 8 + [2.0] * 8) == "▁" * 8 + "█" * 8
    assert len(shown_trend.sparkline([1.0] * 100)) == 16


def test_the_command(tmp_path: Path) -> None:
    """`nnprof trend` prints a line per cell and the step, exit code 0; other forms have rows."""
    for at, run in enumerate(_runs(10, lambda at: 0.1 * (at >= 5))):
        results.save(run, tmp_path / f"night-{at}.json")
    files = sorted(tmp_path.glob("*.json"))
    done = commands.nnprof("trend", *files)
    assert done.returncode == 0, done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    said = " ".join(done.stdout.split())
    assert "with Run 6 of 10, night-5" in said
    assert "10 Runs, from night-0 to night-9; 1 of 1 cells changed." in said
    assert "night-5:+0.1" in commands.nnprof("trend", *files, "--format", "csv").stdout
    told = json.loads(commands.nnprof("trend", *files, "--format", "json").stdout)
    assert [one["at"] for one in told["cells"][0]["steps"]] == [5]
    assert commands.nnprof("trend", files[0]).returncode == 2
