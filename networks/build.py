"""NetworkSpec → torch module: the layers as written, with seeded weights.

Names in the state dict count each kind of layer: `conv1.weight`, `conv2.bias`, `fc1.weight`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile, BadShape
from nnprof.networks import recurrent
from nnprof.networks.checkpoint import Source
from nnprof.networks.layers import (
    Act,
    BatchNorm,
    Branches,
    Conv,
    Dense,
    Dropout,
    Gru,
    Layer,
    Lstm,
    Pool,
    Recurrent,
)
from nnprof.networks.pytorch import nn, torch
from nnprof.networks.shapes import Shape, channel_axis, same_padding
from nnprof.networks.spec import NetworkSpec

MOST_WEIGHTS = (1 << 29) - 1  # of four bytes: an ONNX file ends at 2 GB

ACTIVATION_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softsign": nn.Softsign,
}


def build(spec: NetworkSpec) -> nn.Sequential:
    """The network as a module: float32 (N, *input_shape) → (N, *output shape), in training mode.

    Weights are drawn by `spec.seed`: from a normal distribution, of recurrent layers as `recurrent`
    says. Other biases are zero; torch's global random state is left as it was.

    Raises:
        BadShape: it has more weights than `MOST_WEIGHTS`.
    """
    _require_size(spec)
    network = nn.Sequential()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        for name, module in _modules(spec):
            network.add_module(name, module)
    return network


def _require_size(spec: NetworkSpec) -> None:
    """Refuse more than `MOST_WEIGHTS`; the meta device counts weights without their memory."""
    try:
        with torch.device("meta"):
            count = sum(one.numel() for _, part in _modules(spec) for one in part.parameters())
    except (RuntimeError, OverflowError):  # more than 64 bits count
        count = MOST_WEIGHTS + 1
    if count > MOST_WEIGHTS:
        raise BadShape(
            f"'{spec.notation:.200}' has more than {MOST_WEIGHTS:,} weights, "
            "which no ONNX file holds.",
            "Make its layers narrower.",
        )


def restore(
    spec: NetworkSpec, weights: Mapping[str, NDArray[np.generic]], source: str
) -> nn.Sequential:
    """The network with the given weights; an error names their `source`.

    Raises:
        BadFile: these are not the weights of this network.
    """
    network = build(spec)
    try:
        network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    except RuntimeError as error:
        raise BadFile(
            f"The weights in '{source}' are not those of '{spec.notation}'.",
            "Put back the weights.safetensors and record.json that belong together, "
            "or train again.",
        ) from error
    return network


def logits(network: nn.Sequential) -> nn.Sequential:
    """The same network (shared weights) without the softmax at its end, where it has one."""
    if not isinstance(network[-1], nn.Softmax):
        return network
    return nn.Sequential(OrderedDict(list(network.named_children())[:-1]))


# --- for raw tiles --------------------------------------------------------------------------------


def _network(source: Source) -> nn.Sequential:
    """The network in evaluation mode, for normalised tiles."""
    if source.checkpoint:
        name = f"the checkpoint of '{source.spec.notation}'"
        return restore(source.spec, source.checkpoint.weights, name).eval()
    return build(source.spec).eval()


def explicit(source: Source) -> nn.Sequential:
    """Raw tiles → outputs: the normalisation (x - µ)/σ as a layer, then the network."""

    class Normalise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = nn.Buffer(torch.tensor(source.mean))
            self.std = nn.Buffer(torch.tensor(source.std))

        def forward(self, tiles: torch.Tensor) -> torch.Tensor:
            return (tiles - self.mean) / self.std

    module = nn.Sequential()
    module.add_module("normalise", Normalise())
    for name, part in _network(source).named_children():
        module.add_module(name, part)
    return module.eval()


def folds(source: Source) -> bool:
    """Whether the first layer can take the normalisation in, exactly.

    A convolution that pads cannot: its zeros would stand for raw 0, not for the mean. Of tiles and
    sequences one mean per channel or feature can be taken in, not one per place.
    """
    first = source.spec.layers[0]
    if isinstance(first, Dense):
        return True
    if isinstance(first, Recurrent):
        return len(source.mean) == 1
    return (
        isinstance(first, Conv)
        and _pads_nothing(first, source.spec.input_shape)
        and source.mean.shape[1:] == (1, 1)
    )


def _pads_nothing(layer: Conv, shape: Shape) -> bool:
    return layer.padding == "valid" or all(
        same_padding(side, layer.kernel, layer.stride) == (0, 0) for side in shape[1:]
    )


def folded(source: Source) -> nn.Sequential:
    """The network for raw x: W/σ and b - Σ W·µ/σ in its first layer give W·((x - µ)/σ) + b."""
    network = _network(source)
    first: Any = next(part for part in network if list(part.parameters()))
    weights, bias = (
        (first.layer.weight_ih_l0, first.layer.bias_ih_l0)
        if isinstance(first, recurrent.Steps)
        else (first.weight, first.bias)
    )
    weight = weights.detach().double().numpy()
    # µ and σ in the first layer's shape: one per channel, or one per value after flattening.
    shape: Shape = source.spec.input_shape
    wanted: Shape = (-1,)
    if isinstance(source.spec.layers[0], Conv):
        shape = wanted = (shape[0], 1, 1)
    elif isinstance(source.spec.layers[0], Recurrent):
        shape = (1, shape[1])
    mean, std = (
        np.broadcast_to(value.astype(np.float64), shape).reshape(wanted)
        for value in (source.mean, source.std)
    )
    scaled = weight / std
    shift = (scaled * mean).reshape(len(scaled), -1).sum(axis=1)
    with torch.no_grad():
        bias.sub_(torch.from_numpy(shift).float())
        weights.copy_(torch.from_numpy(scaled).float())
    return network


# --- layers ---------------------------------------------------------------------------------------


def _modules(spec: NetworkSpec) -> Iterator[tuple[str, nn.Module]]:
    return _sequence(spec.layers, spec.input_shape, Counter())


def _sequence(
    layers: Iterable[Layer], shape: Shape, count: Counter[str]
) -> Iterator[tuple[str, nn.Module]]:
    """Modules of layers in order; `count` goes on through brackets, so that names are unique."""
    for layer in layers:
        kind = str(type(layer).__struct_config__.tag)
        count[kind] += 1
        name = f"{kind}{count[kind]}"
        if isinstance(layer, Dense) and len(shape) == 3:
            yield f"{name}_flatten", nn.Flatten()
        if isinstance(layer, Branches):
            yield name, _joined(layer, shape, count)
        yield from _layer(name, layer, shape)
        if isinstance(layer, Conv | Dense):
            yield from _activation(f"{name}_{layer.activation}", layer.activation)
        elif isinstance(layer, Act):
            yield from _activation(name, layer.activation, 1 + channel_axis(shape))
        shape = layer.after(shape, name)


def _joined(layer: Branches, shape: Shape, count: Counter[str]) -> nn.Module:
    """The branches as `branch1`, `branch2` …, and their outputs joined."""
    axis = 1 + channel_axis(layer.after(shape, layer.CALLED))

    class Joined(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            ends = [branch(values) for branch in self.children()]
            return torch.cat(ends, dim=axis) if layer.join == "concat" else sum(ends[1:], ends[0])

    module = Joined()
    for number, branch in enumerate(layer.branches, start=1):
        parts = OrderedDict(_sequence(branch, shape, count))
        module.add_module(f"branch{number}", nn.Sequential(parts))
    return module


def _layer(name: str, layer: Layer, shape: Shape) -> Iterator[tuple[str, nn.Module]]:
    """The layer itself, for an input of `shape`; its activation comes after."""
    match layer:
        case Conv():
            yield from _conv(name, layer, shape)
        case Dense():
            inputs = int(np.prod(shape))
            yield name, _drawn(nn.Linear(inputs, layer.neurons), inputs, layer.activation)
        case Pool(mode="max"):
            yield name, nn.MaxPool2d(layer.size, layer.stride)
        case Pool():
            yield name, nn.AvgPool2d(layer.size, layer.stride)
        case Lstm() | Gru():
            yield name, recurrent.Steps(shape[1], layer)
        case BatchNorm() if len(shape) == 2:
            yield name, _SequenceNorm(shape[1])
        case BatchNorm():
            norm = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
            yield name, norm(shape[0])
        case Dropout():
            yield name, nn.Dropout(layer.rate)


def _conv(name: str, layer: Conv, shape: Shape) -> Iterator[tuple[str, nn.Module]]:
    before_after = [(0, 0), (0, 0)]
    if layer.padding == "same":
        before_after = [same_padding(side, layer.kernel, layer.stride) for side in shape[1:]]
    (top, bottom), (left, right) = before_after
    symmetrical = top == bottom and left == right
    if not symmetrical:
        yield f"{name}_pad", nn.ZeroPad2d((left, right, top, bottom))
    padding = (top, left) if symmetrical else (0, 0)
    conv = nn.Conv2d(shape[0], layer.depth, layer.kernel, layer.stride, padding)
    yield name, _drawn(conv, shape[0] * layer.kernel**2, layer.activation)


def _drawn(module: nn.Conv2d | nn.Linear, inputs: int, activation: str) -> nn.Module:
    # He et al. 2015 for ReLU, whose half of the values is lost; LeCun 1998 for the others.
    gain = 2.0 if activation == "relu" else 1.0
    nn.init.normal_(module.weight, std=(gain / inputs) ** 0.5)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


class _SequenceNorm(nn.BatchNorm1d):
    """Over the features of (N, steps, features); torch has them before the steps."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return super().forward(values.transpose(1, 2)).transpose(1, 2)


def _activation(name: str, activation: str, axis: int = 1) -> Iterator[tuple[str, nn.Module]]:
    if activation == "softmax":
        yield name, nn.Softmax(dim=axis)
    elif activation != "linear":
        yield name, ACTIVATION_MODULES[activation]()
