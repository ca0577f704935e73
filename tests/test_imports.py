"""The commands that people type most start fast: they load no library they do not use."""

import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "data" / "run-v1.json"
HEAVY = ("torch", "onnxruntime", "pandas", "scipy", "sklearn", "onnx")

PROGRAM = """
import sys
from nnprof.cli.main import app
app(sys.argv[1:], standalone_mode=False)
sys.stderr.write(" ".join(name for name in {heavy!r} if name in sys.modules))
"""


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
