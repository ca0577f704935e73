"""Feature maps of a trained network as a picture: a row for each tile, a grid for each layer.

Maps are drawn in viridis, which keeps its order in grey print and for colour-blind readers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import UsageError
from nnprof.files import AnyPath
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.pictures import require_ending, write_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnprof.networks.datasets import Dataset
    from nnprof.networks.maps import Looked, Maps

_MOST_GRIDS = 60  # of one picture
_TILE_IN, _GRID_IN, _ROW_IN = 1.7, 3.4, 2.9  # inches
_GAP = 0.08  # between maps, as a share of their side
_COLOURS = "viridis"


def plot_maps(
    folder: AnyPath,
    out: Path | str,
    *,
    layers: Sequence[str] = (),
    tiles: Sequence[int] = (),
) -> tuple[str, ...]:
    """Draw what layers of a trained network make of tiles of its test set.

    Each row is a tile: the tile itself, with its class and the network's answer, and a grid of maps
    for each layer. A layer's maps have one scale, from the least to the largest value of the whole
    picture. `conv1` is what the layer hands on, its own activation included.

    Args:
        folder: of the training.
        out: the picture to write; its ending says how: .svg, .png or .pdf.
        layers: names, such as "conv1", "act1", "pool2"; () for each convolution.
        tiles: indices in the test set, from 0; () for the first three of different classes.

    Returns:
        Sentences about what is wrong with the maps; none where nothing is.

    Raises:
        BadFile: the folder holds no trained network.
        Unavailable: matplotlib, torch or the data set of the training is not here.
        UsageError: the network has no such layer, the test set no such tile, the picture another
            ending, or it would be too large.
    """
    from nnprof.networks.maps import look

    out = Path(out)
    require_ending(out)
    _require_room(len(tiles), len(layers) or 1)
    looked = look(folder, layers, tiles)
    _require_room(len(looked.indices), len(looked.maps))
    size = _TILE_IN + _GRID_IN * len(looked.maps), 0.8 + _ROW_IN * len(looked.indices)
    write_picture(out, lambda figure: _draw(figure, looked), size)
    return tuple(_notes(looked))


def _require_room(tiles: int, layers: int) -> None:
    if tiles * layers > _MOST_GRIDS:
        raise UsageError(
            f"{tiles} tiles in {layers} layers are {tiles * layers} grids of maps.",
            f"Draw at most {_MOST_GRIDS} in one picture.",
        )


def _notes(looked: Looked) -> list[str]:
    notes = []
    for name, maps in looked.maps.items():
        dead = (maps == maps[:, :, :1, :1]).all(axis=(0, 2, 3))
        if dead.any():
            notes.append(
                f"{int(dead.sum())} of {len(dead)} maps of {name} are one value in all these tiles."
            )
        if not np.isfinite(maps).all():
            notes.append(f"{name} has values that are no finite number: left white.")
    return notes


def _draw(figure: Figure, looked: Looked) -> None:
    rows, columns = len(looked.indices), 1 + len(looked.maps)
    widths = [_TILE_IN, *[_GRID_IN] * len(looked.maps)]
    panels = figure.subplots(rows, columns, squeeze=False, width_ratios=widths)
    for axes in panels.flat:
        axes.set_axis_off()
        axes.set_anchor("N")
    for row, axes in enumerate(panels[:, 0]):
        axes.imshow(_picture(looked.tiles[row]), cmap="gray", interpolation="nearest")
        axes.set_title(_said(looked, row), fontsize=9)
    for column, (name, maps) in enumerate(looked.maps.items(), start=1):
        known = maps[np.isfinite(maps)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        for row, axes in enumerate(panels[:, column]):
            shown = axes.imshow(
                _mosaic(maps[row]), cmap=_COLOURS, vmin=low, vmax=high, interpolation="nearest"
            )
        _, number, height, width = maps.shape
        panels[0, column].set_title(f"{name}: {number} maps of {height}×{width}", fontsize=9)
        bar = figure.colorbar(
            shown, ax=list(panels[:, column]), location="bottom", fraction=0.05, pad=0.02, aspect=35
        )
        bar.ax.tick_params(labelsize=7)
        bar.set_label(f"value: one scale for all maps of {name}", fontsize=8)
    figure.suptitle(looked.network, fontsize=9, wrap=True)


def _said(looked: Looked, row: int) -> str:
    """Which tile it is, what it shows, and what the network takes it for."""
    outputs, target = looked.outputs[row], looked.targets[row]
    first = f"tile {looked.indices[row]} of {looked.dataset.name}"
    if looked.dataset.task == "values":
        given, wanted = (" ".join(digits(float(one), 3) for one in v) for v in (outputs, target))
        return f"{first}\nis {wanted}\nnetwork: {given}"
    answer = int(outputs.argmax())
    right = "" if answer == target else " (wrong)"
    return (
        f"{first}\nis {_called(looked.dataset, int(target))}\n"
        f"network: {_called(looked.dataset, answer)}{right}"
    )


def _called(dataset: Dataset, number: int) -> str:
    return dataset.labels[number] if number < len(dataset.labels) else f"class {number}"


def _picture(tile: NDArray[Any]) -> NDArray[Any]:
    """A tile as matplotlib takes it: in colour with three channels, else the first one."""
    shown: NDArray[Any] = tile.transpose(1, 2, 0) if len(tile) == 3 else tile[0]
    return shown


def _mosaic(maps: Maps) -> Maps:
    """The maps (N, H, W) row by row in one array, about square, with gaps of nan."""
    number, height, width = maps.shape
    gap = max(1, round(_GAP * max(height, width)))
    across = math.ceil(math.sqrt(number * (height + gap) / (width + gap)))
    down = math.ceil(number / across)
    whole = np.full((down * (height + gap) - gap, across * (width + gap) - gap), np.nan, np.float32)
    for at, one in enumerate(maps):
        top, left = at // across * (height + gap), at % across * (width + gap)
        whole[top : top + height, left : left + width] = np.where(np.isfinite(one), one, np.nan)
    return whole
