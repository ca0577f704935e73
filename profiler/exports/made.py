"""The edge of the room: a format by its name, made, and its files written whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from nnprof import registry
from nnprof.errors import UsageError
from nnprof.files import AnyPath, write_atomically
from nnprof.profiler.compare import compare
from nnprof.profiler.exports.export import Asked, Export, Made
from nnprof.types import Run


class ExportedRun(NamedTuple):
    """What was written: the files, and a sentence for each thing that the format has no place for.

    `worse` tells of two Runs whether a cell regressed, failed or is gone.
    """

    paths: tuple[Path, ...]
    left_out: tuple[str, ...]
    worse: bool = False


def export_run(
    run: Run,
    form: str,
    output: AnyPath,
    *,
    after: Run | None = None,
    cells: Sequence[int] = (),
    model: AnyPath | None = None,
    budget_s: float | None = None,
    beyond: float = 0.05,
    allow: Sequence[str] = (),
) -> ExportedRun:
    """Write a Run in the form that another tool reads; of two Runs, their comparison.

    Args:
        run: the Run, or of two the one before.
        form: a format's name.
        output: the file; of formats that are several files, a folder.
        after: the Run after.
        cells: only these, counted from 1 as `nnprof show` lists them.
        model: the network's ONNX file, where it is not where the Run says.
        budget_s: judge the cells by it, and not by the Run's own budget.
        beyond: share by which a cell must be SLOWER to count as worse.
        allow: conditions that may differ between the two Runs, and "missing".

    Raises:
        UnknownName: no format of that name.
        Unavailable: the library that writes it is not installed.
        UsageError: the format cannot show what is asked, or the output cannot be written.
    """
    found = _fitting(form, Path(output), after, model)
    chosen = only(run if after is None else after, cells)
    compared = None if after is None else compare(run, after, allow=allow)
    where = None if model is None else Path(model)
    asked = Asked(chosen, compared, beyond, tuple(allow), budget_s, where, Path(output))
    made = found.make(asked)
    return ExportedRun(tuple(_written(made, asked.output, found)), made.left_out, asked.worse)


def only(run: Run, numbers: Sequence[int]) -> Run:
    """The Run with these cells alone, counted from 1: measured ones, then failed ones.

    Raises:
        UsageError: the Run has fewer.
    """
    if not numbers:
        return run
    measured, every = len(run.measurements), len(run.measurements) + len(run.failures)
    wrong = [number for number in numbers if not 1 <= number <= every]
    if wrong:
        raise UsageError(f"There is no cell {wrong[0]}.", f"The Run has cells 1 to {every}.")
    return replace(
        run,
        left_out=(),
        measurements=tuple(run.measurements[one - 1] for one in numbers if one <= measured),
        failures=tuple(run.failures[one - 1 - measured] for one in numbers if one > measured),
    )


def _fitting(form: str, output: Path, after: Run | None, model: AnyPath | None) -> Export:
    """The format, if it can hold what is asked, in a place where it can be.

    Raises:
        UnknownName: no format of that name.
        UsageError: it holds no comparison or reads no model, or a file is where its folder is to
            be, or the reverse.
    """
    found: Export = registry.find("export", form)
    if after is not None and not found.compares:
        names = registry.names("export")
        known = [name for name in names if registry.find("export", name).compares]
        raise UsageError(
            f"{form} holds one Run and no comparison.",
            f"Name one Run, or use one of: {', '.join(known)}.",
        )
    if model is not None and not found.takes_model:
        raise UsageError(f"{form} is made without the network's file.", "Leave --model out.")
    if found.several and output.exists() and not output.is_dir():
        raise UsageError(
            f"{form} is several files, and '{output}' is a file.", "Give a folder for them."
        )
    if not found.several and output.is_dir():
        raise UsageError(f"{form} is one file, and '{output}' is a folder.", "Name a file in it.")
    return found


def _written(made: Made, path: Path, found: Export) -> list[Path]:
    folder = path if found.several else path.parent
    places = []
    for name, content in made.files.items():
        place = folder / name if name else path
        data = content if isinstance(content, bytes) else content.read_bytes()
        write_atomically(place, data)
        places.append(place)
    return places
