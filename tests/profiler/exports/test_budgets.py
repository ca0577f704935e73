"""What is said of a time budget is said in the format's own words."""

from __future__ import annotations

import io

import junitparser
import numpy as np
import pytest
from msgspec.structs import replace
from prometheus_client.openmetrics import parser as openmetrics
from pyarrow import parquet as arrow

from nnprof.profiler import stats
from nnprof.profiler.deadlines import verdicts
from nnprof.profiler.exports import github_summary, junit, parquet
from nnprof.profiler.exports import openmetrics as metrics
from nnprof.profiler.exports.export import Asked, Made
from nnprof.types import Run, Singles, Study


@pytest.fixture
def budgeted(run: Run) -> Run:
    """A budget of 7.5 µs: batch 1 fits, batch 64 misses, batch 1024 failed, a fourth was left out.

    Single inferences are as the samples are: some 7.0 and 8.3 µs.
    """
    cells = []
    for cell in run.measurements:
        processes = [
            replace(one, singles=_singles(stats.latency_s(cell), number))
            for number, one in enumerate(cell.processes)
        ]
        cells.append(replace(cell, processes=tuple(processes)))
    last = run.study.cells[2]
    more = replace(last, workload=replace(last.workload, batch=2048))
    plan = replace(run.study.plan, deadline_s=7.5e-6)
    study = replace(run.study, plan=plan, cells=(*run.study.cells, more))
    return replace(run, study=study, measurements=tuple(cells), left_out=(3,))


def _singles(middle_s: float, seed: int) -> Singles:
    noise = np.random.default_rng(seed).normal(1.0, 0.01, 2000)
    return Singles(samples_s=tuple((middle_s * noise).tolist()), resolution_s=1e-9)


def text(made: Made) -> str:
    """The one file of an export."""
    content = made.files[""]
    assert isinstance(content, bytes)
    return content.decode()


def test_the_run_has_all_words(budgeted: Run) -> None:
    """The fixture is what it says."""
    assert [one.word for one in verdicts(budgeted)] == ["FITS", "MISSES", "FAILED", "UNDECIDED"]


def test_junit(budgeted: Run) -> None:
    """FITS passes, MISSES fails with its numbers, what failed is an error, what is open skipped."""
    (suite,) = junitparser.JUnitXml.fromstring(text(junit.make(Asked(budgeted))))
    fits, misses, failed, left = suite
    assert fits.is_passed
    assert isinstance(misses.result[0], junitparser.Failure)
    assert misses.result[0].type == "MISSES"
    assert misses.result[0].message.startswith("MISSES a budget of 7.50 µs: median 8.28 µs (8.17")
    assert isinstance(failed.result[0], junitparser.Error)
    assert isinstance(left.result[0], junitparser.Skipped)
    assert left.result[0].message == "Not measured: there was no time left for it."
    assert (suite.failures, suite.errors, suite.skipped) == (1, 1, 1)
    told = {one.name: one.value for one in fits.child(junitparser.Properties)}
    assert told["verdict"] == "FITS"
    assert float(told["headroom_ms"]) > 0


def test_junit_of_what_is_open(run: Run) -> None:
    """A Run without single inferences, judged afterwards, is skipped with the reason."""
    (suite,) = junitparser.JUnitXml.fromstring(text(junit.make(Asked(run, budget_s=1.0))))
    assert [len(case.result) for case in suite] == [1, 1, 1]
    first = next(iter(suite)).result[0]
    assert isinstance(first, junitparser.Skipped)
    assert "inferences were not timed one by one" in first.message


def test_github_summary(budgeted: Run) -> None:
    """The verdict that decides comes before the table, and each cell has its own."""
    lines = text(github_summary.make(Asked(budgeted))).splitlines()
    assert lines[2] == "**FAILED** a time budget of 7.50 µs (1 of 4 cells; the worst decides)."
    assert [line.split("|")[-2].strip() for line in lines if line.startswith("| tiny")] == [
        *("FITS", "MISSES", "FAILED")
    ]


def test_openmetrics(budgeted: Run) -> None:
    """A gauge for each word, 1 for the one that holds; a failed cell has none of them."""
    shown = text(metrics.make(Asked(budgeted)))
    own = {one.name: one for one in openmetrics.text_string_to_metric_families(shown)}
    assert [one.value for one in own["nnprof_budget_fits"].samples] == [1.0, 0.0]
    assert [one.value for one in own["nnprof_budget_misses"].samples] == [0.0, 1.0]
    assert [one.value for one in own["nnprof_budget_seconds"].samples] == [7.5e-6, 7.5e-6]
    assert [one.value > 0 for one in own["nnprof_headroom_seconds"].samples] == [True, False]


def test_parquet(budgeted: Run) -> None:
    """Each cell has its verdict; without a budget it is null."""
    for run, words in ((budgeted, ["FITS", "MISSES", "FAILED"]), (None, [None] * 3)):
        asked = Asked(run or replace(budgeted, study=_without(budgeted)))
        content = parquet.make(asked).files["cells.parquet"]
        assert isinstance(content, bytes)
        assert arrow.read_table(io.BytesIO(content))["verdict"].to_pylist() == words


def _without(run: Run) -> Study:
    plan = replace(run.study.plan, deadline_s=0.0)
    return replace(run.study, plan=plan)
