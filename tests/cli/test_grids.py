"""Grids as a user types them: `nnprof show RUN --grid`."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import commands
import pytest

pytestmark = pytest.mark.usefixtures("workers_here")

RESULTS = Path(__file__).parents[2] / "bench_results"
(GROUP1,), (GROUP3,) = (tuple(RESULTS.glob(f"group{one}-cpu-*.json")) for one in (1, 3))


def test_a_table_fits_the_terminal() -> None:
    """Five columns with intervals fit into 80; more stand in a second table below."""
    done = commands.nnprof("show", GROUP3, "--grid", "neurons,fc")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "fc=1" in done.stdout
    assert "35.81 ±0.9%" in done.stdout
    wide = commands.nnprof("show", GROUP1, "--grid", "fc,batch").stdout
    assert max(map(len, wide.splitlines())) <= 80
    assert all(f"batch={batch}" in wide for batch in (16, 32, 64, 128, 256, 512, 1024))


def test_long_rows() -> None:
    """CSV has a row for each cell, with the names of both parameters, the interval and the unit."""
    done = commands.nnprof(
        "show", GROUP3, "--grid", "neurons,fc", "--kind", "gemm", "--format", "csv"
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 25
    assert (rows[1]["row_name"], rows[1]["row"], rows[1]["column"]) == ("neurons", "128", "2")
    assert {row["unit"] for row in rows} == {"ms/tile"}
    assert all(float(row["value"]) > 0 for row in rows)
    for form in ("md", "json"):
        assert commands.nnprof("show", GROUP3, "--grid", "fc,neurons", "--format", form).stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--grid", "fc"), "--grid fc does not name two parameters. Write --grid ROWS,COLUMNS"),
        (("--grid", "fc,"), "does not name two parameters"),
        (("--grid", "fc,width"), "Unknown parameter 'width'. Known: batch, conv"),
        (("--kind", "conv"), "--kind is about a grid, and there is none. Add --grid"),
        (("--where", "fc=1"), "--where is about a grid"),
        (("--grid", "fc,conv"), "neurons: 128, 256, 512, 1024, 2048"),
        (("--grid", "fc,neurons", "--where", "conv"), "chooses nothing. Write --where NAME=VALUE"),
        (("--grid", "fc,neurons", "--where", "conv=1,conv=2"), "says conv twice"),
        (("--grid", "fc,neurons", "--where", "conv=x"), "No cell has conv=x. Its values: 1."),
        (("--grid", "fc,neurons", "--batch", "1024"), "Write --where batch=1024 instead."),
        (("--grid", "fc,neurons", "--kind", "dot"), "Unknown kind of op 'dot'."),
    ],
)
def test_bad_input(words: tuple[str, ...], sentence: str) -> None:
    """What is no grid gets a sentence and its remedy, and exit code 2."""
    done = commands.nnprof("show", GROUP3, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--figure", "12", "--grid", "fc,conv"), "Leave --grid or --figure out."),
        (("--figure", "12", "--kind", "conv"), "Leave --kind out."),
        (("--figure", "9"), "Unknown figure '9'. Known: 10, 11"),
        (("--figure", "14"), "to 'nnprof compare --across' or 'nnprof plot'."),
        (("--figure", "33"), "--option optimise=0"),
        (("--figure", "12", "--where", "depth=5"), "No cell has depth=5. Its values: 20."),
    ],
)
def test_bad_figures(words: tuple[str, ...], sentence: str) -> None:
    """What is no figure of this Run gets a sentence and its remedy, and exit code 2."""
    done = commands.nnprof("show", GROUP3, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in " ".join(done.stderr.split())


def test_a_figure_as_a_table() -> None:
    """`show --figure 12` is the grid of that figure, and says so."""
    done = commands.nnprof("show", GROUP3, "--figure", "12")
    assert done.returncode == 0
    assert "(as Figure 12 of Mattsson 2016)" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_compare_across(tmp_path: Path) -> None:
    """Two Runs of the fake backend, one twice as fast: a ratio of 2, and what differs."""
    for name, speed in (("fast", 2), ("slow", 1)):
        commands.nnprof(
            "bench", "mattsson(fc=1..2)", "--batch", "4,8", "--backend", "fake", "--quick",
            "--ops", "none", "--option", f"speed={speed}", "--out", name, folder=tmp_path,
        )  # fmt: skip
    fast, slow = (next((tmp_path / name).glob("*.json")) for name in ("fast", "slow"))
    grid = ("--across", "--grid", "fc,batch")
    table = commands.nnprof("compare", fast, slow, *grid)
    assert table.returncode == 0
    assert "Differs: options: speed=2 in a, speed=1 in b." in " ".join(table.stdout.split())
    done = commands.nnprof("compare", fast, slow, *grid, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [float(row["value"]) for row in rows] == pytest.approx([2] * 4, rel=0.1)
    assert {row["unit"] for row in rows} == {"b / a"}
    assert "Differs" in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--across",), "Add --grid ROWS,COLUMNS"),
        (("--grid", "fc,neurons"), "has ratios and no verdicts. Add --across."),
        (("--across", "--figure", "14", "--allow", "device"), "Leave --allow out."),
        (("--across", "--figure", "12"), "take the figure of the speedup: 14."),
    ],
)
def test_bad_comparisons(words: tuple[str, ...], sentence: str) -> None:
    """A grid without --across, --across without a grid: a sentence each, exit code 2."""
    done = commands.nnprof("compare", GROUP3, GROUP3, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in " ".join(done.stderr.split())
