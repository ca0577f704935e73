"""What goes wrong between us and a board: a sentence each, nothing lost, --resume goes on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest
from fake_ssh import SshBoard
from msgspec.structs import replace
from processes import HANG_S, ended, until

from nnprof.errors import BoardBusy, NoSpace, Unavailable, UsageError, WorkerCrashed, WorkerTimeout
from nnprof.profiler import results
from nnprof.profiler.place import boards, ssh
from nnprof.profiler.place.ssh import Link
from nnprof.profiler.run import begin, sweep
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import Probe
from nnprof.types import Cell, Model, Plan, Run, Target, Workload


def _sweep(board: SshBoard, cells: tuple[Cell, ...], plan: Plan, folder: Path) -> tuple[Run, Path]:
    return begin.start(board.cells(cells), plan, folder, name="test")


def _samples(run: Run) -> dict[int, tuple[tuple[float, ...], ...]]:
    return {cell.workload.batch: cell.samples_s for cell in run.measurements}


def _all_kept(before: Run, after: Run) -> bool:
    """Whether each sample is still there, and none was measured twice."""
    now = _samples(after)
    return all(now[batch][: len(old)] == old for batch, old in _samples(before).items())


def _resumed(path: Path) -> Run:
    hosts.release()
    list(sweep.sweep(begin.resume(path), path))
    return results.load(path)


# Before anything is measured


def _off(board: SshBoard) -> None:
    board.stop()


def _another_key(board: SshBoard) -> None:
    board.know_host_key(board.folder / "key.pub")


def _no_key(board: SshBoard) -> None:
    (board.folder / "known_hosts").write_text("")


def _no_entry(board: SshBoard) -> None:
    board.let_in(board.folder / "host_key.pub")


def _chatty_login(board: SshBoard) -> None:
    (board.home / ".bashrc").write_text("echo Welcome back\n")


def _no_flock(board: SshBoard) -> None:
    board.set_path("bash", "setpriv", "timeout", "sha256sum", "mktemp", "dd")


def _no_setpriv(board: SshBoard) -> None:
    board.set_path("bash", "sh")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_off, r"board cannot be reached: .*[Cc]onnection refused\. .*Try by hand: ssh board"),
        (_another_key, r"board shows another host key .*ssh-keygen -R"),
        (_no_key, r"The host key of board is not known here\. Connect once by hand .*: ssh board"),
        (_no_entry, r"board does not let us in without a password\. .*ssh-copy-id board"),
        (_chatty_login, r"The login on board prints 'Welcome back' .*\.bashrc"),
        (_no_flock, r"board has no flock\. Install it there"),
        (
            _no_setpriv,
            r"board cannot be used: .*setpriv.*not found\. Look at it by hand: ssh board",
        ),
    ],
)
def test_no_way_in(
    board: SshBoard, tmp_path: Path, spoil: Callable[[SshBoard], None], sentence: str
) -> None:
    """A board that cannot be used is one sentence with the remedy, exit code 2, and no Run."""
    spoil(board)
    done = board.nnprof("bench", "--device", "board", "--backend", "fake", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"nnprof: {sentence}.*\n", done.stderr), done.stderr
    assert not list(tmp_path.rglob("*.json"))


def test_no_such_host(board: SshBoard) -> None:
    """A name that no resolver knows is told as such."""
    assert board
    with pytest.raises(Unavailable, match=r"There is no host 'nowhere\.invalid'"):
        Link(boards.from_url("ssh://nowhere.invalid"))


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (None, "board has no program .*/python"),
        ('exec "$PYTHON" -I -S "$@"', "on board has no nnprof. Install nnprof .* there for"),
        ('PYTHONPATH="${0%/*}" exec "$PYTHON" -S "$@"', r"on board has nnprof 0\.0\.1, not "),
    ],
)
def test_python_without_our_nnprof(board: SshBoard, script: str | None, sentence: str) -> None:
    """No Python, no nnprof, another nnprof: each says what is missing where, and how to get it."""
    python = board.folder / "odd/python"
    (board.folder / "odd/nnprof").mkdir(parents=True)
    (board.folder / "odd/nnprof/__init__.py").write_text('__version__ = "0.0.1"\n')
    if script:
        python.write_text(f"#!/bin/sh\nPYTHON={sys.executable}\n{script}\n")
        python.chmod(0o755)
    text = boards.file().read_text()
    boards.file().write_text(text.replace(sys.executable, str(python)))
    with pytest.raises(Unavailable, match=sentence) as caught:
        hosts.run(Probe(target=Target(backend="fake", host="board")), 60)
    assert str(boards.file()) in caught.value.remedy


def test_every_exit_code_over_there(board: SshBoard) -> None:
    """A worker there that ends with any code fails its cell and names it; the board stays ours."""
    python = board.folder / "odd"
    text = boards.file().read_text()
    boards.file().write_text(text.replace(sys.executable, str(python)))
    probe = Probe(target=Target(backend="fake", host="board"))
    for code in (
        0,
        1,
        2,
        123,
        124,
        125,
        126,
        127,
        128,
        129,
        137,
        139,
        163,
        192,
        193,
        253,
        254,
        255,
    ):
        python.write_text(f"#!/bin/sh\necho words >&2; exit {code}\n")
        python.chmod(0o755)
        how = "signal" if 128 < code <= 192 else f"exit code {code} and no answer"
        with pytest.raises(WorkerCrashed, match=how) as caught:
            hosts.run(probe, 60)
        if code != 137:
            assert caught.value.reason.endswith("It said: words")


def test_a_board_that_left_the_file(
    board: SshBoard, tmp_path: Path, cells: tuple[Cell, ...], short: Plan
) -> None:
    """A Run of a board that devices.toml no longer has cannot go on, and says why."""
    _, path = _sweep(board, cells, short, tmp_path)
    boards.file().write_text("")
    with pytest.raises(UsageError, match=r"no board 'board' in .*devices.toml"):
        begin.resume(path)


# While it measures


def test_broken_connection_costs_one_cell(
    board: SshBoard, tmp_path: Path, cells: tuple[Cell, ...], short: Plan
) -> None:
    """The cell in work fails and says how to go on; the rest goes on; --resume completes."""
    run, path = _sweep(board, cells, short, tmp_path)
    for number, _ in enumerate(sweep.sweep(run, path)):
        if number == 2:  # the first round is done
            board.break_in_work(board.kill_sessions)
    run = results.load(path)
    (failure,) = run.failures
    assert failure.error == "ConnectionLost"
    assert failure.reason == "The connection to board broke. The board can be reached again."
    assert "--resume" in failure.remedy
    assert sorted(cell.stopped for cell in run.measurements) == [
        "failure",
        "processes",
        "processes",
    ]
    again = _resumed(path)
    assert [len(cell.processes) for cell in again.measurements] == [2] * 3
    assert not again.failures
    assert _all_kept(run, again)


def test_board_that_is_switched_off(
    board: SshBoard, tmp_path: Path, cells: tuple[Cell, ...], short: Plan
) -> None:
    """The remaining cells fail at once with the reason; when it is back, --resume completes."""
    run, path = _sweep(board, cells, short, tmp_path)
    for number, _ in enumerate(sweep.sweep(run, path)):
        if number == 2:  # the first round is done
            board.break_in_work(board.stop)
    run = results.load(path)
    assert sorted(failure.error for failure in run.failures) == [
        "ConnectionLost",
        *["Unavailable"] * 2,
    ]
    assert all("cannot be reached" in failure.reason for failure in run.failures)
    assert len(run.measurements) == 3  # from the first round
    board.start()
    again = _resumed(path)
    assert not again.failures
    assert _all_kept(run, again)


def test_restart_is_told(board: SshBoard, cells: tuple[Cell, ...]) -> None:
    """A board that comes back with another boot id was restarted, and the sentence says so."""
    target = board.cells(cells[:1])[0].target
    hosts.run(Probe(target=target), 60)
    hosts.connections.to(boards.find("board")).boot = "before"  # nothing here can be restarted
    board.kill_sessions()
    with pytest.raises(hosts.ConnectionLost, match=r"restarted while it measured.*power supply"):
        hosts.run(Probe(target=target), 60)


def test_killed_worker_costs_one_cell(
    board: SshBoard, tmp_path: Path, cells: tuple[Cell, ...], short: Plan
) -> None:
    """A worker that somebody kills fails its cell alone, and the connection stays."""
    run, path = _sweep(board, cells, short, tmp_path)
    link = hosts.connections.to(boards.find("board"))
    for number, _ in enumerate(sweep.sweep(run, path)):
        if number == 2:  # the first round is done
            board.break_in_work(lambda: [worker.kill() for worker in board.workers()])
    run = results.load(path)
    (failure,) = run.failures
    assert failure.error == "WorkerCrashed"
    assert "killed from outside (signal 9)" in failure.reason
    assert hosts.connections.to(boards.find("board")) is link
    again = _resumed(path)
    assert not again.failures
    assert _all_kept(run, again)


def test_board_that_goes_down_ends_its_programs_first(
    board: SshBoard, tmp_path: Path, cells: tuple[Cell, ...], short: Plan
) -> None:
    """A worker that is killed because its board goes down is no crash: the connection was lost."""
    run, path = _sweep(board, cells[:1], short, tmp_path)

    def goes_down() -> None:
        for worker in board.workers():
            worker.kill()
        time.sleep(0.3)
        board.stop()

    board.break_in_work(goes_down)
    list(sweep.sweep(run, path))
    (failure,) = results.load(path).failures
    assert failure.error == "ConnectionLost"


@pytest.mark.parametrize(
    ("fault", "error", "sentence"),
    [
        ("crash", WorkerCrashed, "SIGSEGV"),
        ("hang", WorkerTimeout, "on board had not ended after 3 s"),
    ],
)
def test_worker_that_fails_there(
    board: SshBoard, model: Model, fault: str, error: type[Exception], sentence: str
) -> None:
    """A crash arrives with its signal, a hang with its limit, and no process stays there."""
    target = Target(backend="fake", host="board", options={"fault": fault})
    job = Probe(target=target, workloads=(Workload(model=model, batch=1),))
    with pytest.raises(error, match=sentence):
        hosts.run(job, 3 if fault == "hang" else 60)
    assert board.workers() == []


def test_full_disk_before(
    board: SshBoard, tmp_path: Path, cells: tuple[Cell, ...], short: Plan
) -> None:
    """With no room for the model nothing is measured, no half file stays, and we are told where."""
    big = tmp_path / "tiles.npy"
    big.write_bytes(os.urandom(100_000))
    board.make_small("64k")
    cell = replace(cells[0], workload=replace(cells[0].workload, data=str(big)))
    with pytest.raises(NoSpace, match=r"board has no room .*\.cache/nnprof/board.*Free some space"):
        _sweep(board, (cell,), short, tmp_path)
    assert not list(tmp_path.glob("*.json"))
    assert not list(board.seen(board.cache).glob("*.npy*"))


def test_full_disk_in_mid_sweep(
    board: SshBoard, tmp_path: Path, cells: tuple[Cell, ...], short: Plan
) -> None:
    """A disk that fills up fails the cells with its remedy; with room again, --resume completes."""
    board.make_small("64k")
    run, path = _sweep(board, cells[:2], short, tmp_path)
    filler = board.seen(board.home) / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    list(sweep.sweep(run, path))
    run = results.load(path)
    assert [failure.error for failure in run.failures] == ["NoSpace"] * 2
    filler.unlink()
    again = _resumed(path)
    assert [cell.stopped for cell in again.measurements] == ["processes"] * 2


# The lock


def test_locked_board_names_its_user(board: SshBoard, tmp_path: Path) -> None:
    """A second bench ends with who has the board and since when; after the first it gets it."""
    first = Link(boards.find("board"))
    done = board.nnprof("bench", "--device", "board", "--backend", "fake", cwd=tmp_path)
    who = rf"\S+@\S+ \(process {os.getpid()}\)"
    assert done.returncode == 2
    assert re.search(
        rf"board is in use by {who} since \d\d:\d\d \(0:00:\d\d h\)\. Wait", done.stderr
    )
    assert not list(tmp_path.rglob("*.json"))
    first.close()
    Link(boards.find("board")).close()


def test_stale_lock_is_no_lock(board: SshBoard) -> None:
    """A lock file that nobody holds, of another account and an old boot, stops nobody."""
    board.lock.write_text("1700000000 somebody@elsewhere (process 1)\n")
    board.lock.chmod(0o666)
    board.lock.parent.chmod(0o1777)
    Link(boards.find("board")).close()
    assert f"(process {os.getpid()})" in board.lock.read_text()


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_in_place_of_the_lock(board: SshBoard, exists: bool) -> None:
    """Where a link was planted, it is named, and where it leads nothing is made or changed."""
    victim = board.lock.parent / "victim"
    if exists:
        victim.write_text("precious")
    board.lock.symlink_to(victim)
    with pytest.raises(Unavailable, match=r"something else than a file at \S+nnprof-board\.lock"):
        Link(boards.find("board"))
    assert victim.exists() == exists
    assert not exists or victim.read_text() == "precious"


@pytest.mark.parametrize(
    "words",
    ["1 99999999999999999999 me", "1 -99999999999999999999 me", "x y z", "", "\x1b[31m", "1", "1 ²",
     f"1 {'9' * 5000}"],
)  # fmt: skip
def test_whatever_the_lock_says(words: str) -> None:
    """The text of a lock is anybody's: it ends in a sentence, with no hour where it has none."""
    error = ssh._busy(boards.Board(host="h", name="board"), words)
    assert error.reason.startswith("board is in use by ")
    assert " since " not in error.reason


def test_killed_bench_frees_the_board(
    board: SshBoard, tmp_path: Path, cells: tuple[Cell, ...], short: Plan
) -> None:
    """When the bench is killed, its worker on the board ends, and the lock is free at once."""
    code = (
        "import msgspec, sys\nfrom nnprof.profiler.work import hosts, jobs\n"
        "hosts.run(msgspec.json.decode(sys.stdin.read(), type=jobs.Job), 600)\n"
    )
    target = Target(backend="fake", host="board", options={"fault": "hang"})
    job = Probe(target=target, workloads=(cells[0].workload,))
    killed = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    with ended(killed):
        assert killed.stdin is not None
        killed.stdin.write(msgspec.json.encode(job))
        killed.stdin.close()
        workers = until(board.workers, killed)
        with pytest.raises(BoardBusy, match=rf"\(process {killed.pid}\)"):
            Link(boards.find("board"))
        killed.kill()
    Link(boards.find("board")).close()
    assert not psutil.wait_procs(workers, timeout=HANG_S)[1]


def test_ctrl_c_keeps_the_run_and_frees_the_board(board: SshBoard, tmp_path: Path) -> None:
    """Ctrl-C ends the bench as usual; nothing of it stays on the board, and --resume goes on."""
    options = ("--device", "board", "--backend", "fake", "--rigorous", "--batch", "1,2")
    command = [sys.executable, "-m", "nnprof", "bench", *options]
    running = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with ended(running):
        until(lambda: board.workers() and list(tmp_path.rglob("*.json")), running)
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        said = running.stderr.read()
    assert running.returncode in (2, 130), said
    Link(boards.find("board")).close()
    until(lambda: board.workers() == [])
