"""What a long command is doing, on standard error; standard output is for data.

The code below the commands says what it does through `logging` (loggers "nnprof…"). On a terminal
each message takes the place of the one before, at once. Elsewhere those of level INFO become lines,
at most one each few seconds and none in the first ones, so that a log stays short and a short
command says nothing; of a sweep each round is a line.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import nnprof
from nnprof.text import plain

if TYPE_CHECKING:
    from pathlib import Path

    from nnprof import BoardNews, Step
    from nnprof.profiler.report.shown_fleet import FleetView
    from nnprof.terminal import Console
    from nnprof.types import Run

_LOG = logging.getLogger(__name__)
_FIRST_S, _EACH_S = 2.0, 5.0  # before the first line that is not the end of a round, and between


class Shown(logging.Handler):
    """Shows messages and the steps of a sweep; this one as lines."""

    def __init__(self) -> None:
        super().__init__()
        self._next_s = monotonic() + _FIRST_S

    def emit(self, record: logging.LogRecord) -> None:
        """A line, unless there was one a moment ago; what is above INFO is always one."""
        now_s = monotonic()
        due = record.levelno >= logging.INFO and now_s >= self._next_s
        if due or record.levelno > logging.INFO:
            self._next_s = now_s + _EACH_S
            self.say(record.getMessage())

    def step(self, step: Step) -> None:
        """A line when its round is over."""
        if step.round_over:
            self.say(
                f"{step.done} of {step.expected} processes, {step.finished} of {step.total} cells "
                f"finished, about {step.left_s:.0f} s left"
            )

    def say(self, line: str) -> None:
        """A line, at once; of several, each."""
        sys.stderr.writelines(f"{plain(one)}\n" for one in line.split("\n"))
        sys.stderr.flush()


class _Painted(Shown):
    """On one line of a terminal, with a bar once the amount of work is known."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        super().__init__()
        self._news = ""
        self._progress = Progress(
            BarColumn(20),
            TextColumn(
                "{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)
            ),
            console=console,
            expand=True,
            # No refresh of its own: a thread that paints would disturb what is being timed.
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("starting", total=1)
        self._progress.start()
        self._progress.refresh()

    def emit(self, record: logging.LogRecord) -> None:
        """What is done now, behind what is known so far; a warning stays, above the bar."""
        if record.levelno >= logging.WARNING:
            self.say(record.getMessage())
        else:
            self._paint(record.getMessage())

    def say(self, line: str) -> None:
        """A line above the bar."""
        for one in line.split("\n"):
            self._progress.console.print(plain(one), markup=False, highlight=False)

    def step(self, step: Step) -> None:
        """The bar, the estimate of the cell that had its turn, and the time left."""
        told = f"{_estimate(step)}, {step.left_s:.0f} s left, {step.finished}/{step.total} cells"
        self._news = f"{step.done}/{step.expected} {told}; "
        self._progress.update(self._task, completed=step.done, total=step.expected)
        work = step.cell.workload
        self._paint(f"batch {work.batch}, {work.model.name}")

    def _paint(self, text: str) -> None:
        self._progress.update(self._task, description=plain(self._news + text), refresh=True)

    def close(self) -> None:
        """Leave the line to others."""
        self._progress.stop()
        super().close()


def _estimate(step: Step) -> str:
    from nnprof.profiler.report.digits import digits

    if step.failure:
        return "failed"
    if not step.measurement:
        return "left out"
    latency_ms, tiles = nnprof.latency_s(step.measurement) * 1e3, step.cell.workload.tiles
    return f"{digits(tiles / latency_ms)} tiles/ms" if tiles else f"{digits(latency_ms)} ms"


@contextmanager
def shown() -> Iterator[Shown]:
    """Show what is done inside."""
    from nnprof.terminal import Console

    console = Console(stderr=True)
    handler = _Painted(console) if console.is_terminal else Shown()
    with _told_to(handler):
        yield handler


@contextmanager
def fleet(runs: Sequence[tuple[Run, Path]]) -> Iterator[FleetView | _FleetLines]:
    """Show what several boards do inside: a table on a terminal, else a line each few seconds."""
    from nnprof.profiler.report.shown_fleet import FleetView
    from nnprof.terminal import Console

    if not Console(stderr=True).is_terminal:
        with _told_to(Shown()):
            yield _FleetLines()
        return
    with FleetView(runs) as view, _told_to(_Warnings(view.say)):
        yield view


class _FleetLines:
    """Several boards in lines."""

    def board(self, news: BoardNews) -> None:
        """Boards that are away are warned of as such."""

    def step(self, path: Path, step: Step) -> None:
        """A line, if the last one is a while ago."""
        _LOG.info(
            "%s: %d of %d processes, %d of %d cells finished, about %.0f s left",
            *(path.name, step.done, step.expected, step.finished, step.total, step.left_s),
        )


class _Warnings(logging.Handler):
    """Says what is above INFO."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """A line."""
        self._say(record.getMessage())


@contextmanager
def _told_to(handler: logging.Handler) -> Iterator[None]:
    """What the code below the commands says goes to a handler."""
    logger = logging.getLogger("nnprof")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
