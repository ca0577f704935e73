"""Ops as numbers: what a feature of the cost model can see, of one op and of many networks.

`lowering` makes ops of a `NetworkSpec`, `ran` of what a runtime says it ran, `onnx_rules` of an
ONNX graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.profiler.graph import counts, opgraph

Shape = tuple[int, ...]

# Grows with the batch: what is multiplied when a network of batch 1 is asked at another.
_GROWING = ("batch", "m", "flops", "bytes_in", "bytes_out", "elements_out")

_BYTES = ("bytes_in", "bytes_out", "bytes_weights")

VALUE_BYTES = 4.0  # of a value, where nothing else is said


class Work(NamedTuple):
    """One op as numbers.

    `m`, `n`, `k`, `products`: its matrix products (a convolution seen as one: m output pixels of
    all tiles, n channels out, k values summed for each); of a recurrent op k is its steps. `window`
    is kernel height × width, `nth` 1 for the first of its group in the network and 2 for the
    others, `after` 1 when another of the group follows. Sizes that do not apply are 0 or 1; FLOPs
    are those of convolutions, products, pools and recurrent ops. Biases are left out of the bytes
    of weights. `touched` are the bytes that one run of the whole network reads and writes, op by
    op: what has passed when the op's weights are asked for again; 0 where the network is not known.
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
    elements_out: float = 0.0
    nth: float = 1.0
    after: float = 0.0
    touched: float = 0.0


_WORDS = 3  # fields of a Work that are words: group, op, label
COLUMNS = Work._fields[_WORDS:]


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

    def at(self, more: float, value_bytes: float = VALUE_BYTES) -> Table:
        """The table at so many times its batch; one of 4-byte values in values of that size."""
        times = {
            name: (more if name in _GROWING else 1.0)
            * (value_bytes / VALUE_BYTES if name in _BYTES else 1.0)
            for name in self.columns
        }
        grown = {
            name: column if times[name] == 1 else column * times[name]
            for name, column in self.columns.items()
        }
        return self._replace(columns=grown)

    def apart(self) -> Table:
        """The same with a row for each op of each network, which knows what its network touches."""
        columns = {name: column[self.row] for name, column in self.columns.items()}
        known = columns["touched"] > 0
        columns["touched"] = np.where(known, columns["touched"], self.touched()[self.network])
        rows = self.row.tolist()
        return self._replace(
            codes=self.codes[self.row],
            ops=tuple(self.ops[row] for row in rows),
            labels=tuple(self.labels[row] for row in rows),
            columns=columns,
            row=np.arange(len(self.row)),
        )

    def touched(self) -> NDArray[np.float64]:
        """Bytes that one inference of each network reads and writes (`Work.touched`)."""
        each = _bytes(self.columns)
        return np.bincount(self.network, each[self.row], self.networks).astype(float)


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
    return of_rows(list(places), rows, owners, count)


def _bytes(columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    return columns["bytes_in"] + columns["bytes_out"] + columns["bytes_weights"]


def columns_of(works: Sequence[Work]) -> dict[str, NDArray[np.float64]]:
    """The numbers of these ops by the names of `COLUMNS`, one entry per op."""
    numbers = np.array([one[_WORDS:] for one in works], dtype=float).reshape(-1, len(COLUMNS))
    return {name: numbers[:, index] for index, name in enumerate(COLUMNS)}


def of_rows(works: Sequence[Work], rows: Sequence[int], owners: Sequence[int], count: int) -> Table:
    """A table of distinct ops and `count` networks.

    Entry i of `rows` and `owners`: the op `works[rows[i]]` is one of the network `owners[i]`.
    """
    names = tuple(dict.fromkeys(work.group for work in works))
    place = {name: index for index, name in enumerate(names)}
    return Table(
        names=names,
        codes=np.array([place[work.group] for work in works], dtype=np.int64),
        ops=tuple(work.op for work in works),
        labels=tuple(work.label for work in works),
        columns=columns_of(works),
        network=np.array(owners, dtype=np.int64),
        row=np.array(rows, dtype=np.int64),
        networks=count,
    )


def group_of(op: str) -> str:
    """The group whose terms an op of this type has: conv, gemm, or its own name in small letters.

    Fused variants belong to the op that does the work.
    """
    kind = opgraph.kind_of(op)
    return kind if kind in ("conv", "gemm") else op.lower()


def at_batch(one: Work, batch: int) -> Work:
    """An op of one tile at a batch."""
    return one._replace(**{name: getattr(one, name) * batch for name in _GROWING})


def in_values(one: Work, value_bytes: float) -> Work:
    """The op with values of that size."""
    now = one.bytes_out / one.elements_out if one.elements_out else value_bytes
    if now == value_bytes:
        return one
    return one._replace(**{name: getattr(one, name) * value_bytes / now for name in _BYTES})


def placed(works: Sequence[Work]) -> list[Work]:
    """The ops of a network with what depends on the others: `nth`, `after`, `touched`."""
    seen: set[str] = set()
    last = {work.group: index for index, work in enumerate(works)}
    touched = sum(one.bytes_in + one.bytes_out + one.bytes_weights for one in works)
    result = []
    for index, work in enumerate(works):
        nth = 2.0 if work.group in seen else 1.0
        seen.add(work.group)
        after = float(last[work.group] > index)
        result.append(work._replace(nth=nth, after=after, touched=touched))
    return result


def reorder(op: str, before: Shape, after: Shape) -> Work:
    """A copy of an image into blocks of channels or out of them."""
    c_out, h_out, w_out = map(float, after)
    return plain(op, before, after)._replace(c_out=c_out, h_out=h_out, w_out=w_out)


def reshape(shape: Shape) -> Work:
    """A change of shape in place: no bytes move, but a node is started."""
    return plain("Reshape", shape)


def conv(shape: Shape, after: Shape, kernel: int, stride: int, label: str = "") -> Work:
    """A convolution of one tile, without groups."""
    c_in, c_out, pixels, window = shape[0], after[0], math.prod(after[1:]), kernel * kernel
    return Work(
        group="conv", op="Conv", label=label, m=pixels, n=c_out, k=c_in * window,
        c_in=c_in, h_in=shape[1], w_in=shape[2], c_out=c_out, h_out=after[1], w_out=after[2],
        window=window, stride=stride, flops=2 * pixels * c_out * c_in * window,
        bytes_in=4 * math.prod(shape), bytes_out=4 * math.prod(after),
        bytes_weights=4 * c_out * c_in * window, elements_out=math.prod(after),
    )  # fmt: skip


def gemm(inner: int, neurons: int, label: str = "") -> Work:
    """A fully connected layer on one tile."""
    return Work(
        group="gemm", op="Gemm", label=label, m=1, n=neurons, k=inner, flops=2 * neurons * inner,
        bytes_in=4 * inner, bytes_out=4 * neurons, bytes_weights=4 * neurons * inner,
        elements_out=neurons,
    )  # fmt: skip


def recurrent(op: str, activations: Sequence[str], shape: Shape, units: int, after: Shape) -> Work:
    """An LSTM or GRU over the steps of one tile; `after` is what of its states is read."""
    rows = {"LSTM": 4, "GRU": 3}[op] * units
    weights = (1, rows, shape[1]), (1, rows, units)
    asked = counts.flops(op, ((shape[0], 1, shape[1]), *weights), (), {"activations": activations})
    return plain(op, shape, after)._replace(
        m=1.0, k=float(shape[0]), flops=float(asked or 0),
        bytes_weights=4.0 * sum(map(math.prod, weights)),
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
        elements_out=made,
    )  # fmt: skip
