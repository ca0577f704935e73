"""What telemetry costs, from pairs, and kept for this machine."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from nnprof.profiler.place import kept, watcher
from nnprof.profiler.place.place import Place
from nnprof.profiler.run import begin
from nnprof.types import Target


def test_pairs_in_closed_form() -> None:
    """Ratios of 1.00, 1.01 and 1.02: their geometric mean, within Student's interval around it."""
    found = watcher.of([(1.0, 1.0), (2.02, 2.0), (5.1, 5.0)])
    assert found.ratio == pytest.approx((1.0 * 1.01 * 1.02) ** (1 / 3))
    # Standard deviation of the logarithms 0, 0.00995, 0.0198 is 0.0099; t of two degrees is 4.303.
    assert found.high / found.ratio == pytest.approx(1 + 4.303 * 0.0099 / 3**0.5, rel=1e-3)
    assert (found.pairs, found.latency_s) == (3, 2.0)


def test_kept_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once measured, it is found again for the same machine and threads, and for no others."""
    one, two = Target(backend="fake"), Target(backend="fake", threads=2)
    environment = begin.probe(one)
    effect = replace(watcher.of([(1.0, 1.0), (1.0, 1.0)]), ratio=1.25)
    assert kept.load(watcher.Effect, Place(two, environment)) == (None, "")
    kept.save(effect, Place(two, environment))
    assert kept.load(watcher.Effect, Place(two, environment)) == (effect, "")
    found, why = kept.load(watcher.Effect, Place(one, environment))
    assert found is None
    assert why == "those kept were measured in another state (threads 2, here 1)"
