"""The program trtexec: where it is, its version, and the flags that each version takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from subprocess import CompletedProcess
from typing import NoReturn

from nnprof.errors import BadFile, Unavailable, UsageError, WorkerCrashed
from nnprof.exporters import tensorrt as engines
from nnprof.profiler.importers.trtexec_log import ERROR, Version, version_of
from nnprof.profiler.place import shells
from nnprof.profiler.ports import Shell
from nnprof.types import Model

PLACES = ("trtexec", "/usr/src/tensorrt/bin/trtexec")  # on PATH; where JetPack puts it
# Nothing here may wait for ever; who started the worker has the limit that matters.
LONG_S = 3600.0
FACT = re.compile(r"\[I\] (Selected Device|Compute Capability): (.*\S)")


def pinned(version: Version, *, cuda_graph: bool, transfers: bool) -> list[str]:
    """Flags that decide what a latency is. All are given, because the defaults changed in 11."""
    flags = ["--exposeDMA"]  # the one way to have an inference waited for before the next
    if version >= (11,):
        flags += [] if cuda_graph else ["--noCudaGraph"]
        flags += ["--includeDataTransfers"] if transfers else []
        return flags  # spin wait is on, unless --noSpinWait
    flags += ["--useSpinWait"]
    flags += ["--useCudaGraph"] if cuda_graph else []
    flags += [] if transfers else ["--noDataTransfers"]
    return flags


def build_flags(version: Version, precision: str, *, dla_core: int | None = None) -> list[str]:
    """Flags of a build without an inference: the precision, and all details of each layer.

    A network for a DLA is weakly typed: the types inside are the DLA's.
    """
    flags = ["--profilingVerbosity=detailed"]
    flags.append("--skipInference" if version >= (8, 6) else "--buildOnly")
    if dla_core is not None:
        flags += [f"--useDLACore={dla_core}", "--allowGPUFallback"]
    if version < engines.STRONGLY_TYPED or dla_core is not None:
        return flags + [f"--{name.lower()}" for name in engines.WEAK_FLAGS[precision]]
    # 11 knows nothing else, and calls the flag deprecated.
    return flags if version >= (11,) else [*flags, "--stronglyTyped"]


def require_dla(version: Version, precision: str) -> None:
    """Refuse a version without DLA, and a precision that a DLA does not take from an ONNX file.

    10.7 is the last version with one ("Working with DLA" of its documentation at 11.3). int8 files
    of ours are QDQ, which the DLA of these versions does not take.

    Raises:
        Unavailable: the version.
        UsageError: the precision.
    """
    if version >= (10, 8):
        raise Unavailable(
            f"TensorRT {'.'.join(map(str, version))} has no DLA; 10.7 was the last that had.",
            "Ask for --on gpu; or use JetPack 6, which has TensorRT 10.3.",
        )
    if precision != "fp16":
        raise UsageError(
            f"A DLA takes networks in fp16 from us, and this one is {precision}.",
            "Ask for --precision fp16.",
        )


def shape_spec(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """`tiles:16x1x28x28,…` for the inputs that have a free dimension; "" where none has one."""
    parts = []
    for tensor in model.inputs:
        if any(isinstance(side, str) for side in tensor.shape):
            sides = "x".join(map(str, shapes[tensor.name]))
            parts.append(f"{quoted(tensor.name)}:{sides}")
    return ",".join(parts)


def quoted(name: str) -> str:
    """A name as trtexec takes it apart: at the last colon, or between quotes."""
    return f"'{name}'" if ":" in name else name


class Program:
    """trtexec on a machine: its path, its version, and its last words about the GPU."""

    def __init__(self, shell: Shell, path: str, version: Version) -> None:
        self._shell, self.path, self.version = shell, path, version
        self.gpu: dict[str, str] = {}

    def run(self, flags: Sequence[str], model: Model) -> None:
        """Run it to its good end.

        Raises:
            OutOfMemory, BadFile: it refuses the model.
            Unavailable: there is no GPU, or it does not know a flag.
            WorkerCrashed: it ended by a signal.
        """
        done = self._shell.run([self.path, *flags], timeout_s=LONG_S)
        said = done.stdout.decode(errors="replace")
        self.gpu |= dict(FACT.findall(said))
        if done.returncode:
            self._fail(done, said, model)

    def _fail(self, done: CompletedProcess[bytes], said: str, model: Model) -> NoReturn:
        errors = ERROR.findall(done.stderr.decode(errors="replace") + said)
        text = " ".join(errors).lower()
        code = shells.plain_code(done.returncode)
        if code < 0:
            raise WorkerCrashed(
                f"trtexec ended with {shells.ended_with(code)}.",
                "Try the same cell alone; if it crashes again, TensorRT has a bug with this model.",
            )
        if "no cuda-capable device" in text or "cannot find any available devices" in text:
            raise Unavailable("trtexec finds no GPU.", "Is the driver loaded, and may you use it?")
        if "serialization" in text or "deserializ" in text:
            raise BadFile(
                f"trtexec cannot read the engine of {model.name}: it was built by another "
                "TensorRT, or for another GPU.",
                f"Delete the engines in {self._shell.path('')}; they will be built again.",
            )
        if "unknown option" in text:
            dotted = ".".join(map(str, self.version))
            raise Unavailable(
                f"trtexec {dotted} says: {errors[0]}.", "nnprof knows versions 8.2 to 11."
            )
        raise engines.refused(model, errors)


def find(shell: Shell, host: str, path: str | None) -> Program:
    """The program at a place.

    Raises:
        Unavailable: it is not there.
    """
    places = (path,) if path else PLACES
    for place in places:
        done = shell.run([place, "--help"], timeout_s=60)
        version = version_of(done.stdout.decode(errors="replace"))
        if done.returncode == 0 and version:
            return Program(shell, place, version)
    where = "here" if host == "local" else f"on {host}"
    raise Unavailable(
        f"trtexec is not {where} (looked for: {', '.join(places)}).",
        "On a Jetson: sudo apt install libnvinfer-bin, or measure its processors (--on cpu). "
        "Elsewhere: --option trtexec=/PATH/trtexec",
    )
