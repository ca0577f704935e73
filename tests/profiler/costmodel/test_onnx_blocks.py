"""ONNX graphs in blocks of channels: the rules against what the runtime runs here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnprof.exporters.models import load_model
from nnprof.profiler.backends.onnxruntime import BACKEND
from nnprof.profiler.costmodel import onnx_rules
from nnprof.profiler.costmodel.ran import of_nodes, widths
from nnprof.profiler.costmodel.work import COLUMNS, Work
from nnprof.profiler.graph import counts
from nnprof.types import Target, Workload

SIDE = 8


class Graph:
    """Images of 8×8 through ops; a tensor's channels are in its name's entry."""

    def __init__(self, channels: int = 3) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.channels = {"x": channels}

    def op(self, kind: str, *inputs: str, channels: int = 0, **attributes: object) -> str:
        """A node that keeps the shape, but for the channels where they are given."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        self.channels[name] = channels or self.channels[inputs[0]]
        return name

    def weight(self, *shape: int) -> str:
        """A constant."""
        name = f"w{len(self.weights)}"
        values = np.random.default_rng(len(self.weights)).uniform(0.1, 1, shape)
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def conv(self, taken: str, depth: int, kernel: int = 3, groups: int = 1) -> str:
        """A padded convolution."""
        inner = self.channels[taken] // groups
        return self.op("Conv", taken, self.weight(depth, inner, kernel, kernel), self.weight(depth),
                       channels=depth, pads=[kernel // 2] * 4, group=groups)  # fmt: skip

    def norm(self, taken: str) -> str:
        """Batch normalisation."""
        each = [self.weight(self.channels[taken]) for _ in range(4)]
        return self.op("BatchNormalization", taken, *each)

    def save(self, out: str, path: Path) -> Path:
        """The file."""
        shapes = {"x": self.channels["x"], out: self.channels[out]}
        taken, made = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", depth, SIDE, SIDE])
            for name, depth in shapes.items()
        )
        graph = helper.make_graph(self.nodes, "graph", [taken], [made], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        model.ir_version = 8
        onnx.save(model, path)
        return path


def residual(net: Graph, depth: int, left: str = "", right: str = "", after: str = "Relu") -> str:
    """Two convolutions of one, with what comes after each, summed."""
    start = net.op("Relu", net.conv("x", depth))
    sides = [net.conv(start, depth), net.conv(start, depth, 1)]
    both = [net.op(act, one) if act else one for act, one in zip((left, right), sides, strict=True)]
    return net.conv(net.op(after, net.op("Add", *both)), 32)


def shortcut(net: Graph) -> str:
    """A sum of what has an activation in it with the image before it, and another sum."""
    start = net.op("Relu", net.conv("x", 20))
    once = net.op("Add", net.op("Relu", net.conv(start, 20)), start)
    return net.op("Relu", net.op("Add", net.conv(once, 20), once))


def branches(net: Graph, *depths: int) -> str:
    """Side by side, then one after the other."""
    start = net.op("Relu", net.conv("x", 32))
    sides = [net.op("LeakyRelu", net.conv(start, depth)) for depth in depths]
    return net.conv(net.op("Concat", *sides, channels=sum(depths), axis=1), 16)


def alone(net: Graph, depth: int, groups: int, after: int = 0) -> str:
    """A convolution in groups between two others."""
    start = net.op("Relu", net.conv("x", depth)) if depth != net.channels["x"] else "x"
    return net.conv(net.op("Relu", net.conv(start, after or depth, groups=groups)), 32, 1)


def normed(net: Graph, depth: int, act: str) -> str:
    """Batch normalisation after an activation, and another activation."""
    start = net.op("Relu", net.conv("x", depth))
    return net.conv(net.op(act, net.norm(start)), 32)


CASES: dict[str, tuple[int, Callable[[Graph], str]]] = {
    "sum": (3, lambda net: residual(net, 20)),
    "sum of whole blocks, sigmoid": (3, lambda net: residual(net, 32, after="Sigmoid")),
    "sum, leaky": (3, lambda net: residual(net, 20, after="LeakyRelu")),
    "sum with an activation before": (3, lambda net: residual(net, 20, left="Relu")),
    "sum of two activations": (3, lambda net: residual(net, 20, left="Relu", right="Relu")),
    "sum outside of blocks": (3, lambda net: residual(net, 18)),
    "shortcut": (3, shortcut),
    "branches of whole blocks": (3, lambda net: branches(net, 32, 16)),
    "branches": (3, lambda net: branches(net, 20, 12)),
    "depthwise": (3, lambda net: alone(net, 20, 20)),
    "depthwise, raw": (20, lambda net: alone(net, 20, 20)),
    "depthwise, not aligned": (3, lambda net: alone(net, 18, 18)),
    "depthwise, two of each": (3, lambda net: alone(net, 32, 32, 64)),
    "two groups": (3, lambda net: alone(net, 64, 2)),
    "groups of no whole blocks": (3, lambda net: alone(net, 24, 4)),
    "norm": (3, lambda net: normed(net, 20, "Relu")),
    "norm, leaky": (3, lambda net: normed(net, 20, "LeakyRelu")),
    "hard sigmoid": (3, lambda net: net.op("HardSigmoid", net.op("Relu", net.conv("x", 20)))),
}


def numbers(ops: tuple[Work, ...]) -> Counter[tuple[object, ...]]:
    """What features see of each op, in any order: branches have none."""
    views = {name.lower() for name in counts.VIEWS}
    columns = [name for name in COLUMNS if name not in ("nth", "after")]
    return Counter(
        ("view" if op.group in views else op.group,
         *(float(f"{getattr(op, name):.9g}") for name in columns))
        for op in ops
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_rules_give_what_the_runtime_runs_here(case: str, tmp_path: Path) -> None:
    """Sums, branches, groups and norms: every op with every number."""
    channels, build = CASES[case]
    net = Graph(channels)
    model = load_model(net.save(build(net), tmp_path / "net.onnx"))
    workload = Workload(model=model, batch=3)
    session = BACKEND.open(workload, Target())
    ran = session.graph()
    session.close()
    found = widths(ran)
    if not found:
        pytest.skip("this machine's runtime keeps no images in blocks")
    # Channels that are multiples of 16 tell no width, and are those of the wider.
    rules = onnx_rules.of_workload(workload, f"blocked{max(found)}")
    assert numbers(rules) == numbers(of_nodes(ran))


def test_views_keep_their_names(tmp_path: Path) -> None:
    """A Squeeze or Flatten of a file is an op of that name, as the runtime runs it."""
    sides = numpy_helper.from_array(np.array([2, 3]), "sides")
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["g"], name="g"),
        helper.make_node("Squeeze", ["g", "sides"], ["s"], name="s"),
        helper.make_node("Flatten", ["s"], ["f"], name="f"),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
        for name, shape in (("x", (16, 4, 4)), ("f", (16,)))
    ]
    graph = helper.make_graph(nodes, "views", ports[:1], ports[1:], [sides])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(proto, tmp_path / "views.onnx")
    workload = Workload(model=load_model(tmp_path / "views.onnx"), batch=3)
    ops = [op.op for op in onnx_rules.of_workload(workload, "")]
    assert ops == ["GlobalAveragePool", "Squeeze", "Flatten"]
