"""What ONNX Runtime's arena took, out of its own log.

Its C interface counts this (`OrtApi::AllocatorGetStats`, since 1.23); its Python package does not
hand that on. But the arena tells its log whenever it takes more (onnxruntime
core/framework/bfc_arena.cc: `Extend` and `Reserve`), with its own sum.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from nnprof.profiler.backends.ort_bound import library

_INFO, _WARNING = 1, 2
_TOTAL = re.compile(r"Total allocated bytes: (\d+)")
_RESERVED = re.compile(r"Reserving memory in BFCArena for \S+ size: (\d+)")
_CREATED = "Creating BFCArena"


@contextmanager
def logged() -> Iterator[IO[bytes]]:
    """What the runtime as a whole, not a session, logs meanwhile; it writes to standard error."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        library().set_default_logger_severity(_INFO)
        try:
            yield log
        finally:
            library().set_default_logger_severity(_WARNING)
            os.dup2(kept, 2)
            os.close(kept)


def taken(log: str) -> int | None:
    """Bytes that the arenas of a log took in all; None where it tells of none.

    Each arena's sum holds what was reserved before; what it reserved after that is added.
    """
    arenas = log.split(_CREATED)[1:]
    return sum(map(_one, arenas)) if arenas else None


def _one(log: str) -> int:
    total, after = 0, log
    for found in _TOTAL.finditer(log):
        total, after = int(found[1]), log[found.end() :]
    return total + sum(int(found[1]) for found in _RESERVED.finditer(after))
