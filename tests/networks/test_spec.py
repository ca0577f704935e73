"""The notation and the value it stands for: one round trip, shapes by formula, errors by column."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnprof.errors import BadNotation, BadShape
from nnprof.networks.layers import (
    ACTIVATIONS,
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
)
from nnprof.networks.shapes import same_padding
from nnprof.networks.spec import NetworkSpec, ends_in_softmax, format_spec, infer_shapes, parse

activations = st.sampled_from(ACTIVATIONS)
small = st.integers(1, 7)


def flat_layers() -> st.SearchStrategy[Layer]:
    """Layers that take any shape but a sequence."""
    return st.builds(Dense, st.integers(1, 4096), activations) | keeping()


def keeping() -> st.SearchStrategy[Layer]:
    """Layers that take any shape and keep it."""
    return st.one_of(
        st.just(BatchNorm()),
        st.builds(Dropout, st.floats(0, 1, exclude_max=True)),
        st.builds(Act, activations),
    )


def tile_layers(sides: tuple[int, ...]) -> st.SearchStrategy[Layer]:
    """Layers that need C×H×W with these sides, and fit them."""
    fits = st.integers(1, min(sides))
    modes = st.sampled_from(["max", "avg"])
    return st.one_of(
        st.builds(Conv, st.integers(1, 99), fits, small, st.just("valid"), activations),
        st.builds(Conv, st.integers(1, 99), small, small, st.just("same"), activations),
        st.builds(Pool, fits, small, modes),
    )


def brackets() -> st.SearchStrategy[Layer]:
    """Flat branches, each with an end that is as wide as the others'."""
    end = st.builds(Dense, st.just(7), activations)
    branch = st.builds(lambda layers, end: (*layers, end), st.lists(flat_layers(), max_size=2), end)
    several = st.lists(branch, min_size=2, max_size=3).map(tuple)
    return st.builds(Branches, several, st.sampled_from(["concat", "sum"]))


def recurrents(units: st.SearchStrategy[int], steps: bool) -> st.SearchStrategy[Layer]:
    """LSTMs and GRUs with any cell."""
    return st.sampled_from([Lstm, Gru]).flatmap(
        lambda kind: st.builds(kind, units, activations, st.just(steps))
    )


@st.composite
def ways(draw: st.DrawFn, *, steps: bool, deep: int = 1) -> tuple[Layer, ...]:
    """Layers from a sequence to 7 units: of the last step, or of all `steps`."""
    keepers = st.lists(keeping(), max_size=2)
    layers: list[Layer] = draw(keepers)
    for last in (False,) * draw(st.integers(0, 2)) + (True,):
        every = steps or not last
        ends = recurrents(st.just(7) if last else st.integers(1, 99), every)
        if deep:
            several = st.lists(ways(steps=every, deep=0), min_size=2, max_size=2)
            kinds = st.sampled_from(["concat", "sum"] if not last else ["sum"])
            ends = ends | st.builds(Branches, several.map(tuple), kinds)
        layers += [draw(ends), *draw(keepers)]
    return tuple(layers)


@st.composite
def specs(draw: st.DrawFn) -> NetworkSpec:
    """Any network that fits together, free activations and inner softmaxes among them."""
    side = st.integers(1, 40)
    shape = tuple(draw(side) for _ in range(draw(st.sampled_from([1, 2, 3]))))
    layers: list[Layer] = []
    now = shape
    if len(shape) == 2:
        layers += draw(ways(steps=False))
        now = (7,)
    for _ in range(draw(st.integers(1, 8))):
        choice = flat_layers() if len(now) == 1 else flat_layers() | tile_layers(now[1:])
        choice = choice | brackets()
        layers.append(draw(choice))
        now = infer_shapes(NetworkSpec(shape, tuple(layers)))[-1]
    return NetworkSpec(shape, tuple(layers), seed=draw(st.integers(0, 10**18 - 1)))


@given(specs())
def test_notation_parses_back(spec: NetworkSpec) -> None:
    """The notation of any network parses to an equal network."""
    assert parse(format_spec(spec)) == spec


@given(specs())
def test_notation_is_shortest(spec: NetworkSpec) -> None:
    """No activation in a notation can be left out without changing the network."""
    words = format_spec(spec).split()
    for index, word in enumerate(words):
        if word in ACTIVATIONS and spec.layers != (Act(word),):  # a network needs a layer
            shorter = " ".join(words[:index] + words[index + 1 :])
            assert parse(shorter) != spec


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("fc10", (Dense(10, "softmax"),)),
        ("fc10 linear", (Dense(10, "linear"),)),
        ("fc10 dropout0.5", (Dense(10, "relu"), Dropout(0.5))),
        ("fc10 bn relu fc5", (Dense(10, "linear"), BatchNorm(), Act("relu"), Dense(5, "softmax"))),
        ("fc10 relu bn", (Dense(10, "relu"), BatchNorm())),
        ("fc10 softmax tanh", (Dense(10, "softmax"), Act("tanh"))),
        ("conv3k2s2same", (Conv(3, 2, 2, "same"),)),
        ("pool3 pool3s1 avgpool2", (Pool(3, 3), Pool(3, 1), Pool(2, 2, "avg"))),
    ],
)
def test_words_mean_what_the_table_says(text: str, layers: tuple[Layer, ...]) -> None:
    """A conv or fc owns the activation after it; where none is, the documented default."""
    spec = parse(f"1x28x28 {text}")
    assert spec.layers == layers
    assert spec.notation == f"1x28x28 {text}"


def test_what_need_not_be_said_is_not_said() -> None:
    """Defaults that were said out loud are left out of the shortest form."""
    spec = parse("  1x28x28\tconv20k5s1 relu pool2s2 fc10 softmax seed0 ")
    assert spec.notation == "1x28x28 conv20k5 pool2 fc10"
    assert spec.name == spec.notation
    assert parse("784 fc10 seed7").seed == 7


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 9))
def test_shapes_follow_the_formulas(side: int, size: int, stride: int) -> None:
    """Valid: floor((n - k) / s) + 1; same: ceil(n / s); the padding makes the two agree."""
    same = parse(f"1x{side}x{side} conv4k{size}s{stride}same").shapes[0]
    assert same == (4, math.ceil(side / stride), math.ceil(side / stride))
    before, after = same_padding(side, size, stride)
    assert 0 <= after - before <= 1
    assert (side + before + after - size) // stride + 1 == same[1]
    if size <= side:
        valid = (side - size) // stride + 1
        text = f"3x{side}x{side} conv4k{size}s{stride} fc5"
        assert parse(text).shapes == ((4, valid, valid), (5,))
        assert parse(f"3x{side}x{side} pool{size}s{stride}").shapes == ((3, valid, valid),)


def test_shapes_of_both_sides_are_kept_apart() -> None:
    """Height and width need not be equal; bn, dropout and activations keep the shape."""
    spec = parse("3x32x28 conv8k5 bn relu dropout0.1 pool2 fc10")
    assert spec.shapes == ((8, 28, 24),) * 4 + ((8, 14, 12), (10,))


LAYERS = (
    "Known: conv, pool, avgpool, fc, lstm, gru, bn, dropout, relu, tanh, sigmoid, softsign, "
    "linear, softmax."
)
START = (
    "Start with channels × height × width, such as 1x28x28, with steps × features, such as 60x1, "
    "or with a number of features."
)


@pytest.mark.parametrize(
    ("text", "column", "sentence"),
    [
        ("", 1, "No network at column 1 of ''. Start like this: 1x28x28 conv20k5 pool2 fc10."),
        ("2x1x8x8 fc10", 1, f"'2x1x8x8' is not an input shape at column 1 of {{}}. {START}"),
        ("60x1 gru fc1", 6, "'gru' is incomplete or too long at column 6 of {}. Write gru50."),
        ("  conv20k5", 3, f"'conv20k5' is not an input shape at column 3 of {{}}. {START}"),
        ("1x28x28 cnv20k5", 9, f"Unknown layer 'cnv20k5' at column 9 of {{}}. {LAYERS}"),
        ("1x28x28 fc10 relu6", 14, f"Unknown layer 'relu6' at column 14 of {{}}. {LAYERS}"),
        ("784 FC10", 5, f"Unknown layer 'FC10' at column 5 of {{}}. {LAYERS}"),
        ("784 fc٣", 5, "'fc٣' is incomplete or too long at column 5 of {}. Write fc128."),
        (
            "1x28x28 conv20",
            9,
            "'conv20' is incomplete or too long at column 9 of {}. Write conv20k5, conv20k5s2same.",
        ),
        (
            f"784 fc{'9' * 5000}",
            5,
            f"'fc{'9' * 5000}' is incomplete or too long at column 5 of {{}}. Write fc128.",
        ),
        ("784 seed7 fc10", 5, "'seed7' is not the last word at column 5 of {}."),
        ("784 fc10 seed7 seed8", 10, "'seed7' is not the last word at column 10 of {}."),
    ],
    ids=lambda value: str(value)[:24],
)
def test_bad_notation_says_where(text: str, column: int, sentence: str) -> None:
    """What is not understood is shown with its column and the right form."""
    with pytest.raises(BadNotation) as caught:
        parse(text)
    assert str(caught.value) == sentence.format(f"'{text}'")
    assert caught.value.column == column


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1x28x28" + " conv20k5" * 7, "conv 7 of 7: 5×5 does not fit 4×4."),
        ("1x28x28 conv8k3 pool2 pool20", "pool 2 of 2: 20×20 does not fit 13×13."),
        ("1x28x4 conv8k5", "conv 1 of 1: 5×5 does not fit 28×4."),
        ("784 conv8k3", "conv 1 of 1 needs C×H×W, but gets 784 flat features."),
        ("1x28x28 fc10 pool2", "pool 1 of 1 needs C×H×W, but gets 10 flat features."),
        ("1x28x28 conv8k0", "conv 1 of 1 needs sizes of at least 1."),
        ("1x28x28 pool2s0", "pool 1 of 1 needs sizes of at least 1."),
        ("784 fc0", "fc 1 of 1 needs at least 1 neuron."),
        ("784 fc9 dropout1.0", "dropout 1 of 1 has rate 1.0, not one from 0 to below 1."),
        ("0x28x28 fc10", "input 0×28×28 needs sizes of at least 1."),
        (
            "28x28 fc10",
            "fc 1 of 1 takes no sequence of 28×28 (steps × features): put an lstm or gru before "
            "it, or begin with 784 flat features.",
        ),
        (
            "60x1 bn conv8k3",
            "conv 1 of 1 needs C×H×W, but gets a sequence of 60×1 (steps × features).",
        ),
        (
            "60x1 pool2",
            "pool 1 of 1 needs C×H×W, but gets a sequence of 60×1 (steps × features).",
        ),
        ("60 gru9 fc1", "gru 1 of 1 needs steps × features, but gets 60 flat features."),
        ("1x28x28 lstm9", "lstm 1 of 1 needs steps × features, but gets 1×28×28."),
        ("60x1 lstm9 gru0", "gru 1 of 1 needs at least 1 unit."),
        (
            "60x1 bn",
            "The network ends with a sequence of 60×1 (steps × features). Put an lstm or gru into "
            "it: the last one gives its last step only.",
        ),
        ("784", "A network needs at least one layer."),
        ("784 seed1", "A network needs at least one layer."),
    ],
)
def test_bad_shapes_name_the_layer(text: str, sentence: str) -> None:
    """What does not fit is named by its kind and its place among that kind."""
    with pytest.raises(BadShape) as caught:
        parse(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (Conv(8, 3, activation="gelu"), "conv 1 of 1 has an unknown activation, 'gelu'."),  # type: ignore[arg-type]
        (Act("gelu"), "activation 1 of 1 has an unknown activation, 'gelu'."),  # type: ignore[arg-type]
        (Conv(8, 3, padding="full"), "conv 1 of 1 has an unknown padding, 'full'."),  # type: ignore[arg-type]
        (Pool(2, 2, "min"), "pool 1 of 1 has an unknown mode, 'min'."),  # type: ignore[arg-type]
    ],
)
def test_layers_without_a_notation_are_refused(layer: Layer, sentence: str) -> None:
    """A network that could not be written down cannot be made."""
    with pytest.raises(BadShape) as caught:
        NetworkSpec((1, 28, 28), (layer,))
    assert str(caught.value) == sentence


def test_input_shapes_have_one_to_three_sides() -> None:
    """Four sizes are neither features, nor a sequence, nor C×H×W."""
    with pytest.raises(BadShape, match="1×1×28×28 is neither C×H×W, nor steps × features, nor a"):
        NetworkSpec((1, 1, 28, 28), (Dense(10),))


@pytest.mark.parametrize("seed", [-1, 10**18])
def test_seeds_without_a_notation_are_refused(seed: int) -> None:
    """A seed that could not be written down is refused when the network is made."""
    with pytest.raises(ValueError, match="seed must be in"):
        NetworkSpec((784,), (Dense(10),), seed=seed)


@pytest.mark.parametrize(
    ("text", "answer"),
    [("8 fc3", True), ("8 fc3 linear", False), ("8 fc3 dropout0.1 softmax dropout0.1", True)],
)
def test_probabilities_are_told_from_scores(text: str, answer: bool) -> None:
    """What ends in softmax, dropout aside, gives probabilities."""
    assert ends_in_softmax(parse(text)) is answer


# --- sequences ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        (
            "60x1 lstm50 lstm50 fc1 linear",
            (Lstm(50, steps=True), Lstm(50), Dense(1, "linear")),
        ),
        (
            "60x1 gru50 dropout0.2 bn gru50 fc1",
            (Gru(50, steps=True), Dropout(0.2), BatchNorm(), Gru(50), Dense(1, "softmax")),
        ),
        (
            "60x1 lstm50 relu lstm5 tanh relu bn",
            (Lstm(50, "relu", True), Lstm(5), Act("relu"), BatchNorm()),
        ),
    ],
)
def test_recurrent_layers_give_all_steps_to_the_next(text: str, layers: tuple[Layer, ...]) -> None:
    """Past norms, dropout and activations, and the last step else; the cell's word is behind."""
    spec = parse(text)
    assert spec.layers == layers
    assert spec.notation == text


def test_steps_go_through_brackets() -> None:
    """A branch gives all steps where a recurrent layer stands behind the bracket, or in it."""
    spec = parse("60x1 lstm3 [lstm5 | gru4 bn] gru6 fc1")
    assert spec.shapes == ((60, 3), (60, 9), (6,), (1,))
    assert parse("60x1 lstm3 [lstm5 | gru4 bn] fc1").shapes == ((60, 3), (9,), (1,))
    with pytest.raises(BadShape, match="cannot concatenate the shapes 5, 60×3"):
        parse("60x1 lstm3 [lstm5 | ] fc1")


def test_steps_that_the_notation_does_not_say_are_refused() -> None:
    """All steps with nothing behind them that reads them could not be written down."""
    with pytest.raises(BadShape, match="ends with a sequence of 60×5"):
        NetworkSpec((60, 1), (Lstm(5, steps=True), BatchNorm()))
    with pytest.raises(BadShape, match="lstm 2 of 2 needs steps × features"):
        NetworkSpec((60, 1), (Lstm(5), Lstm(5)))


# --- brackets -------------------------------------------------------------------------------------


def test_branches_are_read_and_written() -> None:
    """`|` concatenates, `+` adds, an empty branch is the input; activations as anywhere."""
    spec = parse("784 [fc64 relu bn fc128 | fc32 tanh] fc10")
    (both, _) = spec.layers
    assert isinstance(both, Branches)
    assert both.branches == (
        (Dense(64, "relu"), BatchNorm(), Dense(128, "relu")),
        (Dense(32, "tanh"),),
    )
    assert spec.shapes == ((160,), (10,))
    assert spec.notation == "784 [fc64 relu bn fc128 | fc32 tanh] fc10"
    added = parse("8x6x6[conv8k3same bn+]fc10")
    assert added.shapes[0] == (8, 6, 6)
    assert parse(added.notation) == added


def test_repetitions_are_layers() -> None:
    """A bracket with a number is so many times its layers; long lines are written so."""
    short = parse("784 2*[fc64 relu bn] fc10")
    assert short == parse("784 fc64 relu bn fc64 relu bn fc10")
    assert "[" not in short.notation
    long = parse("784 fc64 relu bn 5*[5*[fc512 relu bn] 3*[fc64 relu bn]] fc10")
    assert len(long.layers) == 1 + 1 + 5 * 8 * 2 + 1
    assert len(long.notation) < len(" ".join(["fc512 relu bn"] * 25))
    assert parse(long.notation) == long


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("784 [fc64 | fc32 fc10", "This bracket has no end at column 5"),
        ("784 fc64] fc10", r"'\]' has no bracket at column 9"),
        ("784 fc64 | fc10", r"'\|' has no bracket at column 10"),
        ("784 [fc6 | fc6 + fc6] fc10", "has | and +"),
        ("784 999999*[fc1] fc10", "More than 10000 layers"),
        ("784 [fc64 | fd32] fc10", "Unknown layer 'fd32' at column 13"),
    ],
)
def test_slips_in_brackets_are_sentences(text: str, said: str) -> None:
    """Each says what is wrong, and where."""
    with pytest.raises(BadNotation, match=said):
        parse(text)


def test_branches_that_do_not_fit_are_refused() -> None:
    """Shapes that cannot be joined are told, and the layer inside a branch that does not fit."""
    with pytest.raises(BadShape, match="cannot add outputs of the shapes 3, 4"):
        parse("784 [fc3 + fc4] fc10")
    with pytest.raises(BadShape, match="cannot concatenate the shapes"):
        parse("1x28x28 [conv3k3 | conv3k5] fc10")
    with pytest.raises(BadShape, match="branch 2, layer 1"):
        parse("1x4x4 [conv3k3 | conv3k5] fc10")
