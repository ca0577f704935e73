"""A pass that fails after the clean pass is noted as Lost, so that the clean time is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, overload

from nnprof.errors import NnprofError
from nnprof.types import Lost

_T = TypeVar("_T")


@overload
def attempt(what: str, work: Callable[[], _T]) -> _T | Lost: ...


@overload
def attempt(
    what: str, work: Callable[[], _T], *, fine: tuple[type[NnprofError], ...]
) -> _T | Lost | None: ...


def attempt(
    what: str, work: Callable[[], _T], *, fine: tuple[type[NnprofError], ...] = ()
) -> _T | Lost | None:
    """What `work` gives, or why it gave nothing; None where its error is one that is `fine`."""
    try:
        return work()
    except fine:
        return None
    except NnprofError as error:
        return Lost(what=what, error=type(error).__name__, reason=error.reason, remedy=error.remedy)
    except MemoryError:
        return Lost(
            what=what,
            error="OutOfMemory",
            reason="It does not fit into memory.",
            remedy="Ask for a smaller batch, or free memory.",
        )
    except Exception as error:  # noqa: BLE001  runtimes raise what they like, Exception itself too
        said = " ".join(str(error).split())
        return Lost(what=what, error=type(error).__name__, reason=said or "It did not say why.")
