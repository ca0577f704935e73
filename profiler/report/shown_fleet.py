"""A fleet while it measures: what each board does, what it found last, how long it will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace
from rich.console import Group
from rich.live import Live

from nnprof.profiler import stats
from nnprof.profiler.fleet.kinds import boards_of
from nnprof.profiler.fleet.orders import News
from nnprof.profiler.fleet.status import BoardStatus
from nnprof.profiler.place.boards import KIND
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.names import labels, names
from nnprof.terminal import Console, Table, styled
from nnprof.types import Run

if TYPE_CHECKING:
    from rich.text import Text
    from typing_extensions import Self

    from nnprof.profiler.run.rounds import Step

_LONGEST = 24  # letters of a board's name that are shown whole
_STYLES = {"away": "red", "joining": "yellow"}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A board: the last news of it, how many processes it has done, and what the last one found.

    `over`: whether its Run needs nothing more.
    """

    news: News
    over: bool = False
    done: int = 0
    times_away: int = 0
    last: str = ""
    temperature_c: float | None = None


class FleetView:
    """A table of boards and a line for each Run, drawn anew twice a second on standard error."""

    def __init__(self, runs: Sequence[tuple[Run, Path]]) -> None:
        self._rows = {
            board: Row(news=News(board=board, state="joining"))
            for run, _ in runs
            for board in boards_of(run)
        }
        _, self._short = labels([name for run, _ in runs for name in names(run)])
        self._boards = {path: boards_of(run) for run, path in runs}
        self._lines: dict[Path, str] = {}
        self._failed: Counter[Path] = Counter()
        self._live = Live(
            console=Console(stderr=True),
            get_renderable=self._drawn,
            refresh_per_second=2,  # boards are elsewhere: to paint here disturbs none
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def say(self, line: str) -> None:
        """A line above the table."""
        self._live.console.print(styled(line, "yellow"))

    def board(self, news: News) -> None:
        """What a board does from now on."""
        old = self._rows.get(news.board, Row(news=news))
        times_away = old.times_away + (news.state == "away" and old.news.state != "away")
        # Networks of one family are told apart by what each has of its own.
        told = replace(news, network=self._short.get(news.network, news.network))
        self._rows[news.board] = replace(old, news=told, times_away=times_away)

    def step(self, path: Path, step: Step) -> None:
        """A process that has ended."""
        self._failed[path] += step.failure is not None
        failed = f", {self._failed[path]} failed" if self._failed[path] else ""
        boards = self._boards[path]
        name = boards[0] if len(boards) == 1 else f"{boards[0]} and {len(boards) - 1} alike"
        self._lines[path] = (
            f"{name}: {step.done}/{step.expected} processes, {step.finished}/{step.total} cells, "
            f"{step.left_s:.0f} s left{failed}"
        )
        if step.finished == step.total:
            self._rows |= {one: replace(self._rows[one], over=True) for one in boards}
        cell = step.measurement
        if cell is None or step.failure:
            return
        process = cell.processes[-1]
        board = process.board
        old = self._rows.get(board)
        if old is not None:
            self._rows[board] = replace(
                old,
                done=old.done + 1,
                last=f"{digits(stats.latency_s(cell) * 1e3)} ms",
                temperature_c=process.after.temperature_c,
            )

    def _drawn(self) -> Group:
        return Group(board_table(self._rows.values()), *self._lines.values())


def board_table(rows: Iterable[Row]) -> Table:
    """One line per board."""
    rows = list(rows)
    table = Table(box=None, pad_edge=False, expand=True)
    # What gives way on a narrow terminal is what a board does now.
    widest = _widest(row.news.board for row in rows)
    table.add_column(
        "board", no_wrap=True, overflow="ellipsis", min_width=widest, max_width=_LONGEST
    )
    table.add_column("now", no_wrap=True, overflow="ellipsis", ratio=1)
    for name, width in (("last cell", 9), ("°C", 4), ("done", 4), ("away", 4)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    for row in rows:
        table.add_row(
            row.news.board,
            "all done" if row.over else _now(row.news),
            row.last or "–",
            digits(row.temperature_c, 3),
            str(row.done),
            str(row.times_away),
        )
    return table


def _widest(names: Iterable[str]) -> int:
    return min(_LONGEST, max(map(len, names), default=0))


def _now(news: News) -> str | Text:
    if news.state == "measuring":
        return f"batch {news.batch}, {news.network}"
    words = f"away: {news.reason}" if news.reason else news.state
    return styled(words, _STYLES.get(news.state, ""))


def print_status(found: Sequence[BoardStatus]) -> None:
    """One line per board; why some are away, and in what those that seem alike differ."""
    console, table = Console(), Table(box=None, pad_edge=False)
    for name in ("board", "what", "power mode", "runtime"):
        table.add_column(name, overflow="fold")
    table.add_column("°C", justify="right")
    table.add_column("shares a Run as", overflow="fold")
    for one in found:
        shares = one.kind.removeprefix(KIND) if one.kind != one.board else "–"
        table.add_row(
            one.board,
            one.what or "–",
            one.power_mode or "–",
            one.runtime or "–",
            digits(one.temperature_c, 3),
            styled("away", "red") if one.away else shares,
        )
    console.print(table)
    for one in found:
        if one.away:
            console.say(f"{one.board} is away: {one.away}", "red")
        elif one.unlike:
            more = f" (and {len(one.unlike) - 1} more)" if one.unlike[1:] else ""
            console.say(f"{one.board} has a Run of its own kind: {one.unlike[0]}{more}.")
