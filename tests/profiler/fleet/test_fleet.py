"""Two boards at once: real sshds, real workers of dask, and what is lost when one of them goes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

import psutil
import pytest
from fake_ssh import SshBoard
from processes import ended, kill, until

from nnprof.profiler import deadlines, results, stats
from nnprof.profiler.compare import compare
from nnprof.types import Run

_BENCH = ("bench", "--batch", "1,2,3", "--quick", "--ops", "none", "--no-telemetry")
_CELLS, _PROCESSES = 3, 5  # of --quick


@contextmanager
def _started(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a session of its own, as a terminal would have it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nnprof", *words],
        cwd=folder, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with ended(process):
        yield process


def _run(folder: Path) -> Run:
    (path,) = (folder / "bench_results").glob("*.json")
    return results.load(path)


def _measured(folder: Path) -> int:
    """Processes in the Run so far."""
    found = list((folder / "bench_results").glob("*.json"))
    return sum(len(cell.processes) for cell in results.load(found[0]).measurements) if found else 0


def _require_whole(run: Run) -> None:
    """No cell lost, no process twice, none but those that were asked for."""
    assert [cell.workload.batch for cell in run.measurements] == list(range(1, _CELLS + 1))
    for cell in run.measurements:
        assert [one.round for one in cell.processes] == list(range(_PROCESSES))
        assert len({one.begun_at_s for one in cell.processes}) == _PROCESSES
        assert cell.finished


def _sockets(process: subprocess.Popen[str]) -> set[str]:
    """Where the command, and all that it started, listens."""
    root = psutil.Process(process.pid)
    found: set[str] = set()
    for each in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # a worker of a cell that has just ended
            listening = each.net_connections("inet")
            found |= {one.laddr.ip for one in listening if one.status == psutil.CONN_LISTEN}
    return found


def test_two_boards_share_a_run(boards: dict[str, SshBoard], tmp_path: Path) -> None:
    """Both measure, the Run says which measured what, and a single bench finds the same.

    Nothing of ours listens anywhere but on 127.0.0.1.
    """
    options = ("--device", "all", "--option", "noise=0.01")
    with _started(tmp_path, *_BENCH, *options) as fleet:
        until(lambda: _measured(tmp_path), fleet)
        assert _sockets(fleet) == {"127.0.0.1"}
        said, _ = fleet.communicate()
    assert fleet.returncode == 0, said
    run = _run(tmp_path)
    _require_whole(run)
    assert run.environment["boards"] == ["one", "two"]
    assert run.study.target.host == run.environment["host"]
    counts = Counter(one.board for cell in run.measurements for one in cell.processes)
    assert set(counts) == {"one", "two"}
    assert f"one ({counts['one']}), two ({counts['two']})" in " ".join(said.split())
    alone = boards["one"].nnprof(
        *_BENCH, "--device", "one", "--option", "noise=0.01", "--format", "json", cwd=tmp_path
    )
    assert alone.returncode == 0, alone.stderr
    single = results.load(next((tmp_path / "bench_results").glob("*-one-*.json")))
    found = compare(single, run, allow=("host",))
    assert {cell.verdict for cell in found.cells} == {"SAME"}
    assert json.loads(alone.stdout)["measurements"]


def test_what_a_lost_board_was_doing_is_done_by_its_twin(
    boards: dict[str, SshBoard], tmp_path: Path
) -> None:
    """A board that is switched off in the middle costs nothing but time; the user is told."""
    with _started(tmp_path, *_BENCH, "--device", "one,two") as fleet:
        until(lambda: _measured(tmp_path) >= 4, fleet)
        boards["one"].stop()
        said, told = fleet.communicate()
    assert fleet.returncode == 0, said + told
    assert "one is away: " in told
    _require_whole(_run(tmp_path))


def test_a_half_measured_process_is_done_anew(boards: dict[str, SshBoard], tmp_path: Path) -> None:
    """Of a process whose board went after its clean pass nothing is kept: a twin can do all of it.

    A single bench keeps the clean pass and says what it lacks, for nobody else has that board.
    """
    words = ("bench", "--batch", "1", *_BENCH[3:], "--device", "one,two")
    pausing = ("--backend", "onnxruntime", "--idle", "200ms")
    with _started(tmp_path, *words, *pausing) as fleet:
        until(lambda: _measured(tmp_path), fleet)
        board = until(lambda: next((b for b in boards.values() if b.workers()), None), fleet)
        time.sleep(1.5)  # its clean pass takes a third of that, its pauses twice as long
        board.stop()
        said, told = fleet.communicate()
    assert fleet.returncode == 0, said + told
    (cell,) = _run(tmp_path).measurements
    assert cell.finished
    assert [one.round for one in cell.processes] == list(range(len(cell.processes)))
    assert not [one.lost for one in cell.processes if one.lost]


def test_killed_fleets_go_on(boards: dict[str, SshBoard], tmp_path: Path) -> None:
    """After kill -9 nothing is left running, and --resume measures what is missing, once."""
    with _started(tmp_path, *_BENCH, "--device", "one,two") as fleet:
        until(lambda: _measured(tmp_path) >= 4, fleet)
        mine = psutil.Process(fleet.pid).children(recursive=True)
        fleet.send_signal(signal.SIGKILL)
        fleet.communicate()
    assert not psutil.wait_procs(mine, timeout=20)[1]
    before = _run(tmp_path)
    (path,) = (tmp_path / "bench_results").glob("*.json")
    until(lambda: not any(board.workers() for board in boards.values()))
    done = boards["one"].nnprof("bench", "--resume", str(path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = _run(tmp_path)
    _require_whole(after)
    kept = {cell.workload.batch: cell.samples_s for cell in before.measurements}
    now = {cell.workload.batch: cell.samples_s for cell in after.measurements}
    assert all(now[batch][: len(old)] == old for batch, old in kept.items())


def _slow_down(board: SshBoard, name: str, times: float) -> None:
    """Have a board say of itself what its twin says, and take so many times as long."""
    slow = board.folder / "slow"
    slow.mkdir()
    (slow / "sitecustomize.py").write_text(
        f"from nnprof.profiler.backends import fake\nfake._DEFAULTS['speed'] = 1 / {times}\n"
    )
    python = slow / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={slow} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "nnprof/devices.toml"
    before, heading, own = config.read_text().partition(f"[{name}]")
    config.write_text(before + heading + own.replace(sys.executable, str(python), 1))


def test_a_slower_twin_is_told_from_end_to_end(boards: dict[str, SshBoard], tmp_path: Path) -> None:
    """Of two boards that say the same of themselves one takes 5 % longer: one Run, which says so.

    The note, the interval of each cell and its verdict hold both; `show` and `compare` repeat it.
    """
    _slow_down(boards["two"], "two", 1.05)
    words = ("--option", "noise=0.005", "--budget", "1ms")
    done = boards["one"].nnprof(
        "bench", "--batch", "1,2,4,8,16", *_BENCH[3:], *words, "--device", "all", cwd=tmp_path
    )
    assert done.returncode in (0, 3), done.stderr
    run = _run(tmp_path)
    assert run.environment["boards"] == ["one", "two"]
    (path,) = (tmp_path / "bench_results").glob("*.json")
    said = [
        done.stdout,
        boards["one"].nnprof("show", str(path), cwd=tmp_path).stdout,
        boards["one"].nnprof("compare", str(path), str(path), cwd=tmp_path).stdout,
    ]
    for told in said:
        assert re.search(r"two takes [45]\.\d% longer than one", " ".join(told.split())), told
    for cell in run.measurements:
        assert "boards_differ" in {check.code for check in cell.checks}
        low, high = stats.interval_s(cell) or (0.0, 0.0)
        medians = {board: [] for board in ("one", "two")}
        for process, seconds in zip(cell.processes, stats.process_medians_s(cell), strict=True):
            medians[process.board].append(seconds)
        levels = [median(own) for own in medians.values() if own]
        assert low <= min(levels) <= max(levels) <= high
        assert 1.04 < high / low < 1.15
    assert {one.boards for one in deadlines.verdicts(run)} == {("one", "two")}


def _configure_keys(folder: Path) -> None:
    """Keys for TLS in files, and dask's configuration with them, as docs/fleet.md has it."""
    from distributed import Security

    made = Security.temporary()
    (folder / "key.pem").write_text(made.tls_worker_key)
    (folder / "ca.pem").write_text(made.tls_ca_file)
    own = f"{{key: {folder}/key.pem, cert: {folder}/ca.pem}}"
    (folder / "distributed.yaml").write_text(
        "distributed:\n  comm:\n    require-encryption: true\n    tls:\n"
        f"      ca-file: {folder}/ca.pem\n"
        f"      scheduler: {own}\n      worker: {own}\n      client: {own}\n"
    )


@contextmanager
def _scheduler(folder: Path) -> Iterator[str]:
    """The address of one that a user has started where no nnprof is, as a folder configures it."""
    code = (
        "import sys; sys.modules['nnprof'] = None\n"
        "from distributed.cli.dask_scheduler import main; main()"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
        port = probe.getsockname()[1]
    words = ("--protocol", "tls", "--host", "127.0.0.2", "--port", f"{port}", "--no-dashboard")
    with (folder / "told").open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stderr=told, cwd=folder, start_new_session=True,
        )  # fmt: skip
        try:
            until(lambda: b"Scheduler at:" in (folder / "told").read_bytes(), process)
            yield f"tls://127.0.0.2:{port}"
        finally:
            kill(process.pid)
            process.wait()


def test_boards_that_differ_have_runs_of_their_own(
    boards: dict[str, SshBoard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A board with another option is no twin: two Runs, each on one board.

    Here on a scheduler of the user's own, with the keys of dask's configuration; it says nothing.
    """
    monkeypatch.setenv("DASK_CONFIG", str(tmp_path))
    _configure_keys(tmp_path)
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "nnprof/devices.toml"
    config.write_text(config.read_text() + 'options = { speed = "2" }\n')
    with _scheduler(tmp_path) as address:
        done = boards["one"].nnprof(
            *_BENCH[:1], "--batch", "1,2", *_BENCH[3:], "--device", "all", "--format", "json",
            "--scheduler", address, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "distributed" not in done.stderr
    found = json.loads(done.stdout)
    assert [run["environment"]["host"] for run in found] == ["one", "two"]
    assert all(len(run["measurements"]) == 2 for run in found)
