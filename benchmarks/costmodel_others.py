"""Other people's networks for the cost model: LeNet, VGG, strides, batch norm, MLPs, ONNX files.

    python benchmarks/costmodel_others.py list SET            32 cells: batch, network
    python benchmarks/costmodel_others.py measure SET OUT     their Run, whole times only
    python benchmarks/costmodel_others.py judge MODEL RUN…    how far off a model file is on Runs

SET is `dev` (features and rules may be chosen on it), `test` (never), or a model file, of which the
sha256 is the seed. Networks of three sources: recipes that people publish, with sizes drawn at
random, in notation; and ONNX files with what the notation has no words for (`costmodel_files.py`).
No cell takes more than 2·10¹⁰ FLOPs, about 0.2 s of a core.
"""

from __future__ import annotations

import hashlib
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import costmodel_files as files
import numpy as np
from costmodel_judge import errors, interval

from nnprof.errors import BadShape, NnprofError
from nnprof.exporters.export import export
from nnprof.exporters.models import load_model
from nnprof.networks.spec import parse
from nnprof.profiler import results, stats
from nnprof.profiler.costmodel import graphs, lowering
from nnprof.profiler.costmodel import predict as predicting
from nnprof.profiler.costmodel.model import CostModel, load
from nnprof.profiler.run import begin, sweep
from nnprof.types import Cell, Measurement, Model, Plan, Target, Workload

SEEDS = {"dev": 20261126, "test": 20261127}
CELLS = 32
MOST_FLOPS = 2e10
PLAN = Plan(processes=4, max_processes=4, sample_s=0.3, op_method="none")
Draw = np.random.Generator


# --- recipes --------------------------------------------------------------------------------------


def _some(random: Draw, low: float, high: float) -> int:
    """A size, uniform in its logarithm."""
    return round(math.exp(random.uniform(math.log(low), math.log(high))))


def _one_of(random: Draw, *choices: str) -> str:
    return choices[int(random.integers(len(choices)))]


def lenet(random: Draw) -> str:
    """LeCun et al. 1998: 5×5, average pools, tanh; its sizes, and others."""
    act = _one_of(random, "tanh", "tanh", "tanh", "sigmoid", "softsign")
    pool = _one_of(random, "avgpool2", "avgpool2", "pool2")
    scale = random.choice([1.0, 1.0, random.uniform(0.5, 4)])
    one, two, three, four = (max(1, round(scale * size)) for size in (6, 16, 120, 84))
    side, same = _one_of(random, "1x28x28 same", "1x32x32 ", "3x32x32 ").split(" ")
    last = _one_of(random, f"fc{three} {act}", f"conv{three}k5 {act}")
    return (
        f"{side} conv{one}k5{same} {act} {pool} conv{two}k5 {act} {pool} {last} fc{four} {act} fc10"
    )


def vgg(random: Draw) -> str:
    """Simonyan & Zisserman 2015, as people scale it down to CIFAR: 3×3 "same", pools between."""
    depth = int(random.choice([8, 12, 16, 20, 32, 48, 64]))
    side = _one_of(random, "3x32x32", "3x32x32", "1x28x28")
    words = [side]
    for block in range(int(random.integers(2, 5))):
        words += [f"conv{depth * 2 ** min(block, 2)}k3same"] * int(random.integers(1, 3))
        words.append("pool2")
    words += [f"fc{_some(random, 64, 512)}"] * int(random.integers(0, 3))
    return " ".join([*words, "fc10"])


def normed(random: Draw) -> str:
    """Batch norm after each convolution (Ioffe & Szegedy 2015), of any of the kinds above."""
    depth, side = _some(random, 8, 64), _one_of(random, "3x32x32", "1x28x28")
    words = [side] + (["bn"] if random.random() < 0.25 else [])
    for block in range(int(random.integers(2, 4))):
        same = _one_of(random, "same", "same", "")
        kernel, act = _one_of(random, "3", "3", "5"), _one_of(random, "relu", "relu", "tanh")
        words += [f"conv{depth * (block + 1)}k{kernel}{same} bn {act}"]
        words.append(_one_of(random, "pool2", "avgpool2", "pool3s2"))
    words.append(_one_of(random, f"fc{_some(random, 32, 512)} bn relu", "dropout0.5"))
    return " ".join([*words, "fc10"])


def strided(random: Draw) -> str:
    """All convolutions (Springenberg et al. 2015): stride 2 instead of pools."""
    depth, side = _some(random, 8, 96), _one_of(random, "3x32x32", "1x28x28")
    words = [side]
    for step in range(int(random.integers(2, 5))):
        kernel = _one_of(random, "3", "3", "5", "7" if step == 0 else "3")
        stride = "s2" if random.random() < 0.7 else ""
        words.append(f"conv{depth * 2 ** min(step, 2)}k{kernel}{stride}same")
    words += [f"fc{_some(random, 32, 512)}"] * int(random.integers(0, 2))
    return " ".join([*words, "fc10"])


def nin(random: Draw) -> str:
    """Network in network (Lin et al. 2014): 1×1 convolutions, a global average pool at the end."""
    depth, side = _some(random, 16, 128), _one_of(random, "3x32x32", "1x28x28")
    size = int(side[2:4])
    words = [side, f"conv{depth}k5same conv{_some(random, 8, 96)}k1 conv{_some(random, 8, 96)}k1"]
    words += [_one_of(random, "pool2", "pool3s2", "avgpool2")]
    now = (size - 3) // 2 + 1 if words[-1] == "pool3s2" else size // 2
    words += [f"conv{depth}k3same conv{_some(random, 8, 96)}k1 conv10k1 avgpool{now} fc10"]
    return " ".join(words)


def kernels(random: Draw) -> str:
    """Kernels of 1, 3, 5 and 7 in one network, padded or not, with any activation."""
    words = [_one_of(random, "3x32x32", "1x28x28", "3x24x24")]
    for _ in range(int(random.integers(2, 5))):
        kernel = _one_of(random, "1", "3", "5", "7")
        same = _one_of(random, "same", "")
        act = _one_of(random, " relu", " relu", " tanh", " sigmoid")
        words.append(f"conv{_some(random, 6, 80)}k{kernel}{same}{act}")
        if random.random() < 0.4:
            words.append(_one_of(random, "pool2", "avgpool2", "pool3s2"))
    return " ".join([*words, f"fc{_some(random, 16, 512)}", "fc10"])


def mlp(random: Draw) -> str:
    """Deep or wide, of images, of some features, with the activations and norms that people use."""
    act = _one_of(random, "relu", "relu", "tanh", "sigmoid")
    norm = "bn " if random.random() < 0.25 else ""
    deep = random.random() < 0.5
    layers = int(random.integers(4, 11)) if deep else int(random.integers(1, 4))
    width = _some(random, 16, 256) if deep else _some(random, 256, 3000)
    entry = _one_of(random, "784", "1x28x28", "3072", str(_some(random, 8, 200)))
    return " ".join([entry, *[f"fc{width} {norm}{act}"] * layers, f"fc{_some(random, 2, 100)}"])


_QUOTAS: dict[Callable[[Draw], str], int] = {
    lenet: 5, vgg: 5, normed: 4, strided: 4, nin: 3, kernels: 3, mlp: 5,
}  # fmt: skip


# --- cells ----------------------------------------------------------------------------------------


class Asked(NamedTuple):
    """A network, in notation or by the name of a file (`costmodel_files`), and a batch."""

    network: str
    batch: int


def drawn(seed: int) -> list[Asked]:
    """The 32 cells of a seed, the same on every machine."""
    random = np.random.default_rng(seed)
    found = [_fitting(random, recipe) for recipe, count in _QUOTAS.items() for _ in range(count)]
    for at in range(CELLS - len(found)):
        name = f"{files.KINDS[at % len(files.KINDS)]}-{int(random.integers(1, 10**6))}"
        found.append(Asked(name, _batch(random, files.flops(name))))
    return found


def _fitting(random: Draw, recipe: Callable[[Draw], str]) -> Asked:
    """A network of the recipe whose layers fit its image."""
    while True:
        text = recipe(random)
        try:
            spec = parse(text)
        except BadShape:
            continue
        return Asked(spec.notation, _batch(random, _flops(text)))


def _flops(text: str) -> float:
    return sum(op.flops for op in lowering.of_spec(parse(text), "fused", 1))


def _batch(random: Draw, flops: float) -> int:
    """From 1 to 1024, half of them powers of two, so that an inference is within `MOST_FLOPS`."""
    most = min(1024.0, max(1.0, MOST_FLOPS / flops))
    batch = _some(random, 1, most)
    return 2 ** round(math.log2(batch)) if random.random() < 0.5 else batch


def seed_of(name: str) -> int:
    """Of a set's name, or of a model file."""
    if name in SEEDS:
        return SEEDS[name]
    digest = hashlib.sha256(Path(name).read_bytes()).digest()
    return int.from_bytes(digest[:8], "big")


def _model(asked: Asked, folder: Path) -> Model:
    """The file that is measured."""
    if files.is_name(asked.network):
        return load_model(files.made(asked.network, folder))
    return export(parse(asked.network))


def measure(name: str, folder: Path) -> Path:
    """Measure the cells of a set; the Run's path."""
    target, label = Target(), name if name in SEEDS else "frozen"
    cells = tuple(
        Cell(workload=Workload(model=_model(one, folder / "others"), batch=one.batch),
             target=target)
        for one in drawn(seed_of(name))
    )  # fmt: skip
    run, path = begin.start(cells, PLAN, folder, name=f"costmodel-others-{label}", command=sys.argv)
    for step in sweep.sweep(run, path):
        work = step.cell.workload
        print(step.finished, work.batch, work.model.name, f"{step.left_s:.0f} s left", flush=True)
    return path


# --- judging --------------------------------------------------------------------------------------


class Judged(NamedTuple):
    """What a model says of one measured cell; NaN, and why, where it refuses."""

    name: str
    batch: int
    measured_s: float
    spread: float
    seconds: float
    factor: float
    refused: str
    notes: tuple[str, ...]


def judge(model: CostModel, cells: Sequence[Measurement], folder: Path) -> list[Judged]:
    """Each cell as `nnprof predict` would answer."""
    return [_judge(model, cell, folder) for cell in cells]


def _judge(model: CostModel, cell: Measurement, folder: Path) -> Judged:
    about, batch = cell.workload.model, cell.workload.batch
    name = Path(about.name).stem if about.network is None else about.network
    text = str(files.made(name, folder)) if about.network is None else name
    seconds, factor, refused, notes = math.nan, math.nan, "", ()
    try:
        _, lowered = graphs.of_text(text, model, (batch,))
        made = predicting.predict(model, lowered.works[batch], batch, name)
        refused, notes = ", ".join(made.unknown), made.extrapolates
        if not refused:
            seconds = made.seconds
            factor = made.high_s / made.seconds if made.high_s else math.nan
    except NnprofError as error:
        refused = error.reason
    spread = stats.spread(stats.process_medians_s(cell))
    return Judged(name, batch, stats.latency_s(cell), spread, seconds, factor, refused, notes)


def _report(found: Sequence[Judged]) -> None:
    for one in sorted(found, key=lambda one: -abs(one.seconds / one.measured_s - 1)):
        ratio = one.seconds / one.measured_s
        words = f"refused: {one.refused}" if one.refused else "; ".join(one.notes)
        print(f"{ratio:7.3f} ×÷{one.factor:5.2f} ±{one.spread:4.0%} {one.measured_s * 1e3:9.3f} ms "
              f"{one.batch:5d}  {one.name}  {words}")  # fmt: skip
    measured = np.array([one.measured_s for one in found])
    predicted = np.array([one.seconds for one in found])
    factors = np.array([one.factor for one in found])
    all_, told = errors(predicted, measured), np.isfinite(predicted)
    inside = np.abs(np.log(predicted[told] / measured[told])) <= np.log(factors[told])
    held = interval(list(inside), list(factors[told]), int((~told).sum()))
    answered = errors(predicted[told], measured[told])
    for what, of in (("all, refused ones 100 % off", all_), ("answered", answered)):
        print(f"{what}: {of['n']} cells, MAPE {of['mape']:.1%}, median {of['median']:.1%}, within "
              f"10 % {of['within10']:.0%}, bias {of['bias']:+.1%}")  # fmt: skip
    print(f"refused {all_['unknown']}; the 90 % interval holds {held['coverage'] or 0:.0%}, median "
          f"factor {held['factor'] or 0:.2f}; processes differ by "
          f"{np.median([one.spread for one in found]):.1%} (median)")  # fmt: skip


def main() -> None:
    """See the module's docstring."""
    match sys.argv[1:]:
        case ["list", name]:
            for one in drawn(seed_of(name)):
                print(one.batch, one.network)
        case ["measure", name, folder]:
            print(measure(name, Path(folder)))
        case ["judge", model, *runs] if runs:
            cells = [cell for run in runs for cell in results.load(Path(run)).measurements]
            with tempfile.TemporaryDirectory() as folder:
                _report(judge(load(model), cells, Path(folder)))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
