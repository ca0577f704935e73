"""The parameter grids of the studies, and the one place that turns a user's text into a network.

Source of the four groups: Mattsson 2016, section 3.1: one ConvLayer where FC layers vary, one FC
layer where ConvLayers vary, depth 20 and 128 neurons where not said otherwise, batch 1024 in
groups 3 and 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from nnprof.errors import BadNotation, UnknownName
from nnprof.networks.spec import Conv, Dense, Layer, NetworkSpec, Pool, parse

BATCHES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
LAYERS = (1, 2, 3, 4, 5)
NEURONS = (128, 256, 512, 1024, 2048)
NEURONS_EARLIER = (100, 200, 400, 800, 1600)
DEPTHS = (5, 10, 20, 40, 80)


def mattsson(
    conv: int = 1, fc: int = 1, depth: int = 20, neurons: int = 128, seed: int = 0
) -> NetworkSpec:
    """`conv` ConvLayers (5×5, stride 1, valid, ReLU), one 2×2 max-pool, `fc` hidden FC, FC 10.

    Raises:
        BadShape: more ConvLayers than 28×28 tiles can hold.
    """
    layers: list[Layer] = [Conv(depth, 5)] * conv
    if conv:
        layers.append(Pool(2, 2))
    layers += [Dense(neurons)] * fc
    layers.append(Dense(10, "softmax"))
    parameters = {"conv": conv, "fc": fc, "depth": depth, "neurons": neurons}
    return NetworkSpec((1, 28, 28), tuple(layers), "mattsson", parameters, seed)


FAMILIES: dict[str, Callable[..., NetworkSpec]] = {"mattsson": mattsson}

_CALL = re.compile(r"\s*(?P<family>[a-z_]\w*)\s*\((?P<arguments>[^()]*)\)\s*")
_ARGUMENT = re.compile(r"\s*(?P<name>[a-z]+)\s*=\s*(?P<value>\d+)\s*")
_PARAMETERS = ("conv", "fc", "depth", "neurons", "seed")


def parse_network(text: str) -> NetworkSpec:
    """The network that a user's text stands for: notation, or a family's call.

    Raises:
        BadNotation, BadShape: see `nnprof.networks.spec.parse`.
        UnknownName: no family of that name.
    """
    call = _CALL.fullmatch(text)
    if not call:
        return parse(text)
    if call["family"] not in FAMILIES:
        raise UnknownName("family", call["family"], FAMILIES)
    arguments: dict[str, int] = {}
    column = call.start("arguments") + 1
    for part in call["arguments"].split(",") if call["arguments"].strip() else ():
        match = _ARGUMENT.fullmatch(part)
        if not match or match["name"] not in _PARAMETERS or match["name"] in arguments:
            remedy = f"Write name=number, each once, of: {', '.join(_PARAMETERS)}."
            raise BadNotation(text, column, f"'{part.strip()}' is not understood", remedy)
        arguments[match["name"]] = int(match["value"])
        column += len(part) + 1
    return FAMILIES[call["family"]](**arguments)


def group1() -> Iterator[tuple[NetworkSpec, int]]:
    """FC layers 1-5 × batch 16…4096, one ConvLayer."""
    return ((mattsson(conv=1, fc=fc), batch) for fc in LAYERS for batch in BATCHES)


def group2() -> Iterator[tuple[NetworkSpec, int]]:
    """ConvLayers 1-5 × batch 16…4096, one FC layer."""
    return ((mattsson(conv=conv, fc=1), batch) for conv in LAYERS for batch in BATCHES)


def group3() -> Iterator[tuple[NetworkSpec, int]]:
    """FC layers 1-5 × neurons 128…2048, one ConvLayer, batch 1024."""
    return ((mattsson(fc=fc, neurons=neurons), 1024) for fc in LAYERS for neurons in NEURONS)


def group3_100() -> Iterator[tuple[NetworkSpec, int]]:
    """Group 3 with the neurons tried first, 100…1600 (section 4.1 says why they were left)."""
    return (
        (mattsson(fc=fc, neurons=neurons), 1024) for fc in LAYERS for neurons in NEURONS_EARLIER
    )


def group4() -> Iterator[tuple[NetworkSpec, int]]:
    """ConvLayers 1-5 × depth 5…80, one FC layer, batch 1024."""
    return ((mattsson(conv=conv, depth=depth), 1024) for conv in LAYERS for depth in DEPTHS)
