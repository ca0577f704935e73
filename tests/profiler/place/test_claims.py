"""Two of us on one machine, or on one Run: nobody spoils what the other measures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from nnprof import locks
from nnprof.errors import Busy, UsageError
from nnprof.exporters.probes import chain_model, identity_model
from nnprof.profiler import results
from nnprof.profiler.devices import linux
from nnprof.profiler.place import claims
from nnprof.profiler.report import lines
from nnprof.profiler.run import begin, sweep
from nnprof.profiler.work import jobs, worker
from nnprof.types import Cell, Plan, Target

REAL = Target(backend="onnxruntime")


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locks").mkdir()
    monkeypatch.setenv("NNPROF_LOCKS", str(tmp_path / "locks"))


@contextmanager
def _another(code: str) -> Iterator[subprocess.Popen[str]]:
    """Another process of ours that holds something until the block ends."""
    code = (
        "import pathlib, sys\nfrom nnprof.profiler import results\n"
        "from nnprof.profiler.place import claims\n"
        f"from nnprof.types import Target\nwith {code}:\n"
        "    print('held', flush=True)\n    sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_one_measures_at_a_time(cells: tuple[Cell, ...], short: Plan, tmp_path: Path) -> None:
    """A second sweep on the same processors is refused with the first one's pid, nothing lost."""
    real = tuple(replace(cell, target=REAL) for cell in cells)
    run, path = begin.start(real, short, tmp_path, name="test")
    before = path.read_bytes()
    with (
        _another("claims.held(Target(backend='onnxruntime'))") as other,
        pytest.raises(Busy, match=f"of this machine is measured on by process {other.pid} since"),
    ):
        next(sweep.sweep(run, path))
    assert path.read_bytes() == before
    with claims.held(REAL) as others:  # it has ended, and with it the lock
        assert others == ()


def test_what_computes_nothing_needs_no_processor(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """The fake goes on beside a real one, off its processors."""
    with _another("claims.held(Target(backend='onnxruntime'))"):
        run, path = begin.start(cells[:1], short, tmp_path, name="test")
        list(sweep.sweep(run, path))
    (cell,) = results.load(path).measurements
    assert {process.processors for process in cell.processes} == {()}


def test_threads_of_one_core_are_locked_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who measures on a hardware thread keeps others off its siblings, too."""
    ours = linux.allowed()
    for number in (0, 1, 2, 3):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text("0-3")
    monkeypatch.setenv("NNPROF_ROOT", str(tmp_path))
    with claims.held(REAL):
        names = {path.name for path in claims.folder().iterdir()}
    if ours[0] < 4:
        assert {f"nnprof-processor-{number}.lock" for number in range(4)} <= names


def test_who_measures_beside_us_is_kept(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """One who measures on other processors is let be, and the Run says that it was there."""
    (claims.folder() / "nnprof-processor-77.lock").touch()
    real = (replace(cells[0], target=REAL),)
    run, path = begin.start(real, replace(short, op_method="none"), tmp_path, name="test")
    lock = claims.folder() / "nnprof-processor-77.lock"
    code = f"__import__('nnprof.locks').locks.held(pathlib.Path({str(lock)!r}), 'x', shared=True)"
    with _another(code) as other:
        list(sweep.sweep(run, path))
    (beside,) = results.load(path).environment["measured_beside"]
    assert beside.startswith(f"process {other.pid} since")
    assert lines.beside_lines(results.load(path))[0].startswith(f"Measured beside {beside}:")


def test_another_device_is_locked_whatever_the_processors() -> None:
    """A device that is not its processors is one more thing to have alone."""
    with claims.held(replace(REAL, device="cuda", on="gpu")):
        holder = locks.is_held(claims.folder() / "nnprof-device-cuda.lock")
    assert holder is not None
    assert holder.pid == os.getpid()


def test_boards_have_locks_of_their_own() -> None:
    """What is measured on a board takes no processor of this machine."""
    with claims.held(replace(REAL, host="board")):
        assert list(claims.folder().iterdir()) == []


def test_a_worker_on_a_board_keeps_off_who_measures_there(
    cells: tuple[Cell, ...], short: Plan
) -> None:
    """Where somebody measures on the board itself, a job that came over SSH fails and says who."""
    job = jobs.Measure(
        workload=cells[0].workload,
        target=replace(REAL, host="board"),
        plan=short,
        floor=identity_model(),
        chain=chain_model(jobs.CHAIN),
        ops=False,
    )
    with _another("claims.held(Target(backend='onnxruntime'))") as other:
        answer = worker.do(job, lambda _: None)
    assert isinstance(answer, jobs.Fault)
    assert answer.error == "Busy"
    assert f"is measured on by process {other.pid}" in answer.reason


@pytest.mark.parametrize("name", ["run.json", "link.json", "n" * 250 + ".json"])
def test_a_run_has_one_writer(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path, name: str
) -> None:
    """While one process writes a Run, another is refused with its pid; readers are not."""
    run, path = begin.start(cells, short, tmp_path, name="test")
    named = tmp_path / name
    path.rename(named)
    if name == "link.json":
        named.rename(tmp_path / "real.json")
        named.symlink_to("real.json")
    before = named.read_bytes()
    with (
        _another(f"results.writing({str(named)!r})") as other,
        pytest.raises(Busy, match=f"is being written by process {other.pid}"),
    ):
        next(sweep.sweep(run, named.resolve()))
    assert results.load(named) == run
    assert named.read_bytes() == before
    list(sweep.sweep(run, named))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_leftovers_of_a_living_writer_stay(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """Reading a Run to resume it removes no file that another process is about to rename."""
    _, path = begin.start(cells[:1], short, tmp_path, name="test")
    draft = tmp_path / f".{path.name}.0123456789abcdef.tmp"
    with _another(f"results.writing({str(path)!r})"):
        draft.touch()  # as the other one would make it
        run = begin.resume(path)
        with pytest.raises(Busy):
            next(sweep.sweep(run, path))
        assert draft.exists()
    list(sweep.sweep(run, path))
    assert not draft.exists()


@pytest.mark.parametrize("lose", [False, True])
def test_what_another_has_measured_is_never_written_over(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path, lose: bool
) -> None:
    """A Run read before another process measured more of it is refused, not saved."""
    run, path = begin.start(cells[:2], short, tmp_path, name="test")
    stale = results.load(path)
    list(sweep.sweep(run, path))
    whole = path.read_bytes()
    if lose:
        stale = replace(results.load(path), measurements=results.load(path).measurements[:1])
    with pytest.raises(UsageError, match="was written by another nnprof since it was read"):
        next(sweep.sweep(stale, path))
    assert path.read_bytes() == whole


def test_a_sweep_left_halfway_gives_its_locks_back(
    cells: tuple[Cell, ...], short: Plan, tmp_path: Path
) -> None:
    """Closing the sweep frees processors and file."""
    real = (replace(cells[0], target=REAL),)
    run, path = begin.start(real, replace(short, op_method="none"), tmp_path, name="test")
    steps = sweep.sweep(run, path)
    next(steps)
    lock = path.with_name(f".{path.name}.lock")
    assert locks.is_held(lock) is not None
    steps.close()
    assert not lock.exists()
    held = [locks.is_held(path) for path in claims.folder().iterdir()]
    assert held
    assert set(held) == {None}


def test_the_folder_is_one_for_all_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without NNPROF_LOCKS all users of a machine meet in a folder that all may write."""
    monkeypatch.delenv("NNPROF_LOCKS")
    monkeypatch.setenv("TMPDIR", "/var/empty")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    assert claims.folder().stat().st_mode & 0o1002 == 0o1002
