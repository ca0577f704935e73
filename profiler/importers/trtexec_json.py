"""Times that trtexec writes as JSON, of TensorRT 8 to 11, in seconds. Pure.

* `--exportProfile`: per layer the total, mean and median of the profiled inferences; no median in
  8.0 (samples/common/sampleReporting.cpp, `exportJSONProfile`).
* `--exportTimes`: one entry per inference (`exportJSONTrace`).

trtexec does not escape names: a file may hold bare control characters, and `nan` for a number.
JSON allows neither; both are read. `--exportLayerInfo` is read by `trtexec_layers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from nnprof.errors import BadFile
from nnprof.profiler.importers import sources

RUNTIME = "trtexec"  # the name of its backend


class LayerTime(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of a profile: seconds per inference. `median_s` is None where 8.0 left it out."""

    name: str
    mean_s: float
    median_s: float | None


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A profile of `count` inferences; the layers in order of execution."""

    count: int
    layers: tuple[LayerTime, ...]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One timed inference in seconds; `latency_s` is the sum of copies and computing."""

    enqueue_s: float
    h2d_s: float
    compute_s: float
    d2h_s: float
    latency_s: float


# --- as written -----------------------------------------------------------------------------------


class _Count(msgspec.Struct):
    count: int


class _Layer(msgspec.Struct):
    name: str
    averageMs: float  # noqa: N815  as in the file
    medianMs: float | None = None  # noqa: N815


class _Query(msgspec.Struct):
    startEnqMs: float  # noqa: N815
    endEnqMs: float  # noqa: N815
    computeMs: float  # noqa: N815
    latencyMs: float  # noqa: N815
    h2dMs: float = 0.0  # noqa: N815
    d2hMs: float = 0.0  # noqa: N815


_LONGEST_MS = 1e12  # thirty years
_FILES = (
    (r"\[\s*\{\s*\"count\"", "profile"),
    (r"\[\s*\{[^{}]*\"(computeMs|startEnqMs)\"", "times"),
    (r"\[\s*\{[^{}]*\"(averageMs|timeMs)\"", "profile"),
    (r"\{\s*\"(Layers|Bindings|I/O Tensors)\"", "layers"),
)
_BARE_NUMBER = re.compile(r'("\w+"\s*:\s*)-?(?:nan|inf)\b')


# --- reading --------------------------------------------------------------------------------------


def kind_of_file(start: str) -> str:
    """Which file begins so: "profile", "layers" or "times"; "" for anything else."""
    return next((kind for pattern, kind in _FILES if re.match(pattern, start)), "")


def read_profile(text: str | bytes, source: str) -> Profile:
    """A file of `--exportProfile`; `source` is for errors.

    Raises:
        BadFile: it is no such file, or no layer of it was timed.
    """
    try:
        head, *rows = json_of(text, source)
        count = msgspec.convert(head, _Count).count
        layers = msgspec.convert(rows, list[_Layer])
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise no_file_of("--exportProfile", source, error) from error
    _check_ms(source, (ms for one in layers for ms in (one.averageMs, one.medianMs or 0.0)))
    if not any(layer.averageMs > 0 for layer in layers):
        raise BadFile(
            f"{source} has no layer that took any time.",
            "Profile with: trtexec --exportProfile=FILE --iterations=100",
        )
    return Profile(
        count=count,
        layers=tuple(
            LayerTime(
                name=layer.name,
                mean_s=layer.averageMs * 1e-3,
                median_s=None if layer.medianMs is None else layer.medianMs * 1e-3,
            )
            for layer in layers
        ),
    )


def read_times(text: str | bytes, source: str) -> tuple[Query, ...]:
    """A file of `--exportTimes`, in the order of the inferences; `source` is for errors.

    Raises:
        BadFile: it is no such file, or has no inference.
    """
    try:
        rows = msgspec.convert(json_of(text, source), list[_Query])
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise no_file_of("--exportTimes", source, error) from error
    if not rows:
        raise BadFile(f"{source} has no inference.", "Let trtexec run longer: --duration=3")
    for row in rows:
        enqueue = row.endEnqMs - row.startEnqMs
        _check_ms(source, (enqueue, row.h2dMs, row.computeMs, row.d2hMs, row.latencyMs))
    return tuple(
        Query(
            enqueue_s=(row.endEnqMs - row.startEnqMs) * 1e-3,
            h2d_s=row.h2dMs * 1e-3,
            compute_s=row.computeMs * 1e-3,
            d2h_s=row.d2hMs * 1e-3,
            latency_s=row.latencyMs * 1e-3,
        )
        for row in rows
    )


def _check_ms(source: str, times: Iterable[float]) -> None:
    # Not a number fails, too.
    wrong = next((ms for ms in times if not 0 <= ms < _LONGEST_MS), None)
    if wrong is not None:
        raise BadFile(f"{source} has a time of {wrong:g} ms.", "Let trtexec write it again.")


def json_of(text: str | bytes, source: str) -> Any:
    """What a file of trtexec says, with null for `nan` and `inf`; `source` is for errors.

    Raises:
        BadFile: it is cut off, or damaged.
    """
    if isinstance(text, bytes):
        text = sources.text_of(text, source)
    return sources.json_of(_BARE_NUMBER.sub(r"\1null", text), source, "Let trtexec write it again.")


def no_file_of(option: str, source: str, error: Exception) -> BadFile:
    """The error for a file that does not hold what `trtexec OPTION=FILE` writes."""
    if isinstance(error, BadFile):
        return error
    return BadFile(
        f"{source} is not a file of trtexec {option}: {str(error).rstrip('.')}.",
        f"Write it with: trtexec {option}=FILE",
    )
