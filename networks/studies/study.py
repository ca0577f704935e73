"""A study: which networks to train, to time, or both; what it asks, and what its source claims.

A study is a function without arguments under `nnprof.studies` in setup.cfg, or a JSON file of the
same form. Networks stand in it as text, as a user types them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec

from nnprof import registry
from nnprof.documents import Document
from nnprof.errors import BadFile, UsageError
from nnprof.files import AnyPath, write_atomically
from nnprof.networks.settings import TrainingSettings
from nnprof.networks.studies.claims import Claim
from nnprof.types import MOST_BATCH

SCHEMA = 2
MOST_CELLS = 100_000  # a second for each is more than a day
_MOST_SEEDS = 1000


class Training(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the network of a cell is trained.

    Attributes:
        dataset: as `nnprof train --dataset` takes it.
        settings: all of them; the device is that of the command.
        seeds: a training for each.
    """

    dataset: str
    settings: TrainingSettings
    seeds: Annotated[tuple[int, ...], msgspec.Meta(min_length=1, max_length=_MOST_SEEDS)] = (0,)


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cell of a study: a network, what is done with it, and why.

    Attributes:
        network: notation, family or ONNX file.
        batch: to time it at; None where the study times nothing or the user says at which.
        why: what the cell is there for.
        name: what the study calls the cell, and its folder of trainings; empty where it is only
            timed.
        varied: what the study varies → its value here.
        train: None where the network is only timed.
    """

    network: str
    batch: Annotated[int, msgspec.Meta(ge=1, le=MOST_BATCH)] | None = None
    why: str = ""
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{0,80}$")] = ""
    varied: dict[str, str] = {}
    train: Training | None = None

    def __post_init__(self) -> None:
        """Refuse a cell whose trainings would have no folder, or one outside the study's."""
        if self.name.startswith(".") or (self.train and not self.name):
            raise ValueError("a cell that is trained needs a name, which begins with no dot")


class Study(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A study, as a value and as a JSON file; its `name` is that of the Run.

    The file's history: 1, first published form: cells of network, batch and why; 2, cells with
    trainings, questions and claims.

    Attributes:
        asks: its question, in one sentence.
        gives: figures and tables of its source that come out of it.
        cells: what is trained and timed.
        claims: what its source says of the outcome.
        changed: what a user has set otherwise than the study → the new value, in words.
    """

    schema: int = SCHEMA
    name: str
    asks: str = ""
    gives: str = ""
    cells: tuple[Asked, ...]
    claims: tuple[Claim, ...] = ()
    changed: dict[str, str] = {}

    def __post_init__(self) -> None:
        """Refuse two trained cells of one name: they would share a folder."""
        names = [cell.name for cell in self.cells if cell.train]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"two cells are called '{twice}'")

    @property
    def trained(self) -> tuple[Asked, ...]:
        """The cells that are trained."""
        return tuple(cell for cell in self.cells if cell.train)


_REMEDY = "Give a file that nnprof plan or nnprof train --study wrote."
_DOCUMENT = Document(Study, "a study", _REMEDY, SCHEMA)


def save_study(study: Study, path: AnyPath) -> None:
    """Write a study file.

    Raises:
        UsageError: the folder cannot be written.
    """
    write_atomically(Path(path), msgspec.json.format(msgspec.json.encode(study), indent=1) + b"\n")


def load_study(path: Path) -> Study:
    """Read a study file.

    Raises:
        NewerSchema: a later nnprof wrote it.
        BadFile: it is missing, cut off, empty, or no study.
    """
    study = _DOCUMENT.load(path)
    if not study.cells:
        raise BadFile(f"{path} asks for nothing.", _DOCUMENT.remedy)
    if len(study.cells) > MOST_CELLS:
        raise BadFile(
            f"{path} asks for {len(study.cells)} cells; {MOST_CELLS} are the most.",
            "Split it into several.",
        )
    return study


def is_file(name: str) -> bool:
    """Whether the name of a study is that of a file."""
    return name.endswith(".json")


def find(name: str) -> Study:
    """The study in a .json file, or the registered one.

    Raises:
        UnknownName: no study of that name; lists the known.
        NewerSchema, BadFile: see `load_study`.
    """
    if is_file(name):
        return load_study(Path(name))
    study: Study = registry.find("study", name)()
    return study


def merged(name: str, studies: Iterable[Study], asks: str) -> Study:
    """Several studies as one."""
    parts = tuple(studies)
    return Study(
        name=name,
        asks=asks,
        gives="; ".join(dict.fromkeys(part.gives for part in parts if part.gives)),
        cells=tuple(cell for part in parts for cell in part.cells),
        claims=tuple(claim for part in parts for claim in part.claims),
    )


# --- the user's changes ---------------------------------------------------------------------------


def on_dataset(study: Study, dataset: str) -> Study:
    """Only the cells that are trained on this data set, and the claims that these can meet.

    Raises:
        UsageError: none is.
    """
    kept = tuple(one for one in study.trained if one.train and one.train.dataset == dataset)
    if not kept:
        known = dict.fromkeys(one.train.dataset for one in study.trained if one.train)
        raise UsageError(
            f"Study '{study.name}' trains nothing on '{dataset}'.",
            f"Its data sets: {', '.join(known) or 'none'}.",
        )
    names = {cell.name for cell in kept}
    claims = tuple(claim for claim in study.claims if claim.about() <= names)
    return msgspec.structs.replace(
        study, cells=kept, claims=claims, changed={**study.changed, "dataset": f"{dataset} only"}
    )


def with_settings(study: Study, given: dict[str, object], seeds: tuple[int, ...] | None) -> Study:
    """The study trained with these settings and seeds in place of its own.

    Raises:
        UsageError: settings that no training can have, or the study trains nothing.
    """
    if not study.trained:
        raise UsageError(
            f"Study '{study.name}' trains nothing.", f"Time it: nnprof bench --study {study.name}"
        )
    cells = tuple(_changed(cell, given, seeds) for cell in study.cells)
    told = dict(study.changed)
    for name, value in given.items():
        before = {getattr(one.train.settings, name) for one in study.trained if one.train}
        if before != {value}:
            told[name] = f"{value} for {_words(before)}"
    if seeds is not None:
        own = {len(one.train.seeds) for one in study.trained if one.train}
        if own != {len(seeds)}:
            told["seeds"] = f"{len(seeds)} for {_words(own)}"
    return msgspec.structs.replace(study, cells=cells, changed=told)


def _changed(cell: Asked, given: dict[str, object], seeds: tuple[int, ...] | None) -> Asked:
    if cell.train is None:
        return cell
    settings = msgspec.structs.replace(cell.train.settings, **given)
    training = msgspec.structs.replace(
        cell.train, settings=settings, seeds=cell.train.seeds if seeds is None else seeds
    )
    return msgspec.structs.replace(cell, train=training)


def _words(values: Iterable[object]) -> str:
    told = sorted("none" if one is None else str(one) for one in values)
    return told[0] if len(told) == 1 else f"several ({', '.join(told[:4])})"
