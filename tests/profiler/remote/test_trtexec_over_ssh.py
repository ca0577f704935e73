"""A Jetson that has nothing but JetPack, over SSH: its trtexec is driven from here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import fake_board
import psutil
import pytest
from fake_ssh import SshBoard
from msgspec.structs import replace

from nnprof.errors import Unavailable, UsageError
from nnprof.profiler import results
from nnprof.profiler.run import begin, sweep
from nnprof.profiler.work import hosts
from nnprof.types import Cell, Measurement, Plan, Run, Target

Jetson = Callable[..., SshBoard]

# Board → JetPack, the rail of the whole module, the mode that it is in.
BOARDS = {
    "orin-nano-jp5": ("5.1.2", "VDD_IN", "15W"),
    "orin-nano-jp6": ("6.2", "VDD_IN", "25W"),
    "orin-nano-jp7": ("7.2", "VDD_IN", "MAXN_SUPER"),
    "agx-orin-jp5": ("5.1.1", None, "MODE_30W"),
    "agx-orin-jp6": ("6.0", None, "MAXN"),
    "agx-orin-jp7": ("7.2", None, "MODE_50W"),
    "thor-jp7": ("7.0", "VIN", "MAXN"),
}


def _target(board: SshBoard) -> Target:
    options = {"trtexec": f"{board.root}/usr/src/tensorrt/bin/trtexec"}
    return hosts.named_target(board.url, backend="trtexec", options=options)


def _run(board: SshBoard, cell: Cell, plan: Plan, folder: Path) -> tuple[Run, Path]:
    cells = (replace(cell, target=_target(board)),)
    return begin.start(
        cells, replace(plan, processes=1, max_processes=1, op_method="runtime"), folder, name="test"
    )


def test_streams_of_trtexec_are_refused(
    jetson: Jetson, cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """Before anything is measured: it does not say when its inferences begin."""
    with pytest.raises(UsageError, match="several streams of it cannot be timed together"):
        _run(jetson(), cells[0], replace(short, streams_s=0.5), tmp_path)
    assert not [*tmp_path.glob("*.json")]


def _done(run: Run, path: Path) -> Run:
    list(sweep.sweep(run, path))
    return results.load(path)


def _codes(measurement: Measurement) -> set[str]:
    return {check.code for check in measurement.checks}


def _when_trtexec_runs(board: SshBoard, times: int, act: Callable[[], object]) -> None:
    """Do that when trtexec runs on the board for the given time."""

    def wait() -> None:
        seen: set[int] = set()
        while len(seen) < times and board.listens:
            seen |= {process.pid for process in board.processes() if _is_timing(process)}
            time.sleep(0.005)
        if board.listens:
            act()

    Thread(target=wait, daemon=True).start()


def _is_timing(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        words = process.cmdline()
        # A process that has just ended has no words.
        return (
            bool(words)
            and words[0].startswith("/")
            and any("--exportTimes" in word for word in words)
        )
    return False


def test_every_board_is_told_apart(jetson: Jetson) -> None:
    """Module, JetPack, rails, power mode and TensorRT of seven boards, with no Python of ours."""
    for name, (jetpack, total, mode) in BOARDS.items():
        board = jetson(name)
        target = _target(board)
        assert (target.device, target.host) == ("jetson", board.url)
        found = begin.probe(target)
        facts, wanted = found["device"], fake_board.BOARDS[name]
        assert facts["board"] == wanted.model
        assert (facts["jetpack"], facts["total_rail"], facts["power_mode"]) == (
            jetpack,
            total,
            mode,
        )
        assert facts["architecture"] == "aarch64"
        assert found["backend"]["version"] == "10.3.0"
        assert found["host"] == board.url


def test_bench_with_nothing_installed(
    jetson: Jetson, cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """A cell is measured by the board's trtexec, with readings of the board around it."""
    board = jetson()
    run = _done(*_run(board, cells[0], short, tmp_path))
    assert not run.failures
    (measurement,) = run.measurements
    assert measurement.clock == "recorded"
    reading = measurement.processes[0].before
    assert reading.rails_w["VDD_IN"] == pytest.approx(4.952 * 1.128)
    assert (reading.power_mode, reading.locked) == ("25W", False)
    assert measurement.processes[0].processors == ()
    assert not {"throttled", "throttling"} & _codes(measurement)
    assert measurement.ops
    assert run.environment["processors_allowed"] is None  # that is said of a worker
    assert run.environment["driven_from"].startswith("Linux")


def test_throttling_marks_its_cell(
    jetson: Jetson, cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """An over-current event on the board while a cell is measured is a check of that cell."""
    board = jetson()
    run, path = _run(board, cells[0], short, tmp_path)
    # The first two runs of trtexec are those of the floor.
    _when_trtexec_runs(board, 3, lambda: fake_board.throttle(board.root, 1, alert=True))
    (measurement,) = _done(run, path).measurements
    assert {"throttled", "throttling"} <= _codes(measurement)


def test_missing_trtexec(jetson: Jetson) -> None:
    """A board without trtexec is told before anything is measured, with what to install."""
    board = jetson()
    (board.root / "usr/src/tensorrt/bin/trtexec").unlink()
    with pytest.raises(Unavailable, match=r"trtexec is not on ssh://.*libnvinfer-bin"):
        begin.probe(_target(board))


def test_broken_connection_under_trtexec(
    jetson: Jetson, cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """A connection that breaks while trtexec runs fails that cell; --resume completes it."""
    board = jetson()
    run, path = _run(board, cells[0], short, tmp_path)
    _when_trtexec_runs(board, 3, board.kill_sessions)
    (failure,) = _done(run, path).failures
    assert failure.error == "ConnectionLost"
    assert "can be reached again" in failure.reason
    assert not [process for process in board.processes() if _is_timing(process)]
    hosts.release()
    again = _done(begin.resume(path), path)
    assert not again.failures
    assert again.measurements[0].finished


def test_hanging_trtexec_is_ended_there(
    jetson: Jetson, cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """A trtexec that hangs fails its cell at the limit, and does not go on alone."""
    board = jetson()
    run, path = _run(board, cells[0], replace(short, process_limit_s=8.0), tmp_path)
    jetson(fault="hang", fault_batch=1)
    (failure,) = _done(run, path).failures
    assert failure.error == "WorkerTimeout"
    assert "--limit" in failure.remedy
    hosts.release()
    assert not [process for process in board.processes() if _is_timing(process)]
