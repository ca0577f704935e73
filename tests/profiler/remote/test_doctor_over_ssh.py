"""Faults of a board are found over SSH, with commands that go there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import commands
import fake_linux
import msgspec
import pytest
from fake_linux import write
from fake_ssh import SshBoard

Jetson = Callable[..., SshBoard]


@pytest.fixture
def clean(board: SshBoard, jetson: Jetson) -> SshBoard:
    """A Jetson that listens, and has nothing that spoils numbers."""
    fake_linux.jetson(board.folder / "orin-nano-jp6")
    there = jetson()
    (board.folder / "config/nnprof/devices.toml").write_text(
        f'[orin]\nhost = "board"\ndevice = "jetson"\n'
        f'options = {{ trtexec = "{there.root}/usr/src/tensorrt/bin/trtexec" }}\n'
    )
    return there


def doctor(board: SshBoard, *words: str) -> tuple[int, dict[str, dict[str, str]], list[str]]:
    """Exit code, findings by code, and what could not be looked at."""
    done = commands.nnprof("doctor", *words, "--format", "json", folder=board.folder)
    assert not done.stderr
    told = msgspec.json.decode(done.stdout)
    unknown = [one["what"] for one in told["unknown"]]
    return done.returncode, {one["code"]: one for one in told["findings"]}, unknown


def test_nothing_on_a_clean_board(clean: SshBoard) -> None:
    """A board in order has no finding over SSH; what its still files cannot tell is said."""
    code, found, unknown = doctor(clean, "--device", "orin")
    assert (code, found) == (0, {})
    # The folder's clock stands still, as no machine's does.
    assert unknown == ["work of other programs", "time that a hypervisor takes"]


def test_faults_of_a_board(clean: SshBoard, tmp_path: Path) -> None:
    """Mode, clocks, date, sensors, disk and other users of a board are found, mended by ssh."""
    write(clean.root, {"var/lib/nvpmodel/status": "pmode:0003\n"})
    write(clean.root, {"sys/class/devfreq/17000000.gpu/min_freq": "306000000\n"})
    write(clean.root, {"run/systemd/sessions/7": "UID=1001\nUSER=bob\nCLASS=user\n"})
    fake_linux.program(clean.root, "date", "echo 60")
    fake_linux.program(clean.root, "df", "echo F\necho disk 30000000 1 300000 99% /")
    expected = {"power_mode", "clocks_free", "governor", "clock_off", "disk_low", "logged_in"}
    if clean.user == "nnprof-board":  # another user than ours, who may be kept out
        sensor = clean.root / "sys/class/thermal/thermal_zone0/temp"
        sensor.chmod(0)
        (clean.root / "dev").mkdir()
        (clean.root / "dev/nvmap").touch(0o660)
        expected |= {"sensors_closed", "gpu_closed"}
    clean.give_away(clean.root / "sys/devices")
    code, found, _ = doctor(clean, "--device", "orin")
    assert set(found) == expected
    assert code == (2 if "gpu_closed" in expected else 1)
    assert found["power_mode"]["command"] == "ssh -t board 'sudo nvpmodel -m 2'"
    assert found["clock_off"]["found"].startswith("Its clock says 1970-01-01 00:01 UTC, ours 20")


def test_a_board_without_nnprof(clean: SshBoard) -> None:
    """A runtime that needs Python there is impossible without nnprof there, which is said."""
    words = ("--device", "orin", "--backend", "fake")
    (clean.folder / "config/nnprof/devices.toml").write_text(
        '[orin]\nhost = "board"\ndevice = "jetson"\npython = "/nowhere/python"\n'
    )
    code, found, unknown = doctor(clean, *words)
    assert code == 2
    assert "has no program /nowhere/python" in found["runtime_unavailable"]["found"]
    assert "Install nnprof" in found["runtime_unavailable"]["advice"]
    assert "Python and its packages" in unknown


def test_a_board_that_is_off(board: SshBoard) -> None:
    """A board that cannot be reached is one sentence and exit code 2."""
    board.stop()
    done = commands.nnprof("doctor", "--device", "board", folder=board.folder)
    assert done.returncode == 2
    assert "cannot be reached" in done.stderr
