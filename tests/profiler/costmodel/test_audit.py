"""What counts as the peak of a device: not what one op claims that was timed wrong."""

from __future__ import annotations

import numpy as np
import pytest

from nnprof.profiler.costmodel import audit, work
from nnprof.profiler.costmodel.gather import Measured
from nnprof.profiler.costmodel.rows import rows_of
from nnprof.profiler.place.limits import Roofline
from nnprof.types import Target

ROOF = Roofline(flops_per_s=70e9, bandwidths=((1 << 20, 50e9),), launch_s=1e-7)
WORKS = [work.at_batch(work.gemm(256, 256), batch) for batch in (1, 2, 4, 8, 16, 32, 64, 128)]
FLOPS = work.columns_of(WORKS)["flops"]


def measured(
    seconds: np.ndarray, spreads: list[float], shares: list[float], roof: Roofline | None = ROOF
) -> Measured:
    """Eight products that took so long, on a machine of this roofline."""
    rows = rows_of(WORKS, seconds, spreads=spreads, shares=shares)
    return Measured(rows, (), 0.0, Target(), "fp32", {}, (), roof, {})


def test_one_glitched_op_is_no_peak() -> None:
    """An op of 20 TFLOP/s among others of 60 GFLOP/s leaves the peak as it was measured.

    Whether its interval tells (it reaches 0), or it is only a tiny share of its network.
    """
    glitched = np.where(np.arange(8) == 0, FLOPS / 20e12, FLOPS / 60e9)
    told = measured(glitched, [3.0] + [0.02] * 7, [0.3] * 8)
    untold = measured(glitched, [0.0] + [0.02] * 7, [1e-4] + [0.3] * 7)
    alone = measured(glitched, [0.0] + [0.02] * 7, [0.3] * 8)
    for one in (told, untold, alone):
        found = audit.peaks(one)
        assert found.flops_per_s == 70e9
        assert found.source == "measured by nnprof devices"


def test_ops_that_agree_are_a_peak_and_named_as_its_source() -> None:
    """Where the limits were measured in a bad moment, what many ops reached counts."""
    found = audit.peaks(measured(FLOPS / 80e9, [0.02] * 8, [0.3] * 8))
    assert found.flops_per_s == pytest.approx(80e9)
    assert found.source == (
        "measured by nnprof devices, which found 70 GFLOP/s; well-measured ops of the Runs did more"
    )


def test_ops_that_were_not_measured_well_are_no_peak() -> None:
    """Eight of them, each with a standard error of 20 %."""
    assert audit.peaks(measured(FLOPS / 80e9, [0.2] * 8, [0.3] * 8)).flops_per_s == 70e9


def test_without_limits_there_is_no_peak() -> None:
    """Nothing says whether FLOPs that were counted were done, so ops alone tell none."""
    assert not audit.peaks(measured(FLOPS / 80e9, [0.02] * 8, [0.3] * 8, None)).flops_per_s
