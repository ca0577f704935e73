"""The time left that a training tells: none before it is known, and rounded as people say it."""

from pathlib import Path

import pytest

from nnprof.networks import pace
from nnprof.networks import train as training
from nnprof.networks.pace import Pace
from nnprof.networks.settings import TrainingSettings
from nnprof.text import duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "1 s"), (0.2, "1 s"), (7.01, "8 s"), (60.0, "1 min"), (72.0, "1 min 20 s"),
        (599.0, "10 min"), (601.0, "11 min"), (3599.0, "1 h"), (7300.0, "2 h 5 min"),
        (7200.0, "2 h"), (90_000.0, "25 h"),
    ],
)  # fmt: skip
def test_times_are_rounded_up_to_what_matters(seconds: float, said: str) -> None:
    """A time is never told too short, and the longer it is, the coarser."""
    assert duration(seconds) == said


def test_no_time_is_told_before_some_steps_are_timed() -> None:
    """The first step, which sets things up, counts for nothing; the next few tell no time yet."""
    first = Pace(at_s=100.0, steps=31)
    told = [first.told(100.0 + 2.0 * step, 31 + step, 71) for step in range(7)]
    assert told[: pace.FEWEST_STEPS] == ["timing the first steps"] * pace.FEWEST_STEPS
    assert told[pace.FEWEST_STEPS :] == ["at most 1 min 10 s left", "at most 1 min 10 s left"]


def test_a_training_tells_its_pace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps without a time come first, then each has one, to the last."""
    monkeypatch.setattr(training, "_NEWS_S", 0.0)
    settings = TrainingSettings(epochs=1, steps=40, batch=16)
    with caplog.at_level("INFO", "nnprof"):
        training.train("1x28x28 fc10", tmp_path / "net", dataset="digits", settings=settings)
    told = [record.getMessage() for record in caplog.records if "step" in record.getMessage()]
    assert [line.partition(", ")[0] for line in told] == [
        f"training: step {step} of 40" for step in range(1, 41)
    ]
    untimed = [line.endswith(", timing the first steps; epoch 1") for line in told]
    assert untimed == [True] * pace.FEWEST_STEPS + [False] * (40 - pace.FEWEST_STEPS)
    assert told[-1] == "training: step 40 of 40, at most 1 s left; epoch 1"
