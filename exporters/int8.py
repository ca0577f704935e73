"""The form of int8 that a target runs right and fast: signs, weights' range, scale per channel.

Sources, read in November 2026:

* ONNX Runtime, "Quantize ONNX Models", Data type selection and FAQ
  (onnxruntime.ai/docs/performance/model-optimizations/quantization.html): on x86 with AVX2 or
  AVX-512, products of unsigned activations and signed weights go through VPMADDUBSW, whose 16-bit
  sums saturate. Weights of 7 bits (`reduce_range`) prevent that; per-channel weights need them.
  With VNNI, and on Arm, 8 bits are right. GPUs run signed activations and weights only.
* Its kernels (onnxruntime/core/mlas/lib/platform.cpp): on x86 all but the newest have products of
  unsigned activations only, and a file of signed ones is converted when it is loaded. With AVX-512
  the dot products of AVX-VNNI are not used.
* OpenVINO, "Saturation (overflow) Issue Workaround" (docs.openvino.ai, pot_saturation_issue):
  products saturate with SSE, AVX2 and AVX-512 without VNNI; weights of 7 bits are the remedy.
* TensorRT's developer guide, "Working with Quantized Types": zero points are 0, both are signed.

Why unsigned activations where they run: a range from 0 makes a Relu superfluous; a symmetric range
leaves the Relu as an op between two conversions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple


class Form(NamedTuple):
    """How a network is stored in int8. Weights are signed and symmetric in all forms.

    Attributes:
        unsigned: activations are unsigned, with a zero point per tensor; else signed, symmetric.
        reduced: weights have 7 bits, so that the sum of two products fits 16 bits.
        why: the property of the target that decided the form.
        per_channel: each output channel has its own scale.
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
    """The form for GPUs and Arm: activations and weights signed, weights of 8 bits."""
    return Form(unsigned=False, reduced=False, why=why)


def safe(why: str) -> Form:
    """The form that every target runs right; it costs one bit of the weights."""
    return Form(unsigned=False, reduced=True, why=why)


ANYWHERE = safe("any runtime")


def on_processor(device: Mapping[str, Any]) -> Form:
    """The form for a processor, by `architecture` and `extensions` of its device's facts."""
    extensions = frozenset(device.get("extensions") or ())
    if "asimd" in extensions or device.get("architecture") == "aarch64":  # each of those has it
        return signed("Arm")
    if not extensions & {"sse4_2", "avx", "avx2", "avx512f"}:
        return safe("processor unknown")
    if _sums_whole(extensions):
        return Form(unsigned=True, reduced=False, why="x86 with VNNI")
    return Form(unsigned=True, reduced=True, why="x86 without VNNI")


def _sums_whole(extensions: Collection[str]) -> bool:
    """Whether an x86 processor sums products of 8 bits in 32 bits, without saturation."""
    if "avx512f" in extensions:
        return "avx512_vnni" in extensions
    return "avx_vnni" in extensions
