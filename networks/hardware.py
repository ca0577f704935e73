"""What trains: the processor, or a GPU; and how a training on it is made repeatable."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nnprof.errors import Unavailable
from nnprof.networks.pytorch import torch


def require(device: str) -> None:
    """Refuse a GPU that is not here.

    Raises:
        Unavailable: torch finds no GPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise Unavailable(
            "torch finds no GPU that it can train on here.",
            "Train with --device cpu, or install the torch that is built for your GPU.",
        )


def facts(device: str) -> dict[str, str]:
    """What the training runs on, for its record."""
    found = {
        "device": device,
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": str(torch.__version__),
    }
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
        found["cuda"] = str(torch.version.cuda)
    return found


def _processor() -> str:
    """The processor's name where Linux tells it, else its architecture."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


@contextmanager
def repeatable(threads: int, device: str) -> Iterator[None]:
    """Deterministic operators and a private random state; torch is left as it was."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    if device == "cuda":  # cuBLAS reads it when it starts; without it torch refuses
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[0] if device == "cuda" else []):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
