"""Whatever happens, the command ends with a sentence and an exit code, and without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnprof.cli import main as front
from nnprof.profiler import results

GOLDEN = Path(__file__).parents[1] / "data" / "run-v1.json"
SHOW = (sys.executable, "-m", "nnprof", "show", str(GOLDEN))


def ended(monkeypatch: pytest.MonkeyPatch, *words: str) -> int | str | None:
    """The exit code of a command, run in this process by its entry point."""
    monkeypatch.setattr(sys, "argv", ["nnprof", *words])
    with pytest.raises(SystemExit) as end:
        front.main()
    return end.value.code


@pytest.mark.parametrize(
    "error", [KeyError("share"), RecursionError("deep"), ValueError("\x1b[31m\nred")]
)
def test_a_bug_is_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exception that nobody expected is told on one line: what, where, what to send; code 70."""

    def broken(_: Path) -> None:
        raise error

    monkeypatch.setattr(results, "load", broken)
    monkeypatch.delenv(front.DEBUG_VARIABLE, raising=False)
    assert ended(monkeypatch, "show", "run.json") == 70
    said = capsys.readouterr().err
    assert said.startswith("nnprof: This is a bug in nnprof ")
    assert f"{type(error).__name__} at nnprof/cli/show.py:" in said
    assert "(nnprof show run.json)" in said
    assert (said.count("\n"), "Traceback" in said, "\x1b" in said) == (1, False, False)
    monkeypatch.setenv(front.DEBUG_VARIABLE, "1")
    assert ended(monkeypatch, "show", "run.json") == 70
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends any command with 130 and nothing to read."""

    def stopped(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "load", stopped)
    assert ended(monkeypatch, "show", "run.json") == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_reader_that_leaves(form: str) -> None:
    """`nnprof show | head -0` ends quietly."""
    with subprocess.Popen(
        [*SHOW, "--format", form], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
    assert (process.returncode, said) == (141, b"")


def test_output_that_has_no_room() -> None:
    """A full disk behind standard output is told in one sentence."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(SHOW, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("nnprof: The output cannot be written: ")
    assert done.stderr.count("\n") == 1


def test_output_that_is_closed() -> None:
    """Closed streams are no reason to fail."""
    done = subprocess.run(
        ["bash", "-c", 'exec "$@" >&- 2>&- <&-', "bash", *SHOW], check=False, capture_output=True
    )
    assert done.returncode == 0


def test_letters_that_the_terminal_lacks() -> None:
    """Where output can only be ASCII, it still comes."""
    done = subprocess.run(
        SHOW,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_argument_that_is_no_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file name that is not UTF-8 could not be kept in a Run, and is refused."""
    assert ended(monkeypatch, "show", "caf\udce9.json") == 2
    assert capsys.readouterr().err.startswith("nnprof: 'caf\ufffd.json' is not UTF-8. Rename it")
