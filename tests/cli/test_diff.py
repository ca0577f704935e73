"""`nnprof diff` on the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from commands import nnprof

DATA = Path(__file__).parents[1] / "data" / "diff"
FP32, INT8 = DATA / "onnxruntime-fp32.json", DATA / "onnxruntime-int8.json"


def test_the_table_fits_a_terminal() -> None:
    """80 columns hold nodes, times, verdict and reason; sum, rest and whole end the table."""
    done = nnprof("diff", FP32, INT8)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("conv1 conv1_relu") for line in lines)
    assert any(line.strip().startswith("SLOWER: no longer on blocks") for line in lines)
    ends = [
        line.split("  ")[0] for line in lines if line.startswith(("sum of", "left o", "end to"))
    ]
    assert ends == ["sum of rows", "left over", "end to end"]
    assert any(line.startswith("Left over") for line in lines)
    assert any("is not there" in line for line in lines)  # the models' files


@pytest.mark.parametrize("form", ["csv", "md", "json"])
def test_forms(form: str) -> None:
    """CSV and JSON have every row in full; Markdown has the table of the terminal."""
    done = nnprof("diff", FP32, INT8, "--format", form)
    assert done.returncode == 0
    if form == "md":
        assert "| conv1 conv1_relu " in done.stdout
        return
    if form == "csv":
        table = list(csv.DictReader(io.StringIO(done.stdout)))
        total = sum(float(row["delta_ms"] or 0) for row in table[:-3])
        assert total == pytest.approx(float(table[-3]["delta_ms"]))
        assert [row["kind"] for row in table[-3:]] == ["sum of rows", "left over", "end to end"]
        return
    (cell,) = json.loads(done.stdout)["cells"]
    assert cell["rows"][0]["nodes"][0]["name"]
    assert cell["rows_s"] + cell["left_over_s"] == pytest.approx(cell["delta_s"])


def test_the_csv_is_the_golden_one() -> None:
    """Every column and word; numbers to nine digits. Written again by the same command."""
    made = nnprof("diff", FP32, INT8, "--format", "csv").stdout
    rows, golden = (
        list(csv.DictReader(io.StringIO(text)))
        for text in (made, (DATA / "golden.csv").read_text(encoding="utf-8"))
    )
    assert [list(row) for row in rows] == [list(row) for row in golden]
    for row, told in zip(rows, golden, strict=True):
        for name, value in told.items():
            number = value and name in ("share", *(key for key in told if key.endswith("_ms")))
            assert (
                row[name] == value
                if not number
                else float(row[name]) == pytest.approx(float(value), rel=1e-9)
            )


def test_all_columns_of_times_add_up_to_the_whole() -> None:
    """Of each side, and of the difference: rows, their sum, what is left over with its reasons."""
    text = nnprof("diff", FP32, DATA / "torch.json", "--format", "csv").stdout
    *rows, total, left, whole = csv.DictReader(io.StringIO(text))
    both = [row for row in rows if row["delta_ms"]]
    for name in ("a_ms", "b_ms", "delta_ms"):
        assert sum(float(row[name]) for row in both) == pytest.approx(float(total[name]))
        parts = float(total[name]) + float(left[name])
        assert parts == pytest.approx(float(whole[name]))
    told = left["reasons"].split("; ")
    assert told[0].startswith("the ops of a add up to less than an inference takes (method ")
    assert told[1].startswith("the ops of b add up to ")
    words = ("diff", FP32, DATA / "torch.json", "--format", "json")
    (cell,) = json.loads(nnprof(*words).stdout)["cells"]
    assert cell["left_over_reasons"] == told
    assert cell["left_over_s"] * 1e3 == pytest.approx(float(left["delta_ms"]))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((FP32, INT8, "--batch", "7"), "no cell of such a batch"),
        ((FP32, "--precision", "int8"), "is not one for each side"),
        ((FP32, INT8, "--precision", "int8"), "No cell of a is int8."),
        ((FP32, INT8, "--precision", "fp32,fp16"), "No cell of b is fp16."),
        ((FP32, DATA.parent / "run-v1.json"), "no finished cell of one network"),
        ((FP32,), "holds one precision"),
        ((FP32, "nowhere.json"), "nowhere.json"),
    ],
)
def test_wrong_requests(words: tuple[object, ...], sentence: str) -> None:
    """What cannot be held against each other is one sentence with a way out, exit code 2."""
    done = nnprof("diff", *words)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())
