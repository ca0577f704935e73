"""From Runs to what a cost model is made of: measured ops, whole networks, the cost of a call."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from msgspec import to_builtins

from nnprof.errors import UsageError
from nnprof.files import foreign
from nnprof.networks.families import parse_network
from nnprof.profiler import checks, results, stats
from nnprof.profiler.costmodel import kernels, processor, ran, work
from nnprof.profiler.costmodel.lowering import of_spec
from nnprof.profiler.costmodel.model import Source
from nnprof.profiler.costmodel.processor import Processor
from nnprof.profiler.costmodel.rows import UNSURE, Rows, rows_of
from nnprof.profiler.costmodel.sets import kind_of
from nnprof.profiler.costmodel.work import Work
from nnprof.profiler.place import limits
from nnprof.profiler.timing import reconcile
from nnprof.types import Measurement, OpTime, Run, Target

_LOG = logging.getLogger(__name__)

LEAST_ASKED = 19  # networks that an interval is calibrated with; fewer are too few for 90 %
DEVICE = ("name", "model", "caches", "extensions")  # facts of it that a model keeps
FEW_NETWORKS = 3  # below this no network is left out to see how it is predicted
_DEVIATIONS = 1.96  # standard errors in half a 95 % interval


class Cellular(NamedTuple):
    """A measured network: its ops in order, and its time.

    `noise` is the relative spread of its repeats, None where there was one. `doubt` says why its
    time cannot be held against its ops, "" where it can.
    """

    name: str
    batch: int
    seconds: float
    noise: float | None
    works: tuple[Work, ...]
    doubt: str = ""


class Measured(NamedTuple):
    """All that Runs say: rows of ops, whole networks, and the cost of a call.

    `call_s` is 0 where no floor was measured. `idle` are ops, by group, that never took any time.
    `lowering` are the rules that the runtime's kernels or the ops speak for, "" where neither do.
    `asked` are networks of which only the time was measured, beside others whose ops were; they say
    how far off predictions are, and nothing is fitted on them.
    `shapeless` is the share of the time of all ops that those of unknown shape take.
    """

    rows: Rows
    networks: tuple[Cellular, ...]
    call_s: float
    target: Target
    precision: str
    device: dict[str, object]
    sources: tuple[Source, ...]
    roof: limits.Roofline | None
    idle: dict[str, set[str]]
    lowering: str = ""
    notes: tuple[str, ...] = ()
    asked: tuple[Cellular, ...] = ()
    shapeless: float = 0.0

    @property
    def whole(self) -> tuple[Cellular, ...]:
        """The networks whose time can be held against their ops."""
        return tuple(cell for cell in self.networks if not cell.doubt)


def read(paths: Sequence[Path]) -> Measured:
    """What these Runs measured; raises what `loaded` and `gathered` raise."""
    return gathered(*loaded(paths))


def loaded(paths: Sequence[Path]) -> tuple[tuple[Run, ...], tuple[Source, ...]]:
    """Runs, and what a model says that it came from; BadFile where one is none."""
    runs = []
    for path in paths:
        _LOG.info("reading %s", path.name)
        runs.append(results.load(path))
    sources = tuple(
        Source(name=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest()[:16])
        for path in paths
    )
    return tuple(runs), sources


def gathered(runs: Sequence[Run], sources: tuple[Source, ...]) -> Measured:
    """The same of Runs; UsageError: of different targets, or nothing in them can be fitted."""
    cells = _cells(runs)
    first, environment = cells[0], runs[0].environment
    roof = limits.stated(environment)
    timed = [_timed(cell) for cell in cells]
    device = dict(environment.get("device") or {})
    rules = kernels.lowering_of(first.target) or ran.lowering_of(timed, device)
    with foreign("An op of the Runs has shapes that no such op has", "Measure or import it again."):
        works = [ran.of_nodes(ops, rules) for ops in timed]
    rows = _rows(cells, timed, works, processor_of(first.target, device, roof))
    strange = () if rules else _strange(cells, rows)
    if strange:
        rows = rows.only(np.zeros(len(rows.seconds), dtype=bool))
    asked: tuple[Cellular, ...] = ()
    if len(rows.seconds):
        networks = tuple(_cell(*each, _doubt(each[0])) for each in zip(cells, works, strict=True))
        asked = _asked(cells, networks, rules or "fused", value_bytes(rows))
        networks = tuple(cell for cell in networks if cell.doubt != "untimed" or not asked)
    else:
        networks = _without_ops(cells)
    shapeless, lost = _shapeless(cells)
    floors = [process.floor_s for cell in cells for process in cell.processes]
    return Measured(
        rows=rows,
        networks=networks,
        call_s=median(floors) if floors else 0.0,
        target=first.target,
        precision=first.workload.precision,
        device=device,
        sources=sources,
        roof=roof,
        idle=_idle(works, rows),
        lowering=rules,
        notes=(*strange, *lost, *_unsure(timed, works, rows), *_left_out(networks)),
        asked=asked,
        shapeless=shapeless,
    )


def _rows(
    cells: Sequence[Measurement],
    timed: Sequence[Sequence[OpTime]],
    works: Sequence[Sequence[Work]],
    processor: Processor,
) -> Rows:
    """The timed ops of all cells, one row each."""
    return rows_of(
        (one for ops in works for one in ops),
        [op.seconds for ops in timed for op in ops],
        [cell.workload.model.name for cell, ops in zip(cells, timed, strict=True) for _ in ops],
        [_spread(op, cell) for cell, ops in zip(cells, timed, strict=True) for op in ops],
        [one for ops in timed for one in _shares(ops)],
        processor,
    )


def processor_of(
    target: Target, device: Mapping[str, Any], roof: limits.Roofline | None
) -> Processor:
    """What features may know of the target's processor; nothing of any other device."""
    if target.on != "cpu":
        return Processor()
    streams = roof.bandwidths if roof else ()
    return processor.of_device(device, kernels.library_of(target), streams)


def _cells(runs: Sequence[Run]) -> list[Measurement]:
    """All cells of the Runs.

    Raises:
        UsageError: there is none, or they are not of one target and precision.
    """
    cells = [cell for run in runs for cell in run.measurements]
    if not cells:
        failed = sum(len(run.failures) for run in runs)
        only = f", only {failed} failures" if failed else ""
        raise UsageError(
            f"The Runs hold no measurement{only}.", "Give Runs that nnprof bench wrote."
        )
    if any(cell.plan.streams_s for cell in cells):
        raise UsageError(
            "Cells with --streams time several sessions at once, which a model knows nothing of.",
            "Give Runs that were measured without --streams.",
        )
    settings = [
        {**to_builtins(cell.target), "precision": cell.workload.precision} for cell in cells
    ]
    for name in settings[0]:
        found = sorted({str(one[name]) for one in settings})
        if len(found) > 1:
            raise UsageError(
                f"The Runs are of different targets or precisions; {name}: {', '.join(found)}.",
                "A model is of one device, what of it computes, backend, number of threads and "
                "precision: fit one for each.",
            )
    return cells


def _ops(cell: Measurement) -> list[OpTime]:
    """The op times of a cell; what a call costs is none."""
    return [op for op in (cell.ops.ops if cell.ops else ()) if op.node != reconcile.CALL]


def _timed(cell: Measurement) -> list[OpTime]:
    """Those whose shapes are known."""
    return [op for op in _ops(cell) if op.outputs]


def _without_ops(cells: Sequence[Measurement]) -> tuple[Cellular, ...]:
    """Networks of Runs without op times, with the ops that the rules give them.

    Raises:
        UsageError: no times of networks that say what they are, or of too few.
    """
    networks = tuple(_lowered(cell) for cell in cells)
    usable = {cell.name for cell in networks if not cell.doubt}
    if len(usable) >= FEW_NETWORKS:
        return networks
    if any(_ops(cell) for cell in cells):
        raise UsageError(
            "The Runs hold op times, but nothing tells what the ops had to do: shapes are missing.",
            "Import them with their shapes (docs/import.md).",
        )
    raise UsageError(
        f"The Runs hold no op times, and clean times of only {len(usable)} networks in notation.",
        f"Measure the ops, or at least {FEW_NETWORKS} networks in notation.",
    )


def _lowered(cell: Measurement) -> Cellular:
    """A network without op times, with the ops that the rules give it."""
    notation = cell.workload.model.network
    if notation is None:
        return _cell(cell, (), "nameless")
    rules = kernels.lowering_of(cell.target) or "fused"
    works = of_spec(parse_network(notation), rules, cell.workload.batch)
    return _cell(cell, works, "" if checks.is_clean(cell) else "unclean")


def _strange(cells: Sequence[Measurement], rows: Rows) -> tuple[str, ...]:
    """A sentence where ops that the rules give the timed networks are not among those timed.

    Such a runtime names its ops otherwise, or fuses them otherwise, so that terms of its ops say
    nothing of a network in notation. The networks' own times do, where they are enough.
    """
    timed = {cell.workload.model.network: cell for cell in cells if not _doubt(cell)}
    asked = [_lowered(cell) for notation, cell in timed.items() if notation]
    wanted = {one.group for cell in asked for one in cell.works if kind_of(one.group) != "view"}
    if not len(rows.seconds) or wanted <= set(rows.groups) or len(asked) < FEW_NETWORKS:
        return ()
    return (
        "The runtime's ops are not those that the rules give a network, so the times of whole "
        "networks were fitted, not those of ops.",
    )


def _asked(
    cells: Sequence[Measurement],
    networks: Sequence[Cellular],
    lowering: str,
    value_bytes: float,
) -> tuple[Cellular, ...]:
    """The networks whose ops were not timed, with those that the rules give them.

    None at all where one of them is in no notation, or where they are too few for an interval.
    """
    untimed = [cell for cell, one in zip(cells, networks, strict=True) if one.doubt == "untimed"]
    notations = [cell.workload.model.network for cell in untimed]
    found = tuple(
        _cell(cell, of_spec(
            parse_network(notation), lowering, cell.workload.batch, value_bytes), "")
        for cell, notation in zip(untimed, notations, strict=True)
        if notation is not None
    )  # fmt: skip
    enough = len({cell.name for cell in found}) >= LEAST_ASKED
    return found if enough and len(found) == len(untimed) else ()


def _doubt(cell: Measurement) -> str:
    """Why the network's time cannot be held against its ops: one of `_DOUBTS`, or ""."""
    if not checks.is_clean(cell):
        return "unclean"
    ops = _ops(cell)
    if not ops:
        return "untimed"
    total_s = sum(op.seconds for op in ops)
    return "" if sum(op.seconds for op in _timed(cell)) >= _MOST * total_s else "shapeless"


# Why a network's time is not used, and how the notes say it of several.
_DOUBTS = {
    "unclean": "their time is not a clean one",
    "untimed": "their ops were not timed",
    "shapeless": "the shapes of their ops are not all known",
    "nameless": "their names are no notation",
}
_MOST = 0.99  # of a network's op times that must be of ops whose shapes are known


def _left_out(networks: Sequence[Cellular]) -> list[str]:
    """A sentence on the networks that whole networks are not checked with."""
    doubts = Counter(cell.doubt for cell in networks if cell.doubt)
    if not doubts:
        return []
    parts = "; ".join(f"{count}: {_DOUBTS[doubt]}" for doubt, count in doubts.items())
    return [
        f"Left out of the fit and the check of whole networks: {doubts.total()} of "
        f"{len(networks)} cells ({parts})."
    ]


def _shapeless(cells: Sequence[Measurement]) -> tuple[float, tuple[str, ...]]:
    """The share of the time of ops that no feature can be made of, and a sentence on them."""
    every = [op for cell in cells for op in _ops(cell)]
    lost = [op for op in every if not op.outputs and op.seconds > 0]
    if not lost:
        return 0.0, ()
    share = sum(op.seconds for op in lost) / sum(op.seconds for op in every)
    names = sorted({op.op for op in lost})
    listed = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
    left = f"{len(lost)} op times without shapes ({listed}), {share:.1%} of all time, left out."
    return share, (left,)


def _unsure(
    timed: Sequence[Sequence[OpTime]], works: Sequence[Sequence[Work]], rows: Rows
) -> list[str]:
    """A sentence on op times that cannot be told from 0; views are not spoken of."""
    counted = [
        one.op
        for ops, ones in zip(timed, works, strict=True)
        for op, one in zip(ops, ones, strict=True)
        if op.seconds > 0 and kind_of(one.group) != "view"
    ]
    lost = Counter(counted) - Counter(one.op for one in rows.works)
    if not lost:
        return []
    listed = ", ".join(f"{count} of {name}" for name, count in lost.most_common(5))
    return [
        f"{lost.total()} of {len(counted)} op times cannot be told from 0 (standard error over "
        f"{UNSURE * 100:g} %) and are left out of the fit: {listed}{' …' if len(lost) > 5 else ''}."
    ]


def _idle(works: Sequence[Sequence[Work]], rows: Rows) -> dict[str, set[str]]:
    """Ops by group of which no measurement took any time: known, and free."""
    found: dict[str, set[str]] = {}
    timed = set(rows.groups)
    for one in (one for ops in works for one in ops):
        if one.group not in timed:
            found.setdefault(one.group, set()).add(one.op)
    return found


def _spread(op: OpTime, cell: Measurement) -> float:
    """Standard error of an op's time, relative; 0 where nothing tells.

    From its 95 % interval, which reaches 1.96 standard errors to the side where it reaches farther
    (no time is negative), and is the wider the more its methods disagree. Of an imported op the
    smallest and the largest repetition, which are few, stand in for the ends of that interval.
    """
    low, high = op.low_s, op.high_s
    if low is not None and high is not None and op.seconds > 0:
        return max(high - op.seconds, op.seconds - low) / _DEVIATIONS / op.seconds
    if low is None or high is None:
        ends = {one.method: one.ops for one in cell.op_passes}
        low = _seconds_at(ends.get("smallest", ()), op.index)
        high = _seconds_at(ends.get("largest", ()), op.index)
    if low is None or high is None or op.seconds <= 0:
        return 0.0
    return (high - low) / (2 * _DEVIATIONS) / op.seconds


def _shares(ops: Sequence[OpTime]) -> list[float]:
    """Of each op, its share of their time."""
    total_s = sum(op.seconds for op in ops) or 1.0
    return [op.seconds / total_s for op in ops]


def value_bytes(rows: Rows) -> float:
    """Bytes of a value, as most ops have them."""
    columns = rows.columns
    written = columns["elements_out"] > 0
    each = columns["bytes_out"][written] / columns["elements_out"][written]
    return float(np.median(each)) if len(each) else work.VALUE_BYTES


def _seconds_at(ops: Sequence[OpTime], index: int) -> float | None:
    return next((op.seconds for op in ops if op.index == index), None)


def _cell(cell: Measurement, works: tuple[Work, ...], doubt: str) -> Cellular:
    medians = stats.process_medians_s(cell)
    noise = stats.spread(medians) if len(medians) > 1 else None
    name, batch = cell.workload.model.name, cell.workload.batch
    return Cellular(name, batch, stats.latency_s(cell), noise, works, doubt)
