"""Where a model's batch lies, from the sides that its inputs and outputs declare. Pure.

Nothing in ONNX says which side counts tiles. The batch is the first of these that a model has:

1. a free side that is called batch (or N, B), wherever it stands, on every input that has it;
2. a free side that inputs share and outputs begin with, or else the first side, where that is free
   and not called after something else (time, sequence, height, points, …);
3. a fixed first side: 1, or a number that the outputs have, too.

An image (3, H, W), a signal (16000,) and a table of 300 anchors have no batch. A batch is called
guessed, and people are told, where the file allows more than one reading.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from nnprof.errors import UsageError
from nnprof.types import BatchFrom, Model, Tensor

UNNAMED = "?"
ALL = ""  # instead of an input's name: no input has a batch
_BATCH = re.compile(r"[\w.:/-]*batch[\w.:/-]*|bsz?", re.IGNORECASE)
_LETTER = re.compile(r"[nb]", re.IGNORECASE)
_OTHER = re.compile(
    r"seq|time|len|step|frame|token|height|width|channel|feature|point|anchor|box|node|edge|roi"
    r"|propos|quer|(?<![a-z0-9])[tlshwcdf](?![a-z0-9])",
    re.IGNORECASE,
)
# Names that converters make up, each for one side: equal sides have different ones.
_MADE_UP = re.compile(r"\?|.*dynamic_axes_\d+|unk_\w*|DynamicDimension\.\d+|-?\d+|None")
_COLOURS = (3, 4)


class Found(NamedTuple):
    """Axis of the batch by input, and how it was found: "declared", "guessed" or "none"."""

    axes: dict[str, int]
    how: BatchFrom


def find(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Found:
    """The batch axis of each input that has a batch."""
    return _called(inputs) or _free(inputs, outputs) or _fixed(inputs, outputs) or Found({}, "none")


def _called(inputs: Sequence[Tensor]) -> Found | None:
    for word in (_BATCH, _LETTER):
        names = {side for one in inputs for side in _named(one) if word.fullmatch(side)}
        if names:
            axes = _axes_of(inputs, names)
            unnamed = {
                one.name: 0
                for one in inputs
                if one.name not in axes and one.shape and _made_up(one.shape[0])
            }
            used = {one.shape[axes[one.name]] for one in inputs if one.name in axes}
            sure = not unnamed and len(used) == 1
            return Found({**axes, **unnamed}, "declared" if sure else "guessed")
    return None


def _free(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Found | None:
    """Free sides that no name calls a batch."""
    own = {name for one in inputs for name in _named(one) if _plausible(name)}
    begun = own & {one.shape[0] for one in outputs if one.shape}
    names: set[str] = {str(name) for name in begun} if len(begun) == 1 else set()
    # A free vector alone may be a signal; beside tiles it holds a number for each.
    axes = _axes_of([one for one in inputs if len(one.shape) > 1], names)
    for one in inputs:
        axis = _first_free(one)
        if one.name in axes or axis is None or (names and not _made_up(one.shape[axis])):
            continue
        if len(one.shape) > 1:
            axes[one.name] = axis
    used = {one.shape[axes[one.name]] for one in inputs if one.name in axes}
    if not used:
        return None
    for one in inputs:
        if len(one.shape) == 1 and (one.shape[0] in used or _made_up(one.shape[0])):
            axes.setdefault(one.name, 0)
    first = {one.shape[0] for one in inputs if axes.get(one.name) == 0}
    clear = all(
        not _plausible(one.shape[1]) if axes[one.name] == 0 else one.shape[axes[one.name]] in first
        for one in inputs
        if one.name in axes and len(one.shape) > 1
    )
    one_name = len({side for side in used if not _made_up(side)}) < 2
    return Found(axes, "declared" if clear and one_name else "guessed")


def _fixed(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Found | None:
    """A batch that the file is bound to."""
    for one in inputs:
        size = one.shape[0] if len(one.shape) > 1 else None
        alone = size == 1 and not _is_state(one, inputs)
        if isinstance(size, int) and (alone or _is_bound(one, size, outputs)):
            least = 2 if size == 1 else 1  # a lone number is not known to be a tile
            axes = {t.name: 0 for t in inputs if len(t.shape) >= least and t.shape[0] == size}
            return Found(axes, "declared" if size == 1 else "guessed")
    return None


def _is_state(tensor: Tensor, inputs: Sequence[Tensor]) -> bool:
    """Whether a first side of 1 may count layers: the one after it begins an input without a 1."""
    return len(tensor.shape) > 2 and any(
        1 not in one.shape and len(one.shape) > 1 and one.shape[0] == tensor.shape[1]
        for one in inputs
    )


def _is_bound(tensor: Tensor, size: int, outputs: Sequence[Tensor]) -> bool:
    """Whether the outputs say that `size` things go through side by side.

    Three sides may as well be (colours, height, width) or (time, 1, features): then every output
    must be one row per thing. Two may be (height, width): then a row must come out as another.
    """
    begun = any(one.shape and one.shape[0] == size for one in outputs)
    kept = all(
        size in one.shape or not one.shape or isinstance(one.shape[0], str) for one in outputs
    )
    rows = all(len(one.shape) < 3 for one in outputs) and size not in _COLOURS
    changed = any(one.shape != tensor.shape for one in outputs)
    return begun and kept and {2: changed, 3: rows}.get(len(tensor.shape), True)


def _named(tensor: Tensor) -> list[str]:
    return [side for side in tensor.shape if isinstance(side, str) and not _MADE_UP.fullmatch(side)]


def _made_up(side: int | str) -> bool:
    return isinstance(side, str) and bool(_MADE_UP.fullmatch(side))


def _plausible(side: int | str) -> bool:
    return isinstance(side, str) and (_made_up(side) or not _OTHER.search(side))


def _axes_of(inputs: Sequence[Tensor], names: set[str]) -> dict[str, int]:
    return {
        one.name: next(axis for axis, side in enumerate(one.shape) if side in names)
        for one in inputs
        if names & set(one.shape)
    }


def _first_free(tensor: Tensor) -> int | None:
    """The first free side that may be a batch, unless a fixed side comes before it."""
    for axis, side in enumerate(tensor.shape):
        if _plausible(side):
            return axis
        if isinstance(side, int):
            return None
    return None


# --- arrays ---------------------------------------------------------------------------------------


def front(array: NDArray[Any], axis: int | None) -> NDArray[Any]:
    """An input's array with its batch in front; without a batch axis, it is a batch of one."""
    return array[np.newaxis] if axis is None else np.moveaxis(array, axis, 0)


def back(tiles: NDArray[Any], axis: int | None) -> NDArray[Any]:
    """Tiles (N, …) as the input wants them: the inverse of `front`."""
    return tiles[0] if axis is None else np.moveaxis(tiles, 0, axis)


# --- what the user says ---------------------------------------------------------------------------


def given(model: Model, axes: Mapping[str, int | None]) -> Model:
    """The model with its batch where the user says.

    Args:
        model: any.
        axes: axis by input, from the end where negative; None: that input has no batch. Inputs that
            the model does not have are left out. `ALL` → None: no input has a batch.

    Raises:
        UsageError: an input has no such axis, or the inputs do not agree on a fixed batch.
    """
    own = {one.name: one for one in model.inputs}
    told = {name: _axis(own[name], axis) for name, axis in axes.items() if name in own}
    if ALL in axes:
        told = {**dict.fromkeys(own), **told}
    if not told:
        return model
    chosen = {name: axis for name, axis in told.items() if axis is not None}
    sides = {own[name].shape[axis] for name, axis in chosen.items()}
    others = [one for one in model.inputs if one.name not in told]
    names = {side for side in sides if isinstance(side, str) and not _made_up(side)}
    kept = _axes_of(others, names)
    if not names:
        # Without a name to follow, an axis that was found stays where it does not contradict.
        kept = {
            one.name: model.axes[one.name]
            for one in others
            if one.name in model.axes and _agrees(one.shape[model.axes[one.name]], sides)
        }
    result = replace(model, batch_axes={**kept, **chosen}, batch_from="given")
    _check_agree(result)
    return result


def _agrees(side: int | str, sides: set[int | str]) -> bool:
    return isinstance(side, str) or not any(isinstance(one, int) for one in sides - {side})


def _axis(tensor: Tensor, axis: int | None) -> int | None:
    rank = len(tensor.shape)
    if axis is None or -rank <= axis < rank:
        return axis if axis is None else axis % rank
    axes = f"its axes are 0 to {rank - 1}" if rank else "it is a scalar"
    raise UsageError(
        f"Input '{tensor.name}' has no axis {axis}: {axes}.",
        f"Give one of them, or --batch-axis {tensor.name}=none.",
    )


def _check_agree(model: Model) -> None:
    fixed = {
        name: side
        for name, axis in model.axes.items()
        if isinstance(side := _shape_of(model, name)[axis], int)
    }
    if len(set(fixed.values())) > 1:
        listed = ", ".join(
            f"{side} on axis {model.axes[name]} of {name}" for name, side in fixed.items()
        )
        raise UsageError(
            f"{model.name} would have batches of several sizes: {listed}.",
            "Give --batch-axis INPUT=none for those that hold no batch.",
        )


def _shape_of(model: Model, name: str) -> tuple[int | str, ...]:
    return next(one.shape for one in model.inputs if one.name == name)
