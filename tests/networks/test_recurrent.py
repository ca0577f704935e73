"""Recurrent layers in torch: their cells, their weights, and trainings of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nnprof.networks import build, initialisers, recurrent
from nnprof.networks.checkpoint import Checkpoint, Source, load_checkpoint
from nnprof.networks.counts import counted
from nnprof.networks.data.prices import windows
from nnprof.networks.datasets import Dataset
from nnprof.networks.layers import Gru, Lstm
from nnprof.networks.settings import TrainingSettings, parse_init
from nnprof.networks.spec import parse
from nnprof.networks.train import train
from nnprof.types import TrainingRecord

CELLS = ["tanh", "relu", "sigmoid", "softsign", "softmax", "linear"]


def waves() -> Dataset:
    """Windows of 12 steps of a sine, each with the value behind it."""
    values = np.sin(np.arange(240) / 5).astype(np.float32) / 2 + np.float32(0.5)
    inputs, targets = windows(values, 12)
    return Dataset("waves", inputs[:180], targets[:180], inputs[180:], targets[180:], task="values")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_all_steps_and_the_last(kind: str, cell: str) -> None:
    """Each kind builds with each cell; a layer before another one hands over all steps."""
    spec = parse(f"7x2 {kind}5 {cell} {kind}4 {cell} bn fc3 linear")
    network = build.build(spec).eval()
    values = torch.randn(6, 7, 2)
    assert tuple(network[0](values).shape) == (6, 7, 5)
    assert tuple(network(values).shape) == (6, 3)
    every = build.build(parse(f"7x2 {kind}5 {cell} {kind}4")).eval()[0](values)
    last = build.build(parse(f"7x2 {kind}5 {cell} fc1")).eval()[0](values)
    torch.testing.assert_close(every[:, -1], last)


@pytest.mark.parametrize("kind", [Lstm, Gru])
def test_steps_one_by_one_are_torchs_layer(kind: type[Lstm] | type[Gru]) -> None:
    """With tanh the loop for other cells computes what torch's own layer does."""
    torch.manual_seed(4)
    torchs = recurrent.Steps(3, kind(5, steps=True)).layer
    nn.init.normal_(torchs.bias_ih_l0)
    nn.init.normal_(torchs.bias_hh_l0)
    ours = recurrent.Stepping(torchs.mode, kind.GATES, 3, 5, "tanh")
    ours.load_state_dict(torchs.state_dict())
    values = torch.randn(4, 9, 3)
    for one, other in zip(ours(values), torchs(values), strict=True):
        torch.testing.assert_close(one, other)


def test_relu_is_in_candidate_and_output_and_gates_stay_sigmoid() -> None:
    """One step from a state of 0, by hand: h = σ(o)·relu(σ(i)·relu(g)), and (1 - σ(z))·relu(n)."""
    values = torch.randn(8, 1, 1)
    for kind, rows in (("lstm", 4), ("gru", 3)):
        layer = build.build(parse(f"1x1 {kind}1 relu fc1"))[0]
        weight = layer.layer.weight_ih_l0.detach()
        parts = (values[:, 0] @ weight.T).chunk(rows, 1)
        if kind == "lstm":
            expected = parts[3].sigmoid() * (parts[0].sigmoid() * parts[2].relu()).relu()
        else:
            expected = (1 - parts[1].sigmoid()) * parts[2].relu()
        torch.testing.assert_close(layer(values).detach(), expected)


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("60x1 lstm50 fc1 linear", 10_400 + 51),
        ("60x1 lstm50 relu fc1 linear", 10_400 + 51),
        ("60x1 gru50 fc1 linear", 7_950 + 51),
        ("60x1 gru50 sigmoid lstm20 fc1 linear", 7_950 + 5_680 + 21),
    ],
)
def test_weights_are_those_of_keras(text: str, weights: int) -> None:
    """What is trained is what is counted: one bias of an LSTM, two of a GRU."""
    spec = parse(text)
    trained = [one for one in build.build(spec).parameters() if one.requires_grad]
    assert sum(one.numel() for one in trained) == counted(spec).weights == weights


def test_weights_are_drawn_as_keras_draws_them() -> None:
    """Glorot uniform for features, orthogonal for states, 1 at the forget gate; by the seed."""
    spec = parse("60x3 lstm20 fc1 seed3")
    layer = build.build(spec)[0].layer
    limit = math.sqrt(6 / (3 + 4 * 20))
    assert 0.9 * limit < float(layer.weight_ih_l0.detach().abs().max()) <= limit
    state = layer.weight_hh_l0.detach()
    torch.testing.assert_close(state.T @ state, torch.eye(20), rtol=0, atol=1e-5)
    assert layer.bias_ih_l0.tolist() == [0] * 20 + [1] * 20 + [0] * 40
    assert not build.build(parse("60x3 gru20 fc1"))[0].layer.bias_ih_l0.any()
    assert torch.equal(build.build(spec)[0].layer.weight_hh_l0, layer.weight_hh_l0)


@pytest.mark.parametrize("text", ["he", "xavier", "normal(0.5,0.01)"])
def test_initialisers_draw_the_matrices_and_leave_biases(text: str) -> None:
    """Both matrices of each kind of layer are drawn anew, and no bias is."""
    network = build.build(parse("9x4 gru8 lstm7 relu fc1"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    initialisers.draw(network, parse_init(text), 5)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) is ("bias" in name)


def test_norms_of_sequences_are_over_features() -> None:
    """In training each feature has mean 0 and deviation 1 over tiles and steps."""
    norm = build.build(parse("6x3 bn lstm2 fc1"))[0]
    made = norm(torch.randn(50, 6, 3) * torch.tensor([1.0, 5.0, 9.0]) + 4).detach()
    assert made.shape == (50, 6, 3)
    torch.testing.assert_close(made.mean(dim=(0, 1)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(made.std(dim=(0, 1)), torch.ones(3), rtol=0, atol=1e-2)


def test_sequences_are_joined_along_features() -> None:
    """A bracket of recurrent layers puts their units behind each other at every step."""
    network = build.build(parse("6x3 [lstm4 | gru5 | ] lstm2 fc1")).eval()
    made = network[0](values := torch.randn(2, 6, 3))
    assert tuple(made.shape) == (2, 6, 12)
    assert torch.equal(made[..., 9:], values)


@pytest.mark.parametrize("text", ["5x2 lstm4 fc1 linear", "5x2 gru4 relu fc1 linear"])
def test_the_first_layer_takes_the_normalisation_in(text: str) -> None:
    """One mean per feature goes into its weights exactly; one per step and feature cannot."""
    spec = parse(text)
    weights = {name: value.numpy() for name, value in build.build(spec).state_dict().items()}
    mean, std = np.array([[3, -8]], np.float32), np.array([[2, 5]], np.float32)
    record = TrainingRecord(network=text, dataset="", normalisation="channel", settings={}, seed=0)
    kept = Checkpoint(spec=spec, record=record, weights=weights, mean=mean, std=std, sha256="")
    source = Source(spec, kept, mean, std)
    assert build.folds(source)
    values = torch.randn(7, 5, 2) * 9
    torch.testing.assert_close(
        build.folded(source)(values), build.explicit(source)(values), rtol=1e-4, atol=1e-5
    )
    assert not build.folds(source._replace(mean=np.zeros((5, 2), np.float32)))


@pytest.mark.parametrize("layers", ["lstm8 dropout0.1 gru8 relu", "gru6 softmax"])
def test_a_training_learns_and_resumes_to_the_same_weights(
    layers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss falls; cut off and resumed it gives the same bytes; frozen biases stay 0."""
    spec, data = parse(f"12x1 {layers} fc1 linear"), waves()
    settings = TrainingSettings(
        epochs=4, batch=32, optimizer="adam", loss="mse", learning_rate=0.01
    )
    record = train(spec, tmp_path / "whole", dataset=data, settings=settings)
    losses = [epoch.loss or 0.0 for epoch in record.epochs]
    assert 0 < losses[-1] < losses[0]

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("nnprof.networks.checkpoint.save_weights", cut)
        with pytest.raises(KeyboardInterrupt):
            train(spec, tmp_path / "cut", dataset=data, settings=settings)
    train(spec, tmp_path / "cut", dataset=data, settings=settings, resume=True)
    whole, again = (tmp_path / name / "weights.safetensors" for name in ("whole", "cut"))
    assert whole.read_bytes() == again.read_bytes()
    biases = {name: value for name, value in load_checkpoint(tmp_path / "whole").weights.items()
              if name.startswith("lstm") and name.endswith("bias_hh_l0")}  # fmt: skip
    assert not any(value.any() for value in biases.values())
    assert len(biases) == layers.count("lstm")
