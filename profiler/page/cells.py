"""The cells of all Runs of a page, and what each is called among the others. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nnprof.profiler import stats
from nnprof.profiler.report.names import labels
from nnprof.profiler.streamed import streamed
from nnprof.text import plain
from nnprof.types import LOCAL, Measurement, Run

_LETTERS = 8  # of a hash


class Cell(NamedTuple):
    """A measured cell.

    Attributes:
        name: of the cell among all of the page.
        series: the same without its batch: cells of one series differ in nothing else.
        without_streams: the name without the number of streams.
        run: the Run that it is in, and `source` that Run's name.
        one: what was measured.
    """

    name: str
    series: str
    without_streams: str
    run: Run
    source: str
    one: Measurement

    @property
    def batch(self) -> int:
        """Tiles of an inference."""
        return self.one.workload.batch

    @property
    def ms(self) -> float:
        """Milliseconds of an inference; of streams of a single one, while all work."""
        found = streamed(self.one)
        if found and found.p50_s:
            return found.p50_s.middle * 1e3
        return stats.latency_s(self.one) * 1e3

    @property
    def ends_ms(self) -> tuple[float, float] | None:
        """The 95 % interval of that, None where there is none."""
        found = streamed(self.one)
        ends = stats.interval_s(self.one)
        if found and found.p50_s:
            low, high = found.p50_s.low, found.p50_s.high
            ends = None if low is None or high is None else (low, high)
        return ends and (ends[0] * 1e3, ends[1] * 1e3)

    @property
    def tiles_ms(self) -> float | None:
        """Tiles per millisecond, of all streams; None where a tile is not known to be one."""
        tiles = self.one.workload.tiles
        return tiles / (stats.latency_s(self.one) * 1e3) if tiles else None


def cells_of(runs: Mapping[str, Run]) -> tuple[Cell, ...]:
    """All measured cells in order; `runs` are Runs by name."""
    found = [(source, run, one) for source, run in runs.items() for one in run.measurements]
    told = [_told(source, one) for source, _, one in found]
    telling = _telling(told)
    _, short = labels([one["network"] for one in told]) if told else ("", {})
    cells = []
    for own, (source, run, one) in zip(told, found, strict=True):
        name = _named(own, telling, short)
        alone = _named(own, [word for word in telling if word != "streams"], short)
        batch = f"batch {one.workload.batch}"
        cells.append(
            Cell(
                name=f"{name}, {batch}" if name else batch,
                series=name or "the network",
                without_streams=f"{alone}, {batch}" if alone else batch,
                run=run,
                source=source,
                one=one,
            )
        )
    return tuple(cells)


def _told(source: str, one: Measurement) -> dict[str, str]:
    """What can tell a cell from others, but its batch."""
    work, target = one.workload, one.target
    return {
        "network": work.model.name,
        "file": work.model.path if not work.model.network else "",
        "precision": work.precision,
        "backend": target.backend,
        "device": target.where,
        "host": "" if target.host == LOCAL else target.host,
        "threads": _counted(target.threads, "thread"),
        "options": " ".join(f"{name}={value}" for name, value in sorted(target.options.items())),
        "image": f"image {work.image}" if work.image else "",
        "streams": _counted(target.streams, "stream"),
        "run": source.removesuffix(".json"),
        "model": f"model {work.model.sha256[:_LETTERS]}",
    }


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _telling(told: Sequence[Mapping[str, str]]) -> list[str]:
    """What is not the same in all cells; a model, file or Run only where all else is not enough."""
    varied = [name for name in (told[0] if told else {}) if len({one[name] for one in told}) > 1]
    for rest in ("model", "file", "run"):
        plainer = [name for name in varied if name != rest]
        if rest in varied and _kinds(told, plainer) == _kinds(told, varied):
            varied = plainer
    return varied


def _kinds(told: Sequence[Mapping[str, str]], names: Sequence[str]) -> int:
    return len({tuple(one[name] for name in names) for one in told})


def _named(told: Mapping[str, str], telling: Sequence[str], short: Mapping[str, str]) -> str:
    """The network as it is called among its family, and what else tells the cell from others."""
    words = [
        (short[told[name]] or told[name]) if name == "network" else told[name] for name in telling
    ]
    return plain(", ".join(filter(None, words)))


def shared(runs: Mapping[str, Run]) -> str:
    """What all networks share: the one network's name, or that of the family; else nothing."""
    names = [one.workload.model.name for run in runs.values() for one in run.measurements]
    if len(set(names)) == 1:
        return plain(names[0])
    return plain(labels(names)[0])
