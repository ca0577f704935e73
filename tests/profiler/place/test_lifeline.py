"""Nothing of ours lives on when the process that started it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import msgspec
import psutil
import pytest

from nnprof.exporters.probes import chain_model, identity_model
from nnprof.profiler.work.jobs import CHAIN, Measure
from nnprof.types import Model, Plan, Target, Workload

# A bench as far as its worker is concerned; it says so as soon as the worker's process exists.
_PARENT = """
import os, pathlib, subprocess, sys, msgspec
from nnprof.profiler.work import hosts, jobs
class Loud(subprocess.Popen):
    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        os.write(1, b"%d\\n" % self.pid)
hosts.subprocess.Popen = Loud
job = msgspec.json.decode(pathlib.Path(sys.argv[1]).read_bytes(), type=jobs.Job)
hosts.run_local(job, 60)
"""


@pytest.fixture
def mark() -> Iterator[str]:
    """A variable that marks all processes of a test; they end with it, whatever happens."""
    mark = f"NNPROF_TEST_{uuid4().hex}"
    yield mark
    for process in _marked(mark):
        process.kill()


def _marked(mark: str) -> list[psutil.Process]:
    """Those that live, zombies left out: their environment is gone."""
    return [process for process in psutil.process_iter() if mark in _environment(process)]


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        environment: dict[str, str] = process.environ()
    except (psutil.Error, OSError):  # it is gone, or nobody's business
        return {}
    return environment


def _gone(mark: str) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not _marked(mark):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def hanging(model: Model, short: Plan, tmp_path: Path) -> Path:
    """A job that never ends, with telemetry beside it where there is a processor for it."""
    job = Measure(
        workload=Workload(model=model, batch=2),
        target=Target(backend="fake", options={"fault": "hang"}),
        plan=msgspec.structs.replace(short, telemetry_s=0.5),
        floor=identity_model(),
        chain=chain_model(CHAIN),
        ops=False,
    )
    path = tmp_path / "job.json"
    path.write_bytes(msgspec.json.encode(job))
    return path


def _start(job: Path, mark: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(job)],
        env={**os.environ, mark: "1"},
        stdout=subprocess.PIPE,
    )


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_no_orphan_whenever_the_parent_dies(hanging: Path, mark: str, ending: int) -> None:
    """The parent dies 0 to 2 s after it started a worker: the worker and its own are gone."""
    parents = [_start(hanging, mark) for _ in range(5)]
    for parent, wait_s in zip(parents, (0.0, 0.02, 0.1, 0.5, 2.0), strict=True):
        assert parent.stdout is not None
        assert parent.stdout.readline().strip().isdigit()
        time.sleep(wait_s)
        parent.send_signal(ending)
        parent.communicate()
    assert _gone(mark)


def test_telemetry_ends_with_its_worker(hanging: Path, mark: str) -> None:
    """A worker that is killed takes the process that reads the device with it."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("no processor is left for telemetry")
    with _start(hanging, mark) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        deadline = time.monotonic() + 30
        while not worker.children() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert worker.children()
        worker.kill()
    assert _gone(mark)


def test_who_was_orphaned_before_it_began_does_nothing(tmp_path: Path) -> None:
    """A child whose parent died while Python was starting ends before it does anything."""
    code = (
        "import sys; sys.argv = ['-c', '1', 'no.such.module']\n"  # process 1 did not start it
        "from nnprof.profiler.place import lifeline; lifeline.begin()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (70, b"", b"")


def test_elsewhere_than_on_linux_nothing_is_asked_of_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where there is no prctl, a child of a living parent simply goes on."""
    from nnprof.profiler.place import lifeline

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(lifeline.ctypes, "CDLL", None)
    lifeline.end_with(os.getppid())


def test_only_what_is_fast_is_imported_before_the_kernel_knows() -> None:
    """What runs before a process is bound to its parent imports no numpy, msgspec or psutil."""
    code = "import sys, nnprof.profiler.place.lifeline; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "msgspec", "psutil", "onnx"} & set(done.stdout.split())
