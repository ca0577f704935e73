"""torch's recurrent layers as ops of an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from nnprof.errors import UsageError
from nnprof.exporters import recurrent
from nnprof.exporters.check import check_against_torch, generated_tiles, require_agreement
from nnprof.exporters.export import INPUT, _strip, _torch_to_onnx, export, reference
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


@pytest.mark.parametrize("cell", ["tanh", "relu", "sigmoid", "softsign", "linear"])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_notation_is_one_op_a_layer_on_both_runtimes(tmp_path: Path, kind: str, cell: str) -> None:
    """Exported, both layers agree with torch within 1e-4, and torch runs the file alike."""
    spec = parse(f"60x2 {kind}50 {cell} {kind}20 {cell} fc3 linear")
    model = export(spec, cache=tmp_path)
    tiles = generated_tiles(spec.input_shape, 5)
    agreement = check_against_torch(model, reference(spec), tiles)
    assert agreement.max_difference <= 1e-4
    nodes = onnx.load(model.path).graph.node
    assert [node.op_type for node in nodes].count(kind.upper()) == 2
    assert {f"{kind}1", f"{kind}2", "fc1"} <= {node.name for node in nodes}
    (made,) = onnxruntime.InferenceSession(model.path).run(None, {INPUT: tiles})
    with torch.inference_mode():
        (again,) = rebuild(Path(model.path)).module(torch.tensor(tiles))
    np.testing.assert_allclose(again.numpy(), made, rtol=1e-4, atol=1e-5)


def test_states_that_nobody_reads_are_not_made(tmp_path: Path) -> None:
    """The first layer gives all states alone, the last one the last state alone."""
    model = export(parse("9x1 lstm4 gru3 lstm2 fc1 linear"), cache=tmp_path)
    nodes = {node.name: node for node in onnx.load(model.path).graph.node}
    made = {name: [bool(one) for one in nodes[name].output] for name in ("lstm1", "gru1", "lstm2")}
    assert made == {"lstm1": [True], "gru1": [True], "lstm2": [False, True]}


def test_layers_in_brackets_have_their_names(tmp_path: Path) -> None:
    """Norms and brackets of sequences are exported, too."""
    spec = parse("9x2 bn [lstm4 | gru3 bn relu | ] lstm2 fc1 linear")
    names = {node.name for node in onnx.load(export(spec, cache=tmp_path).path).graph.node}
    assert {"branches1.branch1.lstm1", "branches1.branch2.gru1", "lstm2"} <= names


@pytest.mark.parametrize("text", ["9x1 lstm4 softmax fc1", "9x1 [lstm3 | gru4 softmax] fc1"])
def test_softmax_in_a_cell_is_refused_with_a_remedy(tmp_path: Path, text: str) -> None:
    """ONNX has no such cell; the layer is named, and what it could be instead."""
    with pytest.raises(UsageError, match=r"4 softmax', but ONNX has no .* one of tanh, relu"):
        export(parse(text), cache=tmp_path)
