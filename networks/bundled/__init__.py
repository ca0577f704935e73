"""One small trained network with a few tiles, so that the first command works without torch."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def model_path() -> Path:
    """An ONNX file that reads digits: raw tiles (batch, 1, 28, 28) → probabilities (batch, 10)."""
    return Path(str(files(__name__) / "mnist.onnx"))


def tiles_path() -> Path:
    """An .npz file with `tiles` (uint8, 64×1×28×28) and `labels` (int64, 64): digits to read."""
    return Path(str(files(__name__) / "tiles.npz"))


def record_path() -> Path:
    """The `TrainingRecord` of the network, as JSON."""
    return Path(str(files(__name__) / "record.json"))
