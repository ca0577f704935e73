"""Power modes of a board that is a folder: its programs are run, and log what they were asked."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ended, until

from nnprof.errors import Unavailable, UsageError
from nnprof.networks import bundled
from nnprof.profiler.devices import jetson
from nnprof.profiler.place import powermode
from nnprof.profiler.place.shells import LocalShell

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
    by_hand = f"Type there: sudo nvpmodel -m 1 && sudo jetson_clocks --restore {state}"
    assert caught.value.remedy == by_hand


def test_no_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without nvpmodel says that the option is not for it."""
    monkeypatch.setenv("NNPROF_ROOT", str(tmp_path))
    with (
        pytest.raises(Unavailable, match="no nvpmodel"),
        powermode.held(LocalShell(tmp_path), "locked"),
    ):
        pytest.fail("it was entered")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_bench_puts_back_when_it_is_stopped(
    board: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    """Nnprof bench that is ended in mid-sweep keeps its Run and puts the board back."""
    _allow(board)
    command = ["bench", str(bundled.model_path()), "--device", "jetson", "--backend", "fake",
               "--batch", "1", "--option", "fault=hang", "--out", str(tmp_path / "out"),
               "--power-mode", "MAXN_SUPER"]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "nnprof", *command], cwd=tmp_path, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with ended(process):
        until(lambda: _state(board)[:2] == ("MAXN_SUPER", True), process)
        until(lambda: list((tmp_path / "out").glob("*.json")), process)
        process.send_signal(ending)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode in (1, 130), said
    assert _state(board)[:2] == ("25W", False)
