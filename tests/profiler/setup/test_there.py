"""Which Python of a board will do, and which wheels run with it."""

from __future__ import annotations

import sys

import pytest
from fake_python import python

from nnprof.errors import Unavailable
from nnprof.profiler.place.shells import LocalShell
from nnprof.profiler.setup import there
from nnprof.profiler.setup.there import There


def test_the_first_that_will_do_is_taken() -> None:
    """JetPack 5 has Python 3.8; a newer one beside it is taken."""
    old, new = python("3.8.10"), python("3.10.4")
    assert there.chosen([old, new], "orin") == new


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], "orin has no Python, and nnprof needs 3.10 or newer.*sudo apt install"),
        ([python("3.8.10")], r"orin has Python 3\.8\.10 only, and nnprof needs 3\.10"),
        ([python("3.11.2", implementation="pypy")], "orin has no Python"),
        ([python("3.11.2", venv=False)], "no module venv.*apt install python3-venv"),
        ([python("3.12.1", libc="")], "orin has Python 3.12.1 on aarch64 with no glibc.*by hand"),
    ],
)
def test_none_will_do(found: list[There], words: str) -> None:
    """What is missing is said, with what to install."""
    with pytest.raises(Unavailable, match=words):
        there.chosen(found, "orin")


def test_platforms_of_wheels() -> None:
    """Every manylinux up to the board's glibc, for what the Python is, not the kernel."""
    platforms = python("3.10.4").platforms
    assert platforms[0] == "manylinux_2_35_aarch64"
    assert "manylinux_2_17_aarch64" in platforms
    assert "manylinux_2_16_aarch64" not in platforms
    assert platforms[-2:] == ("manylinux2014_aarch64", "linux_aarch64")
    narrow = python("3.11.2", bits=32).platforms
    assert narrow[0] == "manylinux_2_35_armv7l"
    assert python("3.11.2", libc="").platforms == ()


def test_the_pythons_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script finds this Python by the PATH of a login, with its environment and room."""
    folder = sys.executable.rpartition("/")[0]
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    found = there.look(LocalShell(), "here")
    assert found.executable.startswith(folder)
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert found.markers["sys_platform"] == sys.platform
    assert found.free_bytes > 0
