"""What running a network takes of power, as far as Runs measured it, and what a tile costs then.

A model of times knows nothing of power, so none is made up: it keeps what the rails carried at each
batch, beyond idling. That times a predicted time is the energy of a tile at that batch; of another
batch nothing is said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from nnprof.profiler import stats
from nnprof.profiler.costmodel.model import CostModel, Power
from nnprof.profiler.costmodel.prediction import Joules, Prediction
from nnprof.profiler.timing import energy
from nnprof.types import Run


def seen(runs: Sequence[Run]) -> tuple[Power, ...]:
    """Power by batch over the cells whose energy was measured; () where that was none's.

    A cell's is its joules over its clean time, so that the time which a model predicts gives the
    joules that were measured. Of the rail that most cells tell of, as `energy.per_tile` picks it.
    """
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        total = (run.environment.get("device") or {}).get("total_rail")
        for cell in run.measurements:
            tiles = cell.workload.tiles
            first = next(iter(energy.per_tile(cell, total)), None)
            if first and tiles and first.joules > 0:
                watts = first.joules * tiles / stats.latency_s(cell)
                found[first.rail][cell.workload.batch].append(watts)
    if not found:
        return ()
    rail = max(found, key=lambda name: sum(map(len, found[name].values())))
    return tuple(
        Power(
            batch=batch,
            watts=median(watts),
            low=min(watts),
            high=max(watts),
            networks=len(watts),
            rail=rail,
        )
        for batch, watts in sorted(found[rail].items())
    )


def joules(made: CostModel, one: Prediction) -> Joules | None:
    """The energy of a tile; None where it was measured at no such batch, or an op is unknown."""
    own = next((each for each in made.power if each.batch == one.batch), None)
    if own is None or one.unknown:
        return None
    return Joules(
        per_tile=own.watts * one.seconds / one.batch,
        low=None if one.low_s is None else own.low * one.low_s / one.batch,
        high=None if one.high_s is None else own.high * one.high_s / one.batch,
        rail=own.rail,
    )
