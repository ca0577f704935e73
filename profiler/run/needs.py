"""What the networks of a sweep need at least, before any is loaded; and what will hardly fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from msgspec.structs import replace

from nnprof.profiler import inputs
from nnprof.profiler.graph import least
from nnprof.profiler.graph.least import Least
from nnprof.profiler.timing.lost import attempt
from nnprof.types import LOCAL, Cell, Lost, Memory, Target, Workload

_known: dict[tuple[Any, ...], Least | Lost] = {}  # of this process


def of(workload: Workload) -> Least | Lost:
    """The lower bound of a workload; as Lost where ONNX cannot tell it."""
    work = replace(workload, seed=0)
    key = (work.model.sha256, work.model.path, work.batch, work.data, *sorted(work.dims.items()))
    if key not in _known:
        path = Path(work.model.path)
        _known[key] = attempt("least", lambda: least.of_file(path, inputs.shapes(work)))
    return _known[key]


def stated(memory: Memory | None, workload: Workload) -> Memory | None:
    """What a process took, with the lower bound beside it."""
    if memory is None:
        return None
    bound = of(workload)
    if isinstance(bound, Lost):
        why = dict.fromkeys(("weights_bytes", "live_bytes"), bound.reason)
        return replace(memory, unknown={**memory.unknown, **why})
    return replace(memory, weights_bytes=bound.weights_bytes, live_bytes=bound.live_bytes)


def warnings(cells: Sequence[Cell], device: Mapping[str, Any]) -> list[str]:
    """A sentence for each model of which a batch needs more memory than there is."""
    room = _room(cells[0].target, device) if cells else None
    found: dict[str, list[tuple[int, Least]]] = {}
    for work in (cell.workload for cell in cells):
        bound = of(work)
        if room and isinstance(bound, Least) and bound.bytes > room[0]:
            found.setdefault(work.model.name, []).append((work.batch, bound))
    return [
        f"{name} at batch {', '.join(str(batch) for batch, _ in own)} will hardly fit: it needs at "
        f"least {min(one.bytes for _, one in own) / 1e6:,.0f} MB, and {room[1]}."
        for name, own in found.items()
        if room
    ]


def _room(target: Target, device: Mapping[str, Any]) -> tuple[int, str] | None:
    """Bytes that a target has for us, and that in words; None where it does not tell."""
    own = device.get("gpu_memory_bytes")
    if isinstance(own, int):
        return own, f"the device has {own / 1e6:,.0f} MB"
    if target.host == LOCAL:
        free = int(psutil.virtual_memory().available)
        return free, f"{free / 1e6:,.0f} MB are free here"
    whole = device.get("memory_bytes")
    return (whole, f"the board has {whole / 1e6:,.0f} MB") if isinstance(whole, int) else None
