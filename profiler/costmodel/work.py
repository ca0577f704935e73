"""Networks as ops, and ops as numbers: what a feature can see.

A network becomes ops in one of three ways: the runtime says what it really runs (`of_nodes`), or
the layers of a `NetworkSpec` are lowered by rules (`of_specs`). The rules have names, because
runtimes differ:

* layers: one op per layer, its activation included, as the 2016 equations count.
* fused: a convolution or matrix product with its bias and activation is one op; batch normalisation
  goes into the weights of the convolution or product before it; softmax, pools, other activations
  and reshapes are ops of their own.
* blocked8, blocked16: the same, in a runtime that keeps images in blocks of 8 or 16 channels, as
  wide as the processor's vectors: channels of convolutions are padded to whole blocks, and copies
  into and out of that layout are ops, too. What cannot run in blocks runs other code, so these are
  groups of their own: conv-blocked and conv-plain, maxpool and maxpool-plain.
* tflite-gpu, tflite-gpu-adreno: as fused, in groups by kernel (`kernels`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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
    Layer,
    NetworkSpec,
    Pool,
    infer_shapes,
)
from nnprof.profiler.costmodel import kernels
from nnprof.profiler.graph import counts, opgraph
from nnprof.profiler.ports import OpNode
from nnprof.types import OpTime

BLOCKS = {"blocked8": 8, "blocked16": 16}  # channels of a block, by lowering
LOWERINGS = ("layers", "fused", *BLOCKS, *kernels.LOWERINGS)
_COPIES = ("ReorderInput", "ReorderOutput")  # into blocks, and out of them
_MOST_STRIDE = 1024  # a shape from a file may have any side
_ALIGNED = 4  # channels that do not divide by this cannot be copied into blocks
_FUSED = ("relu", "tanh", "sigmoid")  # activations that a convolution or product takes in
Shape = tuple[int, ...]

# Grows with the batch: what is multiplied when a network of batch 1 is asked at another.
_GROWING = ("batch", "m", "flops", "bytes_in", "bytes_out", "elements_out")
_BYTES = ("bytes_in", "bytes_out", "bytes_weights")
VALUE_BYTES = 4.0  # of a value, where nothing else is said


class Work(NamedTuple):
    """One op as numbers.

    `m`, `n`, `k`, `products`: its matrix products (a convolution seen as one: m output pixels of
    all tiles, n channels out, k values summed for each). `window` is kernel height × width, `nth`
    1 for the first of its group in the network and 2 for the others, `after` 1 when another of the
    group follows. Sizes that do not apply are 0 or 1; FLOPs are those of convolutions, products
    and pools. Biases are left out of the bytes of weights. `touched` are the bytes that one run
    of the whole network reads and writes, op by op: what has passed when the op's weights are asked
    for again; 0 where the network is not known.
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

    def at(self, batch: int, value_bytes: float = VALUE_BYTES) -> Table:
        """A table of batch 1 at another batch, in values of that size."""
        times = {
            name: (batch if name in _GROWING else 1.0)
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
    return _table(list(places), rows, owners, count)


def _bytes(columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    return columns["bytes_in"] + columns["bytes_out"] + columns["bytes_weights"]


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


def of_nodes(nodes: Sequence[Ran], lowering: str = "") -> tuple[Work, ...]:
    """The ops of a graph that a runtime described, in order, without calls that are no ops.

    `lowering` where the runtime's kernels have rules (`kernels`).
    """
    nodes = [node for node in nodes if node.outputs]
    works = [
        of_node(node, inside=inside) for node, inside in zip(nodes, _insides(nodes), strict=True)
    ]
    return tuple(placed([kernels.picked(one, lowering) for one in works]))


def widths(nodes: Sequence[Ran]) -> frozenset[int] | None:
    """Channels of a block that these ops of one graph can have run with; None: in no blocks.

    Read from what is certainly in blocks: one side of each copy, and what comes out of the
    convolutions. A graph of which all channels are multiples of 16 says nothing of 8 or 16, and is
    the same ops with both. None of both where the copies are neither's.
    """
    copies = [node for node in nodes if node.op in _COPIES and node.inputs and node.outputs]
    if not copies:
        return None
    return frozenset(
        block
        for block in BLOCKS.values()
        if all(_copies_to(node, block) for node in copies)
        and not any(_too_narrow(node, block) for node in nodes)
    )


def _copies_to(node: Ran, block: int) -> bool:
    """Whether the copy is one between an image and its blocks of that width."""
    sides = node.inputs[0], node.outputs[0]
    plain, blocks = sides if node.op == "ReorderInput" else sides[::-1]
    return len(blocks) != 4 or plain[1:2] == () or blocks[1] == padded(plain[1], block)


def _too_narrow(node: Ran, block: int) -> bool:
    """Whether a convolution is in blocks, and what it makes is in none of that width."""
    if group_of(node.op) != "conv" or not opgraph.in_blocks(node.node):
        return False
    return len(node.outputs[0]) == 4 and node.outputs[0][1] % block > 0


def _insides(nodes: Sequence[Ran]) -> list[bool | None]:
    """Of each op whether it ran in blocks, None in a graph that knows none.

    By its name where the runtime's names tell, else by its shapes.
    """
    found = widths(nodes)
    if found is None:
        return [None] * len(nodes)
    if any(opgraph.in_blocks(node.node) for node in nodes):
        return [opgraph.in_blocks(node.node) for node in nodes]
    block = max(found or BLOCKS.values())
    return [_fits(node, block) for node in nodes]


def _fits(node: Ran, block: int) -> bool:
    """Whether the op's channels can be in blocks of that width."""
    taken, made = (node.inputs or ((),))[0][1:2], node.outputs[0][1:2]
    whole = made != () and made[0] % block == 0
    if group_of(node.op) != "conv" or not taken:
        return whole
    return whole and (taken[0] % block == 0 or taken[0] < block)


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


def of_node(node: Ran, *, inside: bool | None = None) -> Work:
    """One op from its shapes; 4 bytes a value where the node does not count its bytes.

    `inside`: whether it ran in blocks of channels; None in a graph that knows none.
    """
    first = node.inputs[0] if node.inputs else ()
    out, made = node.outputs[0], sum(math.prod(shape) for shape in node.outputs)
    size = node.bytes_out / made if node.bytes_out and made else 4.0
    work = Work(
        group=group_of(node.op), op=node.op, label=node.node, batch=float(out[0] if out else 1),
        bytes_in=float(_bytes_read(node, size)), bytes_out=made * size, elements_out=float(made),
    )  # fmt: skip
    factor = counts.factor(node.inputs)
    if factor and work.group in ("conv", "gemm"):
        weights = size * math.prod(factor)
        work = work._replace(bytes_in=size * math.prod(first), bytes_weights=weights)
    image = len(out) == 4 and len(first) == 4
    if image and _channels_last(node, factor):
        first, out = ((shape[0], shape[3], *shape[1:3]) for shape in (first, out))
    if work.group == "conv" and image and factor:
        return _conv_node(work, first, factor, out, inside=inside)
    if work.group == "gemm":
        rows, n = math.prod(out[:-1]), out[-1]
        k = math.prod(first) / max(1, rows)
        return work._replace(
            batch=float(rows), m=float(rows), n=float(n), k=k, flops=2 * rows * n * k
        )
    if image and node.op.startswith("Reorder"):
        return work._replace(c_out=float(out[1]), h_out=float(out[2]), w_out=float(out[3]))
    if image and "pool" in work.group:
        if inside is False:
            work = plainly(work)
        stride = max(1, round(first[2] / out[2]))
        taps = node.flops / math.prod(out) if node.flops else float(stride**2)
        return _sized(work, first, out)._replace(
            window=taps, stride=float(stride), flops=taps * math.prod(out)
        )
    return work


def _channels_last(node: Ran, weights: Shape | None) -> bool:
    """Whether an op on images has their channels last, as quantised ones of ONNX Runtime do.

    A convolution makes as many channels as it has rows of weights.
    """
    if group_of(node.op) != "conv" or weights is None:
        return node.op.startswith("Nhwc")
    made = node.outputs[0]
    return made[3] == weights[0] != made[1]


def _bytes_read(node: Ran, size: float) -> float:
    """Of what flows in; constants are not counted where the node tells them apart."""
    if node.bytes_in is not None:
        return node.bytes_in
    sizes = [math.prod(shape) for shape in node.inputs] or [0]
    # Scalars, statistics and shapes are small beside what flows.
    return size * sum(one for one in sizes if one > max(sizes) / 16)


def _sized(work: Work, first: Shape, out: Shape) -> Work:
    return work._replace(
        c_in=float(first[1]), h_in=float(first[2]), w_in=float(first[3]),
        c_out=float(out[1]), h_out=float(out[2]), w_out=float(out[3]),
    )  # fmt: skip


def _conv_node(
    work: Work, first: Shape, weights: Shape, out: Shape, *, inside: bool | None
) -> Work:
    groups = max(1, first[1] // max(1, weights[1]))
    inner = math.prod(weights[1:])
    if inside is not None and groups == 1:
        work = work._replace(group="conv-blocked") if inside else plainly(work)
    return _sized(work, first, out)._replace(
        m=float(out[0] * out[2] * out[3]), n=out[1] / groups, k=float(inner),
        products=float(groups), groups=float(groups), window=float(math.prod(weights[2:])),
        stride=float(_stride(first[2], weights[2], out[2])), flops=2.0 * math.prod(out) * inner,
    )  # fmt: skip


def _stride(side: int, kernel: int, made: int) -> int:
    """The smallest stride that makes so many values of a side, unpadded or padded to ceil."""
    steps = range(1, min(side, _MOST_STRIDE) + 1)
    unpadded = (step for step in steps if (side - kernel) // step + 1 == made)
    padded = (step for step in steps if -(-side // step) == made)
    return next(unpadded, None) or next(padded, None) or max(1, round(side / made))


# --- what a network would run ---------------------------------------------------------------------


class _State(NamedTuple):
    """Where the walk through a network stands.

    Attributes:
        shape: of a tile here.
        blocked: channels of a block where the values lie in blocks; 0 where they do not.
        open: whether the op before still takes a batch norm or an activation into itself.
    """

    shape: Shape
    blocked: int = 0
    open: bool = False


_Step = tuple[tuple[Work, ...], _State]


def of_specs(specs: Iterable[NetworkSpec], lowering: str) -> Table:
    """The ops of many networks at batch 1; `Table.at` gives them at any other.

    What a layer becomes is worked out once for each place that it can stand in, so that a family of
    100,000 networks costs little more than its distinct layers.

    Raises:
        UsageError: no lowering of that name.
    """
    if lowering not in LOWERINGS:
        raise UsageError(f"Unknown lowering '{lowering}'.", f"Known: {', '.join(LOWERINGS)}.")
    lowered = _Lowered(lowering)
    rows: list[int] = []
    lengths: list[int] = []
    for spec in specs:
        before = len(rows)
        lowered.extend(rows, spec)
        lengths.append(len(rows) - before)
    return _placed_table(lowered.works, rows, lengths)


class _Lowered:
    """The distinct ops of the networks so far, and what each layer becomes at each state."""

    def __init__(self, lowering: str) -> None:
        self.lowering = lowering
        self.works: list[Work] = []
        self._places: dict[Work, int] = {}
        self._steps: dict[tuple[Layer, _State], tuple[tuple[int, ...], _State]] = {}
        self._starts: dict[tuple[Shape, Layer], tuple[tuple[int, ...], _State]] = {}

    def extend(self, rows: list[int], spec: NetworkSpec) -> None:
        """Append the rows of a network's ops."""
        key = (spec.input_shape, spec.layers[0])
        start = self._starts.get(key)
        if start is None:
            start = self._starts[key] = self._known(_start(*key, self.lowering))
        rows += start[0]
        state, steps = start[1], self._steps
        for layer in spec.layers:
            step = steps.get((layer, state))
            if step is None:
                step = steps[layer, state] = self._known(_step(self.lowering, layer, state))
            rows += step[0]
            state = step[1]
        if state.blocked:
            rows += self._known(_out(state))[0]

    def _known(self, step: _Step) -> tuple[tuple[int, ...], _State]:
        for work in step[0]:
            if work not in self._places:
                self._places[work] = len(self.works)
                self.works.append(work)
        return tuple(self._places[work] for work in step[0]), step[1]


def _placed_table(works: Sequence[Work], rows: Sequence[int], lengths: Sequence[int]) -> Table:
    """The table of these ops with `nth` and `after` by their order in each network."""
    network = np.repeat(np.arange(len(lengths)), lengths)
    row = np.array(rows, dtype=np.int64)
    names = {work.group: index for index, work in enumerate(works)}
    group = np.array([names[work.group] for work in works], dtype=np.int64)[row]
    # The first and the last op of each group in each network.
    of_group = network * len(works) + group
    first, last = np.zeros(len(row), dtype=bool), np.zeros(len(row), dtype=bool)
    first[np.unique(of_group, return_index=True)[1]] = True
    last[len(row) - 1 - np.unique(of_group[::-1], return_index=True)[1]] = True
    variant = row * 4 + 2 * ~first + ~last
    distinct, place = np.unique(variant, return_inverse=True)
    placed_works = [
        works[one // 4]._replace(nth=1.0 + (one // 2) % 2, after=float(one % 2))
        for one in distinct.tolist()
    ]
    return _table(placed_works, place.tolist(), network.tolist(), len(lengths))


def of_spec(
    spec: NetworkSpec, lowering: str, batch: int, value_bytes: float = VALUE_BYTES
) -> tuple[Work, ...]:
    """The ops of one network at a batch, in order, named after their type and place."""
    counts: dict[str, int] = {}
    result = []
    for work in _walk(spec, lowering):
        counts[work.op] = counts.get(work.op, 0) + 1
        label = f"{work.op.lower()}{counts[work.op]}"
        result.append(in_values(at_batch(work, batch), value_bytes)._replace(label=label))
    return tuple(placed(result))


def _walk(spec: NetworkSpec, lowering: str) -> list[Work]:
    works, state = _start(spec.input_shape, spec.layers[0], lowering)
    made = list(works)
    for layer in spec.layers:
        works, state = _step(lowering, layer, state)
        made += works
    if state.blocked:
        made += _out(state)[0]
    return made


def _start(shape: Shape, first: Layer, lowering: str) -> _Step:
    """What exported networks do to raw tiles, where it does not fold into the first layer."""
    padded = isinstance(first, Conv) and first.padding == "same"
    if lowering == "layers" or (isinstance(first, Conv | Dense) and not padded):
        return (), _State(shape)
    return (plain("Sub", shape), plain("Div", shape)), _State(shape)


@lru_cache(maxsize=200_000)
def _step(lowering: str, layer: Layer, state: _State) -> _Step:
    """The ops of one layer, and where the walk stands after it."""
    match layer:
        case Conv():
            return _conv_step(lowering, layer, state)
        case Dense():
            return _dense_step(lowering, layer, state)
        case Pool():
            return _pool_step(lowering, layer, state)
        case BatchNorm():
            if state.open or lowering == "layers":
                return (), state
            out, state = _out(state)
            return (*out, plain("BatchNormalization", state.shape)), state
        case Act():
            return _act_step(lowering, layer.activation, state)
    return (), state  # dropout does nothing at run time


def _conv_step(lowering: str, layer: Conv, state: _State) -> _Step:
    after = infer_shapes(NetworkSpec(state.shape, (layer,)))[0]
    open_ = layer.activation == "linear"
    block = BLOCKS.get(lowering)
    if block is None:
        work = kernels.picked(conv(state.shape, after, layer.kernel, layer.stride), lowering)
        return _own_activation(lowering, (work,), layer.activation, _State(after, open=open_))
    channels = state.shape[0]
    works: tuple[Work, ...] = ()
    if stays_plain(channels, block):
        # Channels that cannot be copied into blocks: the convolution stays unblocked.
        works, state = _out(state)
        work = conv(state.shape, after, layer.kernel, layer.stride)
        works = (*works, plainly(work)._replace(op="FusedConv"))
        now = _State(after, open=open_)
        return _own_activation(lowering, works, layer.activation, now)
    if channels < block:
        works, state = _out(state)
    elif not state.blocked:
        works, state = _in(state, block)
    work = in_blocks(conv(state.shape, after, layer.kernel, layer.stride), block)
    now = _State(after, blocked=block, open=open_)
    return _own_activation(lowering, (*works, work), layer.activation, now)


def stays_plain(channels: int, block: int) -> bool:
    """Whether a convolution of so many channels in cannot run in blocks of that width."""
    return channels >= block and channels % _ALIGNED > 0


def plainly(one: Work) -> Work:
    """An op that does not run in blocks where others do; it runs other code."""
    return one._replace(group=f"{one.group}-plain")


def in_blocks(one: Work, block: int) -> Work:
    """A convolution with its channels padded to blocks; few channels in are read as they are."""
    c_in = padded(int(one.c_in), block) if one.c_in >= block else one.c_in
    full = kernels.with_channels(one, c_in, padded(int(one.c_out), block))
    return full._replace(group="conv-blocked")


def _dense_step(lowering: str, layer: Dense, state: _State) -> _Step:
    out, state = _out(state)
    inner = math.prod(state.shape)
    flatten = () if len(state.shape) == 1 or lowering == "layers" else (reshape(state.shape),)
    works = (*out, *flatten, gemm(inner, layer.neurons))
    now = _State((layer.neurons,), open=layer.activation == "linear")
    return _own_activation(lowering, works, layer.activation, now)


def _pool_step(lowering: str, layer: Pool, state: _State) -> _Step:
    after = infer_shapes(NetworkSpec(state.shape, (layer,)))[0]
    works: tuple[Work, ...] = ()
    block = BLOCKS.get(lowering, 0)
    blocked = block if block and state.shape[0] % block == 0 else 0
    if blocked and not state.blocked:
        works, state = _in(state, block)
    elif not blocked:
        works, state = _out(state)
    op = "MaxPool" if layer.mode == "max" else "AveragePool"
    work = sliding(op, state.shape, after, layer.size, layer.stride)
    if block and not blocked:
        work = plainly(work)
    return (*works, work), _State(after, blocked=blocked)


def _own_activation(lowering: str, works: tuple[Work, ...], name: str, state: _State) -> _Step:
    """The ops of a layer with the activation that it owns."""
    if lowering == "layers" or name in ("linear", *_FUSED):
        return works, state
    more, state = _act_step(lowering, name, state)
    return (*works, *more), state


def _act_step(lowering: str, name: str, state: _State) -> _Step:
    if name == "linear" or (state.open and name in _FUSED):
        return (), state._replace(open=False)
    if lowering == "layers":
        return (plain(name.capitalize(), state.shape),), state
    # Some activations run in blocks, too; those that are several ops do not.
    keeps = state.blocked and state.shape[0] % state.blocked == 0 and name in _FUSED
    out, state = ((), state) if keeps else _out(state)
    now = state._replace(open=False)
    if name == "softsign":  # x / (1 + |x|)
        both = plain("Div", (2, *state.shape), state.shape)
        return (*out, plain("Abs", state.shape), plain("Add", state.shape), both), now
    return (*out, plain(name.capitalize(), state.shape)), now


def padded(channels: int, block: int) -> int:
    """Channels in whole blocks of that width."""
    return -(-channels // block) * block


def _out(state: _State) -> _Step:
    """The copy out of blocks, where the values lie in blocks."""
    if not state.blocked:
        return (), state
    blocks = (padded(state.shape[0], state.blocked), *state.shape[1:])
    return (reorder("ReorderOutput", blocks, state.shape),), _State(state.shape)


def _in(state: _State, block: int) -> _Step:
    blocks = (padded(state.shape[0], block), *state.shape[1:])
    copy = reorder("ReorderInput", state.shape, blocks)
    return (copy,), state._replace(blocked=block, open=False)


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
