"""What a file is comes before why it is broken: each gets the sentence that is true of it."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ort_profiles import imported, node, run, write

from nnprof.errors import BadFile, NnprofError, UsageError
from nnprof.profiler import results
from nnprof.profiler.importers import runs
from nnprof.profiler.importers.importer import Told
from nnprof.profiler.report import lines, rows, terminal
from nnprof.profiler.report.notes import note_lines

DATA = Path(__file__).parents[1] / "data"
TRT = DATA / "trtexec" / "10.3"
SHAPES = ([[4, 3, 9, 9]], [[4, 8, 7, 7]])
EVENTS = [
    event
    for at in range(3)
    for event in (node("c", "Conv", 500, at * 600, *SHAPES), run(520, at * 600))
]
PROFILE = json.dumps(EVENTS)
LINES = "[\n" + ",\n".join(map(json.dumps, EVENTS)) + "\n]\n"


# --- profiles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 2, 5, 30, 100, 150, 200, 400, len(PROFILE) - 20])
@pytest.mark.parametrize("packed", [True, False])
def test_a_profile_that_is_cut_off_says_so(cut: int, packed: bool, tmp_path: Path) -> None:
    """Wherever it ends, with the remedy; packed, too."""
    text = PROFILE[:-cut].encode()
    path = tmp_path / "p.json"
    path.write_bytes(gzip.compress(text) if packed else text)
    with pytest.raises(BadFile, match=r"p\.json is cut off: it ends in line 1\. Let the program"):
        imported(path, batch=4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LINES.replace("\n]", ",\n]"), "has a stray comma in line 8, column 1"),
        (LINES.replace("},\n", "},,\n", 1), "has a stray comma in line 2"),
        (LINES.replace(": 500", ": 5oo", 1), "is damaged in line 2"),
        (LINES.replace('"dur": 500', '"dur": "500"', 1), "not a whole profile"),
        (LINES.replace('"dur": 500', '"dur": NaN', 1), "takes nan µs"),
        (LINES.replace('"dur": 500', '"dur": Infinity', 1), "takes inf µs"),
        (LINES.replace('"dur": 500', '"dur": -3', 1), "takes -3 µs"),
        (LINES.replace('"dur": 500', f'"dur": {"9" * 5000}', 1), "a number is too long"),
        (LINES.replace('"dur": 500', f'"dur": {"9" * 400}', 1), "not a whole profile"),
        (LINES.replace('"ts": 0', '"ts": 1e300', 1), "at 1e+300 µs"),
        (LINES.replace('"args": {', f'"args": {"[" * 100_000}', 1), "it nests too deep"),
        (LINES.replace('"Node"', '"Other"'), "no node that ran"),
        (LINES.replace('"Node"', "7", 1), "not a whole profile"),
        (LINES.replace(": 520", ": 0"), "an inference that took no time"),
        (f"[3, {PROFILE[1:]}", "not a whole profile"),
        (json.dumps({"traceEvents": 3, "x": EVENTS[0]}), "not a whole profile"),
    ],
)
def test_a_damaged_profile_says_where(text: str, said: str, tmp_path: Path) -> None:
    """Line and column, or the event that cannot be."""
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(BadFile) as caught:
        imported(path, batch=4)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_whole_profile_is_read_in_any_encoding(
    encoding: str, packed: bool, tmp_path: Path
) -> None:
    """As PowerShell leaves it, or packed."""
    path = tmp_path / "p.json"
    data = LINES.encode(encoding)
    path.write_bytes(gzip.compress(data) if packed else data)
    (cell,) = imported(path)
    assert cell.workload.batch == 4


def test_times_and_arguments_that_are_missing_are_no_error(tmp_path: Path) -> None:
    """Without the start of events, without arguments, with other events between."""
    events: list[dict[str, Any]] = [{k: v for k, v in one.items() if k != "ts"} for one in EVENTS]
    events = [{**one, "args": None} for one in events]
    events.insert(0, {"ph": "M", "name": "process_name", "args": {"name": "python"}})
    (cell,) = imported(write(tmp_path / "p.json", events), batch=4)
    assert cell.ops is not None
    assert [(op.op, round(op.seconds * 1e6)) for op in cell.ops.ops] == [("unknown", 500)]


# --- others ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["profile", "layers", "times"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_exports_of_trtexec_that_are_cut_off_say_so(kind: str, kept: float, tmp_path: Path) -> None:
    """Profile, layers and times; the others of the run are whole."""
    text = (TRT / f"{kind}.json").read_text()
    path = tmp_path / f"{kind}.json"
    path.write_text(text[: int(len(text) * kept)])
    others = [TRT / f"{other}.json" for other in ("profile", "layers", "times") if other != kind]
    with pytest.raises(BadFile, match=rf"{kind}\.json is cut off: .*Let trtexec write it again"):
        runs.import_run([path, *others], Told(), command=["import"])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (gzip.compress(b""), "is empty"),
        (b"\0" * 100, "is empty"),
        (b"\x08\x09\x12\x00pytorch\x00\x01\x02\x03\x04\x05", "is no text"),
        (b"ftrt" + bytes(range(256)), "is no text"),
        (b"[]", "no file that can be imported"),
        (b"{}", "no file that can be imported"),
        (b"[", "no file that can be imported"),
        (b'{"schema": 2, "study": {}, "measurements": []}', "is a Run already"),
        (b'{"schema": 2, "study": {}, "measurements": [', "is a Run already"),
        (b'{"traceEvents": [{"name": "frame", "cat": "gpu"}]}', "no file that can be imported"),
        (b"hello", "no column for network"),
        (b"null", "no column for network"),
    ],
)
def test_files_that_are_something_else(data: bytes, said: str, tmp_path: Path) -> None:
    """Nothing, junk, other JSON, other text."""
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        imported(path)
    assert said in str(caught.value)


def test_what_is_no_file_at_all(tmp_path: Path) -> None:
    """A folder, a missing file, a name that no file can have."""
    with pytest.raises(BadFile, match="is a folder"):
        imported(tmp_path)
    with pytest.raises(BadFile, match="No such file"):
        imported(tmp_path / "absent.json")
    with pytest.raises(BadFile, match="cannot be read"):
        imported(tmp_path / ("x" * 5000))


# --- recorded here --------------------------------------------------------------------------------

RECORDED = {
    "ort-if": ["If", "MatMul"],
    "ort-loop": ["Relu", "Loop", "MatMul"],
    "ort-scan": ["Scan", "Relu"],
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_profiles_add_up(name: str) -> None:
    """ONNX Runtime 1.31 on a CPU: what ran inside counts once, the Loop's 20 passes all."""
    (cell,) = imported(DATA / "import" / f"{name}.json.gz", batch=4)
    assert cell.ops is not None
    assert [op.op for op in cell.ops.ops] == RECORDED[name]
    assert 0.6 < sum(op.seconds for op in cell.ops.ops) / cell.ops.latency_s <= 1


def test_a_recorded_session_of_two_batches() -> None:
    """Three runs at 4, three at 16: two cells, whose unnamed nodes are five ops each."""
    cells = imported(DATA / "import" / "ort-two-batches.json.gz")
    assert [cell.workload.batch for cell in cells] == [4, 16]
    assert [len(cell.ops.ops) for cell in cells if cell.ops] == [5, 5]
    assert [len(cell.samples_s[0]) for cell in cells] == [2, 2]


# --- any damage -----------------------------------------------------------------------------------

SEEDS = {
    path.name: path.read_bytes()
    for path in (DATA / "ort-profile.json", *(TRT / f"{k}.json" for k in ("profile", "layers")))
}
ODD = [
    *(None, 0, -1, 1, "", "x", [], {}, [[]], [None], True, 0.5, -5.5, 1e308, 2**63, 10**40),
    *(float("nan"), float("inf"), "9" * 30, [1, -2], [0], [[1, 2], [3]], {"a": 1}, "\x1b[31m"),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a value of JSON."""
    found = [path] if path else []
    keys: Any = ()
    if isinstance(value, dict | list):
        keys = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in keys:
        found += places(inner, (*path, key))
    return found


PLACES = {name: places(json.loads(data, strict=False)) for name, data in SEEDS.items()}


def check(name: str, data: bytes, folder: Path) -> None:
    """It becomes a Run that is saved, loaded and shown, or a sentence."""
    path = folder / name
    path.write_bytes(data)
    others = {"layers.json": [TRT / "profile.json"]}.get(name, [])
    with suppress(NnprofError):
        made = runs.import_run([path, *others], Told(batch=4), command=["import"])
        results.save(made, folder / "run.json")
        again = results.load(folder / "run.json")
        assert rows.rows(again)
        rows.op_rows(again)
        note_lines(again)
        for cell in again.measurements:
            terminal.op_table(cell)
            assert lines.residual_lines(cell)


once = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@once
@given(name=st.sampled_from(sorted(SEEDS)), data=st.data())
def test_bytes_that_are_lost_or_wrong(name: str, data: st.DataObject, tmp_path: Path) -> None:
    """Flipped, cut out or put in: never another error than ours."""
    seed = SEEDS[name]
    at = data.draw(st.integers(0, len(seed)))
    gone = data.draw(st.sampled_from([0, 1, 1, 7, len(seed)]))
    check(name, seed[:at] + data.draw(st.binary(max_size=8)) + seed[at + gone :], tmp_path)


@once
@given(name=st.sampled_from(sorted(SEEDS)), data=st.data())
def test_values_of_another_type(name: str, data: st.DataObject, tmp_path: Path) -> None:
    """Anything where anything else is expected: never another error than ours."""
    value = json.loads(SEEDS[name], strict=False)
    changes = st.lists(st.sampled_from(PLACES[name]), min_size=1, max_size=3)
    for path in data.draw(changes):
        inner = value
        with suppress(KeyError, IndexError, TypeError):
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = json.loads(json.dumps(data.draw(st.sampled_from(ODD))))
    check(name, json.dumps(value).encode(), tmp_path)
