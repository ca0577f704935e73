"""Files of other tools → a Run; each foreign format has an importer of its own (`importer`).

An importer recognises a file by its text, not by its name. A Run made here has no processes and no
plan: `stopped` is "imported", and what no file tells is unknown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nnprof import registry
from nnprof.errors import BadFile, Unavailable, UsageError
from nnprof.files import AnyPath
from nnprof.profiler.importers import sources
from nnprof.profiler.importers.importer import (
    METHOD,
    NO_PLAN,
    NOTHING_TOLD,
    UNKNOWN,
    File,
    Found,
    Importer,
    Told,
)
from nnprof.types import Cell, Run, Study


def import_run(
    files: Iterable[AnyPath],
    told: Told = NOTHING_TOLD,
    *,
    onnx: AnyPath | None = None,
    rename: Mapping[str, str] = MappingProxyType({}),
    command: Sequence[str] | None = None,
) -> Run:
    """The Run that these files of another tool are; it is in no file yet.

    Args:
        files: of one format; its importer says which of them belong together.
        told: what the files do not say.
        onnx: the network's file, for its ops' names and types; not for tables.
        rename: a table's column names → ours.
        command: what the Run says that it was made by; nothing where not given.

    Raises:
        BadFile: no importer recognises a file, or a file is damaged.
        UsageError: the files do not belong together, or something must be told.
    """
    paths = [Path(file) for file in files]
    if not paths:
        raise UsageError("There is nothing to import: no files.", "Give at least one file.")
    read, importer = _recognised(paths)
    if rename and not importer.has_columns:
        raise UsageError("Only tables have columns to rename.", "Leave --rename out.")
    try:
        imported = importer.read(read, told, Path(onnx) if onnx else None, rename)
    except ValueError as error:  # of our own types, which refuse what cannot be
        names = ", ".join(map(str, paths))
        raise BadFile(f"{names} has a value that cannot be: {error}.", "Correct it.") from error
    return _run(read, imported, command or ())


def _recognised(paths: Sequence[Path]) -> tuple[list[File], Importer]:
    """The files, and the one importer that recognises all of them."""
    every = _importers()
    read = [_read(path, every) for path in paths]
    found = {importer.name: importer for _, importer in read}
    if len(found) > 1:
        raise UsageError(
            f"These files are of several kinds: {', '.join(sorted(found))}.",
            "Import one kind at a time.",
        )
    (importer,) = found.values()
    return [file for file, _ in read], importer


def _importers() -> list[Importer]:
    """Every importer, in the order in which they are asked for a file.

    Raises:
        Unavailable: none is registered.
    """
    every = [registry.find("importer", name) for name in registry.names("importer")]
    if not every:  # an editable install of before there were entry points for them
        raise Unavailable(
            "This installation of nnprof registers no importer.", "Install it again: make install"
        )
    return sorted(every, key=lambda importer: importer.order)


def _read(path: Path, importers: Sequence[Importer]) -> tuple[File, Importer]:
    """A file, and the importer that recognises it."""
    data = sources.read(path)
    text = sources.text_of(data, str(path))
    for importer in importers:
        if form := importer.form(text):
            digest = hashlib.sha256(data).hexdigest()
            return File(path=path, form=form, text=text, sha256=digest), importer
    start = sources.start(text)
    if start.startswith("<"):
        raise BadFile(f"{path} is a web page or XML.", "Save the table as CSV, and import that.")
    if start.startswith("{") and '"measurements"' in text:
        raise UsageError(f"{path} is a Run already.", f"Show it with: nnprof show {path}")
    *first, last = (importer.takes for importer in reversed(importers))
    raise BadFile(
        f"{path} is no file that can be imported.", f"It takes {', '.join(first)} or {last}."
    )


def _run(files: Sequence[File], imported: Found, command: Sequence[str]) -> Run:
    measurements, version = imported.measurements, imported.version
    first = measurements[0].target
    environment: dict[str, Any] = {
        "imported": {
            "files": [
                {"name": file.path.name, "sha256": file.sha256, "form": file.form} for file in files
            ],
            "ignored_columns": list(imported.ignored),
        },
        "backend": {"name": first.backend, **({"version": version} if version else {})},
        "device": {} if first.device == UNKNOWN else {"model": first.device},
    }
    study = Study(
        name=METHOD,
        command=tuple(command),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        plan=NO_PLAN,
        cells=tuple(Cell(workload=m.workload, target=m.target) for m in measurements),
    )
    _check_distinct(study.cells)
    return Run(study=study, environment=environment, measurements=measurements)


def _check_distinct(cells: Sequence[Cell]) -> None:
    seen: set[str] = set()
    for cell in cells:
        if cell.key in seen:
            work = cell.workload
            raise UsageError(
                f"{work.model.name} at batch {work.batch} comes twice.",
                "Import each measurement once, or give the files different networks.",
            )
        seen.add(cell.key)


def unknowns(run: Run) -> tuple[str, ...]:
    """Flags of `nnprof import` for what neither a file nor the user told."""
    missing = {
        "device": any(m.target.device == UNKNOWN for m in run.measurements),
        "runtime": any(m.target.backend == UNKNOWN for m in run.measurements),
        "precision": any(m.workload.precision == UNKNOWN for m in run.measurements),
        "threads": any(m.target.threads == 0 and m.clock != "cuda_event" for m in run.measurements),
    }
    return tuple(name for name, is_missing in missing.items() if is_missing)
