"""nnprof: how fast a network classifies tiles, where the time goes, what the next one will cost.

The public names load on first use, so that importing nnprof costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from nnprof._version import __version__

_HOMES = {
    "parse_network": "nnprof.networks.families",
}

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604  names come from the table above


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'nnprof' has no attribute '{name}'")
