"""The table of a fleet while it measures, on a terminal of 80 columns."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from nnprof.profiler.fleet.orders import News
from nnprof.profiler.fleet.sweep import _Heard
from nnprof.profiler.report.shown_fleet import FleetView
from nnprof.profiler.run import begin
from nnprof.profiler.run.rounds import Step, Sweep
from nnprof.types import Cell, Plan, Run

LONG = "a-rather-long-name-of-a-board"


@pytest.fixture
def run(cells: tuple[Cell, ...], short: Plan, tmp_path: Path) -> Run:
    """One of two boards, with nothing measured."""
    made, _ = begin.start(cells, short, tmp_path)
    return replace(made, environment={**made.environment, "boards": ["one", LONG]})


def _lines(view: FleetView) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80).print(view._drawn())
    return [line.rstrip() for line in out.getvalue().splitlines()]


def _step(run: Run, **fields: object) -> Step:
    return replace(Sweep.of(run).step(run.study.cells[0].key), **fields)


def test_each_board_and_each_run_have_one_line(run: Run) -> None:
    """Within 80 columns, whatever names boards and files have."""
    path = Path("bench-" + "intel-r-xeon-r-processor-" * 3 + "60bc19.json")
    view = FleetView([(run, path)])
    network = run.study.cells[0].workload.model.name
    view.board(News(board="one", state="measuring", network=network * 9, batch=1024))
    view.board(News(board=LONG, state="away", reason="It cannot be reached. " * 9))
    view.step(path, _step(run))
    heading, one, other, of_run = _lines(view)
    assert heading.split() == ["board", "now", "last", "cell", "°C", "done", "away"]
    assert one.startswith("one ")
    assert "batch 1024" in one
    assert other.startswith(LONG[:20])
    assert "away: It cannot" in other
    assert of_run.startswith("one and 1 alike: 0/")


def test_boards_whose_run_is_over_say_so(run: Run) -> None:
    """What was measured there last is not what they do now."""
    view = FleetView([(run, Path("run.json"))])
    view.board(News(board="one", state="measuring", network="x", batch=1))
    view.step(Path("run.json"), _step(run, finished=4, total=4))
    assert ["all done" in line for line in _lines(view)] == [False, True, True, False]


def test_a_board_that_is_away_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Each try to reach it is no news; that it went again is."""
    heard = _Heard(None)
    away = News(board="one", state="away", reason="Gone.")
    for news in (away, away, News(board="one", state="here"), away, replace(away, reason="Off.")):
        heard(news)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["one is away: Gone.", "one is away: Gone.", "one is away: Off."]
