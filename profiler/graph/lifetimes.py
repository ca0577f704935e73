"""How much memory a network needs at least: which tensors something still needs at each node.

Pure: from the order of the nodes, who reads what, and sizes. A tensor lives from the node that
makes it to the last that reads it; inputs from the beginning, outputs to the end. Weights are there
all the time, each once. Two things are taken for granted, or it would be no lower bound: an op that
only gives a tensor another shape makes none, and an element-wise op writes over an input of the
same size that nobody needs any more, as runtimes do (`FindReusableInput` of onnxruntime
core/framework/allocation_planner.cc). What a runtime lays out in blocks, copies or needs to work
with comes on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from nnprof.profiler.graph.counts import VIEWS
from nnprof.types import Kind

_VIEWS = VIEWS | {"Identity", "Dropout"}
_OVER: tuple[Kind, ...] = ("elementwise", "softmax")
# Of these kinds, but what comes out has another type than what goes in.
_OTHER_TYPE = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})


class Step(NamedTuple):
    """A node: what it is, and the tensors that it reads and makes, weights left out."""

    op: str
    kind: Kind
    reads: tuple[str, ...]
    makes: tuple[str, ...]


def live_bytes(
    steps: Sequence[Step],
    sizes: Mapping[str, int],
    inputs: Iterable[str] = (),
    outputs: Iterable[str] = (),
) -> tuple[int, ...]:
    """For each node the bytes of all tensors that are needed while it runs, its own included."""
    given = set(inputs)
    home, last = _homes(steps, sizes, given, set(outputs))
    room: dict[str, int] = {}
    for name, where in home.items():
        room[where] = max(room.get(where, 0), sizes.get(name, 0))
    born = {
        home[name]: index for index, step in reversed(list(enumerate(steps))) for name in step.makes
    }
    # Sums of what begins and ends at each node, so that long graphs take no square of their length.
    change = [0] * (len(steps) + 2)
    for where, size in room.items():
        change[max(0, born.get(where, 0)) if where not in given else 0] += size
        change[min(last[where], len(steps)) + 1] -= size
    return tuple(accumulate(change[: len(steps)]))


def _homes(
    steps: Sequence[Step], sizes: Mapping[str, int], inputs: set[str], outputs: set[str]
) -> tuple[dict[str, str], dict[str, int]]:
    """For each tensor the one whose memory it lies in; for each of those when it is last needed."""
    reads = {name: index for index, step in enumerate(steps) for name in step.reads}
    reads |= dict.fromkeys(outputs, len(steps))
    home = {name: name for name in inputs}
    last = {name: reads.get(name, -1) for name in inputs}
    for index, step in enumerate(steps):
        for name in step.reads:
            home.setdefault(name, name)
            last.setdefault(name, reads[name])
        for name in step.makes:
            own = _reused(step, name, index, (home, last, inputs), sizes) or name
            home[name] = own
            last[own] = max(last.get(own, index), reads.get(name, index))
    return home, last


def _reused(
    step: Step,
    made: str,
    index: int,
    known: tuple[dict[str, str], dict[str, int], set[str]],
    sizes: Mapping[str, int],
) -> str | None:
    """The tensor in whose memory a node leaves what it makes; None: in memory of its own."""
    home, last, inputs = known
    if step.op in _VIEWS and step.reads and made == step.makes[0]:
        return home[step.reads[0]]
    if step.kind not in _OVER or step.op in _OTHER_TYPE:
        return None
    for name in step.reads:
        where = home[name]
        alone = last[where] == index and where not in inputs
        if alone and sizes.get(name) == sizes.get(made) == sizes.get(where):
            return where
    return None
