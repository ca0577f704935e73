"""Weights and multiply-adds of a network, from its shapes alone; nothing is measured.

They are counted as Li's tables have them (which are torchinfo's): weights of convolutions and fully
connected layers with their biases, batch norm left out; multiply-adds are those weights, of a
convolution once for each pixel that comes out, and of a recurrent layer once for each step. Biases
of recurrent layers are those that `networks/recurrent.py` trains.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

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
)
from nnprof.networks.shapes import Shape, channel_axis
from nnprof.networks.spec import NetworkSpec

_FLOAT = 4  # bytes


class Counted(NamedTuple):
    """What a network, or a part of one, has.

    Attributes:
        weights: numbers that convolutions, fully connected and recurrent layers learn, biases
            included.
        norm_weights: numbers that batch norms learn: a scale and a shift for each channel.
        mult_adds: multiply-adds of one tile.
    """

    weights: int = 0
    norm_weights: int = 0
    mult_adds: int = 0


def counted(spec: NetworkSpec) -> Counted:
    """Weights and multiply-adds of one tile; those of a batch are so many times as much."""
    return _of(spec.layers, spec.input_shape)


def by_layer(spec: NetworkSpec) -> tuple[tuple[Layer, Shape, Counted], ...]:
    """Each layer with the shape of its output and what it has."""
    shapes = (spec.input_shape, *spec.shapes)
    return tuple(
        (layer, after, _one(layer, before, after))
        for layer, before, after in zip(spec.layers, shapes, shapes[1:], strict=False)
    )


def least_bytes(spec: NetworkSpec, batch: int) -> tuple[int, int]:
    """Of weights, and of the most that one layer reads and makes at once, in fp32: a lower bound.

    Activations, batch norm and dropout may work in place, and so count nothing of their own. Of an
    exported file `nnprof.profiler.graph.least` tells more closely.
    """
    total, before, most = counted(spec), spec.input_shape, 0
    for layer, after, _ in by_layer(spec):
        own = 0 if isinstance(layer, BatchNorm | Dropout | Act) else math.prod(after)
        most, before = max(most, math.prod(before) + own), after
    return _FLOAT * (total.weights + total.norm_weights), _FLOAT * batch * most


def _of(layers: Iterable[Layer], shape: Shape) -> Counted:
    total = Counted()
    for layer in layers:
        after = layer.after(shape, layer.CALLED)
        total = _sum((total, _one(layer, shape, after)))
        shape = after
    return total


def _one(layer: Layer, shape: Shape, after: Shape) -> Counted:
    match layer:
        case Conv():
            weights = layer.depth * (shape[0] * layer.kernel**2 + 1)
            return Counted(weights, 0, weights * math.prod(after[1:]))
        case Dense():
            weights = layer.neurons * (math.prod(shape) + 1)
            return Counted(weights, 0, weights)
        case Lstm() | Gru():
            biases = 1 if isinstance(layer, Lstm) else 2
            weights = layer.GATES * layer.units * (shape[1] + layer.units + biases)
            return Counted(weights, 0, weights * shape[0])
        case BatchNorm():
            return Counted(0, 2 * shape[channel_axis(shape)], 0)
        case Branches():
            return _sum(_of(branch, shape) for branch in layer.branches)
        case Pool() | Dropout() | Act():
            return Counted()
        case _:
            raise TypeError(f"nobody counts a layer of the kind {type(layer).__name__}")


def _sum(parts: Iterable[Counted]) -> Counted:
    return Counted(*map(sum, zip(*parts, strict=True)))
