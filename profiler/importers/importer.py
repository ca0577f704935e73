"""What an importer is: the files it gets, the measurements it gives, and its line in setup.cfg.

An importer reads one foreign format. It is an `Importer` in a file of its own, and one line in the
entry-point group `nnprof.importers`, of this package or of another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from nnprof.types import Measurement, Plan, Precision

UNKNOWN: Final = "unknown"
METHOD: Final = "imported"
# The plan of cells that another tool measured. None of its fields is true, and none is read.
NO_PLAN = Plan(op_method="none")


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file to import; `form` is what its importer called it, such as "layers"."""

    path: Path
    form: str
    text: str
    sha256: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says because the files do not; None is unknown.

    Where a table has a column of that name, a value picks its rows.
    """

    network: str | None = None
    batch: int | None = None
    device: str | None = None
    runtime: str | None = None
    precision: Precision | None = None
    threads: int | None = None


NOTHING_TOLD = Told()


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What files hold: at least one measurement, all of one device and one runtime.

    Attributes:
        version: of the runtime, None where no file tells.
        ignored: columns of tables that say nothing to nnprof.
    """

    measurements: tuple[Measurement, ...]
    version: str | None = None
    ignored: tuple[str, ...] = ()


# files, told, the network's .onnx file, a table's column names → ours
Read = Callable[[Sequence[File], Told, Path | None, Mapping[str, str]], Found]


class Importer(msgspec.Struct, frozen=True, kw_only=True):
    """One foreign format.

    Attributes:
        name: what messages call a file of it, such as "profile of ONNX Runtime".
        takes: the same for the list of all that can be imported, such as "a .csv table".
        form: text → which of the format's files it is, "" for another format's. It judges by
            the beginning, so that a file that is cut off is recognised, too (`sources.start`).
        read: all files of one import, all of this format → measurements. Raises BadFile or
            UsageError; a ValueError of nnprof's own types means a value that cannot be.
        order: importers are asked from the lowest; the first that recognises a file gets it.
        has_columns: whether `--rename` means anything.
    """

    name: str
    takes: str
    form: Callable[[str], str]
    read: Read
    order: int = 5
    has_columns: bool = False
