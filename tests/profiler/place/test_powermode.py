"""Power modes of a board that is a folder: its programs are run, and log what they were asked."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from processes import ended, until

from nnprof.errors import Unavailable, UsageError
from nnprof.networks import bundled
from nnprof.profiler.devices import jetson
from nnprof.profiler.place import powermode
from nnprof.profiler.place.shells import LocalShell

# What the fake programs log: the board is set, and put back.
THERE = ["jetson_clocks --store", "nvpmodel -m 2", "jetson_clocks"]
BACK = ["nvpmodel -m 1", "jetson_clocks --restore"]

ON_ALL = pytest.mark.parametrize(
    "board", ["orin-nano-jp6", "agx-orin-jp5", "thor-jp7"], indirect=True
)


def _allow(board: Path) -> LocalShell:
    (board / "etc/sudoers.d").mkdir(parents=True, exist_ok=True)
    (board / "etc/sudoers.d/nnprof").touch()
    return LocalShell(board / "ours")


def _state(board: Path) -> tuple[str | None, bool | None, list[str]]:
    reading = jetson.DEVICE.read(())
    log = board / "var/log"
    return reading.power_mode, reading.locked, log.read_text().splitlines() if log.exists() else []


@ON_ALL
def test_set_and_put_back(board: Path) -> None:
    """Inside, the mode is set and the clocks are locked; afterwards both are as before."""
    shell, was = _allow(board), _state(board)[0]
    other, number = next(
        (name, key) for name, key in jetson.DEVICE.facts()["power_modes"].items() if name != was
    )
    with powermode.held(shell, other):
        assert _state(board)[:2] == (other, True)
    mode, locked, log = _state(board)
    assert (mode, locked) == (was, False)
    assert log[:3] == ["jetson_clocks --store", f"nvpmodel -m {number}", "jetson_clocks"]
    assert log[-1] == "jetson_clocks --restore"


def test_only_locked(board: Path) -> None:
    """The word locked leaves the mode alone."""
    with powermode.held(_allow(board), "locked"):
        assert _state(board)[:2] == ("25W", True)
    mode, locked, log = _state(board)
    assert (mode, locked) == ("25W", False)
    assert log == ["jetson_clocks --store", "jetson_clocks", "jetson_clocks --restore"]


def test_by_number(board: Path) -> None:
    """A mode may be named by its id."""
    with powermode.held(_allow(board), "2"):
        assert _state(board)[0] == "MAXN_SUPER"


def test_put_back_after_an_error(board: Path) -> None:
    """An error inside passes through, and the board is as before."""
    with pytest.raises(ZeroDivisionError), powermode.held(_allow(board), "MAXN_SUPER"):
        1 / 0  # noqa: B018  the error is the test
    assert _state(board)[:2] == ("25W", False)


def test_an_account_that_may_not(board: Path) -> None:
    """Without sudo nothing is changed, and the remedy is the line to type."""
    with pytest.raises(Unavailable) as caught, powermode.held(LocalShell(board / "ours"), "7W"):
        pytest.fail("it was entered")
    assert "sudo: a password is required" in caught.value.reason
    assert caught.value.remedy == "Type there: sudo nvpmodel -m 3 && sudo jetson_clocks"
    assert _state(board) == ("25W", False, [])


def test_a_mode_that_needs_a_restart(board: Path) -> None:
    """A mode that the board takes only with a restart is refused; it is not restarted."""
    shell = _allow(board)
    (board / "etc/needs-reboot").touch()
    with (
        pytest.raises(Unavailable, match="only with a restart") as caught,
        powermode.held(shell, "MAXN_SUPER"),
    ):
        pytest.fail("it was entered")
    assert "sudo nvpmodel -m 2" in caught.value.remedy
    assert _state(board)[:2] == ("25W", False)


def test_unknown_mode(board: Path) -> None:
    """A mode that the board does not have is refused with those that it has."""
    with (
        pytest.raises(UsageError, match=r"15W \(0\), 25W \(1\)"),
        powermode.held(_allow(board), "60W"),
    ):
        pytest.fail("it was entered")


def test_modes_that_cannot_be_read(board: Path) -> None:
    """Without nvpmodel's configuration a mode has no name, but still its id."""
    shell = _allow(board)
    (board / "etc/nvpmodel.conf").unlink()
    with pytest.raises(UsageError, match="cannot be read"), powermode.held(shell, "MAXN_SUPER"):
        pytest.fail("it was entered")
    with powermode.held(shell, "2"):
        assert _state(board)[2][1] == "nvpmodel -m 2"


def test_a_board_that_cannot_be_put_back(board: Path) -> None:
    """When the way back is barred meanwhile, the user is told what to type."""
    with (
        pytest.raises(Unavailable, match="did not work") as caught,
        powermode.held(_allow(board), "MAXN_SUPER"),
    ):
        (board / "etc/sudoers.d/nnprof").unlink()
    state = board / "ours/clocks.conf"
    by_hand = f"sudo nvpmodel -m 1 && sudo jetson_clocks --restore {state} && rm {state}.was"
    assert caught.value.remedy == f"Type there: {by_hand}"


def test_no_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without nvpmodel says that the option is not for it."""
    monkeypatch.setenv("NNPROF_ROOT", str(tmp_path))
    with (
        pytest.raises(Unavailable, match="no nvpmodel"),
        powermode.held(LocalShell(tmp_path), "locked"),
    ):
        pytest.fail("it was entered")


@contextlib.contextmanager
def _bench(board: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`nnprof bench` in another mode, while its worker hangs."""
    _allow(board)
    command = ["bench", str(bundled.model_path()), "--device", "jetson", "--backend", "fake",
               "--batch", "1", "--option", "fault=hang", "--out", str(folder / "out"),
               "--power-mode", "MAXN_SUPER"]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "nnprof", *command], cwd=folder, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with ended(process):
        until(lambda: _state(board)[:2] == ("MAXN_SUPER", True), process)
        until(lambda: list((folder / "out").glob("*.json")), process)
        yield process


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_bench_puts_back_when_it_is_stopped(
    board: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    """Nnprof bench that is ended in mid-sweep keeps its Run and puts the board back."""
    with _bench(board, tmp_path) as process:
        process.send_signal(ending)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode in (1, 130), said
    assert _state(board)[:2] == ("25W", False)


def test_put_back_when_nnprof_is_killed(board: Path, tmp_path: Path) -> None:
    """Nnprof bench that is killed outright leaves the board as it was: its guard sets it, once."""
    with _bench(board, tmp_path) as process:
        process.kill()
        process.wait()
        until(lambda: _state(board)[2][-1] == BACK[-1])
    assert _state(board) == ("25W", False, [*THERE, *BACK])


def test_put_back_when_its_guard_is_killed(board: Path) -> None:
    """Where the guard alone was killed, the board is put back all the same, once."""
    with powermode.held(_allow(board), "MAXN_SUPER"):
        _guard(psutil.Process()).kill()
        assert _state(board) == ("MAXN_SUPER", True, THERE)
    assert _state(board) == ("25W", False, [*THERE, *BACK])


@pytest.mark.parametrize("ending", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_its_guard_outlives_a_hang_up(board: Path, ending: signal.Signals) -> None:
    """What sshd, or a session that ends, sends to all processes does not end the guard."""
    with powermode.held(_allow(board), "MAXN_SUPER"):
        guard = _guard(psutil.Process())
        guard.send_signal(ending)
        with pytest.raises(psutil.TimeoutExpired):
            guard.wait(0.2)
    assert _state(board) == ("25W", False, [*THERE, *BACK])


def test_what_nobody_put_back_is_put_back_first(
    board: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A board whose guard was killed, too, is put back by the next one, which says so."""
    shell = _allow(board)
    code = (
        "import pathlib, time\nfrom nnprof.profiler.place import powermode, shells\n"
        f"shell = shells.LocalShell(pathlib.Path({str(board / 'ours')!r}))\n"
        "with powermode.held(shell, 'MAXN_SUPER'): print(flush=True), time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with ended(process):
        assert process.stdout is not None
        assert process.stdout.readline()
        _guard(psutil.Process(process.pid)).kill()
        process.kill()
    assert _state(board) == ("MAXN_SUPER", True, THERE)
    with powermode.held(shell, "7W"):
        assert _state(board)[:2] == ("7W", True)
        assert "a Run that was killed" in caplog.text
    mode, locked, log = _state(board)
    assert (mode, locked) == ("25W", False)
    assert log == [*THERE, *BACK, THERE[0], "nvpmodel -m 3", THERE[2], *BACK]


def _guard(process: psutil.Process) -> psutil.Process:
    """The guard that a process has started."""
    (found,) = (one for one in process.children() if "clocks.conf" in " ".join(one.cmdline()))
    return found
