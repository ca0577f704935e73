"""Joules per tile: the integral in closed form, and a run on a board whose rails follow it."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nnprof.profiler import results
from nnprof.profiler.report import lines, rows
from nnprof.profiler.run import begin, sweep
from nnprof.profiler.timing import energy
from nnprof.types import Cell, Energy, Measurement, Model, Plan, Reading, Target, Workload

GOLDEN = Path(__file__).parents[2] / "data" / "run-v1.json"


@given(
    slope=st.floats(-5, 5),
    level=st.floats(0, 50),
    inner=st.lists(st.floats(0.01, 9.99), max_size=30),
    start=st.floats(0, 4),
    length=st.floats(0.5, 6),
)
def test_mean_of_a_line_is_its_middle(
    slope: float, level: float, inner: list[float], start: float, length: float
) -> None:
    """Power that grows evenly has its value of the middle as its mean, however it is sampled."""
    times = sorted({0.0, *inner, 10.0})
    points = [(at, level + slope * at) for at in times]
    mean = energy.mean_w(points, (start, start + length))
    assert mean == pytest.approx(level + slope * (start + length / 2), abs=1e-6)


def test_mean_needs_readings_around_the_span() -> None:
    """A span that begins before the first reading, or ends after the last, has no mean."""
    points = [(1.0, 5.0), (2.0, 5.0)]
    assert energy.mean_w(points, (1.0, 2.0)) == 5.0
    assert energy.mean_w(points, (0.9, 2.0)) is None
    assert energy.mean_w(points, (1.0, 2.1)) is None
    assert energy.mean_w([], (1.0, 2.0)) is None


def _pass(*, idle_w: float, busy_w: float, drift: float = 0.0, update_s: float = 0.1) -> Energy:
    """5 s of idling, 10 s of work, 5 s of idling, read each 50 ms; 1000 tiles."""
    readings = []
    for tick in range(405):
        at_s = tick * 0.05
        # The sensor shows the mean of its last update, so it is late.
        seen_s = at_s - update_s / 2
        watts = (busy_w if 5 <= seen_s < 15 else idle_w) + drift * at_s
        readings.append(Reading(at_s=at_s, rails_w={"VDD_IN": watts, "VDD_SOC": 1.0}))
    return energy.summed(readings, ((0.0, 5.0), (15.0, 20.0)), (5.0, 15.0), 1000, update_s)


def _cell(*passes: Energy | None) -> Measurement:
    cell = results.load(GOLDEN).measurements[1]
    process = cell.processes[0]
    return replace(
        cell,
        processes=tuple(replace(process, energy=one) for one in passes),
        samples_s=cell.samples_s[:1] * len(passes),
        warmups_s=cell.warmups_s[:1] * len(passes),
    )


def test_idle_is_subtracted() -> None:
    """7 W at work over 4 W at rest, 10 s, 1000 tiles: 30 mJ per tile; an even rail has none."""
    one = _pass(idle_w=4.0, busy_w=7.0)
    assert one.busy_w["VDD_IN"] == pytest.approx(7.0)
    assert one.idle_w["VDD_IN"] == pytest.approx(4.0)
    total, other = energy.per_tile(_cell(one), "VDD_IN")
    assert (total.rail, total.joules) == ("VDD_IN", pytest.approx(0.030))
    assert (other.rail, other.joules) == ("VDD_SOC", pytest.approx(0.0, abs=1e-9))


def test_even_drift_cancels() -> None:
    """A board that warms evenly, 0.1 W per second, gives the same energy."""
    one = _pass(idle_w=4.0, busy_w=7.0, drift=0.1)
    assert energy.per_tile(_cell(one), None)[0].joules == pytest.approx(0.030, rel=0.01)


def test_which_rail_comes_first() -> None:
    """The rail of the whole device, then that of what computes, then the others by name."""
    watts = {"VDDQ_VDD2_1V8AO": 1.0, "VDD_GPU_SOC": 5.0, "VIN": 9.0}
    one = Energy(busy_w=watts, idle_w=dict.fromkeys(watts, 0.5), busy_s=1.0, tiles=10)
    names = [found.rail for found in energy.per_tile(_cell(one), "VIN")]
    assert names == ["VIN", "VDD_GPU_SOC", "VDDQ_VDD2_1V8AO"]
    assert energy.per_tile(_cell(one), None)[0].rail == "VDD_GPU_SOC"
    watts = {"0V8_AON": 1.0, "VDD_CORE": 5.0}
    one = Energy(busy_w=watts, idle_w=dict.fromkeys(watts, 0.5), busy_s=1.0, tiles=10)
    assert [found.rail for found in energy.per_tile(_cell(one), None)] == ["VDD_CORE", "0V8_AON"]


def test_what_no_rail_measures_is_said() -> None:
    """Below the rails of a device stands what is in none of them, where its facts say so."""
    one = Energy(busy_w={"VDD_CORE": 5.0}, idle_w={"VDD_CORE": 1.0}, busy_s=1.0, tiles=10)
    device = {"device": {"not_measured": "what USB carries"}}
    run = results.load(GOLDEN)
    run = replace(run, measurements=(_cell(one),), failures=(), environment=device)
    first, last = lines.energy_lines(run)
    assert "400.0 mJ per tile from VDD_CORE" in first
    assert last == "In none of these rails, which are never added up: what USB carries."


def test_interval_is_over_processes() -> None:
    """Three processes of 30, 33 and 36 mJ: mean 33, t interval with two degrees of freedom."""
    passes = [_pass(idle_w=4.0, busy_w=4.0 + watts) for watts in (3.0, 3.3, 3.6)]
    found = energy.per_tile(_cell(*passes), "VDD_IN")[0]
    assert found.joules == pytest.approx(0.033)
    assert found.low == pytest.approx(0.033 - 4.303 * 0.003 / 3**0.5, rel=1e-3)
    assert found.high == pytest.approx(0.033 + 4.303 * 0.003 / 3**0.5, rel=1e-3)


def test_unknown_is_no_zero() -> None:
    """A pass without readable rails is no energy but a reason, in the rows and in the lines."""
    cell = _cell(Energy(unknown="NVML does not support it here"), None)
    assert energy.per_tile(cell, None) == ()
    run = replace(results.load(GOLDEN), measurements=(cell,), failures=())
    assert rows.rows(run)[0]["mj_per_tile"] is None
    assert lines.energy_lines(run) == ["Energy: unknown in 1 cell: NVML does not support it here."]


class _Slow:
    """A watch that is late to begin, and a session that it sees at work."""

    why, clock = "", "perf_counter"
    start = first = last = 0.0

    def begin(self, _: float) -> None:
        time.sleep(0.3)
        self.start = time.monotonic()

    def sample(self, _: int) -> float:
        self.first = self.first or time.monotonic()
        time.sleep(0.02)
        self.last = time.monotonic()
        return 0.02

    def end(self) -> tuple[Reading, ...]:
        ticks = range(int((time.monotonic() - self.start) / 0.01) + 1)
        busy = [self.first <= self.start + tick * 0.01 < self.last for tick in ticks]
        return tuple(
            Reading(at_s=tick * 0.01, rails_w={"VDD_IN": 9.0 if busy[tick] else 4.0})
            for tick in ticks
        )


def test_windows_are_those_of_the_readings() -> None:
    """However late the readings begin, work is integrated where there was work, and only there."""
    slow: Any = _Slow()
    facts = {"rails": {"VDD_IN": {"sensor": "ina3221", "update_s": 0.01}}}
    one = energy.measure(slow, slow, facts, 0.4, (8, 0.02))
    assert one.busy_w == {"VDD_IN": pytest.approx(9.0, rel=0.01)}
    assert one.idle_w == {"VDD_IN": pytest.approx(4.0, rel=0.01)}


LOAD = """
    import threading, time
    from pathlib import Path
    import fake_board
    from nnprof.profiler.backends.fake import FakeSession, Fake
    from nnprof.profiler.devices import snapshot

    worked = 0.0

    class Session(FakeSession):
        def sample(self, loops):
            global worked
            end = time.monotonic() + min(0.05, 1e-3 * loops)
            while time.monotonic() < end:
                worked = time.monotonic()
                time.sleep(0.002)
            return loops * 1e-3

    class Backend(Fake):
        def open(self, workload, target):
            if not following.is_alive():
                following.start()
            return Session(workload, target)

    def follow(root):
        was = None
        while True:
            busy = time.monotonic() - worked < 0.02
            if busy != was:
                fake_board.set_rail(root, "VDD_IN", 9000 if busy else 4000)
            was = busy
            time.sleep(0.002)

    following = threading.Thread(target=follow, args=[Path(snapshot.root())], daemon=True)
    BACKEND = Backend()
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend of another distribution under which VDD_IN carries 9 W at work and 4 W at rest."""
    plugin = tmp_path / "plugin"
    (plugin / "load-1.dist-info").mkdir(parents=True)
    (plugin / "load_backend.py").write_text(textwrap.dedent(LOAD))
    (plugin / "load-1.dist-info/METADATA").write_text("Name: load\nVersion: 1\n")
    (plugin / "load-1.dist-info/entry_points.txt").write_text(
        "[nnprof.backends]\nload = load_backend:BACKEND\n"
    )
    fakes = Path(__file__).parents[2] / "fakes"
    monkeypatch.setenv("PYTHONPATH", f"{plugin}:{fakes}")
    monkeypatch.syspath_prepend(plugin)
    return "load"


def test_a_run_on_a_board(
    board: Path, load: str, model: Model, short: Plan, tmp_path: Path
) -> None:
    """A worker on a board integrates what its rail carries over its own idle, per process."""
    target = Target(backend=load, device="jetson")
    cell = Cell(workload=Workload(model=model, batch=4), target=target)
    plan = replace(short, processes=2, max_processes=2, op_method="none", energy_s=1.0)
    run, path = begin.start((cell,), plan, tmp_path, name="test")
    list(sweep.sweep(run, path))
    run = results.load(path)
    passes = [process.energy for process in run.measurements[0].processes]
    assert len(passes) == 2
    for one in passes:
        assert one is not None
        # The rail follows by a thread, which other work may hold up for a while.
        assert one.busy_w["VDD_IN"] == pytest.approx(9.0, rel=0.25)
        assert one.idle_w["VDD_IN"] == pytest.approx(4.0, rel=0.25)
    found = energy.per_tile(run.measurements[0], "VDD_IN")[0]
    # Each process's own power over its own idle, whatever its rail did.
    expected = [
        (one.busy_w["VDD_IN"] - one.idle_w["VDD_IN"]) * one.busy_s / one.tiles
        for one in passes
        if one
    ]
    assert found.joules == pytest.approx(sum(expected) / 2)
    assert "from VDD_IN, the whole board." in lines.energy_lines(run)[0]


def test_a_window_shorter_than_the_sensor(
    board: Path, load: str, model: Model, short: Plan, tmp_path: Path
) -> None:
    """With a sensor that has a new value each second, a window of one second is refused as such."""
    for path in board.glob("sys/class/hwmon/hwmon1/update_interval"):
        path.write_text("1000\n")
    cell = Cell(
        workload=Workload(model=model, batch=4), target=Target(backend=load, device="jetson")
    )
    plan = replace(short, processes=1, max_processes=1, op_method="none", energy_s=1.0)
    run, path = begin.start((cell,), plan, tmp_path, name="test")
    list(sweep.sweep(run, path))
    why = energy.why_none(results.load(path).measurements[0])
    assert why == "1 s are fewer than 20 updates of the sensor, which has a new value each 1 s"
