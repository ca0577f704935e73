"""Recurrent layers in torch: torch's own where it has the cell, else its steps one by one.

The equations are those of ONNX's operators (onnx/docs/Operators.md) and of torch's documentation,
with gates in torch's order. f is the cell's activation, σ the sigmoid, ∘ the product of values:

    LSTM    i, f, o = σ(W·x + U·h + b)    g = f(W·x + U·h + b)    c' = f∘c + i∘g    h' = o∘f(c')
    GRU     r, z = σ(W·x + U·h + b + d)   n = f(W·x + b + r∘(U·h + d))   h' = (1 - z)∘n + z∘h

Biases are Keras', so that weights count as there: an LSTM has one (`lstm50` on one feature 10,400
weights; torch's second one is zero here, and not trained), a GRU has both (`gru50` 7,950), because
inside r∘(…) the second cannot be had from the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nnprof.networks.layers import Recurrent
from nnprof.networks.pytorch import nn, torch

Function = Callable[[torch.Tensor], torch.Tensor]

FUNCTIONS: Mapping[str, Function] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "softsign": nn.functional.softsign,
    "softplus": nn.functional.softplus,
    "softmax": lambda values: values.softmax(dim=-1),
    "linear": lambda values: values,
}


class Steps(nn.Module):
    """A recurrent layer: (N, steps, features) → (N, steps, units), or (N, units) of the last step.

    `layer` is torch's, or one that is called alike and has the same weights.
    """

    def __init__(self, features: int, spec: Recurrent) -> None:
        """Weights as Keras draws them: Glorot uniform for features, orthogonal for the state.

        Biases are 0, but 1 at the forget gate of an LSTM, so that it begins by keeping its state
        (Jozefowicz et al. 2015, section 2.2).
        """
        super().__init__()
        self.every = spec.steps
        op = spec.CALLED.upper()
        if spec.activation == "tanh":
            torchs = nn.LSTM if op == "LSTM" else nn.GRU
            self.layer: Any = torchs(features, spec.units, batch_first=True)
        else:
            self.layer = Stepping(op, spec.GATES, features, spec.units, spec.activation)
        nn.init.xavier_uniform_(self.layer.weight_ih_l0)
        nn.init.orthogonal_(self.layer.weight_hh_l0)
        nn.init.zeros_(self.layer.bias_ih_l0)
        nn.init.zeros_(self.layer.bias_hh_l0)
        if op == "LSTM":  # torch's gates: input, forget, cell, output
            nn.init.ones_(self.layer.bias_ih_l0[spec.units : 2 * spec.units])
        self.layer.bias_hh_l0.requires_grad_(op != "LSTM")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The states of all steps, or the last one."""
        states, last = self.layer(inputs)
        if self.every:
            return torch.as_tensor(states)
        return torch.as_tensor(last[0] if isinstance(last, tuple) else last).squeeze(0)


class Stepping(nn.Module):
    """Called as torch's layer with `batch_first`; cells with any activation of `FUNCTIONS`."""

    num_layers, bidirectional, batch_first, bias = 1, False, True, True

    def __init__(self, op: str, gates: int, features: int, units: int, activation: str) -> None:
        """An "LSTM" or "GRU" with weights that are not drawn yet."""
        super().__init__()
        self.mode, self.hidden_size, self.activation = op, units, activation
        rows = gates * units
        self.weight_ih_l0 = nn.Parameter(torch.empty(rows, features))
        self.weight_hh_l0 = nn.Parameter(torch.empty(rows, units))
        self.bias_ih_l0 = nn.Parameter(torch.empty(rows))
        self.bias_hh_l0 = nn.Parameter(torch.empty(rows))

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """(N, steps, features) → states (N, steps, units), and what torch gives of the last."""
        uses = 3 if self.mode == "LSTM" else 2
        activations = ["sigmoid", *[self.activation] * (uses - 1)]
        weights = (self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0)
        states, last = stepped(self.mode, activations, inputs.transpose(0, 1), weights)
        return states.transpose(0, 1), last


def stepped(
    op: str,
    activations: Sequence[str],
    inputs: torch.Tensor,
    weights: Sequence[torch.Tensor],
    *,
    late: bool = True,
) -> tuple[torch.Tensor, Any]:
    """What torch's layer gives for inputs (steps, N, features), one step after the other.

    Args:
        op: LSTM, GRU or RNN.
        activations: names of `FUNCTIONS`, in ONNX's order.
        inputs: all steps.
        weights: of the features, of the state, and the biases of both, gates in torch's order.
        late: whether a GRU resets behind the product with the state.
    """
    features, state, first, second = weights
    act = [FUNCTIONS[name] for name in activations]
    ready = nn.functional.linear(inputs, features, first)
    hidden = inputs.new_zeros(inputs.shape[1], state.shape[1])
    cell, made = hidden, []
    for one in ready.unbind(0):
        hidden, cell = _after(op, late, act, one, hidden, cell, state, second)
        made.append(hidden)
    last = hidden.unsqueeze(0)
    return torch.stack(made), (last, cell.unsqueeze(0)) if op == "LSTM" else last


def _after(
    op: str, late: bool, act: Sequence[Function], x: Any, hidden: Any, cell: Any, w: Any, b: Any
) -> tuple[Any, Any]:
    """State and cell after a step, from those before it and the products `x` of its features."""
    linear = nn.functional.linear
    if op == "RNN":
        return act[0](x + linear(hidden, w, b)), cell
    if op == "LSTM":
        i, f, g, o = (x + linear(hidden, w, b)).chunk(4, 1)
        cell = act[0](f) * cell + act[0](i) * act[1](g)
        return act[0](o) * act[2](cell), cell
    units = w.shape[1]
    gates = linear(hidden, w[: 2 * units], b[: 2 * units])
    r, z = act[0](x[:, : 2 * units] + gates).chunk(2, 1)
    if late:
        inner = r * linear(hidden, w[2 * units :], b[2 * units :])
    else:
        inner = linear(r * hidden, w[2 * units :], b[2 * units :])
    return (1 - z) * act[1](x[:, 2 * units :] + inner) + z * hidden, cell
