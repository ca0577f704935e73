"""Frozen models of several runtimes of one processor, judged on networks drawn after freezing.

    python benchmarks/costmodel_machines.py [FOLDER]     default: bench_results

Of each NAME in `NAMES` FOLDER holds NAME-train.json and NAME-dev.json (OpenVINO and torch: the
latter alone), on which the model `results/costmodel-NAME-frozen.json` was fitted, and
NAME-judged.json: whole networks whose seed is the start of the first frozen file's sha256 (torch:
5, drawn before). Beside it a forest and boosting are given the same measurements: op times where
the model has them, whole networks where it has not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from costmodel_models import MODELS, WHOLE, Array
from costmodel_tables import NetworkTable

from nnprof.networks.families import parse_network
from nnprof.profiler import results, stats
from nnprof.profiler.costmodel import gather, lowering, model, predict
from nnprof.profiler.costmodel.gather import Measured
from nnprof.profiler.costmodel.model import CostModel

NAMES = ("zen5-onnxruntime", "zen5-threads2", "zen5-int8", "zen5-openvino", "zen5-torch")
ROOT = Path(__file__).parents[1]


def table(path: Path, made: CostModel) -> NetworkTable:
    """The networks of a Run, lowered as the model has it."""
    cells = results.load(path).measurements
    names = [cell.workload.model.network or "" for cell in cells]
    batches = np.array([cell.workload.batch for cell in cells])
    works = tuple(
        lowering.of_spec(parse_network(name), made.lowering, int(batch), made.value_bytes)
        for name, batch in zip(names, batches, strict=True)
    )
    seconds = np.array([stats.latency_s(cell) for cell in cells])
    return NetworkTable(works, seconds, np.array(names), batches)


def others(measured: Measured, asked: NetworkTable) -> dict[str, Array]:
    """What a forest and boosting say of the networks, from the same measurements."""
    found = {}
    for name in ("forest", "boosting"):
        if len(measured.rows.seconds):
            learned = MODELS[name](measured.rows)
            found[name] = measured.call_s + np.array([
                np.nan_to_num(learned(list(ops))).sum() for ops in asked.works])  # fmt: skip
        else:
            cells = measured.whole
            known = NetworkTable(
                tuple(cell.works for cell in cells),
                np.array([cell.seconds for cell in cells]),
                np.array([cell.name for cell in cells]),
                np.array([cell.batch for cell in cells]),
            )
            found[name] = WHOLE[name](known)(asked)
    return found


def say(name: str, told: Array, seconds: Array, held: list[bool]) -> None:
    """One line of figures."""
    off = np.abs(told / seconds - 1)
    inside = f", interval holds {np.mean(held):.0%}" if held else ""
    print(
        f"  {name:9} {len(off)} networks: MAPE {off.mean():.1%}, median {np.median(off):.1%}, "
        f"within ±10 % {np.mean(off <= 0.1):.0%}, largest {off.max():.0%}{inside}"
    )


def judged(folder: Path, name: str) -> None:
    """The frozen model of that name, and the others, on the networks drawn after it."""
    made = model.load(str(ROOT / f"benchmarks/results/costmodel-{name}-frozen.json"))
    asked = table(folder / f"{name}-judged.json", made)
    each = [
        predict.predict(made, ops, int(batch))
        for ops, batch in zip(asked.works, asked.batches, strict=True)
    ]
    held = [
        one.low_s <= seconds <= one.high_s
        for one, seconds in zip(each, asked.seconds, strict=True)
        if one.low_s is not None and one.high_s is not None
    ]
    print(name)
    say("ours", np.array([one.seconds for one in each]), asked.seconds, held)
    measured = gather.read(sorted(folder.glob(f"{name}-[td][re][av]*.json")))
    for other, told in others(measured, asked).items():
        say(other, told, asked.seconds, [])


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "bench_results"
    for one in NAMES:
        judged(where, one)
