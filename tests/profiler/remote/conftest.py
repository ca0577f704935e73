"""Fixtures: a board that listens, and one that is a Jetson with JetPack and nothing else."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_board
import pytest
from fake_ssh import SSHD, SshBoard
from msgspec.structs import replace

from nnprof.profiler.work import hosts
from nnprof.types import Cell, Plan


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[SshBoard]:
    """A board that listens, and a client that knows it."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("needs OpenSSH's server and client (apt install openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it; gone with the next start
    folder = Path(tempfile.mkdtemp(prefix="nnprof-board-"))  # not tmp_path: others must get in
    folder.chmod(0o755)
    there = SshBoard(folder)
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    (bin_folder / "ssh").write_text(
        f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n'
    )
    (bin_folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    config = folder / "config/nnprof"
    config.mkdir(parents=True)
    (config / "devices.toml").write_text(
        f'[board]\nhost = "board"\ndevice = "cpu"\npython = "{sys.executable}"\n'
    )
    try:
        there.start()
        yield there
    finally:
        hosts.release()
        there.stop()
        shutil.rmtree(folder)


@pytest.fixture
def short(short: Plan) -> Plan:
    """A plan of few processes: each costs a start of Python there."""
    return replace(short, processes=2, max_processes=2, op_method="none")


@pytest.fixture
def cells(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """Three cells."""
    return cells[:3]


@pytest.fixture
def jetson(board: SshBoard, install_trtexec: Callable[..., Path]) -> Callable[..., SshBoard]:
    """Makes the board a Jetson: a name of `fake_board.BOARDS`, settings of its trtexec."""

    def make(name: str = "orin-nano-jp6", **settings: object) -> SshBoard:
        root = board.folder / name
        if not root.exists():
            fake_board.make(name, root)
        board.become(root)
        install_trtexec(board.root / "usr/src/tensorrt/bin", **settings)
        board.give_away(root)
        return board

    return make
