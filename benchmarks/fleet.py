"""What a fleet loses when things die, what it costs, and where it ends.

    python benchmarks/fleet.py faults [OUT.json] [--kills 20] [--boards 8] [--cells 200]
    python benchmarks/fleet.py overhead [OUT.json] [--boards 8] [--cells 64] [--seconds 3]
    python benchmarks/fleet.py simulated [OUT.json] [--boards 1000] [--cells 100000]

`faults`: emulated boards (a sshd of its own, a user, a home and a fake /sys for each), of two kinds
where there are four or more; every cell on each kind. Boards, sessions of ssh, workers of dask, the
scheduler and the command are killed (-9) at moments that a seed chooses, and come back. Counted in
the Runs: cells lost, processes lost that were on disk before a kill, processes that are there
twice, and processes of ours that live on. All have to be 0; ends with 1 if one is not.

`overhead`: the same cells by one fleet, and by as many single benches at once, each with a share. A
process on a board lasts as long as `--seconds` says, without work, as if the board did it; so what
is left is what the fleet costs. Where the seconds went is read from the Runs (`_parts`). Then each
cell of the fleet is compared with that of a single one.

`simulated`: dask's own scheduler with as many workers, all in this process, and orders that take a
moment and compute nothing: orders per second, seconds of processor that one costs with the workers'
part, and memory of the scheduler; bytes of a Run and seconds to save it as it grows, and at how
many cells a Run can no longer be read.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any
from uuid import uuid4

import msgspec
import psutil

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / "fakes")]

import fake_board  # noqa: E402  of the tests
from fake_ssh import SshBoard, introduce  # noqa: E402  of the tests

from nnprof.networks import bundled  # noqa: E402
from nnprof.profiler import results  # noqa: E402
from nnprof.profiler.compare import compare  # noqa: E402
from nnprof.types import Run  # noqa: E402

SEED = 20261127
MARK = "NNPROF_FLEET"  # marks our processes: workers are given variables that begin so
NETWORK = str(bundled.model_path())
KINDS = ("orin-nano-jp6", "agx-orin-jp6")
_LIMIT_S = 3600.0
_PROCESSES = 5  # of a cell, by --quick
_BENCH = ("bench", NETWORK, "--ops", "none", "--no-telemetry", "--quick")


class Lost(msgspec.Struct, kw_only=True):
    """What was counted of a fleet that things died around."""

    boards: int
    cells: int
    kills: dict[str, int] = {}
    commands: int = 0
    finished: int = 0
    failed: int = 0
    lost: int = 0
    twice: int = 0
    orphans: int = 0
    wall_s: float = 0.0


# --- boards ---------------------------------------------------------------------------------------


@contextmanager
def emulated(count: int, seconds: float = 0.0) -> Iterator[dict[str, SshBoard]]:
    """So many boards that listen; a process on them sleeps for so many seconds first."""
    Path("/run/sshd").mkdir(exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="nnprof-fleet-"))
    root.chmod(0o755)
    made: dict[str, SshBoard] = {}
    for number in range(count):
        folder = root / f"board{number}"
        folder.mkdir()
        board = made[folder.name] = SshBoard(folder)
        kind = KINDS[number % 2 if count >= 4 and not seconds else 0]
        fake = folder / kind
        fake_board.make(kind, fake)
        board.become(fake)
        board.give_away(fake)
    python = root / "python"
    python.write_text(f'#!/bin/sh\nsleep {seconds}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    os.environ |= introduce(root, made, f'device = "jetson"\npython = "{python}"\n')
    config = root / "config/nnprof/devices.toml"
    own = f'python = "{sys.executable}"\n'
    config.write_text(config.read_text().replace(own, ""))
    try:
        for board in made.values():
            if not board.listens:
                board.start()
        yield made
    finally:
        for board in made.values():
            board.stop()
        shutil.rmtree(root, ignore_errors=True)


# --- faults ---------------------------------------------------------------------------------------


class Trial:
    """A fleet's Runs, the commands that measure them, and what is counted."""

    def __init__(self, folder: Path, boards: dict[str, SshBoard], cells: int) -> None:
        self.folder, self.boards, self.mark = folder, boards, uuid4().hex
        self.row = Lost(boards=len(boards), cells=cells)
        self.scheduler: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"tls://127.0.0.1:{probe.getsockname()[1]}"
        self.keys = _keys(folder)
        self.commands: list[subprocess.Popen[bytes]] = []
        self._seen: dict[tuple[str, str], tuple[tuple[float, ...], ...]] = {}

    def paths(self) -> list[Path]:
        """The Runs that there are."""
        return sorted((self.folder / "runs").glob("*.json"))

    def start(self, words: Sequence[str]) -> None:
        """A command of ours."""
        command = [sys.executable, "-m", "nnprof", *words, "--scheduler", self.address]
        self.row.commands += 1
        self.commands.append(
            subprocess.Popen(
                command,
                env={**os.environ, **self.keys, MARK: self.mark},
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=(self.folder / "told").open("ab"),
                start_new_session=True,
            )
        )

    def serve(self) -> None:
        """A scheduler as a user has it: a program of its own, with keys in files."""
        dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
        words = ["--protocol", "tls", "--host", "127.0.0.1", "--port", self.address.split(":")[-1]]
        self.scheduler = subprocess.Popen(
            [*dask, *words],
            env={**os.environ, **self.keys},
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "scheduler").open("ab"),
        )

    def alive(self) -> bool:
        """Whether a command is at work."""
        return any(one.poll() is None for one in self.commands)

    def whole(self) -> bool:
        """Whether there are Runs, and they need nothing further; looks for what is lost, too."""
        runs = self.look()
        return bool(runs) and all(
            len(run.measurements) == len(run.study.cells) and all(map(_is_done, run.measurements))
            for run in runs.values()
        )

    def look(self) -> dict[Path, Run]:
        """The Runs; what was in them at the last look, and is not, is lost."""
        runs = {path: results.load(path) for path in self.paths()}
        now = {
            (path.name, _key(cell)): cell.samples_s
            for path, run in runs.items()
            for cell in run.measurements
        }
        self.row.lost += sum(
            now.get(key, ())[: len(samples)] != samples for key, samples in self._seen.items()
        )
        self._seen = now
        return runs

    def processes(self) -> int:
        """How many are on disk."""
        return sum(len(m.processes) for run in self.look().values() for m in run.measurements)

    def go_on(self, first: Sequence[str]) -> None:
        """Commands for what is not whole; those of before are gone."""
        runs = self.look()
        for path, run in runs.items():
            if len(run.measurements) < len(run.study.cells) or not all(
                map(_is_done, run.measurements)
            ):
                self.start(["bench", "--resume", str(path)])
        if not runs:
            self.start(first)

    def count(self) -> Lost:
        """What came of it."""
        for run in self.look().values():
            keys = {cell.key for cell in run.study.cells}
            self.row.failed += len(run.failures)
            self.row.finished += sum(map(_is_done, run.measurements))
            self.row.lost += len(keys - set(map(_key, run.measurements)))
            self.row.twice += len(run.measurements) - len(set(map(_key, run.measurements)))
            for cell in run.measurements:
                rounds = [one.round for one in cell.processes]
                moments = {(one.board, one.begun_at_s) for one in cell.processes}
                self.row.twice += len(rounds) - len(set(rounds)) + len(rounds) - len(moments)
                self.row.twice += max(0, len(rounds) - run.study.plan.max_processes)
        deadline = time.monotonic() + 20
        while (left := _marked(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.2)
        self.row.orphans = len(left)
        return self.row


def _say(line: str) -> None:
    """What a person who waits wants to know."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _is_done(cell: Any) -> bool:
    return cell.finished and cell.stopped != "failure"


def _key(cell: Any) -> str:
    from nnprof.types import Cell

    return Cell(workload=cell.workload, target=cell.target).key


def _keys(folder: Path) -> dict[str, str]:
    """Keys for TLS in files, and the variables that tell dask of them."""
    from distributed import Security

    made = Security.temporary()
    found = {}
    for who in ("scheduler", "worker", "client"):
        for what in ("key", "cert"):
            path = folder / f"{who}-{what}.pem"
            path.write_text(getattr(made, f"tls_{who}_{what}"))
            found[f"DASK_DISTRIBUTED__COMM__TLS__{who.upper()}__{what.upper()}"] = str(path)
    authority = folder / "ca.pem"
    authority.write_text(made.tls_ca_file)
    found["DASK_DISTRIBUTED__COMM__TLS__CA_FILE"] = str(authority)
    found["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] = "true"
    return found


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.Error, OSError):  # noqa: PERF203  gone, or nobody's business
            continue
    return found


def _kill_command(trial: Trial, chance: random.Random) -> bool:
    running = [one for one in trial.commands if one.poll() is None]
    if running:
        chance.choice(running).kill()
    return bool(running)


def _kill_scheduler(trial: Trial, chance: random.Random) -> bool:
    assert trial.scheduler
    trial.scheduler.kill()
    trial.scheduler.wait()
    time.sleep(chance.uniform(0, 2))
    trial.serve()
    return True


def _kill_worker(trial: Trial, chance: random.Random) -> bool:
    workers = [
        worker
        for one in trial.commands
        if one.poll() is None
        for child in psutil.Process(one.pid).children()
        if "forkserver" in " ".join(child.cmdline())
        for worker in child.children()
    ]
    if workers:
        chance.choice(workers).kill()
    return bool(workers)


def _kill_board(trial: Trial, chance: random.Random) -> bool:
    board = chance.choice(list(trial.boards.values()))
    board.stop()
    time.sleep(chance.uniform(0, 8))
    board.start()
    return True


def _kill_sessions(trial: Trial, chance: random.Random) -> bool:
    chance.choice(list(trial.boards.values())).kill_sessions()
    return True


KILLS: Mapping[str, Callable[[Trial, random.Random], bool]] = {
    "board": _kill_board,
    "session": _kill_sessions,
    "worker": _kill_worker,
    "command": _kill_command,
    "scheduler": _kill_scheduler,
}


def _spread(kills: int, cells: int) -> list[int]:
    """Processes on disk at which each kill is due: evenly over all that the sweep takes."""
    return [cells * _PROCESSES * number // kills + 1 for number in range(kills)]


def faults(kills: int, boards: int, cells: int) -> Lost:
    """Kill what there is, so many times, while a fleet measures."""
    chance = random.Random(SEED)  # noqa: S311
    kinds = 2 if boards >= 4 else 1
    batches = ",".join(map(str, range(1, cells // kinds + 1)))
    first = [*_BENCH, "--batch", batches, "--device", "all", "--backend", "fake", "--out", "runs"]
    begin = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="nnprof-faults-"))
    with emulated(boards) as made:
        trial = Trial(folder, made, cells)
        try:
            trial.serve()
            left = [list(KILLS)[number % len(KILLS)] for number in range(kills)]
            chance.shuffle(left)
            due_at = _spread(kills, cells)
            while not trial.whole() and time.monotonic() - begin < _LIMIT_S:
                if not trial.alive():
                    trial.go_on(first)
                time.sleep(chance.uniform(0.5, 2))
                measured = trial.processes()
                due = left and measured >= due_at[-len(left)]
                if due and KILLS[left[0]](trial, chance):
                    name = left.pop(0)
                    trial.row.kills[name] = trial.row.kills.get(name, 0) + 1
                    _say(f"killed: {name}; {measured} processes are on disk")
            for one in trial.commands:
                one.wait(60)
            trial.row.wall_s = time.monotonic() - begin
            return trial.count()
        finally:
            for one in (*trial.commands, trial.scheduler):
                if one is not None and one.poll() is None:
                    one.kill()
            shutil.rmtree(folder)


# --- overhead -------------------------------------------------------------------------------------


def overhead(boards: int, cells: int, seconds: float) -> dict[str, Any]:
    """Seconds of a fleet, and of as many single benches at once; verdicts of compare."""
    share = cells // boards
    every = ",".join(map(str, range(1, share * boards + 1)))
    words = [*_BENCH, "--backend", "fake", "--option", "noise=0.01"]
    folder = Path(tempfile.mkdtemp(prefix="nnprof-overhead-"))
    with emulated(boards, seconds) as made:
        command = [sys.executable, "-m", "nnprof", *words, "--batch"]
        begin = time.time()
        singles = [
            subprocess.Popen(
                [*command, ",".join(map(str, range(share * at + 1, share * (at + 1) + 1))),
                 "--device", name, "--out", "single"],
                cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for at, name in enumerate(made)
        ]  # fmt: skip
        codes = [one.wait(_LIMIT_S) for one in singles]
        between = time.time()
        done = subprocess.run(
            [*command, every, "--device", "all", "--out", "fleet"],
            cwd=folder, capture_output=True, text=True, check=False, timeout=_LIMIT_S,
        )  # fmt: skip
        end = time.time()
    assert not any(codes), codes
    assert done.returncode == 0, done.stderr
    (path,) = (folder / "fleet").glob("*.json")
    fleet, verdicts = results.load(path), list[str]()
    alone = [results.load(one) for one in (folder / "single").glob("*.json")]
    for run in alone:
        found = compare(run, fleet, allow=("host",))
        verdicts += [cell.verdict for cell in found.cells]
    shutil.rmtree(folder)
    single_s, fleet_s = between - begin, end - between
    return {
        "boards": boards, "cells": share * boards, "process_s": seconds,
        "singles_s": single_s, "fleet_s": fleet_s, "overhead": fleet_s / single_s - 1,
        "singles": _parts(alone, begin, between), "fleet": _parts([fleet], between, end),
        "verdicts": {word: verdicts.count(word) for word in sorted(set(verdicts))},
    }  # fmt: skip


def _parts(runs: Sequence[Run], begin: float, end: float) -> dict[str, float]:
    """Where the seconds from `begin` to `end` went; both since 1970.

    Of a board: `first_s` and `last_s` until the first process on the first and on the last one;
    `process_s` that one took and `between_s` from its end to the next, the means; `idle_s` from the
    end of its last process to that of the last of all, the mean. `end_s` after that.
    """
    spans: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        for cell in run.measurements:
            for one in cell.processes:
                begun = one.begun_at_s or 0.0
                board = one.board or cell.target.host
                spans.setdefault(board, []).append((begun, begun + one.wall_s))
    own = [sorted(of_board) for of_board in spans.values()]
    firsts, lasts = [one[0][0] for one in own], [one[-1][1] for one in own]
    gaps = [after[0] - before[1] for one in own for before, after in pairwise(one)]
    return {
        "first_s": min(firsts) - begin,
        "last_s": max(firsts) - begin,
        "processes": sum(map(len, own)),
        "most_processes": max(map(len, own)),
        "process_s": fmean(after - before for one in own for before, after in one),
        "between_s": fmean(gaps),
        "idle_s": max(lasts) - fmean(lasts),
        "end_s": end - max(lasts),
    }


# --- simulated ------------------------------------------------------------------------------------


# What workers do and keep for themselves is no cost of the scheduler: they are all in here.
_SCHEDULER_ALONE = {
    "distributed.admin.system-monitor.interval": "1h",
    "distributed.admin.tick.interval": "1h",
    "distributed.admin.tick.cycle": "1h",
    "distributed.admin.low-level-log-length": 10,
    "distributed.worker.profile.enabled": False,
}


async def _idle(seconds: float) -> bytes:
    await asyncio.sleep(seconds)
    return b"x" * 4096  # about what an answer has


async def _scheduled(boards: int, orders: int, ahead: int) -> dict[str, Any]:
    """So many orders through dask's scheduler, a few for each board at a time, as a fleet does."""
    import dask
    from distributed import Client, Scheduler, Worker, as_completed

    dask.config.set(_SCHEDULER_ALONE)
    logging.getLogger("distributed").setLevel(logging.ERROR)
    process = psutil.Process()
    async with Scheduler(protocol="inproc://", dashboard_address="127.0.0.1:0") as scheduler:
        before = process.memory_info().rss
        workers = [
            Worker(
                scheduler.address, nthreads=1, resources={"kind": 1}, memory_limit=0,
                dashboard_address="127.0.0.1:0", name=f"board{number}",
            )
            for number in range(boards)
        ]  # fmt: skip
        for at in range(0, boards, 50):
            await asyncio.gather(*workers[at : at + 50])
        started = process.memory_info().rss
        async with Client(scheduler.address, asynchronous=True) as client:
            begin, sent, done, peak = time.perf_counter(), 0, 0, 0
            cpu_s = time.process_time()

            def order() -> Any:
                nonlocal sent
                sent += 1
                return client.submit(
                    _idle, 0.05, resources={"kind": 1}, pure=False, key=f"order-{sent}"
                )

            first = min(orders, ahead * boards)
            completed = as_completed([order() for _ in range(first)], with_results=True)
            async for _ in completed:
                done += 1
                if sent < orders:
                    completed.add(order())
                if done % 1000 == 0:
                    peak = max(peak, process.memory_info().rss)
                    _say(f"{done} of {orders} orders")
            wall_s, cpu_s = time.perf_counter() - begin, time.process_time() - cpu_s
        for at in range(0, boards, 50):
            await asyncio.gather(*(one.close() for one in workers[at : at + 50]))
    return {
        "boards": boards, "orders": done, "orders_per_s": done / wall_s, "wall_s": wall_s,
        "cpu_s_per_order": cpu_s / done,
        "worker_bytes": (started - before) / boards, "grown_bytes": max(peak, started) - started,
    }  # fmt: skip


def _saved(counts: Sequence[int]) -> list[dict[str, float]]:
    """Bytes of a Run of so many cells, and seconds to save and to read it."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*_BENCH, "--batch", "1", "--backend", "fake", "--out", folder]
        subprocess.run([sys.executable, "-m", "nnprof", *words], check=True, capture_output=True)
        (path,) = Path(folder).glob("*.json")
        run, rows = results.load(path), []
        for count in counts:
            grown = msgspec.structs.replace(
                run,
                study=msgspec.structs.replace(run.study, cells=run.study.cells * count),
                measurements=run.measurements * count,
            )
            begin = time.perf_counter()
            results.save(grown, path)
            save_s, size = time.perf_counter() - begin, path.stat().st_size
            rows.append({"cells": count, "bytes": size, "save_s": save_s})
    return rows


def _decided(counts: Sequence[int]) -> list[dict[str, float]]:
    """Seconds to find the next order among so many cells."""
    from nnprof.profiler.run.rounds import Sweep
    from nnprof.types import Cell, Model, Plan, Target, Workload

    model, rows = Model(name="m", path="", sha256="0" * 64, opset=17, inputs=(), outputs=()), []
    for count in counts:
        cells = (
            Cell(workload=Workload(model=model, batch=batch), target=Target(backend="fake"))
            for batch in range(1, count + 1)
        )
        sweep = Sweep(Plan(), {cell.key: cell for cell in cells}, {}, {})
        begin = time.perf_counter()
        sweep.next_beside(())
        rows.append({"cells": count, "next_s": time.perf_counter() - begin})
    return rows


def simulated(boards: int, cells: int) -> dict[str, Any]:
    """Dask's scheduler, and our own files, at a size that nobody has."""
    from nnprof.profiler.results import _MOST

    sizes = [one for one in (100, 1000, 10_000, 100_000) if one <= cells]
    saved = _saved([one for one in sizes if one <= 10_000])
    each = saved[-1]["bytes"] / saved[-1]["cells"]
    return {
        "scheduler": asyncio.run(_scheduled(boards, cells, 2)),
        "runs": saved,
        "most_cells_of_a_run": int(_MOST / each),
        "decisions": _decided(sizes),
    }


def main() -> int:
    """The part that is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("part", choices=("faults", "overhead", "simulated"))
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--boards", type=int)
    parser.add_argument("--cells", type=int)
    parser.add_argument("--seconds", type=float, default=3.0)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    found: Any
    if asked.part == "faults":
        found = faults(asked.kills, asked.boards or 8, asked.cells or 200)
        bad = found.lost + found.twice + found.orphans + found.failed
    elif asked.part == "overhead":
        found, bad = overhead(asked.boards or 8, asked.cells or 64, asked.seconds), 0
    else:
        found, bad = simulated(asked.boards or 1000, asked.cells or 100_000), 0
    text = msgspec.json.format(msgspec.json.encode(found), indent=1)
    print(text.decode())
    if asked.out:
        asked.out.write_bytes(text + b"\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
