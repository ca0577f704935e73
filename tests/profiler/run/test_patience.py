"""Waiting for quiet: as long as others work, and no longer than was said."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from nnprof.profiler.run import patience
from nnprof.types import LOCAL


class _Machine:
    """A folder that stands in for `/`, whose two processors work for others for so long."""

    def __init__(self, root: Path, busy_s: float, *, others: float = 1.0) -> None:
        self._stat = root / "proc" / "stat"
        self._stat.parent.mkdir()
        self._busy_s, self._others, self._now_s = busy_s, others, 0.0
        self.pause(0.0)

    def pause(self, seconds: float) -> None:
        """So much time passes there."""
        self._now_s += seconds
        worked_s = self._others * min(self._now_s, self._busy_s)
        ticks = [round(100 * worked_s), 0, 0, round(100 * (2 * self._now_s - worked_s)), 0, 0, 0, 0]
        self._stat.write_text(f"cpu  {' '.join(map(str, ticks))} 0 0\n")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for `/`."""
    monkeypatch.setenv("NNPROF_ROOT", str(tmp_path))
    return tmp_path


def test_it_waits_for_the_end_of_others(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It goes on in the first window in which others hardly work, and says what it waits for."""
    caplog.set_level(logging.INFO, "nnprof")
    waited = patience.wait(LOCAL, 60.0, _Machine(root, 7.0).pause)
    assert 6.5 <= waited.seconds <= 7.5
    assert waited.others == 0
    assert "others keep 1.0 processors busy, 0 of at most 60 s" in caplog.messages[0]


def test_it_does_not_wait_for_ever(root: Path) -> None:
    """After the limit it goes on, and tells what others still do."""
    waited = patience.wait(LOCAL, 3.0, _Machine(root, 1e6, others=1.5).pause)
    assert waited == patience.Waited(3.0, pytest.approx(1.5))


def test_an_idle_system_is_quiet(root: Path) -> None:
    """The little that a system does by itself is not waited for."""
    waited = patience.wait(LOCAL, 60.0, _Machine(root, 1e6, others=0.1).pause)
    assert waited.seconds == 0


@pytest.mark.parametrize("limit_s", [0.0, 60.0])
def test_nobody_looks_without_being_asked_or_without_counts(root: Path, limit_s: float) -> None:
    """Not asked, or where the kernel does not count, it goes on at once and claims nothing."""
    assert not (root / "proc").exists()
    waited = patience.wait(LOCAL, limit_s, lambda _: None)
    assert waited == patience.Waited(0.0, None)
