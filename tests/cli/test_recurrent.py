"""Recurrent networks as a user types them."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import commands
import pytest

from nnprof.networks.checkpoint import load_record

NETWORK = "10x1 lstm6 gru5 relu fc1 linear"


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of two years."""
    path = tmp_path_factory.mktemp("prices") / "prices.csv"
    days = [(year, day) for year in (2019, 2020) for day in range(1, 29)]
    rows = [f"{year}-{month:02}-{day:02},{10 + math.sin(month + day / 9):.4f}"
            for year, day in days for month in (1, 2, 3)]  # fmt: skip
    path.write_text("\n".join(["Date,Close", *rows]) + "\n")
    return path


def test_from_prices_to_a_file_that_agrees(prices: Path, tmp_path: Path) -> None:
    """Trained on windows of a CSV file, exported, and checked on all windows to test on."""
    folder, file = tmp_path / "net", tmp_path / "net.onnx"
    done = commands.nnprof(
        "train", NETWORK, "--dataset", f"prices(file={prices}, window=10)", "--loss", "mse",
        "--optimizer", "adam", "--batch", "16", "--epochs", "2", "--out", folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "test loss (mse)" in done.stdout
    assert load_record(folder).network == NETWORK
    done = commands.nnprof("export", folder, "-o", file)
    assert done.returncode == 0, done.stderr
    assert "all test tiles of prices" in " ".join(done.stdout.replace("│", " ").split())


@pytest.mark.usefixtures("workers_here")
def test_ops_are_of_the_kind_recurrent(tmp_path: Path) -> None:
    """`bench` measures the notation, and `show --ops` has each layer as an op of that kind."""
    done = commands.nnprof(
        *("bench", NETWORK, "--batch", "4", "--backend", "fake", "--quick"),
        *("--ops", "runtime", "--out", tmp_path),
    )
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("*.json")
    done = commands.nnprof("show", run, "--ops", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    kinds = {row["op"]: row["kind"] for row in rows}
    assert (kinds["LSTM"], kinds["GRU"]) == ("recurrent", "recurrent")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("export", "9x1 lstm5 softmax fc1", "-o", "net.onnx"),
            "'lstm5 softmax', but ONNX has no LSTM with that activation, so the network cannot be "
            "exported. Train it, or write one of tanh, relu, sigmoid, softsign, linear",
        ),
        (("bench", "9x1 gru5 softmax fc1", "--quick"), "ONNX has no GRU with that activation"),
        (
            ("predict", "onnxruntime-avx512", NETWORK),
            f"The model has not seen LSTM, GRU of {NETWORK}.",
        ),
        (("predict", "gtx960-mattsson2016", NETWORK), "The model has not seen LSTM, GRU"),
        (
            ("train", "10x1 fc5 fc1", "--out", "net"),
            "fc 1 of 2 takes no sequence of 10×1 (steps × features): put an lstm or gru before",
        ),
        (
            ("train", "9x1 lstm5 fc10", "--dataset", "digits", "--out", "net"),
            "The network takes 9×1, but the inputs of 'digits' are 1×28×28.",
        ),
    ],
)
def test_bad_input(words: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    """What cannot be done gets a sentence with its remedy, and exit code 2; nothing is left."""
    done = commands.nnprof(*words, folder=tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not list(tmp_path.iterdir())
