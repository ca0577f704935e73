"""The module `MNN`, and what it says of the processor."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from typing import Any, NamedTuple

from nnprof.exporters import mnn as exported
from nnprof.profiler.backends.refusals import heard

_EXTENSIONS = re.compile(r"(\w+):\s*([01])")


class Library(NamedTuple):
    """The module, and what it says of the processor on stdout when it is loaded, once."""

    module: Any
    extensions: dict[str, bool]


@cache
def library() -> Library:
    """Both, loaded once.

    Raises:
        Unavailable: it is not installed.
    """
    exported.version()
    with heard(1) as said:
        import MNN
    text = "".join(said) or _said_elsewhere()  # a worker has imported it, to time that
    return Library(MNN, {name: flag == "1" for name, flag in _EXTENSIONS.findall(text)})


def _said_elsewhere() -> str:
    argv = [sys.executable, "-c", "import MNN"]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
