"""Which kernel a library picks, by the rules of its source."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnprof.profiler.costmodel import assemble, gather, graphs, kernels, work
from nnprof.profiler.costmodel.predict import predict
from nnprof.profiler.costmodel.work import Work
from nnprof.profiler.importers.importer import Told
from nnprof.profiler.importers.runs import import_run
from nnprof.types import Target

MALI, ADRENO = kernels.RULES


def conv(c_in: int, c_out: int, side: int, kernel: int = 3, stride: int = 1) -> Work:
    """A convolution of one square image."""
    made = (side - kernel) // stride + 1
    return work.conv((c_in, side, side), (c_out, made, made), kernel, stride)


@pytest.mark.parametrize(
    ("one", "mali", "adreno"),
    [
        (conv(64, 64, 26), "conv-winograd", "conv"),  # 36 tiles of 4×4
        (conv(61, 61, 26), "conv-winograd", "conv"),  # slices of four are rounded up
        (conv(60, 64, 26), "conv", "conv"),
        (conv(64, 64, 22), "conv", "conv"),  # 25 tiles
        (conv(128, 128, 50), "conv-winograd", "conv-winograd"),
        (conv(128, 128, 42), "conv-winograd", "conv"),  # 100 tiles
        (conv(128, 124, 50), "conv-winograd", "conv"),
        (conv(64, 64, 27, stride=2), "conv", "conv"),
        (conv(64, 64, 26, kernel=5), "conv", "conv"),
        (conv(512, 1000, 1, kernel=1), "gemm", "gemm"),
        (conv(512, 1000, 2, kernel=1), "conv", "conv"),
    ],
)
def test_tflite_picks_by_channels_and_tiles(one: Work, mali: str, adreno: str) -> None:
    """Winograd from 64 channels and 32 tiles of 4×4, on Adreno from 128 and 128."""
    assert kernels.picked(one, MALI).group == mali
    assert kernels.picked(one, ADRENO).group == adreno


@given(st.integers(1, 200), st.integers(1, 200), st.integers(3, 60))
def test_tflite_fills_slices(c_in: int, c_out: int, side: int) -> None:
    """Channels are multiples of four, never fewer, and everything counts with them."""
    before = conv(c_in, c_out, side)
    after = kernels.picked(before, MALI)
    for was, now in ((before.c_in, after.c_in), (before.c_out, after.c_out)):
        assert now % 4 == 0
        assert 0 <= now - was < 4
    assert after.flops == pytest.approx(2 * after.m * after.n * after.k)
    assert after.bytes_in == pytest.approx(4 * after.c_in * side**2)
    assert after.bytes_out == pytest.approx(4 * after.elements_out)
    assert after.bytes_weights == pytest.approx(4 * after.n * after.k)


def test_other_runtimes_keep_their_groups() -> None:
    """Rules are one library's; a network in notation is lowered by them only for it."""
    assert kernels.picked(conv(64, 64, 26), "fused") == conv(64, 64, 26)
    assert kernels.lowering_of(Target(backend="onnxruntime")) == ""
    assert kernels.lowering_of(Target(backend="tflite-gpu", device="Mali-G76")) == MALI
    assert kernels.lowering_of(Target(backend="tflite-gpu", device="Adreno 640")) == ADRENO
    assert kernels.library_of(Target(backend="onnxruntime", device="cpu")) == "mlas"
    assert kernels.library_of(Target(backend="onnxruntime", device="cuda")) == ""


def test_times_of_a_phone_become_a_model_by_kernel(tmp_path: Path) -> None:
    """An imported table of the delegate's ops is fitted by kernel, and networks asked the same."""
    lines = ["network,batch,op,Cin,H,Cout,Hout,k,stride,time_us"]
    for index, depth in enumerate(range(32, 212, 12)):
        for side in (10, 20, 30, 40):
            one = kernels.picked(conv(depth, depth, side), MALI)
            rate = 4e-4 if one.group == "conv" else 1e-4
            time_us = 30 + rate * one.flops / 1e3
            lines.append(f"net{index % 5},1,Conv,{depth},{side},{depth},{side - 2},3,1,{time_us}")
    table = tmp_path / "phone.csv"
    table.write_text("\n".join(lines))
    told = Told(device="Mali-G76", runtime="tflite-gpu", precision="fp16")
    measured = gather.gathered([import_run([table], told)], ())
    made = assemble.model(measured)
    assert made.lowering == MALI
    assert made.value_bytes == 2
    assert {group.name for group in made.groups} == {"conv", "conv-winograd", "reshape"}
    for notation, group in (
        ("128x32x32 conv128k3", "conv-winograd"),
        ("48x32x32 conv48k3", "conv"),
    ):
        ops = graphs.of_text(notation, made, [1])[1].works[1]
        assert [(op.group, op.bytes_out) for op in ops] == [(group, 2 * ops[0].elements_out)]
        rate = 4e-4 if group == "conv" else 1e-4
        expected = 30e-6 + rate * ops[0].flops * 1e-9
        assert predict(made, ops, 1).seconds == pytest.approx(expected, rel=0.1)
