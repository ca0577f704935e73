"""What the page says, as data: no browser is needed for it."""

from __future__ import annotations

import html
import math
import re
import shlex
from pathlib import Path

import pytest
from commands import nnprof as nnprof_command

import nnprof
from nnprof.errors import UsageError
from nnprof.profiler import stats
from nnprof.profiler.page import accuracy, batches, cells, course, ops, roofline, views
from nnprof.profiler.page.values import Page, Part
from nnprof.profiler.page.views import Given
from nnprof.profiler.streamed import streamed
from nnprof.types import Run

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "bench_results"


@pytest.fixture(scope="module")
def page(group1: Run) -> Page:
    """The page of group 1."""
    return views.page(Given({"group1.json": group1}))


def part(page: Page, key: str, cell: int = 0) -> Part:
    """What a view shows of a cell."""
    view = next(view for view in page.views if view.key == key)
    found = view.parts[cell if len(view.parts) > 1 else 0]
    assert found is not None
    return found


def test_the_views_stand_in_the_order_of_a_decision(page: Page) -> None:
    """Verdict, latency, waterfall and ops are first and open, provenance is last."""
    keys = [view.key for view in page.views]
    assert [view.key for view in page.views if view.first] == keys[:4]
    assert keys[:4] == ["verdict", "latency", "waterfall", "ops"]
    assert keys[-1] == "provenance"


def test_a_waterfall_ends_at_the_clean_time(group1: Run) -> None:
    """Ops, call and residual of each cell add up to the clean latency, and no op is missing."""
    for cell in cells.cells_of({"group1.json": group1}):
        found = ops.steps(cell)
        assert cell.one.ops is not None
        assert math.isclose(sum(step.seconds for step in found), stats.latency_s(cell.one))
        assert len(found) == len(cell.one.ops.ops) + 2
        assert found[-1].name == "residual"


def test_many_ops_are_not_drawn_one_by_one(group1: Run) -> None:
    """Beyond 24 ops the short ones are one bar, and the sum stays."""
    from msgspec.structs import replace

    first = group1.measurements[0]
    assert first.ops is not None
    many = tuple(replace(first.ops.ops[0], index=index, node=f"n{index}") for index in range(100))
    one = replace(first, ops=replace(first.ops, ops=many))
    (cell,) = cells.cells_of({"x": replace(group1, measurements=(one,))})
    found = ops.steps(cell)
    assert [step.name for step in found[24:]] == ["76 shorter ops", "call", "residual"]
    assert math.isclose(sum(step.seconds for step in found), stats.latency_s(one))


def test_the_knee_is_the_smallest_batch_near_the_best(group1: Run) -> None:
    """Smaller batches are more than a twentieth below the best, with their whole interval."""
    for own in batches.series_of(cells.cells_of({"x": group1})).values():
        at = batches.knee(own)
        best = max(point.cell.tiles_ms or 0 for point in own)
        highs = {
            point.number: point.cell.batch / (point.cell.ends_ms or (point.cell.ms,))[0]
            for point in own
        }
        assert highs[at.number] >= 0.95 * best
        assert all(
            highs[point.number] < 0.95 * best for point in own if point.cell.batch < at.cell.batch
        )


def test_each_cell_is_named_by_what_sets_it_apart(page: Page) -> None:
    """No two cells share a name; the family stands once, above them."""
    assert len(set(page.cells)) == len(page.cells) == 35
    assert "fc=2, batch 64" in page.cells
    assert "mattsson(conv=1, depth=20, neurons=128)" in page.about


def test_every_unknown_fact_has_a_reason(page: Page) -> None:
    """Where provenance has no value, the column beside it is not empty."""
    (table,) = part(page, "provenance").tables
    unknown = [row for row in table.rows if row[1] == "–"]
    assert unknown
    assert all(row[2] for row in unknown)


def test_what_is_missing_has_a_command() -> None:
    """A Run without op times shows no empty waterfall: it is listed with what would give it."""
    run = nnprof.load(RESULTS / "bundled-cpu-20261125-193638.json")
    page = views.page(Given({"bundled.json": run}))
    assert {"waterfall", "ops"}.isdisjoint(view.key for view in page.views)
    missing = {one.title: one for one in page.missing}
    assert missing["Ops"].command.startswith("nnprof bench")


def test_a_figure_holds_what_its_table_says(page: Page) -> None:
    """The numbers beside the latencies are those that are drawn, one row for each cell."""
    (figure,) = part(page, "latency").figures
    drawn = sorted(y for series in figure.series if not series.plain for y in series.y)  # type: ignore[type-var]
    assert drawn == sorted(row[2] for row in figure.table.rows)  # type: ignore[type-var]


def test_a_run_without_a_cell_is_refused(group1: Run) -> None:
    """A Run in which nothing was measured gives no page but a sentence."""
    from msgspec.structs import replace

    with pytest.raises(UsageError, match="nothing to report"):
        views.page(Given({"x": replace(group1, measurements=())}))


def test_a_distribution_ends_at_all(group1: Run) -> None:
    """The shares of each cell rise to 1, and the middle is the median of its samples."""
    cell = cells.cells_of({"x": group1})[0]
    (figure,) = course.distribution(cell).figures
    (series,) = figure.series
    shares = [value for value in series.y if isinstance(value, float)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    values, _ = course.latencies(cell)
    (middle,) = (mark.at for mark in figure.marks if mark.label == "p50")
    assert sum(value * 1e3 <= middle for value in values) >= len(values) / 2


def test_a_budget_is_counted_in_the_distribution(group1: Run) -> None:
    """With a budget the sentence says how many took longer, and the figure marks it."""
    cell = cells.cells_of({"x": group1})[0]
    values = sorted(course.latencies(cell)[0])
    told = course.distribution(cell, deadline_s=values[-4])
    assert "; 3 (" in told.told
    assert "budget" in {mark.label for mark in told.figures[0].marks}


def test_the_first_inference_stands_before_the_clean_pass(group1: Run) -> None:
    """Warm-up is hollow and at times below 0, samples follow it; no process is left out."""
    cell = cells.cells_of({"x": group1})[0]
    part = course.progression(cell)
    assert part is not None
    for series in part.figures[0].series:
        assert all((x < 0) is series.hollow for x in series.x if isinstance(x, int | float))
    assert len([one for one in part.figures[0].series if not one.plain]) == len(cell.one.processes)


def test_no_op_of_a_roofline_is_where_it_was_not_measured() -> None:
    """Points are FLOPs over bytes and over seconds of the op; ceilings are those of the Run."""
    (path,) = RESULTS.glob("costmodel-dev-*.json")
    run = nnprof.load(path)
    found = [roofline.part(cell) for cell in cells.cells_of({"x": run})]
    assert all(found)
    peak = run.environment["roofline"]["flops_per_s"] / 1e9
    for part in filter(None, found):
        ceilings = [one for one in part.figures[0].series if one.shape == "line"]
        assert ceilings
        assert max(y for one in ceilings for y in one.y if isinstance(y, float)) <= peak * 1.001


def test_the_front_holds_what_no_other_beats() -> None:
    """A point is on the front where no other one is both faster and more accurate."""
    points = [
        accuracy.Rated(None, name, ms, right, None, None, 1)
        for name, ms, right in (("a", 1, 0.8), ("b", 2, 0.7), ("c", 3, 0.9), ("d", 3, 0.85))
    ]
    assert [point.name for point in accuracy.front(points)] == ["a", "c"]


def test_the_interval_of_a_share() -> None:
    """Wilson's interval, as published for 10 of 10 and 0 of 10, stays within 0 and 1."""
    assert accuracy.wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert accuracy.wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_predictions_stand_beside_what_was_measured(group1: Run, tmp_path: Path) -> None:
    """With a model each cell has its prediction; those beyond what the model knows are hollow."""
    (path,) = RESULTS.glob("group1-cpu-*.json")
    model = nnprof.load_cost_model("gtx960-mattsson2016")
    page = nnprof.write_report([path], tmp_path / "page.html", model=model)
    (figure,) = part(page, "predicted").figures
    hollow = [one for one in figure.series if one.hollow]
    points = [one for one in figure.series if one.shape == "points"]
    assert sum(len(one.x) for one in points) == 35
    extrapolated = [row for row in figure.table.rows if row[-1]]
    assert sum(len(one.x) for one in hollow) == len(extrapolated)


def test_trainings_stand_beside_their_speed(tmp_path: Path) -> None:
    """A folder of trainings gives curves; networks that a Run timed are points of accuracy."""
    folder, path = (RESULTS / "studies" / name for name in ("table2", "table2-onnxruntime.json"))
    page = nnprof.write_report([path], tmp_path / "page.html", trainings=[folder])
    (curves,) = part(page, "curves").figures
    assert len(curves.table.rows) == len({one.colour for one in curves.series}) == 3
    (rated,) = part(page, "accuracy").figures
    tested = {row[4] for row in curves.table.rows}
    assert set(rated.series[0].y) == tested


def test_grids_are_the_figures_of_the_study() -> None:
    """A Run of group 3 has its grids, each once, with the numbers of `show --grid`."""
    run = nnprof.load(next(RESULTS.glob("group3-cpu-*.json")))
    tables = part(views.page(Given({"group3.json": run})), "grids").tables
    assert len({table.caption for table in tables}) == len(tables) >= 2
    grid = nnprof.grid_of_run(run, "fc", "neurons")
    assert tuple(row[1:] for row in tables[0].rows) == grid.values


@pytest.mark.usefixtures("workers_here")
def test_pauses_windows_and_memory_of_a_new_run(tmp_path: Path) -> None:
    """A Run of today's nnprof has these views; its pauses are drawn against the clean latency."""
    plan = nnprof.Plan(
        processes=2, max_processes=2, sample_s=0.05, op_method="none", idle_s=(0.0, 0.01)
    )
    family = nnprof.named_cells(["1x28x28 fc32 fc10"], nnprof.Target(backend="fake"), [1, 16])
    run, path = nnprof.start(family, plan, tmp_path)
    for _ in nnprof.sweep(run, path):
        pass
    page = nnprof.write_report([path], tmp_path / "page.html")
    (figure,) = part(page, "idle").figures
    assert {len(one.x) for one in figure.series} == {2}


def test_two_runs_are_held_against_each_other(tmp_path: Path) -> None:
    """Of two Runs the bars of a cell are the rows of `diff`, and its table ends at the whole."""
    paths = [RESULTS / "studies" / f"recurrent-{name}.json" for name in ("onnxruntime", "torch")]
    page = nnprof.write_report(paths, tmp_path / "page.html")
    found = nnprof.diff(*map(nnprof.load, paths)).cells[0]
    shown = part(page, "nodes")
    drawn = {y: x for one in shown.figures[0].series for x, y in zip(one.x, one.y, strict=True)}
    assert drawn["end to end"] == pytest.approx(found.delta_s * 1e3)
    rows = [x for name, x in drawn.items() if name not in ("left over", "end to end")]
    assert sum(x for x in rows if isinstance(x, float)) == pytest.approx(found.rows_s * 1e3)
    assert len(shown.figures[0].table.rows) == len(found.rows) + 3


def test_verdicts_are_those_of_the_api(group1: Run) -> None:
    """With a budget each card, and the table of all cells, has the word of `nnprof.verdicts`."""
    page = views.page(Given({"group1.json": group1}, deadline_s=0.005))
    expected = [one.word for one in nnprof.verdicts(group1, 0.005)]
    cards = [part(page, "verdict", cell).verdict for cell in range(35)]
    assert [card.word for card in cards if card] == expected
    (table,) = part(page, "cells").tables
    assert [row[8] for row in table.rows] == expected
    assert set(expected) == {"UNDECIDED", "MISSES"}
    assert expected[page.chosen] == "UNDECIDED"
    assert {mark.label for mark in part(page, "latency").figures[0].marks} == {"budget"}


def test_without_a_budget_nothing_is_claimed(page: Page) -> None:
    """A Run that was given no budget has none on its card, and no line in its figures."""
    card = part(page, "verdict").verdict
    assert card is not None
    assert card.word == "NO BUDGET"
    assert not part(page, "latency").figures[0].marks


_COMMAND = re.compile(r"^`nnprof report (.+) -o \S+`$\n+((?:\|.*\n)+)", re.MULTILINE)


def test_the_page_on_reports_says_what_pages_say(tmp_path: Path) -> None:
    """Each sentence of docs/report.md about committed Runs stands in the page of its command."""
    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    found = _COMMAND.findall(text)
    assert len(found) == 4
    for words, table in found:
        done = nnprof_command("report", *shlex.split(words), "-o", tmp_path / "x.html", folder=ROOT)
        assert done.returncode == 0, done.stderr
        page = (tmp_path / "x.html").read_text(encoding="utf-8")
        told = html.unescape(page.partition("<script")[0])
        sentences = [line.strip(" |").partition(" | ")[2] for line in table.splitlines()[2:]]
        assert not [one for one in sentences if one not in told]


@pytest.mark.usefixtures("workers_here")
def test_streams_are_told_by_their_number(tmp_path: Path) -> None:
    """Cells with several streams are one line over their number, with the rates of `streamed`."""
    plan = nnprof.Plan(
        processes=2, max_processes=2, sample_s=0.05, op_method="none", streams_s=0.05
    )
    targets = [nnprof.Target(backend="fake", streams=count) for count in (1, 2)]
    asked = [
        cell for one in targets for cell in nnprof.named_cells(["1x28x28 fc32 fc10"], one, [16])
    ]
    run, path = nnprof.start(asked, plan, tmp_path)
    for _ in nnprof.sweep(run, path):
        pass
    page = nnprof.write_report([path], tmp_path / "page.html")
    assert "single inferences of all streams" in part(page, "distribution", 1).told
    both = part(page, "latency").figures[0].table.rows
    assert both[0][2] == pytest.approx(both[1][2])  # neither slows the other, so both take as long
    (line,) = part(page, "streams").figures[0].series
    rates = [streamed(one) for one in nnprof.load(path).measurements]
    assert line.x == (1, 2)
    assert line.y == tuple(one.per_s.middle for one in rates if one)


def test_many_runs_are_told_in_the_order_of_time(tmp_path: Path, group1: Run) -> None:
    """A level that changes in the eighth of twelve Runs is a step there, marked and told."""
    from msgspec.structs import replace

    one, paths = group1.measurements[0], []
    for day in range(12):
        factor = 1.2 if day >= 7 else 1.0
        samples = tuple(tuple(value * factor for value in own) for own in one.samples_s)
        study = replace(group1.study, created=f"2026-11-{day + 1:02}T00:00:00+00:00")
        run = replace(group1, study=study, measurements=(replace(one, samples_s=samples),))
        paths.append(tmp_path / f"{day}.json")
        nnprof.save(run, paths[-1])
    shown = part(nnprof.write_report(paths, tmp_path / "page.html"), "history")
    (star,) = [series for series in shown.figures[0].series if series.star]
    assert star.x == (8,)
    assert "+20.0% on 2026-11-08" in shown.told
