"""`nnprof doctor` as its user sees it."""

from __future__ import annotations

from pathlib import Path

import commands
import fake_linux
import msgspec
import pytest

from nnprof.profiler.doctor import seen


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clean computer that stands in for `/`, whose clock runs while the doctor waits."""
    root = fake_linux.computer(tmp_path / "pc")
    for name, value in fake_linux.environment(root).items():
        monkeypatch.setenv(name, value)
    look = seen.look
    monkeypatch.setattr(
        "nnprof.profiler.doctor.examine.look", lambda target: look(target, fake_linux.pause(root))
    )
    return root


def test_this_machine(tmp_path: Path) -> None:
    """Whatever this machine is, it is looked at, and the exit code is that of the worst finding."""
    done = commands.nnprof("doctor", "--format", "json", folder=tmp_path)
    told = msgspec.json.decode(done.stdout)
    worst = {None: 0, "hint": 0, "untrustworthy": 1, "impossible": 2}[told["severity"]]
    assert (done.returncode, told["exit_code"], told["schema"]) == (worst, worst, 1)
    assert done.stderr == ""


def test_a_finding_is_read_and_copied(computer: Path, tmp_path: Path) -> None:
    """Each finding says how bad, what and why within 80 columns; its command is on one line."""
    governor = "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor"
    fake_linux.write(computer, {governor: "powersave"})
    done = commands.nnprof("doctor", "--backend", "fake", folder=tmp_path)
    lines = done.stdout.splitlines()
    assert lines[0] == "untrustworthy: The frequency governor is 'performance, powersave'."
    assert lines[1].startswith("  Why: the clock follows the load")
    assert lines[2] == "  $ sudo cpupower frequency-set -g performance"
    assert lines[-1] == "Found here: 1 untrustworthy."
    assert all(len(line) <= 80 and line == line.rstrip() for line in lines)
    assert done.returncode == 1


def test_nothing_found(computer: Path, tmp_path: Path) -> None:
    """A clean machine has one line and exit code 0; hints do not change the code."""
    done = commands.nnprof("doctor", "--backend", "fake", folder=tmp_path)
    assert done.stdout == "Nothing was found here that would spoil numbers.\n"
    assert done.returncode == 0
    turbo = "sys/devices/system/cpu/intel_pstate/no_turbo"
    fake_linux.write(computer, {turbo: "0"})
    done = commands.nnprof("doctor", "--backend", "fake", folder=tmp_path)
    path = f"/{turbo}"
    assert f"  $ echo 1 | sudo tee {path}\n" in done.stdout
    assert done.returncode == 0


def test_a_runtime_that_is_unknown(tmp_path: Path) -> None:
    """A wrong name is one sentence, before anything is looked at."""
    done = commands.nnprof("doctor", "--backend", "onnx", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("nnprof: Unknown backend 'onnx'.")
