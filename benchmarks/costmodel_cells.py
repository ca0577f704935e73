"""Our own Runs as the evaluation reads them: ops that were timed, and whole networks.

costmodel-train-*.json      at most 120 distinct ops; what models are fitted on
costmodel-dev-*.json        40 random networks with their ops; features are chosen on them
costmodel-calibrate-*.json  40 others, whole times only, for the intervals of the model
costmodel-test-*.json       64 random networks, whole times only, drawn after the model is frozen
group[1-4]-*.json           the networks of 2016; ops from ONNX Runtime's profiler, in whole µs
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from costmodel_models import Array, Predict
from costmodel_tables import NetworkTable

from nnprof.networks.families import parse_network
from nnprof.networks.layers import Conv, Dense
from nnprof.networks.spec import NetworkSpec
from nnprof.profiler import results, stats
from nnprof.profiler.costmodel import gather, lowering, work
from nnprof.profiler.costmodel.gather import Measured
from nnprof.profiler.costmodel.rows import Rows

LOWERING = "blocked16"
_PATTERNS = {
    "train": "costmodel-train-*.json",
    "dev": "costmodel-dev-*.json",
    "calibrate": "costmodel-calibrate-*.json",
    "test": "costmodel-test-*.json",
    "groups": "group[1-4]-*.json",
}


class Cells(NamedTuple):
    """Measured networks.

    Attributes:
        specs, batches, seconds: what was measured, and its clean time.
        spreads: relative spread of the processes of each (`stats.spread`).
        studies: file that each is from.
        works: ops of each by the rules of `predict`; no runtime is asked.
    """

    specs: tuple[NetworkSpec, ...]
    batches: Array
    seconds: Array
    spreads: Array
    studies: Array
    works: tuple[tuple[work.Work, ...], ...]

    def only(self, chosen: Array) -> Cells:
        """Those cells."""
        at = np.flatnonzero(chosen)
        return Cells(
            tuple(self.specs[i] for i in at), self.batches[at], self.seconds[at],
            self.spreads[at], self.studies[at], tuple(self.works[i] for i in at),
        )  # fmt: skip

    @property
    def table(self) -> NetworkTable:
        """For models of whole networks."""
        return NetworkTable(self.works, self.seconds, self.names, self.batches)

    @property
    def names(self) -> Array:
        """Notation of each network."""
        return np.array([spec.notation for spec in self.specs])

    def of(self, predict: Predict, call_s: float) -> Array:
        """Seconds of each: a call, and its ops as predicted; nothing for ops that are unknown."""
        every = [one for ops in self.works for one in ops]
        owner = np.repeat(np.arange(len(self.works)), [len(ops) for ops in self.works])
        each = np.nan_to_num(predict(every))
        return call_s + np.bincount(owner, weights=each, minlength=len(self.works))

    def lacking(self, train: Rows) -> Array:
        """Which of them have an op of a group that is not in the training rows."""
        known = set(train.groups)
        return np.array([any(op.group not in known for op in ops) for ops in self.works], bool)

    def noise(self) -> dict[str, float]:
        """Of the repeats of the same cells: median and mean relative spread of the processes."""
        return {"median": float(np.median(self.spreads)), "mean": float(self.spreads.mean())}


def merged(found: Sequence[Cells]) -> Cells:
    """All of them in one."""
    return Cells(
        tuple(spec for one in found for spec in one.specs),
        *(np.concatenate([one[place] for one in found]) for place in range(1, 5)),
        tuple(ops for one in found for ops in one.works),
    )


def paths(folder: Path, kind: str) -> list[Path]:
    """The Runs of a kind in a folder."""
    return sorted(folder.glob(_PATTERNS[kind]))


def cells(files: Sequence[Path]) -> Cells:
    """All cells of these Runs."""
    found = [(path.name, cell) for path in files for cell in results.load(path).measurements]
    specs = tuple(parse_network(cell.workload.model.name) for _, cell in found)
    batches = np.array([cell.workload.batch for _, cell in found])
    return Cells(
        specs,
        batches,
        np.array([stats.latency_s(cell) for _, cell in found]),
        np.array([stats.spread(stats.process_medians_s(cell)) for _, cell in found]),
        np.array([name for name, _ in found]),
        tuple(
            lowering.of_spec(spec, LOWERING, int(batch))
            for spec, batch in zip(specs, batches, strict=True)
        ),
    )


class Own(NamedTuple):
    """All of a folder; None where a kind is missing.

    `train` holds what `fit-model` was given: ops of the training Run, and whole networks of the
    calibrating one; `trained` are the networks of the former alone.
    """

    train: Measured
    trained: Cells
    dev: Measured | None
    dev_cells: Cells | None
    calibrate: Cells | None
    test: Cells | None
    groups: Measured | None
    group_cells: Cells | None

    def random(self) -> list[Cells]:
        """Random networks whose ops were not fitted."""
        every = (self.dev_cells, self.calibrate, self.test)
        return [one for one in every if one is not None]


def own(folder: Path) -> Own:
    """The Runs of a folder.

    Raises:
        SystemExit: it has none to train on.
    """
    found = {kind: paths(folder, kind) for kind in _PATTERNS}
    if not found["train"]:
        raise SystemExit(f"{folder} has no {_PATTERNS['train']}: give another folder with --runs.")
    for kind, files in found.items():
        print(f"{kind}: {', '.join(path.name for path in files) or 'none, left out'}")
    whole = {kind: cells(files) if files else None for kind, files in found.items()}
    trained = whole["train"]
    assert trained
    return Own(
        train=gather.read([*found["train"], *found["calibrate"]]),
        trained=trained,
        dev=gather.read(found["dev"]) if found["dev"] else None,
        dev_cells=whole["dev"],
        calibrate=whole["calibrate"],
        test=whole["test"],
        groups=gather.read(found["groups"]) if found["groups"] else None,
        group_cells=whole["groups"],
    )


# --- what networks are ----------------------------------------------------------------------------


def convolutions(spec: NetworkSpec) -> int:
    """ConvLayers."""
    return sum(isinstance(layer, Conv) for layer in spec.layers)


def hidden(spec: NetworkSpec) -> int:
    """Hidden FC layers."""
    return sum(isinstance(layer, Dense) for layer in spec.layers) - 1


def depth(spec: NetworkSpec) -> int:
    """Of the deepest ConvLayer, 0 without."""
    return max((layer.depth for layer in spec.layers if isinstance(layer, Conv)), default=0)


def neurons(spec: NetworkSpec) -> int:
    """Of the widest hidden FC layer, 0 without."""
    dense = [layer.neurons for layer in spec.layers if isinstance(layer, Dense)][:-1]
    return max(dense, default=0)


def of_rows(rows: Rows) -> dict[str, Array]:
    """Of each op: ConvLayers, hidden FC layers, depth and neurons of its network, and the batch."""
    known = {name: parse_network(str(name)) for name in np.unique(rows.networks)}
    specs = [known[name] for name in rows.networks]
    return {**_columns(specs), "batch": np.array([one.batch for one in rows.works])}


def of_cells(found: Cells) -> dict[str, Array]:
    """The same of each cell."""
    return {**_columns(found.specs), "batch": found.batches}


def _columns(specs: Sequence[NetworkSpec]) -> dict[str, Array]:
    functions = {"conv": convolutions, "fc": hidden, "depth": depth, "neurons": neurons}
    return {name: np.array([of(spec) for spec in specs]) for name, of in functions.items()}
