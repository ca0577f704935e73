"""Families of networks, the studies made of them, and `parse_network`: a user's text → a network.

A new family is a function here and its entry in `FAMILIES`. A new study is a function without
arguments that yields (network, batch), and a line under `nnprof.studies` in setup.cfg.

Source of the four groups: Mattsson 2016, section 3.1: one ConvLayer where FC layers vary, one FC
layer where ConvLayers vary, depth 20 where it does not vary; section 4.1: batch 1024 in groups 3
and 4. Of the neurons in groups 1, 2 and 4 the thesis says nothing: 128 is our choice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from inspect import signature
from typing import NamedTuple

from nnprof.errors import BadNotation, BadShape, UnknownName
from nnprof.networks.layers import Conv, Dense, Layer, Pool
from nnprof.networks.spec import NetworkSpec, parse

BATCHES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
LAYERS = (1, 2, 3, 4, 5)
NEURONS = (128, 256, 512, 1024, 2048)
NEURONS_EARLIER = (100, 200, 400, 800, 1600)
DEPTHS = (5, 10, 20, 40, 80)
MOST_LAYERS = 1000  # of one kind: a slip of the finger must not fill the memory


def mattsson(
    conv: int = 1, fc: int = 1, depth: int = 20, neurons: int = 128, seed: int = 0
) -> NetworkSpec:
    """`conv` ConvLayers (5×5, stride 1, valid, ReLU), one 2×2 max-pool, `fc` hidden FC, FC 10.

    Raises:
        BadShape: more ConvLayers than 28×28 tiles can hold (6), or a number out of its range.
    """
    for name, count in (("conv", conv), ("fc", fc)):
        if not 0 <= count <= MOST_LAYERS:
            raise BadShape(f"mattsson needs {name} from 0 to {MOST_LAYERS}, not {count}.")
    layers: list[Layer] = [Conv(depth, 5)] * conv
    if conv:
        layers.append(Pool(2, 2))
    layers += [Dense(neurons)] * fc
    layers.append(Dense(10, "softmax"))
    parameters = {"conv": conv, "fc": fc, "depth": depth, "neurons": neurons}
    return NetworkSpec((1, 28, 28), tuple(layers), "mattsson", parameters, seed)


class Family(NamedTuple):
    """Networks that differ in a few numbers.

    Attributes:
        make: the numbers, by name → the network; raises BadShape where they do not fit together.
        choices: the values of a number that a search tries where the user names none.
    """

    make: Callable[..., NetworkSpec]
    choices: dict[str, tuple[int, ...]]


FAMILIES = {
    # The ranges of the groups of 2016.
    "mattsson": Family(
        mattsson,
        {
            "conv": LAYERS,
            "fc": LAYERS,
            "depth": tuple(range(5, 81, 5)),
            "neurons": tuple(range(64, 2049, 64)),
        },
    )
}

_CALL = re.compile(r"\s*(?P<family>[a-z_][a-z0-9_]*)\s*\((?P<arguments>[^()]*)\)\s*")
_ARGUMENT = re.compile(r"(?P<name>[a-z]+)\s*=\s*(?P<value>[0-9]{1,18})")


def parse_network(text: str) -> NetworkSpec:
    """The network that a user's text stands for: notation, or a family's call.

    Raises:
        BadNotation, BadShape: see `nnprof.networks.spec.parse`.
        UnknownName: no family of that name.
    """
    call = _CALL.fullmatch(text)
    if call:
        family = FAMILIES.get(call["family"])
        if family is None:
            raise UnknownName("family", call["family"], FAMILIES)
        return family.make(**_arguments(text, call, tuple(signature(family.make).parameters)))
    if "(" in text or text.strip() in FAMILIES:
        remedy = "Write it like this: mattsson(conv=2, fc=1)."
        raise BadNotation(text, 1, "Incomplete call of a family", remedy)
    return parse(text)


def _arguments(text: str, call: re.Match[str], known: tuple[str, ...]) -> dict[str, int]:
    arguments: dict[str, int] = {}
    start = call.start("arguments")
    for part in call["arguments"].split(",") if call["arguments"].strip() else ():
        word = part.strip()
        match = _ARGUMENT.fullmatch(word)
        if not match or match["name"] not in known or match["name"] in arguments:
            column = start + len(part) - len(part.lstrip()) + 1
            remedy = f"Write name=number, each once, of: {', '.join(known)}."
            raise BadNotation(text, column, f"'{word}' is not understood", remedy)
        arguments[match["name"]] = int(match["value"])
        start += len(part) + 1
    return arguments


# --- studies --------------------------------------------------------------------------------------


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
    """Group 3 with neurons 100…1600, which the study tried first (section 4.1 says why not)."""
    return (
        (mattsson(fc=fc, neurons=neurons), 1024) for fc in LAYERS for neurons in NEURONS_EARLIER
    )


def group4() -> Iterator[tuple[NetworkSpec, int]]:
    """ConvLayers 1-5 × depth 5…80, one FC layer, batch 1024."""
    return ((mattsson(conv=conv, depth=depth), 1024) for conv in LAYERS for depth in DEPTHS)


def groups() -> Iterator[tuple[NetworkSpec, int]]:
    """Groups 1 to 4 in one Run: an op that several networks share is timed alone once."""
    for group in (group1, group2, group3, group4):
        yield from group()
