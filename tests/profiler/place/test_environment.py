"""What a Run states of the variables around it."""

from __future__ import annotations

from nnprof.profiler.place import environment


def test_what_torch_sets_for_itself_is_not_told() -> None:
    """A Run tells what changes speed, and not the folder that torch makes up while it exports.

    The first command exports, the second finds the file: that is no other place.
    """
    around = {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": "/cache/x", "EDITOR": "ed"}
    assert environment.timing(around) == {"OMP_NUM_THREADS": "1"}
    assert "TORCHINDUCTOR_CACHE_DIR" in environment.passed(around)
