"""Cells whose tiles are cut from an image, made from cells that name networks and a target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from nnprof.files import AnyPath
from nnprof.networks import images
from nnprof.profiler import frames, inputs
from nnprof.types import Cell, Image


def framed_cells(
    cells: Sequence[Cell], image: str, batches: Sequence[int] = (), *, data: AnyPath = "generated"
) -> tuple[Cell, ...]:
    """Each network of these cells on the tiles of an image, at batches that divide them.

    Args:
        cells: of one target; their networks are taken, whatever their batches.
        image: such as "784x784" or "784x784/14" (`networks.images`).
        batches: up to four where not given, or the one that a file is bound to.
        data: "generated", or a .npy or .npz file with the pixels of the image.

    Raises:
        UsageError: a network takes no picture, the image cannot be cut for it, or a batch does not
            divide its tiles or is not what a file is made for.
        BadFile: the file does not hold such an image.
    """
    whole = images.parse(image)
    path = data if data == "generated" else str(Path(data).resolve())
    networks: dict[str, Cell] = {}
    for cell in cells:
        networks.setdefault(cell.workload.model.sha256, cell)
    return tuple(
        made for cell in networks.values() for made in _of(cell, whole, batches, str(path))
    )


def _of(cell: Cell, image: Image, batches: Sequence[int], data: str) -> list[Cell]:
    """One network at each batch; its smallest inputs are made once, which finds what is wrong."""
    work, model = cell.workload, cell.workload.model
    for batch in batches:
        inputs.check_batch(model, batch)
    bound = (model.fixed_batch,) if model.fixed_batch and not batches else batches
    own = frames.batches(frames.tiles_of(model, image, work.dims), bound)
    works = [replace(work, batch=batch, image=image, data=data, counts_tiles=True) for batch in own]
    inputs.make(min(works, key=lambda one: one.batch))
    return [replace(cell, workload=one) for one in works]
