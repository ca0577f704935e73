"""What all tests share: a cache of their own, the data folder, and a guard on the import names."""

import gc
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_board
import msgspec
import processes
import pytest

# Before anything of nnprof is imported: no test may read or fill the user's own cache, nor wait for
# what the user, or another run of the tests, measures on this machine.
_CACHE = tempfile.mkdtemp(prefix="nnprof-tests-")
os.environ["XDG_CACHE_HOME"] = _CACHE
os.environ["NNPROF_LOCKS"] = _CACHE

from nnprof.profiler.timing import sample  # noqa: E402  see above
from nnprof.profiler.work import hosts, jobs, worker  # noqa: E402  see above

# Shells let what they start with & ignore Ctrl-C, which its children inherit; signals are tested.
for _signal in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(
            _signal, signal.default_int_handler if _signal == signal.SIGINT else signal.SIG_DFL
        )


def pytest_unconfigure() -> None:
    """Remove the session's cache."""
    shutil.rmtree(_CACHE, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _no_second_copies() -> Iterator[None]:
    """`import profiler` works in the root, and gives a second copy of every class."""
    yield
    bare = {"profiler", "networks", "exporters"} & set(sys.modules)
    assert not bare, f"imported by their bare names: {sorted(bare)}"


@pytest.fixture(scope="module", autouse=True)
def _libraries_are_not_searched_for_garbage() -> None:
    """What was loaded stays; a collection, as before each timing, need not look at it."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """What a test leaves running is ended with it and fails it, and no other one."""
    before = processes.children()
    yield
    left = processes.end_new(before)
    assert not left, f"left running: {left}"


@pytest.fixture(scope="session")
def data_folder() -> Path | None:
    """The folder of test data sets that NNPROF_DATA names; None where it names none."""
    name = os.environ.get("NNPROF_DATA")
    return Path(name) if name else None


@pytest.fixture(scope="session")
def install_trtexec() -> Callable[..., Path]:
    """Writes a stand-in for trtexec into a folder: see `tests/fakes/trtexec.py`, `install`."""
    path = Path(__file__).with_name("fakes") / "trtexec.py"
    spec = importlib.util.spec_from_file_location("fake_trtexec", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    install: Callable[..., Path] = module.install
    return install


@pytest.fixture
def workers_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake's jobs are done in this process, where a test claims nothing about processes.

    Jobs and answers pass through JSON as ever. A job that crashes or hangs gets a real worker, and
    so do runtimes, which set up things once per process.
    """
    really = hosts.run_local

    def run_local(
        job: jobs.Job,
        limit_s: float,
        more: dict[str, str] | None = None,
        *,
        heard: Callable[[jobs.Reply], None] | None = None,
    ) -> object:
        fault = job.target.options.get("fault")
        if job.target.backend != "fake" or fault in ("crash", "hang"):
            return really(job, limit_s, more, heard=heard)

        def tell(answer: jobs.Answer) -> jobs.Answer:
            told = msgspec.json.decode(msgspec.json.encode(answer), type=jobs.Answer)
            if heard is not None:
                heard(told)
            return told

        allowed = os.sched_getaffinity(0)
        try:
            there = msgspec.json.decode(msgspec.json.encode(job), type=jobs.Job)
            answer = tell(worker.do(there, tell))
        finally:
            os.sched_setaffinity(0, allowed)
        if isinstance(answer, jobs.Fault):
            raise answer.raised()
        return answer

    monkeypatch.setattr(hosts, "run_local", run_local)
    # With all that tests have loaded here, a collection takes a while, and nothing is timed.
    monkeypatch.setattr(sample.gc, "collect", lambda: 0)


@pytest.fixture
def board(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for a Jetson's `/`, by default an Orin Nano with JetPack 6."""
    name = getattr(request, "param", "orin-nano-jp6")
    root = fake_board.make(name, tmp_path / name)
    for variable, value in fake_board.environment(root).items():
        monkeypatch.setenv(variable, value)
    return root
