"""Buffers bound to a session of ONNX Runtime, and its words as errors of ours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

from nnprof.errors import BadFile, NnprofError, Unavailable
from nnprof.profiler.backends import refusals
from nnprof.profiler.backends.refusals import first_line
from nnprof.types import Workload

_FRONTS = tuple(
    map(
        re.compile,
        (
            r"^\[ONNXRuntimeError\] : \d+ : \w+ : ",
            r"^Load model from .*? failed:\s*",
            r"^/\S+\.(?:cc|h):\d+ .*?\)\s+(?=[A-Z])",
        ),
    )
)


def library() -> Any:
    """The package onnxruntime.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise Unavailable(
            "onnxruntime is not installed.", "Try: pip install 'nnprof-embedded[cpu]'"
        ) from error
    return onnxruntime


def as_ours(workload: Workload) -> AbstractContextManager[None]:
    """The runtime's errors as ours."""

    def remedy() -> str:
        twice = _named_twice(Path(workload.model.path))
        return twice and f"Nodes of one graph are called '{twice}': give each a name of its own."

    return refusals.translated("ONNX Runtime", workload, words=_words, remedy=remedy)


def _words(said: str) -> str:
    """The reason in an error's text: without number, path of the model, and place in the code."""
    line = first_line(said)
    for front in _FRONTS:
        line = front.sub("", line)
    return line


def _named_twice(path: Path) -> str:
    """A name that two nodes of one graph share, which only ONNX Runtime refuses; "" without."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    names = Counter(node.name for node in graph.node if node.name)
    return next((name for name, count in names.items() if count > 1), "")


@contextmanager
def cut_up(workload: Workload) -> Iterator[None]:
    """What cutting raises over an optimised graph of a form that it does not know, as BadFile."""
    try:
        yield
    except NnprofError:
        raise
    except Exception as error:
        raise BadFile(
            f"The optimised graph of {workload.model.name} cannot be cut into ops: "
            f"{type(error).__name__} at {first_line(str(error))}.",
            "Its ops are timed by the runtime alone.",
        ) from error


class Bound:
    """An InferenceSession with buffers bound once."""

    def __init__(self, session: Any, binding: Any, workload: Workload) -> None:
        self._session, self._binding, self._workload = session, binding, workload

    def sample(self, loops: int) -> float:
        """Seconds of `loops` inferences."""
        run, binding = synchronised(self._session, self._binding), self._binding
        with as_ours(self._workload):
            start = perf_counter()
            for _ in range(loops):
                run(binding)
            return perf_counter() - start

    def close(self) -> None:
        """Drop the session and its buffers."""
        del self._binding, self._session


def synchronised(session: Any, binding: Any) -> Callable[[Any], None]:
    """A call that runs one inference and returns after its end."""
    run: Callable[[Any], None] = session.run_with_iobinding
    if all(value.device_name() == "cpu" for value in binding.get_outputs()):
        return run

    def wait(bound: Any) -> None:
        run(bound)
        bound.synchronize_outputs()

    return wait


@cache
def share_pool(threads: int) -> None:
    """One pool of threads for all sessions of this process.

    Each session's own threads would spin for tens of milliseconds after its last inference, on
    the processors that the next session is timed on.
    """
    library().set_global_thread_pool_sizes(threads, 1)
