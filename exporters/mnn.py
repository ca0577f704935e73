"""ONNX files → MNN files, by the converter inside MNN's own wheel, kept in the cache.

The converter runs as a process of its own: it prints to stdout, tells a refusal in words only, and
may end the process that it is in. It is called as the wheel's own extension module `_tools`, not
as the program `mnnconvert`: that program first installs a package of the vendor's by whichever pip
is on the path, and sends a machine's id and the size of the model to a server (MNN 3.6.1,
`MNN/tools/utils/log.py`).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from nnprof.errors import BadFile, Unavailable
from nnprof.exporters import cache, conversions, identity
from nnprof.types import Model

_PROGRAM = "import sys, _tools; _tools.mnnconvert(sys.argv)"
EIGHT_BITS = ("--weightQuantBits", "8")  # weights are kept in 8 bits, a scale per channel
_OPTIONS = ("-f", "ONNX", "--bizCode", "nnprof")
_REFUSES = ("Not Support", "rror", "ailed")  # words of the lines that say why, the best first
_SUFFIX = ".mnn"


def version() -> str:
    """Of the installed package.

    Raises:
        Unavailable: it is not installed.
    """
    found = cache.installed("MNN")
    if not found:
        raise Unavailable("MNN is not installed.", "Try: pip install 'nnprof-embedded[mnn]'")
    return found


def converter() -> dict[str, str]:
    """What converts, with its version.

    Raises:
        Unavailable: it is not installed here.
    """
    if not cache.installed("MNN"):
        raise Unavailable(
            "MNN, whose converter makes its files, is not installed here.",
            "Try: pip install 'nnprof-embedded[mnn]'",
        )
    return {"MNN": version()}


def converted(model: Model, extra: tuple[str, ...] = ()) -> conversions.Conversion:
    """The model as a file of MNN, made once for each version of MNN and each choice.

    Args:
        model: to convert.
        extra: further arguments of the converter, such as `EIGHT_BITS`.

    Raises:
        BadFile: the converter refuses the model.
        Unavailable: MNN is not installed here.
    """
    asked = (*_OPTIONS, *extra)
    return conversions.made(
        model, asked, converter(), (_SUFFIX,), lambda folder: (_convert(model, extra, folder),)
    )


def _convert(model: Model, extra: tuple[str, ...], folder: Path) -> bytes:
    source, made = Path(model.path), folder / "model.mnn"
    if identity.files_beside(source):  # which it would look for where they may not be
        whole = identity.whole(source).SerializeToString()
        source = folder / "model.onnx"
        source.write_bytes(whole)
    argv = [*_OPTIONS, *extra, "--modelFile", str(source), "--MNNModel", str(made)]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *argv],
        cwd=folder,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode or not made.is_file() or not made.stat().st_size:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise _refused(model, said, done.returncode)
    return made.read_bytes()


def _refused(model: Model, said: str, code: int) -> BadFile:
    if model.precision == "int8":
        return BadFile(
            f"MNN {version()} cannot convert {model.name} in int8: its converter does not read "
            "what ONNX calls QDQ.",
            "Ask for fp32 with --option weights=int8: MNN's own weights of 8 bits.",
        )
    return BadFile(
        f"MNN's converter refuses {model.name}: {_why(said, code)}.",
        f"Try another --backend, or another version of MNN than {version()}.",
    )


def _why(said: str, code: int) -> str:
    """`[12:00:00] :220: These Op Not Support: ONNX::Foo` → its words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for word in _REFUSES:
        for line in lines:
            if word in line:
                return line.rpartition("]")[2].lstrip(" :0123456789").rstrip(". ")
    return f"it ended with code {code}"
