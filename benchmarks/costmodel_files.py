"""ONNX files with what the notation has no words for, made from their names.

`residual-7`, `separable-7`, `branches-7`: the number is the seed of sizes and weights, so that a
Run that names such a file can be judged anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KINDS = ("residual", "separable", "branches")
_OPSET = 18
_NAME = re.compile(f"({'|'.join(KINDS)})-([0-9]+)")


class _Net:
    """An ONNX graph as it grows; tensors are known by name."""

    def __init__(self, seed: int, channels: int, side: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.channels = {"tiles": channels}
        self.side = {"tiles": side}
        self.flops = 0.0

    def op(self, kind: str, inputs: list[str], channels: int, side: int, **attributes) -> str:
        """A node; the name of what it makes."""
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        self.channels[name], self.side[name] = channels, side
        return name

    def weight(self, *shape: int) -> str:
        """A constant of small random values."""
        name = f"w{len(self.weights)}"
        values = (self.random.standard_normal(shape) * 0.05).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, taken: str, depth: int, kernel: int, stride: int = 1, groups: int = 1) -> str:
        """Padded to ceil(side / stride), with a bias."""
        c_in, side = self.channels[taken], -(-self.side[taken] // stride)
        weights = self.weight(depth, c_in // groups, kernel, kernel), self.weight(depth)
        self.flops += 2 * depth * (c_in // groups) * kernel**2 * side**2
        pad = kernel // 2
        return self.op("Conv", [taken, *weights], depth, side, kernel_shape=[kernel] * 2,
                       strides=[stride] * 2, pads=[pad] * 4, group=groups)  # fmt: skip

    def same(self, kind: str, *taken: str) -> str:
        """An op that keeps the shape."""
        return self.op(kind, list(taken), self.channels[taken[0]], self.side[taken[0]])

    def max_pool(self, taken: str) -> str:
        """3×3 of stride 2, padded."""
        side = (self.side[taken] - 1) // 2 + 1
        return self.op("MaxPool", [taken], self.channels[taken], side, kernel_shape=[3, 3],
                       strides=[2, 2], pads=[1] * 4)  # fmt: skip

    def head(self, taken: str) -> str:
        """A global average pool, ten scores and their softmax."""
        depth = self.channels[taken]
        pooled = self.op("GlobalAveragePool", [taken], depth, 1)
        flat = self.op("Flatten", [pooled], depth, 1)
        self.flops += 20 * depth
        scores = self.op("Gemm", [flat, self.weight(10, depth), self.weight(10)], 10, 1, transB=1)
        return self.op("Softmax", [scores], 10, 1)

    def model(self, out: str) -> onnx.ModelProto:
        """The file's content, with a free batch."""
        tiles = ["batch", self.channels["tiles"], self.side["tiles"], self.side["tiles"]]
        graph = helper.make_graph(
            self.nodes,
            "others",
            [helper.make_tensor_value_info("tiles", TensorProto.FLOAT, tiles)],
            [helper.make_tensor_value_info(out, TensorProto.FLOAT, ["batch", 10])],
            self.weights,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
        made.ir_version = 8  # that runtimes of the last years read
        return made


def _residual(net: _Net) -> str:
    """He et al. 2016: two 3×3 and a shortcut, with stride 2 between stages."""
    depth = int(net.random.choice([8, 16, 24, 32]))
    now = net.same("Relu", net.conv("tiles", depth, 3))
    for stage in range(int(net.random.integers(2, 4))):
        stride, wide = (1 if stage == 0 else 2), depth * 2**stage
        inner = net.same("Relu", net.conv(now, wide, 3, stride))
        inner = net.conv(inner, wide, 3)
        short = now if stage == 0 else net.conv(now, wide, 1, stride)
        now = net.same("Relu", net.same("Add", inner, short))
    return net.head(now)


def _separable(net: _Net) -> str:
    """Howard et al. 2017: 3×3 of each channel alone, then 1×1; clipped at 6."""
    depth = int(net.random.choice([8, 16, 24, 32]))
    now = _clipped(net, net.conv("tiles", depth, 3))
    for step in range(int(net.random.integers(2, 5))):
        stride = 2 if step % 2 else 1
        alone = net.conv(now, net.channels[now], 3, stride, groups=net.channels[now])
        now = _clipped(net, net.conv(_clipped(net, alone), depth * (step + 1), 1))
    return net.head(now)


def _clipped(net: _Net, taken: str) -> str:
    if not any(weight.name == "six" for weight in net.weights):
        for name, value in (("zero", 0), ("six", 6)):
            net.weights.append(numpy_helper.from_array(np.float32(value), name))
    return net.op("Clip", [taken, "zero", "six"], net.channels[taken], net.side[taken])


def _branches(net: _Net) -> str:
    """Szegedy et al. 2015: 1×1, 3×3 and 5×5 side by side, their channels put together."""
    now = net.same("Relu", net.conv("tiles", int(net.random.choice([16, 20, 32])), 3))
    for _ in range(int(net.random.integers(1, 4))):
        each = int(net.random.choice([8, 12, 16, 24]))
        sides = [net.same("LeakyRelu", net.conv(now, each, kernel)) for kernel in (1, 3, 5)]
        now = net.op("Concat", sides, 3 * each, net.side[now], axis=1)
        if net.side[now] > 8:
            now = net.max_pool(now)
    return net.head(now)


_MAKERS: dict[str, Callable[[_Net], str]] = dict(
    zip(KINDS, (_residual, _separable, _branches), strict=True)
)


def is_name(text: str) -> bool:
    """Whether a network is one of these files."""
    return _NAME.fullmatch(text) is not None


def _net(name: str) -> tuple[_Net, str]:
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"no such network: {name}")
    seed = int(found[2])
    net = _Net(seed, *((3, 32) if seed % 2 else (1, 28)))
    return net, _MAKERS[found[1]](net)


def flops(name: str) -> float:
    """Of one tile."""
    return _net(name)[0].flops


def made(name: str, folder: Path) -> Path:
    """The file of that name in a folder."""
    net, out = _net(name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    path.write_bytes(net.model(out).SerializeToString(deterministic=True))
    return path
