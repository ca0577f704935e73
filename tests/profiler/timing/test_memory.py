"""What a worker takes: memory, and the time to its first inference."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
from msgspec.structs import replace

from nnprof.exporters.models import load_model
from nnprof.exporters.probes import chain_model, identity_model
from nnprof.profiler.backends import fake, ort_arena
from nnprof.profiler.devices import cpu
from nnprof.profiler.graph import least
from nnprof.profiler.graph.least import Least
from nnprof.profiler.run import needs
from nnprof.profiler.timing import memory
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import CHAIN, Measure, Measured
from nnprof.types import Cell, Lost, Memory, Plan, Target, Workload

BUNDLED = Path(__file__).parents[3] / "networks" / "bundled" / "mnist.onnx"
LOG = """
[I:onnxruntime:Default, bfc_arena.cc:28 BFCArena] Creating BFCArena for Cpu with following configs
[I:onnxruntime:Default, bfc_arena.cc:281 Reserve] Reserving memory in BFCArena for Cpu size: 64
[I:onnxruntime:Default, bfc_arena.cc:205 Extend] Extended allocation by 1048576 bytes.
[I:onnxruntime:Default, bfc_arena.cc:208 Extend] Total allocated bytes: 1048640
[I:onnxruntime:Default, bfc_arena.cc:281 Reserve] Reserving memory in BFCArena for Cpu size: 100
[I:onnxruntime:Default, bfc_arena.cc:28 BFCArena] Creating BFCArena for Cuda with following configs
[I:onnxruntime:Default, bfc_arena.cc:281 Reserve] Reserving memory in BFCArena for Cuda size: 8
"""


def _measured(backend: str, batch: int = 64, *, arena: bool = True) -> Measured:
    """One short process of the bundled network."""
    plan = Plan(warmup_s=0.0, warmup_limit_s=0.01, sample_s=0.01, min_samples=1)
    job = Measure(
        workload=Workload(model=load_model(BUNDLED), batch=batch),
        target=Target(backend=backend),
        plan=plan,
        floor=identity_model(),
        chain=chain_model(CHAIN),
        ops=False,
        arena=arena,
    )
    return hosts.run(job, 120.0)


def test_a_process_grows_in_order() -> None:
    """A fresh worker grows from import to load to use; each time is above 0, nothing is unknown."""
    told = _measured("onnxruntime")
    found, loading = told.memory, told.loading
    assert found
    assert loading
    sizes = [found.before_bytes, found.imported_bytes, found.loaded_bytes, found.peak_bytes]
    assert all(sizes)
    assert sizes == sorted(sizes, key=lambda size: size or 0)
    assert (found.peak_load_bytes or 0) >= (found.loaded_bytes or 0)
    assert found.added_bytes == (found.peak_bytes or 0) - (found.before_bytes or 0)
    assert found.arena_bytes
    assert set(found.unknown) == {"device_bytes"}
    assert not loading.unknown
    assert min(loading.import_s or 0, loading.build_s or 0, loading.first_s or 0) > 0


@pytest.mark.usefixtures("workers_here")
def test_what_computes_nothing_says_so() -> None:
    """The fake has times of its own clock, and no memory, with the reason."""
    told = _measured("fake")
    assert told.memory
    assert told.memory.peak_bytes is None
    assert told.memory.unknown["peak_bytes"] == "this runtime computes nothing"
    assert told.loading
    assert told.loading.build_s == pytest.approx(11e-3)  # a millisecond for each node
    assert told.loading.first_s == told.warmups_s[0]
    assert "import_s" in told.loading.unknown


def test_the_peak_is_set_back() -> None:
    """The peak holds what was taken and given back, and forgets it when it is set back."""
    if not memory._set_back():
        pytest.skip("this kernel lets nobody set the peak back")
    before = memory.resident()
    # Mapped by hand: what an allocator gets back it may keep, after the tests before this one.
    with mmap.mmap(-1, 64 << 20) as taken:
        for at in range(0, len(taken), mmap.PAGESIZE):
            taken[at] = 1
    assert (memory.peak() or 0) > before + (60 << 20)
    memory._set_back()
    assert (memory.peak() or 0) < before + (30 << 20)


def test_a_peak_that_nobody_sets_back_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel refuses, the figure is marked as one of the whole process."""
    monkeypatch.setattr(memory, "_set_back", lambda: False)
    assert memory.begin(Target(), _Computes(), cpu.DEVICE).memory.whole


class _Computes(fake.Fake):
    computes = True
    packages = ("json",)


def test_an_import_that_was_made_before_is_not_timed() -> None:
    """A runtime that is there already costs no time, and that would be no answer."""
    loading = memory.begin(Target(), _Computes(), cpu.DEVICE).loading
    assert loading.import_s is None
    assert loading.unknown["import_s"] == "json had been imported before"


def test_arenas_of_a_log_are_added() -> None:
    """Each arena counts with what it reserved last; a log without arenas tells nothing."""
    assert ort_arena.taken(LOG) == 1048640 + 100 + 8
    assert ort_arena.taken("nothing of the kind") is None


def test_a_batch_that_does_not_fit_is_told_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lower bound above the device's memory is a sentence, before anything is loaded."""
    monkeypatch.setattr(needs, "_known", {})  # what other tests of this process asked for
    target, model = Target(), load_model(BUNDLED)
    works = [Workload(model=model, batch=batch) for batch in (1, 4096)]
    cells = [Cell(workload=work, target=target) for work in works]
    (line,) = needs.warnings(cells, {"gpu_memory_bytes": 50_000_000})
    assert "at batch 4096 will hardly fit: it needs at least 94 MB" in line
    assert not needs.warnings(cells, {"gpu_memory_bytes": 100_000_000})

    def broken(*_: object) -> Least:
        raise RuntimeError("no shapes")

    monkeypatch.setattr(least, "of_file", broken)
    other = replace(works[0], batch=3)
    assert isinstance(needs.of(other), Lost)
    stated = needs.stated(Memory(), other)
    assert stated
    assert (stated.live_bytes, stated.unknown["live_bytes"]) == (None, "no shapes")
