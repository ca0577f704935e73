"""The numbers of optimisers are those that the page on training prints, and torch's are torch's."""

import re
from inspect import signature
from pathlib import Path
from typing import get_args

import pytest
from torch import nn

from nnprof.networks import optimisers
from nnprof.networks.settings import Optimizer, TrainingSettings

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
SHOWN = ("eps", "alpha", "rho", "betas", "momentum", "initial_accumulator_value")


@pytest.mark.parametrize("name", get_args(Optimizer))
def test_torch_has_these_defaults(name: Optimizer) -> None:
    """With `defaults="torch"` each number is the one of torch's own signature, but SGD's rate."""
    made = optimisers.optimiser(nn.Linear(2, 2), TrainingSettings(optimizer=name))
    usual = {one: each.default for one, each in signature(type(made)).parameters.items()}
    assert made.defaults["lr"] == (0.03 if name == "sgd" else usual["lr"])
    for one in SHOWN:
        assert made.defaults.get(one) == usual.get(one), one


@pytest.mark.parametrize("name", get_args(Optimizer))
@pytest.mark.parametrize("whose", ["torch", "keras"])
def test_the_page_prints_what_is_used(name: Optimizer, whose: str) -> None:
    """Rate and other numbers in docs/training.md are those of the optimiser that is made."""
    settings = TrainingSettings(optimizer=name, defaults=whose)  # type: ignore[arg-type]
    made = optimisers.optimiser(nn.Linear(2, 2), settings).defaults
    row = next(line for line in PAGE.splitlines() if re.match(rf"\| `{name}` \| [\d]", line))
    _, _, *cells, _ = row.split("|")
    rate, others = cells[::2] if whose == "torch" else cells[1::2]
    assert float(rate.split()[0]) == made["lr"]
    said = [float(word) for word in re.findall(r"\d[\d.]*(?:e-\d+)?", others)]
    shown = {one: made[one] for one in SHOWN if one in made}
    if name == "rmsprop":
        assert shown.pop("momentum") == 0  # which nobody can set
    betas = shown.pop("betas", ())
    wanted = [made["eps"]] if "the same" in others else [*betas, *shown.values()]
    assert sorted(said) == sorted(wanted)
