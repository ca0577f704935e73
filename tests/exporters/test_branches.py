"""Branches, and sums of them, as ONNX files and back in torch."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from nnprof.exporters import export as exporter
from nnprof.exporters.check import check_against_torch, generated_tiles, require_agreement
from nnprof.exporters.export import _strip, _torch_to_onnx
from nnprof.exporters.models import load_model
from nnprof.exporters.torch import rebuild
from nnprof.networks.spec import parse


class Joined(nn.Module):
    """Branches whose outputs are concatenated or added."""

    def __init__(self, join: str, *branches: nn.Module) -> None:
        super().__init__()
        self.join = join
        for number, branch in enumerate(branches, start=1):
            self.add_module(f"branch{number}", branch)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(N, features) → (N, features of all) or (N, features)."""
        ends = [branch(values) for branch in self.children()]
        return torch.cat(ends, dim=1) if self.join == "concat" else sum(ends[1:], ends[0])


@pytest.mark.parametrize(("join", "width", "op"), [("concat", 12, "Concat"), ("sum", 4, "Add")])
def test_branches_agree_and_their_nodes_have_the_names_of_layers(
    tmp_path: Path, join: str, width: int, op: str
) -> None:
    """A dense layer, the input itself and a norm, joined: the same values in every runtime."""
    torch.manual_seed(2)
    branches = (
        nn.Sequential(OrderedDict(fc1=nn.Linear(4, 4), fc1_relu=nn.ReLU())),
        nn.Sequential(),
        nn.Sequential(OrderedDict(fc2=nn.Linear(4, 4), act1=nn.Tanh())),
    )
    parts = {"branches1": Joined(join, *branches), "fc3": nn.Linear(width, 3)}
    network = nn.Sequential(OrderedDict(parts)).eval()
    proto = _torch_to_onnx(network, parse("4 fc3 linear"))
    _strip(proto)
    ops = {node.name: node.op_type for node in proto.graph.node}
    assert ops["branches1.branch1.fc1_relu"] == "Relu"
    assert ops["branches1.branch3.act1"] == "Tanh"
    assert ops["branches1"] == op
    onnx.save(proto, tmp_path / "net.onnx")
    model, values = load_model(tmp_path / "net.onnx"), torch.randn(5, 4)
    require_agreement(model, check_against_torch(model, network, values.numpy()))
    (again,) = rebuild(tmp_path / "net.onnx").module(values)
    torch.testing.assert_close(again, network(values), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "op"),
    [
        ("6 [fc6 tanh + ] [fc4 | ] fc3", "Concat"),
        ("3x8x8 conv8k3same bn relu [conv8k3same bn + ] relu pool2 fc10", "Add"),
    ],
)
def test_a_network_with_brackets_runs_on_both_runtimes(tmp_path: Path, text: str, op: str) -> None:
    """Exported from notation: its file agrees with torch, and torch runs the file alike."""
    spec = parse(text)
    model = exporter.export(spec, cache=tmp_path)
    assert op in {node.op_type for node in onnx.load(model.path).graph.node}
    tiles = generated_tiles(spec.input_shape, 4)
    (made,) = onnxruntime.InferenceSession(model.path).run(None, {exporter.INPUT: tiles})
    with torch.inference_mode():
        (again,) = rebuild(Path(model.path)).module(torch.tensor(tiles))
    np.testing.assert_allclose(again.numpy(), made, rtol=1e-4, atol=1e-5)
