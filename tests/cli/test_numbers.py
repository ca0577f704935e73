"""Every number that a user gives is one that can be worked with, or is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nnprof.cli.main import app
from nnprof.errors import NnprofError

RUN = str(Path(__file__).parents[1] / "data" / "run-v1.json")
TABLE = str(Path(__file__).parents[1] / "data" / "import" / "table.csv")
BENCH = ("bench", "1x28x28 fc10", "--backend", "fake")
SEARCH = ("search", "gtx960-mattsson2016", "--min-tiles-per-ms")
PREDICT = ("predict", "gtx960-mattsson2016", "mattsson(conv=1)")
TRAIN = ("train", "1x28x28 fc10", "--dataset", "digits", "--out", "net")
HUGE = "9" * 30


@pytest.mark.parametrize(
    "words",
    [
        *((*BENCH, "--limit", value) for value in ("nan", "inf", "-1", "0", "1e300")),
        *((*BENCH, "--energy", value) for value in ("nan", "inf", "-1", "1e300")),
        *((*BENCH, "--batch", value) for value in (HUGE, "9" * 5000, "1e3", "1,,2")),
        *((*BENCH, "--threads", value) for value in ("0", "-1", "1000000000", HUGE)),
        *((*BENCH, "--idle", value) for value in (f"{HUGE}s", "1" * 400 + "s", "nan", "-1ms")),
        ("compare", RUN, RUN, "--fail-on", "nan"),
        ("compare", RUN, RUN, "--fail-on", "inf"),
        ("compare", RUN, RUN, "--fail-on", "-5"),
        (*SEARCH, "nan"),
        (*SEARCH, "inf"),
        (*SEARCH, "1", "--batch", HUGE),
        (*PREDICT, "--batch", HUGE),
        ("plan", "--batch", HUGE),
        ("plan", "--budget", HUGE),
        ("show", RUN, "--batch", HUGE),
        ("import", TABLE, "--threads", HUGE, "-o", "run.json"),
        ("import", TABLE, "--batch", HUGE, "-o", "run.json"),
        ("devices", "cpu", "--threads", HUGE),
        ("fit-model", RUN, "--peak-gflops", "nan"),
        ("fit-model", RUN, "--peak-gbytes", "inf"),
        *((*TRAIN, "--learning-rate", value) for value in ("nan", "inf", "0")),
        (*TRAIN, "--l2", "nan"),
        (*TRAIN, "--momentum", "nan"),
        (*TRAIN, "--epochs", HUGE),
        (*TRAIN, "--seed", HUGE),
    ],
    ids=lambda words: " ".join(words[1:])[-40:],
)
def test_a_number_out_of_bounds(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused with exit code 2 or an error of ours, before anything is written."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, list(words))
    assert isinstance(done.exception, NnprofError) or done.exit_code == 2
    assert not list(tmp_path.iterdir())
