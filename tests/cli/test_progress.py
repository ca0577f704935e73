"""What long commands say they do, on standard error; standard output is for data."""

from __future__ import annotations

import io
import json
import logging
import shutil
from pathlib import Path

import commands
import pytest
from rich.console import Console

from nnprof.cli import progress
from nnprof.networks import bundled
from nnprof.profiler.run import machine
from nnprof.types import Target

SPACE = "mattsson(conv=1, fc=1, depth=5|6, neurons=16|32)"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message is a line, however fast they come."""
    monkeypatch.setattr(progress, "_FIRST_S", 0.0)
    monkeypatch.setattr(progress, "_EACH_S", 0.0)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("search", "gtx960-mattsson2016", "--family", SPACE, "--min-tiles-per-ms", "1",
          "--format", "json"), ("predicting 4 networks",)),
        (("plan", "--family", SPACE, "--budget", "4", "--batch", "1"), ("choosing ops of ",)),
        (("train", "1x28x28 fc10", "--dataset", "digits", "--epochs", "2", "--out", "net"),
         ("training: step 1 of ", "timing the first steps; epoch 1")),
        (("export", "24 fc4 seed7", "-o", "net.onnx"), ("exporting 24 fc4",)),
    ],
)  # fmt: skip
def test_each_step_is_told(
    words: tuple[object, ...], said: tuple[str, ...], tmp_path: Path
) -> None:
    """Each long command names its steps in order, on standard error alone."""
    done = commands.nnprof(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    places = [done.stderr.index(step) for step in said]
    assert places == sorted(places)
    assert not any(step in done.stdout for step in said)


@pytest.mark.usefixtures("at_once", "workers_here")
def test_the_networks_of_a_study_are_counted(tmp_path: Path) -> None:
    """A study says which of its networks it makes ready, before any is measured."""
    for name in ("one.onnx", "two.onnx", "three.onnx"):
        shutil.copy(bundled.model_path(), tmp_path / name)
    cells = [{"network": name, "batch": 1} for name in ("one.onnx", "two.onnx", "three.onnx")]
    (tmp_path / "study.json").write_text(json.dumps({"schema": 1, "name": "three", "cells": cells}))
    done = commands.nnprof(
        "bench", "--study", "study.json", "--backend", "fake", "--ops", "none", "--no-telemetry",
        "--quick", folder=tmp_path,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.startswith("network ")] == [
        "network 1 of 3: one.onnx",
        "network 2 of 3: two.onnx",
        "network 3 of 3: three.onnx",
    ]
    measured = next(line for line in lines if "processes" in line)
    assert lines.index("network 3 of 3: three.onnx") < lines.index(measured)


def test_a_short_command_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal a command that ends within the first seconds leaves it empty."""
    monkeypatch.setattr(progress, "_FIRST_S", 1e9)  # all of them are the first ones
    done = commands.nnprof("plan", "--family", SPACE, "--budget", "4", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("workers_here")
def test_limits_and_telemetry_are_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measuring a device's limits, and what telemetry costs, tells each part as it begins."""
    monkeypatch.setattr(machine, "_PAIRS", 2)
    with caplog.at_level(logging.INFO, "nnprof"):
        machine.measured_limits(Target(backend="fake"))
        machine.measured_watching(Target(backend="fake"))
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert sum(line.startswith("limits: ") for line in said) >= 8
    assert said[-2:] == ["telemetry's cost: pair 1 of 2", "telemetry's cost: pair 2 of 2"]


def test_a_warning_stays_on_a_terminal() -> None:
    """The bar goes when all is done; what was warned of stands above it, as it came."""
    file = io.StringIO()
    handler = progress._Painted(Console(file=file, force_terminal=True, width=80))
    handler.handle(logging.LogRecord("nnprof", logging.WARNING, "", 0, "[/x] is a copy", (), None))
    handler.close()
    assert "[/x] is a copy" in file.getvalue()
    assert "[/x] is a copy" not in str(handler._progress.tasks[0].description)
