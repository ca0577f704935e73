"""Memory and loading of a Run as plain rows, one per cell. Pure.

Bytes become megabytes (10^6) here, seconds milliseconds.
"""

from __future__ import annotations

from typing import Any

from nnprof.profiler.taken import Amount, Taken, taken
from nnprof.types import Measurement, Run

MEMORY = ("least", "arena", "device", "imported", "loaded", "added", "peak")
LOADING = ("import", "build", "first", "waited", "answer")
COLUMNS = (  # of a Run that knows them; MB and ms
    *(f"{name}_mb" for name in MEMORY),
    *(f"{name}_ms" for name in LOADING),
)
ROW_COLUMNS = (
    *("network", "batch", "precision", "backend", "device", "on", "threads", "processes"),
    *("weights_mb", "live_mb", "free_mb", "before_mb", "peak_load_mb", "cached"),
    *(f"{edge}{name}" for name in COLUMNS for edge in ("", "low_", "high_")),
)
Row = dict[str, Any]


def known(run: Run) -> bool:
    """Whether a Run says anything of memory or loading."""
    return any(one.memory or one.loading for cell in run.measurements for one in cell.processes)


def columns_of(measurement: Measurement) -> Row:
    """The columns that stand in a cell's row beside its latency: medians."""
    found = taken(measurement)
    return {name: middle(amount_of(found, name)) for name in COLUMNS} if found else {}


def rows(run: Run) -> list[Row]:
    """A row for each cell with the keys of `ROW_COLUMNS`: medians, and 95 % intervals."""
    made = []
    for cell in run.measurements:
        found = taken(cell)
        row: Row = {
            "network": cell.workload.model.name,
            "batch": cell.workload.batch,
            "precision": cell.workload.precision,
            "backend": cell.target.backend,
            "device": cell.target.device,
            "on": cell.target.on or None,
            "threads": cell.target.threads,
            "processes": len(cell.processes),
            "cached": found.cached if found else None,
        }
        for name in ("weights_mb", "live_mb", "free_mb", "before_mb", "peak_load_mb", *COLUMNS):
            amount = amount_of(found, name)
            row[name] = middle(amount)
            row[f"low_{name}"], row[f"high_{name}"] = _bounds(amount)
        made.append({name: row[name] for name in ROW_COLUMNS})
    return made


def amount_of(found: Taken | None, column: str) -> Amount | None:
    """An amount in the unit of its column."""
    name, _, unit = column.rpartition("_")
    if found is None:
        return None
    if unit == "ms":
        amount, factor = found.amounts.get(f"{name}_s"), 1e3
    else:
        amount, factor = found.amounts.get(f"{name}_bytes"), 1e-6
        if name in ("imported", "loaded") and amount:
            amount = _grown(amount, found)
    if amount is None:
        return None
    low, high = (None if one is None else one * factor for one in (amount.low, amount.high))
    return Amount(amount.middle * factor, low, high, amount.processes)


def _grown(amount: Amount, found: Taken) -> Amount | None:
    """By how much a process had grown, from what it had before the runtime."""
    before = found.middle("before_bytes")
    if before is None:
        return None
    low, high = (
        None if bound is None else max(0.0, bound - before) for bound in (amount.low, amount.high)
    )
    return Amount(max(0.0, amount.middle - before), low, high, amount.processes)


def middle(amount: Amount | None) -> float | None:
    """Its median, None where it is not known."""
    return amount.middle if amount else None


def _bounds(amount: Amount | None) -> tuple[float | None, float | None]:
    return (amount.low, amount.high) if amount else (None, None)
