"""The commands that people type most start fast: they load no library they do not use."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

RUN = Path(__file__).parent / "data" / "run-v1.json"
HEAVY = ("torch", "onnxruntime", "pandas", "scipy", "sklearn", "onnx")

PROGRAM = """
import sys
from nnprof.cli.main import app
app(sys.argv[1:], standalone_mode=False)
sys.stderr.write(" ".join(name for name in {heavy!r} if name in sys.modules))
"""


# Imports every module of ours where nothing is installed but what nnprof requires.
BARE = """
import importlib, pkgutil, sys
from nnprof.errors import NnprofError

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

for name in {absent!r} & set(sys.modules):
    del sys.modules[name]
sys.meta_path.insert(0, Absent())
for part in ("nnprof", "nnprof.networks", "nnprof.exporters", "nnprof.profiler"):
    paths = importlib.import_module(part).__path__
    for module in pkgutil.walk_packages(paths, part + "."):
        try:
            importlib.import_module(module.name)
        except NnprofError:
            pass
        except ImportError as error:
            print(module.name, error)
"""
INSIDE_DASK = "nnprof.profiler.fleet.there No module named 'distributed'\n"  # its workers run it


def _required(name: str, known: set[str]) -> set[str]:
    """Distributions that this one requires without any extra, and theirs in turn; `known` grows."""
    known.add(canonicalize_name(name))
    for line in metadata.requires(name) or ():
        wanted = Requirement(line)
        here = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if here and canonicalize_name(wanted.name) not in known:
            _required(wanted.name, known)
    return known


def test_without_extras_every_module_is_there_or_says_what_to_install() -> None:
    """No import of ours ends in Python's own "No module named …", whatever is left out."""
    ours = metadata.packages_distributions()
    required = _required(ours["nnprof"][0], set())
    absent = {
        name
        for name, parts in ours.items()
        if not {canonicalize_name(part) for part in parts} & required
    }
    assert {"torch", "onnxruntime", "matplotlib"} & absent
    command = [sys.executable, "-c", BARE.format(absent=absent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout in ("", INSIDE_DASK)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["bench", "--help"], ["show", str(RUN)]], ids=lambda words: words[0]
)
def test_light_commands_load_nothing_heavy(arguments: list[str]) -> None:
    """Help and `show` load neither a runtime nor a data library."""
    program = PROGRAM.format(heavy=HEAVY)
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert done.stderr == ""


def test_show_loads_no_numpy() -> None:
    """`show` of a Run without a budget or images computes with Python's own numbers."""
    program = PROGRAM.format(heavy=("numpy",))
    command = [sys.executable, "-c", program, "show", str(RUN)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_nnprof_loads_nothing_heavy() -> None:
    """`import nnprof` costs nothing until a name is used."""
    program = f"import sys, nnprof; print([n for n in {HEAVY!r} + ('numpy',) if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_public_names_exist() -> None:
    """Every name in `nnprof.__all__` can be had, and another one is an AttributeError."""
    import nnprof

    for name in nnprof.__all__:
        assert getattr(nnprof, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = nnprof.nonsense
