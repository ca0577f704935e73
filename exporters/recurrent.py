"""Recurrent layers of torch and of ours, each to be written as the one op that ONNX has for it.

torch's exporter writes shape computations and an initial state of zeros around the op, which
runtimes then run in every inference. The layers here write the op and its transposes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnprof.errors import Unexportable
from nnprof.networks.layers import Recurrent, every_layer
from nnprof.networks.spec import NetworkSpec

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import nn

# Gates in torch's order → where ONNX wants each: i f g o → i o f c; r z n → z r h.
_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
# Activations of cells as ONNX calls them; x is Affine, with a factor of 1 and nothing added.
_NAMES = {"relu": "Relu", "sigmoid": "Sigmoid", "softsign": "Softsign", "linear": "Affine"}
_VERSION = 14  # of both ops: the newest that opset 18 has
_FLOAT = 1  # onnx.TensorProto.FLOAT


def written_as_ops(network: nn.Sequential) -> nn.Sequential:
    """The network with every `nn.LSTM`, `nn.GRU` and `Stepping` replaced.

    Those of one layer and one direction, that is.

    What replaces them can only be exported, not run; a network without them is given back as it is.
    """
    from copy import deepcopy

    found = [name for name, part in network.named_modules() if _has_op(part)]
    if not found:
        return network
    network = deepcopy(network)
    for name in found:
        above, _, own = name.rpartition(".")
        setattr(network.get_submodule(above), own, _as_op(network.get_submodule(name)))
    return network.eval()


def require_ops(spec: NetworkSpec) -> None:
    """Refuse cells that ONNX has no op for.

    Raises:
        Unexportable: a cell has softmax, which looks at all units at once.
    """
    for layer in every_layer(spec.layers):
        if isinstance(layer, Recurrent) and layer.activation not in ("tanh", *_NAMES):
            raise Unexportable(
                f"'{spec.name}' has '{layer.word} {layer.activation}', but ONNX has no "
                f"{layer.CALLED.upper()} with that activation, so the network cannot be exported.",
                f"Train it, or write one of tanh, {', '.join(_NAMES)} behind {layer.word}.",
            )


def activations_of(op: str, activation: str) -> list[str]:
    """The activations of an LSTM or GRU, as its attribute has them, by that of the cell."""
    return ["Sigmoid", *[_NAMES.get(activation, "Tanh")] * (2 if op == "LSTM" else 1)]


def drop_unread(graph: onnx.GraphProto) -> None:
    """Take away the names of outputs of recurrent ops that nobody reads: they need not be made."""
    read = {name for node in graph.node for name in node.input}
    read |= {value.name for value in graph.output}
    for node in graph.node:
        if node.op_type in _ORDER:
            kept = [name if name in read else "" for name in node.output]
            while kept and not kept[-1]:
                kept.pop()
            node.output[:] = kept


def _has_op(part: nn.Module) -> bool:
    from torch import nn

    from nnprof.networks.recurrent import Stepping

    return (
        isinstance(part, nn.LSTM | nn.GRU | Stepping)
        and part.num_layers == 1
        and not part.bidirectional
        and not getattr(part, "proj_size", 0)
    )


def _gates(order: Sequence[int], values: torch.Tensor) -> torch.Tensor:
    import torch

    parts = values.detach().chunk(len(order))
    return torch.cat([parts[gate] for gate in order])


def _attributes(op: str, units: int, activation: str) -> dict[str, Any]:
    """Attributes of the op; those that say what is the default are left out."""
    found: dict[str, Any] = {"hidden_size": units}
    if op == "GRU":
        found["linear_before_reset"] = 1  # torch's GRU resets behind the product
    if activation != "tanh":
        found["activations"] = activations_of(op, activation)
    if activation == "linear":
        uses = len(found["activations"]) - 1
        found |= {"activation_alpha": [1.0] * uses, "activation_beta": [0.0] * uses}
    return found


def _as_op(layer: Any) -> nn.Module:
    """A module that is called as torch's layer is: (N, steps, features) → (states, (last, …))."""
    import torch
    from torch import nn

    op, units = str(layer.mode), int(layer.hidden_size)
    order, first = _ORDER[op], bool(layer.batch_first)
    attributes = _attributes(op, units, getattr(layer, "activation", "tanh"))
    outputs = 3 if op == "LSTM" else 2

    class AsOp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Buffer(_gates(order, layer.weight_ih_l0)[None])
            self.state = nn.Buffer(_gates(order, layer.weight_hh_l0)[None])
            biases = [layer.bias_ih_l0, layer.bias_hh_l0] if layer.bias else []
            both = [_gates(order, one) for one in biases] or [torch.zeros(2 * len(order) * units)]
            self.bias = nn.Buffer(torch.cat(both)[None])

        def forward(self, steps: torch.Tensor) -> tuple[torch.Tensor, Any]:
            steps = steps.transpose(0, 1) if first else steps
            last = (1, steps.shape[1], units)
            states, *ends = torch.onnx.ops.symbolic_multi_out(
                op,
                (steps, self.features, self.state, self.bias),
                attributes,
                dtypes=(_FLOAT,) * outputs,
                shapes=((steps.shape[0], *last), *(last,) * (outputs - 1)),
                version=_VERSION,
            )
            states = states.squeeze(1)
            given = tuple(ends) if len(ends) > 1 else ends[0]
            return (states.transpose(0, 1) if first else states), given

    return AsOp()
