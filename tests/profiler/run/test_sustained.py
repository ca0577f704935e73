"""Work without a rest: its windows, what they tell of a board that throttles, and being cut off."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
from pathlib import Path

import fake_board
import psutil
import pytest
from msgspec.structs import replace
from processes import ended, until

from nnprof.errors import UsageError
from nnprof.profiler import results, steady
from nnprof.profiler.backends.fake import FakeSession
from nnprof.profiler.report import shown_sustained
from nnprof.profiler.run import begin, sustained, sweep
from nnprof.types import Cell, Model, Plan, Process, Reading, Run, Target, Workload

# 40 ms an inference, so that ten minutes of the fake's clock are few of them.
SLOW = {"speed": "0.0001", "noise": "0.01"}


@pytest.fixture(scope="session")
def plan(short: Plan) -> Plan:
    """Ten minutes in windows of ten seconds."""
    return replace(
        short, processes=1, max_processes=1, fresh=0, op_method="none", sustained_s=600.0
    )


def _start(
    model: Model, plan: Plan, folder: Path, device: str = "cpu", **options: str
) -> tuple[Run, Path]:
    target = Target(backend="fake", device=device, options={**SLOW, **options})
    return begin.start([Cell(workload=Workload(model=model, batch=1), target=target)], plan, folder)


def _heated(model: Model, plan: Plan, folder: Path, device: str = "cpu", **options: str) -> Run:
    run, path = _start(model, plan, folder, device, **options)
    list(sweep.sweep(run, path))
    return results.load(path)


def _process(run: Run) -> Process:
    return run.measurements[0].processes[0]


@pytest.mark.usefixtures("workers_here")
def test_windows_cover_the_time(model: Model, plan: Plan, tmp_path: Path) -> None:
    """Windows follow each other from the beginning to the end, and count every inference."""
    windows = _process(_heated(model, plan, tmp_path, speed="0.0004")).windows
    assert len(windows) == 60
    ends = [steady.end_s(one) for one in windows]
    assert [one.at_s for one in windows] == pytest.approx([0.0, *ends[:-1]])
    assert ends[-1] == pytest.approx(600.0, abs=0.02)
    each_s = sum(one.seconds for one in windows) / sum(one.inferences for one in windows)
    assert each_s == pytest.approx(windows[0].median_s, rel=0.01)
    assert all(one.median_s <= one.p90_s <= one.p99_s <= one.slowest_s for one in windows)  # type: ignore[operator]


@pytest.mark.usefixtures("workers_here")
def test_a_calm_board_is_steady_from_the_beginning(
    model: Model, plan: Plan, tmp_path: Path
) -> None:
    """Where nothing changes it is steady since 0:00, and the interval of the ratio holds 1."""
    found = steady.found(_process(_heated(model, plan, tmp_path)), 600.0)
    assert found is not None
    assert (found.end, found.since_s, found.shifts, found.throttles) == ("steady", 0.0, (), ())
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1 < found.high
    assert found.high - found.low < 0.01


@pytest.fixture
def throttling(board: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board whose counter and clock tell when the fake has worked for three minutes."""
    really = FakeSession.sample
    clock = next((board / "sys/class/devfreq").glob("*/cur_freq"))

    def sample(self: FakeSession, loops: int) -> float:
        cool = self._passed_s < 180
        seconds = really(self, loops)
        if cool and self._passed_s >= 180 and self._workload.model.name == "tiny":
            fake_board.throttle(board, 3, alert=True)
            clock.write_text("306000000\n")
        return seconds

    monkeypatch.setattr(FakeSession, "sample", sample)
    clock.write_text("612000000\n")
    return board


@pytest.mark.usefixtures("workers_here", "throttling")
def test_a_throttle_after_three_minutes_is_found_and_dated(
    model: Model, plan: Plan, tmp_path: Path
) -> None:
    """A board that throttles after 3 minutes: found within one window, with what it did to all."""
    run = _heated(model, plan, tmp_path, "jetson", throttle="1.4", throttle_s="180")
    found = steady.found(_process(run), 600.0)
    assert found is not None
    (throttle,) = found.throttles
    assert abs(throttle.at_s - 180) <= plan.window_s
    assert (throttle.until_s, throttle.events) == (found.done_s, 3)
    assert throttle.alerts == ("gpu-throttle-alert",)
    assert throttle.clock_hz == (612e6, 306e6)
    (shift,) = found.shifts
    assert abs(shift.at_s - 180) <= plan.window_s
    assert shift.after_s / shift.before_s == pytest.approx(1.4, rel=0.01)
    assert found.since_s == shift.at_s
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1.4 < found.high
    assert {"throttled", "throttling"} <= {one.code for one in run.measurements[0].checks}
    said = " ".join(shown_sustained.lines(_process(run), 600.0))
    assert re.search("Throttled from (2:50|3:00) to the end: 3 events, gpu-throttle-alert", said)
    assert "clock 612 → 306 MHz; latency" in said
    assert "Steady since 3:00" in said


@pytest.mark.usefixtures("workers_here")
def test_what_cannot_be_seen_is_said(model: Model, plan: Plan, tmp_path: Path) -> None:
    """A machine without sensors says of each why; nothing is claimed about throttling."""
    process = _process(_heated(model, replace(plan, sustained_s=100.0), tmp_path))
    unknown = {"temperature_c": "no sensor", "throttles": "no count"}
    windows = [replace(one, reading=Reading()) for one in process.windows]
    blind = replace(
        process, before=replace(process.before, unknown=unknown), windows=tuple(windows)
    )
    said = " ".join(shown_sustained.lines(blind, 100.0))
    assert "temperature: no sensor; throttling: no count" in said
    assert "No throttling was seen" not in said


@pytest.mark.usefixtures("workers_here")
def test_progress_is_a_line_per_window(
    model: Model, plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each window is told when it is over: time, latency, temperature and time left."""
    caplog.set_level(logging.DEBUG, "nnprof")
    _heated(model, replace(plan, sustained_s=100.0), tmp_path)
    told = [one.getMessage() for one in caplog.records if one.levelno == sustained.NEWS]
    assert told[0] == "Working without a rest for 1 min 40 s."
    assert len(told) == 11
    assert told[4].startswith("0:40 of 1:40, ")
    assert told[4].endswith("1 min left")
    assert told[-1].endswith("done")
    assert " ms, " in told[4]


@pytest.mark.usefixtures("workers_here")
def test_several_cells_are_refused(model: Model, plan: Plan, tmp_path: Path) -> None:
    """Two batches are two heats: refused before anything is measured, with what to do."""
    target = Target(backend="fake")
    cells = [Cell(workload=Workload(model=model, batch=batch), target=target) for batch in (1, 2)]
    with pytest.raises(UsageError, match="one network at one batch") as refused:
        begin.start(cells, plan, tmp_path)
    assert "--batch" in refused.value.remedy
    assert not list(tmp_path.glob("*.json"))


def test_a_paced_pass_asks_as_a_camera_does(model: Model, plan: Plan, tmp_path: Path) -> None:
    """With a period there is one inference in each; what begins late counts as late."""
    paced = replace(plan, sustained_s=100.0, period_s=0.1, deadline_s=0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeSession, "_enter", lambda *_: None)
        windows = _process(_heated(model, paced, tmp_path)).windows
    assert sum(one.inferences for one in windows) == pytest.approx(1000, abs=2)
    assert {one.missed for one in windows} == {0}
    late = _process(_heated(model, replace(paced, period_s=0.005), tmp_path)).windows
    assert late[-1].missed == late[-1].inferences


def _words(model: Model, folder: Path) -> list[str]:
    """A heat of a day, on the fake's clock, that takes a minute of ours."""
    options = [word for name, value in SLOW.items() for word in ("--option", f"{name}={value}")]
    return [
        *(sys.executable, "-m", "nnprof", "bench", model.path, "--batch", "1", "--for", "24h"),
        *("--backend", "fake", "--no-telemetry", "--out", str(folder), *options),
    ]


def _seen(folder: Path) -> int:
    """Windows that are on disk."""
    runs = [results.load(path) for path in folder.glob("*.json")]
    return sum(len(one.windows) for run in runs for m in run.measurements for one in m.processes)


@pytest.mark.parametrize("how", ["parent", "interrupt", "worker"])
def test_who_is_cut_off_keeps_the_windows(model: Model, tmp_path: Path, how: str) -> None:
    """Killed, by Ctrl-C, or when its worker is killed: the Run has the windows, and says so."""
    process = subprocess.Popen(_words(model, tmp_path), stderr=subprocess.PIPE)
    with ended(process):
        until(lambda: _seen(tmp_path) >= 2, process)
        if how == "worker":
            for child in psutil.Process(process.pid).children():
                child.send_signal(signal.SIGKILL)
        else:
            process.send_signal(signal.SIGKILL if how == "parent" else signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == {"parent": -9, "interrupt": 130, "worker": 1}[how]
    (path,) = tmp_path.glob("*.json")
    run = results.load(path)
    assert len(_process(run).windows) >= 2
    assert "Cut off after " in " ".join(shown_sustained.lines(_process(run), 86400.0))
    if how == "worker":
        (lost,) = _process(run).lost
        assert (lost.what, lost.error) == ("sustained", "WorkerCrashed")
        assert run.measurements[0].finished
    else:
        with pytest.raises(UsageError, match="was cut off after"):
            begin.resume(path)
    if how == "interrupt":
        assert b"--resume" not in said
