"""The trainings that a picture is made of: read from folders, chosen by cell; what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from nnprof.errors import BadFile, UsageError
from nnprof.networks.checkpoint import RECORD, load_record
from nnprof.networks.studies.study import load_study
from nnprof.networks.studies.trainings import STUDY, failures
from nnprof.types import TrainingRecord

_MOST_NAMES = 8  # in a sentence
Found = Mapping[Path, TrainingRecord]


def records_of(folders: Iterable[Path | str], cells: Sequence[str] = ()) -> Found:
    """Folder → record of each training in or below the folders, in the order of its study.

    Args:
        folders: of trainings, or folders that hold such folders at any depth.
        cells: names of a study's cells, `*` and `?` in them as in a shell's; all where it is empty.

    Raises:
        BadFile: a folder holds no training, or a record or a study is corrupt.
        UsageError: a name is that of no cell here.
    """
    found: dict[Path, TrainingRecord] = {}
    for folder in map(Path, folders):
        inside = {path.parent: load_record(path.parent) for path in sorted(folder.rglob(RECORD))}
        if not inside:
            raise BadFile(
                f"'{folder}' holds no training.",
                "Give a folder that 'nnprof train NETWORK --out FOLDER' wrote.",
            )
        order = {name: at for at, name in enumerate(_asked(folder))}
        for path in sorted(inside, key=lambda one: order.get(inside[one].cell, len(order))):
            found[path.resolve()] = inside[path]
    return _chosen(found, cells) if cells else found


def name_of(folder: Path, record: TrainingRecord) -> str:
    """A training in a sentence: its cell and seed, or its folder."""
    return f"{record.cell} seed {record.seed}" if record.cell else folder.name


def missing(folders: Iterable[Path | str], found: Found, cells: Sequence[str] = ()) -> list[str]:
    """Sentences about trainings that failed, and cells of a study that have none yet."""
    notes = []
    for folder in map(Path, folders):
        failed = [one for one in failures(folder) if _is_of(one.cell, cells)]
        notes += [f"{one.cell} seed {one.seed} failed: {one.reason}" for one in failed]
        there = {record.cell for record in found.values()} | {one.cell for one in failed}
        asked = [name for name in _asked(folder) if _is_of(name, cells)]
        absent = [name for name in asked if name not in there]
        if absent:
            notes.append(f"Not trained yet: {listed(absent)}.")
    return notes


def changes(folders: Iterable[Path | str]) -> list[str]:
    """Sentences about what a user has set otherwise than the studies."""
    studies = [load_study(Path(one) / STUDY) for one in folders if (Path(one) / STUDY).is_file()]
    return [
        f"not as {one.name} has it: {', '.join(f'{key} {value}' for key, value in told.items())}"
        for one in studies
        if (told := one.changed)
    ]


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, the first of many."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _asked(folder: Path) -> list[str]:
    """The cells of the folder's study, if it is that of one."""
    path = folder / STUDY
    return [cell.name for cell in load_study(path).trained] if path.is_file() else []


def _is_of(cell: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(cell, pattern) for pattern in patterns)


def _chosen(found: Found, cells: Sequence[str]) -> Found:
    known = list(dict.fromkeys(record.cell for record in found.values() if record.cell))
    for pattern in cells:
        if not any(fnmatchcase(cell, pattern) for cell in known):
            raise UsageError(
                f"No training here is of a cell '{pattern}'.",
                f"Cells here: {', '.join(known)}." if known else "These are of no study's cells.",
            )
    return {path: one for path, one in found.items() if one.cell and _is_of(one.cell, cells)}
