"""`make matrix`: its rows, what it asks of pip, and what its table says."""

from __future__ import annotations

import configparser
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
ON_A_GPU = {"tensorrt", "trtexec"}  # the matrix is for any machine
NO_RUNTIME = {"fake"}


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    """`tests/matrix.py` as a module."""
    spec = importlib.util.spec_from_file_location("matrix", ROOT / "tests" / "matrix.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["matrix"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    """What setup.cfg says."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def test_every_runtime_for_processors_has_a_row(
    matrix: ModuleType, setup: configparser.ConfigParser
) -> None:
    """A new backend without a row would never be tested alone; each row's extra is one of ours."""
    lines = setup["options.entry_points"]["nnprof.backends"].strip().splitlines()
    known = {line.split("=")[0].strip() for line in lines}
    assert {row.backend for row in matrix.ROWS} == known - ON_A_GPU - NO_RUNTIME
    extras = {one for row in matrix.ROWS for one in row.extra.split(",")}
    assert extras <= set(setup["options.extras_require"])


def test_a_chosen_version_is_not_held_by_the_constraints(matrix: ModuleType) -> None:
    """Only the runtime's own pin goes, and its exact version is asked for."""
    row = next(row for row in matrix.ROWS if row.version == "1.23.2")
    whole = (ROOT / row.constraints).read_text(encoding="utf-8").splitlines()
    left = matrix.constraints(row).splitlines()
    gone = [line for line in whole if line not in left]
    pinned = [line for line in gone if not line.startswith("#")]
    assert [Requirement(line).name for line in pinned] == ["onnxruntime"]
    assert matrix.wanted(row)[-1] == "onnxruntime==1.23.2"
    newest = row._replace(version=matrix.NEWEST)
    assert matrix.constraints(newest).splitlines() == left
    assert matrix.wanted(newest)[-1] == "pytest"


def test_versions_hold_only_where_a_row_can_keep_to_them(matrix: ModuleType) -> None:
    """LiteRT's converter needs older packages, but no other torch, which would bring CUDA."""
    row = next(row for row in matrix.ROWS if row.backend == "litert")
    held = [Requirement(line) for line in matrix.constraints(row).splitlines()]
    assert {one.name for one in held} == {"ai-edge-litert", "torch"}
    assert all(one.specifier for one in held)


def test_a_python_that_is_not_here_is_said_and_fails_nothing(
    matrix: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    """The table says which Python is missing."""
    monkeypatch.setattr(matrix, "FOLDER", tmp_path)
    monkeypatch.setattr(matrix, "ROOT", tmp_path)
    monkeypatch.setattr(matrix, "ROWS", (matrix.Row("old", "fake", "cpu", python="3.1"),))
    assert matrix.main([]) == 0
    assert "no python3.1 on the PATH" in capsys.readouterr().out
    assert "no python3.1 on the PATH" in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert matrix.main(["new"]) == 2
    assert "Known: old." in capsys.readouterr().err


def test_what_pip_misses_is_the_reason(matrix: ModuleType) -> None:
    """The last line that pip marks as an error, not the one that says to look above."""
    said = "ERROR: Could not find a version …\nERROR: No matching distribution found for ncnn\n"
    assert matrix.refusal(said) == "No matching distribution found for ncnn"
    assert matrix.refusal("Killed\n") == ""


def test_a_row_without_a_test_that_ran_is_not_good(matrix: ModuleType, tmp_path: Path) -> None:
    """Skipped tests pass nothing; failed and broken ones are named."""
    report = tmp_path / "report.xml"
    skipped = '<testcase name="a"><skipped message="not installed"/></testcase>'
    broken = '<testcase name="b"><error message="at collection"/></testcase>'
    known = matrix.Outcome(matrix.ROWS[0])
    for inside, words in ((skipped, "no test ran"), (skipped + broken, "failed: b")):
        report.write_text(f"<testsuites><testsuite>{inside}</testsuite></testsuites>")
        outcome = matrix.told(report, known)
        assert (outcome.words, outcome.good) == (words, False)
    report.write_text(
        f"<testsuites><testsuite>{skipped}<testcase name='c'/></testsuite></testsuites>"
    )
    outcome = matrix.told(report, known)
    assert (outcome.words, outcome.good, outcome.skipped, outcome.passed) == ("passed", True, 1, 1)
