"""Boards of a fleet in a power mode of our own, and the worker that holds one killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import fake_board
import psutil
from fake_ssh import SshBoard
from processes import ended, until

from nnprof.profiler import results

# What the fake programs log: the board is set, and put back.
THERE = ["jetson_clocks --store", "nvpmodel -m 2", "jetson_clocks"]
BACK = ["nvpmodel -m 1", "jetson_clocks --restore"]


def _make_jetson(board: SshBoard) -> None:
    """A board in mode 25W whose account may set another one."""
    root = board.folder / "orin-nano-jp6"
    fake_board.make(root.name, root)
    (root / "etc/sudoers.d").mkdir()
    (root / "etc/sudoers.d/nnprof").touch()
    board.give_away(root)
    board.become(root)


def _log(board: SshBoard) -> list[str]:
    return (board.root / "var/log").read_text().splitlines()


def _workers(command: subprocess.Popen[str], board: str) -> list[psutil.Process]:
    """The worker here that has the connection to a board."""
    found = []
    for one in psutil.Process(command.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            holds = one.name() == "ssh" and board in one.cmdline() and "-M" in one.cmdline()
            parent = one.parent() if holds else None
            if parent is not None and parent.pid != command.pid:
                found.append(parent)
    return found


def test_a_killed_worker_leaves_its_board_as_it_was_and_the_next_one_sets_it(
    boards: dict[str, SshBoard], tmp_path: Path
) -> None:
    """After kill -9 the guard on the board puts it back; nothing is measured in another mode."""
    for one in boards.values():
        _make_jetson(one)
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "nnprof/devices.toml"
    config.write_text(config.read_text().replace('"cpu"', '"jetson"'))
    words = ("bench", "--batch", "1,2,3,4,5,6", "--quick", "--ops", "none", "--no-telemetry")
    more = ("--device", "all", "--power-mode", "MAXN_SUPER")
    board = boards["one"]
    fleet = subprocess.Popen(
        [sys.executable, "-m", "nnprof", *words, *more],
        cwd=tmp_path, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with ended(fleet):
        until(lambda: list(tmp_path.rglob("*.json")) and _workers(fleet, "one"), fleet)
        until(lambda: _log(board)[-len(THERE) :] == THERE and board.workers(), fleet)
        before, killed_at_s = _log(board), time.time()
        (worker,) = _workers(fleet, "one")
        worker.kill()
        again = [*before, *BACK, *THERE]
        until(lambda: _log(board)[: len(again)] == again, fleet)
        said, told = fleet.communicate()
    assert fleet.returncode == 0, said + told
    (path,) = tmp_path.rglob("*.json")
    run = results.load(path)
    processes = [one for cell in run.measurements for one in cell.processes]
    assert {one.before.power_mode for one in processes} == {"MAXN_SUPER"}
    assert {one.after.power_mode for one in processes} == {"MAXN_SUPER"}
    assert all(one.before.locked for one in processes)
    assert any(one.board == "one" and (one.begun_at_s or 0) > killed_at_s for one in processes)
    for one in boards.values():
        steps = _log(one)
        assert steps == len(steps) // len(THERE + BACK) * (THERE + BACK)
        assert (one.root / "var/lib/nvpmodel/status").read_text() == "pmode:0001\n"
