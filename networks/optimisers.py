"""torch's optimisers with torch's or Keras' defaults, and their state as arrays."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from nnprof.networks.pytorch import nn, torch
from nnprof.networks.settings import TrainingSettings

_CLASSES: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "rmsprop": torch.optim.RMSprop,
    "adadelta": torch.optim.Adadelta,
    "adagrad": torch.optim.Adagrad,
    "adamax": torch.optim.Adamax,
}

# keras.optimizers, 3.x, as documented; what is not here is the same in both. Where Keras adds
# epsilon under the root (RMSprop, Adagrad), torch adds it behind: we compute as torch does.
_KERAS: dict[str, dict[str, float]] = {
    "sgd": {},
    "adam": {"eps": 1e-7},
    "rmsprop": {"alpha": 0.9, "eps": 1e-7},
    "adadelta": {"rho": 0.95, "eps": 1e-7},
    "adagrad": {"initial_accumulator_value": 0.1, "eps": 1e-7},
    "adamax": {"eps": 1e-7},
}


def optimiser(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimiser of these settings, for all weights of the network."""
    # For all optimisers torch's weight_decay adds β·W to the gradient: that of equation 11.
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.l2},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    options: dict[str, Any] = {"lr": settings.rate}
    if settings.optimizer == "sgd":
        options["momentum"] = settings.momentum
    if settings.defaults == "keras":
        options |= _KERAS[settings.optimizer]
    return _CLASSES[settings.optimizer](groups, **options)


def arrays(optimiser: torch.optim.Optimizer) -> dict[str, NDArray[Any]]:
    """State per parameter as `3.momentum_buffer`, the parameter counted over all groups."""
    return {
        f"{index}.{name}": value.numpy(force=True)
        for index, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def restore(optimiser: torch.optim.Optimizer, saved: dict[str, NDArray[Any]]) -> None:
    """Put the state back.

    Raises:
        KeyError, ValueError: the state is of another optimiser or another network.
    """
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in saved.items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = torch.tensor(value)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
