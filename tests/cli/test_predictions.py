"""`nnprof plot --predictions`: what networks foretell against what came, and the plain forecast."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import commands
import numpy as np
import pandas as pd
import pytest

import nnprof
from nnprof.networks import datasets
from nnprof.networks.checkpoint import load_checkpoint
from nnprof.networks.predictions import Foretold, foretell, rmse
from nnprof.networks.settings import TrainingSettings
from nnprof.profiler.report import predictions

SETTINGS = TrainingSettings(epochs=2, optimizer="adam", loss="mse", normalisation="none")

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with days.csv, of two years, and `net`, trained on it."""
    folder = tmp_path_factory.mktemp("days")
    days = pd.date_range("2024-01-01", "2025-12-31")
    noise = np.random.default_rng(0).normal(size=len(days)).cumsum()
    pd.DataFrame({"Date": days, "Close": 200 + noise}).to_csv(folder / "days.csv", index=False)
    dataset = f"prices:{folder / 'days.csv'}"
    nnprof.train("60 fc32 fc1 linear", folder / "net", dataset=dataset, settings=SETTINGS)
    return folder


def test_values_are_those_of_the_file(trained: Path) -> None:
    """True values and dates are the file's last year, `today` the day before, in its own units."""
    told = foretell([trained / "net"])
    table = pd.read_csv(trained / "days.csv")
    last_year = table.Date >= "2025"
    assert told.dates is not None
    assert told.today is not None
    assert list(told.dates.astype("datetime64[D]").astype(str)) == list(table.Date[last_year])
    np.testing.assert_allclose(told.true, table.Close[last_year], rtol=1e-6)
    np.testing.assert_allclose(told.today, table.Close.shift(1)[last_year], rtol=1e-6)
    # By hand: two products, and the scale of the first year.
    kept = load_checkpoint(trained / "net")
    names = sorted(name for name in kept.weights if name.endswith("weight"))
    (one, two), data = (kept.weights[name] for name in names), datasets.load(kept.record.dataset)
    first = data.test_inputs[:, :, 0] @ one.T + kept.weights["fc1.bias"]
    scaled = (np.maximum(first, 0) @ two.T + kept.weights["fc2.bias"])[:, 0]
    early = table.Close[~last_year]
    by_hand = early.min() + scaled * (early.max() - early.min())
    np.testing.assert_allclose(told.networks[0], by_hand, rtol=1e-4)


@needs_matplotlib
def test_the_command_draws_and_judges(trained: Path, tmp_path: Path) -> None:
    """The picture is written, the same each time; a sentence has both errors' ratio."""
    for name in ("1.svg", "2.svg"):
        done = commands.nnprof("plot", trained, "--predictions", "-o", name, folder=tmp_path)
        assert (done.returncode, done.stdout) == (0, f"{name}\n"), done.stderr
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()
    told = foretell([trained / "net"])
    assert told.today is not None
    error, plain = rmse(told.networks[0], told.true), rmse(told.today, told.true)
    assert f"linear: RMSE {error:#.3g}, {error / plain:#.3g} times that of tomor" in done.stderr


@pytest.mark.parametrize(
    ("given", "today", "said"),
    [
        ((1.0, 2.0), (1.5, 2.5), "RMSE 0, 0 times that of tomorrow = today: better"),
        ((2.0, 3.0), (1.5, 2.5), "RMSE 1.00, 2.00 times that of tomorrow = today: no better"),
        ((2.0, 3.0), (1.0, 2.0), "RMSE 1.00, beside that of tomorrow = today: no better"),
        ((2.0, np.nan), (1.5, 2.5), "RMSE –, – times that of tomorrow = today: no better"),
        ((2.0, 3.0), None, "RMSE 1.00"),
    ],
)
def test_the_judgement(
    given: tuple[float, float], today: tuple[float, float] | None, said: str
) -> None:
    """A network is better only below the plain forecast; without one it is not judged."""
    told = Foretold(
        "x", "Close", None, np.array([1.0, 2.0]), None if today is None else np.array(today),
        (np.array(given),),
    )  # fmt: skip
    assert predictions._judged(told) == [said]


def test_what_cannot_be_drawn_is_refused(trained: Path, tmp_path: Path) -> None:
    """Classes, several data sets, no training: a sentence each, and no file."""
    settings = TrainingSettings(epochs=1, steps=1)
    nnprof.train("784 fc10", tmp_path / "net", dataset="digits", settings=settings)
    out = tmp_path / "out" / "p.png"
    for folders, said in (
        ([tmp_path], "'digits' has classes, so there is no value to draw a prediction against."),
        ([tmp_path, trained], "These trainings are of 2 data sets: digits, prices("),
        ([tmp_path / "none"], "holds no training."),
        (
            ["run.json", "--grid", "neurons,fc"],
            "--predictions is about trainings, and a grid is of Runs.",
        ),
    ):
        done = commands.nnprof("plot", *folders, "--predictions", "-o", out)
        assert done.returncode == 2
        assert said in done.stderr
    assert not out.exists()
