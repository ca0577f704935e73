"""torch's recurrent layers, each to be written as the one op that ONNX has for it.

torch's exporter writes shape computations and an initial state of zeros around the op, which
runtimes then run in every inference. The layers here write the op and its transposes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

# Gates in torch's order → where ONNX wants each: i f g o → i o f c; r z n → z r h.
_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
_VERSION = 14  # of both ops: the newest that opset 18 has
_FLOAT = 1  # onnx.TensorProto.FLOAT


def written_as_ops(network: nn.Sequential) -> nn.Sequential:
    """The network with every `nn.LSTM` and `nn.GRU` of one layer and one direction replaced.

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


def _has_op(part: nn.Module) -> bool:
    from torch import nn

    return (
        isinstance(part, nn.LSTM | nn.GRU)
        and part.num_layers == 1
        and not part.bidirectional
        and not getattr(part, "proj_size", 0)
    )


def _gates(order: Sequence[int], values: torch.Tensor) -> torch.Tensor:
    import torch

    parts = values.detach().chunk(len(order))
    return torch.cat([parts[gate] for gate in order])


def _as_op(layer: Any) -> nn.Module:
    """A module that is called as torch's layer is: (N, steps, features) → (states, (last, …))."""
    import torch
    from torch import nn

    op, units = str(layer.mode), int(layer.hidden_size)
    order, first = _ORDER[op], bool(layer.batch_first)
    outputs = 3 if op == "LSTM" else 2
    attributes: dict[str, Any] = {"hidden_size": units}
    if op == "GRU":
        attributes["linear_before_reset"] = 1  # torch's GRU resets behind the product

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
