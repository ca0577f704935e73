"""What is lost when something breaks: processes killed, disks full, clocks set back, links cut.

    python benchmarks/faults.py [OUT.json [SHARE]]

Each fault strikes a real `nnprof bench` many times over, at moments that a seed chooses; afterwards
`--resume` finishes the Run with nothing in its way. Counted are cells finished, cells lost (in the
file before a fault, and not, or otherwise, after it), files that were no whole Run at any look, and
processes of ours that lived on. The last three have to be 0. Ends with 1 if one is not.

The clock is set back in the eyes of the child alone, the disk is a small tmpfs in a mount namespace
of its own (root), the link is to a real sshd on loopback (openssh-server). What is not at hand is
left out, and the table says so.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import psutil

from nnprof.errors import NnprofError
from nnprof.networks import bundled
from nnprof.profiler import results, studies
from nnprof.profiler.run import begin
from nnprof.profiler.work import hosts
from nnprof.types import Cell, Plan, Run, Target

SEED = 20261125
MARK = "NNPROF_FAULTS"  # marks our processes: workers are given variables that begin so
NETWORK = str(bundled.model_path())
PLAN = Plan(
    processes=1,
    max_processes=1,
    warmup_s=0.0,
    warmup_limit_s=0.01,
    sample_s=0.01,
    min_samples=3,
    op_method="none",
)
_LIMIT_S = 300.0  # for what takes seconds


class Row(msgspec.Struct, kw_only=True):
    """What a fault did.

    Attributes:
        times: how often it struck a command that lived.
        cells, finished: that were asked for, and that are finished in the end.
        lost: that were in the file before one of the faults, and not, or otherwise, after it.
        torn: looks at the file that met no whole Run, and files left beside it in the end.
        orphans: processes of ours that lived on.
        told: what the command said of it, where it lived to say something.
    """

    fault: str
    times: int = 0
    cells: int = 0
    finished: int = 0
    lost: int = 0
    torn: int = 0
    orphans: int = 0
    told: str = ""


class Trial:
    """A Run that faults strike, and all that is counted of it."""

    def __init__(
        self, fault: str, folder: Path, cells: int, backend: str = "fake", host: str = "local"
    ) -> None:
        self.row = Row(fault=fault, cells=cells)
        self.folder, self._mark = folder, uuid4().hex
        self._locks = Path(f"{folder}.locks")  # trials run side by side
        self._locks.mkdir(exist_ok=True)
        target = Target(backend=backend, host=host)
        asked = studies.named_cells([NETWORK], target, tuple(range(1, cells + 1)))
        _, self.path = begin.start(asked, PLAN, folder, name="faults")
        self._seen: dict[str, tuple[tuple[float, ...], ...]] = {}

    def resume(
        self, *words: str, before: Sequence[str] = (), **variables: str
    ) -> subprocess.Popen[str]:
        """The command that goes on with the Run, in a session of its own; `before` runs it."""
        return subprocess.Popen(
            [*before, sys.executable, "-m", "nnprof", "bench", "--resume", str(self.path), *words],
            env={
                **os.environ,
                MARK: self._mark,
                "NNPROF_LOCKS": str(self._locks),
                **variables,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def processes(self) -> int:
        """How many measured processes the Run has now; what it had and has not is lost."""
        try:
            run = results.load(self.path)
        except NnprofError:
            self.row.torn += 1
            return 0
        now = {_key(one.workload, one.target): one.samples_s for one in run.measurements}
        self.row.lost += sum(
            now.get(key, ())[: len(samples)] != samples for key, samples in self._seen.items()
        )
        self._seen = now
        return sum(map(len, now.values()))

    def until(self, wanted: int, *running: subprocess.Popen[str]) -> None:
        """Wait for so many processes, or for the end of the commands."""
        while self.processes() < wanted and any(one.poll() is None for one in running):
            time.sleep(0.01)

    def strike(self, pid: int) -> None:
        """Kill -9, counted where it hits."""
        try:
            if pid:
                os.kill(pid, signal.SIGKILL)
                self.row.times += 1
        except ProcessLookupError:
            return

    def after(self, *commands: subprocess.Popen[str]) -> None:
        """What commands say, and leave behind, once they are gone."""
        for one in commands:
            _, said = one.communicate(timeout=_LIMIT_S)
            lines = [line for line in said.splitlines() if line.startswith("nnprof: ")]
            if lines:
                words = re.sub(r"process \d+ since .*?\)", "process N", lines[-1])
                self.row.told = re.sub(r"'?/[^ ]*?[\w']*(?=[ :.])", "PATH", words[8:])
            if "Traceback" in said:
                self.row.told = said
        deadline = time.monotonic() + 10
        while (alive := _marked(self._mark)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.row.orphans += len(alive)
        for process in alive:
            process.kill()
        self.processes()

    def finish(self) -> Row:
        """Let the Run be finished with nothing in its way, and count."""
        told = self.row.told
        self.after(self.resume("--wait"))
        self.row.told = told or self.row.told
        run: Run = results.load(self.path)
        self.row.finished = sum(one.stopped not in ("", "failure") for one in run.measurements)
        self.row.torn += sum(path.name.startswith(".") for path in self.folder.iterdir())
        return self.row


def _key(workload: object, target: object) -> str:
    return Cell(workload=workload, target=target).key  # type: ignore[arg-type]


def _marked(mark: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _mark_of(process) == mark]


def _mark_of(process: psutil.Process) -> str | None:
    try:
        mark: str | None = process.environ().get(MARK)
    except (psutil.Error, OSError):  # gone, or nobody's business
        return None
    return mark


# --- the faults: each in a folder of its own, so many times ---------------------------------------


def killed(whom: str, backend: str, folder: Path, times: int) -> Row:
    """Kill -9 of the command, or of its worker, at any moment between its start and its end."""
    moments = random.Random(f"{SEED} {backend} {whom}")  # noqa: S311
    trial = Trial(f"kill -9 of the {whom}, {backend}", folder, 3 * times + 1, backend)
    while trial.row.times < times:
        done = trial.processes()
        more = moments.choice((0, 0, 1, 1, 2))
        running = trial.resume()
        trial.until(done + more, running)
        time.sleep(moments.uniform(0, 0.2 if more else 0.8))
        trial.strike(running.pid if whom == "command" else _worker_of(running))
        if whom == "worker":  # the command goes on; not to the end, so that some is left to strike
            trial.until(trial.processes() + 1, running)
            _stop(running)
        trial.after(running)
    return trial.finish()


def _worker_of(running: subprocess.Popen[str]) -> int:
    """The worker that runs now, or will next; 0 where the command ends before it has one."""
    while running.poll() is None:
        try:
            children = psutil.Process(running.pid).children()
        except psutil.NoSuchProcess:
            break
        if children:
            return int(children[0].pid)
        time.sleep(0.005)
    return 0


def two_commands(folder: Path, times: int) -> Row:
    """Two commands on one Run, one waiting for the other; both are killed, in any order."""
    moments = random.Random(f"{SEED} two")  # noqa: S311
    trial = Trial("two commands on one Run, killed", folder, 4 * times + 1)
    for _ in range(times):
        pair = [trial.resume("--wait"), trial.resume("--wait")]
        for one in moments.sample(pair, 2):
            trial.until(trial.processes() + moments.choice((0, 1)), *pair)
            time.sleep(moments.uniform(0, 0.2))
            _stop(one)
        trial.row.times += 1
        trial.after(*pair)
    first = trial.resume()
    trial.until(trial.processes() + 1, first)
    trial.after(trial.resume(), first)  # the second is refused
    return trial.finish()


def _stop(running: subprocess.Popen[str]) -> None:
    if running.poll() is None:
        running.kill()


def full_disk(folder: Path, times: int) -> Row:
    """A disk that fills while the Run grows: a small tmpfs over its folder."""
    trial = Trial("full disk", folder, 6)
    if os.geteuid() or not shutil.which("unshare"):
        trial.row.told = "left out: needs root and mount namespaces"
        return trial.finish()
    kept = Path(f"{folder}.kept")
    script = (
        'mkdir -p "$1.small" "$1.kept"; mount -t tmpfs -o "size=$2" none "$1.small"; '
        'cp "$1"/*.json "$1.small"; mount --bind "$1.small" "$1"; folder="$1"; shift 2; "$@"; '
        'code=$?; cp -a "$folder/." "$folder.kept"; exit $code'
    )
    for at in range(times):
        pages = trial.path.stat().st_size // 4096 + 1
        before = ["unshare", "--mount", "bash", "-c", script, "sh", str(folder)]
        running = trial.resume(before=[*before, f"{4096 * (pages + at % 4)}"])
        running.wait(timeout=_LIMIT_S)
        for path in kept.iterdir():  # what is on that disk, files left beside the Run included
            shutil.move(path, folder / path.name)
        trial.row.times += 1
        trial.after(running)
    return trial.finish()


def limited_file(folder: Path, times: int) -> Row:
    """Files may not grow beyond a size (`ulimit -f`): a save fails in the middle."""
    trial = Trial("ulimit -f", folder, 2)
    for _ in range(times):
        blocks = max(1, trial.path.stat().st_size // 1024)
        script = f'ulimit -f {blocks}; exec "$@"'
        trial.after(trial.resume(before=["bash", "-c", script, "sh"]))
        trial.row.times += 1
    return trial.finish()


def read_only(folder: Path, times: int) -> Row:
    """A folder that may not be written: by its mode, or for root by a read-only mount."""
    trial = Trial("read-only folder", folder, 3)
    script = 'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"; shift; exec "$@"'
    root = os.geteuid() == 0
    before = ["unshare", "--mount", "sh", "-c", script, "sh", str(folder)] if root else []
    for _ in range(times):
        folder.chmod(0o755 if root else 0o555)
        trial.after(trial.resume(before=before))
        folder.chmod(0o755)
        trial.row.times += 1
    return trial.finish()


def limited_memory(folder: Path, times: int) -> Row:
    """From too little address space to start at all to as much as it takes."""
    trial = Trial("ulimit -v", folder, 2 * times + 2)
    for at in range(times):
        script = f'ulimit -v {40_000 * (at + 1) ** 2}; exec "$@"'
        trial.after(trial.resume(before=["sh", "-c", script, "sh"]))
        trial.row.times += 1
    return trial.finish()


# The clock of the wall in the eyes of Python alone: set back by so much, or standing.
_BACK = """
import datetime, os, time
real, back_s = time.time, float(os.environ["NNPROF_BACK_S"])
time.time = (lambda: real() - back_s) if back_s else (lambda: 946684799.0)
class Back(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
datetime.datetime = Back
"""


def clock_set_back(folder: Path, times: int) -> Row:
    """New Runs while the wall clock stands, or is set back further and further."""
    row = Row(fault="clock set back, new Runs", cells=times)
    folder.mkdir()
    site = Path(f"{folder}.site")
    site.mkdir()
    (site / "sitecustomize.py").write_text(_BACK)
    words = ["bench", NETWORK, "--backend", "fake", "--batch", "1", "--quick", "--ops", "none"]
    for at in range(times):
        done = subprocess.run(
            [sys.executable, "-m", "nnprof", *words, "--out", str(folder)],
            env={**os.environ, "PYTHONPATH": str(site), "NNPROF_BACK_S": str(at % 3 * at * 1e7)},
            capture_output=True, text=True, check=False, timeout=_LIMIT_S,
        )  # fmt: skip
        row.times += 1
        row.told = "".join(x for x in done.stderr.splitlines() if x.startswith("nnprof: "))
    runs = [results.load(path) for path in folder.glob("*.json")]
    row.finished = sum(one.finished for run in runs for one in run.measurements)
    row.lost = times - len(runs)
    row.torn = sum(path.name.startswith(".") for path in folder.iterdir())
    return row


def link_cut(folder: Path, times: int) -> Row:
    """The sessions on a board are killed while it works, as by a cut cable."""
    sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / "fakes")]
    from fake_ssh import SSHD, SshBoard

    if SSHD is None:
        return Row(fault="SSH cut", told="left out: sshd is not here")
    Path("/run/sshd").mkdir(exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="nnprof-board-"))
    place.chmod(0o755)
    board = SshBoard(place)
    (place / "bin").mkdir()
    (place / "bin/ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {place}/ssh_config "$@"\n')
    (place / "bin/ssh").chmod(0o755)
    (place / "config/nnprof").mkdir(parents=True)
    (place / "config/nnprof/devices.toml").write_text(
        f'[board]\nhost = "board"\ndevice = "cpu"\npython = "{sys.executable}"\n'
    )
    os.environ |= {
        "PATH": f"{place}/bin:{os.environ['PATH']}",
        "XDG_CONFIG_HOME": f"{place}/config",
    }
    try:
        board.start()
        return _cut(board, folder, times)
    finally:
        hosts.release()
        board.stop()
        shutil.rmtree(place)


def _cut(board: Any, folder: Path, times: int) -> Row:
    moments = random.Random(f"{SEED} link")  # noqa: S311
    trial = Trial("SSH cut", folder, 3 * times + 2, host="board")
    hosts.release()
    for _ in range(times):
        running = trial.resume()
        trial.until(trial.processes() + moments.choice((0, 1)), running)
        while not board.processes() and running.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.5))
        board.kill_sessions()
        trial.row.times += 1
        trial.after(running)
        deadline = time.monotonic() + 10
        while (alive := board.workers()) and time.monotonic() < deadline:
            time.sleep(0.05)
        trial.row.orphans += len(alive)
    return trial.finish()


# --- all of them ----------------------------------------------------------------------------------

FAULTS: tuple[tuple[Callable[[Path, int], Row], int], ...] = (
    (partial(killed, "command", "fake"), 35),
    (partial(killed, "worker", "fake"), 35),
    (partial(killed, "command", "onnxruntime"), 15),
    (partial(killed, "worker", "onnxruntime"), 15),
    (two_commands, 20),
    (full_disk, 8),
    (limited_file, 4),
    (read_only, 4),
    (limited_memory, 6),
    (clock_set_back, 9),
)


def main(out: Path | None, share: float) -> int:
    """All faults, two at a time; the link alone, since it is of this process's environment."""
    home = Path(tempfile.mkdtemp(prefix="nnprof-faults-"))
    os.environ["NNPROF_LOCKS"] = str(home)
    try:
        with ThreadPoolExecutor(2) as pool:
            jobs = [
                pool.submit(fault, home / str(number), max(1, round(times * share)))
                for number, (fault, times) in enumerate(FAULTS)
            ]
            rows = [job.result() for job in jobs]
        rows.append(link_cut(home / "link", max(1, round(8 * share))))
    finally:
        shutil.rmtree(home)
    print(table(rows))
    if out:
        out.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
    return int(any(row.lost or row.torn or row.orphans for row in rows))


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| fault | struck | cells | finished | lost | torn | orphans | said |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {row.fault} | {row.times} | {row.cells} | {row.finished} | {row.lost} | {row.torn} | "
        f"{row.orphans} | {row.told} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(
        main(
            Path(sys.argv[1]) if len(sys.argv) > 1 else None,
            float(sys.argv[2]) if len(sys.argv) > 2 else 1.0,
        )
    )
