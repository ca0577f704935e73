"""What all tests share: a cache of their own, the data folder, and a guard on the import names."""

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_board
import pytest

# Before anything of nnprof is imported: no test may read or fill the user's own cache, nor wait for
# what the user, or another run of the tests, measures on this machine.
_CACHE = tempfile.mkdtemp(prefix="nnprof-tests-")
os.environ["XDG_CACHE_HOME"] = _CACHE
os.environ["NNPROF_LOCKS"] = _CACHE


def pytest_unconfigure() -> None:
    """Remove the session's cache."""
    shutil.rmtree(_CACHE, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _no_second_copies() -> Iterator[None]:
    """`import profiler` works in the root, and gives a second copy of every class."""
    yield
    bare = {"profiler", "networks", "exporters"} & set(sys.modules)
    assert not bare, f"imported by their bare names: {sorted(bare)}"


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
def board(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for a Jetson's `/`, by default an Orin Nano with JetPack 6."""
    name = getattr(request, "param", "orin-nano-jp6")
    root = fake_board.make(name, tmp_path / name)
    for variable, value in fake_board.environment(root).items():
        monkeypatch.setenv(variable, value)
    return root
