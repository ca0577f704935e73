"""Each export of one fixed Run is, byte by byte where the format allows it, what it was before.

A golden file is written again by the command that made it:
`nnprof export-run tests/data/exports/run.json -f FORMAT -o tests/data/exports/golden/FILE`.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import pyarrow.parquet
import pytest
from commands import nnprof

from nnprof.profiler import results
from nnprof.types import Run

TEXTS = (
    ("chrome", "chrome.json"),
    ("bencher", "bencher.json"),
    ("github-action-benchmark", "github-action-benchmark.json"),
    ("junit", "junit.xml"),
    ("github-summary", "summary.md"),
    ("openmetrics", "metrics.txt"),
)


@pytest.mark.parametrize(("form", "name"), TEXTS)
def test_text(form: str, name: str, data: Path, tmp_path: Path) -> None:
    """Of one Run the same text comes out each time."""
    made = tmp_path / name
    done = nnprof("export-run", data / "run.json", "-f", form, "-o", made)
    assert done.returncode == 0
    assert done.stdout == f"Written: {made}\n"
    assert made.read_bytes() == (data / "golden" / name).read_bytes()


@pytest.mark.parametrize(
    ("form", "name"), [("junit", "junit-compared.xml"), ("github-summary", "summary-compared.md")]
)
def test_comparison(form: str, name: str, data: Path, slower: Run, tmp_path: Path) -> None:
    """Of two Runs the verdicts come out, and the exit code says that a cell became slower."""
    after, made = tmp_path / "after.json", tmp_path / name
    results.save(slower, after)
    done = nnprof("export-run", data / "run.json", after, "-f", form, "-o", made)
    assert done.returncode == 1
    assert made.read_bytes() == (data / "golden" / name).read_bytes()


def test_node_data(data: Path, tmp_path: Path) -> None:
    """A file for each metric of Model Explorer."""
    golden = data / "golden" / "model-explorer"
    made = tmp_path / "made"
    words = ("-f", "model-explorer", "--cell", 2, "-o", made)
    assert nnprof("export-run", data / "run.json", *words).returncode == 0
    names = sorted(path.name for path in golden.iterdir())
    assert sorted(path.name for path in made.iterdir()) == names
    for name in names:
        assert (made / name).read_bytes() == (golden / name).read_bytes()


def test_annotated_model(data: Path, tmp_path: Path) -> None:
    """The copy of the model has the same nodes, weights and entries."""
    made = tmp_path / "made.onnx"
    words = ("--model", data / "tiny.onnx", "--cell", 2, "-o", made)
    assert nnprof("export-run", data / "run.json", "-f", "onnx", *words).returncode == 0
    assert onnx.load(made) == onnx.load(data / "golden" / "annotated.onnx")


def test_tables(data: Path, tmp_path: Path) -> None:
    """Columns may join the three tables; none goes, and none has other types or values."""
    golden, made = data / "golden" / "parquet", tmp_path / "made"
    assert nnprof("export-run", data / "run.json", "-f", "parquet", "-o", made).returncode == 0
    for name in ("cells", "ops", "samples"):
        one, other = (pyarrow.parquet.read_table(at / f"{name}.parquet") for at in (made, golden))
        assert one.select(other.column_names) == other
