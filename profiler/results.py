"""Runs on disk: saved whole or not at all, checked when read.

A Run file is the JSON of `nnprof.types.Run`; its published schema is docs/run.schema.json.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from nnprof import locks
from nnprof.documents import Document
from nnprof.errors import BadFile, UsageError
from nnprof.files import AnyPath, clear_leftovers, write_atomically, write_new
from nnprof.profiler import pairs
from nnprof.types import SCHEMA, Cell, Measurement, Run

_LONGEST_WORD = 80  # bytes of a file's name, which may have 255
_LONGEST_LOCK = 200  # bytes of the name that a lock's is made of


class _Kind(msgspec.Struct):
    """What only a Run has."""

    study: msgspec.Raw


_MOST = 1 << 28  # bytes; ours of thousand ops have 3 MB
_DOCUMENT = Document(Run, "a Run", "Give a file that nnprof bench wrote.", SCHEMA, _MOST)
_KIND = Document(_Kind, "a Run", "", 0, _MOST)


def is_run(path: Path) -> bool:
    """Whether a file says that it is a Run; whether it is a whole one, `load` tells."""
    try:
        _KIND.load(path)
    except BadFile:
        return False
    return True


def save(run: Run, path: AnyPath) -> None:
    """Write the Run so that `path` is a whole file at every moment, even if we are killed.

    Raises:
        UsageError: the folder cannot be written.
    """
    write_atomically(Path(path), msgspec.json.format(msgspec.json.encode(run), indent=1))


def load(path: AnyPath) -> Run:
    """Read and check a Run.

    Raises:
        NewerSchema: a later nnprof wrote it.
        BadFile: it is missing, cut off, or no Run.
    """
    run = _DOCUMENT.load(Path(path))
    return run if run.schema > 1 else _without_fresh(run)


def load_sides(path: AnyPath) -> tuple[Run, Run]:
    """The two Runs whose processes alternated, side a first, from the file of either.

    Raises:
        UsageError: the Run was not measured in pairs.
        BadFile: the other one is missing, or is another's; otherwise as `load`.
    """
    run = load(path)
    paired = run.study.paired
    if paired is None:
        raise UsageError(
            f"{path} was not measured in pairs, and alone there is nothing to compare it with.",
            "Give a second Run, or measure two sides with nnprof bench A B --paired.",
        )
    beside = Path(path).with_name(paired.other)
    other = load(beside)
    if not pairs.are_sides(run, other):
        raise BadFile(f"{beside} is not what {path} alternated with.", "Put its other side there.")
    return (run, other) if paired.side == "a" else (other, run)


def _without_fresh(run: Run) -> Run:
    """A Run of schema 1, which knew no processes after the decision that its cells need no more."""
    return replace(
        run,
        study=replace(run.study, plan=replace(run.study.plan, fresh=0)),
        measurements=tuple(
            replace(one, plan=replace(one.plan, fresh=0)) for one in run.measurements
        ),
    )


@contextmanager
def writing(path: AnyPath, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Be the only one who writes a Run; readers need not ask. `wait`: see `nnprof.locks.held`.

    The lock is a file beside the Run, which a rename replaces, and goes with it.

    Raises:
        Busy: another nnprof writes it.
        UsageError: the folder cannot be written.
    """
    place = Path(path).resolve()
    name = os.fsencode(place.name)[:_LONGEST_LOCK].decode(errors="ignore")
    lock = place.with_name(f".{name}.lock")
    with locks.held(lock, f"{path} is being written", wait=wait):
        clear_leftovers(place)  # of those who were killed: nobody else writes now
        yield


def require_unchanged(run: Run, path: AnyPath) -> None:
    """Refuse to write a Run over what somebody else has measured since it was read.

    Raises:
        UsageError: the file holds processes that the Run does not.
    """
    if not Path(path).exists():
        return
    mine = {_key(one): one.samples_s for one in run.measurements}
    for theirs in load(path).measurements:
        if mine.get(_key(theirs), ())[: len(theirs.samples_s)] != theirs.samples_s:
            raise UsageError(
                f"{path} was written by another nnprof since it was read.", "Resume it once more."
            )


def _key(measurement: Measurement) -> str:
    return Cell(workload=measurement.workload, target=measurement.target).key


def save_new(run: Run, folder: Path, device: str) -> Path:
    """Write a Run under a name that says what, where and when, and that nobody else has.

    Such as `group3-cpu-20261121-101500.json`; whatever study and device are called, it is in the
    folder.

    Raises:
        UsageError: the folder cannot be written.
    """
    stamp = datetime.fromisoformat(run.study.created).strftime("%Y%m%d-%H%M%S")
    name = f"{_word(run.study.name, 'bench')}-{_word(device, 'device')}-{stamp}"
    data = msgspec.json.format(msgspec.json.encode(run), indent=1)
    for count in itertools.count(1):
        path = folder / f"{name}{f'-{count}' if count > 1 else ''}.json"
        if write_new(path, data):
            break
    return path


def _word(name: str, otherwise: str) -> str:
    """A name as part of a file's: no separators, no dots in front, not long."""
    word = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    return word.encode()[:_LONGEST_WORD].decode(errors="ignore") or otherwise


def json_schema() -> bytes:
    """The published JSON Schema of a Run file, as JSON text."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"nnprof Run, schema {SCHEMA}",
        **msgspec.json.schema(Run),
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"
