"""Every error that nnprof raises on purpose.

::

    NnprofError                what went wrong, and what to do about it
    ├── UsageError             the request cannot be carried out as it stands (exit code 2)
    │   ├── BadNotation        a network's text does not parse; knows the column
    │   ├── BadShape           a network's layers do not fit together; names the layer
    │   ├── BadFile            a file is not what it should be: cut, corrupt, of another kind
    │   │   └── NewerSchema    a file written by a later nnprof
    │   ├── UnknownName        no backend, device, study or dataset of that name; lists the known
    │   ├── Unavailable        a library, dataset or device that is not here; says how to get it
    │   │   ├── Busy           another nnprof measures here, or writes the Run; says who, since when
    │   │   ├── BoardBusy      somebody else measures on the board; says who, and since when
    │   │   └── NoSpace        the board has no room for the model
    │   ├── Unexportable       ONNX has no op for one of the network's layers; it can be trained
    │   └── Disagreement       an exported model does not compute what its network computes
    └── CellError              one measurement failed; becomes a Failure, and the sweep goes on
        ├── WorkerCrashed      the worker process ended without an answer
        ├── WorkerTimeout      the worker process was ended at its time limit
        ├── ConnectionLost     the connection to the board broke while it worked
        └── OutOfMemory        the cell does not fit into memory

The message is one sentence that says what is wrong; `remedy` is one that says what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class NnprofError(Exception):
    """Base of all errors here. `str(error)` is the whole text: what is wrong, then the remedy.

    `told` is what a worker had answered before the error, as it came.
    """

    told: bytes = b""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason} {remedy}".strip())
        self.reason = reason
        self.remedy = remedy

    def after(self, told: bytes) -> Self:
        """This error, which came after a worker had answered that."""
        self.told = told
        return self


class UsageError(NnprofError):
    """The request cannot be carried out as it stands."""


class BadNotation(UsageError):
    """A network's text does not parse. `column` counts from 1."""

    def __init__(self, text: str, column: int, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason} at column {column} of '{text}'.", remedy)
        self.column = column


class BadShape(UsageError):
    """A network's layers do not fit together."""


class BadFile(UsageError):
    """A file is not what it should be."""


class NewerSchema(BadFile):
    """A file was written by a later nnprof."""


class UnknownName(UsageError):
    """No plug-in or choice of that name."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"Unknown {kind} '{name}'.", f"Known: {', '.join(sorted(known))}.")


class Unavailable(UsageError):
    """Something needed is not on this machine."""


class Busy(Unavailable):
    """Another nnprof measures on what is asked for, or writes the file."""


class BoardBusy(Unavailable):
    """Somebody else measures on the board."""


class NoSpace(Unavailable):
    """The board has no room for the model."""


class Unexportable(UsageError):
    """ONNX has no op for one of the network's layers, so that it can only be trained."""


class Disagreement(UsageError):
    """An exported model does not compute what its network computes."""


class CellError(NnprofError):
    """One measurement failed; the sweep goes on without it."""


class WorkerCrashed(CellError):
    """The worker process ended without an answer."""


class WorkerTimeout(CellError):
    """The worker process was ended at its time limit."""


class ConnectionLost(CellError):
    """The connection to the board broke while it worked."""


class OutOfMemory(CellError):
    """The cell does not fit into memory."""
