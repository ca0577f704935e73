"""What follows for an op that a runtime made, from the ONNX nodes inside: its kind and its work."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence

from nnprof.profiler.ports import OpNode
from nnprof.types import Kind


def kind(op: str, origins: Sequence[OpNode], moves: Collection[str]) -> Kind:
    """The kind of the heaviest ONNX node inside; "other" without any.

    Args:
        op: the runtime's name of its type.
        origins: the ONNX nodes inside.
        moves: the types of the runtime's ops that only move values, whatever is inside.
    """
    if op in moves or not origins:
        return "memory" if op in moves else "other"
    return max(origins, key=lambda node: node.flops or 0).kind


def total(counts: Iterable[int | None]) -> int | None:
    """The sum of a count over the nodes inside; None where one is not known."""
    known = list(counts)
    return None if None in known else sum(count for count in known if count)


def key(parts: Iterable[str]) -> str:
    """The same for two ops that are described by the same words."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def key_of(op: str, flows: Iterable[object], origins: Iterable[OpNode]) -> str:
    """The same for two ops of one type, with the same tensors in and out, and ONNX nodes."""
    return key([op, *map(str, flows), *(node.key for node in origins)])
