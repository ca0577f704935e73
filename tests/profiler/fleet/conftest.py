"""Fixtures of fleets: two boards over SSH that are alike, each with a real sshd of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_ssh import SSHD, SshBoard, introduce

from nnprof.profiler.work import hosts

NAMES = ("one", "two")


@pytest.fixture
def boards(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, SshBoard]]:
    """Boards that listen, and a client that knows them."""
    pytest.importorskip("distributed", reason="needs the extra fleet")
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("needs OpenSSH's server and client (apt install openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it; gone with the next start
    root = Path(tempfile.mkdtemp(prefix="nnprof-fleet-"))  # not tmp_path: others must get in
    root.chmod(0o755)
    made = {}
    for name in NAMES:
        folder = root / name
        folder.mkdir()
        made[name] = SshBoard(folder)
    for variable, value in introduce(root, made, 'device = "cpu"\n').items():
        monkeypatch.setenv(variable, value)
    try:
        for board in made.values():
            board.start()
        yield made
    finally:
        hosts.release()
        for board in made.values():
            board.stop()
        shutil.rmtree(root)
