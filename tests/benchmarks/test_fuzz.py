"""A short run of `benchmarks/fuzz.py`, with a seed; what longer ones found stands below."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from nnprof.errors import BadFile, NnprofError, WorkerCrashed
from nnprof.exporters.models import load_model
from nnprof.networks import bundled
from nnprof.networks.spaces import parse_space
from nnprof.profiler import arrays, stats
from nnprof.profiler.costmodel import gather, model, search
from nnprof.profiler.devices import jetson, snapshot
from nnprof.profiler.importers import runs
from nnprof.profiler.importers.importer import Told
from nnprof.profiler.report.notes import note_lines
from nnprof.profiler.work import hosts, jobs
from nnprof.types import Run, Target

DATA = Path(__file__).parents[1] / "data"
READERS = (
    *("run", "study", "model", "table", "ort", "trtexec", "arrays", "idx", "checkpoint", "boards"),
    *("lock", "answer", "cache", "system"),
)


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    """`benchmarks/fuzz.py`; the folder is no package."""
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import fuzz
    finally:
        sys.path.remove(folder)
    return fuzz


@pytest.mark.parametrize("name", READERS)
def test_a_reader(fuzz: ModuleType, name: str) -> None:
    """Changed files are read or refused in a sentence; nothing else comes out."""
    found = fuzz.run(fuzz.READERS[name], 60, seed=1)
    assert len(found) == 60
    assert not [result for result in found if result.kind == "finding"]
    assert any(result.kind in ("refused", "failed") for result in found) or name == "system"


def test_networks(fuzz: ModuleType) -> None:
    """Changed networks are benched, refused or Failures, whatever the runtime does with them."""
    found = fuzz.run(fuzz.READERS["onnx"], 25, seed=1)
    assert not [result for result in found if result.kind == "finding"]
    assert {result.kind for result in found} >= {"read", "refused"}


def test_what_is_looked_for_is_found(fuzz: ModuleType) -> None:
    """A reader that raises, hangs or dies is a finding each time, and the run goes on."""

    def bad(_: Path, files: dict[str, bytes]) -> None:
        if len(next(iter(files.values()))) % 2:
            raise KeyError("share")
        raise NnprofError("")

    def dies(*_: object) -> None:
        fuzz.os.kill(fuzz.os.getpid(), 9)

    reader = fuzz.Reader("lock", bad)
    assert {result.kind for result in fuzz.run(reader, 20, seed=1)} == {"finding"}
    ends = fuzz.run(reader._replace(use=dies), 3, seed=1)
    assert [result.where for result in ends] == ["ended by SIGKILL"] * 3


# --- what was found -------------------------------------------------------------------------------


def _changed(*changes: tuple[tuple[Any, ...], Any]) -> Run:
    """The golden Run with values at these places."""
    whole = json.loads((DATA / "run-v1.json").read_bytes())
    for (*way, last), value in changes:
        inside = whole
        for step in way:
            inside = inside[step]
        inside[last] = value
    return msgspec.json.decode(json.dumps(whole), type=Run)


def test_a_time_that_no_clock_has() -> None:
    """Ops of 1e308 s, whose sum is no number any more, are no Run."""
    with pytest.raises(msgspec.ValidationError, match=r"seconds must be a time"):
        _changed((("measurements", 0, "ops", "ops", 0, "seconds"), 1e308))


def test_facts_of_another_kind() -> None:
    """Loops that are no number leave a Run without percentiles, not without a table."""
    run = _changed((("measurements", 0, "facts", "loops"), "=1"))
    imported = msgspec.structs.replace(run.measurements[0], processes=(), stopped="imported")
    assert stats.percentile_s(imported, 0.9) is None


def test_an_op_of_shapes_that_it_cannot_have() -> None:
    """An op with shapes that its kind cannot have is of unknown work, or a sentence."""
    whole = json.loads((DATA / "import" / "ort-run.json").read_bytes())
    for shapes in ([[1, 3, 8, 8], [3]], [[3]], [[1, 3], [4, 3, 3, 3]], [[]]):
        for op in whole["measurements"][0]["ops"]["ops"]:
            op.update(inputs=shapes, outputs=[[1, 3, 8, 8]])
        run = msgspec.json.decode(json.dumps(whole), type=Run)
        with contextlib.suppress(NnprofError):
            gather.gathered([run], ())


def test_a_check_that_lacks_its_data() -> None:
    """A check of another version is told by its code and what it has."""
    run = _changed((("measurements", 0, "checks"), [{"code": "floor_high", "data": {"x": 1}}]))
    assert any(line.startswith("1 of 2 cells: floor_high (x 1).") for line in note_lines(run))


def test_an_archive_of_nothing(tmp_path: Path) -> None:
    """An .npz without arrays says so."""
    np.savez(tmp_path / "none.npz")
    with pytest.raises(BadFile, match="holds no array"):
        arrays.read(tmp_path / "none.npz")


@pytest.mark.parametrize(
    "text",
    [b'{"type": "fault", "error": "Iterable", "reason": "", "remedy": ""}',
     b'{"type": "fault", "error": "BadShape", "reason": " ", "remedy": ""}',
     b'{"type": "scored", "right": 3}', b"\xff",
     b'{"type": "probed", "environment": {"a": ' * 9999],
)  # fmt: skip
def test_an_answer_of_junk(text: bytes) -> None:
    """Whatever a worker answers, there is a reason."""
    with pytest.raises(NnprofError) as caught:
        hosts._answer(jobs.Probe(target=Target()), text, 0, "")
    assert caught.value.reason.strip()
    assert isinstance(caught.value, WorkerCrashed) or b"fault" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda made: made["terms"][-1].update(feature="x"), "feature x"),
        (lambda made: made.update(lowering="x"), "lowering x"),
        (lambda made: made["groups"][0].update(domain={"x": [0, 1]}), "column x"),
        (lambda made: made["groups"][0].update(inverse=[1.0] * 7), "inverse of"),
    ],
)
def test_a_model_of_parts_that_are_not_known(change: Any, words: str, tmp_path: Path) -> None:
    """A model that names what is not here is refused when it is read."""
    made = msgspec.to_builtins(model.load("gtx960-mattsson2016"))
    change(made)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    with pytest.raises(BadFile, match=words):
        model.load(str(path))


def test_a_model_of_no_time() -> None:
    """Coefficients of 0, or beyond all measure, are searched all the same."""
    made = model.load("gtx960-mattsson2016")
    for coefficient in (0.0, 1e300):
        terms = tuple(msgspec.structs.replace(one, coefficient=coefficient) for one in made.terms)
        odd = msgspec.structs.replace(made, terms=terms)
        search.search(odd, parse_space("mattsson(conv=1, depth=5, neurons=64)"), (16,), 1.0)


@pytest.mark.parametrize("value", ["9" * 25, "1e300"])
def test_a_table_of_values_that_cannot_be(value: str, tmp_path: Path) -> None:
    """A batch or a time of a table that nothing can have is a sentence that says which."""
    for column in ("batch", "time_ms"):
        row = {"network": "n", "batch": "1", "time_ms": "1", column: value}
        path = tmp_path / "table.csv"
        path.write_text(f"{','.join(row)}\n{','.join(row.values())}\n", encoding="utf-8")
        with pytest.raises(BadFile):
            runs.import_run([path], Told())


@pytest.mark.parametrize(("kind", "version"), [(99, 18), (0, 18), (1, 2**40), (1, -1)])
def test_a_network_of_types_and_versions_that_are_not_known(
    kind: int, version: int, tmp_path: Path
) -> None:
    """Types and versions that ONNX has not are sentences, for the file is not ours."""
    proto = onnx.load(bundled.model_path())
    proto.graph.input[0].type.tensor_type.elem_type = kind
    proto.opset_import[0].version = version
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(BadFile):
        load_model(tmp_path / "net.onnx")


@pytest.mark.parametrize("digits", ["9" * 5000, "9" * 15, "٣" * 50])
def test_a_board_with_a_number_of_all_digits(digits: str) -> None:
    """Files of a board that hold junk for numbers leave facts unknown, and take no time."""
    cpu = "/sys/devices/system/cpu"
    lines = (
        f".{cpu}/online:0-{digits}",
        f".{cpu}/cpu{digits}/cpufreq/scaling_cur_freq:{digits}",
        f".{cpu}/cpu0/topology/thread_siblings_list:{digits}-{digits}9",
        f".{cpu}/cpu0/cpu_capacity:{digits}",
        f".{jetson.MODES[0]}:pmode:{digits}",
        f"{jetson.QUERY}:NV Power Mode: MAXN {digits}",
        f"./etc/nvpmodel.conf:< POWER_MODEL ID={digits} NAME=MAXN >",
    )
    texts = snapshot.parsed("\n".join(lines))
    assert jetson.facts(texts)["architecture"] is None
    jetson.reading(texts, (0,))
