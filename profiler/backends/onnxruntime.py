"""ONNX Runtime on a CPU or an NVIDIA GPU, with inputs and outputs bound once.

On a GPU the option `provider` says whose kernels: `cuda` (default) or `tensorrt`, where CUDA takes
what TensorRT leaves. A provider may be listed and not run: the runtime falls back to the CPU
without a word. So on a GPU one inference is profiled when the model is opened. The facts say how
many nodes ran where, and a model is refused if a computing node of it ran on the CPU.

The option `optimise=0` turns off what the runtime does to the graph before it runs (fusions, other
layouts, nodes left out): each node of the file runs as it stands.

The session is in `ort_session`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnprof.errors import Unavailable, UsageError
from nnprof.exporters.int8 import Form, on_processor, signed
from nnprof.profiler.backends.ort_bound import library
from nnprof.profiler.backends.ort_session import PROVIDERS, OrtSession
from nnprof.profiler.place import computes
from nnprof.types import Target, Workload


class OnnxRuntime:
    """The backend. Its kernels on a processor are those of MLAS."""

    library = "mlas"
    packages = ("onnxruntime",)
    on = ("cpu", "gpu")
    extra = "cpu"

    def int8(self, target: Target, device: Mapping[str, Any]) -> Form:
        """By the instructions of the processor; signed on a GPU."""
        return on_processor(device) if target.on == "cpu" else signed("GPU")

    def probe(self, target: Target | None = None) -> dict[str, Any]:  # noqa: ARG002  runs here
        """Version and providers compiled in."""
        package = library()
        return {
            "version": package.__version__,
            "providers": package.get_available_providers(),
        }

    def open(self, workload: Workload, target: Target) -> OrtSession:
        """A session on what was asked for."""
        computes.require_can("onnxruntime", self.on, target)
        _check(target, self.probe()["providers"])
        return OrtSession(workload, target)


def _check(target: Target, compiled: Sequence[str]) -> None:
    """Refuse an option or a provider that is not there."""
    unknown = set(target.options) - {"provider", "optimise"}
    optimise = target.options.get("optimise", "1")
    if optimise not in ("0", "1"):
        raise UsageError(
            f"Option optimise={optimise} is not known.",
            "Known: optimise=0 (the graph as it stands in the file), optimise=1 (default).",
        )
    asked = PROVIDERS.get((target.on, target.options.get("provider", "")))
    if unknown or asked is None:
        option = min(unknown) if unknown else f"provider={target.options['provider']}"
        raise UsageError(
            f"The onnxruntime backend has no option '{option}' on '{target.on}'.",
            "It has: optimise=0, and on gpu: provider=cuda, provider=tensorrt.",
        )
    missing = [name for name in asked if name not in compiled]
    if missing:
        raise Unavailable(
            f"The ONNX Runtime that is installed has no {missing[0]}; it has: "
            f"{', '.join(compiled)}.",
            "Install the build for GPUs in place of it: pip install onnxruntime-gpu",
        )


BACKEND = OnnxRuntime()
