"""`nnprof fit-model` and `nnprof predict`, on a Run of this repository."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import commands
import onnx
import pytest
from onnx import TensorProto, helper

from nnprof.cli import progress
from nnprof.errors import UsageError
from nnprof.profiler.costmodel import graphs, model
from nnprof.profiler.studies import Sides

ROOT = Path(__file__).parents[2]
RUN = next((ROOT / "bench_results").glob("costmodel-train-*.json"))


def nnprof(*arguments: str, folder: Path) -> commands.Done:
    """The command as a user runs it, 80 columns wide."""
    return commands.nnprof(*arguments, folder=folder)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A model file, and what fit-model printed; what it did lies beside."""
    folder = tmp_path_factory.mktemp("fit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "_FIRST_S", 0.0)
        patch.setattr(progress, "_EACH_S", 0.0)
        done = nnprof("fit-model", str(RUN), "-o", "model.json", folder=folder)
    assert done.returncode == 0, done.stderr
    (folder / "steps").write_text(done.stderr)
    return folder / "model.json", done.stdout


def test_each_step_of_a_fit_is_told(fitted: tuple[Path, str]) -> None:
    """Fitting, intervals and checks are named as they begin, on standard error."""
    steps = (fitted[0].parent / "steps").read_text()
    said = ("reading ", "fitting ", "intervals of ", "checking: networks left out, part 1 ")
    places = [steps.index(step) for step in said]
    assert places == sorted(places)


def _used_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_hundred_cells_take_five_seconds(data_folder: Path | None, tmp_path: Path) -> None:
    """On a terminal something is shown within the first second, and it is over after five.

    Both in time of the processor, for who else uses it is not known.
    """
    run = quick_run(data_folder)
    screen, end = os.openpty()
    words = [sys.executable, "-m", "nnprof", "fit-model", str(run), "-o", "model.json"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=end) as process:
        os.close(end)
        os.read(screen, 1)
        assert _used_s(process.pid) < 1
        seen = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while part := os.read(screen, 4096):
                seen, used_s = seen + part, _used_s(process.pid)
        process.communicate()
    os.close(screen)
    assert process.returncode == 0
    assert b"reading " in seen
    assert b"intervals of" in seen
    assert used_s < 5


def test_a_fitted_model_is_small_and_says_what_it_knows(fitted: tuple[Path, str]) -> None:
    """At most 12 kB, 80 columns, with rates, intervals, errors beside noise, and doubts."""
    path, text = fitted
    assert path.stat().st_size <= 12_000
    assert max(len(line) for line in text.splitlines()) <= 80
    for word in ("GFLOP/s", "GB/s", "µs", "not identified", "error", "noise", "Whole networks"):
        assert word in text
    assert json.loads(path.read_bytes())["sources"][0]["name"] == RUN.name


def test_a_prediction_has_the_promised_fields(fitted: tuple[Path, str]) -> None:
    """One object per network and batch."""
    path, _ = fitted
    done = nnprof("predict", str(path), "mattsson(conv=2)", "784 fc64 fc10", "--batch", "1,64",
                  "--format", "json", folder=path.parent)  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    assert [one["batch"] for one in records] == [1, 64, 1, 64]
    for one in records:
        assert one["low_ms_per_tile"] < one["ms_per_tile"] < one["high_ms_per_tile"]
        assert one["tiles_per_ms"] == pytest.approx(1 / one["ms_per_tile"])
        assert sum(part["ms_per_tile"] for part in one["terms"]) == pytest.approx(
            one["ms_per_tile"]
        )
        assert isinstance(one["extrapolates"], bool)
        assert 0 < one["known_error"] < 0.1
        assert one["doubt"] == ""


def quick_run(data_folder: Path | None) -> Path:
    """What a user measured on a noisy machine; op times near 0 s and a peak of 21 TFLOP/s."""
    run = data_folder and data_folder / "latency" / "amd-avx2" / "plan-quick.json"
    if not (run and run.is_file()):
        pytest.skip("NNPROF_DATA names no folder with latency/amd-avx2")
    return run


def test_a_bad_fit_says_so_now_and_later(data_folder: Path | None, tmp_path: Path) -> None:
    """First thing when it is fitted, then with each prediction and search, in every form."""
    done = nnprof("fit-model", str(quick_run(data_folder)), folder=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[1].startswith("Warning: Known to be far off: whole networks by ")
    assert "op times cannot be told from 0" in " ".join(done.stdout.split())
    made = json.loads((tmp_path / "model.json").read_bytes())
    assert made["peaks"]["flops_per_s"] < 100e9
    assert all(group.get("error", 0) < 1 for group in made["groups"])
    doubt, error = made["doubt"], made["network"]["error"]
    asked = ("model.json", "mattsson(conv=1, fc=1)", "--batch", "64")
    assert doubt in " ".join(nnprof("predict", *asked, folder=tmp_path).stdout.split())
    told = nnprof("predict", *asked, "--format", "json", folder=tmp_path)
    assert doubt in told.stderr
    (record,) = json.loads(told.stdout)
    assert (record["known_error"], record["doubt"]) == (error, doubt)
    space = ("model.json", "--min-tiles-per-ms", "1", "--family", "mattsson(conv=1, fc=1)")
    assert doubt in " ".join(nnprof("search", *space, folder=tmp_path).stdout.split())
    told = nnprof("search", *space, "--format", "csv", folder=tmp_path)
    assert doubt in told.stderr
    for row in csv.DictReader(told.stdout.splitlines()):
        assert float(row["known_error"]) == pytest.approx(error, rel=1e-3)


def test_a_fit_of_which_no_number_is_right_is_refused(tmp_path: Path) -> None:
    """Clean times that have nothing to do with the networks: one sentence, exit 2, no file."""
    run = json.loads(RUN.read_bytes())
    for number, cell in enumerate(run["measurements"]):
        times = [[100 ** (number % 3) * one for one in each] for each in cell["samples_s"]]
        cell["samples_s"] = times
        for process, mine in zip(cell["processes"], times, strict=True):
            process |= {"samples_s": mine} if "samples_s" in process else {}
    (tmp_path / "wild.json").write_text(json.dumps(run))
    done = nnprof("fit-model", "wild.json", folder=tmp_path)
    assert done.returncode == 2
    assert "No number of this model would deserve trust: half of the 16 networks" in done.stderr
    assert not (tmp_path / "model.json").exists()


def test_a_model_of_another_machine_says_so(fitted: tuple[Path, str], tmp_path: Path) -> None:
    """On a processor of other caches than its own."""
    made = json.loads(fitted[0].read_bytes())
    made["device"]["caches"] = {"L1d": "1K", "L2": "2K"}
    (tmp_path / "other.json").write_text(json.dumps(made))
    done = nnprof("predict", "other.json", "784 fc10", "--batch", "1", folder=tmp_path)
    assert "This machine is of another kind than the model's: " in done.stdout
    space = ("other.json", "--min-tiles-per-ms", "1", "--family", "mattsson(conv=1, fc=1)")
    told = nnprof("search", *space, folder=tmp_path).stderr
    assert "This machine is of another kind" in told


def test_an_unknown_op_is_refused_by_name(fitted: tuple[Path, str]) -> None:
    """Exit code 2 and a sentence; with --partial the known part, labelled.

    Of a model file with nothing that stands in for ops that were not measured.
    """
    old, _ = fitted
    network, path = "1x28x28 conv20k5 pool2 tanh fc10", old.with_name("alone.json")
    known = nnprof("predict", str(old), network, folder=path.parent)
    assert known.returncode == 0
    assert "tanh: not measured, predicted as" in " ".join(known.stdout.split())
    path.write_text(json.dumps({**json.loads(old.read_bytes()), "standins": []}))
    refused = nnprof("predict", str(path), network, folder=path.parent)
    assert refused.returncode == 2
    assert "Tanh" in refused.stderr
    assert "--partial" in refused.stderr
    assert not refused.stdout
    partial = nnprof("predict", str(path), network, "--partial", folder=path.parent)
    assert partial.returncode == 0
    assert "partial" in partial.stdout
    assert "Tanh" in partial.stdout


def test_a_prior_of_another_form_is_no_traceback(fitted: tuple[Path, str]) -> None:
    """The published model knows conv and gemm in words of its own, and takes some for free."""
    path, _ = fitted
    done = nnprof("fit-model", str(RUN), "--prior", "gtx960-mattsson2016", "-o", "odd.json",
                  folder=path.parent)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "nnprof" not in done.stderr
    assert "Calibrated from gtx960-mattsson2016" in " ".join(done.stdout.split())


def test_a_prior_needs_few_ops(fitted: tuple[Path, str]) -> None:
    """A Run fitted around another model says so, and predicts."""
    path, _ = fitted
    done = nnprof("fit-model", str(RUN), "--prior", str(path), "-o", "new.json",
                  folder=path.parent)  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = json.loads((path.parent / "new.json").read_bytes())
    assert made["calibration"]["scale"] == pytest.approx(1.0, abs=0.2)


def onnx_file(path: Path, batch: int | str, side: int | str) -> Path:
    """A network with a branch: x + conv(x), pooled, flattened, multiplied."""
    import numpy as np
    from onnx import numpy_helper

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(np.full(shape, 0.1, np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "v"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("MaxPool", ["s"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "u"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes if isinstance(side, int) else nodes[:1],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1, side, side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 10]) if
         isinstance(side, int) else
         helper.make_tensor_value_info("a", TensorProto.FLOAT, [batch, 16, side, side])],
        [weights("w", 16, 1, 3, 3), weights("v", 16, 16, 3, 3), weights("u", 16 * 6 * 6, 10)],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              path)  # fmt: skip
    return path


def test_a_file_bound_to_a_batch_is_predicted_at_it(fitted: tuple[Path, str]) -> None:
    """Without --batch a file of batch 4 is asked at 4; views are known whatever they are called."""
    path, _ = fitted
    onnx_file(path.parent / "bound.onnx", 4, 12)
    done = nnprof("predict", str(path), "bound.onnx", "--partial", "--format", "json",
                  folder=path.parent)  # fmt: skip
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)
    assert one["batch"] == 4
    assert "Flatten" not in one["unknown"]
    if one["partial"]:
        assert (one["low_ms_per_tile"], one["high_ms_per_tile"]) == (None, None)
        assert {layer["ms_per_tile"] for layer in one["layers"]} >= {None}


def test_a_file_of_free_batch_is_predicted_at_any(fitted: tuple[Path, str]) -> None:
    """The three usual batches where none is asked for."""
    path, _ = fitted
    onnx_file(path.parent / "free.onnx", "N", 12)
    done = nnprof("predict", str(path), "free.onnx", "--partial", "--format", "json",
                  folder=path.parent)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [one["batch"] for one in json.loads(done.stdout)] == [1, 16, 1024]


def test_other_free_sizes_get_a_sentence(fitted: tuple[Path, str]) -> None:
    """With a remedy that predict has, and that works."""
    path, _ = fitted
    onnx_file(path.parent / "sizes.onnx", "N", "H")
    done = nnprof("predict", str(path), "sizes.onnx", folder=path.parent)
    assert done.returncode == 2
    assert "free dimension 'H'" in done.stderr
    assert "Give its size with --dim H=N." in done.stderr
    done = nnprof("predict", str(path), "sizes.onnx", "--dim", "H=12", "--partial",
                  folder=path.parent)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_tiles_of_an_unbatched_file_are_not_predicted(fitted: tuple[Path, str]) -> None:
    """A file that tells no batch is asked about, instead of taking its first side for one."""
    path, _ = fitted
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 8, 8])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        path.parent / "image.onnx",
    )
    made = model.load(path)
    with pytest.raises(UsageError, match="No input of image has a batch axis that can be told"):
        graphs.of_text(str(path.parent / "image.onnx"), made, ())
    _, told = graphs.of_text(str(path.parent / "image.onnx"), made, (), Sides({"x": 0}))
    assert list(told.works) == [3]
    _, one = graphs.of_text(str(path.parent / "image.onnx"), made, (1,))
    assert list(one.works) == [1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit-model", "nothing.json"),
        ("predict", "nothing.json", "784 fc10"),
        ("predict", "gtx960-mattsson2016", "784 fc"),
        ("predict", "gtx960-mattsson2016", "784 fc10", "--batch", "0"),
        ("fit-model", str(RUN), "--peak-gflops", "0"),
    ],
)
def test_bad_input_gets_a_sentence(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Exit code 2, one line, no traceback."""
    done = nnprof(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("nnprof: ")
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
