"""Bad input gets one clear sentence with the remedy, exit code 2, and loses nothing."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import commands
import onnx
import pytest
from onnx import TensorProto, helper

from nnprof.networks import bundled

GOLDEN = Path(__file__).parents[1] / "data" / "run-v1.json"


def _relabelled(folder: Path, op: str, domain: str) -> Path:
    """The bundled network with its first op changed to one that nobody knows."""
    proto = onnx.load(bundled.model_path())
    proto.graph.node[0].op_type = op
    proto.graph.node[0].domain = domain
    if domain:
        proto.opset_import.append(helper.make_opsetid(domain, 1))
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def _truncated(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(bundled.model_path().read_bytes()[:30_000])
    return path


def _text(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_text("Not a network at all.\n", encoding="utf-8")
    return path


def _newer(folder: Path) -> Path:
    path = folder / "run.json"
    path.write_text(json.dumps({"schema": 99}), encoding="utf-8")
    return path


def _half(folder: Path) -> Path:
    path = folder / "run.json"
    content = GOLDEN.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def _blocked(folder: Path) -> Path:
    (folder / "file").write_text("in the way", encoding="utf-8")
    return folder / "file" / "results"


def _free_axis(folder: Path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "free",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "length"])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(proto, folder / "free.onnx")
    return folder / "free.onnx"


FAKE = ("--backend", "fake")
Case = Callable[[Path], tuple[str, ...]]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(
            lambda _: ("bench", "1x28x28 konv20k5 fc10"),
            "Unknown layer 'konv20k5' at column 9 of '1x28x28 konv20k5 fc10'. Known: conv,",
            id="unknown layer",
        ),
        pytest.param(
            lambda _: ("bench", "1x28x28" + " conv5k5" * 7 + " fc10"),
            "conv 7 of 7: 5×5 does not fit 4×4.",
            id="impossible shape",
        ),
        pytest.param(
            lambda _: ("bench", "1x28x28 fc10", "--batch", "0"),
            "--batch 0 is not a list of whole numbers of at least 1. Write it like this:",
            id="batch 0",
        ),
        pytest.param(
            lambda _: ("bench", *FAKE, "--protocol", "loop-fresh", "--idle", "0"),
            "--protocol loop-fresh times inferences and makes no other pass, so --idle cannot be",
            id="a pass that loops do not make",
        ),
        pytest.param(
            lambda folder: ("bench", str(_truncated(folder))), "model.onnx", id="truncated ONNX"
        ),
        pytest.param(
            lambda folder: ("bench", str(_relabelled(folder, "Konv", ""))),
            "Konv",
            id="unknown op",
        ),
        pytest.param(
            lambda folder: ("bench", str(_relabelled(folder, "Konv", "my.own"))),
            "Konv",
            id="unknown op of another domain",
        ),
        pytest.param(
            lambda folder: ("bench", str(_text(folder))), "model.onnx", id="text named .onnx"
        ),
        pytest.param(
            lambda folder: ("bench", str(folder / "none.onnx")), "none.onnx", id="no such file"
        ),
        pytest.param(
            lambda folder: ("bench", str(_free_axis(folder))),
            "Input 'x' has a free dimension 'length' at axis 1. Give its size with --dim length=N",
            id="free dimension",
        ),
        pytest.param(
            lambda _: ("bench", "--data", str(GOLDEN), "1x28x28 fc10", *FAKE),
            "is not a readable .npy or .npz file.",
            id="data file of another kind",
        ),
        pytest.param(
            lambda folder: ("bench", "--data", str(folder / "no.npy"), "1x28x28 fc10", *FAKE),
            "no.npy cannot be read: No such file or directory.",
            id="no data file",
        ),
        pytest.param(
            lambda folder: ("show", str(_newer(folder))),
            "run.json has schema 99; this nnprof reads up to 2. Install a newer nnprof.",
            id="newer schema",
        ),
        pytest.param(
            lambda folder: ("show", str(_half(folder))),
            "is cut off or is not JSON",
            id="half a Run",
        ),
        pytest.param(
            lambda folder: ("bench", "--resume", str(_half(folder))),
            "is cut off or is not JSON",
            id="half a Run to resume",
        ),
        pytest.param(
            lambda folder: ("bench", "1x28x28 fc10", *FAKE, "--out", str(_blocked(folder))),
            "Choose another folder, or free some space.",
            id="unwritable folder",
        ),
        pytest.param(
            lambda _: ("bench", "--device", "toaster"),
            "Unknown device 'toaster'. Known: cpu",
            id="unknown device",
        ),
        pytest.param(
            lambda _: ("bench", "--backend", "abacus"),
            "Unknown backend 'abacus'. Known: fake, litert, mnn, ncnn, onnxruntime",
            id="unknown backend",
        ),
        pytest.param(
            lambda _: ("bench", "--study", "group9"),
            "Unknown study 'group9'. Known: figure36, figure9, gil-conv-batch,",
            id="unknown study",
        ),
        pytest.param(
            lambda _: ("bench", *FAKE, "--option", "noise=loud"),
            "Option noise=loud is not a number.",
            id="option that is no number",
        ),
        pytest.param(
            lambda _: ("bench", *FAKE, "--threads", "9999"),
            "9999 threads need 9999 processors",
            id="too many threads",
        ),
        pytest.param(
            lambda _: ("bench", *FAKE, "--idle", "1ms,5"), "'5' is not a time.", id="no unit"
        ),
        pytest.param(
            lambda _: ("compare", str(GOLDEN), "none.json"), "Cannot read none.json", id="no Run"
        ),
        pytest.param(
            lambda _: ("bench", "--quick", "--rigorous"), "exclude each other", id="both ways"
        ),
        pytest.param(
            lambda _: ("show", str(GOLDEN), "--batch", "5"),
            "No cell has such a batch. Batches: 1, 64, 1024.",
            id="batch not in the Run",
        ),
    ],
)
def test_one_sentence_and_exit_code_2(words: Case, sentence: str, tmp_path: Path) -> None:
    """Each kind of bad input is told in a line or two on stderr, with no trace and no stdout."""
    work = tmp_path / "work"
    work.mkdir()
    done = commands.nnprof(*words(tmp_path), folder=work)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.startswith("nnprof: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(work.rglob("*.json")) == []


def test_corrupt_idx_file(tmp_path: Path) -> None:
    """A corrupt IDX file is named before any training."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"\x00\x00\x08\x07rubbish"))
    done = commands.nnprof(
        *("train", "1x28x28 fc10", "--out", tmp_path / "net"), NNPROF_DATA=str(tmp_path)
    )
    assert done.returncode == 2
    assert "-ubyte" in done.stderr
    assert done.stderr.count("\n") == 1
