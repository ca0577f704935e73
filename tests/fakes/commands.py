"""The `nnprof` command in this process: all but a Python of its own, whose start is what costs.

What is a claim about a process (signals, terminals, closed streams, imports) starts a real one.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nnprof.cli.main import main


class Done(NamedTuple):
    """Like `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def nnprof(*words: object, folder: Path | None = None, **environment: str) -> Done:
    """Run the command in a folder, 80 columns wide, with no terminal."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    arguments = ["nnprof", *map(str, words)]
    with (
        _inside(folder or Path("/")),
        _environment({"COLUMNS": "80", **environment}),
        _arguments(arguments),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
            code: object = 0
        except SystemExit as ended:
            code = ended.code or 0
    assert isinstance(code, int)
    return Done(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))  # type: ignore[attr-defined]


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _arguments(words: list[str]) -> Iterator[None]:
    before, sys.argv = sys.argv, words
    try:
        yield
    finally:
        sys.argv = before
