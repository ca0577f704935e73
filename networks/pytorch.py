"""torch, or what to do where it is missing. Modules of this folder take it from here."""

from __future__ import annotations

from nnprof.errors import Unavailable

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise Unavailable(
        "torch is not installed.", "Try: pip install 'nnprof-embedded[train]'."
    ) from error

__all__ = ["Tensor", "nn", "torch"]
