"""Memory and loading as tables, rows and a line."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from nnprof.profiler import checks, results
from nnprof.profiler.report import memory_rows, rows, shown_memory
from nnprof.types import Loading, Memory, Run

GOLDEN = Path(__file__).parents[2] / "data" / "run-v1.json"
MEMORY = Memory(
    before_bytes=50_000_000,
    imported_bytes=60_000_000,
    loaded_bytes=80_000_000,
    peak_load_bytes=85_000_000,
    peak_bytes=90_000_000,
    free_bytes=1_000_000_000,
    weights_bytes=1_000_000,
    live_bytes=2_000_000,
    unknown={"arena_bytes": "nobody counts"},
)
LOADING = Loading(import_s=0.2, build_s=0.05, first_s=0.01)


def _run(memory: Memory = MEMORY, loading: Loading = LOADING) -> Run:
    """The golden Run with what its processes took: each a little more than the one before."""
    run = results.load(GOLDEN)
    cells = [
        replace(
            cell,
            processes=tuple(
                replace(
                    one,
                    memory=replace(memory, peak_bytes=(memory.peak_bytes or 0) + 1000 * at),
                    loading=loading,
                )
                for at, one in enumerate(cell.processes)
            ),
        )
        for cell in run.measurements
    ]
    return replace(run, measurements=tuple(cells))


def test_rows_have_megabytes_and_milliseconds() -> None:
    """Growth is from before the runtime; the bound is weights and tensors; unknown stays None."""
    (row, *_) = memory_rows.rows(_run())
    assert (row["imported_mb"], row["loaded_mb"]) == (pytest.approx(10), pytest.approx(30))
    assert row["least_mb"] == pytest.approx(3)
    assert row["added_mb"] == pytest.approx(40, rel=1e-3)
    assert row["low_added_mb"] <= row["added_mb"] <= row["high_added_mb"]
    assert row["answer_ms"] == pytest.approx(260)
    assert row["arena_mb"] is None
    assert tuple(row) == memory_rows.ROW_COLUMNS


def test_cells_have_the_columns_where_they_are_known() -> None:
    """A Run that knows memory has its columns in all rows; an old one has none."""
    run, old = _run(), results.load(GOLDEN)
    assert set(memory_rows.COLUMNS) <= set(rows.columns(run))
    assert not set(memory_rows.COLUMNS) & set(rows.columns(old))
    assert all(set(row) == set(rows.columns(run)) for row in rows.rows(run))


def test_tables_fit_and_say_what_is_unknown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tables within 80 columns, and the reason of what is not known."""
    monkeypatch.setenv("COLUMNS", "80")
    shown_memory.print_memory(_run())
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "Memory in MB" in out
    assert "Loading in ms" in out
    assert "The arena is not known in 2 of 2 cells: nobody counts." in " ".join(out.split())
    shown_memory.print_memory(results.load(GOLDEN))
    assert "says nothing of memory" in capsys.readouterr().out


def test_one_line_beside_the_cells() -> None:
    """The line has the growth and the first result; without them there is none."""
    (line,) = shown_memory.summary(_run())
    assert "grew by 40.0 MB" in line
    assert "after 260 ms" in line
    assert not shown_memory.summary(results.load(GOLDEN))


@pytest.mark.parametrize(
    ("free", "code"), [(2_000_000, "does_not_fit"), (45_000_000, "memory_tight")]
)
def test_too_little_memory_is_a_check(free: int, code: str) -> None:
    """A bound above what was free, or a growth near it, is a warning; plenty is none."""
    tight = _run(replace(MEMORY, free_bytes=free)).measurements[0]
    assert code in [check.code for check in checks.find(tight)]
    codes = [check.code for check in checks.find(_run().measurements[0])]
    assert not {"does_not_fit", "memory_tight"} & set(codes)
