"""`--against`, `--of`, `--cell`: how `plot` is asked for a picture of a study's trainings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

import nnprof
from nnprof.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

Against = Annotated[
    str | None,
    typer.Option(
        metavar="PARAMETER",
        help="Of a study's folder: what came out, over a parameter that it varies, such as batch; "
        "device where several trained.",
    ),
]
Of = Annotated[
    str | None,
    typer.Option(
        metavar="MEASURE,…",
        help="With --against, a panel each: 'test accuracy', 'validation accuracy', 'training "
        "accuracy', 'test loss', 'validation loss', 'training s' or 's per epoch'; without, "
        "training or validation: which curves. Default: accuracies and seconds, or both curves.",
        show_default=False,
    ),
]
Cells = Annotated[
    str | None,
    typer.Option(
        "--cell",
        metavar="NAME,…",
        help="Only these cells of a study; * stands for any letters.",
        show_default=False,
    ),
]


Predictions = Annotated[
    bool,
    typer.Option("--predictions", help="Of networks of values: what they foretell, and what came."),
]


class Asked(NamedTuple):
    """What is to be drawn of trainings; empty where nothing was said."""

    against: str
    of: tuple[str, ...]
    cells: tuple[str, ...]
    predictions: bool

    def draw(self, folders: list[Path], output: Path) -> tuple[str, ...]:
        """Draw it; sentences about what is not in the picture.

        Raises:
            UsageError: predictions, and something else.
        """
        if self.predictions:
            if self.against or self.of or self.cells:
                raise UsageError("--predictions draws one picture.", "Give no other option.")
            return nnprof.plot_predictions(folders, output)
        if self.against:
            return nnprof.plot_varied(folders, self.against, output, of=self.of, cells=self.cells)
        return nnprof.plot_trainings(folders, output, of=self.of, cells=self.cells)


def asked(against: str | None, of: str | None, cells: str | None, *, predictions: bool) -> Asked:
    """The picture that the options mean."""
    return Asked(against or "", _words(of), _words(cells), predictions)


def refuse_with_grid(wanted: Asked) -> None:
    """Refuse options of trainings where a grid of Runs is asked for.

    Raises:
        UsageError: one is given.
    """
    for option, given in zip(("--against", "--of", "--cell", "--predictions"), wanted, strict=True):
        if given:
            raise UsageError(
                f"{option} is about trainings, and a grid is of Runs.", f"Leave {option} out."
            )


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())
