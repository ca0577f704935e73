"""A Raspberry Pi that is benched, as its user sees it."""

from __future__ import annotations

from pathlib import Path

import commands
import fake_pi
import pytest

from nnprof.profiler import results


@pytest.mark.usefixtures("workers_here")
def test_a_weak_supply_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Run of a Raspberry Pi is of its processors, and names a supply that was too weak."""
    root = fake_pi.make("pi5", tmp_path / "pi5")
    for variable, value in fake_pi.environment(root).items():
        monkeypatch.setenv(variable, value)
    fake_pi.throttled(root, 0x50005)
    words = ("1x28x28 fc10", "--backend", "fake", "--device", "pi", "--batch", "4", "--quick")
    done = commands.nnprof("bench", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    run = results.load(tmp_path / done.stdout.splitlines()[-1].removeprefix("Run: "))
    assert (run.study.target.device, run.study.target.on) == ("pi", "cpu")
    assert run.environment["device"]["board"] == "Raspberry Pi 5 Model B Rev 1.0"
    reading = run.measurements[0].processes[0].before
    assert reading.events == {
        "under-voltage": 1, "capped clock": 0, "throttling": 1, "soft temperature limit": 0,
    }  # fmt: skip
    told = {check.code for check in run.measurements[0].checks}
    assert {"under_voltage", "throttling", "governor"} <= told
    assert "throttled" not in told  # both bits were there before
    assert "a Raspberry Pi 5: 5 V, 5 A" in " ".join(done.stdout.split())
