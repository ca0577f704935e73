"""`NetworkSpec`: a network as a value, and the text that stands for it.

The notation is one line of words, the input shape first::

    1x28x28 conv20k5 conv20k5 pool2 fc128 fc10

=============================  ===================================================================
`1x28x28`, `60x1` or `784`     input: channels × height × width, steps × features of a sequence, or
                               a flat number of features
`conv20k5`                     convolution of depth 20, kernel 5×5, stride 1, valid padding
`conv20k5s2same`               the same with stride 2 and padding to ceil(size / stride)
`pool2`, `pool3s1`             max-pool 2×2 with stride 2; 3×3 with stride 1
`avgpool2`                     average pool
`fc128`                        fully connected; flattens what comes in
`lstm50`, `gru50`              recurrent layer of 50 units over the steps of a sequence
`relu tanh sigmoid softsign`   activation
`linear`                       no activation
`softmax`                      softmax over the features
`bn`                           batch normalisation
`dropout0.5`                   dropout of half the values, while training
`[fc64 | fc32 fc32]`           branches side by side, their outputs concatenated
`[conv20k3same bn + ]`         branches whose outputs are added; an empty one is the input itself
`5*[fc256 relu bn]`            five times the same layers
`seed7`                        last: the seed of untrained weights (0 if not given)
=============================  ===================================================================

The activation word after a `conv` or `fc` belongs to that layer. Without the word the activation is
linear before `bn`, softmax for an `fc` at the very end, else ReLU. So `fc512 bn` has no activation
at all, `fc512 bn relu` has it behind the norm, and `fc512 relu bn` before it. The line above is the
network of Mattsson 2016 with two ConvLayers. `format_spec(parse(text))` is a text's usual form.

A recurrent layer's activation is that of its cell, in place of tanh; its gates stay sigmoid. The
layer gives the state of every step where another recurrent layer follows, past `bn`, `dropout` and
activations of their own, and else the state of the last step only. So `60x1 lstm50 lstm50 fc1
linear` reads 60 steps of one feature, the second layer all states of the first, and `fc1` the last
state of the second. A sequence has to end in a recurrent layer: `fc`, `conv` and `pool` take none.

What a layer's word and shape are, and where else a new layer goes, says `networks/layers.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from nnprof.errors import BadNotation, BadShape
from nnprof.networks.layers import (
    ACTIVATIONS,
    DIGITS,
    KINDS,
    Act,
    Active,
    Branches,
    Conv,
    Dense,
    Dropout,
    Layer,
    N,
    Recurrent,
    default_activation,
    reads_sequence,
    units,
)
from nnprof.networks.shapes import Shape, by, need


class NetworkSpec(msgspec.Struct, frozen=True):
    """A network: input shape and layers; where it came from; the seed of untrained weights.

    Attributes:
        input_shape: (channels, height, width), (steps, features) or (features,).
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
        if not 0 <= self.seed < 10**DIGITS:
            raise ValueError(f"seed must be in 0…10**{DIGITS}-1, not {self.seed}")
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
    if len(spec.input_shape) not in (1, 2, 3):
        raise BadShape(
            f"The input shape {by(spec.input_shape)} is neither C×H×W, nor steps × features, nor a "
            "number of features."
        )
    need(min(spec.input_shape) >= 1, f"input {by(spec.input_shape)}", "needs sizes of at least 1")
    if not spec.layers:
        raise BadShape("A network needs at least one layer.")
    try:
        shapes = _shapes(spec)
    except BadShape:
        shapes = _shapes_or_place(spec)
    if len(shapes[-1]) == 2:
        raise BadShape(
            f"The network ends with a sequence of {by(shapes[-1])} (steps × features).",
            "Put an lstm or gru into it: the last one gives its last step only.",
        )
    return shapes


def _shapes(spec: NetworkSpec) -> tuple[Shape, ...]:
    """Shapes from a cache, since families hold the same layers many times; errors name no place."""
    shapes: list[Shape] = []
    shape = spec.input_shape
    for layer in spec.layers:
        shape = _shape_after(layer, shape)
        shapes.append(shape)
    return tuple(shapes)


@lru_cache(maxsize=100_000)
def _shape_after(layer: Layer, shape: Shape) -> Shape:
    return layer.after(shape, "layer")


def _shapes_or_place(spec: NetworkSpec) -> tuple[Shape, ...]:
    """The same shapes; the error names a layer by its kind and its place among that kind."""
    totals = Counter(type(layer) for layer in spec.layers)
    seen: Counter[type] = Counter()
    shapes: list[Shape] = []
    shape = spec.input_shape
    for layer in spec.layers:
        seen[type(layer)] += 1
        place = f"{layer.CALLED} {seen[type(layer)]} of {totals[type(layer)]}"
        shape = layer.after(shape, place)
        shapes.append(shape)
    return tuple(shapes)


# --- text -----------------------------------------------------------------------------------------

_INPUT = re.compile(f"{N}(x{N}){{0,2}}")
_SEED = re.compile(f"seed({N})")
_MARKS = ("|", "+", "]")
# An opening bracket with how often, a mark, or a word up to the next of them.
_WORDS = re.compile(r"([0-9]{1,6}\*)?\[|[\]|+]|[^\s\[\]|+]+?(?=[0-9]{1,6}\*\[|[\s\[\]|+]|$)")
MOST_LAYERS = 10_000  # of a line: a slip of the finger must not fill the memory
LONG_LINE = 100  # letters
MOST_PERIOD = 50  # layers of what repeats
_STARTS = [
    start for kind in KINDS if kind not in (Act, Branches) for start in kind.FORMS or (kind.CALLED,)
]
_FORMS = {start: form for kind in KINDS for start, form in kind.FORMS.items()} | {"seed": "seed7"}


def parse(text: str) -> NetworkSpec:
    """The network that a line of notation stands for.

    Raises:
        BadNotation: a word is not understood; says which, at which column.
        BadShape: the layers do not fit together; says which.
    """
    words = [(match.group(), match.start() + 1) for match in _WORDS.finditer(text)]
    if not words:
        raise BadNotation(text, 1, "No network", "Start like this: 1x28x28 conv20k5 pool2 fc10.")
    first, column = words[0]
    if not _INPUT.fullmatch(first):
        raise BadNotation(
            text,
            column,
            f"'{first}' is not an input shape",
            "Start with channels × height × width, such as 1x28x28, with steps × features, such as "
            "60x1, or with a number of features.",
        )
    shape = tuple(int(side) for side in first.split("x"))
    reader = _Reader(text, words[1:])
    layers = reader.sequence()
    seed = reader.seed()
    if reader.words:
        word, column = reader.words[0]
        sentence = f"'{word}' has no bracket" if word in _MARKS else f"'{word}' is behind the end"
        raise BadNotation(text, column, sentence, "Brackets: [a | b], [a + b], 5*[a]; seed7 last.")
    return NetworkSpec(shape, _bind(layers), seed=seed)


class _Reader:
    """Words that are still to be read, from the left."""

    def __init__(self, text: str, words: list[tuple[str, int]]) -> None:
        self.text, self.words = text, words

    def sequence(self) -> list[Layer]:
        """Layers up to a mark that ends them, to the word of a seed, or to the end."""
        layers: list[Layer] = []
        while self.words and self.words[0][0] not in _MARKS:
            word, column = self.words[0]
            if _SEED.fullmatch(word):
                break
            self.words = self.words[1:]
            if word.endswith("["):
                layers += self._bracket(word, column)
            else:
                layers.append(_read(self.text, word, column))
        return layers

    def seed(self) -> int:
        """The seed, where the next word is one and the last."""
        match = _SEED.fullmatch(self.words[0][0]) if self.words else None
        if not match:
            return 0
        word, column = self.words.pop(0)
        if self.words:
            raise BadNotation(self.text, column, f"'{word}' is not the last word")
        return int(match[1])

    def _bracket(self, opening: str, column: int) -> list[Layer]:
        branches, marks = [self.sequence()], set()
        while self.words and self.words[0][0] in "|+":
            marks.add(self.words.pop(0)[0])
            branches.append(self.sequence())
        if not self.words or self.words.pop(0)[0] != "]":
            raise BadNotation(self.text, column, "This bracket has no end", "Close it with ].")
        if len(marks) > 1:
            raise BadNotation(
                self.text, column, "This bracket has | and +", "Put one kind into the other."
            )
        times = int(opening[:-2] or 1)
        inner: Sequence[Layer] = branches[0]
        if marks:
            join: Literal["concat", "sum"] = "concat" if marks == {"|"} else "sum"
            inner = [Branches(tuple(map(tuple, branches)), join)]
        if times * len(inner) > MOST_LAYERS:
            raise BadNotation(self.text, column, f"More than {MOST_LAYERS} layers")
        return list(inner) * times


def _read(text: str, word: str, column: int) -> Layer:
    """The layer of a word."""
    for kind in KINDS:
        if match := kind.WORD.fullmatch(word):
            return kind.read(match)
    start = re.match("[a-z]*", word)
    form = _FORMS.get(start.group() if start else "")
    if form:
        raise BadNotation(text, column, f"'{word}' is incomplete or too long", f"Write {form}.")
    raise BadNotation(
        text,
        column,
        f"Unknown layer '{word}'",
        f"Known: {', '.join(_STARTS)}, {', '.join(ACTIVATIONS)}.",
    )


def _bind(
    read: Sequence[Layer], *, inside: bool = False, beyond: bool = False
) -> tuple[Layer, ...]:
    """Each layer with its activation, the word that follows or the default; and with its steps.

    `inside`: these are a branch; `beyond`: what stands behind it reads a sequence.
    """
    layers: list[Layer] = []
    words = zip(range(1, len(read) + 1), read, (*read[1:], None), strict=False)
    for behind, layer, after in words:
        if isinstance(layer, Branches):
            reads = reads_sequence(read[behind:], beyond=beyond)
            parts = tuple(_bind(part, inside=True, beyond=reads) for part in layer.branches)
            layers.append(msgspec.structs.replace(layer, branches=parts))
        elif isinstance(layer, Active):
            usual = default_activation(layer, after, inside=inside)
            own = after.activation if isinstance(after, Act) else usual
            bound = msgspec.structs.replace(layer, activation=own)
            if isinstance(bound, Recurrent):
                reads = reads_sequence(read[behind:], beyond=beyond)
                bound = msgspec.structs.replace(bound, steps=reads)
            layers.append(bound)
            if isinstance(after, Act):
                next(words)
        else:
            layers.append(layer)
    return tuple(layers)


def format_spec(spec: NetworkSpec) -> str:
    """The notation of the layers and the seed; `parse` turns it back.

    Layers that repeat stand in a bracket, `5*[fc256 relu bn]`, only where the line would otherwise
    have more than `LONG_LINE` letters: short lines stay as they have always been.
    """
    words = units(spec.layers)
    if sum(map(len, words)) > LONG_LINE:
        words = _repetitions(words)
    first = "x".join(map(str, spec.input_shape))
    return " ".join((first, *words, *([f"seed{spec.seed}"] if spec.seed else [])))


def _repetitions(words: list[str]) -> list[str]:
    """The words with runs of the same ones in brackets, each time the run that saves most."""
    found, at = [], 0
    while at < len(words):
        best, taken, saved = words[at], 1, 0
        for period in range(1, min(MOST_PERIOD, (len(words) - at) // 2) + 1):
            unit, times = words[at : at + period], 1
            while words[at + times * period : at + (times + 1) * period] == unit:
                times += 1
            text = f"{times}*[{' '.join(unit)}]"
            saves = len(" ".join(unit * times)) - len(text)
            if times > 1 and saves > saved:
                best, taken, saved = text, times * period, saves
        found.append(best)
        at += taken
    return found
