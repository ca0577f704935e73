"""FLOPs of a tile, and what the device's peak would allow. Pure."""

from __future__ import annotations

from nnprof.profiler.page.cells import Cell
from nnprof.profiler.report import rows


def tile_flops(cell: Cell) -> float | None:
    """FLOPs of one tile, from the ops that ran; None where one was not counted."""
    tiles, ops = cell.one.workload.tiles, cell.one.ops
    if ops is None or not tiles or any(op.flops is None for op in ops.ops):
        return None
    return sum(op.flops or 0 for op in ops.ops) / tiles


def peak_tiles_ms(cell: Cell) -> float | None:
    """Tiles/ms if all FLOPs ran at the measured peak of the precision; None where unknown."""
    known, flops = rows.roof(cell.run), tile_flops(cell)
    peak = known.peak(cell.one.workload.precision) if known else None
    return peak / flops / 1e3 if peak and flops else None
