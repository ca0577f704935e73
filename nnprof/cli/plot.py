"""`nnprof plot`: learning curves of trainings as a picture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import nnprof
from nnprof.text import plain


def plot(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Folders that nnprof train wrote, or a folder of such folders.", metavar="FOLDER…"
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .svg, .png or .pdf to write.")],
) -> None:
    """Draw accuracy and loss of trainings by epoch: mean and range over seeds."""
    for note in nnprof.plot_trainings(folders, output):
        sys.stderr.write(f"nnprof: {plain(note)}\n")
    sys.stdout.write(f"{plain(str(output))}\n")
