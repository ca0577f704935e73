"""Networks as ops, and ops as numbers: what a feature can see.

A network becomes ops in one of three ways: the runtime says what it really runs (`of_nodes`), or
the layers of a `NetworkSpec` are lowered by rules (`of_specs`). The rules have names, because
runtimes differ:

* layers: one op per layer, its activation included, as the 2016 equations count.
* fused: a convolution or matrix product with its bias and activation is one op; batch normalisation
  goes into the weights of the convolution or product before it; softmax, pools, other activations
  and reshapes are ops of their own.
* blocked16: the same, in a runtime that keeps images in blocks of 16 channels: channels of
  convolutions are padded to 16, and copies into and out of that layout are ops, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import UsageError
from nnprof.networks.spec import (
    Act,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Layer,
    NetworkSpec,
    Pool,
    infer_shapes,
)
from nnprof.profiler import opgraph
from nnprof.profiler.ports import OpNode
from nnprof.types import OpTime

LOWERINGS = ("layers", "fused", "blocked16")
Shape = tuple[int, ...]

# Grows with the batch: what is multiplied when a network of batch 1 is asked at another.
_GROWING = ("batch", "m", "flops", "bytes_in", "bytes_out", "elements_in", "elements_out")


class Work(NamedTuple):
    """One op as numbers.

    `m`, `n`, `k`, `products`: its matrix products (a convolution seen as one: m output pixels of
    all tiles, n channels out, k values summed for each). `window` is kernel height × width, `nth`
    1 for the first of its group in the network and 2 for the others, `after` 1 when another of the
    group follows.
    """

    group: str
    op: str
    label: str = ""
    batch: float = 1.0
    m: float = 0.0
    n: float = 0.0
    k: float = 0.0
    products: float = 1.0
    groups: float = 1.0
    c_in: float = 0.0
    h_in: float = 1.0
    w_in: float = 1.0
    c_out: float = 0.0
    h_out: float = 1.0
    w_out: float = 1.0
    window: float = 1.0
    stride: float = 1.0
    flops: float = 0.0
    bytes_in: float = 0.0
    bytes_out: float = 0.0
    bytes_weights: float = 0.0
    elements_in: float = 0.0
    elements_out: float = 0.0
    nth: float = 1.0
    after: float = 0.0


COLUMNS = Work._fields[3:]


class Table(NamedTuple):
    """Many ops of many networks, as columns.

    Attributes:
        names: of the groups; `codes` has an index into it for each op.
        ops, labels: of each distinct op.
        columns: by name, one entry per distinct op.
        network, row: which network has which op, one entry per op of a network.
        networks: how many.
    """

    names: tuple[str, ...]
    codes: NDArray[np.int64]
    ops: tuple[str, ...]
    labels: tuple[str, ...]
    columns: dict[str, NDArray[np.float64]]
    network: NDArray[np.int64]
    row: NDArray[np.int64]
    networks: int

    def at(self, batch: int) -> Table:
        """A table of batch 1 at another batch."""
        grown = {
            name: column * batch if name in _GROWING else column
            for name, column in self.columns.items()
        }
        return self._replace(columns=grown)


def table(networks: Iterable[Sequence[Work]]) -> Table:
    """The ops of these networks; the same op in several of them is one row."""
    places: dict[Work, int] = {}
    rows: list[int] = []
    owners: list[int] = []
    count = 0
    for ops in networks:
        for op in ops:
            rows.append(places.setdefault(op, len(places)))
            owners.append(count)
        count += 1
    return _table(list(places), rows, owners, count)


def _table(works: Sequence[Work], rows: Sequence[int], owners: Sequence[int], count: int) -> Table:
    names = tuple(dict.fromkeys(work.group for work in works))
    place = {name: index for index, name in enumerate(names)}
    numbers = np.array([work[3:] for work in works], dtype=float).reshape(len(works), len(COLUMNS))
    return Table(
        names=names,
        codes=np.array([place[work.group] for work in works], dtype=np.int64),
        ops=tuple(work.op for work in works),
        labels=tuple(work.label for work in works),
        columns={name: numbers[:, index] for index, name in enumerate(COLUMNS)},
        network=np.array(owners, dtype=np.int64),
        row=np.array(rows, dtype=np.int64),
        networks=count,
    )


# --- what a runtime ran ---------------------------------------------------------------------------


# What a runtime says of an op, timed or not.
Ran: TypeAlias = OpNode | OpTime


def group_of(op: str) -> str:
    """The group whose terms an op of this type has: conv, gemm, or its own name in small letters.

    Fused variants belong to the op that does the work.
    """
    kind = opgraph.kind_of(op)
    return kind if kind in ("conv", "gemm") else op.lower()


def of_nodes(nodes: Sequence[Ran]) -> tuple[Work, ...]:
    """The ops of a graph that a runtime described, in order."""
    works = [of_node(node) for node in nodes if node.outputs]
    return tuple(placed(works))


def placed(works: Sequence[Work]) -> list[Work]:
    """The ops with `nth` and `after` by their order."""
    seen: set[str] = set()
    last = {work.group: index for index, work in enumerate(works)}
    result = []
    for index, work in enumerate(works):
        nth = 2.0 if work.group in seen else 1.0
        seen.add(work.group)
        result.append(work._replace(nth=nth, after=float(last[work.group] > index)))
    return result


def of_node(node: Ran, size: int = 4) -> Work:
    """One op from its shapes. `size`: bytes of a value, where the node does not count its bytes."""
    inputs, out = node.inputs, node.outputs[0]
    group = group_of(node.op)
    weighted = group in ("conv", "gemm") and len(inputs) > 1
    read = inputs[:1] if weighted else inputs
    constant = inputs[1:] if weighted else ()
    made = sum(math.prod(shape) for shape in node.outputs)
    taken = sum(math.prod(shape) for shape in read)
    known = node.bytes_in is not None
    work = Work(
        group=group,
        op=node.op,
        label=node.node,
        batch=float(out[0]) if out else 1.0,
        bytes_in=float(node.bytes_in if node.bytes_in is not None else size * taken),
        bytes_out=float(node.bytes_out if node.bytes_out is not None else size * made),
        bytes_weights=float(
            node.bytes_weights or 0 if known else size * sum(math.prod(shape) for shape in constant)
        ),
        elements_in=float(taken),
        elements_out=float(made),
        flops=float(node.flops or 0),
    )
    return _shaped(work, node)


def _shaped(work: Work, node: Ran) -> Work:
    first = node.inputs[0] if node.inputs else ()
    out = node.outputs[0]
    image = len(out) == 4 and len(first) == 4
    if image:
        work = work._replace(
            c_in=float(first[1]), h_in=float(first[2]), w_in=float(first[3]),
            c_out=float(out[1]), h_out=float(out[2]), w_out=float(out[3]),
        )  # fmt: skip
    if work.group == "conv" and image and len(node.inputs) > 1:
        weights = node.inputs[1]
        window, inner = math.prod(weights[2:]), math.prod(weights[1:])
        groups = max(1, first[1] // max(1, weights[1]))
        return work._replace(
            m=float(out[0] * out[2] * out[3]), n=out[1] / groups, k=float(inner),
            products=float(groups), groups=float(groups), window=float(window),
            stride=float(max(1, round(first[2] / out[2]))),
            flops=2.0 * math.prod(out) * inner,
        )  # fmt: skip
    if work.group == "gemm" and len(node.inputs) > 1:
        rows, n = math.prod(out[:-1]), out[-1]
        k = max(1, math.prod(first) // max(1, rows))
        return work._replace(
            batch=float(rows), m=float(rows), n=float(n), k=float(k), flops=2.0 * rows * n * k
        )
    if image and "pool" in work.group:
        stride = max(1, round(first[2] / out[2]))
        taps = node.flops / math.prod(out) if node.flops else float(stride**2)
        return work._replace(window=taps, stride=float(stride))
    return work


# --- what a network would run ---------------------------------------------------------------------


def of_specs(specs: Iterable[NetworkSpec], lowering: str) -> Table:
    """The ops of many networks at batch 1; `Table.at` gives them at any other.

    What a layer becomes is worked out once for each layer at each place, so a family of 100,000
    networks takes little more time than its distinct layers.
    """
    if lowering not in LOWERINGS:
        raise UsageError(f"Unknown lowering '{lowering}'.", f"Known: {', '.join(LOWERINGS)}.")
    places: dict[Work, int] = {}
    rows: list[int] = []
    owners: list[int] = []
    count = 0
    for spec in specs:
        for work in placed(_lowered(spec, lowering)):
            rows.append(places.setdefault(work, len(places)))
            owners.append(count)
        count += 1
    return _table(list(places), rows, owners, count)


def _lowered(spec: NetworkSpec, lowering: str) -> list[Work]:
    """The ops of one network at batch 1."""
    shape, works = spec.input_shape, list[Work]()
    for layer, after in zip(spec.layers, infer_shapes(spec), strict=True):
        works += _layer(lowering, layer, shape, after)
        shape = after
    return works


@lru_cache(maxsize=100_000)
def _layer(_: str, layer: Layer, shape: Shape, after: Shape) -> tuple[Work, ...]:
    """One op per layer; those that do nothing at run time have none."""
    match layer:
        case Conv():
            return (conv(shape, after, layer.kernel, layer.stride),)
        case Dense():
            return (gemm(math.prod(shape), layer.neurons),)
        case Pool():
            op = "MaxPool" if layer.mode == "max" else "AveragePool"
            return (sliding(op, shape, after, layer.size, layer.stride),)
        case Act():
            return (plain(layer.activation.capitalize(), shape),)
        case Dropout() | BatchNorm():
            return ()
    raise TypeError(f"not a layer: {layer!r}")


def conv(shape: Shape, after: Shape, kernel: int, stride: int, label: str = "") -> Work:
    """A convolution of one tile, without groups."""
    c_in, c_out, pixels, window = shape[0], after[0], math.prod(after[1:]), kernel * kernel
    return Work(
        group="conv", op="Conv", label=label, m=pixels, n=c_out, k=c_in * window,
        c_in=c_in, h_in=shape[1], w_in=shape[2], c_out=c_out, h_out=after[1], w_out=after[2],
        window=window, stride=stride, flops=2 * pixels * c_out * c_in * window,
        bytes_in=4 * math.prod(shape), bytes_out=4 * math.prod(after),
        bytes_weights=4 * (c_out * c_in * window + c_out),
        elements_in=math.prod(shape), elements_out=math.prod(after),
    )  # fmt: skip


def gemm(inner: int, neurons: int, label: str = "") -> Work:
    """A fully connected layer on one tile."""
    return Work(
        group="gemm", op="Gemm", label=label, m=1, n=neurons, k=inner, flops=2 * neurons * inner,
        bytes_in=4 * inner, bytes_out=4 * neurons, bytes_weights=4 * (neurons * inner + neurons),
        elements_in=inner, elements_out=neurons,
    )  # fmt: skip


def sliding(op: str, shape: Shape, after: Shape, size: int, stride: int, label: str = "") -> Work:
    """A pool over one tile."""
    return plain(op, shape, after, label)._replace(
        c_in=shape[0], h_in=shape[1], w_in=shape[2], c_out=after[0], h_out=after[1],
        w_out=after[2], window=size * size, stride=stride, flops=math.prod(after) * size * size,
    )  # fmt: skip


def plain(op: str, shape: Shape, after: Shape | None = None, label: str = "") -> Work:
    """An op that reads a tile's values and writes as many, or those of another shape."""
    taken, made = math.prod(shape), math.prod(after or shape)
    return Work(
        group=group_of(op), op=op, label=label, bytes_in=4 * taken, bytes_out=4 * made,
        elements_in=taken, elements_out=made,
    )  # fmt: skip
