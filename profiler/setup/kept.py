"""What setup made on a board, as a file beside it: the only thing that is remembered."""

from __future__ import annotations

import msgspec

from nnprof.documents import Document
from nnprof.errors import BadFile, NoSpace, Unavailable
from nnprof.profiler.place.ssh import SshShell

_FOLDER = ".local/share/nnprof/board"  # of the account on the board
PYTHON = f"~/{_FOLDER}/venv/bin/python"  # as devices.toml has it
SCHEMA = 1
_LIMIT_S = 60.0
_WRITE = 'mkdir -p -- "${1%/*}" && cat >"$1.tmp" && mv -f -- "$1.tmp" "$1"'
_MISSING = 'at=$1; until test -e "$at"; do printf "%s\\n" "$at"; at=$(dirname -- "$at"); done'


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What setup made, and what for.

    Attributes:
        paths: files and folders that were not there before it.
        extras: of nnprof, that were asked for so far.
        source: digest of nnprof's own files, once all is installed; empty until then.
        versions: of what is installed, by the names of the distributions.
    """

    schema: int = SCHEMA
    paths: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    source: str = ""
    versions: dict[str, str] = {}


_FILE = Document(Made, "what setup made", "nnprof setup --remove takes it away.", SCHEMA)


def folder(shell: SshShell) -> str:
    """Where all that setup installs lies."""
    return f"{shell.way.home}/{_FOLDER}"


def environment(shell: SshShell) -> str:
    """The virtual environment."""
    return f"{folder(shell)}/venv"


def _path(shell: SshShell) -> str:
    return f"{folder(shell)}/setup.json"


def load(shell: SshShell) -> Made | None:
    """What is remembered there; None where setup never began. A file of no sense is a beginning."""
    try:
        return _FILE.decode(shell.get(_path(shell)), "setup.json")
    except FileNotFoundError:
        return None
    except BadFile:
        return Made()


def save(shell: SshShell, made: Made) -> None:
    """Remember it there.

    Raises:
        NoSpace: there is no room.
        Unavailable: it cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(made))
    done = shell.run(["sh", "-c", _WRITE, "sh", _path(shell)], stdin=text, timeout_s=_LIMIT_S)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        kind = NoSpace if "No space left" in said else Unavailable
        raise kind(f"{_path(shell)} cannot be written there: {said}.", "Look at that folder.")


def missing(shell: SshShell) -> tuple[str, ...]:
    """The folder and those above it, as far as they are not there, the innermost first."""
    done = shell.run(["sh", "-c", _MISSING, "sh", folder(shell)], timeout_s=_LIMIT_S)
    return tuple(done.stdout.decode().splitlines())
