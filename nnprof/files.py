"""The one way in which nnprof writes a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from nnprof.errors import UsageError

AnyPath = str | os.PathLike[str]  # what the public functions take for a path


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file in one step: a reader, or a power cut, meets the old or the new content.

    A process killed in between leaves a `.NAME.*.tmp` beside it; see `clear_leftovers`.

    Raises:
        UsageError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)  # mkstemp makes files that only their owner can read
            Path(name).replace(path)
            _sync_folder(path.parent)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"'{path}' cannot be written: {error.strerror}.",
            "Choose another folder, or free some space.",
        ) from error


def clear_leftovers(path: Path) -> None:
    """Remove what killed writers of this file left beside it."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Until the folder is on disk, a power cut can bring the old name back."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
