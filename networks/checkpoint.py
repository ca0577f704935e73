"""What training leaves behind: a folder with weights.safetensors and record.json. Never a pickle.

During training the folder also holds state.safetensors, the only file that resuming reads: weights,
best weights, optimiser state and record of one epoch. So a training that is killed between two
writes cannot mix epochs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile, Unavailable
from nnprof.files import foreign, read, write_atomically
from nnprof.networks.families import parse_network
from nnprof.networks.spec import NetworkSpec
from nnprof.types import TrainingRecord

WEIGHTS, RECORD, STATE = "weights.safetensors", "record.json", "state.safetensors"
_MOST = 1 << 32  # bytes of a file
_RESTORE = "Restore it from a copy, or train again."
_MEAN, _STD = "normalisation.mean", "normalisation.std"

Arrays = Mapping[str, NDArray[Any]]


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A trained network.

    Attributes:
        spec: the network.
        record: how it was trained.
        weights: by name in torch's state dict.
        mean, std: of the training tiles on the scale 0…255, float32, of shape (C, 1, 1), (C, H, W)
            or (features,): what the network takes is (tile - mean) / std.
        sha256: of the weights file, normalisation included.
    """

    spec: NetworkSpec
    record: TrainingRecord
    weights: dict[str, NDArray[Any]]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    sha256: str


def save_weights(
    folder: Path, record: TrainingRecord, weights: Arrays, mean: Any, std: Any
) -> None:
    """Write weights.safetensors, then record.json."""
    tensors = {**weights, _MEAN: mean, _STD: std}
    _save(folder / WEIGHTS, tensors, {"network": record.network})
    _save_record(folder, record)


def _save_record(folder: Path, record: TrainingRecord) -> None:
    text = msgspec.json.format(msgspec.json.encode(record), indent=2)
    write_atomically(folder / RECORD, text + b"\n")


def save_state(folder: Path, record: TrainingRecord, tensors: Arrays) -> None:
    """Write state.safetensors, with the record inside."""
    _save(folder / STATE, tensors, {"record": msgspec.json.encode(record).decode()})


def drop_state(folder: Path) -> None:
    """Remove state.safetensors: the training has ended."""
    (folder / STATE).unlink(missing_ok=True)


def load_state(folder: Path) -> tuple[TrainingRecord, dict[str, NDArray[Any]]]:
    """Record and tensors of state.safetensors.

    Raises:
        BadFile: it is missing or corrupt.
    """
    path = folder / STATE
    data = _read(path, "Train without --resume to start anew.")
    tensors, metadata = _tensors(path, data)
    return _decode_record(path, metadata.get("record", "").encode()), tensors


def load_record(folder: Path) -> TrainingRecord:
    """The record of a checkpoint.

    Raises:
        BadFile: it is missing or corrupt.
    """
    path = folder / RECORD
    data = _read(path, "Give the folder that 'nnprof train --out' wrote.")
    return _decode_record(path, data)


def load_checkpoint(folder: Path) -> Checkpoint:
    """The trained network in a folder.

    Raises:
        BadFile: a file is missing or corrupt.
    """
    record = load_record(folder)
    path = folder / WEIGHTS
    data = _read(path, "Give the folder that 'nnprof train --out' wrote.")
    tensors, _ = _tensors(path, data)
    if _MEAN not in tensors or _STD not in tensors:
        raise BadFile(f"'{path}' lacks its normalisation.", "Train again with 'nnprof train'.")
    mean, std = tensors.pop(_MEAN), tensors.pop(_STD)
    return Checkpoint(
        spec=parse_network(record.network),
        record=record,
        weights=tensors,
        mean=mean,
        std=std,
        sha256=hashlib.sha256(data).hexdigest(),
    )


# --- weights of a network -------------------------------------------------------------------------

# Of MNIST's training tiles, for networks that were never trained: activations of a sane size.
MNIST_MEAN, MNIST_STD = 33.318, 78.567
TRAINED = "trained"
_SEED = "seed "


def is_seeded(weights: str) -> bool:
    """Whether `Model.weights` says that the weights were drawn by a seed."""
    return weights.startswith(_SEED)


class Source(NamedTuple):
    """What is exported: the network, its weights, and the normalisation of its training.

    Attributes:
        spec: the network.
        checkpoint: its trained weights; None where the seed draws them.
        mean, std: as in `Checkpoint`; one value for all where there is no checkpoint.
    """

    spec: NetworkSpec
    checkpoint: Checkpoint | None
    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    @property
    def weights(self) -> str:
        """What `Model.weights` says: "trained" or "seed N"."""
        return TRAINED if self.checkpoint else f"{_SEED}{self.spec.seed}"

    @property
    def dataset(self) -> str:
        """The data set of the training; empty without one."""
        return self.checkpoint.record.dataset if self.checkpoint else ""


def source_of(spec: NetworkSpec, folder: Path | None) -> Source:
    """The network with the checkpoint in `folder`; without a folder, with seeded weights.

    Raises:
        BadFile: the checkpoint is missing, corrupt or of another network.
    """
    if folder is None:
        # One value for all channels and pixels, in a shape that broadcasts over the input.
        shape = (1,) * len(spec.input_shape)
        mean, std = (np.full(shape, value, np.float32) for value in (MNIST_MEAN, MNIST_STD))
        return Source(spec, None, mean, std)
    checkpoint = load_checkpoint(folder)
    if checkpoint.spec.layers != spec.layers or checkpoint.spec.input_shape != spec.input_shape:
        raise BadFile(
            f"The checkpoint holds '{checkpoint.spec.notation}', not '{spec.notation}'.",
            "Export it as the network that it is.",
        )
    return Source(spec, checkpoint, checkpoint.mean, checkpoint.std)


# --- files ----------------------------------------------------------------------------------------


def _save(path: Path, tensors: Arrays, metadata: dict[str, str]) -> None:
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    write_atomically(path, save(contiguous, metadata))


def _read(path: Path, remedy: str) -> bytes:
    return read(path, _MOST, remedy)


def _tensors(path: Path, data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    try:
        from safetensors import safe_open
        from safetensors.numpy import load
    except ImportError as error:
        raise Unavailable(
            "safetensors is not installed.", "Try: pip install 'nnprof-embedded[train]'."
        ) from error
    with foreign(f"'{path}' is corrupt", _RESTORE):
        tensors = load(data)
        with safe_open(path, framework="np") as opened:
            metadata = opened.metadata() or {}
    return tensors, metadata


def _decode_record(path: Path, data: bytes) -> TrainingRecord:
    with foreign(f"The record in '{path}' is corrupt", _RESTORE):
        return msgspec.json.decode(data, type=TrainingRecord)
