"""A place knows what its machine and its state are, from facts alone."""

from __future__ import annotations

from nnprof.profiler.place.place import Place
from nnprof.types import Target


def test_caches_are_read_from_the_facts() -> None:
    """Sizes as Linux writes them; a machine that does not tell counts as a small one."""
    facts = {"device": {"caches": {"L1d": "48K", "L2": "2048K", "L3": "260M"}}}
    assert Place(Target(threads=1), facts).core_cache_bytes == 2 << 20
    assert Place(Target(threads=2), facts).core_cache_bytes == 4 << 20
    assert Place(Target(threads=1), {}).core_cache_bytes == 1 << 20


def test_how_a_machine_is_set_does_not_make_it_another() -> None:
    """Clocks, threads and options are of the state; the digest is of the machine alone."""
    here = {"host": "local", "device": {"name": "cpu", "model": "Xeon", "governor": "schedutil"}}
    tuned = {**here, "device": {**here["device"], "governor": "performance"}}
    one, other = Place(Target(), here), Place(Target(threads=2), tuned)
    assert one.machine == other.machine
    assert {name for name in one.state if one.state[name] != other.state[name]} == {
        "governor",
        "threads",
    }
    assert Place(Target(), {**here, "host": "orin"}).machine != one.machine
