"""Programs run here through the same port as on a board."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import ended, until

from nnprof.errors import Unavailable, WorkerTimeout
from nnprof.profiler.place import shells
from nnprof.profiler.ports import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """This machine, with a folder that is nobody else's."""
    return shells.LocalShell(tmp_path / "ours")


def python(code: str) -> list[str]:
    """A program that does what we say."""
    return [sys.executable, "-c", code]


def test_what_a_program_says_comes_back(shell: Shell) -> None:
    """Exit code, stdout and stderr come back; stdin goes in."""
    code = "import sys; print(sys.stdin.read()[::-1]); sys.stderr.write('hm'); sys.exit(3)"
    done = shell.run(python(code), stdin=b"abc", timeout_s=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"cba\n", b"hm")


def test_arguments_are_not_interpreted(shell: Shell) -> None:
    """Quotes, dollars and blanks in an argument arrive as they are."""
    nasty = "a b; $(touch x) `y` 'z' \"*"
    done = shell.run([*python("import sys; print(sys.argv[1])"), nasty], timeout_s=60)
    assert done.stdout.decode() == nasty + "\n"


def test_missing_program_is_127(shell: Shell) -> None:
    """A program that is not there, or is none, reports 127 as a command interpreter does."""
    done = shell.run(["/nowhere/trtexec", "--help"], timeout_s=60)
    assert done.returncode == shells.NO_SUCH_PROGRAM
    assert b"No such file" in done.stderr
    assert shell.run(["/etc/passwd"], timeout_s=60).returncode == shells.NO_SUCH_PROGRAM


def test_program_past_its_time_is_ended_with_its_children(shell: Shell, tmp_path: Path) -> None:
    """At the limit the program and what it started are gone, and the error says the limit."""
    note = tmp_path / "child"
    code = (
        "import os, pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)"
    )
    with pytest.raises(WorkerTimeout, match="after 2 s"):
        shell.run(python(code), timeout_s=2)
    assert _gone(int(note.read_text()))


def test_program_ends_with_who_asked_for_it(tmp_path: Path) -> None:
    """A worker that is killed leaves no program of its behind."""
    note = tmp_path / "program"
    inner = (
        "import os, pathlib, time; "
        f"pathlib.Path({str(note)!r}).write_text(str(os.getpid())); time.sleep(600)"
    )
    outer = (
        "import sys\nfrom nnprof.profiler.place.shells import LocalShell\n"
        f"LocalShell().run([sys.executable, '-c', {inner!r}], timeout_s=600)"
    )
    worker = subprocess.Popen(python(outer))
    with ended(worker):
        until(lambda: note.is_file() and note.read_text(), worker)
        worker.kill()
    assert _gone(int(note.read_text()))


def _gone(pid: int) -> bool:
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or _is_zombie(pid):
            return True
        time.sleep(0.05)
    os.kill(pid, 9)
    return False


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_file_travels_once(shell: Shell, tmp_path: Path) -> None:
    """A file is copied once, and again when it is another; a missing one is an error."""
    local = tmp_path / "model.onnx"
    local.write_bytes(b"one")
    there = shell.put(local, "model-abc.onnx")
    first = Path(there).stat().st_ino
    assert shell.put(local, "model-abc.onnx") == there == shell.path("model-abc.onnx")
    assert Path(there).stat().st_ino == first
    assert shell.get(there) == b"one"
    local.write_bytes(b"two")
    assert shell.get(shell.put(local, "model-abc.onnx")) == b"two"
    with pytest.raises(FileNotFoundError):
        shell.get(shell.path("nothing"))


def test_unknown_place_is_refused() -> None:
    """A host that cannot be reached is a sentence, not a traceback."""
    assert isinstance(shells.at("local"), shells.LocalShell)
    with pytest.raises(Unavailable, match="moon"):
        shells.at("moon")
