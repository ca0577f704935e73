"""How to train: checked values, without torch."""

from __future__ import annotations

import math
import re
from typing import Literal, get_args

import msgspec

from nnprof.errors import UsageError
from nnprof.networks.datasets import validation_share

Device = Literal["cpu", "cuda"]
Loss = Literal["cross-entropy", "hinge", "squared-hinge", "kl", "mse", "mae", "rmse", "huber"]
Optimizer = Literal["sgd", "adam", "rmsprop", "adadelta", "adagrad", "adamax"]
Defaults = Literal["torch", "keras"]
Normalisation = Literal["channel", "pixel", "unit", "none"]
Keep = Literal["best", "last"]

VALUE_LOSSES = ("mse", "mae", "rmse", "huber")

# torch.optim, 2.x, and keras.optimizers, 3.x, as documented. 0.03 for SGD is ours: the rate of
# Mattsson 2016; torch's own default is 0.001.
_DEFAULT_RATES: dict[str, dict[str, float]] = {
    "torch": {
        "sgd": 0.03, "adam": 0.001, "rmsprop": 0.01,
        "adadelta": 1.0, "adagrad": 0.01, "adamax": 0.002,
    },
    "keras": {
        "sgd": 0.01, "adam": 0.001, "rmsprop": 0.001,
        "adadelta": 0.001, "adagrad": 0.001, "adamax": 0.001,
    },
}  # fmt: skip

_NUMBER = r"-?\d+(?:\.\d*)?(?:e-?\d+)?"
_PLAIN_INITS = ("default", "he", "xavier", "xavier-uniform", "lecun")
_INIT = re.compile(rf"(normal)\(({_NUMBER}),({_NUMBER})\)|(negative)\(({_NUMBER})\)")


class Init(msgspec.Struct, frozen=True):
    """What the initial weights are drawn from.

    Attributes:
        kind: "default", "he", "xavier", "xavier-uniform", "lecun", "normal" or "negative".
        mean, deviation: of "normal"; "negative" has a deviation only.
    """

    kind: str
    mean: float = 0.0
    deviation: float = 0.0


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to train.

    Attributes:
        epochs: most epochs.
        steps: most steps of the optimiser; None for as many as the epochs have. The one of the two
            that is reached first ends the training.
        batch: inputs per step.
        learning_rate: None for the optimiser's default, which `defaults` names.
        optimizer: "sgd", "adam", "rmsprop", "adadelta", "adagrad" or "adamax".
        defaults: whose rate, decay and epsilon an optimiser has where none is given: "torch" (but
            0.03 for SGD, of Mattsson 2016) or "keras".
        momentum: of SGD.
        loss: "cross-entropy", "kl" (the same, with one right class), "hinge" or "squared-hinge" for
            classes; "mse", "mae", "rmse" or "huber" for values, or for classes as 0 and 1.
        init: what the weights are drawn from: "default" (He where ReLU follows, else LeCun; of
            recurrent layers Keras'), "he", "xavier", "xavier-uniform", "lecun", "normal(MEAN,SD)",
            or "negative(SD)": -|normal|.
        l2: β of equation 11; on weights, not on biases.
        patience: epochs without a better validation before training ends; None for all epochs.
        keep: the weights of the epoch that validates "best", or of the "last".
        validation: the share of the training set that validates, as "0.1", or "test": the test set.
        normalisation: mean and deviation per "channel" or per "pixel"; "unit": tiles divided by
            255; "none".
        device: "cpu" or "cuda".
        threads: of torch; part of what makes a training repeatable.

    Raises:
        UsageError: at construction, for values that no training can have.
    """

    epochs: int = 20
    steps: int | None = None
    batch: int = 64
    learning_rate: float | None = None
    optimizer: Optimizer = "sgd"
    defaults: Defaults = "torch"
    momentum: float = 0.0
    loss: Loss = "cross-entropy"
    init: str = "default"
    l2: float = 0.0
    patience: int | None = 5
    keep: Keep = "best"
    validation: str = "0.1"
    normalisation: Normalisation = "channel"
    device: Device = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse values that no training can have."""
        for name in ("epochs", "batch", "patience", "steps", "threads"):
            value = getattr(self, name)
            if value is not None or name not in ("patience", "steps"):
                _require(1 <= value < 2**31, f"{name} must be at least 1, and below 2^31")
        for name, known in (
            ("optimizer", Optimizer),
            ("defaults", Defaults),
            ("loss", Loss),
            ("keep", Keep),
            ("normalisation", Normalisation),
            ("device", Device),
        ):
            word, words = getattr(self, name), get_args(known)
            _require(word in words, f"{name} is '{word}', not one of {', '.join(words)}")
        _require(0 < self.rate < math.inf, "the learning rate must be positive")
        _require(0 <= self.momentum < 1, "momentum must be in 0…1")
        _require(self.optimizer == "sgd" or not self.momentum, "momentum is for sgd")
        _require(0 <= self.l2 < math.inf, "l2 must not be negative")
        if self.validation != "test":
            validation_share(self.validation)
        parse_init(self.init)

    @property
    def rate(self) -> float:
        """The learning rate."""
        if self.learning_rate is not None:
            return self.learning_rate
        return _DEFAULT_RATES[self.defaults][self.optimizer]


def parse_init(text: str) -> Init:
    """What "he" or "normal(1,0.05)" stands for.

    Raises:
        UsageError: it is none of the initialisers.
    """
    text = text.replace(" ", "")
    if text in _PLAIN_INITS:
        return Init(text)
    found = _INIT.fullmatch(text)
    if found and found[1] and float(found[3]) >= 0:
        return Init("normal", float(found[2]), float(found[3]))
    if found and found[4] and float(found[5]) >= 0:
        return Init("negative", 0.0, float(found[5]))
    raise UsageError(
        f"There is no initialiser '{text}'.",
        f"Known: {', '.join(_PLAIN_INITS)}, normal(MEAN,SD), negative(SD).",
    )


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise UsageError(f"These settings cannot train a network: {sentence}.")


DEFAULTS = TrainingSettings()
