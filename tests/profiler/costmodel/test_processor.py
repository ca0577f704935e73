"""What features know of a processor, from its facts and from measured streams."""

from __future__ import annotations

import pytest

from nnprof.profiler.costmodel import features, processor
from nnprof.profiler.costmodel.processor import Processor

ZEN3 = {
    "architecture": "x86_64",
    "extensions": ["sse4_2", "avx", "avx2", "fma"],
    "caches": {"L1d": "32K", "L1i": "32K", "L2": "512K", "L3": "32768K"},
}


@pytest.mark.parametrize(
    ("extensions", "architecture", "steps"),
    [
        (["avx2", "fma", "avx512f"], "x86_64", "avx512f"),
        (["avx2", "fma"], "x86_64", "fma3"),
        (["avx"], "x86_64", ""),
        (["asimd", "asimddp"], "aarch64", "neon"),
        ([], "aarch64", "neon"),
    ],
)
def test_steps_are_those_of_the_instruction_set(
    extensions: list[str], architecture: str, steps: str
) -> None:
    """An x86 without fused products runs code that nobody described."""
    assert processor.steps_of(extensions, architecture) == steps


def test_code_of_another_library_is_not_known() -> None:
    """The vectors and the caches are the processor's, the steps through them the library's."""
    known, other = processor.of_device(ZEN3, "mlas"), processor.of_device(ZEN3, "")
    assert known == Processor("fma3", "mlas", (512 << 10, 32 << 20))
    assert other == Processor("fma3", "", (512 << 10, 32 << 20))


def test_a_cache_ends_where_streams_become_slower() -> None:
    """A shared cache that a stream of its size no longer fits is smaller than the facts say."""
    streams = ((32 << 10, 33e9), (512 << 10, 61e9), (4 << 20, 60e9), (32 << 20, 12.6e9),
               (256 << 20, 11.7e9), (1 << 30, 13e9))  # fmt: skip
    found = processor.of_device(ZEN3, "mlas", streams)
    assert found.caches == (512 << 10, 16 << 20)
    assert found.beyond_s[0] == 0
    assert found.beyond_s[1] == pytest.approx(1 / 12.6e9 - 1 / 60e9)


def test_a_cache_of_the_facts_is_where_it_lies_between() -> None:
    """Between two sizes of a stream the facts tell where the step is."""
    facts = {"caches": {"L2": "2048K", "L3": "266240K"}}
    streams = ((1 << 19, 59e9), (1 << 22, 27e9), (1 << 25, 27e9), (1 << 28, 12.7e9))
    found = processor.of_device(facts, "", streams)
    assert found.caches == (2 << 20, 128 << 20)


def test_features_of_every_level_exist() -> None:
    """Whatever the caches are, sets can name their features; also where nothing is known."""
    for caches in ((), (1 << 18,), (1 << 19, 1 << 24), (1 << 21, 1 << 23, 1 << 29)):
        for size in Processor("", "", caches).levels():
            assert f"weights_missed_{processor.words(size)}" in features.FEATURES
            assert f"bytes_moved_past_{processor.words(size)}" in features.FEATURES


def test_a_feature_of_another_processor_is_said_of_this_one() -> None:
    """Steps by the instruction set, caches by their place; what speaks of neither stays."""
    was, now = (
        Processor("avx512f", "mlas", (2 << 20, 128 << 20)),
        Processor("fma3", "mlas", (512 << 10,)),
    )
    says = {
        name: processor.translated(name, was, now)
        for name in ("gemm_steps_avx512f", "weights_missed_1m", "bytes_moved_past_128m", "launch")
    }
    assert says == {
        "gemm_steps_avx512f": "gemm_steps_fma3",
        "weights_missed_1m": "weights_missed_256k",
        "bytes_moved_past_128m": "bytes_moved_past_1m",
        "launch": "launch",
    }
