"""torch's recurrent layers as ops of an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from nnprof.exporters import recurrent
from nnprof.exporters.check import check_against_torch, require_agreement
from nnprof.exporters.export import _strip, _torch_to_onnx
from nnprof.exporters.models import load_model
from nnprof.exporters.torch import rebuild
from nnprof.networks.spec import parse


class Steps(nn.Module):
    """A recurrent layer that gives all steps or the last one."""

    def __init__(self, layer: nn.Module, every: bool) -> None:
        super().__init__()
        self.layer, self.every = layer, every

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """(N, steps, features) → (N, steps, units) or (N, units)."""
        states, _ = self.layer(windows)
        return states if self.every else states[:, -1]


@pytest.mark.parametrize(
    "make",
    [
        lambda features, units: nn.LSTM(features, units, batch_first=True),
        lambda features, units: nn.GRU(features, units, batch_first=True),
        lambda features, units: nn.GRU(features, units, batch_first=True, bias=False),
    ],
)
def test_a_layer_is_one_op_that_agrees_with_torch(
    tmp_path: Path, make: Callable[[int, int], nn.Module]
) -> None:
    """Two layers are two ops with the layers' names and no shape computations, at any batch."""
    torch.manual_seed(3)
    network = nn.Sequential()
    network.add_module("windows", nn.Unflatten(1, (7, 2)))
    network.add_module("lstm1", Steps(make(2, 6), every=True))
    network.add_module("lstm2", Steps(make(6, 5), every=False))
    network.add_module("fc1", nn.Linear(5, 3))
    network.eval()
    proto = _torch_to_onnx(network, parse("14 fc3 linear"))
    _strip(proto)
    ops = {node.name: node.op_type for node in proto.graph.node}
    assert {ops["lstm1"], ops["lstm2"]} <= {"LSTM", "GRU"}
    assert len(ops) == len(proto.graph.node)
    assert not {"Shape", "Expand", "Slice"} & set(ops.values())
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    windows = torch.randn(9, 14)
    model = load_model(path)
    require_agreement(model, check_against_torch(model, network, windows.numpy()))
    (again,) = rebuild(path).module(windows)
    torch.testing.assert_close(again, network(windows), rtol=1e-4, atol=1e-5)


def test_a_network_without_them_is_left_as_it_is() -> None:
    """No copy is made of what has no such layer."""
    network = nn.Sequential(nn.Linear(3, 2))
    assert recurrent.written_as_ops(network) is network
