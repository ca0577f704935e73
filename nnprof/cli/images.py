"""`--image`: an image that is cut into tiles, of `bench`, `predict` and `search`."""

from __future__ import annotations

from typing import Annotated

import typer

Image = Annotated[
    str | None,
    typer.Option(
        "--image",
        metavar="HxW[/STRIDE]",
        help="Cut an image of so many pixels into the network's tiles, such as 784x784, or "
        "784x784/14 where they overlap; frames/s at batches that divide them.",
    ),
]
