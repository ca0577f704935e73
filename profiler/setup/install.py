"""Setup's effects on a board: carry wheels, make the environment, install, take away."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from nnprof.errors import NoSpace, Unavailable
from nnprof.profiler.place import ssh_client
from nnprof.profiler.place.ssh import SshShell
from nnprof.profiler.setup import kept
from nnprof.profiler.setup.plan import megabytes
from nnprof.profiler.setup.there import There
from nnprof.profiler.setup.wheels import OWN, PIP, Wheel

_LOG = logging.getLogger(__name__)
_FOLDER = "wheels"  # in our cache there
_SHORT_S, _LONG_S = 120.0, 3600.0
# First so many folders with all that is in them; then files, and folders that are empty by then.
_REMOVE = (
    'cd /; count=$1; shift; while [ "$count" -gt 0 ]; do rm -rf -- "$1" || exit; shift; '
    'count=$((count - 1)); done; for one; do rmdir -- "$one" 2>/dev/null || rm -f -- "$one" '
    "2>/dev/null; done; true"
)
_SEEN = 'find "$1" -mindepth 1 2>/dev/null; ls -d "${TMPDIR:-/tmp}"/nnprof-* 2>/dev/null; true'


class Carried(NamedTuple):
    """A wheel and where it is on the board."""

    wheel: Wheel
    path: str


def cache(shell: SshShell) -> str:
    """The folder of nnprof in the cache of the account there."""
    return shell.way.folder.rpartition("/")[0]


def seen(shell: SshShell) -> frozenset[str]:
    """What nnprof has there outside of setup's own folder: its cache, its locks."""
    done = shell.run(["sh", "-c", _SEEN, "sh", cache(shell)], timeout_s=_SHORT_S)
    return frozenset(done.stdout.decode(errors="replace").splitlines())


def carry(shell: SshShell, wheels: Sequence[Wheel]) -> tuple[Carried, ...]:
    """Send what is not there yet; each is whole there, or not at all.

    Raises:
        NoSpace: there is no room.
    """
    total, sent, found = sum(one.bytes for one in wheels), 0, []
    for one in wheels:
        _LOG.info("carrying %s, %s of %s", one.path.name, megabytes(sent), megabytes(total))
        try:
            found.append(Carried(one, shell.put(one.path, f"{_FOLDER}/{one.path.name}")))
        except NoSpace as error:
            raise _full(shell) from error
        sent += one.bytes
    return tuple(found)


def make(shell: SshShell, there: There, *, system: bool) -> None:
    """The virtual environment, from the start, without pip, which Debian keeps apart.

    Args:
        shell: to the board.
        there: its Python.
        system: whether it sees the packages of the system.

    Raises:
        Unavailable: it cannot be made.
    """
    how = ["--clear", *(["--system-site-packages"] if system else [])]
    command = [there.executable, "-m", "venv", "--without-pip", *how, kept.environment(shell)]
    _LOG.info("making %s", kept.environment(shell))
    _do(shell, command, "The environment cannot be made there")


def install(shell: SshShell, carried: Sequence[Carried]) -> None:
    """Have pip install the wheels, from its own wheel where that is one of them; no index is asked.

    Raises:
        NoSpace: there is no room.
        Unavailable: pip failed.
    """
    python = f"{kept.environment(shell)}/bin/python"
    pip = next((one.path for one in carried if one.wheel.name == PIP), "")
    runner = [python, f"{pip}/pip"] if pip else [python, "-m", "pip"]
    command = [*runner, "--isolated", "install", "--no-index", "--no-deps", "--no-compile"]
    command += ["--no-cache-dir", "--disable-pip-version-check", "--progress-bar=off"]
    own = [one.path for one in carried if one.wheel.name == OWN]
    others = [one.path for one in carried if one.wheel.name != OWN]
    for more, paths in (([], others), (["--force-reinstall"], own)):
        if paths:
            _do(shell, [*command, *more, *paths], "pip could not install there", _LONG_S)


def forget_wheels(shell: SshShell) -> None:
    """What was carried is installed and not needed any more."""
    shell.run(["rm", "-rf", "--", shell.path(_FOLDER)], timeout_s=_SHORT_S)


def remove(shell: SshShell, trees: Sequence[str], rest: Sequence[str]) -> None:
    """Remove folders with all that is in them; then files, and folders if they are empty.

    Raises:
        Unavailable: something could not be removed.
    """
    command = ["sh", "-c", _REMOVE, "sh", str(len(trees)), *trees, *rest]
    _do(shell, command, "Not all could be removed there")


def _do(shell: SshShell, command: Sequence[str], failed: str, limit_s: float = _SHORT_S) -> None:
    done = shell.run(command, timeout_s=limit_s, hear=_told)
    said = done.stderr.decode(errors="replace")
    if "No space left" in said or "quota exceeded" in said:
        raise _full(shell)
    if done.returncode:
        raise Unavailable(
            f"{failed}: {ssh_client.last(said)}.", f"Look there: {shell.way.board.by_hand}"
        )


def _told(line: bytes) -> None:
    _LOG.info("%s", line.decode(errors="replace").strip())


def _full(shell: SshShell) -> NoSpace:
    return NoSpace(
        f"{shell.way.board.name} has no room left for what setup installs.",
        "Free some space there and type the same command again; or give back what it took: "
        "nnprof setup --remove",
    )
