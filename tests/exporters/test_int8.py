"""The form of int8 by the facts of a processor."""

from __future__ import annotations

import pytest

from nnprof.exporters.int8 import ANYWHERE, on_processor


@pytest.mark.parametrize(
    ("extensions", "words"),
    [
        (["sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni"], "U8S8 8 x86 with VNNI"),
        (["sse4_2", "avx", "avx2", "fma", "avx_vnni"], "U8S8 8 x86 with VNNI"),
        # ONNX Runtime takes its kernels of AVX-512 there, which have no dot products.
        (["sse4_2", "avx2", "avx512f", "avx_vnni"], "U8S8 7 x86 without VNNI"),
        (["sse4_2", "avx", "avx2", "fma", "avx512f"], "U8S8 7 x86 without VNNI"),
        (["sse4_2", "avx", "avx2", "fma"], "U8S8 7 x86 without VNNI"),
        (["sse4_2"], "U8S8 7 x86 without VNNI"),
        (["asimd"], "S8S8 8 Arm"),
        (["asimd", "asimddp", "i8mm", "sve"], "S8S8 8 Arm"),
        ([], "S8S8 7 processor unknown"),
        (["v", "zvl128b"], "S8S8 7 processor unknown"),
    ],
)
def test_the_form_follows_from_the_instructions(extensions: list[str], words: str) -> None:
    """Unsigned activations on x86, 7 bits where sums of 16 bits saturate or nobody knows."""
    form = on_processor({"extensions": extensions})
    signs, bits, why = words.split(" ", 2)
    assert str(form) == f"{signs} per channel, {bits}-bit weights ({why})"


def test_unknown_facts_give_the_form_that_is_right_anywhere() -> None:
    """A device that does not say what it is gets signed values of which no sum overflows."""
    for facts in ({}, {"extensions": None}):
        form = on_processor(facts)
        assert (form.unsigned, form.reduced) == (ANYWHERE.unsigned, ANYWHERE.reduced)
