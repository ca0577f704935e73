"""NetworkSpec → torch module: the layers as written, with seeded weights.

Names in the state dict count each kind of layer: `conv1.weight`, `conv2.bias`, `fc1.weight`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile, BadShape, Unavailable
from nnprof.networks.spec import (
    Act,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Layer,
    NetworkSpec,
    Pool,
    Shape,
    same_padding,
)

try:
    import torch
    from torch import nn
except ImportError as error:
    raise Unavailable(
        "torch is not installed.", "Try: pip install 'nnprof-embedded[train]'."
    ) from error

MOST_WEIGHTS = (1 << 29) - 1  # of four bytes: an ONNX file ends at 2 GB

ACTIVATION_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softsign": nn.Softsign,
}


def build(spec: NetworkSpec) -> nn.Sequential:
    """The network as a module: float32 (N, *input_shape) → (N, *output shape), in training mode.

    Weights are drawn from a normal distribution by `spec.seed`, biases are zero; torch's global
    random state is left as it was.

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
    """Count the weights where none takes memory."""
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
    """The network with the given weights. `source` names where they are from, for the error.

    Raises:
        BadFile: they are not the weights of this network.
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


def ends_in_softmax(spec: NetworkSpec) -> bool:
    """Whether what comes out are probabilities."""
    last = next(layer for layer in reversed((Act("linear"), *spec.layers)) if _computes(layer))
    return isinstance(last, Act | Conv | Dense) and last.activation == "softmax"


def _computes(layer: Layer) -> bool:
    return not isinstance(layer, Dropout)


# --- layers ---------------------------------------------------------------------------------------


def _modules(spec: NetworkSpec) -> Iterator[tuple[str, nn.Module]]:
    shape = spec.input_shape
    count: Counter[str] = Counter()
    for layer, output in zip(spec.layers, spec.shapes, strict=True):
        kind = type(layer).__struct_config__.tag
        count[str(kind)] += 1
        name = f"{kind}{count[str(kind)]}"
        if isinstance(layer, Dense) and len(shape) == 3:
            yield f"{name}_flatten", nn.Flatten()
        yield from _layer(name, layer, shape)
        if isinstance(layer, Conv | Dense):
            yield from _activation(f"{name}_{layer.activation}", layer.activation)
        elif isinstance(layer, Act):
            yield from _activation(name, layer.activation)
        shape = output


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


def _activation(name: str, activation: str) -> Iterator[tuple[str, nn.Module]]:
    if activation == "softmax":
        yield name, nn.Softmax(dim=1)
    elif activation != "linear":
        yield name, ACTIVATION_MODULES[activation]()
