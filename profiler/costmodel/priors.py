"""Models that come with nnprof, for a new device to start from: one of each kind that was measured.

They lie in `priors/`; `nnprof fit-model --prior NAME` takes them, and a calibration by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from nnprof.profiler.costmodel.model import CostModel, load, published
from nnprof.types import Target

_PUBLISHED = "gtx960-mattsson2016"  # one op per layer: no start for a runtime's ops


def shipped() -> tuple[CostModel, ...]:
    """All of them, by name."""
    return tuple(load(name) for name in published() if name != _PUBLISHED)


def nearest(
    models: Iterable[CostModel], target: Target, precision: str, lowering: str
) -> CostModel | None:
    """The model to start from: of the same backend, and as like as can be had.

    In order of what matters: what computes, the kind of device, the code that runs (`lowering`),
    the precision, and the number of threads. None where no model is of the backend.
    """
    return min(
        (one for one in models if one.target.backend == target.backend),
        key=lambda one: (
            one.target.on != target.on,
            one.target.device != target.device,
            one.lowering != lowering,
            one.precision != precision,
            abs(one.target.threads - target.threads),
            one.name,
        ),
        default=None,
    )
