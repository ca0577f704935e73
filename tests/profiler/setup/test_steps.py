"""What setup asks before it goes anywhere."""

from __future__ import annotations

import pytest

from nnprof import registry
from nnprof.errors import Unavailable
from nnprof.profiler.setup import steps


@pytest.mark.parametrize("backend", ["mnn", "ncnn", "litert"])
def test_a_converter_is_needed_here_and_first(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody connects for a runtime whose files nothing here can make."""

    def missing() -> dict[str, str]:
        raise Unavailable("Its converter is not installed here.", "Try: pip install it")

    monkeypatch.setattr(registry.find("backend", backend), "converter", missing)
    with pytest.raises(Unavailable, match="converter is not installed here"):
        next(steps.set_up("nowhere.invalid", backend=backend))
