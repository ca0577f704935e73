"""A board's power mode, set and put back from another machine."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from fake_ssh import SshBoard
from msgspec.structs import replace
from processes import HANG_S, ended, until

from nnprof.errors import Unavailable
from nnprof.profiler import results
from nnprof.profiler.place import boards, far_end, powermode
from nnprof.profiler.run import begin, sweep
from nnprof.profiler.work import hosts
from nnprof.types import Cell, Plan

Jetson = Callable[..., SshBoard]

# What the fake programs log: the board is set, and put back.
THERE = ["jetson_clocks --store", "nvpmodel -m 2", "jetson_clocks"]
BACK = ["nvpmodel -m 1", "jetson_clocks --restore"]
_HOLDS = """
import sys, time
from nnprof.profiler.place import powermode
from nnprof.profiler.work import hosts
with powermode.held(hosts.shell(sys.argv[1]), "MAXN_SUPER"):
    print(flush=True)
    time.sleep(600)
"""


def _log(board: SshBoard) -> list[str]:
    log = board.root / "var/log"
    return log.read_text().splitlines() if log.exists() else []


def _allowed(board: SshBoard) -> SshBoard:
    (board.root / "etc/sudoers.d").mkdir()
    (board.root / "etc/sudoers.d/nnprof").touch()
    return board


def test_set_and_put_back_over_ssh(
    jetson: Jetson, cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """A Run over SSH is made in the mode asked for; afterwards the board is as it was."""
    board = _allowed(jetson())
    options = {"trtexec": f"{board.root}/usr/src/tensorrt/bin/trtexec"}
    target = hosts.named_target(board.url, backend="trtexec", options=options)
    plan = replace(short, processes=1, max_processes=1, op_method="none")
    with powermode.held(hosts.shell(target.host), "MAXN_SUPER"):
        run, path = begin.start((replace(cells[0], target=target),), plan, tmp_path, name="test")
        list(sweep.sweep(run, path))
    run = results.load(path)
    assert run.environment["device"]["power_mode"] == "MAXN_SUPER"
    reading = run.measurements[0].processes[0].before
    assert (reading.power_mode, reading.locked) == ("MAXN_SUPER", True)
    assert _log(board) == [*THERE, *BACK]
    assert (board.root / "var/lib/nvpmodel/status").read_text() == "pmode:0001\n"


def test_account_that_may_not_over_ssh(jetson: Jetson) -> None:
    """An account without sudo there is told what to type, and nothing is changed."""
    board = jetson()
    target = hosts.named_target(board.url, backend="trtexec")
    with (
        pytest.raises(Unavailable) as caught,
        powermode.held(hosts.shell(target.host), "MAXN_SUPER"),
    ):
        pytest.fail("it was entered")
    assert caught.value.remedy == "Type there: sudo nvpmodel -m 2 && sudo jetson_clocks"
    assert _log(board) == []


@contextlib.contextmanager
def _holder(board: SshBoard) -> Iterator[subprocess.Popen[str]]:
    """A process of ours that has set the board, and waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, board.url],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with ended(process):
        assert process.stdout is not None
        assert process.stdout.readline()
        assert _log(board) == THERE
        yield process


def _clients(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """What it has to do with the board: the connection, and the way to the guard."""
    every = psutil.Process(process.pid).children(recursive=True)
    return [one for one in every if one.name() == "ssh"]


@pytest.mark.parametrize("what", ["nnprof", "all of ours"])
def test_put_back_when_nnprof_is_killed(jetson: Jetson, what: str) -> None:
    """Killed outright, with ssh or alone, we leave the board as it was: the guard there sets it."""
    board = _allowed(jetson())
    with _holder(board) as process:
        clients = _clients(process)
        assert len(clients) == 2
        process.kill()
        for one in clients if what == "all of ours" else ():
            one.kill()
        process.wait()
        until(lambda: _log(board)[-1] == BACK[-1])
        psutil.wait_procs(clients, timeout=HANG_S)
    assert _log(board) == [*THERE, *BACK]


@pytest.mark.parametrize("what", ["ssh", "sshd"])
def test_put_back_when_the_connection_breaks(jetson: Jetson, what: str) -> None:
    """The board is put back when ssh or sshd is killed, and not again at our own, quiet end."""
    board = _allowed(jetson())
    with _holder(board) as process:
        there = [one for one in board.processes() if one.name().startswith("sshd")]
        for one in there if what == "sshd" else _clients(process):
            one.kill()
        until(lambda: _log(board)[-1] == BACK[-1], process)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
    assert said.rstrip().endswith("KeyboardInterrupt"), said
    assert _log(board) == [*THERE, *BACK]


def test_set_again_over_a_new_connection(jetson: Jetson) -> None:
    """A connection that is opened anew in mid-Run finds the board put back, and sets it again."""
    board = _allowed(jetson())
    with powermode.held(hosts.shell(board.url), "MAXN_SUPER"):
        hosts.connections.drop(boards.find(board.url))
        assert hosts.shell(board.url).run(["true"], timeout_s=20).returncode == 0
        assert _log(board) == [*THERE, *BACK, *THERE]
    assert _log(board) == [*THERE, *BACK, *THERE, *BACK]


def test_a_connection_that_falls_silent_ends() -> None:
    """What is started apart goes on with our lines, and hears their end after the silence."""
    script = far_end.APART.replace(f"-t {far_end.SILENCE_S} ", "-t 1 ")
    command = ["bash", "-c", script, "nnprof", "sh", "-c", "cat; echo heard the end"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    with ended(process):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("a line\n\n")
        process.stdin.flush()
        assert process.stdout.read() == "a line\nheard the end\n"
