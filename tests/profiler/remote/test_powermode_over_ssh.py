"""A board's power mode, set and put back from another machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_ssh import SshBoard
from msgspec.structs import replace

from nnprof.errors import Unavailable
from nnprof.profiler import results
from nnprof.profiler.place import powermode
from nnprof.profiler.run import begin, sweep
from nnprof.profiler.work import hosts
from nnprof.types import Cell, Plan

Jetson = Callable[..., SshBoard]


def _log(board: SshBoard) -> list[str]:
    log = board.root / "var/log"
    return log.read_text().splitlines() if log.exists() else []


def test_set_and_put_back_over_ssh(
    jetson: Jetson, cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """A Run over SSH is made in the mode asked for; afterwards the board is as it was."""
    board = jetson()
    (board.root / "etc/sudoers.d").mkdir()
    (board.root / "etc/sudoers.d/nnprof").touch()
    options = {"trtexec": f"{board.root}/usr/src/tensorrt/bin/trtexec"}
    target = hosts.named_target(board.url, backend="trtexec", options=options)
    plan = replace(short, processes=1, max_processes=1, op_method="none")
    with powermode.held(hosts.shell(target.host), "MAXN_SUPER"):
        run, path = begin.start((replace(cells[0], target=target),), plan, tmp_path, name="test")
        list(sweep.sweep(run, path))
    run = results.load(path)
    assert run.environment["device"]["power_mode"] == "MAXN_SUPER"
    reading = run.measurements[0].processes[0].before
    assert (reading.power_mode, reading.locked) == ("MAXN_SUPER", True)
    assert _log(board) == [
        "jetson_clocks --store",
        "nvpmodel -m 2",
        "jetson_clocks",
        "nvpmodel -m 1",
        "jetson_clocks --restore",
    ]
    assert (board.root / "var/lib/nvpmodel/status").read_text() == "pmode:0001\n"


def test_account_that_may_not_over_ssh(jetson: Jetson) -> None:
    """An account without sudo there is told what to type, and nothing is changed."""
    board = jetson()
    target = hosts.named_target(board.url, backend="trtexec")
    with (
        pytest.raises(Unavailable) as caught,
        powermode.held(hosts.shell(target.host), "MAXN_SUPER"),
    ):
        pytest.fail("it was entered")
    assert caught.value.remedy == "Type there: sudo nvpmodel -m 2 && sudo jetson_clocks"
    assert _log(board) == []
