"""Where the batch of a model lies, from what it declares."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given as over
from hypothesis import strategies as some
from msgspec.structs import replace

from nnprof.errors import UsageError
from nnprof.exporters import axes
from nnprof.types import Model, Tensor

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class _Case:
    """What a stranger's file declares, in the order of its inputs, and what follows."""

    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    found: tuple[int | None, ...]
    how: str


_FREE = [
    _Case((("batch", 1, 28, 28),), (("batch", 10),), (0,), "declared"),
    _Case((("?", 3, 32, 32),), (("?", 10),), (0,), "declared"),
    _Case((("?", 3, "?", "?"),), (("?", 10),), (0,), "declared"),
    _Case((("rows", 32),), (("pairs", 16),), (0,), "declared"),
    _Case((("batch_size", "sequence_length"),) * 3, (("batch_size", 2),), (0, 0, 0), "declared"),
    _Case((("seq", "batch", 16),), (("seq", 1, "batch", 32),), (1,), "declared"),
    _Case((("T", "N", 16),), (("T", "N", 4),), (1,), "declared"),
    _Case((("batch", 64), (2, "batch", 32)), (("batch", 32),), (0, 1), "declared"),
    _Case((("batch", 64), (32, 10)), (("batch", 10),), (0, None), "declared"),
    _Case((("batch", 64), ()), (("batch", 32),), (0, None), "declared"),
    _Case((("s0", 16), (2, "s0", 8)), (("s0", 16),), (0, 1), "declared"),
    _Case((("batch", "N", 3),), (("batch", 40),), (0,), "declared"),
    # torch's list of dynamic axes calls equal sides by different names.
    _Case((("a_dynamic_axes_1", 4), ("b_dynamic_axes_1", 3)), (("y", 2),), (0, 0), "declared"),
    # Either may be the batch.
    _Case((("?", "?", 16),), (("?", "?", 32),), (0,), "guessed"),
    _Case((("s0", "s1", 16),), (("s1", 10),), (1,), "guessed"),
    _Case((("time", "?", 16),), (("time", "?", 4),), (1,), "guessed"),
    _Case((("batch", 64), ("?", 3)), (("batch", 32),), (0, 0), "guessed"),
    _Case((("rows", 64), ("others", 3)), (("y", 32),), (0, 0), "guessed"),
    # A free side that is called after something else, or stands behind a fixed one.
    _Case((("nodes", 16), (2, "edges")), (("nodes", 4),), (None, None), "none"),
    _Case((("samples",),), (("samples",),), (None,), "none"),
    _Case((("height", "width", 3),), (("boxes", 4),), (None,), "none"),
    _Case(((1, "?", 80),), ((1, "?", 40),), (0,), "declared"),
]
_BOUND = [
    _Case(((1, 3, 224, 224),), ((1, 1000),), (0,), "declared"),
    _Case(((1, 3, 800, 800),), (("boxes", 4), ("boxes",)), (0,), "declared"),
    _Case(((8, 1, 28, 28),), ((8, 10),), (0,), "guessed"),
    _Case(((8, 784),), ((8, 10),), (0,), "guessed"),
    _Case(((8, 100, 16),), ((8, 10),), (0,), "guessed"),
    _Case(((8, 512), (2, 8, 64)), ((8, 1), (2, 8, 64)), (0, None), "guessed"),
    _Case(((1, 512), (2, 1, 64), ()), ((1, 1), (2, 1, 64)), (0, None, None), "declared"),
    _Case(((4, 10, 16), (1, 4, 8)), ((1, 4, 8),), (None, None), "none"),
    _Case(((1, 4, 8), (4, 10, 16)), ((1, 4, 8),), (None, None), "none"),
    _Case(((10, 1, 16), (1, 1, 8)), ((1, 1, 8),), (None, 0), "declared"),
    _Case(((300, 4), (1, 3, 64, 64)), ((1, 300, 2),), (None, 0), "declared"),
    _Case(((3, 64, 64),), ((1, 8, 62, 62),), (None,), "none"),
    _Case(((3, 64, 64),), ((3, 64, 64),), (None,), "none"),
    _Case(((3, 64, 64),), (("boxes", 4),), (None,), "none"),
    _Case(((16, 3, 112, 112),), ((1, 400),), (None,), "none"),
    _Case(((100, 2, 16),), ((100, 2, 32),), (None,), "none"),
    _Case(((28, 28),), ((28, 28),), (None,), "none"),
    _Case(((28, 28),), ((10,),), (None,), "none"),
    _Case(((480, 640, 3),), ((1, 1000),), (None,), "none"),
    _Case(((5000, 64), (4, 16)), ((4, 16, 64),), (None, 0), "guessed"),
    _Case(((100, "?", 16),), ((1, "?", 32),), (None,), "none"),
    _Case(((16000,),), ((16000,),), (None,), "none"),
    _Case(((16000,),), ((1, 4),), (None,), "none"),
    _Case(((),), ((),), (None,), "none"),
]


@pytest.mark.parametrize("case", _FREE + _BOUND, ids=lambda case: "×".join(map(str, case.inputs)))
def test_the_batch_is_where_the_file_says(case: _Case) -> None:
    """Free sides by their names and places, fixed ones by the outputs; nothing where none tells."""
    model = _model(case.inputs, case.outputs)
    assert tuple(model.axes.get(tensor.name) for tensor in model.inputs) == case.found
    assert model.batch_from == case.how


def test_bound_models_tell_their_batch() -> None:
    """A file is bound to its fixed side, and an unbatched one to a single inference."""
    assert _model(((8, 1, 28, 28),), ((8, 10),)).fixed_batch == 8
    assert _model(((3, 64, 64),), ((3, 64, 64),)).fixed_batch == 1
    assert _model((("batch", 4),), (("batch", 4),)).fixed_batch is None


def test_runs_of_before_keep_the_first_axis() -> None:
    """A Model without recorded axes means what it meant: axis 0 of the first input."""
    image = replace(_model(((3, 64, 64),), ((3, 64, 64),)), batch_axes=None, batch_from="")
    assert image.axes == {"x0": 0}
    assert image.fixed_batch == 3


def test_the_user_has_the_last_word() -> None:
    """A given axis replaces the one found; other inputs follow the name of its side."""
    model = _model((("a", "e", 16), (2, "e", 8)), (("a", "e", 4),))
    told = axes.given(model, {"x0": -2})
    assert (told.axes, told.batch_from) == ({"x0": 1, "x1": 1}, "given")
    assert axes.given(model, {"x1": None}).axes == {"x0": 0}
    assert axes.given(model, {axes.ALL: None}).axes == {}
    assert axes.given(model, {"of another model": 3}) is model


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"x0": 3}, "Input 'x0' has no axis 3: its axes are 0 to 2."),
        ({"x0": -4}, "Input 'x0' has no axis -4: its axes are 0 to 2."),
        ({"x2": 0}, "Input 'x2' has no axis 0: it is a scalar."),
        ({"x0": 0, "x1": 0}, "net would have batches of several sizes: 8 on axis 0 of x0, "),
    ],
)
def test_impossible_axes_are_refused(told: dict[str, int | None], reason: str) -> None:
    """An axis that an input does not have, and batches that differ, get a sentence."""
    model = _model(((8, 4, 16), (2, 8), ()), ((8, 4),))
    with pytest.raises(UsageError) as caught:
        axes.given(model, told)
    assert caught.value.reason.startswith(reason)


_SIDES = some.one_of(
    some.integers(1, 9), some.sampled_from(["batch", "N", "?", "seq", "s0", "s1", "height"])
)
_SHAPES = some.lists(some.lists(_SIDES, max_size=4).map(tuple), min_size=1, max_size=4)


@over(_SHAPES, _SHAPES)
def test_any_declaration_has_an_answer(inputs: list[Shape], outputs: list[Shape]) -> None:
    """Whatever is declared, each axis found is one of its input, and all bound ones are equal."""
    model = _model(tuple(inputs), tuple(outputs))  # a Model refuses axes that are not there
    fixed = {
        tensor.shape[model.axes[tensor.name]]
        for tensor in model.inputs
        if tensor.name in model.axes
    }
    assert len({side for side in fixed if isinstance(side, int)}) < 2
    assert (model.batch_from == "none") == (not model.axes)


def _model(inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> Model:
    declared, made = (
        tuple(
            Tensor(name=f"{letter}{index}", dtype="float32", shape=shape)
            for index, shape in enumerate(shapes)
        )
        for letter, shapes in (("x", inputs), ("y", outputs))
    )
    found = axes.find(declared, made)
    return Model(
        name="net",
        path="net.onnx",
        sha256="0" * 64,
        opset=17,
        inputs=declared,
        outputs=made,
        batch_axes=found.axes,
        batch_from=found.how,
    )
