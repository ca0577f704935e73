"""Files that a runtime's converter makes, for a job on a board: made here, once, and used there.

So a board needs no converter, whatever its wheels and its speed; and all boards run the same files.
A board's own converter is never asked, even where ours is missing: which machine converted would
otherwise depend on what happens to be installed here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec.structs import replace

from nnprof import registry
from nnprof.errors import NnprofError
from nnprof.profiler.ports import Backend, Converting, Session
from nnprof.profiler.work.jobs import Asking, Convert, Converted, Fault, Kind_co, Made
from nnprof.types import LOCAL, Target, Workload

_LOG = logging.getLogger(__name__)
_NOUN = ("model", "models")
_LIMIT_S = 600.0  # for each workload; a converter may begin by loading gigabytes

Run = Callable[[Convert, float], Converted]  # has a worker of this machine do it, within seconds


class Kept:
    """What was made for jobs of this process, so that each process of a cell finds it."""

    def __init__(self) -> None:
        self._made: dict[bytes, Made] = {}

    def given(self, job: Asking[Kind_co], run: Run) -> Asking[Kind_co]:
        """The job with the files of its runtime; itself where that reads ONNX files.

        Raises:
            Unavailable: the converter is not installed here.
            NnprofError: it did not end.
        """
        backend = registry.find("backend", job.target.backend)
        if not job.opened or not hasattr(backend, "convert"):
            return job
        backend.converter()
        target = replace(job.target, host=LOCAL)
        names = [_name(work, target) for work in job.opened]
        new = {n: w for n, w in zip(names, job.opened, strict=True) if n not in self._made}
        if new:
            works = tuple(new.values())
            _LOG.info("converting %d %s for %s", len(works), _NOUN[len(works) > 1], target.backend)
            made = run(Convert(target=target, workloads=works), _LIMIT_S * len(new)).made
            self._made.update(zip(new, made, strict=True))
        return job.given(tuple(self._made[name] for name in names))

    def forget(self) -> None:
        """Let them be looked for in the cache again."""
        self._made.clear()


def _name(work: Workload, target: Target | None = None) -> bytes:
    """The same for workloads that one conversion serves: values of tiles do not count."""
    return msgspec.json.encode((replace(work, seed=0), target))


def convert(job: Convert, backend: Converting) -> Converted:
    """Have the converter make what is asked for; a refusal is as good as a file."""
    return Converted(made=tuple(_convert(work, job.target, backend) for work in job.workloads))


def _convert(work: Workload, target: Target, backend: Converting) -> Made:
    try:
        return backend.convert(work, target)
    except NnprofError as error:
        return Fault.of(error)


class _Given:
    """A backend that opens workloads from files that were made elsewhere."""

    def __init__(self, backend: Converting, made: Mapping[bytes, Made]) -> None:
        self._backend, self._made = backend, made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def open(self, workload: Workload, target: Target) -> Session:
        """From its file.

        Raises:
            NnprofError: why there is none; or see `Backend.open`.
        """
        made = self._made[_name(workload)]
        if isinstance(made, Fault):
            raise made.raised()
        return self._backend.open(workload, target, made)


def opening(backend: Backend, works: Sequence[Workload], made: Sequence[Made]) -> Backend:
    """The backend as it opens these workloads: from what was made of each, or itself without."""
    if not made:
        return backend
    named = dict(zip(map(_name, works), made, strict=True))
    return cast("Backend", _Given(cast("Converting", backend), named))
