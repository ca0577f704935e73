"""A model of another kind of machine says so, where it is asked on this one."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from nnprof.profiler.costmodel import here
from nnprof.profiler.costmodel.model import CostModel
from nnprof.types import Target

AVX2 = {
    "model": "AMD EPYC",
    "extensions": ["sse4_2", "avx", "avx2", "fma"],
    "caches": {"L1d": "32K", "L2": "512K", "L3": "32768K"},
}
AVX512 = {
    "model": "AMD EPYC",
    "extensions": ["sse4_2", "avx", "avx2", "fma", "avx512f"],
    "caches": {"L1d": "48K", "L2": "1024K", "L3": "32768K"},
}
MADE = CostModel(name="toy", terms=(), groups=(), lowering="blocked8", device=AVX2)


def test_another_kind_of_machine_is_told_by_what_differs() -> None:
    """Vectors, blocks of channels, and the caches of a core."""
    assert here.difference(MADE, AVX512) == (
        "This machine is of another kind than the model's: vectors of avx2 there, avx512f here; "
        "blocks of channels 8 there, 16 here; L1d 32K there, 48K here; L2 512K there, 1024K here. "
        "The times are those of the model's machine."
    )


@pytest.mark.parametrize("facts", [{}, AVX2, AVX2 | {"caches": {"L3": "1024K"}}])
def test_nothing_is_said_of_a_machine_of_the_same_kind(facts: dict[str, Any]) -> None:
    """Nor of one that tells nothing, nor of what cores share."""
    assert here.difference(MADE, facts) == ""


def test_a_model_of_a_board_is_of_another_machine_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a model of a processor here is held against this machine."""
    monkeypatch.setattr(here, "_facts", lambda: AVX512)
    assert here.elsewhere(MADE)
    for target in (Target(host="ssh:board"), Target(device="cuda")):
        assert here.elsewhere(replace(MADE, target=target)) == ""
