"""What a format is: from a Run, or from two that were compared, to files in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nnprof.errors import UsageError
from nnprof.types import Measurement, Run

if TYPE_CHECKING:
    from nnprof.profiler.compare import Comparison


class Asked(NamedTuple):
    """What is to be exported.

    Attributes:
        run: the Run, or of two the one after; only the cells that were chosen.
        comparison: of two Runs, None for one.
        beyond: share by which a cell must be SLOWER to count as worse.
        allow: conditions that may differ between the two, and "missing".
        budget_s: time budget of one inference or image; None: that of the Run, where it has one.
        model: the network's ONNX file, where it is not where the Run says.
        output: where the result goes.
    """

    run: Run
    comparison: Comparison | None = None
    beyond: float = 0.05
    allow: tuple[str, ...] = ()
    budget_s: float | None = None
    model: Path | None = None
    output: Path = Path()

    @property
    def worse(self) -> bool:
        """Whether two Runs are compared and a cell regressed, failed, or is gone without leave."""
        return self.comparison is not None and self.comparison.is_worse(self.beyond, self.allow)


class Made(NamedTuple):
    """Files, not yet written.

    Attributes:
        files: name within the folder → content; the name "" is the output itself. A path stands for
            a file that is to be copied.
        left_out: what the format has no place for, a sentence each.
    """

    files: Mapping[str, bytes | Path]
    left_out: tuple[str, ...] = ()


class Export(NamedTuple):
    """One format.

    Attributes:
        make: what it does.
        several: whether it is a folder of files.
        compares: whether it takes a comparison, too.
        takes_model: whether it reads the network's file.
    """

    make: Callable[[Asked], Made]
    several: bool = False
    compares: bool = False
    takes_model: bool = False


def one(content: bytes, left_out: tuple[str, ...] = ()) -> Made:
    """A single file."""
    return Made({"": content}, left_out)


def only_cell(run: Run, what: str) -> Measurement:
    """The one cell with op times, for a format that shows one.

    Raises:
        UsageError: there is none, or several to choose from.
    """
    found = [cell for cell in run.measurements if cell.ops and cell.ops.ops]
    if not found:
        raise UsageError(
            f"No cell has op times, and {what} shows nothing else.",
            "Measure with --ops combined, or import a profile.",
        )
    if len(found) > 1:
        listed = [f"{run.measurements.index(cell) + 1}: {_briefly(cell)}" for cell in found[:8]]
        more = [f"… {len(found) - 8} more, in the order of nnprof show"] if len(found) > 8 else []
        raise UsageError(
            f"{what} shows one cell, and {len(found)} have op times.",
            "\n  ".join(["Choose one with --cell NUMBER:", *listed, *more]),
        )
    return found[0]


def _briefly(cell: Measurement) -> str:
    work, target = cell.workload, cell.target
    return f"{work.model.name}, batch {work.batch}, {work.precision}, {target.backend}"


def failures_left_out(run: Run, form: str) -> tuple[str, ...]:
    """That failed cells are not in the file, because the format has no place for them."""
    count = len(run.failures)
    if not count:
        return ()
    cells = "1 cell" if count == 1 else f"{count} cells"
    return (f"{cells} failed; {form} has no place for that.",)


def require_measured(run: Run, form: str) -> None:
    """Refuse a Run without a number, for a format that holds nothing else.

    Raises:
        UsageError: no cell was measured.
    """
    if not run.measurements:
        raise UsageError(
            f"No cell of the Run was measured, and {form} holds measured cells only.",
            "nnprof show tells why; -f junit, openmetrics and parquet hold failures, too.",
        )
