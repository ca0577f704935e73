"""Whether an exported model computes what its network computes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from nnprof.errors import Disagreement, Unavailable
from nnprof.networks.checkpoint import Source
from nnprof.types import Model

MAX_DIFFERENCE = 1e-4
# Two classes tie when their outputs differ by at most TIE · max(1, |largest output|).
TIE = 1e-6
_CHUNK = 500


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How well a model agrees with its torch module.

    Attributes:
        max_difference: largest difference of two outputs; for outputs that are not probabilities
            relative to the largest output of all, where that is above 1.
        top1_agreement: share of the tiles that get the same class, ties allowed.
        tiles: number of tiles compared.
        runtime: the program that ran the ONNX file: "onnxruntime" or "onnx.reference".
        rounding: the same difference between torch in float32 and in float64, where the file's is
            above `MAX_DIFFERENCE`; else None.
    """

    max_difference: float
    top1_agreement: float
    tiles: int
    runtime: str
    rounding: float | None = None


def check_against_torch(model: Model, module: Any, tiles: NDArray[Any]) -> Agreement:
    """How the file and the torch module agree on the same raw tiles (N, …), 0…255.

    Raises:
        Unavailable: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise Unavailable(
            "torch is not installed.", "Try: pip install 'nnprof-embedded[train]'."
        ) from error
    runtime, run = _runner(model)
    module.eval()
    difference, scale, agreeing = 0.0, 1.0, 0
    for start in range(0, len(tiles), _CHUNK):
        chunk = np.ascontiguousarray(tiles[start : start + _CHUNK], dtype=np.float32)
        with torch.no_grad():
            expected = module(torch.from_numpy(chunk)).numpy()
        actual = run(chunk)
        difference = max(difference, float(np.abs(expected - actual).max()))
        scale = max(scale, float(np.abs(expected).max()))
        agreeing += same_class(expected, actual)
    above = not difference <= MAX_DIFFERENCE * scale
    return Agreement(
        rounding=_rounding(module, tiles) / scale if above else None,
        max_difference=difference / scale,
        top1_agreement=agreeing / len(tiles),
        tiles=len(tiles),
        runtime=runtime,
    )


def require_agreement(model: Model, agreement: Agreement) -> None:
    """Refuse a model that does not compute what its network computes.

    Raises:
        Disagreement: outputs differ by more than 1e-4, are not numbers, or a class differs.
    """
    # Written as what is allowed, so that NaN is refused, too.
    if agreement.max_difference <= MAX_DIFFERENCE and agreement.top1_agreement == 1:
        return
    if agreement.rounding is not None and agreement.rounding > MAX_DIFFERENCE:
        raise Disagreement(
            f"'{model.name}' makes roundings large: on these {agreement.tiles} inputs torch in "
            f"float32 differs from torch in float64 by {agreement.rounding:.2g}, so whether the "
            "file computes the same cannot be told.",
            "Train it so that its outputs stay small on the test inputs, too.",
        )
    raise Disagreement(
        f"The exported '{model.name}' differs from its network by up to "
        f"{agreement.max_difference:.2g} and gives the same class for "
        f"{agreement.top1_agreement:.2%} of {agreement.tiles} tiles.",
        "Do not use the file; report this with the network, and the versions of torch and onnx.",
    )


def _rounding(module: Any, tiles: NDArray[Any]) -> float:
    """The largest difference of two outputs of torch, in float32 and in float64."""
    import torch

    double, found = copy.deepcopy(module).double(), 0.0
    for start in range(0, len(tiles), _CHUNK):
        chunk = torch.from_numpy(np.ascontiguousarray(tiles[start : start + _CHUNK], np.float32))
        with torch.no_grad():
            found = max(found, float((module(chunk) - double(chunk.double())).abs().max()))
    return found


def same_class(expected: NDArray[np.float32], actual: NDArray[np.float32]) -> int:
    """Number of rows with the same largest output; of classes that tie in `expected` any will do.

    Outputs of a network that ends in a convolution are flattened to rows.
    """
    expected = expected.reshape(len(expected), -1)
    chosen = actual.reshape(len(actual), -1).argmax(axis=1)
    best = expected.max(axis=1)
    got = expected[np.arange(len(expected)), chosen]
    return int((best - got <= TIE * np.maximum(1, np.abs(best))).sum())


def generated_tiles(shape: tuple[int, ...], count: int = 64, seed: int = 0) -> NDArray[np.float32]:
    """Random tiles of values 0…255: float32 of shape (count, *shape)."""
    values = np.random.default_rng(seed).integers(0, 256, (count, *shape))
    return values.astype(np.float32)


def generated_for(source: Source, count: int = 64) -> NDArray[np.float32]:
    """Random inputs of a network: tiles, or for sequences values like those of its training.

    What a sequence holds need be no byte: far beyond what was trained on, a cell with ReLU grows
    from step to step, and roundings with it.
    """
    shape = source.spec.input_shape
    if len(shape) != 2:
        return generated_tiles(shape, count)
    drawn = np.random.default_rng(0).normal(source.mean, source.std, (count, *shape))
    return drawn.astype(np.float32)


def _runner(model: Model) -> tuple[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]]:
    """ONNX Runtime where it is installed, else the slow reference of onnx itself."""
    name = model.inputs[0].name
    session: Any
    try:
        import onnxruntime

        runtime = "onnxruntime"
        session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        runtime = "onnx.reference"
        session = ReferenceEvaluator(model.path)
    return runtime, lambda tiles: np.asarray(session.run(None, {name: tiles})[0])
