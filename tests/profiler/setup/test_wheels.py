"""What a board needs as wheels, gathered here for its Python and not for ours."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest
import wheelhouse
from fake_python import python

import nnprof
from nnprof.errors import Unavailable
from nnprof.profiler.setup import wheels
from nnprof.profiler.setup.there import There
from nnprof.profiler.setup.wheels import OWN, Wheel

JETPACK_6 = python("3.10.12")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, and from nowhere else."""
    folder = tmp_path / "house"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def gathered(there: There, folder: Path, *extras: str) -> dict[str, str]:
    """Names and versions of what is gathered."""
    return {one.name: one.version for one in wheels.gather(there, extras, folder)}


def test_the_markers_are_those_of_the_board(house: Path, tmp_path: Path) -> None:
    """What a package needs is asked for the board: tomli for Python 3.10, no library for x86_64."""
    wheelhouse.make(house, leave_out=["onnxruntime"])
    wheelhouse.stub(
        house, "onnxruntime", "1.23.2", tag="cp310-cp310-manylinux_2_27_aarch64",
        needs=['extra-for-arm; platform_machine == "aarch64"',
               'extra-for-intel; platform_machine == "x86_64"'],
    )  # fmt: skip
    wheelhouse.stub(house, "onnxruntime", "1.30", tag="cp311-cp311-manylinux_2_28_aarch64")
    wheelhouse.stub(house, "extra-for-arm")
    found = gathered(JETPACK_6, tmp_path / "made", "cpu")
    assert found["onnxruntime"] == "1.23.2"
    assert "extra-for-arm" in found
    assert "extra-for-intel" not in found
    assert ("tomli" in found) == (JETPACK_6.markers["python_version"] < "3.11")
    assert found[OWN] == nnprof.__version__
    assert "pip" in found


def test_a_converter_stays_here(house: Path, tmp_path: Path) -> None:
    """Files of ncnn are made by pnnx on the machine that asks; a board gets ncnn alone."""
    wheelhouse.make(house)
    wheelhouse.stub(house, "ncnn", "1.0.20261020")
    wheelhouse.stub(house, "pnnx", needs=["torch"])
    found = gathered(JETPACK_6, tmp_path / "made", "ncnn")
    assert "ncnn" in found
    assert not {"pnnx", "torch"} & {*found}


def test_no_wheel_for_the_board(house: Path, tmp_path: Path) -> None:
    """A package that has no wheel for that Python, machine or glibc is named, with all three."""
    wheelhouse.make(house, leave_out=["onnxruntime"])
    wheelhouse.stub(house, "onnxruntime", "1.31", tag="cp310-cp310-manylinux_2_39_aarch64")
    words = (
        r"no wheel of onnxruntime\S* for Python 3\.10\.12 on aarch64 with glibc 2\.35.*--backend"
    )
    with pytest.raises(Unavailable, match=words):
        gathered(JETPACK_6, tmp_path / "made", "cpu")


def test_our_own_wheel_is_what_is_installed_here(tmp_path: Path) -> None:
    """It has every module and data file as it is imported here, and its commands and plugs."""
    with zipfile.ZipFile(wheels.own(tmp_path)) as whole:
        names = set(whole.namelist())
        points = next(name for name in names if name.endswith("/entry_points.txt"))
        assert b"nnprof.cli.main:main" in whole.read(points)
        main = Path(sys.modules["nnprof"].__file__ or "").parent / "cli/main.py"
        assert whole.read("nnprof/cli/main.py") == main.read_bytes()
    assert {"nnprof/profiler/setup/wheels.py", "nnprof/networks/bundled/mnist.onnx"} <= names
    assert not [name for name in names if "__pycache__" in name]
    assert len({name.split("/")[0] for name in names}) == 2
    assert wheels.source_digest() == wheels.source_digest()


def wheel(name: str, *needs: str) -> Wheel:
    """A wheel that needs others."""
    return Wheel(Path(f"{name}.whl"), name, "1", 1, 1, needs)


def test_the_closure_is_looked_over() -> None:
    """What a wheel says that it needs, extras of it included, is there, or it is an error."""
    found = {
        one.name: one
        for one in (
            wheel("a", "b[x]>=1", 'c; python_version < "3.11"', 'd; extra == "y"'),
            wheel("b", 'e; extra == "x"', 'f; extra == "z"'),
            wheel("c"), wheel("e"), wheel("left-over"),
        )
    }  # fmt: skip
    names = [one.name for one in wheels.closure(found, {"a": frozenset()}, JETPACK_6.markers)]
    assert names == ["a", "b", "c", "e"]
    del found["e"]
    with pytest.raises(Unavailable, match="pip did not bring e"):
        wheels.closure(found, {"a": frozenset()}, JETPACK_6.markers)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("/usr/bin/python: No module named pip", "pip is not installed here.*ensurepip"),
        ("ModuleNotFoundError: No module named 'pip'", "pip is not installed here.*ensurepip"),
        (
            "WARNING: Retrying (…) NewConnectionError('…')\n"
            "ERROR: No matching distribution found for pip",
            "pip here reaches no index of packages.*PIP_FIND_LINKS",
        ),
        ("OSError: [Errno 28] No space left on device", "This machine has no room"),
        ("ERROR: Something else.", r"could not gather the wheels: Something else\."),
        ("", "it gave no reason"),
    ],
)
def test_why_pip_could_not(said: str, words: str) -> None:
    """Each becomes a sentence with what to do."""
    with pytest.raises(Unavailable, match=words):
        raise wheels.refusal(said, JETPACK_6)
