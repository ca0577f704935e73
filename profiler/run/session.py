"""What stands around a sweep: a place to ourselves, a power mode, precisions, the last look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from nnprof.files import AnyPath
from nnprof.profiler import checks, results
from nnprof.profiler.place import boards, claims, powermode
from nnprof.profiler.run import accuracy, alternate, begin
from nnprof.profiler.work import hosts
from nnprof.types import LOCAL, Cell, Plan, Run, Target


def alone(
    what: Target | AnyPath, wait: Callable[[str], None] | None = None
) -> AbstractContextManager[object]:
    """No other nnprof on this machine measures on the target, or writes the Run's file, meanwhile.

    Args:
        what: a target, or a file.
        wait: called with a sentence that names the other nnprof, while we wait until it ends. None:
            do not wait.

    Raises:
        UsageError: another nnprof has it, and `wait` is None.
    """
    return claims.held(what, wait) if isinstance(what, Target) else results.writing(what, wait)


def powered(target: Target, wanted: str | None = None) -> AbstractContextManager[None]:
    """The board is in this power mode meanwhile, or in the mode that devices.toml wants."""
    here = target.host == LOCAL
    wanted = wanted or ("" if here else boards.find(target.host).power_mode)
    return powermode.held(hosts.shell(target.host), wanted) if wanted else nullcontext()


def start(
    cells: Sequence[Cell],
    plan: Plan,
    folder: AnyPath = "bench_results",
    *,
    precisions: Sequence[str] = (),
    name: str = "bench",
    command: Sequence[str] | None = None,
) -> tuple[Run, Path]:
    """A Run on disk with nothing measured yet; every model has been opened once.

    Args:
        cells: of one target.
        plan: how to measure.
        folder: where the Run's file will be.
        precisions: measure each cell in each of these; without any, in that of its file. Where a
            cell is not fp32, or an option rounds, the Run has the accuracy of its models, too.
        name: the beginning of the file's name.
        command: what the Run says that it was made by.

    Raises:
        UsageError: there are no cells, or cells of several targets; the target is not here or
            refuses a model; a model cannot be converted; the folder is unwritable.
    """
    cells, sources = accuracy.in_precisions(cells, precisions)
    run, path = begin.start(cells, plan, folder, name=name, command=command)
    if accuracy.due(cells):
        run = accuracy.score(run, path, sources)
    return run, path


def start_pairs(
    sides: tuple[Sequence[Cell], Sequence[Cell]],
    plan: Plan,
    folder: AnyPath = "bench_results",
    *,
    precisions: tuple[str, str] = ("", ""),
    name: str = "bench",
    command: Sequence[str] | None = None,
) -> tuple[Run, Path]:
    """Side a of two Runs on disk that will alternate; `sweep` measures both.

    Args:
        sides: cells of one target each; those of one position are held against each other.
        plan: how to measure; `processes` to `max_processes` count pairs.
        folder: where the files will be.
        precisions: of each side, "" for that of its files.
        name: the beginning of the files' names.
        command: what the Runs say that they were made by.

    Raises:
        UsageError: the sides do not match, or one is refused; see `start`.
    """
    found = [
        accuracy.in_precisions(cells, (wanted,) if wanted else ())
        for cells, wanted in zip(sides, precisions, strict=True)
    ]
    (before, _), (after, _) = found
    started = alternate.start((before, after), plan, folder, name=name, command=command)
    for (run, path), (cells, sources) in zip(started, found, strict=True):
        if accuracy.due(cells):
            accuracy.score(run, path, sources)
    return results.load(started[0][1]), started[0][1]


def is_complete(run: Run) -> bool:
    """Whether nothing that was measured failed: no cell, and no pass of a cell."""
    return not run.failures and all(map(checks.is_complete, run.measurements))
