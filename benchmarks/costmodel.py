"""The whole evaluation of the cost model, in one command; results in benchmarks/results/.

    python benchmarks/costmodel.py [PART…] [--runs FOLDER]

Parts: own, splits and speed read our own Runs (bench_results, or the folder given); tx1, tx2,
phones and transfer read tables of other people's devices from NNPROF_DATA, and are left out with a
sentence where there are none. Each part can run alone, and writes `costmodel-PART.json` and its
plots; `curves` draws the learning curves of all parts from these files. Times of fitting and
predicting in the files are as they came, on whatever else the machine did; those of `speed` need a
quiet machine.

Models compared, all given the same measurements:

    flops       B0: a constant and a rate for whole networks
    published   B1: Mattsson's constants of 2016 as published, on his networks only; `scaled` is the
                same with one factor for this device
    2016        B2: his form refitted: c·FLOPs + constant (or c·values), least squares
    2016-rel    B3: the same features, relative error
    forest      B4: one random forest per group on logarithms of sizes, logarithm of the time
    forest-raw  B4: the same on the raw time, as nn-Meter does
    boosting    B5: gradient boosting, as forest
    A1          NNLS on launch, FLOPs and bytes; no features chosen
    ours        what nnprof fit-model does with ops; `frozen` and `fit-model` are whole model files

An op of a group that was not learned counts as 100 % off, and adds nothing to its network, which
is counted as `unknown`. Model files refuse such a network: all of it counts as 100 % off. Views
(reshapes) are not judged as ops.

Needs `pip install -c constraints.txt scikit-learn matplotlib`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import costmodel_external as external
import costmodel_plots as plots
import costmodel_tables as tables
import typer
from costmodel_own import RESULTS, run_own
from costmodel_speed import run_speed
from costmodel_splits import run_splits

ROOT = RESULTS.parents[1]
Part = Callable[[Path, Path], dict]
OWN: dict[str, Part] = {"own": run_own, "splits": run_splits, "speed": run_speed}
EXTERNAL: dict[str, Part] = {
    "tx1": external.run_tx1,
    "tx2": external.run_tx2,
    "phones": external.run_phones,
    "transfer": external.run_transfer,
}


def main(
    parts: Annotated[list[str] | None, typer.Argument(help="Which; all if none is named.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of our own Runs.")] = ROOT / "bench_results",
) -> None:
    """Evaluate the cost model."""
    known = (*OWN, *EXTERNAL, "curves")
    for part in parts or known:
        if part not in known:
            raise typer.BadParameter(f"No part '{part}'. Parts: {', '.join(known)}.")
    for part in parts or known:
        if part == "curves":
            _curves()
        elif part in OWN:
            _write(part, OWN[part], runs)
        elif (at := tables.folder()) is None:
            print(f"NNPROF_DATA names no folder with latency/: {part} is left out.")
        else:
            _write(part, EXTERNAL[part], at)


def _write(part: str, of: Part, folder: Path) -> None:
    start = time.perf_counter()
    found = of(folder, RESULTS)
    path = RESULTS / f"costmodel-{part}.json"
    path.write_text(json.dumps(rounded(found), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"\n{path} ({time.perf_counter() - start:.0f} s)")


def _curves() -> None:
    """Learning curves of the parts whose files are there."""
    panels = []
    for part, keys, title, kinds in (
        ("own", ("learning",), "own grid", ("ops", "networks")),
        ("tx1", ("nvidia-cudnn", "few"), "TX1, cuDNN", ("ops", "networks")),
        ("phones", ("pixel4", "few"), "Pixel 4, convolutions", ("ops", "networks")),
        ("tx2", ("few",), "TX2, MLPs", ("networks",)),
    ):
        path = RESULTS / f"costmodel-{part}.json"
        if not path.is_file():
            print(f"{path} is not there: its curves are left out.")
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        for key in keys:
            found = found[key]
        panels += [(f"{title}: {kind}", found, kind) for kind in kinds]
    panels.sort(key=lambda panel: panel[2] != "ops")  # those of ops first
    plots.learning(panels, RESULTS / "costmodel-learning.png")


def rounded(value: object) -> object:
    """Four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    typer.run(main)
