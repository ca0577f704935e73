"""Names of all kinds become text of each format, no longer than it takes, and stay apart."""

from __future__ import annotations

import json
from typing import Any

import junitparser
import onnx
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace
from prometheus_client.openmetrics import parser as openmetrics

from nnprof.profiler.exports import (
    annotated_onnx,
    bencher,
    cells,
    chrome,
    github_benchmark,
    github_summary,
    junit,
    model_explorer,
)
from nnprof.profiler.exports import openmetrics as metrics
from nnprof.profiler.exports.export import Asked, Made
from nnprof.text import plain
from nnprof.types import Failure, Measurement, Run

# Any letter, among them those that formats use, that terminals obey and that XML cannot hold.
NAMES = st.text(
    st.characters(codec="utf-8")
    | st.sampled_from('|"\\\n\r\t\x00\x1b\x9b\u202e\ufffe\uffff<>&`#='),
    max_size=40,
) | st.integers(1000, 3000).map(lambda length: "net" * length)
FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def named(run: Run, one: str, other: str) -> Run:
    """The Run with hostile names of networks, ops, kernels, devices and errors, all at batch 1."""

    def cell(item: Any, name: str) -> Any:
        model = replace(item.workload.model, name=name)
        workload = replace(item.workload, model=model, batch=1)
        target = replace(item.target, device=name, options={name: name})
        return replace(item, workload=workload, target=target)

    def measured(item: Measurement, name: str) -> Measurement:
        assert item.ops
        ops = tuple(replace(op, op=name, kernel=name, node=name) for op in item.ops.ops)
        changed: Measurement = cell(replace(item, ops=replace(item.ops, ops=ops)), name)
        return changed

    def failed(item: Failure) -> Failure:
        changed: Failure = cell(replace(item, error=one, reason=one, remedy=other), one)
        return changed

    return replace(
        run,
        study=replace(run.study, name=one),
        measurements=tuple(
            measured(item, name) for item, name in zip(run.measurements, (one, other), strict=True)
        ),
        failures=tuple(map(failed, run.failures)),
    )


def text(made: Made) -> str:
    """The one file of an export."""
    content = made.files[""]
    assert isinstance(content, bytes)
    return content.decode()


def strings(value: Any) -> list[str]:
    """All keys and texts of a JSON document."""
    if isinstance(value, dict):
        return [*value, *(text for one in value.values() for text in strings(one))]
    if isinstance(value, list):
        return [text for one in value for text in strings(one)]
    return [value] if isinstance(value, str) else []


@FEW
@given(NAMES, NAMES)
def test_json(run: Run, one: str, other: str) -> None:
    """Texts of JSON have no control character, but for the line ends of `extra`."""
    asked = Asked(named(run, one, other))
    for make in (chrome.make, bencher.make, github_benchmark.make):
        found = json.loads(text(make(asked)))
        texts = [one.replace("\n", " ") for one in strings(found)]
        assert not [one for one in texts if plain(one) != one.strip() and plain(one) != one]


@FEW
@example("same" * 500, "same" * 500)
@given(NAMES, NAMES)
def test_bencher(run: Run, one: str, other: str) -> None:
    """Benchmarks keep apart, with names of at most 1024 characters."""
    found = json.loads(text(bencher.make(Asked(named(run, one, other)))))
    assert len(found) == 2
    assert all(0 < len(name) <= 1024 for name in found)


@FEW
@example("\ufffe\x00", "\ufffe\x00")
@given(NAMES, NAMES)
def test_junit(run: Run, one: str, other: str) -> None:
    """Any XML reader takes it, and cases have names of their own."""
    (suite,) = junitparser.JUnitXml.fromstring(text(junit.make(Asked(named(run, one, other)))))
    names = [case.name for case in suite]
    assert len(set(names)) == 3
    assert all(len(name) <= 500 for name in names)


@FEW
@example("same", "same")
@given(NAMES, NAMES)
def test_openmetrics(run: Run, one: str, other: str) -> None:
    """The parser gives back the labels that were written, and no two series are one."""
    hostile = named(run, one, other)
    shown = text(metrics.make(Asked(hostile)))
    families = {one.name: one for one in openmetrics.text_string_to_metric_families(shown)}
    series = [tuple(sorted(one.labels.items())) for one in families["nnprof_failed"].samples]
    assert len(set(series)) == 3
    written = metrics._labels(hostile)
    assert [dict(own)["network"] for own in series] == [own[0] for own in written]


@FEW
@example("__0__", "a_b")
@given(NAMES, NAMES)
def test_github_summary(run: Run, one: str, other: str) -> None:
    """A name makes no row, column, link, picture or HTML of its own."""
    shown = text(github_summary.make(Asked(named(run, one, other))))
    tokens = MarkdownIt("commonmark").enable("table").parse(shown)
    kinds = [token.type for token in tokens]
    assert kinds.count("tr_open") == 1 + 3
    assert kinds.count("td_open") == 3 * len(github_summary._COLUMNS)
    inner = {child.type for token in tokens for child in token.children or ()}
    assert inner <= {"text", "softbreak", "text_special"}
    assert "html_block" not in kinds


@FEW
@given(NAMES)
def test_graph_viewers(run: Run, data: Any, one: str) -> None:
    """Metadata and node data of hostile kernels and devices are text on one line."""
    whole = named(run, one, one)
    hostile = replace(whole, measurements=whole.measurements[1:])
    copy = onnx.load(data / "tiny.onnx")
    annotated_onnx.annotate(copy, hostile.measurements[0], None)
    entries = [entry for node in copy.graph.node for entry in node.metadata_props]
    assert len({entry.key for entry in entries}) > 5
    assert not [entry for entry in entries if "\n" in entry.value or "\x00" in entry.value]
    for content in model_explorer.make(Asked(hostile)).files.values():
        assert isinstance(content, bytes)
        assert json.loads(content)["results"]


@given(st.lists(st.sampled_from(["a", "a #2", "a #3", "b"]), max_size=8), st.integers(5, 9))
def test_names_are_unique(called: list[str], most: int) -> None:
    """Whatever cells are called, each has a name of its own, within the limit."""
    found = cells.unique(called, most)
    assert len(set(found)) == len(called)
    assert all(len(name) <= most for name in found)


@given(st.text(max_size=30), st.text(max_size=30), st.integers(12, 20))
def test_what_is_cut_stays_apart(one: str, other: str, most: int) -> None:
    """Two names that begin alike are still two when they are cut."""
    cut = [cells.shortened("same beginning of all " + name, most) for name in (one, other)]
    assert all(len(name) <= most for name in cut)
    assert (cut[0] == cut[1]) == (one == other)


def test_the_id_of_a_run_is_its_own(run: Run) -> None:
    """A Run keeps its id when it is resumed, and another one has another."""
    resumed = replace(run, measurements=run.measurements[:1])
    later = replace(run, study=replace(run.study, created="2026-11-27T00:00:00+00:00"))
    assert cells.run_id(resumed) == cells.run_id(run)
    assert cells.run_id(later) != cells.run_id(run)
