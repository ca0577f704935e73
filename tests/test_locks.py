"""One holder at a time, whatever happens to holders and files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nnprof import locks
from nnprof.errors import Busy, UsageError

_HOLDER = """
import sys, pathlib, contextlib
from nnprof import locks
sys.argv[1:] = ["bench", "a b", "--backend", "fake"]
with locks.held(pathlib.Path(sys.argv[0]), "it is held", shared=SHARED):
    print("held", flush=True)
    sys.stdin.read()
print("free", flush=True)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process that holds a lock until its stdin is closed."""
    started = []

    def make(path: Path, *, shared: bool = False) -> subprocess.Popen[str]:
        code = _HOLDER.replace("SHARED", str(shared)).replace("sys.argv[0]", repr(str(path)))
        holder = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        return holder

    yield make
    for holder in started:
        with holder:
            holder.kill()


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.mark.parametrize("shared", [False, True])
def test_the_second_is_told_who_holds_it(tmp_path: Path, start: Start, shared: bool) -> None:
    """The refusal names the holder's pid, since when, and its command."""
    path = tmp_path / "lock"
    holder = start(path, shared=shared)
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d"
    who = rf"it is held by process {holder.pid} since {when} \(nnprof bench 'a b'"
    with pytest.raises(Busy, match=who), locks.held(path, "it is held", shared=shared):
        pass
    assert locks.is_held(path).pid == holder.pid  # type: ignore[union-attr]


@pytest.mark.parametrize("shared", [False, True])
def test_the_second_waits_if_it_is_told_to(tmp_path: Path, start: Start, shared: bool) -> None:
    """With `wait` it says once for whom it waits, and goes on when that one ends."""
    path = tmp_path / "lock"
    holder = start(path, shared=shared)
    said: list[str] = []

    def wait(sentence: str) -> None:
        said.append(sentence)
        assert holder.stdin is not None
        threading.Timer(0.05, holder.stdin.close).start()

    with locks.held(path, "it is held", wait=wait, shared=shared):
        assert locks.is_held(path) is not None
    assert len(said) == 1
    assert f"process {holder.pid}" in said[0]


def test_a_killed_holder_holds_nothing(tmp_path: Path, start: Start) -> None:
    """After kill -9 the lock is free at once, and its file goes with the next holder."""
    path = tmp_path / "lock"
    holder = start(path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert path.exists()
    assert locks.is_held(path) is None
    with locks.held(path, "it is held"):
        pass
    assert not path.exists()


def test_many_want_it_and_one_has_it(tmp_path: Path) -> None:
    """Of 8 processes that take turns 25 times each, with the file removed each time, none meet."""
    path, count = tmp_path / "lock", tmp_path / "count"
    count.write_text("0")
    code = (
        "import pathlib\nfrom nnprof import locks\n"
        f"path, count = pathlib.Path({str(path)!r}), pathlib.Path({str(count)!r})\n"
        "for _ in range(25):\n"
        "    with locks.held(path, 'x', wait=lambda _: None):\n"
        "        count.write_text(str(int(count.read_text()) + 1))\n"
    )
    many = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(8)]
    assert [one.wait(timeout=120) for one in many] == [0] * 8
    assert count.read_text() == "200"
    assert not path.exists()


def test_a_process_may_hold_it_several_times(tmp_path: Path) -> None:
    """Who holds a lock already has it; it is given back by the last, in whatever order they end."""
    path = tmp_path / "lock"
    outer, inner = locks.held(path, "x"), locks.held(path, "x")
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert locks.is_held(path) is not None
    inner.__exit__(None, None, None)
    assert not path.exists()


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "folder", "pipe"])
def test_what_others_planted_is_refused(tmp_path: Path, kind: str) -> None:
    """A link is never followed, and nothing but a file of its own is used or written."""
    path, other = tmp_path / "lock", tmp_path / "other"
    if kind != "dangling link":
        other.write_text("precious")
    if kind in ("link", "dangling link"):
        path.symlink_to(other)
    elif kind == "hard link":
        path.hardlink_to(other)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(UsageError, match=r"The lock '.*' (cannot be used|is no file of its own)"):
        locks.held(path, "x", shared=True).__enter__()
    assert other.exists() == (kind != "dangling link")
    assert kind == "dangling link" or other.read_text() == "precious"


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe", b"{", b"[]", b'{"pid": 1e99}', b"x" * 100_000, b'{"pid": -1}']
)
def test_whatever_stands_in_it(tmp_path: Path, start: Start, text: bytes) -> None:
    """A holder that cannot be read is another program; its words never reach the terminal."""
    path = tmp_path / "lock"
    start(path)
    path.write_bytes(text)
    with pytest.raises(Busy, match="it is held by another program"):
        locks.held(path, "it is held").__enter__()


def test_a_name_is_text(tmp_path: Path, start: Start) -> None:
    """Control characters in what a holder says of itself are not shown."""
    path = tmp_path / "lock"
    holder = start(path)
    path.write_text(
        f'{{"pid": {holder.pid}, "host": "a\\u001b[31m", "since": "\\u001b]0;x", "command": "\\n"}}'
    )
    with pytest.raises(Busy) as caught:
        locks.held(path, "it is held").__enter__()
    assert str(caught.value).isprintable()


def test_a_shared_lock_is_for_all_users(tmp_path: Path) -> None:
    """Its file may be opened by all, whatever the umask, and stays; the other kind obeys it."""
    old = os.umask(0o077)
    try:
        with locks.held(tmp_path / "ours", "x"), locks.held(tmp_path / "all", "x", shared=True):
            modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("ours", "all")]
    finally:
        os.umask(old)
    assert modes == [0o600, 0o666]
    assert [path.name for path in tmp_path.iterdir()] == ["all"]


def test_no_folder(tmp_path: Path) -> None:
    """A folder that is not there, or may not be written, is a sentence."""
    with pytest.raises(UsageError, match="cannot be used: No such file"):
        locks.held(tmp_path / "no" / "lock", "x").__enter__()
