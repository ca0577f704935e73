"""`nnprof setup`: install nnprof and a runtime on a board over SSH, or take them away again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from nnprof.cli import progress
from nnprof.errors import UsageError
from nnprof.text import plain, shell_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nnprof.profiler.setup.steps import Step

# A step once it is done, and where it only would be.
_DONE = {"carry": "carried", "make": "made", "install": "installed", "write": "wrote",
         "check": "checked", "remove": "removed"}  # fmt: skip

Host = Annotated[
    str,
    typer.Argument(
        metavar="HOST",
        help="What you give to ssh, such as me@192.168.1.20; ssh://me@host:port; or a board of "
        "your devices.toml.",
    ),
]
Name = Annotated[
    str | None,
    typer.Option(help="What --device is to call it.", show_default="the host, without user"),
]
Runtime = Annotated[
    str | None,
    typer.Option(help="The runtime: onnxruntime, openvino, mnn, …", show_default="ONNX Runtime"),
]
Dry = Annotated[bool, typer.Option("--dry-run", help="Change nothing, say what would be done.")]
Remove = Annotated[
    bool, typer.Option("--remove", help="Take away all that setup made there, and its table here.")
]


def setup(
    host: Host,
    name: Name = None,
    backend: Runtime = None,
    dry_run: Dry = False,
    remove: Remove = False,
) -> None:
    """Install nnprof on a board, by SSH alone: the board needs Python, and no network.

    Wheels for its Python, machine and glibc are gathered here and carried there. Its table is
    written into devices.toml, and the bundled network is run there. What is there stays as it is;
    what was cut off goes on.
    """
    from nnprof.profiler.setup import steps

    if remove and backend:
        raise UsageError("--remove takes all runtimes away.", "Leave --backend out.")
    if remove:
        made = steps.remove(host, name=name, dry_run=dry_run)
    else:
        made = steps.set_up(host, name=name, backend=backend, dry_run=dry_run)
    told = _told(made, dry_run=dry_run)
    sys.stdout.write(f"{_end(told, dry_run=dry_run, remove=remove)}\n")


def _told(made: Iterator[Step], *, dry_run: bool) -> list[Step]:
    """All steps, each printed once it is done; what it does meanwhile is on standard error."""
    told: list[Step] = []
    while True:
        try:
            with progress.shown():
                step = next(made, None)
        except KeyboardInterrupt:
            sys.stderr.write("Stopped: the same command goes on, --remove takes the half away.\n")
            raise
        if step is None:
            return told
        told.append(step)
        label = f"would {step.what}" if dry_run and step.what in _DONE else step.what
        label = label if dry_run else _DONE.get(step.what, step.what)
        sys.stdout.write(f"{label:<14} {plain(step.words)}\n")
        sys.stdout.flush()


def _end(told: list[Step], *, dry_run: bool, remove: bool) -> str:
    """The last line."""
    if dry_run:
        return "Nothing was changed."
    if remove:
        return (
            "All is gone." if any(one.changes for one in told) else "There was nothing to remove."
        )
    name = told[0].words.partition(",")[0]
    begin = "" if any(one.changes for one in told) else "All was there; nothing was changed. "
    return f"{begin}Measure: nnprof bench --device {shell_word(name)}"
