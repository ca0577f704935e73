"""Whatever a runtime raises, as errors of ours, and what it prints; for all runtimes.

Bindings raise RuntimeError, ValueError and types of their own. None may end a worker: the user has
to read why the runtime refuses the model.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nnprof.errors import BadFile, NnprofError, OutOfMemory
from nnprof.types import Workload

_NO_MEMORY = ("allocate memory", "out of memory", "bad_alloc", "bad alloc", "not enough memory")


@contextmanager
def heard(descriptor: int) -> Iterator[list[str]]:
    """What C++ prints to stdout (1) or stderr (2) meanwhile: into the list, and not shown."""
    flush, kept = ctypes.CDLL(None).fflush, os.dup(descriptor)
    said: list[str] = []
    with tempfile.TemporaryFile() as file:
        flush(None)
        os.dup2(file.fileno(), descriptor)
        try:
            yield said
        finally:
            flush(None)
            os.dup2(kept, descriptor)
            os.close(kept)
            file.seek(0)
            said.append(file.read().decode(errors="replace"))


def first_line(text: str) -> str:
    """The first line that says anything, without its full stop."""
    lines = [line for line in text.splitlines() if line.strip(" -.")]
    return lines[0].strip().rstrip(".") if lines else "no reason given"


@contextmanager
def translated(
    runtime: str,
    workload: Workload,
    *,
    words: Callable[[str], str] = first_line,
    remedy: Callable[[], str] | None = None,
) -> Iterator[None]:
    """The runtime's errors as ours, around calls of it and around nothing else.

    Args:
        runtime: its name, as people write it.
        workload: what the runtime was asked to run.
        words: an error's text → the part that says what is wrong.
        remedy: what to do about a refusal; "" for the usual advice.

    Raises:
        OutOfMemory: the runtime asked for more memory than there is.
        BadFile: the runtime refused for any other reason.
    """
    try:
        yield
    except NnprofError:
        raise
    except Exception as error:  # whatever a binding may raise
        name, said = workload.model.name, str(error)
        if isinstance(error, MemoryError) or any(word in said.lower() for word in _NO_MEMORY):
            raise OutOfMemory(
                f"{name} at batch {workload.batch} does not fit into memory.",
                "Ask for a smaller batch.",
            ) from error
        if type(error).__name__ == "EncodeError":  # protobuf's, which does not say why
            raise BadFile(
                f"A graph made from {name} is larger than 2 GB, which no ONNX file can be.",
                "Leave out its ops: --ops none.",
            ) from error
        raise BadFile(
            f"{runtime} refuses {name}: {_kind(error)}{words(said)}.",
            (remedy() if remedy else "") or _other(runtime, workload),
        ) from error


def _kind(error: Exception) -> str:
    """A plain error's type says what its text (often a bare name) does not."""
    plain = isinstance(
        error, LookupError | TypeError | ValueError | AttributeError | AssertionError
    )
    return f"{type(error).__name__}: " if plain else ""


def _other(runtime: str, workload: Workload) -> str:
    # onnx.checker has nothing against it, or it would not have come this far.
    batch = "" if workload.model.fixed_batch else "another --batch, "
    return f"Try {batch}another --backend, or another version of {runtime}."
