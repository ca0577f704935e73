"""Families of networks, and `parse_network`: a user's text → a network.

A new family is a function here and its entry in `FAMILIES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from inspect import signature
from typing import NamedTuple

from nnprof.errors import BadNotation, BadShape, UnknownName
from nnprof.networks.layers import Conv, Dense, Layer, Pool
from nnprof.networks.spec import NetworkSpec, parse

LAYERS = (1, 2, 3, 4, 5)  # of each kind in the groups of 2016
MOST_LAYERS = 1000  # of one kind: a slip of the finger must not fill the memory


def mattsson(
    conv: int = 1, fc: int = 1, depth: int = 20, neurons: int = 128, pool1: int = 0, seed: int = 0
) -> NetworkSpec:
    """`conv` ConvLayers (5×5, stride 1, valid, ReLU), one 2×2 max-pool, `fc` hidden FC, FC 10.

    With `pool1=1` a 1×1 pool of stride 1 stands behind every ConvLayer but the last, as the thesis
    ran it: "two at the last ConvLayer and one at all the previous" (section 3.1). Such a pool
    changes no value, and costs time; equation 17 is the sum over them. The thesis also says that
    the stride of a convolution is five (3.1), but sizes fall by four (28 → 24, 4.2): so it is 1.

    Raises:
        BadShape: more ConvLayers than 28×28 tiles can hold (6), or a number out of its range.
    """
    for name, count, most in (
        ("conv", conv, MOST_LAYERS),
        ("fc", fc, MOST_LAYERS),
        ("pool1", pool1, 1),
    ):
        _require_range("mattsson", name, count, most)
    between: list[Layer] = [Pool(1, 1)] * pool1
    layers: list[Layer] = [Conv(depth, 5), *between] * max(0, conv - 1)
    if conv:
        layers += [Conv(depth, 5), Pool(2, 2)]
    layers += [Dense(neurons)] * fc
    layers.append(Dense(10, "softmax"))
    parameters = {"conv": conv, "fc": fc, "depth": depth, "neurons": neurons}
    if pool1:  # named only where it is there: so names are those of older Runs
        parameters["pool1"] = pool1
    return NetworkSpec((1, 28, 28), tuple(layers), "mattsson", parameters, seed)


def lenet(
    kernel: int = 5, stride: int = 1, filters1: int = 20, filters2: int = 50, convs: int = 2,
    pools: int = 2, neurons: int = 500, same: int = 0, channels: int = 1, size: int = 28,
    seed: int = 0,
) -> NetworkSpec:  # fmt: skip
    """LeNet as Groth 2019 varies it: convolutions (ReLU), each with a 2×2 max-pool, FC, FC 10.

    Of `convs` convolutions the first has `filters1` filters and the others `filters2`; the first
    `pools` of them have a pool; `same=1` pads. Tiles are `channels` × `size` × `size`. The study
    does not give the neurons of the FC layer: 500 are those of Caffe's LeNet, our choice.

    Raises:
        BadShape: the layers do not fit the tile, or a number is out of its range.
    """
    for name, count, most in (
        ("convs", convs, MOST_LAYERS),
        ("pools", pools, MOST_LAYERS),
        ("same", same, 1),
    ):
        _require_range("lenet", name, count, most)
    layers: list[Layer] = []
    for at in range(convs):
        depth = filters1 if at == 0 else filters2
        layers.append(Conv(depth, kernel, stride, "same" if same else "valid"))
        if at < pools:
            layers.append(Pool(2, 2))
    layers += [Dense(neurons), Dense(10, "softmax")]
    given = {
        "kernel": kernel, "stride": stride, "filters1": filters1, "filters2": filters2,
        "convs": convs, "pools": pools, "neurons": neurons, "same": same,
        "channels": channels, "size": size,
    }  # fmt: skip
    usual = defaults(lenet)
    varied = {name: value for name, value in given.items() if value != usual[name]}
    return NetworkSpec((channels, size, size), tuple(layers), "lenet", varied, seed)


def _require_range(family: str, name: str, count: int, most: int) -> None:
    if not 0 <= count <= most:
        raise BadShape(f"{family} needs {name} from 0 to {most}, not {count}.")


@cache
def defaults(make: Callable[..., NetworkSpec]) -> Mapping[str, int]:
    """The parameters of a family with the values that they have where nobody names them."""
    return {name: one.default for name, one in signature(make).parameters.items()}


def parameters(spec: NetworkSpec) -> dict[str, int]:
    """All parameters of a family's network, those that its name leaves out included; else none."""
    if not spec.family:
        return {}
    return {**defaults(FAMILIES[spec.family].make), **spec.parameters, "seed": spec.seed}


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
            "pool1": (0,),
        },
    ),
    # What Groth 2019 tried, without what another data set needs.
    "lenet": Family(
        lenet,
        {
            "kernel": (1, 3, 5, 7, 9),
            "stride": (1,),
            "filters1": (5, 10, 20, 40),
            "filters2": (12, 25, 50, 100),
            "convs": (0, 1, 2),
            "pools": (2,),
            "neurons": (500,),
            "same": (0,),
            "channels": (1,),
            "size": (28,),
        },
    ),
}

_CALL = re.compile(r"\s*(?P<family>[a-z_][a-z0-9_]*)\s*\((?P<arguments>[^()]*)\)\s*")
_ARGUMENT = re.compile(r"(?P<name>[a-z]+[0-9]*)\s*=\s*(?P<value>[0-9]{1,18})")


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
