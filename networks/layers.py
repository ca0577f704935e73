"""The layers of the notation: each class holds its word, its shape, and nothing of other layers.

A new layer is a class here, its name in `Layer`, and an entry in each of:

* `networks/build.py`, `_layer`: its torch module;
* `networks/counts.py`, `_one`: its weights and multiply-adds;
* `profiler/costmodel/lowering.py`: its ops;
* the table in the docstring of `networks/spec.py`: its word;

and, where its ONNX op is new, in `exporters/torch_ops.py` and `profiler/graph/counts.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, get_args

import msgspec

from nnprof.networks.shapes import Shape, by, channel_axis, described, need, slid

if TYPE_CHECKING:
    from typing_extensions import Self

Activation: TypeAlias = Literal["relu", "tanh", "sigmoid", "softsign", "linear", "softmax"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)

DIGITS = 18  # of the longest number: it fits 64 bits
N = rf"[0-9]{{1,{DIGITS}}}"  # a number, in patterns


class _Layer(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of the layers, which have these beside their fields.

    Attributes:
        CALLED: its name in error messages.
        WORD: what its word in the notation looks like.
        FORMS: how the word begins → an example, for words that are incomplete.
    """

    CALLED: ClassVar[str]
    WORD: ClassVar[re.Pattern[str]]
    FORMS: ClassVar[dict[str, str]] = {}


class Conv(_Layer, frozen=True, tag="conv"):
    """Convolution with square kernels, with bias, and the activation after it."""

    CALLED = "conv"
    WORD = re.compile(f"conv(?P<depth>{N})k(?P<kernel>{N})(s(?P<stride>{N}))?(?P<same>same)?")
    FORMS = {"conv": "conv20k5, conv20k5s2same"}

    depth: int
    kernel: int
    stride: int = 1
    padding: Literal["valid", "same"] = "valid"
    activation: Activation = "relu"

    @classmethod
    def read(cls, word: re.Match[str]) -> Conv:
        """The layer of a word, with ReLU."""
        padding: Literal["valid", "same"] = "same" if word["same"] else "valid"
        return cls(int(word["depth"]), int(word["kernel"]), int(word["stride"] or 1), padding)

    @property
    def word(self) -> str:
        """The layer as a word; its activation is a word of its own."""
        stride = f"s{self.stride}" if self.stride != 1 else ""
        same = "same" if self.padding == "same" else ""
        return f"conv{self.depth}k{self.kernel}{stride}{same}"

    def after(self, shape: Shape, place: str) -> Shape:
        """Output shape for an input of `shape`; BadShape names the layer as `place`."""
        _need_activation(self.activation, place)
        need(min(self.depth, self.kernel, self.stride) >= 1, place, "needs sizes of at least 1")
        known = self.padding in ("valid", "same")
        need(known, place, f"has an unknown padding, '{self.padding}'")
        return (self.depth, *slid(self.kernel, self.stride, self.padding, shape, place))


class Pool(_Layer, frozen=True, tag="pool"):
    """Max or average pool over size×size windows, without padding."""

    CALLED = "pool"
    WORD = re.compile(f"(?P<avg>avg)?pool(?P<size>{N})(s(?P<stride>{N}))?")
    FORMS = {"pool": "pool2, pool3s1", "avgpool": "avgpool2"}

    size: int
    stride: int
    mode: Literal["max", "avg"] = "max"

    @classmethod
    def read(cls, word: re.Match[str]) -> Pool:
        """The layer of a word; its stride is its size where the word has none."""
        size = int(word["size"])
        return cls(size, int(word["stride"] or size), "avg" if word["avg"] else "max")

    @property
    def word(self) -> str:
        """The layer as a word."""
        stride = f"s{self.stride}" if self.stride != self.size else ""
        return f"{'avg' if self.mode == 'avg' else ''}pool{self.size}{stride}"

    def after(self, shape: Shape, place: str) -> Shape:
        """Output shape for an input of `shape`; BadShape names the layer as `place`."""
        need(min(self.size, self.stride) >= 1, place, "needs sizes of at least 1")
        need(self.mode in ("max", "avg"), place, f"has an unknown mode, '{self.mode}'")
        return (shape[0], *slid(self.size, self.stride, "valid", shape, place))


class Dense(_Layer, frozen=True, tag="fc"):
    """Fully connected layer with bias, and the activation after it. Flattens its input.

    A sequence it does not take: Keras would give one output a step, flattening would give one of
    all, and nobody who writes it says which.
    """

    CALLED = "fc"
    WORD = re.compile(f"fc(?P<neurons>{N})")
    FORMS = {"fc": "fc128"}

    neurons: int
    activation: Activation = "relu"

    @classmethod
    def read(cls, word: re.Match[str]) -> Dense:
        """The layer of a word, with ReLU."""
        return cls(int(word["neurons"]))

    @property
    def word(self) -> str:
        """The layer as a word; its activation is a word of its own."""
        return f"fc{self.neurons}"

    def after(self, shape: Shape, place: str) -> Shape:
        """Output shape for any input but a sequence; BadShape names the layer as `place`."""
        _need_activation(self.activation, place)
        need(self.neurons >= 1, place, "needs at least 1 neuron")
        need(
            len(shape) != 2,
            place,
            f"takes no sequence of {by(shape)} (steps × features): put an lstm or gru before it, "
            f"or begin with {math.prod(shape)} flat features",
        )
        return (self.neurons,)


class _Recurrent(_Layer, frozen=True):
    """A recurrent layer; gates are sigmoid, candidate and output have the cell's activation.

    Attributes:
        GATES: products of features and state in each step, the candidate's among them.
        units: values of the state.
        activation: of the cell: tanh, if nothing else is said, also before `bn`.
        steps: whether it gives the state of every step, or of the last one only. `spec.parse` knows
            it by what follows.
    """

    GATES: ClassVar[int]

    units: int
    activation: Activation = "tanh"
    steps: bool = False

    @classmethod
    def read(cls, word: re.Match[str]) -> Self:
        """The layer of a word, with tanh."""
        return cls(int(word["units"]))

    @property
    def word(self) -> str:
        """The layer as a word; its activation is a word of its own."""
        return f"{self.CALLED}{self.units}"

    def after(self, shape: Shape, place: str) -> Shape:
        """Output shape for a sequence of `shape`; BadShape names the layer as `place`."""
        _need_activation(self.activation, place)
        need(self.units >= 1, place, "needs at least 1 unit")
        need(len(shape) == 2, place, f"needs steps × features, but gets {described(shape)}")
        return (shape[0], self.units) if self.steps else (self.units,)


class Lstm(_Recurrent, frozen=True, tag="lstm"):
    """Long short-term memory (Hochreiter 1997), with the forget gate of Gers 2000; no peepholes."""

    CALLED = "lstm"
    WORD = re.compile(f"lstm(?P<units>{N})")
    FORMS = {"lstm": "lstm50"}
    GATES = 4


class Gru(_Recurrent, frozen=True, tag="gru"):
    """Gated recurrent unit (Cho 2014) that resets behind the product, as cuDNN, torch and Keras."""

    CALLED = "gru"
    WORD = re.compile(f"gru(?P<units>{N})")
    FORMS = {"gru": "gru50"}
    GATES = 3


class BatchNorm(_Layer, frozen=True, tag="bn"):
    """Batch normalisation over channels, or over features of flat layers and sequences."""

    CALLED = "bn"
    WORD = re.compile("bn")

    @classmethod
    def read(cls, _: re.Match[str]) -> BatchNorm:
        """The layer of a word."""
        return cls()

    @property
    def word(self) -> str:
        """The layer as a word."""
        return "bn"

    def after(self, shape: Shape, _: str) -> Shape:
        """Output shape: that of the input."""
        return shape


class Dropout(_Layer, frozen=True, tag="dropout"):
    """Each value is dropped with probability `rate` while training; identity afterwards."""

    CALLED = "dropout"
    WORD = re.compile(r"dropout(?P<rate>[0-9]+(\.[0-9]+)?(e-[0-9]+)?)")
    FORMS = {"dropout": "dropout0.5"}

    rate: float

    @classmethod
    def read(cls, word: re.Match[str]) -> Dropout:
        """The layer of a word."""
        return cls(float(word["rate"]))

    @property
    def word(self) -> str:
        """The layer as a word."""
        return f"dropout{self.rate!r}"

    def after(self, shape: Shape, place: str) -> Shape:
        """Output shape: that of the input; BadShape names the layer as `place`."""
        need(0 <= self.rate < 1, place, f"has rate {self.rate}, not one from 0 to below 1")
        return shape


class Act(_Layer, frozen=True, tag="act"):
    """An activation that belongs to no conv or fc, such as the one after a batch norm."""

    CALLED = "activation"
    WORD = re.compile("|".join(ACTIVATIONS))

    activation: Activation

    @classmethod
    def read(cls, word: re.Match[str]) -> Act:
        """The layer of a word."""
        return cls(msgspec.convert(word.group(), Activation))

    @property
    def word(self) -> str:
        """The layer as a word."""
        return self.activation

    def after(self, shape: Shape, place: str) -> Shape:
        """Output shape: that of the input; BadShape names the layer as `place`."""
        _need_activation(self.activation, place)
        return shape


class Branches(_Layer, frozen=True, tag="branches"):
    """Several sequences of layers beside each other, whose outputs are joined.

    Each gets the same input; a sequence without layers hands it on. "concat" puts channels, or
    features, behind each other; "sum" adds outputs of one shape.
    """

    CALLED = "bracket"
    WORD = re.compile("(?!)")  # it is no single word

    branches: tuple[tuple[Layer, ...], ...]
    join: Literal["concat", "sum"] = "concat"

    @classmethod
    def read(cls, _: re.Match[str]) -> Branches:
        """Never called: `spec` reads brackets."""
        raise AssertionError

    @property
    def word(self) -> str:
        """The bracket with all its words."""
        mark = " | " if self.join == "concat" else " + "
        texts = (" ".join(units(branch, inside=True)) for branch in self.branches)
        return f"[{mark.join(texts)}]"

    def after(self, shape: Shape, place: str) -> Shape:
        """Output shape for an input of `shape`; BadShape names the layer as `place`."""
        need(len(self.branches) > 1, place, "needs several branches")
        ends = []
        for number, branch in enumerate(self.branches, start=1):
            end = shape
            for at, layer in enumerate(branch, start=1):
                end = layer.after(end, f"{place}, branch {number}, layer {at} ({layer.CALLED})")
            ends.append(end)
        listed = ", ".join(map(by, ends))
        if self.join == "sum":
            need(len(set(ends)) == 1, place, f"cannot add outputs of the shapes {listed}")
            return ends[0]
        axis = channel_axis(ends[0])
        rests = {(*end[:axis], 0, *end[axis + 1 :]) for end in ends if len(end) == len(ends[0])}
        alike = len(rests) == 1 and len({len(end) for end in ends}) == 1
        need(alike, place, f"cannot concatenate the shapes {listed}")
        return (*ends[0][:axis], sum(end[axis] for end in ends), *ends[0][axis + 1 :])


Recurrent: TypeAlias = Lstm | Gru
Active: TypeAlias = Conv | Dense | Recurrent  # layers that own the activation behind them
Layer: TypeAlias = Conv | Pool | Dense | Lstm | Gru | BatchNorm | Dropout | Act | Branches
KINDS: tuple[type[Layer], ...] = get_args(Layer)


def default_activation(layer: Active, after: Layer | None, *, inside: bool = False) -> Activation:
    """The activation of a layer that needs no word, by the layer that follows (None: the last).

    `inside` a bracket the last layer is not the end of the network.
    """
    if isinstance(layer, Recurrent):
        return "tanh"
    if isinstance(after, BatchNorm):
        return "linear"
    return "softmax" if isinstance(layer, Dense) and after is None and not inside else "relu"


def units(layers: Sequence[Layer], *, inside: bool = False) -> list[str]:
    """The text of each layer, with the word of its activation where it needs one."""
    found = []
    for layer, after in zip(layers, (*layers[1:], None), strict=False):
        text = layer.word
        # A free activation that follows would be taken for this layer's own.
        if isinstance(layer, Active) and (
            isinstance(after, Act)
            or layer.activation != default_activation(layer, after, inside=inside)
        ):
            text = f"{text} {layer.activation}"
        found.append(text)
    return found


def reads_sequence(layers: Sequence[Layer], *, beyond: bool = False) -> bool:
    """Whether these layers give what they get to a recurrent one before they change its shape.

    Args:
        layers: of a network, or of a branch.
        beyond: the answer for what stands behind them.
    """
    for at, layer in enumerate(layers):
        match layer:
            case Lstm() | Gru():
                return True
            case Branches():
                behind = reads_sequence(layers[at + 1 :], beyond=beyond)
                return any(reads_sequence(branch, beyond=behind) for branch in layer.branches)
            case BatchNorm() | Dropout() | Act():
                pass
            case _:
                return False
    return beyond


def every_layer(layers: Iterable[Layer]) -> Iterator[Layer]:
    """All layers, those inside brackets in place of the brackets."""
    for layer in layers:
        if isinstance(layer, Branches):
            for branch in layer.branches:
                yield from every_layer(branch)
        else:
            yield layer


def _need_activation(activation: str, place: str) -> None:
    need(activation in ACTIVATIONS, place, f"has an unknown activation, '{activation}'")
