"""How to train: checked values, without torch."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from nnprof.errors import UsageError

_DEFAULT_RATES = {"sgd": 0.03, "adam": 0.001}


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to train.

    Attributes:
        epochs: most epochs.
        batch: tiles per step.
        learning_rate: None for the optimiser's default: 0.03 for SGD, 0.001 for Adam.
        optimizer: "sgd" or "adam".
        momentum: of SGD.
        l2: β of equation 11; on weights, not on biases.
        patience: epochs without a better validation accuracy before training ends.
        normalisation: mean and deviation per "channel" or per "pixel".
        threads: of torch; part of what makes a training repeatable.

    Raises:
        UsageError: at construction, for values that no training can have.
    """

    epochs: int = 20
    batch: int = 64
    learning_rate: float | None = None
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.0
    l2: float = 0.0
    patience: int = 5
    normalisation: Literal["channel", "pixel"] = "channel"
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse values that no training can have."""
        for name in ("epochs", "batch", "patience", "threads"):
            value = getattr(self, name)
            _require(1 <= value < 2**31, f"{name} must be at least 1, and below 2^31")
        _require(self.optimizer in _DEFAULT_RATES, f"no optimizer '{self.optimizer}'")
        _require(self.normalisation in ("channel", "pixel"), "normalise per channel or per pixel")
        _require(0 < self.rate < math.inf, "the learning rate must be positive")
        _require(0 <= self.momentum < 1, "momentum must be in 0…1")
        _require(self.optimizer == "sgd" or not self.momentum, "momentum is for sgd")
        _require(0 <= self.l2 < math.inf, "l2 must not be negative")

    @property
    def rate(self) -> float:
        """The learning rate."""
        if self.learning_rate is not None:
            return self.learning_rate
        return _DEFAULT_RATES[self.optimizer]


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise UsageError(f"These settings cannot train a network: {sentence}.")


DEFAULTS = TrainingSettings()
