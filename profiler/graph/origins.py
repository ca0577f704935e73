"""Which ONNX nodes an op that ran was made from: by its tensors, and by its name. Pure.

ONNX Runtime (1.18 to 1.31, seen in the graphs that it writes) names what it makes after what it was
made from: a node in blocks of channels after the tensor that it makes (`relu_nchwc`); a copy of a
node after the node (`conv1_token_1`, when it changes to channels last; its tensors lose their
names then); a fusion after one of its nodes (`fused fc1`, `mul_3/QuickGeluFusion/`).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

BLOCKED = "_nchwc"
_COPY = re.compile(r"_token_\d+$")
_INTO = re.compile(r"/\w+Fusion/?$")
_FUSED = "fused "
_TOGETHER = " + "  # TensorRT's word between the nodes of a layer
# What a kernel does behind its own work, before it writes: rounding to whole numbers, a sum, an
# activation.
_BEHIND = frozenset(
    (
        *("QuantizeLinear", "Add", "Sum", "BatchNormalization", "Relu", "LeakyRelu", "PRelu"),
        *("Clip", "Tanh", "Sigmoid", "HardSigmoid", "Elu", "Selu", "Softplus", "HardSwish", "Gelu"),
    )
)


class Ran(NamedTuple):
    """An op that ran.

    Attributes:
        name: the runtime's.
        outputs: the tensors that it makes, where they are known.
        copies: whether it may do no more than copy: a reorder, a transpose, a view.
    """

    name: str
    outputs: tuple[str, ...] = ()
    copies: bool = False


def called(node: Any) -> str:
    """The name of an ONNX node; of one without a name its first output's."""
    return str(node.name or node.output[0])


def find(ran: Sequence[Ran], asked: Sequence[Any]) -> list[tuple[str, ...]]:
    """For each op that ran, the names of the asked nodes that it was made from, in their order.

    A fusion keeps the name of the last tensor it makes. So walking back in the original graph from
    there, up to tensors that other ops make, meets just the nodes that were fused. Where that name
    is lost, what is known of an op is its first node; what follows there and ran nowhere else (a
    sum, an activation) is part of it.

    Args:
        ran: in order of execution.
        asked: the nodes of the ONNX file.
    """
    graph = _Graph(asked)
    made = [graph.made_by(one) for one in ran]
    claimed = _claimed(ran, made, graph)
    order = {id(node): index for index, node in enumerate(asked)}
    result = []
    own_of: dict[int, list[str]] = defaultdict(list)
    for tensor, index in claimed.items():
        own_of[index].append(tensor)
    for index in range(len(ran)):
        own = own_of[index]
        found = _walk(own, graph.makers, claimed)
        names = sorted(found.values(), key=lambda node: order[id(node)])
        result.append(tuple(called(node) for node in names))
    return result


def _claimed(ran: Sequence[Ran], made: Sequence[Sequence[str]], graph: _Graph) -> dict[str, int]:
    """Original tensor → which op makes it.

    Where a copy or reorder makes the same tensor again, the first to make it did the work; and an
    op that may only copy makes what no other does.
    """
    claimed: dict[str, int] = {}
    for copies in (False, True):
        own = [index for index, one in enumerate(ran) if one.copies == copies]
        for index in own:
            for tensor in made[index]:
                claimed.setdefault(tensor, index)
        for index in own:
            tensors = made[index]
            if tensors and not graph.ends(ran[index]) and claimed[tensors[-1]] == index:
                behind = graph.behind(tensors[-1], claimed)
                claimed.update(dict.fromkeys(behind, index))
    return claimed


class _Graph:
    """The original graph: who makes a tensor, who reads it, and what a node is called."""

    def __init__(self, asked: Sequence[Any]) -> None:
        self.makers = {tensor: node for node in asked for tensor in node.output if tensor}
        self._named = {called(node): node for node in asked}
        self._reads = Counter(tensor for node in asked for tensor in node.input)
        self._reader = {tensor: node for node in asked for tensor in node.input}

    def made_by(self, one: Ran) -> list[str]:
        """The original tensors that an op makes, those inside it among them, as its names tell."""
        tensors = [one.name.removesuffix(BLOCKED)] if one.name.endswith(BLOCKED) else []
        tensors = [tensor for tensor in (*tensors, *one.outputs) if tensor in self.makers]
        for node in self._nodes_of(one.name):
            tensors += [tensor for tensor in node.output if tensor]
        return list(dict.fromkeys(tensors))

    def _nodes_of(self, name: str) -> list[Any]:
        """The nodes that a name names; none where a part of it is none: a copy for them, say."""
        parts = name.split(_TOGETHER)
        found = [self._named.get(part) or self._named.get(_original(part)) for part in parts]
        return [] if None in found else found

    def ends(self, one: Ran) -> bool:
        """Whether the last tensor that an op makes is an original one, so that its end is known."""
        return any(tensor in self.makers for tensor in one.outputs)

    def behind(self, tensor: str, claimed: Mapping[str, int]) -> list[str]:
        """The tensors of what an op does behind this one, where nothing else that ran does it."""
        found: list[str] = []
        reader = self._reader.get(tensor)
        while (
            reader is not None
            and self._reads[tensor] == 1
            and reader.op_type in _BEHIND
            and not any(made in claimed for made in reader.output)
        ):
            tensor = str(reader.output[0])
            found.append(tensor)
            reader = self._reader.get(tensor)
        return found


def _original(name: str) -> str:
    return _INTO.sub("", _COPY.sub("", name)).removeprefix(_FUSED)


def _walk(
    own: Sequence[str], makers: Mapping[str, Any], claimed: Mapping[str, int]
) -> dict[int, Any]:
    found: dict[int, Any] = {}
    front = list(own)
    while front:
        maker = makers.get(front.pop())
        if maker is None or id(maker) in found:
            continue
        found[id(maker)] = maker
        front += [tensor for tensor in maker.input if tensor not in claimed]
    return found
