"""Initial weights that are not the default ones, drawn by the network's seed."""

from __future__ import annotations

from nnprof.networks.pytorch import nn, torch
from nnprof.networks.settings import Init


def draw(network: nn.Module, init: Init, seed: int) -> None:
    """Draw all weights anew; biases, and the two weights of a normalisation, stay as they are.

    Of a recurrent layer both matrices are drawn, each as one for all its gates, as Keras does with
    that of the features; that of the state Keras makes orthogonal, which "default" keeps.

    He et al. 2015 ("he"), Glorot and Bengio 2010 ("xavier", "xavier-uniform"), LeCun et al. 1998
    ("lecun"); "normal" and "negative" as their numbers say. "default" changes nothing.
    """
    if init.kind == "default":
        return
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for weight in network.parameters():
            if weight.ndim > 1:
                _fill(weight, init)


def _fill(weight: torch.Tensor, init: Init) -> None:
    match init.kind:
        case "he":
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        case "lecun":
            nn.init.kaiming_normal_(weight, nonlinearity="linear")
        case "xavier":
            nn.init.xavier_normal_(weight)
        case "xavier-uniform":
            nn.init.xavier_uniform_(weight)
        case _:
            nn.init.normal_(weight, init.mean, init.deviation)
            if init.kind == "negative":
                weight.copy_(-weight.abs())
