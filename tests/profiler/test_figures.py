"""The figures of Mattsson 2016 as grids of our Runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnprof.errors import UnknownName, UsageError
from nnprof.networks.families import parameters, parse_network
from nnprof.profiler import figures, results

RESULTS = Path(__file__).parents[2] / "bench_results"
GROUPS = {
    f"group{one}": results.load(next(RESULTS.glob(f"group{one}-cpu-*.json")))
    for one in (1, 2, 3, 4)
}


def test_all_figures_are_there() -> None:
    """Figures 10 to 36 are grids, and every third of 14 to 35 is of two Runs."""
    assert sorted(figures.FIGURES) == list(range(10, 37))
    two = [number for number, one in figures.FIGURES.items() if one.runs == 2]
    assert two == list(range(14, 36, 3))


def test_a_figure_is_a_grid_of_the_family() -> None:
    """Every parameter that a figure names is one of the family's, or the batch."""
    known = {*parameters(parse_network("mattsson(conv=1)")), "batch"}
    for one in figures.FIGURES.values():
        assert {one.rows, one.columns, *one.where} <= known, one.number
        assert {one.rows, one.columns} & set(one.where) == set(), one.number


@pytest.mark.parametrize("number", [10, 11, 12, 13, 15, 16, 18, 21, 24, 27, 36])
def test_committed_runs(number: int) -> None:
    """The committed groups give each figure whose ops ran there, every cell of it measured."""
    figure = figures.FIGURES[number]
    run = GROUPS.get(figure.study, GROUPS["group3"])
    grid = figures.figure_grid(number, [run])
    assert {state for row in grid.states for state in row} == {"measured"}
    assert f"Figure {number} of Mattsson 2016" in grid.title
    assert grid.unit == ("ms/tile" if figure.kind else "tiles/ms")
    # What the Runs lack is told: two batches in groups 1 and 2, the 1×1 pools in 2 and 4.
    assert any("has batch 2048, 4096, too" in note for note in grid.notes) == (number < 12)
    assert any("pool1=1" in note for note in grid.notes) == (figure.rows == "conv")


def test_two_runs() -> None:
    """A figure of the speedup takes two Runs, another one, and a number that is none is refused."""
    run = GROUPS["group3"]
    assert figures.figure_grid(14, [run, run]).values[2][2] == pytest.approx(1)
    with pytest.raises(UsageError, match=r"Figure 14 is made of two Runs.*here is 1"):
        figures.figure_grid(14, [run])
    with pytest.raises(UsageError, match="the figure of the speedup: 14"):
        figures.figure_grid(12, [run, run])
    with pytest.raises(UnknownName, match=r"Unknown figure '9'\. Known: 10, 11"):
        figures.figure_grid(9, [run])


def test_where_replaces_what_the_figure_says() -> None:
    """A Run of another depth or batch makes a figure, once it is asked for by that."""
    with pytest.raises(UsageError, match=r"No cell has depth=40. Its values: 20."):
        figures.figure_grid(12, [GROUPS["group3"]], {"depth": 40})
    grid = figures.figure_grid(15, [GROUPS["group4"]], {"batch": "1024"})
    assert grid.columns == (5, 10, 20, 40, 80)


def test_what_is_fused_away() -> None:
    """Figures 30 to 35 need ops that ONNX Runtime fuses: the sentence names the option."""
    for number, group in ((30, "group4"), (33, "group3")):
        with pytest.raises(UsageError, match="--option optimise=0"):
            figures.figure_grid(number, [GROUPS[group]])
