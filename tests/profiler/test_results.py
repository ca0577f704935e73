"""Runs on disk."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from nnprof.errors import BadFile, NewerSchema, UsageError
from nnprof.profiler import results
from nnprof.profiler.report import rows
from nnprof.types import (
    SCHEMA,
    Cell,
    Check,
    Failure,
    Measurement,
    Model,
    OpPass,
    OpTime,
    Plan,
    Process,
    Reading,
    Run,
    Study,
    Target,
    Tensor,
    Workload,
)

GOLDEN = Path(__file__).parents[1] / "data" / "run-v1.json"
SECOND = GOLDEN.with_name("run-v2.json")
ROOT = Path(__file__).parents[2]

_text = st.text(st.characters(codec="utf-8"), max_size=8)
_seconds = st.floats(1e-9, 1e3)
_shape = st.lists(st.integers(1, 64), max_size=4).map(tuple)
_tensor = st.builds(Tensor, name=_text, dtype=st.just("float32"), shape=_shape)
_model = st.builds(
    Model,
    name=_text,
    path=_text,
    sha256=_text,
    opset=st.integers(1, 30),
    inputs=st.tuples(_tensor),
    outputs=st.tuples(_tensor),
    network=st.none() | _text,
)
_work = st.builds(Workload, model=_model, batch=st.integers(1, 4096))
_target = st.builds(
    Target, threads=st.integers(1, 8), options=st.dictionaries(_text, _text, max_size=2)
)
_maybe = st.none() | st.floats(0, 1e9)
_reading = st.builds(Reading, load_1m=_maybe, clock_hz=_maybe, throttles=st.none() | st.integers(0))
_process = st.builds(
    Process,
    round=st.integers(0, 9),
    processors=st.just((1,)),
    loops=st.integers(1, 500),
    state=st.sampled_from(["steady", "drifting"]),
    floor_s=_seconds,
    open_s=_seconds,
    timed_s=_seconds,
    wall_s=_seconds,
    before=_reading,
    after=_reading,
)
_samples = st.lists(_seconds, min_size=1, max_size=3).map(tuple)
_op = st.builds(
    OpTime,
    index=st.integers(0, 9),
    node=_text,
    op=_text,
    kind=st.just("conv"),
    inputs=st.tuples(_shape),
    outputs=st.tuples(_shape),
    origin=st.tuples(_text),
    kernel=_text,
    seconds=_seconds,
    runs=st.integers(1, 100),
    method=st.just("runtime"),
)
_ops = st.builds(
    OpPass, method=st.just("runtime"), latency_s=_seconds, ops=st.lists(_op, max_size=2).map(tuple)
)
_measurement = st.builds(
    Measurement,
    workload=_work,
    target=_target,
    plan=st.just(Plan()),
    clock=st.just("fake"),
    samples_s=st.tuples(_samples, _samples),
    warmups_s=st.tuples(_samples, _samples),
    processes=st.tuples(_process, _process),
    ops=st.none() | _ops,
    checks=st.tuples(st.builds(Check, code=_text, data=st.dictionaries(_text, _seconds))),
    stopped=st.sampled_from(["", "interval"]),
)
_run = st.builds(
    Run,
    study=st.builds(
        Study,
        name=_text,
        command=st.tuples(_text),
        created=st.just("2026-11-21T10:15:00+00:00"),
        plan=st.just(Plan()),
        cells=st.tuples(st.builds(Cell, workload=_work, target=_target)),
        wall_s=_seconds,
    ),
    environment=st.dictionaries(_text, _text, max_size=2),
    measurements=st.lists(_measurement, max_size=2).map(tuple),
    failures=st.lists(
        st.builds(Failure, workload=_work, target=_target, error=_text, reason=_text), max_size=1
    ).map(tuple),
)


@given(run=_run)
@settings(max_examples=60, deadline=None)
def test_round_trip(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any Run that can be built is read back equal, floats to the last bit."""
    path = tmp_path_factory.mktemp("run") / "run.json"
    results.save(run, path)
    assert results.load(path) == run


@given(run=_run)
@settings(max_examples=30, deadline=None)
def test_schema_holds(run: Run) -> None:
    """Any Run that can be built is valid by the published JSON Schema."""
    jsonschema.validate(json.loads(msgspec.json.encode(run)), json.loads(results.json_schema()))


def test_schema_is_published() -> None:
    """docs/run.schema.json is what the code would publish today (make schema)."""
    assert (ROOT / "docs" / "run.schema.json").read_bytes() == results.json_schema()


def test_golden_file_is_read() -> None:
    """The first published form is still read, and says what it said then."""
    run = results.load(GOLDEN)
    assert [row["state"] for row in rows.rows(run)] == ["steady", "steady", "failed"]
    assert rows.rows(run)[1]["tiles_per_ms"] == pytest.approx(1434.64, rel=1e-5)


def test_second_golden_file_still_loads() -> None:
    """Schema 2 is still read: its batch axes, the processes that decide and those that tell."""
    run = results.load(SECOND)
    assert [row["state"] for row in rows.rows(run)] == ["steady", "steady", "failed"]
    assert run.study.cells[0].workload.model.batch_axes == {"tiles": 0}
    assert [len(one.processes) for one in run.measurements] == [run.study.plan.processes] * 2
    jsonschema.validate(json.loads(SECOND.read_bytes()), json.loads(results.json_schema()))


def test_golden_file_is_valid() -> None:
    """The golden file is valid by the published schema and has the promised top-level keys."""
    content = json.loads(GOLDEN.read_text(encoding="utf-8"))
    jsonschema.validate(content, json.loads(results.json_schema()))
    assert list(content) == ["schema", "study", "environment", "measurements", "failures"]
    assert {"workload", "target", "samples_s", "ops"} <= set(content["measurements"][0])


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file of a later schema is refused with both numbers, whatever else it holds."""
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"schema": SCHEMA + 1, "novelty": True}), encoding="utf-8")
    with pytest.raises(NewerSchema, match=f"schema {SCHEMA + 1}; this nnprof reads up to {SCHEMA}"):
        results.load(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_cut_file_is_refused(tmp_path: Path, share: float) -> None:
    """A Run cut at any place is called cut off."""
    text = GOLDEN.read_bytes()
    path = tmp_path / "run.json"
    path.write_bytes(text[: int(share * len(text))])
    with pytest.raises(BadFile, match="is cut off or is not JSON"):
        results.load(path)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param('{"a": 1}', id="another JSON"),
        pytest.param("[]", id="a list"),
        pytest.param('{"schema": "one"}', id="schema is no number"),
        pytest.param('{"schema": 1, "study": {}}', id="fields missing"),
    ],
)
def test_other_json_is_refused(tmp_path: Path, content: str) -> None:
    """JSON that is no Run is refused as such, with what is wrong."""
    path = tmp_path / "run.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadFile, match="is not a Run of nnprof: "):
        results.load(path)


def test_impossible_samples_are_refused(tmp_path: Path) -> None:
    """A Run with a zero sample, which no clock can have given, is refused."""
    text = GOLDEN.read_text(encoding="utf-8")
    broken = re.sub(r'"samples_s": \[\s*\[\s*[^,\]]+', '"samples_s": [[0.0', text, count=1)
    path = tmp_path / "run.json"
    path.write_text(broken, encoding="utf-8")
    with pytest.raises(BadFile, match="non-empty and positive"):
        results.load(path)


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ('"state": "steady"', '"state": "banana"'),
        ('"stopped": "processes"', '"stopped": "bored"'),
        ('"clock": "fake"', '"clock": "sundial"'),
        ('"op_method": "combined"', '"op_method": "guess"'),
        ('"kind": "conv"', '"kind": "konv"'),
        ('"method": "isolated"', '"method": "alone"'),
        ('"precision": "fp32"', '"precision": "fp31"'),
        ('"protocol": "rounds"', '"protocol": "squares"'),
    ],
)
def test_words_of_no_list_are_refused(word: str, other: str, tmp_path: Path) -> None:
    """A Run whose state, clock, kind and so on is no word of nnprof's is refused, and named."""
    text = SECOND.read_text(encoding="utf-8")
    assert word in text
    path = tmp_path / "run.json"
    path.write_text(text.replace(word, other, 1), encoding="utf-8")
    with pytest.raises(BadFile, match=json.loads(f"{{{other}}}").popitem()[1]):
        results.load(path)


@given(
    name=st.sampled_from(
        [one for one in Plan.__struct_fields__ if one not in ("op_method", "protocol", "idle_s")]
    ),
    wrong=st.sampled_from([float("nan"), float("inf"), -float("inf"), -1]),
)
def test_a_plan_is_valid_from_birth(name: str, wrong: float) -> None:
    """No number of a plan is below 0, endless, or no number at all."""
    with pytest.raises(ValueError, match=name):
        replace(Plan(), **{name: wrong})


@given(
    name=st.sampled_from(["index", "runs", "flops", "bytes_in", "bytes_weights", "rotated_bytes"]),
    count=st.integers(max_value=-1),
)
def test_an_op_counts_nothing_below_zero(name: str, count: int) -> None:
    """No count of an op is negative."""
    measured = results.load(GOLDEN).measurements[0]
    assert measured.ops is not None
    with pytest.raises(ValueError, match=name):
        replace(measured.ops.ops[0], **{name: count})


@pytest.mark.parametrize("name", ["op_method", "protocol"])
def test_a_plan_knows_its_words(name: str) -> None:
    """A plan made in Python is refused a word that a Run could not hold."""
    with pytest.raises(ValueError, match=f"{name} must be one of .* not banana"):
        replace(Plan(), **{name: "banana"})


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(BadFile, match=r"Cannot read .*none\.json: No such file"):
        results.load(tmp_path / "none.json")


def test_unwritable_folder(tmp_path: Path) -> None:
    """A folder that cannot be made is told with the remedy."""
    blocker = tmp_path / "file"
    blocker.write_text("in the way", encoding="utf-8")
    run = results.load(GOLDEN)
    with pytest.raises(UsageError, match="Choose another folder, or free some space"):
        results.save(run, blocker / "run.json")


def test_names_do_not_collide(tmp_path: Path) -> None:
    """Two Runs begun in the same second get two names."""
    run = results.load(GOLDEN)
    with ThreadPoolExecutor() as pool:
        paths = list(pool.map(lambda _: results.save_new(run, tmp_path, "cpu"), range(8)))
    assert len(set(paths)) == 8
    assert all(results.load(path) == run for path in paths)


@pytest.mark.parametrize(
    "name",
    [
        "../../escaped",
        "..",
        "",
        "/etc/x",
        "a/b",
        "...",
        "\x00",
        "x" * 5000,
        "网" * 500,
        "-rf",
        "\x1b[",
    ],
)
def test_no_name_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    """Whatever a study or a device is called, its Run is an ordinary file in the folder."""
    run = results.load(GOLDEN)
    folder = tmp_path / "a" / "b"
    named = replace(run, study=replace(run.study, name=name))
    for path in (results.save_new(named, folder, "cpu"), results.save_new(run, folder, name)):
        assert path.parent == folder
        assert not path.name.startswith((".", "-"))
        assert path.name.isprintable()
        assert results.load(path)
    assert [one.name for one in tmp_path.iterdir()] == ["a"]
    assert [one.name for one in (tmp_path / "a").iterdir()] == ["b"]
