"""`nnprof train` and `nnprof export` as a user runs them."""

import gzip
import hashlib
import json
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import commands
import msgspec
import numpy as np
import onnx
import pytest
import typer.main

from nnprof.types import TrainingRecord

NETWORK = "1x28x28 conv4k5s2 pool2 fc16 fc10"


def nnprof(*arguments: str, **environment: str) -> commands.Done:
    """Run the command; warnings are errors, as in all tests."""
    return commands.nnprof(*arguments, **{"COLUMNS": "200", **environment})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingRecord]:
    """A folder that `nnprof train` wrote, and the record that it printed."""
    folder = tmp_path_factory.mktemp("train") / "out"
    done = nnprof(
        "train", NETWORK, "--dataset", "digits", "--out", str(folder), "--epochs", "3",
        "--momentum", "0.9", "--seed", "5", "--format", "json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, msgspec.json.decode(done.stdout, type=TrainingRecord)


def test_train_prints_the_record_and_nothing_else(trained: tuple[Path, TrainingRecord]) -> None:
    """--format json is the record that lies in the folder; the seed went into the network."""
    folder, record = trained
    assert record == msgspec.json.decode((folder / "record.json").read_bytes(), type=TrainingRecord)
    assert (record.seed, record.network) == (5, f"{NETWORK} seed5")
    assert record.finished


def test_train_prints_a_table_and_resumes(trained: tuple[Path, TrainingRecord]) -> None:
    """The table has accuracy, best epoch and goals; a folder with a training asks for --resume."""
    folder, record = trained
    again = [
        "train", NETWORK, "--dataset", "digits", "--out", str(folder), "--epochs", "3",
        "--momentum", "0.9", "--seed", "5",
    ]  # fmt: skip
    refused = nnprof(*again)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    done = nnprof(*again, "--resume")
    assert done.returncode == 0, done.stderr
    for words in ("test accuracy", f"{record.test_accuracy:.2%}", "best epoch", "to 95 %"):
        assert words in done.stdout


def test_export_of_a_checkpoint_is_checked_on_all_test_tiles(
    trained: tuple[Path, TrainingRecord], tmp_path: Path
) -> None:
    """The file is written, its checksum is true, and all test tiles agree with torch."""
    output = tmp_path / "new" / "model.onnx"
    done = nnprof("export", str(trained[0]), "-o", str(output), "--format", "json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["model"]["path"] == str(output)
    assert said["model"]["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert said["model"]["normalisation"] == "folded"
    assert said["checked_on"] == "all test tiles of digits"
    assert said["agreement"]["tiles"] == 359
    assert said["agreement"]["top1_agreement"] == 1
    assert said["agreement"]["max_difference"] < 1e-4


def test_export_of_a_network_prints_what_it_made(tmp_path: Path) -> None:
    """A network's text gives a file with seeded weights; path, checksum and agreement are told."""
    output = tmp_path / "model.onnx"
    done = nnprof("export", "1x9x9 conv3k3same fc4 seed2", "-o", str(output))
    assert done.returncode == 0, done.stderr
    for words in ("sha256", "seed 2", "op", "classes 100.00%", "64 tiles: random tiles"):
        assert words in done.stdout
    assert "arning" not in done.stderr


def test_export_in_another_precision_says_how_it_was_made(tmp_path: Path) -> None:
    """--precision int8 writes the quantised file, and says on what it was calibrated."""
    output = tmp_path / "net.onnx"
    done = nnprof(
        *("export", "1x9x9 conv3k3 fc4 seed2", "-o", str(output)),
        *("--precision", "int8", "--format", "json"),
    )
    assert done.returncode == 0, done.stderr
    model = json.loads(done.stdout)["model"]
    assert (model["precision"], model["network"]) == ("int8", "1x9x9 conv3k3 fc4 seed2")
    form = "S8S8 per channel, 7-bit weights (any runtime)"
    assert model["conversion"] == f"int8 QDQ, {form}, calibrated on 512 generated tiles"
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(output).graph.node}


def test_export_for_a_runtime_is_in_its_form(tmp_path: Path) -> None:
    """A file for TensorRT has its whole range of signed weights, also where TensorRT is not."""
    done = nnprof(
        *("export", "1x9x9 conv3k3 fc4 seed2", "-o", str(tmp_path / "net.onnx")),
        *("--precision", "int8", "--backend", "trtexec", "--format", "json"),
    )
    assert done.returncode == 0, done.stderr
    conversion = json.loads(done.stdout)["model"]["conversion"]
    assert conversion.startswith("int8 QDQ, S8S8 per channel, 8-bit weights (TensorRT), calibrated")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "nowhere/at/all"], "is no folder"),
        (["export", "."], "record.json"),
        (["export", "1x28x28 covn3"], "Unknown layer"),
        (["train", "1x28x28 fc9", "--dataset", "digits"], "end it with fc10"),
        (["train", "1x28x28 fc10", "--dataset", "digits", "--epochs", "0"], "epochs must be"),
        (["train", "1x28x28 fc10", "--dataset", "dogs"], "Known: aapl, cifar10, digits"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    """Exit code 2, a sentence on standard error, no traceback, nothing written."""
    out = tmp_path / "out"
    done = nnprof(*arguments, "-o" if arguments[0] == "export" else "--out", str(out))
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("command", [["train", "--out"], ["export", "-o"]])
def test_without_torch_the_remedy_is_named(tmp_path: Path, command: list[str]) -> None:
    """Where torch is missing, both commands say what to install."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from nnprof.cli.main import main; sys.exit(main())"
    )
    run = [sys.executable, "-c", code, command[0], "20 fc4", command[1], str(tmp_path / "out")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'nnprof-embedded[train]'" in done.stderr


def test_train_reads_idx_files(tmp_path: Path) -> None:
    """MNIST's file format trains and exports from the command line, without a warning."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    random = np.random.default_rng(0)
    for prefix, count in (("train", 200), ("t10k", 50)):
        tiles = random.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, values in (("images-idx3", tiles), ("labels-idx1", labels)):
            header = struct.pack(f">{1 + values.ndim}I", 0x0800 + values.ndim, *values.shape)
            data = gzip.compress(header + values.tobytes())
            (folder / f"{prefix}-{name}-ubyte.gz").write_bytes(data)
    done = nnprof(
        "train", "1x28x28 fc10", "--epochs", "1", "--out", str(tmp_path / "out"),
        NNPROF_DATA=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "arning" not in done.stderr


def test_the_page_on_training_has_every_option() -> None:
    """docs/training.md lists each option of `train` once, with the default that it has."""
    from nnprof.cli.main import app

    command: Any = typer.main.get_command(app)
    wanted = {}
    for one in command.commands["train"].params:
        if one.param_type_name == "option":
            usual = "none" if one.default is None else "off" if one.is_flag else str(one.default)
            wanted[max(one.opts, key=len)] = {
                "--out": "–",
                "--learning-rate": "the optimiser's",
                "--seed": "the network's, or 0",
            }.get(max(one.opts, key=len), usual)
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    page = page.partition("## Options")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `(--[a-z0-9-]+)` \| ([^|]+) \|", page, re.MULTILINE)
    assert {name: text.strip("`") for name, text in found} == wanted
