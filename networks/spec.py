"""`NetworkSpec`: a feed-forward network as a value, and the text that stands for it.

The notation is one line of words, the input shape first::

    1x28x28 conv20k5 conv20k5 pool2 fc128 fc10

=============================  ===================================================================
`1x28x28` or `784`             input: channels × height × width, or a flat number of features
`conv20k5`                     convolution of depth 20, kernel 5×5, stride 1, valid padding
`conv20k5s2same`               the same with stride 2 and padding to ceil(size / stride)
`pool2`, `pool3s1`             max-pool 2×2 with stride 2; 3×3 with stride 1
`avgpool2`                     average pool
`fc128`                        fully connected; flattens what comes in
`relu tanh sigmoid softsign`   activation
`linear`                       no activation, said out loud
`softmax`                      softmax over the features
`bn`                           batch normalisation
`dropout0.5`                   dropout of half the values, while training
`seed7`                        last: the seed of untrained weights (0 if not given)
=============================  ===================================================================

`conv` and `fc` own the activation that follows them. Where none follows, it is ReLU; before `bn` it
is linear; for an `fc` at the very end it is softmax. So the line above is the network of
Mattsson 2016 with two ConvLayers, and `format_spec(parse(text))` is its shortest form.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from typing import Literal, TypeAlias

import msgspec

from nnprof.errors import BadNotation, BadShape

Activation: TypeAlias = Literal["relu", "tanh", "sigmoid", "softsign", "linear", "softmax"]
ACTIVATIONS = ("relu", "tanh", "sigmoid", "softsign", "linear", "softmax")
Shape: TypeAlias = tuple[int, ...]


class _Layer(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of the layers."""


class Conv(_Layer, frozen=True, tag="conv"):
    """Convolution with square kernels, with bias, and the activation after it."""

    depth: int
    kernel: int
    stride: int = 1
    padding: Literal["valid", "same"] = "valid"
    activation: Activation = "relu"


class Pool(_Layer, frozen=True, tag="pool"):
    """Max or average pool over size×size windows, without padding."""

    size: int
    stride: int
    mode: Literal["max", "avg"] = "max"


class Dense(_Layer, frozen=True, tag="fc"):
    """Fully connected layer with bias, and the activation after it. Flattens what comes in."""

    neurons: int
    activation: Activation = "relu"


class BatchNorm(_Layer, frozen=True, tag="bn"):
    """Batch normalisation over channels, or over features after a flat layer."""


class Dropout(_Layer, frozen=True, tag="dropout"):
    """Each value is dropped with probability `rate` while training; identity afterwards."""

    rate: float


class Act(_Layer, frozen=True, tag="act"):
    """An activation that belongs to no conv or fc, such as the one after a batch norm."""

    activation: Activation


Layer: TypeAlias = Conv | Pool | Dense | BatchNorm | Dropout | Act


class NetworkSpec(msgspec.Struct, frozen=True):
    """A network: input shape and layers; where it came from; the seed of untrained weights.

    Attributes:
        input_shape: (channels, height, width) or (features,).
        layers: in order.
        family: name of the family that made it ("mattsson"), or "".
        parameters: of the family, by name.
        seed: of the weights it starts from.

    Raises:
        BadShape: at construction, naming the layer that does not fit.
        ValueError: the seed has no notation: negative, or of more than 18 digits.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]
    family: str = ""
    parameters: dict[str, int] = {}
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse layers that do not fit together, and a seed that could not be written down."""
        if not 0 <= self.seed < 10**_DIGITS:
            raise ValueError(f"seed must be in 0…10**{_DIGITS}-1, not {self.seed}")
        infer_shapes(self)

    @property
    def notation(self) -> str:
        """The layers as text; parses to the same layers and seed."""
        return format_spec(self)

    @property
    def name(self) -> str:
        """What tables show: the family's call where there is one, else the notation."""
        if not self.family:
            return self.notation
        values = dict(self.parameters)
        if self.seed:
            values["seed"] = self.seed
        arguments = ", ".join(f"{key}={value}" for key, value in values.items())
        return f"{self.family}({arguments})"

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Output shape of each layer, the batch left out."""
        return infer_shapes(self)


def ends_in_softmax(spec: NetworkSpec) -> bool:
    """Whether the outputs are probabilities: the last layer that computes has softmax."""
    computing = [layer for layer in spec.layers if not isinstance(layer, Dropout)]
    last = computing[-1] if computing else None
    return isinstance(last, Act | Conv | Dense) and last.activation == "softmax"


# --- shapes ---------------------------------------------------------------------------------------


def infer_shapes(spec: NetworkSpec) -> tuple[Shape, ...]:
    """Output shape of each layer, the batch left out.

    Raises:
        BadShape: a layer that does not fit, by its kind and its place among that kind.
    """
    if len(spec.input_shape) not in (1, 3):
        raise BadShape(
            f"The input shape {_by(spec.input_shape)} is neither C×H×W nor a number of features."
        )
    _need(min(spec.input_shape) >= 1, f"input {_by(spec.input_shape)}", "needs sizes of at least 1")
    if not spec.layers:
        raise BadShape("A network needs at least one layer.")
    try:
        return _shapes(spec)
    except BadShape:
        return _shapes_or_place(spec)


def _shapes(spec: NetworkSpec) -> tuple[Shape, ...]:
    """Without the places of layers, and from memory: families hold the same layers many times."""
    shapes: list[Shape] = []
    shape = spec.input_shape
    for layer in spec.layers:
        shape = _shape_after(layer, shape)
        shapes.append(shape)
    return tuple(shapes)


def _shapes_or_place(spec: NetworkSpec) -> tuple[Shape, ...]:
    """The same, and a layer that does not fit is named by its kind and its place among them."""
    totals = Counter(type(layer) for layer in spec.layers)
    seen: Counter[type] = Counter()
    shapes: list[Shape] = []
    shape = spec.input_shape
    for layer in spec.layers:
        seen[type(layer)] += 1
        place = f"{_WORDS[type(layer)]} {seen[type(layer)]} of {totals[type(layer)]}"
        shape = _output_shape(layer, shape, place)
        shapes.append(shape)
    return tuple(shapes)


_WORDS: dict[type, str] = {
    Conv: "conv",
    Pool: "pool",
    Dense: "fc",
    BatchNorm: "bn",
    Dropout: "dropout",
    Act: "activation",
}


def _by(shape: Shape) -> str:
    return "×".join(map(str, shape))


def _output_shape(layer: Layer, shape: Shape, place: str) -> Shape:
    if isinstance(layer, Conv | Dense | Act):
        known = layer.activation in ACTIVATIONS
        _need(known, place, f"has an unknown activation, '{layer.activation}'")
    if isinstance(layer, Conv):
        _need(min(layer.depth, layer.kernel, layer.stride) >= 1, place, "needs sizes of at least 1")
        known = layer.padding in ("valid", "same")
        _need(known, place, f"has an unknown padding, '{layer.padding}'")
        return (layer.depth, *_slide(layer.kernel, layer.stride, layer.padding, shape, place))
    if isinstance(layer, Pool):
        _need(min(layer.size, layer.stride) >= 1, place, "needs sizes of at least 1")
        _need(layer.mode in ("max", "avg"), place, f"has an unknown mode, '{layer.mode}'")
        return (shape[0], *_slide(layer.size, layer.stride, "valid", shape, place))
    if isinstance(layer, Dense):
        _need(layer.neurons >= 1, place, "needs at least 1 neuron")
        return (layer.neurons,)
    if isinstance(layer, Dropout):
        _need(0 <= layer.rate < 1, place, f"has rate {layer.rate}, not one from 0 to below 1")
    return shape


@lru_cache(maxsize=100_000)
def _shape_after(layer: Layer, shape: Shape) -> Shape:
    return _output_shape(layer, shape, "layer")


def _slide(size: int, stride: int, padding: str, shape: Shape, place: str) -> Shape:
    _need(len(shape) == 3, place, f"needs C×H×W, but gets {shape[0]} flat features")
    if padding == "same":
        return tuple(_ceil_div(side, stride) for side in shape[1:])
    _need(min(shape[1:]) >= size, place, f"{size}×{size} does not fit {_by(shape[1:])}", ":")
    return tuple((side - size) // stride + 1 for side in shape[1:])


def _need(condition: bool, place: str, sentence: str, joint: str = "") -> None:
    if not condition:
        raise BadShape(f"{place}{joint} {sentence}.")


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after one side of length `size`; the odd one after (ONNX SAME_UPPER)."""
    total = max((_ceil_div(size, stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _ceil_div(whole: int, part: int) -> int:
    return -(-whole // part)


# --- text -----------------------------------------------------------------------------------------

_DIGITS = 18  # of the longest number: it fits 64 bits
_N = rf"[0-9]{{1,{_DIGITS}}}"
_INPUT = re.compile(f"{_N}(x{_N}x{_N})?")
_WORD = re.compile(
    f"(?P<conv>conv(?P<depth>{_N})k(?P<kernel>{_N})(s(?P<conv_stride>{_N}))?(?P<same>same)?)"
    f"|(?P<pool>(?P<avg>avg)?pool(?P<size>{_N})(s(?P<pool_stride>{_N}))?)"
    f"|(?P<fc>fc(?P<neurons>{_N}))"
    r"|(?P<dropout>dropout(?P<rate>[0-9]+(\.[0-9]+)?(e-[0-9]+)?))"
    r"|(?P<bn>bn)"
    f"|(?P<seed>seed(?P<number>{_N}))"
    f"|(?P<act>{'|'.join(ACTIVATIONS)})"
)
_LAYER_FORMS = {
    "conv": "conv20k5, conv20k5s2same",
    "pool": "pool2, pool3s1",
    "avgpool": "avgpool2",
    "fc": "fc128",
    "dropout": "dropout0.5",
    "seed": "seed7",
}


def parse(text: str) -> NetworkSpec:
    """The network that a line of notation stands for.

    Raises:
        BadNotation: a word is not understood; says which, at which column.
        BadShape: the layers do not fit together; says which.
    """
    words = [(match.group(), match.start() + 1) for match in re.finditer(r"\S+", text)]
    if not words:
        raise BadNotation(text, 1, "No network", "Start like this: 1x28x28 conv20k5 pool2 fc10.")
    first, column = words[0]
    if not _INPUT.fullmatch(first):
        raise BadNotation(
            text,
            column,
            f"'{first}' is not an input shape",
            "Start with channels × height × width, such as 1x28x28, or a number of features.",
        )
    shape = tuple(int(side) for side in first.split("x"))
    matches = [_match(text, word, column) for word, column in words[1:]]
    seed = 0
    if matches and matches[-1]["seed"]:
        seed = int(matches.pop()["number"])
    for match, (word, column) in zip(matches, words[1:], strict=False):
        if match["seed"]:
            raise BadNotation(text, column, f"'{word}' is not the last word")
    return NetworkSpec(shape, _bind(matches), seed=seed)


def _match(text: str, word: str, column: int) -> re.Match[str]:
    match = _WORD.fullmatch(word)
    if match:
        return match
    kind = re.match("[a-z]*", word)
    form = _LAYER_FORMS.get(kind.group() if kind else "")
    if form:
        raise BadNotation(text, column, f"'{word}' is incomplete or too long", f"Write {form}.")
    raise BadNotation(
        text,
        column,
        f"Unknown layer '{word}'",
        f"Known: conv, pool, avgpool, fc, bn, dropout, {', '.join(ACTIVATIONS)}.",
    )


def _bind(matches: list[re.Match[str]]) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    bound = False
    for index, match in enumerate(matches):
        after = matches[index + 1] if index + 1 < len(matches) else None
        if bound:  # this word is the activation of the layer before it
            bound = False
            continue
        if match["conv"] or match["fc"]:
            bound = after is not None and bool(after["act"])
            activation = after["act"] if after and bound else _default(match, after)
            layers.append(_weighted(match, activation))
        elif match["pool"]:
            size = int(match["size"])
            stride = int(match["pool_stride"] or size)
            layers.append(Pool(size, stride, "avg" if match["avg"] else "max"))
        elif match["dropout"]:
            layers.append(Dropout(float(match["rate"])))
        elif match["bn"]:
            layers.append(BatchNorm())
        else:
            layers.append(Act(msgspec.convert(match["act"], Activation)))
    return tuple(layers)


def _weighted(match: re.Match[str], activation: str) -> Conv | Dense:
    act = msgspec.convert(activation, Activation)
    if match["fc"]:
        return Dense(int(match["neurons"]), act)
    return Conv(
        int(match["depth"]),
        int(match["kernel"]),
        int(match["conv_stride"] or 1),
        "same" if match["same"] else "valid",
        act,
    )


def _default(match: re.Match[str], after: re.Match[str] | None) -> str:
    return default_activation(
        dense=bool(match["fc"]), last=after is None, bn=bool(after and after["bn"])
    )


def default_activation(*, dense: bool, last: bool, bn: bool) -> str:
    """The activation that needs no word, by what the layer is and what follows it."""
    if bn:
        return "linear"
    return "softmax" if dense and last else "relu"


def format_spec(spec: NetworkSpec) -> str:
    """The shortest notation of the layers and the seed; `parse` turns it back."""
    words = ["x".join(map(str, spec.input_shape))]
    for layer, after in pairwise((*spec.layers, None)):
        words.append(_word(layer))
        if isinstance(layer, Conv | Dense):
            default = default_activation(
                dense=isinstance(layer, Dense),
                last=after is None,
                bn=isinstance(after, BatchNorm),
            )
            # A free activation that follows would be taken for this layer's own.
            if layer.activation != default or isinstance(after, Act):
                words.append(layer.activation)
    if spec.seed:
        words.append(f"seed{spec.seed}")
    return " ".join(words)


def _word(layer: Layer | None) -> str:
    match layer:
        case Conv():
            stride = f"s{layer.stride}" if layer.stride != 1 else ""
            same = "same" if layer.padding == "same" else ""
            return f"conv{layer.depth}k{layer.kernel}{stride}{same}"
        case Pool():
            stride = f"s{layer.stride}" if layer.stride != layer.size else ""
            average = "avg" if layer.mode == "avg" else ""
            return f"{average}pool{layer.size}{stride}"
        case Dense():
            return f"fc{layer.neurons}"
        case Dropout():
            return f"dropout{layer.rate!r}"
        case BatchNorm():
            return "bn"
        case Act():
            return layer.activation
    raise TypeError(f"not a layer: {layer!r}")
