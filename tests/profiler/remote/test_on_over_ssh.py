"""A Jetson whose processors compute, over SSH: the worker is there; the board tells the rest."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import fake_board
import pytest
from fake_ssh import SshBoard
from msgspec.structs import replace

from nnprof.errors import Unavailable
from nnprof.profiler import results
from nnprof.profiler.run import begin, sweep
from nnprof.profiler.work import hosts
from nnprof.types import Cell, Plan

NANO = fake_board.BOARDS["orin-nano-jp6"]


@pytest.fixture
def orin(jetson: Callable[..., SshBoard]) -> SshBoard:
    """An Orin Nano with our Python, called orin; its processors are what is measured."""
    there = jetson("orin-nano-jp6")
    (there.folder / "config/nnprof/devices.toml").write_text(
        f'[orin]\nhost = "board"\ndevice = "jetson"\non = "cpu"\npython = "{sys.executable}"\n'
    )
    return there


def test_processors_of_a_board(
    orin: SshBoard, cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """Where its processors compute, facts, rails, power mode and clocks are the board's own."""
    target = hosts.named_target("orin")
    assert (target.backend, target.device, target.on) == ("onnxruntime", "jetson", "cpu")
    plan = replace(short, processes=1, max_processes=1, telemetry_s=0.02)
    run, path = begin.start((replace(cells[0], target=target),), plan, tmp_path, name="test")
    list(sweep.sweep(run, path))
    (measured,) = results.load(path).measurements
    assert measured.target == target
    assert measured.facts["providers"] == ["CPUExecutionProvider"]
    device = run.environment["device"]
    assert (device["name"], device["board"]) == ("jetson", NANO.model)
    assert (device["total_rail"], device["power_mode"]) == ("VDD_IN", "25W")
    (process,) = measured.processes
    assert len(process.processors) == target.threads
    for reading in (process.before, *process.during, process.after):
        assert set(reading.rails_w) == {"VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"}
        assert reading.clock_hz == NANO.cpu_khz[1] * 1e3
        assert reading.power_mode == "25W"


def test_a_part_that_the_board_lacks(orin: SshBoard) -> None:
    """A DLA is asked of the board itself, which says what it has."""
    options = {"trtexec": f"{orin.root}/usr/src/tensorrt/bin/trtexec"}
    target = hosts.named_target("orin", on="dla", options=options)
    assert target.backend == "trtexec"
    with pytest.raises(Unavailable, match=r"Orin Nano 8GB .* computes on cpu and gpu") as caught:
        begin.probe(target)
    assert "--on cpu or gpu" in caught.value.remedy
