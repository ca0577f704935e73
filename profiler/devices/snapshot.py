"""Small text files and outputs of programs at one moment: what facts and readings are made of.

A snapshot maps the path of a file, or a command line, to its text. So the same functions read this
machine, a folder that stands in for `/`, and a board over SSH that has no Python.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # numpy comes with it, and telemetry starts often
    from nnprof.profiler.ports import Shell


Texts = Mapping[str, str]

_LIMIT_S = 10.0
_NO_NUMBER = re.compile(r"\d{40,}")  # no count, clock or serial number has so many digits


def root() -> str:
    """What stands in for `/`: NNPROF_ROOT, for a host seen from a container, and for tests."""
    return os.environ.get("NNPROF_ROOT", "/")


def of(
    shell: Shell | None, patterns: Iterable[str], commands: Iterable[str] = ()
) -> dict[str, str]:
    """The snapshot at the other end of a shell; of this machine where there is none."""
    return over(shell, patterns, commands) if shell else here(patterns, commands)


def here(patterns: Iterable[str], commands: Iterable[str] = ()) -> dict[str, str]:
    """The files that match, and what the commands say, on this machine.

    Files that cannot be read, and programs that are not there, are left out.
    """
    found = {}
    prefix = root().rstrip("/")
    for pattern in dict.fromkeys(patterns):
        # Path.glob takes six times as long, and reading must not disturb what is measured.
        for path in sorted(glob(prefix + pattern)):  # noqa: PTH207
            text = _text(path)
            if text is not None:
                found[path.removeprefix(prefix)] = text
    for command in commands:
        said = _output(command)
        if said is not None:
            found[command] = said
    return found


def script(patterns: Iterable[str], commands: Iterable[str] = ()) -> str:
    """A shell script that prints the same on a board; `parsed` reads its output.

    It is made of the constants of this package alone; nothing that a user or a file says is in it.
    """
    # A file named twice would have its lines twice.
    names = " ".join(f".{pattern}" for pattern in dict.fromkeys(patterns))
    lines = ["PATH=$PATH:/usr/sbin:/sbin", 'cd "${NNPROF_ROOT:-/}" || exit']
    if names:  # without any, grep would read the script
        lines.append(f"grep -aH '' {names} 2>/dev/null")
    lines += [
        f"{command} 2>&1 </dev/null | sed {shlex.quote(f's|^|{command}:|')}" for command in commands
    ]
    return "\n".join([*lines, "true"]) + "\n"


def over(shell: Shell, patterns: Iterable[str], commands: Iterable[str] = ()) -> dict[str, str]:
    """The same from wherever a shell runs programs.

    Raises:
        CellError: it cannot be reached any more.
    """
    text = script(patterns, commands).encode()
    done = shell.run(["sh", "-s"], stdin=text, timeout_s=3 * _LIMIT_S)
    return parsed(done.stdout.decode(errors="replace"))


def parsed(output: str) -> dict[str, str]:
    """The snapshot that `script` printed: lines of `.path:text` or `command:text`."""
    lines: dict[str, list[str]] = {}
    output = _NO_NUMBER.sub("", output)
    for line in output.split("\n"):
        name, colon, text = line.partition(":")
        if colon:
            lines.setdefault(name.removeprefix("."), []).append(text)
    return {name: clean("\n".join(texts)) for name, texts in lines.items()}


class Closed(NamedTuple):
    """A file that is there and not open to us, and the group that owns it."""

    path: str
    group: str


def closed(shell: Shell, patterns: Iterable[str], *, to_use: bool = False) -> list[Closed]:
    """Files at the other end of a shell that we may not read; or, `to_use`, not read and write.

    Raises:
        CellError: it cannot be reached any more.
    """
    names = " ".join(f".{pattern}" for pattern in patterns)
    test = '[ -r "$f" ] && [ -w "$f" ]' if to_use else '[ -r "$f" ]'
    text = (
        'cd "${NNPROF_ROOT:-/}" || exit\n'
        f'for f in {names}; do [ -e "$f" ] && {{ {test} || stat -c "%G %n" "$f"; }}; done\ntrue\n'
    )
    done = shell.run(["sh", "-s"], stdin=text.encode(), timeout_s=3 * _LIMIT_S)
    lines = [line.partition(" ") for line in done.stdout.decode(errors="replace").splitlines()]
    return [Closed(name.removeprefix("."), group) for group, _, name in lines if name]


def clean(text: str) -> str:
    """Without the NULs that end texts of the device tree, and without white space around."""
    return _NO_NUMBER.sub("", text.replace("\0", " ")).strip()


def _text(path: str) -> str | None:
    try:
        return clean(Path(path).read_bytes().decode(errors="replace"))
    except OSError:  # root's only, or a sensor that is switched off
        return None


def _output(command: str) -> str | None:
    name, *arguments = shlex.split(command)
    program = shutil.which(name)
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return clean(done.stdout.decode(errors="replace"))
