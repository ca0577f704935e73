"""`nnprof devices` as its user sees it."""

from __future__ import annotations

from pathlib import Path

import commands
import pytest


def _nnprof(folder: Path, *arguments: str) -> commands.Done:
    return commands.nnprof(*arguments, folder=folder, XDG_CONFIG_HOME=str(folder))


def test_list(tmp_path: Path) -> None:
    """Each kind of device is listed, here or why not, and so are the boards of devices.toml."""
    (tmp_path / "nnprof").mkdir()
    (tmp_path / "nnprof/devices.toml").write_text('[shelf]\nhost = "me@10.0.0.7"\nport = 2222\n')
    done = _nnprof(tmp_path, "devices")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert {"cpu", "cuda", "jetson", "shelf"} <= set(rows)
    assert " here " in rows["cpu"]
    assert "–" in rows["jetson"]
    assert "ssh -p 2222 me@10.0.0.7" in rows["shelf"]
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


@pytest.mark.parametrize("board", ["agx-orin-jp6", "thor-jp7"], indirect=True)
def test_a_jetson_in_full(board: Path, tmp_path: Path) -> None:
    """On a Jetson, `devices jetson` tells what it is, each rail, and why something is unknown."""
    done = _nnprof(tmp_path, "devices", "jetson")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    if board.name == "thor-jp7":
        assert lines["jetpack"].split()[1] == "7.0"
        assert "VIN (ina238 each 4 ms)" in lines["rails"]
        assert "VIN 23.018 W" in lines["rails_w"]
    else:
        assert lines["total_rail"].endswith("unknown: no rail measures the whole board")
        assert lines["power_mode"].split()[1] == "MAXN"
        assert "GPU_SOC 3.182 W" in lines["rails_w"]


def test_elsewhere(tmp_path: Path) -> None:
    """Without a Jetson here or configured, `devices jetson` explains what to do."""
    done = _nnprof(tmp_path, "devices", "jetson")
    assert done.returncode == 2
    assert "no Jetson" in done.stderr
    assert "ssh://user@" in done.stderr
