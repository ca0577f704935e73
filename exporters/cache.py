"""Where exported files are kept: under names that promise their bytes, so they are made once."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from nnprof.exporters.models import load_model
from nnprof.files import write_atomically
from nnprof.types import Model

_DIGEST = 16  # hexadecimal digits


def folder() -> Path:
    """The user's cache of models; `XDG_CACHE_HOME` moves it on Linux."""
    return Path(platformdirs.user_cache_dir("nnprof")) / "models"


def digest(values: Any) -> str:
    """A key of the cache: the same for equal values."""
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()[:_DIGEST]


def installed(package: str) -> str:
    """The version of a package; empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def keep(key: str, data: bytes, place: Path | None = None) -> Model:
    """Write a file into the cache, or the folder `place`, under a name that promises its bytes."""
    path = (place or folder()) / f"{key}-{hashlib.sha256(data).hexdigest()[:_DIGEST]}.onnx"
    write_atomically(path, data)
    return load_model(path)


def find(key: str, place: Path | None = None) -> Model | None:
    """The kept file of a key, or None; a file whose bytes break its name's promise is deleted."""
    for path in sorted((place or folder()).glob(f"{key}-*.onnx")):
        promised = path.stem.removeprefix(f"{key}-")
        if hashlib.sha256(path.read_bytes()).hexdigest().startswith(promised):
            return load_model(path)
        path.unlink()
    return None


def keep_named(name: str, data: bytes) -> Model:
    """Write a file into the cache as `name`.onnx, unless it is there with the same bytes."""
    path = folder() / f"{name}.onnx"
    if not path.is_file() or path.read_bytes() != data:
        write_atomically(path, data)
    return load_model(path)
