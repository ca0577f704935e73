"""Tables and rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from nnprof.profiler import results, stats
from nnprof.profiler.importers.cell import named_model
from nnprof.profiler.place.limits import Roofline
from nnprof.profiler.report import digits, lines, markdown, notes, rows, terminal
from nnprof.profiler.report.csv import as_csv
from nnprof.profiler.report.names import labels as labels_of
from nnprof.types import Check, IdlePass, Run

GOLDEN = Path(__file__).parents[2] / "data" / "run-v1.json"


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
    assert digits.digits(value) == text


def test_equation_12(run: Run) -> None:
    """tiles/ms is the batch over the milliseconds of an inference (Mattsson 2016, equation 12)."""
    for row in rows.rows(run)[:2]:
        assert row["tiles_per_ms"] == pytest.approx(row["batch"] / row["latency_ms"])
        assert row["ms_per_tile"] == pytest.approx(1 / row["tiles_per_ms"])
        assert row["low_ms"] <= row["latency_ms"] <= row["high_ms"]


def test_csv_has_the_promised_columns(run: Run) -> None:
    """The CSV is read back with every promised column, whole numbers whole, gaps empty."""
    promised = {
        *("network", "batch", "precision", "backend", "device", "threads", "tiles_per_ms"),
        *("ms_per_tile", "latency_ms", "low_ms", "high_ms", "samples", "ops_over_clean", "state"),
    }
    lines = list(csv.DictReader(io.StringIO(as_csv(rows.rows(run), rows.COLUMNS))))
    assert promised <= set(lines[0])
    assert lines[0]["samples"].isdecimal()
    assert (lines[2]["latency_ms"], lines[2]["state"]) == ("", "failed")
    assert float(lines[0]["latency_ms"]) == rows.rows(run)[0]["latency_ms"]


def test_op_csv_has_the_promised_columns(run: Run) -> None:
    """The ops' CSV has every promised column; shares are of Σops."""
    promised = {"network", "batch", "index", "op", "kind", "ms", "share", "method"}
    lines = list(csv.DictReader(io.StringIO(as_csv(rows.op_rows(run), rows.OP_COLUMNS))))
    assert promised <= set(lines[0])
    first = [float(row["share"]) for row in lines if row["batch"] == lines[0]["batch"]]
    assert sum(first) == pytest.approx(1)


def test_markdown_is_a_table(run: Run) -> None:
    """Markdown has a header, a rule and one line per cell, all with as many columns."""
    lines = markdown.as_markdown(rows.rows(run), rows.COLUMNS).strip().splitlines()
    assert len(lines) == 2 + 3
    assert {line.count("|") for line in lines} == {len(rows.COLUMNS) + 1}


def test_table_fits_a_terminal(run: Run) -> None:
    """In 80 columns no line is longer, and every number is there whole."""
    text = _text(terminal.cell_table(run))
    assert max(map(len, text.splitlines())) <= 80
    for word in ("131.7", "0.007594", "1435", "steady", "failed"):
        assert word in text


def test_family_shows_what_differs() -> None:
    """Networks of one family are told apart by the parameters that differ, said once otherwise."""
    names = [f"mattsson(conv=1, fc={fc}, depth=20, neurons=128)" for fc in (1, 2)]
    common, labels = labels_of(names)
    assert common == "mattsson(conv=1, depth=20, neurons=128)"
    assert list(labels.values()) == ["fc=1", "fc=2"]


def test_mixed_networks_keep_their_names() -> None:
    """Networks that are not of one family are called by their whole names."""
    names = ["mattsson(conv=1, fc=1, depth=20, neurons=128)", "1x28x28 fc10"]
    assert labels_of(names) == ("", {name: name for name in names})


def test_imported_networks_keep_their_names(run: Run) -> None:
    """Networks of which no file is known are not taken for one another."""
    cell = run.measurements[0]
    cells = tuple(
        replace(cell, workload=replace(cell.workload, model=named_model(name)))
        for name in ("first", "second", "second")
    )
    (column, *_) = terminal.cell_table(replace(run, measurements=cells, failures=())).columns
    assert [str(cell) for cell in column.cells] == ["first", "second", ""]


def test_files_of_one_name_are_told_apart(run: Run) -> None:
    """Two models called net are shown with their files; a single one is not."""
    cell = run.measurements[0]
    work = [
        replace(cell.workload, model=replace(cell.workload.model, name="net", path=f, sha256=f))
        for f in ("a/net.onnx", "b/net.onnx")
    ]
    cells = tuple(replace(cell, workload=one) for one in work)
    asked = tuple(replace(run.study.cells[0], workload=one) for one in work)
    both = replace(run, measurements=cells, study=replace(run.study, cells=asked), failures=())
    (column, *_) = terminal.cell_table(both).columns
    assert [str(name) for name in column.cells] == ["net (a/net.onnx)", "net (b/net.onnx)"]
    alone = replace(both, study=replace(run.study, cells=asked[:1]), measurements=cells[:1])
    (column, *_) = terminal.cell_table(alone).columns
    assert [str(name) for name in column.cells] == ["net"]


def test_residual_is_never_hidden(run: Run) -> None:
    """The line under the ops names Σops, clean and the residual, and they add up."""
    line = lines.residual_lines(run.measurements[1])[0]
    words = line.split()
    ops_ms, clean_ms, rest_ms = (float(words[index]) for index in (1, 5, 9))
    assert ops_ms + rest_ms == pytest.approx(clean_ms, abs=2e-5)
    assert "method runtime" in line


def test_every_method_shows_its_own_residual(run: Run) -> None:
    """Beside the estimate stand the sums of all methods, and the caches that ops alone found."""
    cell = run.measurements[1]
    assert cell.ops is not None
    runtime = replace(cell.ops, method="runtime")
    ops = (*(replace(op, rotated_bytes=0) for op in cell.ops.ops[1:]), cell.ops.ops[0])
    ops = (*ops[:-1], replace(ops[-1], rotated_bytes=4_000_000))
    alone = replace(runtime, method="isolated", ops=ops, latency_s=stats.latency_s(cell) / 2)
    _, methods, cost, state = lines.residual_lines(replace(cell, op_passes=(runtime, alone)))
    assert "runtime" in methods
    assert f"isolated {digits.digits(alone.latency_s * 1e3)} ms (+50.0%)" in methods
    assert "profiler watched" in cost
    assert "1 with weights rotated through 4.0 MB or more" in state


def test_limits_are_shown_beside_ops(run: Run) -> None:
    """With the machine's limits an op's line says which share of which limit it reaches."""
    limits = Roofline(flops_per_s=1e9, bandwidths=((1 << 40, 1e9),), launch_s=1e-7)
    cell = run.measurements[1]
    assert cell.ops is not None
    work = {"flops": 1000, "bytes_in": 10, "bytes_out": 10, "bytes_weights": 10}
    ops = tuple(replace(op, seconds=2e-6, low_s=1e-6, high_s=3e-6, **work) for op in cell.ops.ops)
    text = _text(terminal.op_table(replace(cell, ops=replace(cell.ops, ops=ops)), limits))
    assert "50% compute" in text
    assert " 50 " in text  # ± %
    assert max(map(len, text.splitlines())) <= 80


def test_pauses_are_told(run: Run) -> None:
    """Latency after a pause is told with its ratio to the clean one."""
    cell = run.measurements[1]
    late = tuple((2 * value,) for value in stats.process_medians_s(cell))
    idle = (IdlePass(gap_s=0.01, samples_s=late),)
    (line,) = lines.idle_lines(replace(run, measurements=(replace(cell, idle=idle),)))
    assert "after 10.00 ms of pause, 2.00 times the clean latency" in line


def test_kinds_sum_to_the_ops(run: Run) -> None:
    """The table by kind shows each kind once, with all ops."""
    text = _text(terminal.kind_table(run.measurements[1]))
    ops = run.measurements[1].ops
    assert ops is not None
    assert all(kind in text for kind in {op.kind for op in ops.ops})
    assert text.count("runtime") == len({op.kind for op in ops.ops})


def test_each_warning_once(run: Run) -> None:
    """A warning that two cells share is one line that counts them."""
    said = notes.note_lines(run)
    assert sum("Other work was running" in line for line in said) == 1
    assert said[0].startswith("all 2 cells: ")


def test_the_most_important_warning_comes_first(run: Run) -> None:
    """What makes a time wrong stands before what makes it hard to read."""
    noted = (
        Check(code="outliers", data={"count": 1, "samples": 9, "worst": 2.0}),
        Check(code="throttled", data={"events": 3}),
    )
    one = replace(run.measurements[0], checks=noted)
    said = notes.note_lines(replace(run, measurements=(one,)))
    assert [line.split(" ", 3)[:3] for line in said] == [
        ["The", "device", "was"],
        ["1", "of", "9"],
    ]


def test_failures_say_what_to_do(run: Run) -> None:
    """A failed cell's line has the error, the reason and the remedy."""
    (line,) = lines.failure_lines(run.failures)
    assert line.endswith("OutOfMemory: Batch 1024 does not fit. Ask for a smaller batch.")
