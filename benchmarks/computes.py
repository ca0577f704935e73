"""What each runtime here computes with, for a file of each precision: a table without times.

::

    PYTHON benchmarks/computes.py

It is told by the facts of a session on the bundled network at batch 16, and where they say nothing
by the types of the tensors between the ops (ONNX Runtime's optimised model). What a processor has
decides, so the table is of the machine that it was made on.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from tabulate import tabulate

from nnprof import registry
from nnprof.errors import NnprofError
from nnprof.exporters import int8, models, precision
from nnprof.networks import bundled
from nnprof.profiler import inputs
from nnprof.types import Target, Workload

BATCH = 16


def told(session: Any) -> str:
    """What a session says of the types that it computes with."""
    facts = session.facts
    if "kernels" in facts:
        return ", ".join(f"{count} {kind}" for kind, count in facts["kernels"].items())
    if "computes" in facts:
        return str(facts["computes"])
    if hasattr(session, "_anatomy"):
        cut = session._anatomy()
        made = [name for node in cut.model.graph.node for name in node.output]
        kinds = Counter(str(cut.tensors[name].dtype) for name in made if name in cut.tensors)
        return ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return "as the file says"


def cell(name: str, kind: str) -> str:
    """One runtime with a file of one precision."""
    backend = registry.find("backend", name)
    model = models.load_model(bundled.model_path())
    tiles = inputs.make(Workload(model=model, batch=64, data=str(bundled.tiles_path())))
    calibration = precision.Calibration(next(iter(tiles.values())), "bundled tiles")
    facts = registry.find("device", "cpu").facts()
    form = backend.int8(Target(), facts) if hasattr(backend, "int8") else int8.ANYWHERE
    try:
        converted = precision.convert(model, kind, calibration, form)
        return told(backend.open(Workload(model=converted, batch=BATCH, precision=kind), Target()))
    except NnprofError as refusal:
        return f"refused: {refusal.reason}"


def main() -> None:
    """Print the table."""
    rows = []
    for name in registry.names("backend"):
        backend = registry.find("backend", name)
        if not getattr(backend, "computes", True):
            continue
        try:
            version = backend.probe()["version"]
        except NnprofError:
            continue
        rows.append((f"{name} {version}", *(cell(name, kind) for kind in precision.PRECISIONS)))
    print(tabulate(rows, headers=("", *precision.PRECISIONS), tablefmt="github"))


if __name__ == "__main__":
    main()
