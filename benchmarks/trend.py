"""How often `nnprof trend` cries wolf, and what it finds: made-up Runs with a truth that is known.

Each Run has 5 processes, 0.5 % apart, and a state of its own (the machine of that hour). Where
processes are shuffled, for comparison, each process stands for a Run of its own, in 50 series
without a change. `PYTHON benchmarks/trend.py` prints the table of benchmarks/README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from nnprof.profiler import changes, series

_SERIES, _FEW, _PROCESSES, _APART = 200, 50, 5, 0.005


def made(count: int, state: float, level: Callable[[int], float], seed: int) -> list[list[float]]:
    """So many Runs: logarithms of their processes' times."""
    random = np.random.default_rng(seed)
    return [
        list(level(index) + random.normal(0, state) + random.normal(0, _APART, _PROCESSES))
        for index in range(count)
    ]


def steps(logs: list[list[float]]) -> list[int]:
    """Where a step is beyond doubt."""
    return [place for place, doubt in series.cuts(logs) if doubt <= changes.ERROR]


def main() -> None:
    """Print how many of 200 series have a step or a drift, by what is in them."""
    truths: dict[str, Callable[[int], float]] = {
        "nothing": lambda _: 0.0,
        "3 % at Run 12": lambda index: 0.03 * (index >= 12),
        "3 % from Run 7 to Run 13": lambda index: 0.03 * (7 <= index < 14),
        "4 % in all, slowly": lambda index: 0.04 * index / 19,
    }
    out = sys.stdout
    out.write("| in 20 Runs | state of a Run | steps | drift | steps, processes shuffled |\n")
    out.write("| --- | --- | --- | --- | --- |\n")
    for name, level in truths.items():
        for state in (0.0, 0.005, 0.01):
            many = [made(20, state, level, seed) for seed in range(_SERIES)]
            found = sum(bool(steps(one)) for one in many)
            drifts = sum(series.drift(one).doubt <= changes.ERROR for one in many)
            alone = "–"
            if name == "nothing":
                apart = [[[value] for run in one for value in run] for one in many[:_FEW]]
                alone = f"{sum(bool(steps(one)) for one in apart)} of {_FEW}"
            out.write(f"| {name} | {state:.1%} | {found} | {drifts} | {alone} |\n")
            out.flush()


if __name__ == "__main__":
    main()
