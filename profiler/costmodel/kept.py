"""The cost models that a user has: the files of folders that are one, the newest of each target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from nnprof.errors import BadFile, NnprofError, UsageError
from nnprof.files import AnyPath, read
from nnprof.profiler.costmodel.model import CostModel, load

_MOST_BYTES = 1 << 20  # of a file that is looked into: models have 12 kB, Runs may have a GB
_SAME = ("name", "model")  # facts of a device that tell two machines of one target apart
_NEVER = datetime.min.replace(tzinfo=timezone.utc)


class Kept(NamedTuple):
    """A cost model and its file."""

    path: Path
    made: CostModel

    @property
    def of(self) -> tuple[bytes, str]:
        """What it is a model of: two of the same answer the same question."""
        facts = {fact: self.made.device.get(fact) for fact in _SAME}
        told = (self.made.target, facts)
        return msgspec.json.encode(told, order="deterministic"), self.made.precision

    @property
    def made_at(self) -> datetime:
        """When it was fitted; a file that does not say is older than all that do."""
        try:
            told = datetime.fromisoformat(self.made.created)
        except ValueError:
            return _NEVER
        return told if told.tzinfo else told.replace(tzinfo=timezone.utc)


class Models(NamedTuple):
    """The models that are asked, and sentences on files that are left out."""

    asked: tuple[Kept, ...]
    left_out: tuple[str, ...] = ()


class _Looks(msgspec.Struct):
    """As much as only a cost model has."""

    terms: list[Any]
    groups: list[Any]
    lowering: str = ""


def found(places: Iterable[AnyPath] = (".",)) -> Models:
    """The cost models in these files and folders, by name.

    Of a folder its own .json files are looked at, those of folders in it are not, and of several
    models of one target and precision the newest is asked. A file that is named is always asked.

    Raises:
        BadFile: there is no such place, or a file that is named is no cost model.
        UsageError: there is no cost model.
    """
    named, lying, left_out = dict[Path, Kept](), dict[Path, Kept](), list[str]()
    asked = [Path(place) for place in places]
    for path in (path for place in asked for path in _files(place)):
        try:
            (lying if path not in asked else named)[path.resolve()] = Kept(path, load(path))
        except NnprofError as error:  # noqa: PERF203  each is another file
            if path in asked:
                raise
            left_out.append(f"{path} is left out: {error.reason}")
    newest, older = _newest([one for real, one in lying.items() if real not in named])
    if not (named or newest):
        raise UsageError(
            f"There is no cost model in {', '.join(map(_called, asked))}.",
            "Fit one with nnprof fit-model, or say where they are: --models FOLDER.",
        )
    return Models((*named.values(), *newest), (*left_out, *older))


def _called(place: Path) -> str:
    return "this folder" if place == Path() else str(place)


def _files(place: Path) -> list[Path]:
    """The files of a folder that are meant as cost models; a file itself, whatever it is."""
    if not place.is_dir():
        return [place]
    return [path for path in sorted(place.glob("*.json")) if path.is_file() and _is_model(path)]


def _is_model(path: Path) -> bool:
    """Whether a file is meant as a cost model; whether it can be used, `load` tells."""
    if path.stat().st_size > _MOST_BYTES:
        return False
    try:
        msgspec.json.decode(read(path, _MOST_BYTES, ""), type=_Looks)
    except (BadFile, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _newest(models: Sequence[Kept]) -> tuple[list[Kept], list[str]]:
    """The last fit of each target, and a sentence on each older one."""
    best: dict[tuple[bytes, str], Kept] = {}
    for one in models:
        other = best.setdefault(one.of, one)
        if one.made_at > other.made_at:
            best[one.of] = one
    return [one for one in models if best[one.of] is one], [
        f"{one.path} is left out: {best[one.of].path} is a newer fit of the same. To ask it, too: "
        f"--models {one.path}."
        for one in models
        if best[one.of] is not one
    ]
