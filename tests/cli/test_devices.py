"""`nnprof devices` as its user sees it."""

from __future__ import annotations

import sys
from importlib import metadata
from importlib.metadata import version
from pathlib import Path

import commands
import fake_pi
import pytest

from nnprof.profiler.place import runtimes


def _nnprof(folder: Path, *arguments: str) -> commands.Done:
    return commands.nnprof(*arguments, folder=folder, XDG_CONFIG_HOME=str(folder))


def test_list(tmp_path: Path) -> None:
    """Each kind of device is listed, here or why not, and so are the boards of devices.toml."""
    (tmp_path / "nnprof").mkdir()
    (tmp_path / "nnprof/devices.toml").write_text('[shelf]\nhost = "me@10.0.0.7"\nport = 2222\n')
    done = _nnprof(tmp_path, "devices")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert {"cpu", "cuda", "jetson", "pi", "shelf"} <= set(rows)
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


@pytest.mark.parametrize("name", ["pi5", "pi4"])
def test_a_raspberry_pi_in_full(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Raspberry Pi, `devices pi` tells what it is, and its rails or why it has none."""
    root = fake_pi.make(name, tmp_path / name)
    for variable, value in fake_pi.environment(root).items():
        monkeypatch.setenv(variable, value)
    done = _nnprof(tmp_path, "devices", "pi")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert lines["manufacturer"].split(maxsplit=1)[1] == "Sony UK"
    if name == "pi5":
        assert "VDD_CORE (PMIC)" in lines["rails"]
        assert "VDD_CORE 5.364 W" in lines["rails_w"]
        assert "EXT5V 5.09 V" in lines["volts"]
        assert "USB" in lines["total_rail"]
    else:
        assert "measures no currents" in lines["rails"]
        assert "over_voltage 6" in lines["settings"]


def test_elsewhere(tmp_path: Path) -> None:
    """Without a Jetson here or configured, `devices jetson` explains what to do."""
    done = _nnprof(tmp_path, "devices", "jetson")
    assert done.returncode == 2
    assert "no Jetson" in done.stderr
    assert "ssh://user@" in done.stderr


def test_runtimes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each runtime is listed with the version that is here, or with the line that installs it."""
    loaded = set(sys.modules)
    monkeypatch.setattr(runtimes, "find_spec", lambda package: package != "openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)  # importing it fails
    done = _nnprof(tmp_path, "devices")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}
    assert rows["onnxruntime"][1:] == [version("onnxruntime")]
    assert rows["openvino"][1:] == ["–", "pip", "install", "'nnprof-embedded[openvino]'"]
    assert "fake" not in rows
    assert "torch" not in set(sys.modules) - loaded


@pytest.mark.parametrize(
    ("backend", "needs", "line"),
    [
        ("ncnn", "pnnx", "pip install --no-deps pnnx"),
        ("litert", "litert-torch", "pip install 'nnprof-embedded[litert-convert]'"),
    ],
)
def test_a_runtime_without_its_converter_is_told_with_what_installs_that(
    backend: str, needs: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is here and runs no ONNX file: the row has its version, and the line to type."""
    monkeypatch.setattr(runtimes, "find_spec", lambda _: True)
    monkeypatch.setattr(runtimes, "_version", lambda _: "1.0")
    real = metadata.distribution
    monkeypatch.setattr(
        metadata, "distribution", lambda name: real("no-such" if name == needs else name)
    )
    (row,) = (one for one in runtimes.known() if one.name == backend)
    assert row.version == "1.0"
    assert row.remedy.startswith(f"its converter is missing: {line}")
    assert not next(one for one in runtimes.known() if one.name == "mnn").remedy


def test_a_runtime_of_another_distribution_has_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """`onnxruntime` may come from `onnxruntime-gpu`; a package of no distribution is unknown."""
    brings = {"pytest_of_another_name": ["pytest"]}
    monkeypatch.setattr(runtimes, "packages_distributions", lambda: brings)
    assert runtimes._version("pytest_of_another_name") == version("pytest")
    assert runtimes._version("of_no_distribution") == "unknown"
