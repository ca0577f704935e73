"""Files of other tools as Runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from nnprof import registry
from nnprof.errors import BadFile, Unavailable, UsageError
from nnprof.exporters.export import export
from nnprof.networks.families import parse_network
from nnprof.profiler import checks, results, stats
from nnprof.profiler.backends.onnxruntime import BACKEND
from nnprof.profiler.importers import importer, ort_profile, runs
from nnprof.profiler.importers.cell import Known, measurement, named_model
from nnprof.profiler.importers.importer import File, Found, Importer, Told
from nnprof.profiler.report import lines, rows, terminal
from nnprof.profiler.run import begin
from nnprof.types import Run, Target, Workload

DATA = Path(__file__).parents[2] / "data"
TRT = DATA / "trtexec" / "10.3"
ORT = DATA / "ort-profile.json"
TABLE = DATA / "import" / "table.csv"
GOLDEN = DATA / "import"


def exports(*kinds: str) -> list[Path]:
    """Files of one run of trtexec."""
    return [TRT / f"{kind}.json" for kind in kinds]


def run_of(*paths: Path, onnx: Path | None = None, **told: object) -> Run:
    """The Run that these files are."""
    return runs.import_run(paths, msgspec.convert(told, Told), onnx=onnx, command=["import"])


@pytest.mark.parametrize(
    ("name", "paths"),
    [("table", [TABLE]), ("trtexec", exports("profile", "layers", "times")), ("ort", [ORT])],
)
def test_golden(name: str, paths: list[Path]) -> None:
    """Each form becomes just the Run that is kept in tests/data; only its date differs."""
    made = run_of(*paths)
    # As values, so that a schema or a field that a later nnprof adds does not matter.
    kept = msgspec.json.decode((GOLDEN / f"{name}-run.json").read_bytes(), type=Run)
    assert told_by_file(made) == told_by_file(kept)


def told_by_file(run: Run) -> Run:
    """Without its date, and without the plan of measuring, of which nothing is true."""
    replace = msgspec.structs.replace
    return replace(
        run,
        schema=0,
        study=replace(run.study, created="", plan=importer.NO_PLAN),
        measurements=tuple(replace(one, plan=importer.NO_PLAN) for one in run.measurements),
    )


@pytest.mark.parametrize("paths", [[TABLE], exports("profile", "layers"), [ORT]])
def test_an_imported_run_is_a_run(paths: list[Path], tmp_path: Path) -> None:
    """It is saved, loaded, shown in every form, and says that it was imported."""
    run = run_of(*paths)
    results.save(run, tmp_path / "run.json")
    again = results.load(tmp_path / "run.json")
    assert again == run
    assert {row["state"] for row in rows.rows(again)} == {"imported"}
    assert rows.op_rows(again)
    assert "Imported from" in lines.timed_line(again)
    for one in again.measurements:
        assert lines.residual_lines(one)
    assert "unknown" in terminal.heading(again)[0]


def test_times_are_gpu_compute_and_copies_stand_beside_them() -> None:
    """A cell has trtexec's compute times; its copies are facts, not part of the latency."""
    (one,) = run_of(*exports("times", "profile", "layers")).measurements
    lines = json.loads((TRT / "times.json").read_text())
    assert one.samples_s[0] == pytest.approx([row["computeMs"] * 1e-3 for row in lines])
    assert one.facts["h2d_s"] == pytest.approx(0.031e-3)
    assert (one.facts["transfers"], one.clock) == ("outside", "cuda_event")
    assert checks.is_clean(one)


def test_a_profile_alone_is_no_clean_time() -> None:
    """The sum of profiled layers stands in for the latency, and is called so."""
    (one,) = run_of(*exports("profile", "layers")).measurements
    assert not checks.is_clean(one)
    assert one.ops is not None
    assert stats.latency_s(one) == pytest.approx(one.ops.latency_s)


def test_times_alone_need_the_batch() -> None:
    """Neither file nor user tells the batch: one sentence says with which flag to."""
    with pytest.raises(UsageError, match="--batch"):
        run_of(*exports("times"))
    (one,) = run_of(*exports("times"), batch=64, network="mine").measurements
    assert (one.workload.batch, one.workload.model.name, one.ops) == (64, "mine", None)


def test_the_onnx_file_gives_names_and_types() -> None:
    """With the network's file its ops have ONNX's types, and the model its digest."""
    model = export(parse_network("mattsson(conv=2, fc=1)"))
    (one,) = run_of(*exports("profile", "layers"), onnx=Path(model.path)).measurements
    assert one.workload.model.sha256 == model.sha256
    assert one.ops is not None
    kinds = [op.kind for op in one.ops.ops]
    assert kinds == ["memory", "conv", "conv", "pool", "gemm", "gemm", "softmax"]


def test_a_real_profile_of_onnx_runtime(tmp_path: Path) -> None:
    """A profile that ONNX Runtime writes here and now is read: ops, shapes, runs, batch."""
    import onnxruntime

    model = export(parse_network("mattsson(conv=1, fc=1)"))
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "p")
    session = onnxruntime.InferenceSession(model.path, options, providers=["CPUExecutionProvider"])
    tiles = {"tiles": onnxruntime.OrtValue.ortvalue_from_shape_and_type([8, 1, 28, 28], "float32")}
    for _ in range(3):
        session.run_with_ort_values(None, tiles)
    (one,) = run_of(Path(session.end_profiling())).measurements
    graph = BACKEND.open(Workload(model=model, batch=8), Target()).graph()
    assert one.ops is not None
    assert [op.node for op in one.ops.ops] == [node.node for node in graph]
    assert [op.outputs for op in one.ops.ops] == [node.outputs for node in graph]
    same = [op for op in one.ops.ops if op.flops is not None]
    counted = {node.node: node.flops for node in graph}
    assert [op.flops for op in same] == [counted[op.node] for op in same]
    assert one.workload.batch == 8
    assert (len(one.samples_s[0]), len(one.warmups_s[0])) == (2, 1)


def test_files_of_several_kinds_are_refused() -> None:
    """A table and a profile do not make one Run."""
    with pytest.raises(UsageError, match="several kinds: profile of ONNX Runtime, table"):
        run_of(TABLE, ORT)


def test_layers_have_no_times() -> None:
    """Layer information alone cannot be imported."""
    with pytest.raises(UsageError, match="no times"):
        run_of(*exports("layers"))


def test_two_profiles_of_one_cell_are_refused() -> None:
    """The same network and batch twice would hide one of them."""
    with pytest.raises(UsageError, match="comes twice"):
        run_of(ORT, ORT)


def test_a_batch_that_is_told_is_believed() -> None:
    """Whatever the shapes say; that they say otherwise stands beside the numbers."""
    (one,) = run_of(*exports("profile", "layers"), batch=32).measurements
    assert one.workload.batch == 32
    assert checks.text(one.checks[-1])[0] == "The batch 32 was told; the shapes say 64."


def test_an_imported_run_cannot_be_resumed(tmp_path: Path) -> None:
    """There is nothing to go on with; the sentence says so."""
    results.save(run_of(TABLE), tmp_path / "run.json")
    with pytest.raises(UsageError, match="was imported, not measured here"):
        begin.resume(tmp_path / "run.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": 1}', "no file that can be imported"),
        (b"[]", "no file that can be imported"),
        (b'[{"cat": "Node"', "is cut off: it ends in line 1. .*end_profiling"),
        (b"{", "no file that can be imported"),
        (b'{"schema": 1, "measurements": []}', "is a Run already"),
    ],
)
def test_other_json_is_one_sentence(text: bytes, said: str, tmp_path: Path) -> None:
    """What it is not, and what import takes."""
    path = tmp_path / "x.json"
    path.write_bytes(text)
    with pytest.raises(UsageError, match=said):
        run_of(path)


def _of_stopwatch(
    files: Sequence[File], told: Told, _: Path | None, __: Mapping[str, str]
) -> Found:
    measurements = tuple(
        measurement(
            Known(
                path=file.path,
                model=named_model(told.network or file.path.stem),
                batch=None,
                runtime="stopwatch",
                samples_s=(float(file.text.split()[1]),),
                stand_in=None,
                ops=None,
                facts={},
                clock=importer.UNKNOWN,
            ),
            told,
        )
        for file in files
    )
    return Found(measurements=measurements, version="1")


STOPWATCH = Importer(
    name="stopwatch",
    takes="what a stopwatch says",
    form=lambda text: "stopped" if text.startswith("stopped ") else "",
    read=_of_stopwatch,
)


def test_another_packages_importer_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new reader is one object and one line of entry points; a table stays a table."""
    known = {name: registry.find("importer", name) for name in registry.names("importer")}
    known["stopwatch"] = STOPWATCH
    monkeypatch.setattr(registry, "names", lambda _: tuple(known))
    monkeypatch.setattr(registry, "find", lambda _, name: known[name])
    path = tmp_path / "mine.txt"
    path.write_text("stopped 0.5")
    run = run_of(path, batch=4)
    assert run.environment["imported"]["files"][0]["form"] == "stopped"
    assert run.environment["backend"] == {"name": "stopwatch", "version": "1"}
    assert stats.latency_s(run.measurements[0]) == 0.5
    assert run_of(TABLE).environment["imported"]["files"][0]["form"] == "table"
    with pytest.raises(UsageError, match="several kinds: stopwatch, table"):
        run_of(TABLE, path, batch=4)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(BadFile, match=r"It takes a \.csv table, what a stopwatch says, a prof"):
        run_of(tmp_path / "x.json")


def test_an_installation_without_importers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout that was not installed again has no entry points for them: one sentence."""
    monkeypatch.setattr(registry, "names", lambda _: ())
    with pytest.raises(Unavailable, match="registers no importer"):
        run_of(TABLE)


def test_a_profile_without_nodes_is_refused() -> None:
    """A session that never ran has nothing to import."""
    text = b'[{"cat": "Session", "ph": "X", "dur": 3, "name": "model_loading_uri", "args": {}}]'
    with pytest.raises(BadFile, match="no node that ran"):
        ort_profile.read(text, "p.json")
