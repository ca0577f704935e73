"""`nnprof setup` on a board: a real sshd, a home of its own, wheels that weigh nothing."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import commands
import psutil
import pytest
import wheelhouse
from fake_ssh import SshBoard

from nnprof.profiler.place import boards
from nnprof.profiler.setup import table

THEIRS = '# Boards of the lab.\n[pi]  # with a fan\nhost = "pi.local"\n'


@pytest.fixture(scope="module")
def house() -> Iterator[Path]:
    """A folder that pip takes wheels from."""
    folder = Path(tempfile.mkdtemp(prefix="nnprof-house-"))
    yield wheelhouse.make(folder)
    shutil.rmtree(folder)


@pytest.fixture
def fresh(board: SshBoard, house: Path, monkeypatch: pytest.MonkeyPatch) -> SshBoard:
    """A board with a Python and nothing else, that devices.toml does not know."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(house))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    boards.file().write_text(THEIRS)
    board.set_python3(sys.executable)
    return board


def listing(board: SshBoard) -> set[str]:
    """What there is on the board."""
    folders = (board.home, board.lock.parent)
    return {str(path) for folder in folders for path in folder.rglob("*")}


def written(board: SshBoard) -> dict[str, int]:
    """When what setup installed was written."""
    whole = (board.home / ".local").rglob("*")
    return {str(path): path.lstat().st_mtime_ns for path in whole}


def test_from_nothing_and_back(fresh: SshBoard) -> None:
    """One command installs, another one changes nothing, and --remove leaves no trace."""
    before = listing(fresh)
    told = commands.nnprof("setup", "board", "--dry-run")
    assert told.returncode == 0, told.stderr
    for words in ("would carry", "wheels", "MB", "would make", "would install", "would write"):
        assert words in told.stdout
    assert told.stdout.endswith("Nothing was changed.\n")
    assert listing(fresh) == before
    assert boards.file().read_text() == THEIRS

    done = commands.nnprof("setup", "board")
    assert done.returncode == 0, done.stderr
    assert "of 64 tiles right, as here; " in done.stdout
    assert done.stdout.endswith("Measure: nnprof bench --device board\n")
    assert boards.file().read_text().startswith(THEIRS)
    assert boards.load()["board"].python == "~/.local/share/nnprof/board/venv/bin/python"
    assert not list(fresh.cache.rglob("*.whl"))

    there, installed = listing(fresh), written(fresh)
    again = commands.nnprof("setup", "board")
    assert again.returncode == 0, again.stderr
    assert "All was there; nothing was changed." in again.stdout
    assert (listing(fresh), written(fresh)) == (there, installed)

    gone = commands.nnprof("setup", "board", "--remove")
    assert gone.returncode == 0, gone.stderr
    assert listing(fresh) == before
    assert boards.file().read_text() == THEIRS
    assert "nothing to remove" in commands.nnprof("setup", "board", "--remove").stdout
    assert listing(fresh) == before


def cut_off(board: SshBoard) -> None:
    """Break the connection as soon as pip installs there."""

    def wait() -> None:
        while board.listens and not any("install" in words for words in _commands(board)):
            time.sleep(0.05)
        if board.listens:
            board.kill_sessions()

    Thread(target=wait, daemon=True).start()


def _commands(board: SshBoard) -> Iterator[list[str]]:
    """Of the Pythons that run on the board."""
    for one in board.workers():
        with contextlib.suppress(psutil.NoSuchProcess):
            yield one.cmdline()


def test_a_cut_in_the_middle(fresh: SshBoard) -> None:
    """What was cut off is taken away by --remove, or completed by the same command."""
    before = listing(fresh)
    for then in ("--remove", "--backend=fake"):
        cut_off(fresh)
        broken = commands.nnprof("setup", "board", "--backend", "fake")
        assert broken.returncode == 2
        assert "connection to board broke" in broken.stderr
        assert "same command again" in broken.stderr
        assert listing(fresh) != before
        done = commands.nnprof("setup", "board", then)
        assert done.returncode == 0, done.stderr
        assert (listing(fresh) == before) == (then == "--remove")
    assert commands.nnprof("setup", "board", "--remove").returncode == 0
    assert listing(fresh) == before


def test_what_was_there_stays(fresh: SshBoard) -> None:
    """An older cache keeps its files, and a table of the user's all but the line that it got."""
    older = fresh.cache / "older.onnx"
    older.parent.mkdir(parents=True)
    older.write_bytes(b"x")
    fresh.give_away(fresh.home)
    mine = f'{THEIRS}\n[lab]\nhost = "board"  # upstairs\ndevice = "cpu"\n'
    boards.file().write_text(mine)
    before = listing(fresh)
    assert commands.nnprof("setup", "lab", "--backend", "fake").returncode == 0
    assert table.MARK in boards.file().read_text()
    assert len(list(fresh.cache.glob("*.onnx"))) > 1
    assert commands.nnprof("setup", "board", "--remove").returncode == 0
    assert listing(fresh) == before
    assert boards.file().read_text() == mine


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backend", "openvino"], "There is no wheel of openvino"),
        (["--backend", "trtexec"], "setup cannot install trtexec"),
        (["--backend", "nonsense"], "Unknown backend 'nonsense'"),
        (["--name", "pi"], "another board called 'pi'"),
        (["--name", "cpu"], "--device cpu always means this machine"),
        (["--remove", "--backend", "mnn"], "--remove takes all runtimes away"),
    ],
    ids=["no wheel", "no package", "unknown", "taken", "not a name", "both"],
)
def test_refusals_leave_nothing(fresh: SshBoard, words: list[str], said: str) -> None:
    """What cannot be done is a sentence; nothing is left on the board, or written here."""
    before = listing(fresh)
    done = commands.nnprof("setup", "board", *words)
    assert done.returncode == 2
    assert said.lower() in done.stderr.splitlines()[-1].lower()
    assert listing(fresh) == before
    assert boards.file().read_text() == THEIRS


def test_no_room(fresh: SshBoard) -> None:
    """What does not fit is refused before it is carried, with what is there and what is needed."""
    fresh.make_small("4m")
    done = commands.nnprof("setup", "board", "--backend", "fake")
    assert done.returncode == 2
    assert "left in its home folder, and setup needs" in done.stderr
    assert not list(fresh.seen(fresh.home).iterdir())


def test_no_python(board: SshBoard) -> None:
    """A board without Python is told what to install; nothing is left there."""
    tools = (
        "bash sh flock setpriv setsid timeout sha256sum mktemp dd cat head date dirname mkdir grep"
    )
    board.set_path(*tools.split(), "readlink", "rm", "rmdir", "printf", "touch", "find", "sort")
    before = listing(board)
    boards.file().write_text("")
    done = commands.nnprof("setup", "board")
    assert done.returncode == 2
    assert "board has no Python, and nnprof needs 3.10 or newer" in done.stderr
    assert listing(board) == before
