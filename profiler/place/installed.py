"""The Python of a place and what is installed for it, asked by one short script, here or far.

Nothing of ours is needed there: the script reads the names of installed distributions and imports
nothing that could fail to load.
"""

from __future__ import annotations

import msgspec

from nnprof.errors import CellError
from nnprof.profiler.ports import Shell

_LIMIT_S = 60.0
# For any Python from 3.8 on. A distribution's name is its own; '-' and '_' mean the same.
_SCRIPT = """
import glob, importlib.metadata as meta, importlib.util as util, json, os, sys
wanted = ("nnprof-embedded", "onnxruntime", "onnxruntime-gpu", "tensorrt")
found = {}
for one in meta.distributions():
    name = (one.metadata["Name"] or "").lower().replace("_", "-")
    if name in wanted:
        found.setdefault(name, one.version)
spec = util.find_spec("onnxruntime")
folder = (list(spec.submodule_search_locations or []) or [""])[0] if spec else ""
parts = glob.glob(os.path.join(folder, "capi", "libonnxruntime_providers_*.so")) if folder else []
names = [os.path.basename(p)[len("libonnxruntime_providers_"):-3] for p in parts]
print(json.dumps({"python": "%d.%d" % sys.version_info[:2], "executable": sys.executable,
    "debug": hasattr(sys, "gettotalrefcount"), "packages": found,
    "providers": sorted(names) if folder else None}))
"""
_ORT, _ORT_GPU = "onnxruntime", "onnxruntime-gpu"  # distributions


def build_for(*, gpu: bool) -> str:
    """The distribution of ONNX Runtime that runs on a GPU, or on processors alone."""
    return _ORT_GPU if gpu else _ORT


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """A Python, and what matters of what is installed for it.

    Attributes:
        python: its version, such as "3.10".
        executable: its path there.
        debug: whether it is a debug build.
        packages: versions by name, of nnprof, ONNX Runtime's builds and TensorRT's wheel.
        providers: libraries of ONNX Runtime's own providers, such as "cuda"; None without it.
    """

    python: str
    executable: str
    debug: bool = False
    packages: dict[str, str] = {}
    providers: tuple[str, ...] | None = None

    @property
    def both_builds(self) -> bool:
        """Whether ONNX Runtime is installed twice, where one overwrote files of the other."""
        return _ORT in self.packages and _ORT_GPU in self.packages

    @property
    def runtime(self) -> str | None:
        """The version of ONNX Runtime, whichever build; None without it."""
        return self.packages.get(_ORT_GPU) or self.packages.get(_ORT)

    @property
    def without_gpu(self) -> bool:
        """Whether ONNX Runtime is there, and no library of it for NVIDIA's GPUs."""
        return self.providers is not None and "cuda" not in self.providers

    @property
    def tensorrt(self) -> str | None:
        """The version of TensorRT's wheel; None without it."""
        return self.packages.get("tensorrt")


def ask(shell: Shell, python: str) -> Installed | str:
    """What is installed for a Python; a sentence where it does not tell."""
    try:
        done = shell.run([python, "-c", _SCRIPT], timeout_s=_LIMIT_S)
    except CellError as error:
        return error.reason
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return f"{python}: {said[-1] if said else 'it gave no reason'}"
    try:
        return msgspec.json.decode(done.stdout.strip().rpartition(b"\n")[2], type=Installed)
    except msgspec.MsgspecError:
        return f"{python} answered something else"
