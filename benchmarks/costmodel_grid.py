"""Measures the grid that the cost model is trained and judged on; see docs/cost-model-results.md.

    python benchmarks/costmodel_grid.py train OUT        at most 120 distinct ops
    python benchmarks/costmodel_grid.py dev OUT          40 random networks with all their ops, on
                                                         which features are chosen; never fitted
    python benchmarks/costmodel_grid.py calibrate OUT    100 other random networks, whole: how far
                                                         off the model is, for its intervals
    python benchmarks/costmodel_grid.py test MODEL OUT   64 random networks; their seed is the
                                                         sha256 of the frozen model's file

The grid: the networks of Mattsson 2016 with kernels of 3 and 5, a depth of each ConvLayer and a
width of each FC layer of its own, most of them no multiples of 16, on tiles of 28×28, batch 1 to
1024.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import sys
from pathlib import Path

import numpy as np

from nnprof.exporters.export import export
from nnprof.networks.layers import Conv, Dense, Layer, Pool
from nnprof.networks.spec import NetworkSpec
from nnprof.profiler.costmodel import lowering
from nnprof.profiler.run import begin, sweep
from nnprof.types import Cell, Plan, Target, Workload

MOST_OPS = 120
MOST_FLOPS = 1e11  # of an inference: about a second on this machine
CANDIDATES = 2000
TRAIN_SEED = 20261122
DEV_SEED = 20261123
CALIBRATE_SEED = 20261128
DEV_NETWORKS = 40
CALIBRATE_NETWORKS = 100  # the share that 90 % intervals of 40 hold has a deviation of 5 points
DEV_FLOPS = 2e10
TEST_NETWORKS = 64
TRAIN_PLAN = Plan(processes=3, max_processes=3, sample_s=0.3, op_processes=3, op_s=1.5)
DEV_PLAN = Plan(processes=3, max_processes=3, sample_s=0.3, op_processes=2, op_s=0.8)
TEST_PLAN = Plan(processes=4, max_processes=4, sample_s=0.3, op_method="none")
LOWERING = "blocked16"
Asked = tuple[NetworkSpec, int]


def draw(random: np.random.Generator, most_flops: float = MOST_FLOPS) -> Asked:
    """A network and a batch: sizes uniform in their logarithm, kernels and counts uniform."""
    drawn = _any(random)
    while sum(op.flops for op in lowering.of_spec(drawn[0], LOWERING, drawn[1])) > most_flops:
        drawn = _any(random)
    return drawn


def _any(random: np.random.Generator) -> Asked:
    layers: list[Layer] = []
    for _ in range(random.integers(0, 6)):
        kernel = int(random.choice([3, 5]))
        layers.append(Conv(_log_uniform(random, 4, 96), kernel))
    if layers:
        layers.append(Pool(2, 2))
    layers += [Dense(_log_uniform(random, 16, 2048)) for _ in range(random.integers(0, 4))]
    layers.append(Dense(10, "softmax"))
    batch = _log_uniform(random, 1, 1024)
    return NetworkSpec((1, 28, 28), tuple(layers)), batch


def _log_uniform(random: np.random.Generator, low: int, high: int) -> int:
    return round(math.exp(random.uniform(math.log(low), math.log(high))))


def training() -> list[Asked]:
    """Networks whose ops cover the grid, with at most 120 distinct ops in all.

    Turn by turn from 0 to 5 ConvLayers. Of random networks of that kind the one is taken whose new
    ops are the farthest, in the logarithms of their sizes, from those that are in already, per op
    that it adds; beyond a factor of 8 farther is no better, for extremes are rare.
    """
    random = np.random.default_rng(TRAIN_SEED)
    pool = [(asked, _points(asked)) for asked in (draw(random) for _ in range(CANDIDATES))]
    chosen: list[Asked] = []
    have: dict[bytes, tuple[str, np.ndarray]] = {}
    for turn in itertools.count():
        best: tuple[Asked, dict] | None = None
        gain = 0.0
        for asked, points in pool:
            new = {key: point for key, point in points.items() if key not in have}
            if _convolutions(asked[0]) != _ORDER[turn % len(_ORDER)] or not new:
                continue
            if len(have) + len(new) > MOST_OPS:
                continue
            far = sum(_distance(point, have) for point in new.values()) / len(new)
            if far > gain:
                best, gain = (asked, points), far
        if best is None:
            break
        chosen.append(best[0])
        have.update(best[1])
    return chosen


_ORDER = (5, 1, 0, 2, 3, 1, 0, 4)  # ConvLayers of the networks, turn by turn; small ones vary most


def _convolutions(spec: NetworkSpec) -> int:
    return sum(isinstance(layer, Conv) for layer in spec.layers)


def _points(asked: Asked) -> dict[bytes, tuple[str, np.ndarray]]:
    """The distinct ops of a network: what makes them distinct → group, logarithms of sizes."""
    points = {}
    for op in lowering.of_spec(asked[0], LOWERING, asked[1]):
        if op.group == "reshape":  # a view: the fit takes no time of it
            continue
        numbers = np.array([op.batch, op.m, op.n, op.k, op.window, op.bytes_in, op.bytes_out])
        key = op.group.encode() + numbers.tobytes()
        points[key] = (op.group, np.log2(np.maximum(numbers, 1)))
    return points


def _distance(point: tuple[str, np.ndarray], have: dict[bytes, tuple[str, np.ndarray]]) -> float:
    """To the nearest op of the group, at most 3; ops that take less time count less."""
    near = [np.linalg.norm(point[1] - other) for group, other in have.values() if group == point[0]]
    if len(near) < 3:  # a group that is hardly there
        return 9.0
    return _WEIGHT.get(point[0], 0.05) * float(min([*near, 3.0]))


_WEIGHT = {"conv-blocked": 1.0, "conv-plain": 1.0, "gemm": 0.7, "maxpool": 0.5,
           "maxpool-plain": 0.5, "reorderoutput": 0.5, "reorderinput": 0.7}  # fmt: skip


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
    run, path = begin.start(cells, plan, folder, name=name, command=sys.argv)
    for step in sweep.sweep(run, path):
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
    elif sys.argv[1] == "dev":
        random = np.random.default_rng(DEV_SEED)
        asked = [draw(random, DEV_FLOPS) for _ in range(DEV_NETWORKS)]
        print(measure("costmodel-dev", asked, DEV_PLAN, Path(sys.argv[2])))
    elif sys.argv[1] == "calibrate":
        random = np.random.default_rng(CALIBRATE_SEED)
        asked = [draw(random) for _ in range(CALIBRATE_NETWORKS)]
        print(measure("costmodel-calibrate", asked, TEST_PLAN, Path(sys.argv[2])))
    else:
        asked = held_out(Path(sys.argv[2]))
        print(measure("costmodel-test", asked, TEST_PLAN, Path(sys.argv[3])))


if __name__ == "__main__":
    main()
