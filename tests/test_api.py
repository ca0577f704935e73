"""The public names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import nnprof


def test_all_names_exist_and_are_sorted() -> None:
    """Every name of __all__ loads, the list is sorted, and leaves out none that would load."""
    assert set(nnprof.__all__) == {"__version__", *nnprof._HOMES}
    assert nnprof.__all__ == sorted(nnprof.__all__)
    assert all(getattr(nnprof, name) is not None for name in nnprof.__all__)


def test_unknown_name() -> None:
    """A name that does not exist is an AttributeError, as of any module."""
    with pytest.raises(AttributeError, match="no attribute 'profile'"):
        nnprof.profile  # noqa: B018  asking for it is the test


def test_importing_costs_nothing() -> None:
    """`import nnprof` loads neither numpy nor msgspec."""
    code = "import sys, nnprof; print({'numpy', 'msgspec', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_api_measures(tmp_path: Path) -> None:
    """A few lines of Python measure a network and read its tiles/ms, as the README shows."""
    target = nnprof.Target(backend="fake")
    cells = nnprof.named_cells(["1x28x28 conv4k5 pool2 fc10"], target, [1, 64])
    plan = nnprof.Plan(processes=2, max_processes=2, sample_s=0.05)
    run, path = nnprof.start("example", (), cells, plan, tmp_path)
    for step in nnprof.sweep(run, path):
        assert step.total == 2
    rows = nnprof.rows(nnprof.load(path))
    assert [row["batch"] for row in rows] == [1, 64]
    assert all(row["tiles_per_ms"] > 0 for row in rows)
