"""`--batch-axis` and `--dim`: what a user says of the sides of a model's inputs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

import nnprof
from nnprof.errors import UsageError

if TYPE_CHECKING:
    from nnprof import Sides

BatchAxis = Annotated[
    list[str] | None,
    typer.Option(
        metavar="INPUT=AXIS",
        help="The axis of an input that holds the batch, from 0, or INPUT=none; repeatable. "
        "none: no input has a batch.",
        show_default="as the file declares",
    ),
]
Dim = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=N",
        help="The size of a free side that is not the batch, by its name or as INPUT.AXIS; "
        "repeatable.",
    ),
]
_AXIS = re.compile(r"-?[0-9]{1,3}")
_SIZE = re.compile(r"[0-9]{1,9}")
_NONE = "none"


def sides(batch_axis: list[str] | None, dim: list[str] | None) -> Sides:
    """What the two options say.

    Raises:
        UsageError: one of them is not written as it should be, or says two things of one side.
    """
    from nnprof.exporters.axes import ALL

    axes: dict[str, int | None] = {}
    for word in batch_axis or ():
        name, equals, axis = word.rpartition("=")
        if word == _NONE:
            name = ALL
        elif not (equals and name and (axis == _NONE or _AXIS.fullmatch(axis))):
            raise UsageError(
                f"--batch-axis {word} is no axis of an input.",
                "Write --batch-axis INPUT=AXIS, such as x=1, or INPUT=none.",
            )
        _once(name, axes, word, "--batch-axis")
        axes[name] = None if axis == _NONE else int(axis)
    dims: dict[str, int] = {}
    for word in dim or ():
        name, equals, size = word.rpartition("=")
        if not (equals and name and _SIZE.fullmatch(size)):
            raise UsageError(
                f"--dim {word} is no size of a side.",
                "Write --dim NAME=N, such as length=100, or INPUT.AXIS=N.",
            )
        _once(name, dims, word, "--dim")
        dims[name] = int(size)
    return nnprof.Sides(axes, dims)


def _once(name: str, known: object, word: str, option: str) -> None:
    if isinstance(known, dict) and name in known:
        raise UsageError(f"{option} {word} says it a second time.", "Say it once.")
