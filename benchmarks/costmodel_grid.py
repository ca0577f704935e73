"""Measures the grid that the cost model is trained and judged on; see docs/cost-model-results.md.

    python benchmarks/costmodel_grid.py train OUT      at most 120 distinct ops
    python benchmarks/costmodel_grid.py test MODEL OUT 64 random networks, drawn from the seed that is
                                                       the sha256 of the frozen model's file

The grid: the networks of Mattsson 2016 with kernels of 3 and 5, a depth of each ConvLayer and a width
of each FC layer of its own, most of them no multiples of 16, on tiles of 28×28, batch 1 to 1024.
"""

from __future__ import annotations

import hashlib
import math
import sys
from pathlib import Path

import numpy as np

from nnprof.exporters.onnx import export
from nnprof.networks.spec import Conv, Dense, Layer, NetworkSpec, Pool
from nnprof.profiler import bench
from nnprof.profiler.costmodel import work
from nnprof.types import Cell, Plan, Target, Workload

MOST_OPS = 120
MOST_FLOPS = 1e11  # of an inference: about a second on this machine
CANDIDATES = 2000
TRAIN_SEED = 20261121
TEST_NETWORKS = 64
TRAIN_PLAN = Plan(processes=5, max_processes=5, sample_s=0.5, op_processes=3, op_s=0.8)
TEST_PLAN = Plan(processes=5, max_processes=5, sample_s=0.5, op_method="none")
LOWERING = "blocked16"
Asked = tuple[NetworkSpec, int]


def draw(random: np.random.Generator) -> Asked:
    """A network and a batch: sizes uniform in their logarithm, kernels and counts uniform."""
    while True:
        layers: list[Layer] = []
        side = 28
        for _ in range(random.integers(0, 6)):
            kernel = int(random.choice([3, 5]))
            layers.append(Conv(_log_uniform(random, 4, 96), kernel))
            side -= kernel - 1
        if layers:
            layers.append(Pool(2, 2))
        layers += [Dense(_log_uniform(random, 16, 2048)) for _ in range(random.integers(0, 4))]
        layers.append(Dense(10, "softmax"))
        batch = _log_uniform(random, 1, 1024)
        spec = NetworkSpec((1, 28, 28), tuple(layers))
        if sum(op.flops for op in work.of_spec(spec, LOWERING, batch)) <= MOST_FLOPS:
            return spec, batch


def _log_uniform(random: np.random.Generator, low: int, high: int) -> int:
    return round(math.exp(random.uniform(math.log(low), math.log(high))))


def training() -> list[Asked]:
    """Networks whose ops cover the grid, with at most 120 distinct ops in all.

    Greedy: the network is taken whose new ops are farthest, in the logarithms of their sizes, from
    those that are in already, per op that it adds. Every second has a batch of at most 64, so that
    extrapolation in the batch can be tried with the rest left out.
    """
    random = np.random.default_rng(TRAIN_SEED)
    pool = [(asked, _points(asked)) for asked in (draw(random) for _ in range(CANDIDATES))]
    chosen: list[Asked] = []
    have: dict[bytes, tuple[str, np.ndarray]] = {}
    while True:
        small = len(chosen) % 2 == 0
        best, gain = None, 0.0
        for asked, points in pool:
            new = {key: point for key, point in points.items() if key not in have}
            if len(have) + len(new) > MOST_OPS or not new or (small and asked[1] > 64):
                continue
            far = sum(_distance(point, have) for point in new.values()) / len(new)
            if far > gain:
                best, gain = (asked, points), far
        if best is None:
            return chosen
        chosen.append(best[0])
        have.update(best[1])


def _points(asked: Asked) -> dict[bytes, tuple[str, np.ndarray]]:
    """The distinct ops of a network: what makes them distinct → group, logarithms of sizes."""
    points = {}
    for op in work.of_spec(asked[0], LOWERING, asked[1]):
        numbers = np.array([op.batch, op.m, op.n, op.k, op.window, op.bytes_in, op.bytes_out])
        key = op.group.encode() + numbers.tobytes()
        points[key] = (op.group, np.log2(np.maximum(numbers, 1)))
    return points


def _distance(point: tuple[str, np.ndarray], have: dict[bytes, tuple[str, np.ndarray]]) -> float:
    """To the nearest op of the group; ops that take less of the time count less."""
    weight = 1.0 if point[0].startswith("conv") else 0.4 if point[0] == "gemm" else 0.05
    near = [np.linalg.norm(point[1] - other) for group, other in have.values() if group == point[0]]
    return weight * float(min(near, default=30.0))


def held_out(model: Path) -> list[Asked]:
    """Random networks that nobody could know before the model was frozen."""
    seed = int.from_bytes(hashlib.sha256(model.read_bytes()).digest()[:8], "big")
    random = np.random.default_rng(seed)
    return [draw(random) for _ in range(TEST_NETWORKS)]


def measure(name: str, asked: list[Asked], plan: Plan, folder: Path) -> Path:
    """The Run's path."""
    target = Target()
    cells = tuple(
        Cell(workload=Workload(model=export(spec), batch=batch), target=target)
        for spec, batch in asked
    )
    run, path = bench.start(name, sys.argv, cells, plan, folder)
    for step in bench.sweep(run, path):
        work_ = step.cell.workload
        print(step.finished, work_.batch, work_.model.name, f"{step.left_s:.0f} s left", flush=True)
    return path


def main() -> None:
    """See the module's docstring."""
    if sys.argv[1] == "train":
        asked = training()
        ops = {key for one in asked for key in _points(one)}
        print(f"{len(asked)} networks, {len(ops)} distinct ops")
        if len(sys.argv) > 2:
            print(measure("costmodel-train", asked, TRAIN_PLAN, Path(sys.argv[2])))
    else:
        asked = held_out(Path(sys.argv[2]))
        print(measure("costmodel-test", asked, TEST_PLAN, Path(sys.argv[3])))


if __name__ == "__main__":
    main()
