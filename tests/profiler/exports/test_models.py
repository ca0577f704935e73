"""The annotated copy: of the model that was measured and no other, with all its weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from commands import nnprof
from msgspec.structs import replace

from nnprof.errors import UsageError
from nnprof.exporters.models import load_model
from nnprof.profiler import results
from nnprof.profiler.exports.made import export_run, only
from nnprof.types import Run


def of_model(run: Run, path: Path) -> Run:
    """The Run's second cell, as if it had been of that file."""
    cell = run.measurements[1]
    work = replace(cell.workload, model=load_model(path))
    return replace(run, measurements=(replace(cell, workload=work),), failures=())


@pytest.fixture
def outside(data: Path, tmp_path: Path) -> Path:
    """The network with its weights in a file beside it."""
    folder = tmp_path / "models"
    folder.mkdir()
    onnx.save(
        onnx.load(data / "tiny.onnx"),
        folder / "tiny.onnx",
        save_as_external_data=True,
        location="tiny.weights",
        size_threshold=0,
    )
    return folder / "tiny.onnx"


def test_weights_of_other_files_come_along(run: Run, outside: Path, tmp_path: Path) -> None:
    """The copy in another folder runs by itself, with the same results."""
    copy = tmp_path / "there" / "copy.onnx"
    written = export_run(of_model(run, outside), "onnx", copy)
    assert written.paths == (copy, copy.with_name("tiny.weights"))
    shown = [onnxruntime.InferenceSession(path) for path in (copy, outside)]
    tiles = np.random.default_rng(0).random((2, 1, 8, 8), np.float32)
    one, other = (session.run(None, {"x": tiles})[0] for session in shown)
    assert np.array_equal(one, other)
    shutil.rmtree(outside.parent)
    onnx.checker.check_model(copy, full_check=True)


def test_in_one_folder_the_weights_are_shared(run: Run, outside: Path) -> None:
    """Beside the model the copy names the same file of weights, which stays as it is."""
    weights = outside.with_name("tiny.weights")
    before = weights.stat()
    written = export_run(of_model(run, outside), "onnx", outside.with_name("copy.onnx"))
    assert written.paths == (outside.with_name("copy.onnx"),)
    assert weights.stat().st_mtime_ns == before.st_mtime_ns


def test_the_copy_never_takes_the_place_of_weights(run: Run, outside: Path, tmp_path: Path) -> None:
    """What is there under the name of the weights, and is no such file, is not replaced."""
    taken = tmp_path / "there" / "tiny.weights"
    taken.parent.mkdir()
    taken.write_bytes(b"somebody's")
    with pytest.raises(UsageError, match="is another file"):
        export_run(of_model(run, outside), "onnx", taken.with_name("copy.onnx"))
    assert taken.read_bytes() == b"somebody's"


def test_another_model_is_refused(run: Run, data: Path, tmp_path: Path) -> None:
    """A file of the same name and other content gets no times that are not its own."""
    model = onnx.load(data / "tiny.onnx")
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    onnx.save(model, tmp_path / "tiny.onnx")
    with pytest.raises(UsageError, match="is not the model that was measured"):
        export_run(only(run, [2]), "onnx", tmp_path / "o.onnx", model=tmp_path / "tiny.onnx")
    assert not (tmp_path / "o.onnx").exists()


def test_the_model_is_not_replaced(run: Run, data: Path, tmp_path: Path) -> None:
    """The copy never takes the place of the model, which would then be another one."""
    own = tmp_path / "tiny.onnx"
    shutil.copy(data / "tiny.onnx", own)
    with pytest.raises(UsageError, match="is the model itself"):
        export_run(only(run, [2]), "onnx", own, model=own)
    assert own.read_bytes() == (data / "tiny.onnx").read_bytes()


def test_nodes_without_names(run: Run, data: Path, tmp_path: Path) -> None:
    """Where no op is of a named node, the copy says how long they took, and no node has a time."""
    cell = run.measurements[1]
    assert cell.ops
    bare = replace(cell.ops, ops=tuple(replace(op, origin=("",)) for op in cell.ops.ops))
    unnamed = replace(run, measurements=(replace(cell, ops=bare),), failures=())
    written = export_run(unnamed, "onnx", tmp_path / "o.onnx", model=data / "tiny.onnx")
    assert "6 ops are of no named node" in written.left_out[0]
    assert not any(one.metadata_props for one in onnx.load(tmp_path / "o.onnx").graph.node)
    with pytest.raises(UsageError, match="nothing to put on its graph"):
        export_run(unnamed, "model-explorer", tmp_path / "folder")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("-f", "onnx"), "2 have op times. Choose one with --cell NUMBER:"),
        (("-f", "onnx", "--cell", 3), "No cell has op times"),
        (("-f", "onnx", "--cell", 2), "'/models/tiny.onnx' is not here."),
        (("-f", "junit", "--cell", 4), "There is no cell 4. The Run has cells 1 to 3."),
        (("-f", "chrome", "--model", "net.onnx"), "made without the network's file"),
        (("-f", "bencher", "--cell", 3), "No cell of the Run was measured"),
        (("-f", "speedscope"), "'speedscope' is not one of 'bencher', 'chrome'"),
    ],
)
def test_one_sentence_and_exit_code_2(
    words: tuple[object, ...], sentence: str, data: Path, tmp_path: Path
) -> None:
    """What a format cannot show is said, with what to do, and nothing is written."""
    done = nnprof("export-run", data / "run.json", *words, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


def test_places_that_do_not_fit(data: Path, run: Run, tmp_path: Path) -> None:
    """A file where a folder is to be, or the reverse, is said before anything is written."""
    file = tmp_path / "file"
    file.write_bytes(b"kept")
    with pytest.raises(UsageError, match="several files, and"):
        export_run(run, "parquet", file)
    with pytest.raises(UsageError, match="one file, and"):
        export_run(run, "chrome", tmp_path)
    with pytest.raises(UsageError, match="github-summary, junit"):
        export_run(run, "chrome", tmp_path / "out", after=run)
    assert file.read_bytes() == b"kept"


def test_results_are_of_the_run(run: Run, data: Path) -> None:
    """The fixed Run is read by the nnprof of today."""
    assert results.load(data / "run.json") == run
