"""Streams of a Run in a terminal: throughput, latency and fairness against their number."""

from __future__ import annotations

from collections.abc import Iterator

from nnprof.profiler import stats
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.names import labels, names
from nnprof.profiler.report.stream_rows import speedup_of
from nnprof.profiler.report.terminal import marked
from nnprof.profiler.streamed import Told, is_streamed, streamed
from nnprof.terminal import Table, styled
from nnprof.types import Failure, Measurement, Run

_HEADS = ("batch", "streams", "tiles/ms", "± %", "speedup", "p50 ms", "p99 ms", "slowest", "Jain")


def tables(run: Run) -> Iterator[tuple[str, Table]]:
    """For each network its name, and a line per cell; they take the place of the table of cells."""
    _, short = labels(names(run))
    found: dict[str, Table] = {}
    cells: tuple[Measurement | Failure, ...] = (*run.measurements, *run.failures)
    for cell in cells:
        name = short[cell.workload.model.name] + marked(run, cell.workload.model)
        made = found.setdefault(name, _empty())
        if isinstance(cell, Measurement):
            made.add_row(*_numbers(cell, run))
        else:
            first = (str(cell.workload.batch), str(cell.target.streams))
            made.add_row(*first, *["–"] * 6, styled("failed", "red"))
    yield from found.items()


def _empty() -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in _HEADS:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _numbers(cell: Measurement, run: Run) -> list[str]:
    found, tiles = streamed(cell), cell.workload.tiles
    first = [str(cell.workload.batch), f"{cell.target.streams}"]
    if found is None:
        return [*first, *["–"] * 7]
    half = stats.relative_half_width(cell)
    return [
        first[0],
        first[1] + ("*" if found.share else ""),
        digits(tiles * found.per_s.middle / 1e3 if tiles else None),
        f"{half * 100:.1f}" if half < float("inf") else "–",
        _middle(speedup_of(cell, run), 1.0, 3),
        _middle(found.p50_s, 1e3, 3),
        _middle(found.p99_s, 1e3, 3),
        digits(found.slowest.middle, 3),
        digits(found.jain.middle, 3),
    ]


def _middle(told: Told | None, factor: float, count: int) -> str:
    return digits(told.middle * factor if told else None, count)


def lines(run: Run) -> Iterator[str]:
    """What the columns are, and what to know of them."""
    if not is_streamed(run):
        return
    yield (
        "tiles/ms: of all streams together; speedup: over one stream; p50, p99: of single "
        "inferences; slowest: the slowest stream's rate over the fastest's; Jain: 1 is fair."
    )
    every = [found for cell in run.measurements if (found := streamed(cell))]
    if any(found.share for found in every):
        yield "* streams share processors: there are too few for a set of their own for each."
    if any(found.p99_s is None for found in every):
        yield "p99: unknown where fewer than 662 inferences were timed; ask for more processes."
