"""Grids as a user types them: `nnprof show RUN --grid`."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import commands
import pytest

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
