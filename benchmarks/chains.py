"""Is the time that nnprof gives to one layer what one more layer costs?

    python benchmarks/chains.py OUT.json [--backend NAME]

Chains of 4 and of 8 identical layers are measured; (T(8) - T(4)) / 4 is what a layer costs at the
margin. Beside it stands the time that nnprof gives to a layer of the chain of 4 (the median of its
layers), and what the runtime's own pass gives. The margin comes from clean passes only, which the
op estimates do not see.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import nnprof
from nnprof.profiler import stats
from nnprof.types import Cell, Measurement, OpTime, Workload

SHORT, LONG = 4, 8
BATCHES = (1, 16, 128)
Node = Callable[[int, str, str], tuple[onnx.NodeProto, list[onnx.TensorProto]]]


def weights(name: str, *shape: int) -> onnx.TensorProto:
    """Random constants that keep the size of what flows through.

    Each name has its own: ONNX Runtime packs equal weights once, so that layers would share them.
    """
    scale = 1 / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 1)
    values = np.random.default_rng(list(name.encode())).standard_normal(shape) * scale
    return numpy_helper.from_array(values.astype(np.float32), name)


def dense(width: int) -> Node:
    """A fully connected layer of as many outputs as inputs."""

    def node(index: int, source: str, made: str) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
        name = f"w{index}"
        made_by = helper.make_node("Gemm", [source, name], [made], name=f"layer{index}")
        return made_by, [weights(name, width, width)]

    return node


def conv(depth: int, kernel: int) -> Node:
    """A convolution of as many channels as it gets, padded to the same size."""

    def node(index: int, source: str, made: str) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
        name, pad = f"w{index}", kernel // 2
        made_by = helper.make_node(
            "Conv", [source, name], [made], name=f"layer{index}", pads=[pad] * 4,
            kernel_shape=[kernel, kernel],
        )  # fmt: skip
        return made_by, [weights(name, depth, depth, kernel, kernel)]

    return node


def plain(op: str, **attributes: Any) -> Node:
    """A layer without weights."""

    def node(index: int, source: str, made: str) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
        return helper.make_node(op, [source], [made], name=f"layer{index}", **attributes), []

    return node


KINDS: dict[str, tuple[Node, list[int]]] = {
    "fc 128": (dense(128), [128]),
    "fc 512": (dense(512), [512]),
    "fc 1024": (dense(1024), [1024]),
    "conv 16 3x3 on 28x28": (conv(16, 3), [16, 28, 28]),
    "conv 32 5x5 on 14x14": (conv(32, 5), [32, 14, 14]),
    "conv 20 5x5 on 20x20": (conv(20, 5), [20, 20, 20]),
    "max-pool 3x3 on 24x24": (
        plain("MaxPool", kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1]),
        [16, 24, 24],
    ),
    "tanh on 20x12x12": (plain("Tanh"), [20, 12, 12]),
}


def chain(folder: Path, name: str, length: int) -> nnprof.Model:
    """A chain of identical layers as an ONNX file."""
    make, shape = KINDS[name]
    names = ["x", *(f"t{index}" for index in range(1, length)), "y"]
    parts = [make(index, source, made) for index, (source, made) in enumerate(pairwise(names))]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [node for node, _ in parts],
        "chain",
        [helper.make_tensor_value_info("x", kind, ["batch", *shape])],
        [helper.make_tensor_value_info("y", kind, ["batch", *shape])],
        [tensor for _, tensors in parts for tensor in tensors],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = folder / f"{name.replace(' ', '-')}-{length}.onnx"
    onnx.save(model, path)
    return nnprof.load_model(path)


def layer_s(ops: Iterable[OpTime]) -> float:
    """Seconds of one layer: the median over the layers of the chain.

    With a layer goes what the runtime put in before it and is of no node: ncnn copies the weights
    of a product in a layer of their own, MNN changes layouts. An op of several layers is shared.
    """
    layers_s: list[float] = []
    so_far_s = 0.0
    for op in ops:
        so_far_s += op.seconds
        if inside := sum("layer" in name for name in op.origin):
            layers_s += [so_far_s / inside] * inside
            so_far_s = 0.0
    return median(layers_s)


def row(name: str, batch: int, short: Measurement, long: Measurement) -> dict[str, Any]:
    """One kind of layer at one batch."""
    margin_s = (stats.latency_s(long) - stats.latency_s(short)) / (LONG - SHORT)
    assert short.ops is not None
    own_s = layer_s(short.ops.ops)
    profiler_s = median(layer_s(one.ops) for one in short.op_passes if one.method == "runtime")
    return {
        "layer": name,
        "batch": batch,
        "margin_us": margin_s * 1e6,
        "nnprof_us": own_s * 1e6,
        "profiler_us": profiler_s * 1e6,
        "nnprof_error": own_s / margin_s - 1,
        "profiler_error": profiler_s / margin_s - 1,
        "good": abs(own_s - margin_s) <= max(0.15 * margin_s, 1e-6),
    }


def main(out: Path, backend: str) -> None:
    """Measure all chains in one sweep, print, write."""
    target = nnprof.Target(backend=backend)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        models = {(name, n): chain(folder, name, n) for name in KINDS for n in (SHORT, LONG)}
        cells = [
            Cell(workload=Workload(model=model, batch=batch), target=target)
            for model in models.values()
            for batch in BATCHES
        ]
        plan = nnprof.Plan(processes=4, max_processes=4, sample_s=0.5, interval=0.005)
        run, path = nnprof.start(cells, plan, folder, name="chains")
        for _ in nnprof.sweep(run, path):
            pass
        found = {
            (m.workload.model.sha256, m.workload.batch): m for m in nnprof.load(path).measurements
        }
    rows = [
        row(
            name,
            batch,
            found[models[name, SHORT].sha256, batch],
            found[models[name, LONG].sha256, batch],
        )
        for name in KINDS
        for batch in BATCHES
    ]
    print(f"{'layer':<24} {'batch':>5} {'margin µs':>10} {'nnprof':>8} {'profiler':>9}")
    for one in rows:
        print(
            f"{one['layer']:<24} {one['batch']:>5} {one['margin_us']:>10.2f} "
            f"{one['nnprof_error']:>+8.1%} {one['profiler_error']:>+9.1%}"
            f"{'' if one['good'] else '  beyond'}"
        )
    errors = {
        key: median(abs(one[f"{key}_error"]) for one in rows) for key in ("nnprof", "profiler")
    }
    good = sum(one["good"] for one in rows)
    line = (
        f"median error: nnprof {errors['nnprof']:.1%}, profiler {errors['profiler']:.1%}; "
        f"within 15 % or 1 µs: {good} of {len(rows)}"
    )
    print(line)
    out.write_text(
        json.dumps({"layers": rows, "summary": line}, indent=1, ensure_ascii=False) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--backend", default=nnprof.Target().backend)
    asked = parser.parse_args()
    main(asked.out, asked.backend)
