"""What is measured once of a machine holds in the state that it was measured in."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from msgspec.structs import replace

from nnprof.profiler.place import kept
from nnprof.profiler.place.limits import Roofline
from nnprof.profiler.place.place import Place
from nnprof.profiler.report import lines, rows
from nnprof.profiler.run import begin
from nnprof.types import Cell, Plan, Target

LIMITS = Roofline(flops_per_s=1e9, bandwidths=((1000, 1e9),), launch_s=1e-7, peaks={"int8": 4e9})
TARGET = Target(backend="fake", options={"provider": "cuda"}, threads=2, host="orin")
HERE: dict[str, Any] = {
    "host": "orin",
    "variables": {},
    "device": {
        "name": "jetson", "model": "Orin Nano", "extensions": ["asimd"], "processors": 6,
        "caches": {"L2": "2048K"}, "governor": "schedutil", "power_mode": "15W",
        "clocks_locked": False, "min_clock_hz": 7e8, "max_clock_hz": 1.5e9, "turbo": None,
    },
    "backend": {"name": "fake", "version": "1"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What other tests keep is not there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Many(msgspec.Struct, frozen=True):
    """Something that is kept."""

    folder: ClassVar[str] = "many"
    number: int


def changed(part: str, name: str, value: Any) -> dict[str, Any]:
    """The environment with one fact changed."""
    environment = deepcopy(HERE)
    environment[part][name] = value
    return environment


def test_a_value_is_found_in_its_own_state() -> None:
    """What was kept comes back whole, and the newest of a state replaces the one before."""
    assert kept.load(Roofline, Place(TARGET, HERE)) == (None, "")
    kept.save(replace(LIMITS, launch_s=3e-7), Place(TARGET, HERE))
    path = kept.save(LIMITS, Place(TARGET, HERE))
    assert kept.load(Roofline, Place(TARGET, HERE)) == (LIMITS, "")
    assert path.read_text().count("launch_s") == 1


@pytest.mark.parametrize(
    ("environment", "target", "words"),
    [
        (changed("device", "power_mode", "MAXN"), TARGET, "power mode 15W, here MAXN"),
        (changed("device", "governor", "performance"), TARGET,
         "governor schedutil, here performance"),
        (changed("device", "clocks_locked", True), TARGET, "clocks locked False, here True"),
        (changed("device", "min_clock_hz", 1.5e9), TARGET,
         "min clock hz 700000000.0, here 1500000000.0"),
        (changed("device", "allowed_clock_hz", 1e9), TARGET,
         "allowed clock hz unknown, here 1000000000.0"),
        (changed("device", "turbo", True), TARGET, "turbo unknown, here True"),
        (changed("device", "power_limit_w", 250.0), TARGET, "power limit w unknown, here 250.0"),
        (changed("backend", "version", "2"), TARGET, "runtime fake 1, here fake 2"),
        (changed("variables", "OMP_WAIT_POLICY", "passive"), TARGET,
         "variables none, here OMP_WAIT_POLICY=passive"),
        (HERE, replace(TARGET, threads=1), "threads 2, here 1"),
        (HERE, replace(TARGET, options={}), "options provider=cuda, here none"),
        (HERE, replace(TARGET, options={"provider": "tensorrt"}),
         "options provider=cuda, here provider=tensorrt"),
    ],
)  # fmt: skip
def test_a_value_of_another_state_is_not_used_and_says_so(
    environment: dict[str, Any], target: Target, words: str
) -> None:
    """Whatever changes speed without changing the machine is named, and nothing else."""
    kept.save(LIMITS, Place(TARGET, HERE))
    found, why = kept.load(Roofline, Place(target, environment))
    assert found is None
    assert why == f"those kept were measured in another state ({words})"
    kept.save(replace(LIMITS, launch_s=2e-7), Place(target, environment))
    assert kept.load(Roofline, Place(target, environment))[0] == replace(LIMITS, launch_s=2e-7)
    assert kept.load(Roofline, Place(TARGET, HERE))[0] == LIMITS


@pytest.mark.parametrize(
    "environment",
    [
        {**HERE, "host": "nano"},
        changed("device", "model", "Orin NX"),
        changed("device", "processors", 8),
        changed("device", "core", "efficiency"),
    ],
)
def test_another_machine_has_nothing_kept(environment: dict[str, Any]) -> None:
    """What was measured elsewhere is neither used nor spoken of."""
    kept.save(LIMITS, Place(TARGET, HERE))
    assert kept.load(Roofline, Place(TARGET, environment)) == (None, "")


@pytest.mark.parametrize("text", ["", "[", "{}", '[{"state": 3}]', "\xff", "[" * 5000])
def test_a_file_that_cannot_be_read_holds_nothing(text: str) -> None:
    """A damaged cache is no error, and is written anew."""
    path = kept.save(LIMITS, Place(TARGET, HERE))
    path.write_text(text, encoding="latin-1")
    assert kept.load(Roofline, Place(TARGET, HERE)) == (None, "")
    kept.save(LIMITS, Place(TARGET, HERE))
    assert kept.load(Roofline, Place(TARGET, HERE)) == (LIMITS, "")


def test_limits_of_no_machine_in_the_cache_are_none() -> None:
    """A bandwidth below 0 that an earlier nnprof kept is not used."""
    path = kept.save(LIMITS, Place(TARGET, HERE))
    path.write_text(path.read_text().replace("1000000000", "-1"))
    assert kept.load(Roofline, Place(TARGET, HERE)) == (None, "")


def test_old_states_go() -> None:
    """A machine that is always in another state does not fill the disk."""
    for threads in range(1, 60):
        path = kept.save(Many(threads), Place(replace(TARGET, threads=threads), HERE))
    assert path.read_text().count('"threads"') == 50
    assert kept.load(Many, Place(replace(TARGET, threads=59), HERE)) == (Many(59), "")


def test_a_run_says_that_its_limits_are_of_another_state(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """Limits measured with two threads are not those of one: the Run has none, and the reason."""
    (cell, *_) = cells
    two = replace(cell.target, threads=2)
    kept.save(LIMITS, Place(two, begin.probe(cell.target)))
    run, _ = begin.start((cell,), short, tmp_path, name="states")
    assert rows.roof(run) is None
    assert lines.limit_lines(run) == [
        "No limits: those kept were measured in another state (threads 2, here 1). "
        "Measure: nnprof devices --measure."
    ]
    kept.save(LIMITS, Place(cell.target, begin.probe(cell.target)))
    run, _ = begin.start((cell,), short, tmp_path, name="states")
    assert rows.roof(run) == LIMITS
    assert not lines.limit_lines(run)
