"""Whether this machine is of the kind that a model is of: vectors, blocks of channels, caches."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from nnprof import registry
from nnprof.profiler.costmodel import kernels
from nnprof.profiler.costmodel.model import CostModel
from nnprof.profiler.ports import Device
from nnprof.types import LOCAL

_CPU = "cpu"
# Extensions that decide which code a library runs, the widest first; one stands for all before it.
_VECTORS = ("avx512f", "avx2", "avx", "sse4_2", "sve", "asimd")
_CACHES = ("L1d", "L2")  # a core's own; what cores share differs by what a virtual machine is given


def elsewhere(made: CostModel) -> str:
    """A sentence where a model of a processor here is asked on one of another kind, else "".

    Nothing is said of models of boards, of other devices, and of those that do not tell: that they
    are of another machine is plain.
    """
    if made.target.device != _CPU or made.target.host != LOCAL:
        return ""
    return difference(made, _facts())


def difference(made: CostModel, facts: Mapping[str, Any]) -> str:
    """The same for a machine of these facts."""
    words = [
        f"{name} {was} there, {is_now} here"
        for name, (was, is_now) in _pairs(made, facts).items()
        if was and is_now and was != is_now
    ]
    if not words:
        return ""
    return (
        f"This machine is of another kind than the model's: {'; '.join(words)}. "
        "The times are those of the model's machine."
    )


def _pairs(made: CostModel, facts: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What is told of both machines, by name."""
    extensions = facts.get("extensions") or ()
    block = kernels.BLOCKS.get(made.lowering)
    was, is_now = made.device.get("caches") or {}, facts.get("caches") or {}
    return {
        "vectors of": (_vectors(made.device), _vectors(facts)),
        "blocks of channels": (block, kernels.block_of(extensions) if extensions else None),
        **{name: (was.get(name), is_now.get(name)) for name in _CACHES},
    }


def _vectors(device: Mapping[str, Any]) -> str:
    extensions = device.get("extensions") or ()
    return next((one for one in _VECTORS if one in extensions), "")


@cache
def _facts() -> Mapping[str, Any]:
    """What this machine says of its processor; read once, for it stays."""
    device: Device = registry.find("device", _CPU)
    return device.facts()
