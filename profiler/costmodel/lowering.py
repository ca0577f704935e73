"""A network that was never run → the ops that a runtime would run, by rules.

The rules have names, because runtimes differ:

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
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from nnprof.errors import UsageError
from nnprof.exporters.recurrent import activations_of
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
    Recurrent,
)
from nnprof.networks.shapes import same_padding
from nnprof.networks.spec import NetworkSpec, infer_shapes
from nnprof.profiler.costmodel import kernels
from nnprof.profiler.costmodel.kernels import BLOCKS, padded, plainly, stays_plain
from nnprof.profiler.costmodel.ran import stride_of
from nnprof.profiler.costmodel.work import (
    VALUE_BYTES,
    Shape,
    Table,
    Work,
    at_batch,
    conv,
    gemm,
    in_values,
    of_rows,
    placed,
    plain,
    recurrent,
    reorder,
    reshape,
    sliding,
)

LOWERINGS = ("layers", "fused", *BLOCKS, *kernels.RULES)


_FUSED = ("relu", "tanh", "sigmoid")  # activations that a convolution or product takes in


class _State(NamedTuple):
    """Where the walk through a network stands.

    Attributes:
        shape: of a tile here.
        blocked: channels of a block where the values lie in blocks; 0 where they do not.
        open: whether the op before still takes a batch norm or an activation into itself.
        order: what lies next to each other in a sequence: the values of a "tile", those of a "step"
            of all tiles, or those of a "feature" in a tile.
    """

    shape: Shape
    blocked: int = 0
    open: bool = False
    order: str = "tile"


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
    return of_rows(placed_works, place.tolist(), network.tolist(), len(lengths))


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
    zeros = (
        isinstance(first, Conv)
        and first.padding == "same"
        and any(same_padding(side, first.kernel, first.stride) != (0, 0) for side in shape[1:])
    )
    if lowering == "layers" or (isinstance(first, Conv | Dense | Recurrent) and not zeros):
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
        case Lstm() | Gru():
            return _recurrent_step(lowering, layer, state)
        case BatchNorm():
            return _norm_step(lowering, state)
        case Act():
            return _act_step(lowering, layer.activation, state)
        case Branches():
            return _branches_step(lowering, layer, state)
        case Dropout():
            return (), state  # it does nothing at run time
        case _:
            raise TypeError(f"no rule for a layer of the kind {type(layer).__name__}")


def _norm_step(lowering: str, state: _State) -> _Step:
    if state.open or lowering == "layers":
        return (), state
    if state.blocked:
        one = normalised(blocks_of(state.shape, state.blocked))
        return (one,), state._replace(open=True)
    copies, state = _ordered(state, "feature")
    return (*copies, plain("BatchNormalization", state.shape)), state


def _conv_step(lowering: str, layer: Conv, state: _State) -> _Step:
    after = infer_shapes(NetworkSpec(state.shape, (layer,)))[0]
    stride = stride_of(state.shape[1], layer.kernel, after[1])
    open_ = layer.activation == "linear"
    block = BLOCKS.get(lowering)
    if block is None:
        work = kernels.picked(conv(state.shape, after, layer.kernel, stride), lowering)
        return _own_activation(lowering, (work,), layer.activation, _State(after, open=open_))
    channels = state.shape[0]
    works: tuple[Work, ...] = ()
    if stays_plain(channels, block):
        # Channels that cannot be copied into blocks: the convolution stays unblocked.
        works, state = _out(state)
        work = conv(state.shape, after, layer.kernel, stride)
        works = (*works, plainly(work)._replace(op="FusedConv"))
        now = _State(after, open=open_)
        return _own_activation(lowering, works, layer.activation, now)
    if channels < block:
        works, state = _out(state)
    elif not state.blocked:
        works, state = _in(state, block)
    work = in_blocks(conv(state.shape, after, layer.kernel, stride), block)
    now = _State(after, blocked=block, open=open_)
    return _own_activation(lowering, (*works, work), layer.activation, now)


def in_blocks(one: Work, block: int) -> Work:
    """A convolution with its channels padded to blocks; few channels in are read as they are."""
    c_in = padded(int(one.c_in), block) if one.c_in >= block else one.c_in
    full = kernels.with_channels(one, c_in, padded(int(one.c_out), block))
    return full._replace(group="conv-blocked")


def normalised(shape: Shape) -> Work:
    """Batch normalisation of an image in blocks: a 1×1 convolution of each channel by itself.

    Source: `TransformBatchNormalization` in ONNX Runtime's `nchwc_transformer.cc`; as the tests see
    it run.
    """
    channels, values = float(shape[0]), math.prod(shape)
    return conv(shape, shape, 1, 1)._replace(
        n=1.0, k=1.0, products=channels, groups=channels, flops=2.0 * values,
        bytes_weights=4.0 * channels,
    )  # fmt: skip


def blocks_of(shape: Shape, block: int) -> Shape:
    """An image with its channels in whole blocks."""
    return (padded(shape[0], block), *shape[1:])


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
    # As a graph that ran tells it, where one window is all there is, too.
    stride = max(1, round(state.shape[1] / after[1]))
    work = sliding(op, state.shape, after, layer.size, stride)
    if block and not blocked:
        work = plainly(work)
    return (*works, work), _State(after, blocked=blocked)


def _recurrent_step(lowering: str, layer: Recurrent, state: _State) -> _Step:
    """The one op of the layer, for steps in order, and the views and copies around it."""
    after, op = layer.after(state.shape, layer.CALLED), layer.CALLED.upper()
    used = activations_of(op, layer.activation)
    work = recurrent(op, used, state.shape, layer.units, after)
    if lowering == "layers":
        return (work,), _State(after)
    copies, _ = _ordered(state, "step")
    return (*copies, work, plain("Squeeze", after)), _State(after, order="step")


def _ordered(state: _State, order: str) -> _Step:
    """The copy of a sequence into another order, where it lies in another one."""
    if len(state.shape) != 2 or state.order == order:
        return (), state
    return (plain("Transpose", state.shape),), state._replace(order=order)


def _branches_step(lowering: str, layer: Branches, state: _State) -> _Step:
    """The ops of each branch, then one that joins what they give.

    Values that lie in blocks are copied out before a bracket and at the end of each branch, and
    sequences that come in several orders are put tile by tile; a runtime may do less.
    """
    works, begin = _out(state)
    ends = [_sequence(lowering, one, begin._replace(open=False)) for one in layer.branches]
    orders = {now.order for _, now in ends}
    order = orders.pop() if len(orders) == 1 else "tile"
    starts: set[Work] = set()
    for made, now in ends:
        more, now = _out(now)
        last, _ = _ordered(now, order)
        # Branches that begin with the same copy share it.
        shared = [one for one in made[:1] if one.op == "Transpose" and one in starts]
        starts.update(made[:1])
        works += (*made[len(shared) :], *more, *last)
    after = layer.after(begin.shape, layer.CALLED)
    if layer.join == "concat":
        return (*works, plain("Concat", after)), _State(after, order=order)
    adds = tuple(plain("Add", (2, *after), after) for _ in layer.branches[1:])
    return (*works, *adds), _State(after, order=order)


def _sequence(lowering: str, layers: Iterable[Layer], state: _State) -> _Step:
    works: tuple[Work, ...] = ()
    for layer in layers:
        more, state = _step(lowering, layer, state)
        works += more
    return works, state


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
    if state.blocked and name in _FUSED:
        shape = blocks_of(state.shape, state.blocked)
        return (plain(name.capitalize(), shape),), state._replace(open=False)
    out, state = _out(state)
    now = state._replace(open=False)
    if name == "softsign":  # x / (1 + |x|)
        both = plain("Div", (2, *state.shape), state.shape)
        return (*out, plain("Abs", state.shape), plain("Add", state.shape), both), now
    return (*out, plain(name.capitalize(), state.shape)), now


def _out(state: _State) -> _Step:
    """The copy out of blocks, where the values lie in blocks."""
    if not state.blocked:
        return (), state
    blocks = blocks_of(state.shape, state.blocked)
    return (reorder("ReorderOutput", blocks, state.shape),), _State(state.shape)


def _in(state: _State, block: int) -> _Step:
    copy = reorder("ReorderInput", state.shape, blocks_of(state.shape, block))
    return (copy,), state._replace(blocked=block, open=False)
