"""Which form of int8 a target runs right, and fast: signs, range of the weights, per channel.

Sources, read in November 2026:

* ONNX Runtime, "Quantize ONNX Models", Data type selection and FAQ
  (onnxruntime.ai/docs/performance/model-optimizations/quantization.html): on x86 with AVX2 or
  AVX-512, products of unsigned activations and signed weights go through VPMADDUBSW, whose 16-bit
  sums saturate; weights of 7 bits (`reduce_range`) are made for that, and needed with per-channel
  weights; not with VNNI, nor on Arm. GPUs run signed activations and weights only.
* Its kernels (onnxruntime/core/mlas/lib/platform.cpp): on x86 all but the newest have products of
  unsigned activations only, and a file of signed ones is converted when it is loaded. With AVX-512
  the dot products of AVX-VNNI are not used.
* OpenVINO, "Saturation (overflow) Issue Workaround" (docs.openvino.ai, pot_saturation_issue): the
  same of SSE, AVX2 and AVX-512 without VNNI; weights of 7 bits are the remedy.
* TensorRT's developer guide, "Working with Quantized Types": zero points are 0, both are signed.

Why unsigned activations where they run: a range from 0 takes a Relu into itself, where a symmetric
one leaves it as an op between two conversions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple


class Form(NamedTuple):
    """How a network is in int8. Weights are signed and symmetric in all forms.

    Attributes:
        unsigned: whether activations are unsigned with a zero point of their own; else signed and
            symmetric.
        reduced: whether weights have 7 bits, so that no two products overflow 16.
        per_channel: whether each channel out has a scale of its own.
        why: what of the target decided it.
    """

    unsigned: bool
    reduced: bool
    why: str
    per_channel: bool = True

    def __str__(self) -> str:
        """`U8S8 per channel, 7-bit weights (x86 without VNNI)`."""
        signs = "U8S8" if self.unsigned else "S8S8"
        scales = "per channel" if self.per_channel else "per tensor"
        return f"{signs} {scales}, {7 if self.reduced else 8}-bit weights ({self.why})"


def signed(why: str) -> Form:
    """What GPUs and Arm run: both signed, in the whole range."""
    return Form(unsigned=False, reduced=False, why=why)


def safe(why: str) -> Form:
    """What every target runs, and none runs wrong, at the cost of a bit of the weights."""
    return Form(unsigned=False, reduced=True, why=why)


ANYWHERE = safe("any runtime")


def on_processor(device: Mapping[str, Any]) -> Form:
    """The form for a processor's own instructions, by the facts of the device that has it."""
    extensions = frozenset(device.get("extensions") or ())
    if "asimd" in extensions:
        return signed("Arm")
    if not extensions & {"sse4_2", "avx", "avx2", "avx512f"}:
        return safe("processor unknown")
    if _sums_whole(extensions):
        return Form(unsigned=True, reduced=False, why="x86 with VNNI")
    return Form(unsigned=True, reduced=True, why="x86 without VNNI")


def _sums_whole(extensions: Collection[str]) -> bool:
    """Whether an x86 processor sums products of 8 bits in 32."""
    if "avx512f" in extensions:
        return "avx512_vnni" in extensions
    return "avx_vnni" in extensions
