"""Random networks around a family: what a model of that family will be asked about.

A family varies a few numbers, and all its layers share them. People then change single layers, so
here each layer has a size of its own, uniform in its logarithm over the family's range and a little
beyond, and a kernel of its own; any number of the hidden FC layers is left out. One network in six
has no ConvLayer, one in eight is padded ("same"), one in eight has average pools. One batch in
eight is the smallest; the logarithms of the others are spread evenly (multiples of the golden
ratio), so that even few networks have small and large ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.random import Generator

from nnprof.errors import BadShape, UsageError
from nnprof.networks.layers import Conv, Dense, Layer, Pool
from nnprof.networks.spaces import Space
from nnprof.networks.spec import NetworkSpec

_BEYOND = (0.5, 1.2)  # times the family's smallest and largest sizes
_SMALL_KERNEL = 3  # beside the family's own
_PLAIN, _PADDED, _AVERAGED, _SMALLEST = 1 / 6, 1 / 8, 1 / 8, 1 / 8
_GOLDEN = (math.sqrt(5) - 1) / 2
_TRIES = 1000


class Asked(NamedTuple):
    """A network and a batch."""

    spec: NetworkSpec
    batch: int


class Ranges(NamedTuple):
    """Sizes of layers that the networks of a family have, each (smallest, largest)."""

    depth: tuple[int, int]
    width: tuple[int, int]


def ranges(space: Space) -> Ranges:
    """The sizes of a family's layers, the last one apart: it has as many outputs as classes.

    Raises:
        UsageError: the family has no network.
    """
    ends = [
        next(iter(space._replace(choices=choices).specs()), None)
        for choices in (
            {name: values[:1] for name, values in space.choices.items()},
            {name: values[-1:] for name, values in space.choices.items()},
        )
    ]
    layers = [layer for spec in ends if spec for layer in spec.layers[:-1]]
    if not layers and not any(ends):
        raise UsageError("The family has no such network.", "Widen the ranges.")
    depths = [layer.depth for layer in layers if isinstance(layer, Conv)]
    widths = [layer.neurons for layer in layers if isinstance(layer, Dense)]
    return Ranges(_reach(depths or [1]), _reach(widths or [1]))


def _reach(sizes: Sequence[int]) -> tuple[int, int]:
    return max(1, round(min(sizes) * _BEYOND[0])), max(1, round(max(sizes) * _BEYOND[1]))


def draws(space: Space, batches: Sequence[int], seed: int, count: int) -> list[Asked]:
    """Random networks around a family, at batches from the smallest to the largest of these.

    Raises:
        UsageError: the family has no network.
    """
    random, sizes = np.random.default_rng(seed), ranges(space)
    first = float(random.random())
    return [
        Asked(_network(space, sizes, random), _batch(batches, (first + at * _GOLDEN) % 1))
        for at in range(count)
    ]


def _network(space: Space, sizes: Ranges, random: Generator) -> NetworkSpec:
    for _ in range(_TRIES):
        choices: dict[str, tuple[int, ...]] = {
            name: (int(random.choice(found)),) for name, found in space.choices.items()
        }
        spec = next(iter(space._replace(choices=choices).specs()), None)
        if spec is None:
            continue
        with suppress(BadShape):  # where the layers do not fit together
            return NetworkSpec(spec.input_shape, _varied(spec.layers, sizes, random))
    raise UsageError("The family has no such network.", "Widen the ranges.")


def _varied(layers: Sequence[Layer], sizes: Ranges, random: Generator) -> tuple[Layer, ...]:
    """The layers with sizes of their own."""
    if random.random() < _PLAIN:
        layers = [layer for layer in layers if not isinstance(layer, Conv | Pool)]
    hidden = sum(isinstance(layer, Dense) for layer in layers[:-1])
    left_out = int(random.integers(hidden + 1))
    layers = [*layers[: len(layers) - 1 - left_out], layers[-1]]
    padded, averaged = random.random() < _PADDED, random.random() < _AVERAGED
    result: list[Layer] = []
    for layer in layers[:-1]:
        if isinstance(layer, Conv):
            kernel = int(random.choice([_SMALL_KERNEL, layer.kernel]))
            layer = replace(layer, depth=_between(*sizes.depth, random), kernel=kernel)
            layer = replace(layer, padding="same") if padded else layer
        elif isinstance(layer, Dense):
            layer = replace(layer, neurons=_between(*sizes.width, random))
        elif isinstance(layer, Pool) and averaged:
            layer = replace(layer, mode="avg")
        result.append(layer)
    return (*result, layers[-1])


def _batch(batches: Sequence[int], place: float) -> int:
    """The batch at a place from 0 to 1: the smallest, or as far along in the logarithm."""
    low, high = min(batches), max(batches)
    along = max(0.0, place - _SMALLEST) / (1 - _SMALLEST)
    return round(low * math.exp(along * math.log(high / low)))


def _between(low: int, high: int, random: Generator) -> int:
    """A whole number, uniform in its logarithm."""
    return round(math.exp(random.uniform(math.log(low), math.log(high))))
