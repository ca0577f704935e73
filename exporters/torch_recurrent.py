"""ONNX's recurrent ops (LSTM, GRU, RNN) in torch.

torch's own layer where it computes the same: its gates stand in another order. Else the steps one
by one (`networks/recurrent.py` has the equations): activations that torch's layers do not have, and
the GRU that resets the state before it is multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnprof.exporters.torch_ops import Constants, Refused

if TYPE_CHECKING:
    import torch

Arrays = Sequence[NDArray[Any]]

OPS = ("LSTM", "GRU", "RNN")
# Gates in ONNX's order → where torch wants each: input output forget cell → i f g o; z r h → r z n.
_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_DEFAULTS = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"], "RNN": ["tanh"]}
_KNOWN = ("tanh", "sigmoid", "relu", "softsign", "softplus", "linear")
_PLAIN = (
    *("direction", "hidden_size", "activations", "layout", "linear_before_reset"),
    *("activation_alpha", "activation_beta"),
)


def module(
    op: str, attributes: Mapping[str, Any], constants: Constants, wanted: tuple[int, ...]
) -> torch.nn.Module:
    """The op as a module of one input, which gives the `wanted` outputs of it.

    Args:
        op: LSTM, GRU or RNN.
        attributes: of the node.
        constants: weights by place among the inputs: 1 features, 2 state, 3 biases.
        wanted: places among the outputs: 0 the state at each step, 1 the last, 2 the last cell's.

    Raises:
        Refused: an initial state, lengths of sequences, peepholes, a limit, or an activation that
            is not known here.
    """
    from torch import nn

    activations = _checked(op, attributes, constants)
    units = int(constants[2].shape[2])
    biases = constants.get(3)
    if biases is None:
        biases = np.zeros((len(constants[1]), 2 * constants[1].shape[1]), constants[1].dtype)
    each = [_weights(op, constants[1][at], constants[2][at], biases[at])
            for at in range(len(constants[1]))]  # fmt: skip
    late = op != "GRU" or bool(attributes.get("linear_before_reset", 0))
    if activations == _DEFAULTS[op] and late:
        makers: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
        both = len(each) == 2
        layer = makers[op](constants[1].shape[2], units, bidirectional=both)
        for weights, end in zip(each, ("", "_reverse"), strict=False):
            _set(layer, weights, end)
        runs: nn.Module = layer
    elif len(each) == 1:
        runs = _stepping(op, each[0], activations, late)
    else:
        raise Refused(f"a {op} of it runs in both directions with activations of its own")
    return _as_onnx(runs, len(each), bool(attributes.get("layout", 0)), wanted)


def _checked(op: str, attributes: Mapping[str, Any], constants: Constants) -> list[str]:
    """The names of the activations, in small letters."""
    if not {1, 2} <= set(constants):
        raise Refused(f"the weights of a {op} flow in")
    strange = sorted(set(attributes) - set(_PLAIN))
    if strange:
        raise Refused(f"a {op} of it has '{strange[0]}'")
    if {*attributes.get("activation_alpha", [])} - {1} or any(
        attributes.get("activation_beta", [])
    ):
        raise Refused(f"a {op} of it has factors in its activations")
    if any(np.any(constants[at]) for at in constants if at > 4) or 4 in constants:
        raise Refused(f"a {op} of it has lengths, an initial state or peepholes")
    if attributes.get("direction", b"forward") == b"reverse":
        raise Refused(f"a {op} of it runs backwards")
    names = [name.decode().lower() for name in attributes.get("activations", [])]
    names = ["linear" if name == "affine" else name for name in names]
    directions = len(constants[1])
    names = names or _DEFAULTS[op] * directions
    one = len(names) // directions
    if any(names[at] != names[at % one] for at in range(len(names))):
        raise Refused(f"a {op} of it has other activations in each direction")
    unknown = [name for name in names if name not in _KNOWN]
    if unknown:
        raise Refused(f"the activation '{unknown[0]}' of a {op} is not known to it")
    return names[:one]


def _weights(op: str, features: NDArray[Any], state: NDArray[Any], bias: NDArray[Any]) -> Arrays:
    """Weights of features and state, and both biases, with the gates in torch's order."""
    order, halves = _ORDER[op], np.split(bias, 2)
    return [
        np.concatenate([np.split(one, len(order))[gate] for gate in order])
        for one in (features, state, *halves)
    ]


def _set(layer: torch.nn.Module, weights: Arrays, end: str) -> None:
    import torch

    for name, one in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), weights, strict=True):
        setattr(layer, f"{name}_l0{end}", torch.nn.Parameter(torch.tensor(one)))


def _stepping(op: str, weights: Arrays, activations: list[str], late: bool) -> torch.nn.Module:
    """A layer that gives what torch's gives, step by step. `late`: the GRU's reset is behind."""
    import torch

    from nnprof.networks.recurrent import stepped

    class Stepping(torch.nn.Module):
        w0: torch.Tensor  # of the features, of the state; and the biases of both
        w1: torch.Tensor
        w2: torch.Tensor
        w3: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            for at, one in enumerate(weights):
                self.register_buffer(f"w{at}", torch.tensor(one))

        def forward(self, steps: torch.Tensor) -> tuple[torch.Tensor, Any]:
            every = (self.w0, self.w1, self.w2, self.w3)
            return stepped(op, activations, steps, every, late=late)

    return Stepping()


def _as_onnx(
    runs: torch.nn.Module, directions: int, tiles_first: bool, wanted: tuple[int, ...]
) -> torch.nn.Module:
    """The layer with its outputs shaped as ONNX shapes them."""
    from torch import nn

    class OnnxLike(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.runs = runs

        def forward(self, steps: torch.Tensor) -> Any:
            steps = steps.transpose(0, 1) if tiles_first else steps
            every, last = self.runs(steps)
            every = every.unflatten(2, (directions, -1)).transpose(1, 2)
            ends = list(last) if isinstance(last, tuple) else [last]
            if tiles_first:
                every, ends = every.permute(2, 0, 1, 3), [one.transpose(0, 1) for one in ends]
            found = tuple([every, *ends][at] for at in wanted)
            return found if len(found) > 1 else found[0]

    return OnnxLike()
