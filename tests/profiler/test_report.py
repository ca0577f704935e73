"""Tables and rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from nnprof.profiler import report, results
from nnprof.types import Run

GOLDEN = Path(__file__).parents[1] / "data" / "run-v1.json"


@pytest.fixture
def run() -> Run:
    """The golden Run: two cells and a failure."""
    return results.load(GOLDEN)


def _text(renderable: object, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5678, "1235"),
        (12.345678, "12.35"),
        (0.00123456, "0.001235"),
        (0.0, "0"),
        (None, "–"),
        (float("nan"), "–"),
        (-0.5, "-0.5000"),
        (1e-9, "1e-09"),
    ],
)
def test_digits(value: float | None, text: str) -> None:
    """Numbers show four significant digits, whatever their size; unknown is a dash."""
    assert report.digits(value) == text


def test_equation_12(run: Run) -> None:
    """tiles/ms is the batch over the milliseconds of an inference (Mattsson 2016, equation 12)."""
    for row in report.rows(run)[:2]:
        assert row["tiles_per_ms"] == pytest.approx(row["batch"] / row["latency_ms"])
        assert row["ms_per_tile"] == pytest.approx(1 / row["tiles_per_ms"])
        assert row["low_ms"] <= row["latency_ms"] <= row["high_ms"]


def test_csv_has_the_promised_columns(run: Run) -> None:
    """The CSV is read back with every promised column, whole numbers whole, gaps empty."""
    promised = {
        *("network", "batch", "precision", "backend", "device", "threads", "tiles_per_ms"),
        *("ms_per_tile", "latency_ms", "low_ms", "high_ms", "samples", "ops_over_clean", "state"),
    }
    rows = list(csv.DictReader(io.StringIO(report.as_csv(report.rows(run), report.COLUMNS))))
    assert promised <= set(rows[0])
    assert rows[0]["samples"].isdecimal()
    assert (rows[2]["latency_ms"], rows[2]["state"]) == ("", "failed")
    assert float(rows[0]["latency_ms"]) == report.rows(run)[0]["latency_ms"]


def test_op_csv_has_the_promised_columns(run: Run) -> None:
    """The ops' CSV has every promised column; shares are of Σops."""
    promised = {"network", "batch", "index", "op", "kind", "ms", "share", "method"}
    rows = list(csv.DictReader(io.StringIO(report.as_csv(report.op_rows(run), report.OP_COLUMNS))))
    assert promised <= set(rows[0])
    first = [float(row["share"]) for row in rows if row["batch"] == rows[0]["batch"]]
    assert sum(first) == pytest.approx(1)


def test_markdown_is_a_table(run: Run) -> None:
    """Markdown has a header, a rule and one line per cell, all with as many columns."""
    lines = report.as_markdown(report.rows(run), report.COLUMNS).strip().splitlines()
    assert len(lines) == 2 + 3
    assert {line.count("|") for line in lines} == {len(report.COLUMNS) + 1}


def test_table_fits_a_terminal(run: Run) -> None:
    """In 80 columns no line is longer, and every number is there whole."""
    text = _text(report.cell_table(run))
    assert max(map(len, text.splitlines())) <= 80
    for word in ("131.7", "0.007594", "1435", "steady", "failed"):
        assert word in text


def test_family_shows_what_differs() -> None:
    """Networks of one family are told apart by the parameters that differ, said once otherwise."""
    names = [f"mattsson(conv=1, fc={fc}, depth=20, neurons=128)" for fc in (1, 2)]
    common, labels = report._labels(names)
    assert common == "mattsson(conv=1, depth=20, neurons=128)"
    assert list(labels.values()) == ["fc=1", "fc=2"]


def test_mixed_networks_keep_their_names() -> None:
    """Networks that are not of one family are called by their whole names."""
    names = ["mattsson(conv=1, fc=1, depth=20, neurons=128)", "1x28x28 fc10"]
    assert report._labels(names) == ("", {name: name for name in names})


def test_residual_is_never_hidden(run: Run) -> None:
    """The line under the ops names Σops, clean and the residual, and they add up."""
    line = report.residual_line(run.measurements[1])
    words = line.split()
    ops_ms, clean_ms, rest_ms = (float(words[index]) for index in (1, 5, 9))
    assert ops_ms + rest_ms == pytest.approx(clean_ms, rel=1e-3)
    assert "method runtime" in line


def test_kinds_sum_to_the_ops(run: Run) -> None:
    """The table by kind shows each kind once, with all ops."""
    text = _text(report.kind_table(run.measurements[1]))
    ops = run.measurements[1].ops
    assert ops is not None
    assert all(kind in text for kind in {op.kind for op in ops.ops})
    assert text.count("runtime") == len({op.kind for op in ops.ops})


def test_each_warning_once(run: Run) -> None:
    """A warning that two cells share is one line that counts them."""
    lines = report.check_lines(run)
    assert sum("Other work was running" in line for line in lines) == 1
    assert "2 of 2 cells" in lines[0]


def test_failures_say_what_to_do(run: Run) -> None:
    """A failed cell's line has the error, the reason and the remedy."""
    (line,) = report.failure_lines(run.failures)
    assert line.endswith("OutOfMemory: Batch 1024 does not fit. Ask for a smaller batch.")
