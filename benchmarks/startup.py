"""How long `nnprof --help` takes against the libraries it cannot do without, interleaved.

    python benchmarks/startup.py [ROUNDS]

Prints the median of both and the ratio of the medians, with the spread of the ratio pair by pair.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import perf_counter

HELP = [sys.executable, "-m", "nnprof", "--help"]
LIBRARIES = [sys.executable, "-c", "import typer, rich.table"]


def seconds(command: list[str]) -> float:
    """Wall time of one run of a command."""
    start = perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return perf_counter() - start


def main(rounds: int) -> None:
    """Warm both up, then time them in turn."""
    for command in (HELP, LIBRARIES):
        seconds(command)
    pairs = [(seconds(HELP), seconds(LIBRARIES)) for _ in range(rounds)]
    helps, libraries = map(median, zip(*pairs, strict=True))
    ratios = sorted(own / other for own, other in pairs)
    print(f"nnprof --help              {helps * 1e3:7.1f} ms")
    print(f"import typer, rich.table   {libraries * 1e3:7.1f} ms")
    print(f"ratio of medians           {helps / libraries:7.2f}")
    print(f"ratio by pairs             {ratios[0]:.2f} to {ratios[-1]:.2f}, {rounds} pairs")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 21)
