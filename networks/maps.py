"""What a trained network makes of test tiles, layer by layer: its feature maps.

A layer is named as in the weights file: `conv1`, `bn1`, `pool1`, counted by kind from the input on;
an activation that stands behind a `bn` is `act1`. A layer's maps are what it hands on, its own
activation included: `conv1` of `conv20k5` is behind the ReLU, that of `conv20k5 bn relu` is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import UsageError
from nnprof.files import AnyPath
from nnprof.networks import build, checkpoint, datasets, hardware, train
from nnprof.networks.datasets import Dataset
from nnprof.networks.pytorch import nn, torch

TILES = 3  # where none are asked for

Maps = NDArray[np.float32]


class Looked(NamedTuple):
    """Test tiles, what they are, and what a network makes of them.

    Attributes:
        network: its notation.
        dataset: that of the training; the tiles are of its test set.
        indices: of the tiles in the test set, from 0.
        tiles: (N, C, H, W), raw.
        targets: class, or values, of each tile.
        outputs: (N, k), what the network gives for each.
        maps: layer → (N, maps, height, width), in the order asked for.
    """

    network: str
    dataset: Dataset
    indices: tuple[int, ...]
    tiles: NDArray[Any]
    targets: NDArray[Any]
    outputs: NDArray[np.float32]
    maps: dict[str, Maps]


def look(folder: AnyPath, layers: Sequence[str] = (), tiles: Sequence[int] = ()) -> Looked:
    """The feature maps of a trained network; without layers of each convolution.

    Without tiles the first three of different classes are taken.

    Raises:
        BadFile: the folder holds no trained network.
        Unavailable: torch, or the data set of the training, is not here.
        UsageError: the network has no such layer, or none with maps, or the test set no such tile.
    """
    kept = checkpoint.load_checkpoint(Path(folder))
    dataset = datasets.load(kept.record.dataset)
    indices = tuple(dict.fromkeys(tiles)) or _first_of_classes(dataset)
    _require_tiles(dataset, indices)
    network = build.restore(kept.spec, kept.weights, str(folder))
    chosen = dataset.test_inputs[list(indices)]
    mean, std = torch.from_numpy(kept.mean), torch.from_numpy(kept.std)
    with hardware.repeatable(1, "cpu"), _watched(network) as found:
        given = train.outputs(network, chosen, mean, std)
    maps = {name: one.numpy() for name, one in found.items() if one.ndim == 4}
    names = list(dict.fromkeys(layers)) or [one for one in maps if one.startswith("conv")]
    _require_layers(kept.spec.notation, names, found, maps)
    return Looked(
        network=kept.spec.notation,
        dataset=dataset,
        indices=indices,
        tiles=chosen,
        targets=dataset.test_targets[list(indices)],
        outputs=given.numpy(),
        maps={name: maps[name] for name in names},
    )


@contextmanager
def _watched(network: nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """What each layer hands on in the last call inside, by name, in the order of the network."""
    found: dict[str, torch.Tensor] = {}

    def keeping(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_module: nn.Module, _given: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                found[name] = output.detach().cpu()

        return keep

    # `conv1_pad`, `conv1` and `conv1_relu` are one layer, of which the last one counts.
    hooks = [
        module.register_forward_hook(keeping(path.rpartition(".")[2].partition("_")[0]))
        for path, module in network.named_modules()
        if not isinstance(module, nn.Sequential | nn.Flatten)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _first_of_classes(dataset: Dataset) -> tuple[int, ...]:
    """The first tiles of different classes; of values the first ones."""
    if dataset.task == "values":
        return tuple(range(min(TILES, len(dataset.test_targets))))
    first = np.sort(np.unique(dataset.test_targets, return_index=True)[1])
    return tuple(int(index) for index in first[:TILES])


def _require_tiles(dataset: Dataset, indices: Sequence[int]) -> None:
    count = len(dataset.test_targets)
    for index in indices:
        if not 0 <= index < count:
            raise UsageError(
                f"The test set of '{dataset.name}' has no tile {index}.",
                f"It has those from 0 to {count - 1}.",
            )


def _require_layers(
    notation: str, names: Sequence[str], found: Mapping[str, torch.Tensor], maps: Mapping[str, Maps]
) -> None:
    known = f"Layers with maps: {', '.join(maps)}."
    for name in names:
        if name not in found:
            raise UsageError(f"'{notation}' has no layer '{name}'.", known)
        if name not in maps:
            raise UsageError(f"'{name}' of '{notation}' is flat: it has no maps.", known)
    if not names:
        raise UsageError(
            f"'{notation}' has no convolution whose maps could be drawn.",
            f"{known} Name them with --layer." if maps else "Train one on C×H×W tiles.",
        )
