"""Reads the measured tables of NNPROF_DATA/latency as ops: Jetson TX1, Jetson TX2, mobile GPUs.

Nothing of them is kept in this repository; without the folder there is nothing to read.
"""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from nnprof.profiler.costmodel import kernels
from nnprof.profiler.costmodel.rows import Rows, rows_of
from nnprof.profiler.costmodel.work import Work, gemm
from nnprof.types import Target

TX1_BACKENDS = ("nvidia-cudnn", "nvidia-cuda", "nvidia-fp16-cudnn", "nvidia-fp16-cuda", "cpu")
TX2_WIDTHS = {"12.50%": 256, "25%": 512, "50%": 1024, "100%": 2048}
# GPU of each phone.
PHONES = {"pixel4": "Adreno 640", "s10": "Mali-G76", "mi8se": "Adreno 616",
          "a03s": "PowerVR GE8320", "iphone7": "Apple A10", "iphonexs": "Apple A12"}  # fmt: skip


class OpTable(NamedTuple):
    """Measured ops, and the network and batch that each is part of; `noise` of the repeats."""

    rows: Rows
    batches: np.ndarray
    noise: float


def folder() -> Path | None:
    """Where the tables are; None where they are not."""
    root = os.environ.get("NNPROF_DATA")
    found = Path(root, "latency") if root else None
    return found if found and found.is_dir() else None


def tx1(at: Path, backend: str) -> OpTable:
    """Ops of four networks in Caffe on a Jetson TX1; data layers and dropout left out."""
    table = pd.read_csv(at / "tx1_ckcaffe_ops.csv.gz")
    table = table[(table.lib == backend) & table.type.notna() & (table.type != "Dropout")]
    size = 2 if "fp16" in backend else 4
    works = [_caffe(row, size) for row in table.itertuples()]
    spread = (table.ms_max - table.ms_min) / table.ms_median
    rows = rows_of(works, table.ms_median * 1e-3, table.net)
    return OpTable(rows, table.B.to_numpy(), float(spread.median()))


def _caffe(row: object, size: int) -> Work:
    kind, batch = row.type, row.B
    if kind == "Convolution":
        return square_conv(batch, row.Ci, row.H, row.Co, row.Ho, row.k, row.s, row.g, size)
    if kind == "InnerProduct":
        return scaled(gemm(row.Ci * row.H**2, row.Co), batch, size)
    taken, made = batch * row.Ci * row.H**2, batch * row.Co * row.Ho**2
    taps = 1.0
    if kind == "Pooling":  # without a kernel: a pool over the whole image
        taps = float((row.k if row.k > 0 else row.H) ** 2)
    return Work(
        group=kind.lower(), op=kind, batch=batch, c_in=row.Ci, h_in=row.H, w_in=row.H,
        c_out=row.Co, h_out=row.Ho, w_out=row.Ho, window=taps, flops=made * taps,
        bytes_in=size * (made if kind == "Concat" else taken), bytes_out=size * made,
        elements_out=made,
    )  # fmt: skip


def square_conv(
    batch: int, c_in: int, side: int, c_out: int, made: int, kernel: int, stride: int, groups: int,
    size: int = 4,
) -> Work:  # fmt: skip
    """A convolution of square images with square kernels."""
    groups = int(groups) or 1
    name = "conv-depthwise" if groups == c_in > 1 else "conv"
    m, n, k = batch * made**2, c_out / groups, c_in / groups * kernel**2
    return Work(
        group=name, op="Conv", batch=batch, m=m, n=n, k=k, products=groups, groups=groups,
        c_in=c_in, h_in=side, w_in=side, c_out=c_out, h_out=made, w_out=made, window=kernel**2,
        stride=stride, flops=2 * m * n * k * groups, bytes_in=size * batch * c_in * side**2,
        bytes_out=size * batch * c_out * made**2, bytes_weights=size * c_out * k,
        elements_out=batch * c_out * made**2,
    )  # fmt: skip


def scaled(one: Work, batch: int, size: int) -> Work:
    """An op of one tile in 4-byte values at a batch, in values of that size."""
    return one._replace(
        batch=batch, m=one.m * batch, flops=one.flops * batch,
        bytes_in=one.bytes_in * batch * size / 4, bytes_out=one.bytes_out * batch * size / 4,
        bytes_weights=one.bytes_weights * size / 4, elements_out=one.elements_out * batch,
    )  # fmt: skip


class NetworkTable(NamedTuple):
    """Whole networks: their ops, seconds per inference, name and batch.

    Networks of one name differ in the batch only.
    """

    works: tuple[tuple[Work, ...], ...]
    seconds: np.ndarray
    names: np.ndarray
    batches: np.ndarray

    def only(self, chosen: np.ndarray) -> NetworkTable:
        """Those networks."""
        works = tuple(ops for ops, keep in zip(self.works, chosen, strict=True) if keep)
        return NetworkTable(works, self.seconds[chosen], self.names[chosen], self.batches[chosen])


def tx2(at: Path) -> dict[str, NetworkTable]:
    """MLPs 784-W-W-W-10 on a Jetson TX2, by precision and power mode; seconds from fps-comp."""
    table = pd.read_csv(at / "qutibench_edge.csv")
    table = table[(table.NN_Topology == "MLP") & (table.HWType == "TX2")]
    table = table.rename(columns={"batch/thread/stream": "batch", "fps-comp": "fps"})
    found = {}
    for (precision, mode), part in table.groupby(["Datatype", "Op mode"]):
        size = 2 if precision == "FP16" else 4
        widths = np.array([TX2_WIDTHS[text.strip()] for text in part.PruningFactor])
        batches = part.batch.astype(int).to_numpy()
        works = tuple(
            tuple(
                scaled(gemm(inner, made), int(batch), size)
                for inner, made in ((784, width), (width, width), (width, width), (width, 10))
            )
            for width, batch in zip(widths, batches, strict=True)
        )
        seconds = batches / part.fps.astype(float).to_numpy()
        found[f"{precision} {mode}"] = NetworkTable(works, seconds, widths.astype(str), batches)
    return found


def phone(at: Path, name: str, *, by_kernel: bool = True) -> tuple[Rows, np.ndarray]:
    """Convolutions of 102 networks on a phone's GPU, and the name of the kernel that ran each.

    `by_kernel`: in groups by the kernel that the rules of TensorFlow Lite's delegate tell.
    """
    table = pd.read_csv(at / "mobilegpu_qed_tflite_cnn_ops_gpu.csv.gz")
    table = table[table.operation == "CONV_2D"]
    table = table[table[f"{name}|gpu|float"] > 0]
    works = [_tflite(ast.literal_eval(text)) for text in table.feature]
    if by_kernel:
        lowering = kernels.lowering_of(Target(backend="tflite-gpu", device=PHONES[name]))
        works = [kernels.picked(one, lowering) for one in works]
    rows = rows_of(works, table[f"{name}|gpu|float"] * 1e-6, table.model)
    told = table[f"{name}|gpu|kernel"].astype(str).str.replace(r"_\d+.*$", "", regex=True)
    return rows, told.to_numpy()


def _tflite(text: dict[str, str | int]) -> Work:
    """One convolution; the delegate computes in 2-byte values by default."""
    number = {key: int(value) for key, value in text.items() if str(value).isdigit()}
    return square_conv(
        1, number["Input_channel"], number["Input_shape"], number["Filter"],
        number["Output_shape"], number["Kernel"], number["Stride"], number["Group"], 2,
    )  # fmt: skip
