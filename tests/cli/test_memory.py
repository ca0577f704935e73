"""Too little memory is a sentence and exit code 2, wherever it runs out."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nnprof.cli import main


def test_memory_that_runs_out_in_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A MemoryError of our own process is no bug of ours."""

    def full() -> None:
        raise MemoryError

    monkeypatch.setattr(main, "app", full)
    monkeypatch.setattr(sys, "argv", ["nnprof", "bench"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("nnprof: There is too little memory")


def test_too_little_address_space_to_start() -> None:
    """Under a small `ulimit -v` the sentence names the limit, before a library ends in its way."""
    command = 'ulimit -v 100000; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-m", "nnprof", "devices"],
        capture_output=True,
        text=True,
        check=False,
    )
    said = "nnprof: nnprof does not fit into 102 MB of address space. Raise the limit: ulimit -v.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
