"""`nnprof maps`: what the layers of a trained network make of tiles, as a picture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import nnprof
from nnprof.cli import numbers, progress
from nnprof.text import plain


def maps(
    folder: Annotated[
        Path, typer.Argument(help="A folder that nnprof train wrote.", metavar="FOLDER")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .svg, .png or .pdf to write.")],
    layer: Annotated[
        str | None,
        typer.Option(
            help="Layers, such as conv1,act1,pool2: counted by kind from the input on; act is an "
            "activation behind a bn. What a layer hands on is drawn, its own activation included.",
            show_default="each convolution",
        ),
    ] = None,
    tile: Annotated[
        str | None,
        typer.Option(
            help="Tiles, such as 1,4,7: indices in the test set, from 0.",
            show_default="the first three of different classes",
        ),
    ] = None,
) -> None:
    """Draw the feature maps of a trained network: a row for each tile, a grid for each layer."""
    layers = [word.strip() for word in layer.split(",")] if layer is not None else []
    tiles = numbers.tiles(tile) if tile is not None else ()
    with progress.shown():
        notes = nnprof.plot_maps(folder, output, layers=layers, tiles=tiles)
    for note in notes:
        sys.stderr.write(f"nnprof: {plain(note)}\n")
    sys.stdout.write(f"{plain(str(output))}\n")
