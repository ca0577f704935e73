"""Each export is read back by the format's own reader, or held against the format's fields."""

from __future__ import annotations

import importlib
import io
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import junitparser
import numpy as np
import onnx
import onnxruntime
import pytest
from markdown_it import MarkdownIt
from msgspec.structs import replace
from prometheus_client import parser as prometheus
from prometheus_client.openmetrics import parser as openmetrics
from pyarrow import parquet as arrow

from nnprof.errors import UsageError
from nnprof.profiler import compare, stats
from nnprof.profiler.exports import (
    annotated_onnx,
    bencher,
    chrome,
    github_benchmark,
    github_summary,
    junit,
    model_explorer,
    parquet,
)
from nnprof.profiler.exports import (
    openmetrics as metrics,
)
from nnprof.profiler.exports.export import Asked, Made
from nnprof.profiler.exports.made import only
from nnprof.types import Measurement, Run

MS = 1e3  # nanoseconds of a trace's microseconds


def text(made: Made) -> str:
    """The one file of an export."""
    content = made.files[""]
    assert isinstance(content, bytes)
    return content.decode()


def slices(events: list[Any], pid: int, tid: int) -> list[Any]:
    """Complete events of a track, as Perfetto sorts them: by begin, the longer first."""
    own = [one for one in events if one["ph"] == "X" and (one["pid"], one["tid"]) == (pid, tid)]
    return sorted(own, key=lambda one: (one["ts"], -one["dur"]))


def test_a_trace_has_the_fields(run: Run) -> None:
    """Every event has what its kind needs, with times in whole nanoseconds."""
    trace = json.loads(text(chrome.make(Asked(run))))
    assert trace["displayTimeUnit"] in ("ms", "ns")
    for one in trace["traceEvents"]:
        assert one["ph"] in "XMiC"
        assert isinstance(one["pid"], int)
        assert isinstance(one["tid"], int)
        assert one["name"]
        times = [one["ts"], one.get("dur", 0.0)]
        assert all(value >= 0 and math.isclose(value * MS, round(value * MS)) for value in times)
        if one["ph"] == "C":
            assert all(isinstance(value, float) for value in one["args"].values())


def test_slices_nest(run: Run) -> None:
    """On each track a slice ends before the next begins, or holds it whole."""
    events = json.loads(text(chrome.make(Asked(run))))["traceEvents"]
    tracks = {(one["pid"], one["tid"]) for one in events if one["ph"] == "X"}
    assert len(tracks) == 2 * 2 + 1  # one cell has its clean time beside its ops
    for track in tracks:
        open_until: list[int] = []
        for one in slices(events, *track):
            begin, end = round(one["ts"] * MS), round((one["ts"] + one["dur"]) * MS)
            while open_until and open_until[-1] <= begin:
                open_until.pop()
            assert not open_until or end <= open_until[-1], one
            open_until.append(end)


def test_an_inference_is_its_ops_and_what_they_leave(run: Run) -> None:
    """Ops lie end to end in the clean inference, and "residual" is the rest of it."""
    events = json.loads(text(chrome.make(Asked(run))))["traceEvents"]
    whole, *parts = slices(events, 2, 1)
    assert whole["name"] == "clean inference"
    assert whole["dur"] == pytest.approx(stats.latency_s(run.measurements[1]) * 1e6, abs=1e-3)
    assert [one["name"] for one in parts][-2:] == ["Softmax", "residual"]
    for one, following in pairwise(parts):
        assert one["ts"] + one["dur"] == pytest.approx(following["ts"])
    assert sum(one["dur"] for one in parts) == pytest.approx(whole["dur"])
    beside = [one for one in events if one["pid"] == 2 and one["ph"] == "i"]
    assert [one["name"] for one in beside] == ["Flatten: no time that can be told"]


def test_ops_that_take_longer_have_the_clean_time_beside_them(run: Run) -> None:
    """Nothing is made shorter to fit: the clean inference stands on a track of its own."""
    events = json.loads(text(chrome.make(Asked(run))))["traceEvents"]
    (clean,) = slices(events, 1, 2)
    assert clean["name"] == "clean inference"
    assert clean["dur"] == pytest.approx(stats.latency_s(run.measurements[0]) * 1e6, abs=1e-3)
    assert slices(events, 1, 1)[0]["dur"] > clean["dur"]
    assert "residual" not in {one["name"] for one in slices(events, 1, 1)}


def test_samples_are_where_they_were(run: Run) -> None:
    """Processes begin when they were started; each has its warm-up, its samples and readings."""
    events = json.loads(text(chrome.make(Asked(run))))["traceEvents"]
    samples = slices(events, 1, 3)
    begun = [one["ts"] / 1e6 for one in samples if one["name"].startswith("process")]
    assert begun == [0.0, 10.0, 20.0]
    first = next(one for one in samples if one["name"] == "sample")
    cell = run.measurements[0]
    assert first["dur"] == pytest.approx(cell.samples_s[0][0] * 100 * 1e6, abs=1e-3)
    assert sum(one["name"] == "sample" for one in samples) == 3 * 4
    heat = [one["args"] for one in events if one["ph"] == "C" and "temperature" in one["name"]]
    assert {"temperature, °C": 50.0} in heat


def test_perfetto_reads_the_trace(data: Path) -> None:
    """Perfetto's trace_processor sees all slices, and has no error to tell."""
    try:
        api = importlib.import_module("perfetto.trace_processor")
        found = api.TraceProcessor(trace=str(data / "golden" / "chrome.json"))
    except Exception as error:  # noqa: BLE001  no package, or no program behind it: any reason
        pytest.skip(f"trace_processor is not here: {error}")
    events = json.loads((data / "golden" / "chrome.json").read_text(encoding="utf-8"))
    count = sum(one["ph"] in "Xi" for one in events["traceEvents"])
    assert next(iter(found.query("select count(*) n from slice"))).n == count
    bad = "select sum(value) n from stats where severity = 'error'"
    assert next(iter(found.query(bad))).n == 0


def test_bencher(run: Run) -> None:
    """Latency is in nanoseconds, throughput in tiles per second, each within its bounds."""
    found = json.loads(text(bencher.make(Asked(run))))
    assert len(found) == 2
    for measures, cell in zip(found.values(), run.measurements, strict=True):
        assert set(measures) == {"latency", "throughput"}
        assert measures["latency"]["value"] == pytest.approx(stats.latency_s(cell) * 1e9)
        tiles_per_s = cell.workload.batch / stats.latency_s(cell)
        assert measures["throughput"]["value"] == pytest.approx(tiles_per_s)
        for one in measures.values():
            assert set(one) == {"value", "lower_value", "upper_value"}
            assert one["lower_value"] <= one["value"] <= one["upper_value"]


def test_github_action_benchmark(run: Run) -> None:
    """Entries have the fields that extract.ts takes, and text where it wants text."""
    found = json.loads(text(github_benchmark.make(Asked(run))))
    assert [one["value"] for one in found] == [
        pytest.approx(stats.latency_s(cell) * 1e3) for cell in run.measurements
    ]
    for one in found:
        assert set(one) == {"name", "unit", "value", "range", "extra"}
        assert one["unit"] == "ms"
        assert all(isinstance(one[key], str) for key in ("name", "range", "extra"))


@pytest.mark.parametrize("make", [bencher.make, github_benchmark.make])
def test_a_run_without_numbers(make: Any, run: Run) -> None:
    """Where every cell failed, a format of numbers alone is refused, not left empty."""
    with pytest.raises(UsageError, match="No cell of the Run was measured"):
        make(Asked(replace(run, measurements=())))


def test_junit(run: Run) -> None:
    """Junitparser sees a passed case for each measured cell, an error for the failed one."""
    read = junitparser.JUnitXml.fromstring(text(junit.make(Asked(run))))
    (suite,) = read
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (3, 0, 1, 0)
    cases = list(suite)
    assert [case.is_passed for case in cases] == [True, True, False]
    (wrong,) = cases[2].result
    assert isinstance(wrong, junitparser.Error)
    assert (wrong.type, wrong.message) == ("OutOfMemory", run.failures[0].reason)
    listed = cases[0].child(junitparser.Properties)
    latency = {one.name: one.value for one in listed}["latency_ms"]
    assert float(latency) == pytest.approx(stats.latency_s(run.measurements[0]) * 1e3)


def test_junit_of_two_runs(run: Run, slower: Run) -> None:
    """SLOWER is a failure beyond what is allowed, and AMBIGUOUS is skipped with its reason."""
    one = slower.measurements[0]
    single = replace(
        one,
        samples_s=one.samples_s[:1],
        warmups_s=one.warmups_s[:1],
        processes=one.processes[:1],
    )
    after = replace(slower, measurements=(single, slower.measurements[1]))
    found = compare.compare(run, after)
    (suite,) = junitparser.JUnitXml.fromstring(text(junit.make(Asked(after, found))))
    skipped, failed, wrong = suite
    assert isinstance(skipped.result[0], junitparser.Skipped)
    assert "single process" in skipped.result[0].message
    assert isinstance(failed.result[0], junitparser.Failure)
    assert isinstance(wrong.result[0], junitparser.Error)
    (mild,) = junitparser.JUnitXml.fromstring(text(junit.make(Asked(after, found, beyond=0.5))))
    assert mild.failures == 0
    assert "time" not in mild._elem.attrib  # nobody measured here: no 0


def test_openmetrics(run: Run) -> None:
    """Both of Prometheus' parsers read the same gauges; the failed cell has no latency."""
    shown = text(metrics.make(Asked(run)))
    own = {one.name: one for one in openmetrics.text_string_to_metric_families(shown)}
    latencies = [one.value for one in own["nnprof_latency_seconds"].samples]
    assert latencies == [pytest.approx(stats.latency_s(cell)) for cell in run.measurements]
    assert [one.value for one in own["nnprof_failed"].samples] == [0.0, 0.0, 1.0]
    assert own["nnprof_failed"].samples[2].labels["batch"] == "1024"
    assert not any(one.timestamp for family in own.values() for one in family.samples)
    theirs = {one.name: one for one in prometheus.text_string_to_metric_families(shown)}
    assert {name: one.samples for name, one in theirs.items()} == {
        name: one.samples for name, one in own.items()
    }


def test_parquet(run: Run) -> None:
    """Pandas joins the tables by run and cell; what is unknown is null."""
    tables = {
        name: arrow.read_table(io.BytesIO(content)).to_pandas()
        for name, content in parquet.make(Asked(run)).files.items()
        if isinstance(content, bytes)
    }
    cells, ops = tables["cells.parquet"], tables["ops.parquet"]
    assert list(cells["cell"]) == [1, 2, 3]
    assert cells["latency_ms"].isna().tolist() == [False, False, True]
    assert cells["reason"][2] == run.failures[0].reason
    joined = ops.merge(cells, on=["run_id", "cell"], suffixes=("", "_of_cell"))
    assert len(joined) == len(ops) == 12
    samples = tables["samples.parquet"]
    medians = samples[samples["phase"] == "sample"].groupby(["cell", "process"])["seconds"].median()
    for number, cell in enumerate(run.measurements, start=1):
        assert medians[number].tolist() == pytest.approx(stats.process_medians_s(cell))


def test_github_summary(run: Run) -> None:
    """A reader of Markdown sees one table with a row for each cell."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text(github_summary.make(Asked(run))))
    assert sum(one.type == "table_open" for one in tokens) == 1
    assert sum(one.type == "tr_open" for one in tokens) == 1 + 3


def test_a_summary_of_any_length_is_shown(run: Run) -> None:
    """GitHub drops what is longer than 1 MiB; so it ends before, and says so."""
    many = replace(run, measurements=run.measurements * 5000)
    made = github_summary.make(Asked(many))
    assert len(text(made).encode()) <= 1 << 20
    assert made.left_out
    assert text(made).rstrip().endswith("lines more than GitHub shows.")


# --- on the graph ---------------------------------------------------------------------------------


@pytest.fixture
def cell(run: Run) -> Measurement:
    """The cell that has a fused op, a reorder and a time below 0."""
    return run.measurements[1]


def test_node_data(run: Run, data: Path, cell: Measurement) -> None:
    """Keys are nodes of the file; a fused op stands on one of them, with all its time."""
    made = model_explorer.make(Asked(only(run, [2])))
    assert set(made.files) == {f"{n}.json" for n in ("ms", "share", "of_limit", "gflops", "mbytes")}
    nodes = {node.name for node in onnx.load(data / "tiny.onnx").graph.node}
    for content in made.files.values():
        assert isinstance(content, bytes)
        told = json.loads(content)
        assert set(told) == {"name", "results", "gradient"}
        assert set(told["results"]) <= nodes
        assert all(set(one) == {"value"} for one in told["results"].values())
        assert {one["stop"] for one in told["gradient"]} == {0, 1}
    times = json.loads(made.files["ms.json"])["results"]  # type: ignore[arg-type]
    assert "relu1" not in times
    assert cell.ops
    known = [op.seconds * 1e3 for op in cell.ops.ops if op.origin]
    assert [one["value"] for one in times.values()] == pytest.approx(known)
    assert "2 ops are of no named node" in made.left_out[0]


def test_the_copy_is_the_same_network(run: Run, data: Path, tmp_path: Path) -> None:
    """The checker accepts the copy, ONNX Runtime computes the same, entries of others stay."""
    made = annotated_onnx.make(Asked(only(run, [2]), model=data / "tiny.onnx"))
    content = made.files[""]
    assert isinstance(content, bytes)
    copy, original = onnx.load_from_string(content), onnx.load(data / "tiny.onnx")
    onnx.checker.check_model(copy, full_check=True)
    assert copy.ir_version == 10
    assert original.ir_version == 9
    assert copy.graph.initializer == original.graph.initializer
    assert {one.key: one.value for one in copy.metadata_props}["of others"] == "stays"
    tiles = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    outputs = [
        onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": tiles})[0]
        for model in (copy, original)
    ]
    assert np.array_equal(*outputs)
    told = {
        node.name: {one.key: one.value for one in node.metadata_props} for node in copy.graph.node
    }
    assert told["conv1"]["nnprof.fused_with"] == "relu1"
    assert told["relu1"] == {
        **{"nnprof.fused_into": "conv1", "nnprof.batch": "64"},
        **{"nnprof.device": "cpu", "nnprof.backend": "fake"},
    }
