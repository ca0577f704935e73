"""What a runtime's own converter makes of an ONNX file: made once, kept in the cache.

Files for a board are made on the machine that asks, and carried there
(`nnprof.profiler.work.carried`): then no converter is needed on a board.
"""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from nnprof.exporters import cache, identity
from nnprof.files import write_atomically
from nnprof.types import Model

Make = Callable[[Path], Sequence[bytes]]  # a folder to work in → the files, in order


class Conversion(msgspec.Struct, frozen=True, kw_only=True, tag="conversion"):
    """The files that a converter made from an ONNX file.

    Attributes:
        files: their paths, in the order of the suffixes that they were asked for by.
        by: what made them: version by distribution.
        machine: the kind of machine that made them, such as "x86_64".
        carried: whether that was another machine than the one that runs them.
    """

    files: tuple[str, ...]
    by: dict[str, str]
    machine: str
    carried: bool = False

    @property
    def path(self) -> Path:
        """The last file: the only one, or the one that leads to the others."""
        return Path(self.files[-1])

    @property
    def facts(self) -> dict[str, object]:
        """What a session tells of it."""
        where = "carried from the machine that asked" if self.carried else "made where it runs"
        return {
            "converted": self.path.name,
            "converters": self.by,
            "converted_on": f"{self.machine}, {where}",
        }


def made(
    model: Model,
    asked: Sequence[object],
    by: Mapping[str, str],
    suffixes: Sequence[str],
    make: Make,
) -> Conversion:
    """The files of a model, from the cache, or made now.

    Args:
        model: that is converted.
        asked: what decides about the files besides the model and the converter.
        by: the converter's distributions and their versions.
        suffixes: of the files; the last is written last.
        make: the converter.
    """
    key = cache.digest([model.sha256, dict(by), platform.machine(), *asked])
    files = _find(key, suffixes)
    if not files:
        with tempfile.TemporaryDirectory(prefix="nnprof-") as folder:
            contents = make(Path(folder))
        identity.require_same(model)  # or the cache would keep another model's under its key
        stem = f"{key}-{_digest(contents)}"
        files = [cache.folder() / f"{stem}{suffix}" for suffix in suffixes]
        for path, content in zip(files, contents, strict=True):
            write_atomically(path, content)
    return Conversion(files=tuple(map(str, files)), by=dict(by), machine=platform.machine())


def _find(key: str, suffixes: Sequence[str]) -> list[Path]:
    """The kept files of a key, () if none; those that break their name's promise are deleted."""
    for last in sorted(cache.folder().glob(f"{key}-*{suffixes[-1]}")):
        stem = last.name.removesuffix(suffixes[-1])
        paths = [last.with_name(f"{stem}{suffix}") for suffix in suffixes]
        if all(path.is_file() for path in paths):
            promised = stem.removeprefix(f"{key}-")
            if _digest([path.read_bytes() for path in paths]) == promised:
                return paths
        for path in paths:
            path.unlink(missing_ok=True)
    return []


def _digest(contents: Sequence[bytes]) -> str:
    return cache.digest([hashlib.sha256(content).hexdigest() for content in contents])
