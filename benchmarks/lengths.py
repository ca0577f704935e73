"""Is one more layer of a chain as dear as the layers before it?

    python benchmarks/lengths.py BACKEND LAYER BATCH …

`chains.py` takes what four more layers cost for what each of the first four costs. Here chains of 1
to 12 identical layers are measured: the time of each, what the layers cost that it has more than
the chain before it, the sum of its ops over its clean time, and the time that nnprof gives a layer.
Prints a table.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import chains

import nnprof
from nnprof.profiler import stats
from nnprof.types import Cell, Measurement, Workload

LENGTHS = (1, 2, 4, 6, 8, 12)


def measured(backend: str, layer: str, batches: list[int]) -> dict[tuple[int, int], Measurement]:
    """A cell for each batch and length, in one sweep."""
    target = nnprof.Target(backend=backend)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        models = {length: chains.chain(folder, layer, length) for length in LENGTHS}
        cells = [
            Cell(workload=Workload(model=model, batch=batch), target=target)
            for model in models.values()
            for batch in batches
        ]
        plan = nnprof.Plan(processes=4, max_processes=4, sample_s=0.5, interval=0.005)
        run, path = nnprof.start(cells, plan, folder, name="lengths")
        for _ in nnprof.sweep(run, path):
            pass
        lengths = {model.sha256: length for length, model in models.items()}
        return {
            (one.workload.batch, lengths[one.workload.model.sha256]): one
            for one in nnprof.load(path).measurements
        }


def main(backend: str, layer: str, batches: list[int]) -> None:
    """Measure and print."""
    found = measured(backend, layer, batches)
    print(f"{backend}, {layer}\n{'batch':>5} {'layers':>6} {'clean µs':>9} {'a layer':>8} "
          f"{'one more':>8} {'nnprof':>7} Σops/clean")  # fmt: skip
    for batch in batches:
        before_us, fewer = 0.0, 0
        for length in LENGTHS:
            one = found[batch, length]
            assert one.ops is not None
            clean_us = stats.latency_s(one) * 1e6
            sum_us = sum(op.seconds for op in one.ops.ops) * 1e6
            print(
                f"{batch:>5} {length:>6} {clean_us:>9.1f} {clean_us / length:>8.1f} "
                f"{(clean_us - before_us) / (length - fewer):>8.1f} "
                f"{chains.layer_s(one.ops.ops) * 1e6:>7.1f} {sum_us / clean_us:>10.3f}"
            )
            before_us, fewer = clean_us, length


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("backend")
    parser.add_argument("layer", choices=chains.KINDS)
    parser.add_argument("batches", nargs="+", type=int)
    asked = parser.parse_args()
    main(asked.backend, asked.layer, asked.batches)
