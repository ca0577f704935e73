"""The published model of 2016, its arithmetic, and where it breaks."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnprof.networks.families import mattsson
from nnprof.profiler.costmodel import ask, lowering, model, predict, work
from nnprof.profiler.costmodel.model import CostModel

PAGE = Path(__file__).parents[3] / "docs" / "mattsson-2016.md"
NAME = "gtx960-mattsson2016"
# Table 2: ConvLayers, FC layers, tiles/ms.
MEASURED = ((5, 1, 33.6), (1, 5, 148.6), (3, 3, 42.0))


@pytest.fixture(scope="module")
def published() -> CostModel:
    """The model that comes along."""
    return model.load(NAME)


def tiles_per_ms(published: CostModel, conv: int, fc: int, depth: int, neurons: int) -> float:
    """What it predicts at batch 1024."""
    spec = mattsson(conv=conv, fc=fc, depth=depth, neurons=neurons, pool1=1)
    (seconds,) = predict.predict_specs(published, [spec], 1024)
    return float(1024 / seconds / 1e3)


def equations(conv: int, fc: int, depth: int, neurons: int) -> float:
    """Ms/tile, equations 13-18 written out, sums from 2 to the number of ConvLayers."""
    behind = range(2, conv + 1)
    dot = (6.8e-6 + 6.6e-11 * neurons**2) * fc
    elemwise = (4.9e-5 + 1.9e-7 * neurons) * fc
    elemwise += 2.4e-7 * depth * sum((28 - 4 * n) ** 2 for n in behind)
    alloc = 3.5e-8 * depth * sum((28 - 4 * (n - 1)) ** 2 for n in behind)
    pool = 8.2e-8 * depth * sum((28 - 4 * (n - 1)) ** 2 for n in behind)
    convolution = 3.03e-8 * depth**2 * sum((28 - 4 * n) ** 2 for n in behind)
    return dot + elemwise + alloc + pool + convolution + 9.8e-3


@given(
    st.integers(1, 5), st.integers(1, 5), st.sampled_from([5, 10, 20, 40, 80]), st.integers(1, 4096)
)
def test_it_is_the_equations(conv: int, fc: int, depth: int, neurons: int) -> None:
    """The terms of the file give what the equations give, for every network of the family."""
    found = tiles_per_ms(model.load(NAME), conv, fc, depth, neurons)
    assert found == pytest.approx(1 / equations(conv, fc, depth, neurons), rel=1e-9)


@pytest.mark.parametrize(
    ("conv", "fc", "expected"), [(5, 1, "36.1"), (1, 5, "98.0"), (3, 3, "42.7")]
)
def test_the_networks_of_table_2(published: CostModel, conv: int, fc: int, expected: str) -> None:
    """Depth 20 and 128 neurons: the arithmetic of the paper's three networks."""
    assert f"{tiles_per_ms(published, conv, fc, 20, 128):.1f}" == expected


def test_equation_17_is_of_the_1x1_pools(published: CostModel) -> None:
    """Without them a network lacks the time of equation 17, and no other."""
    bare = 1 / tiles_per_ms(published, 3, 1, 20, 128)
    (seconds,) = predict.predict_specs(published, [mattsson(conv=3, fc=1)], 1024)
    lacking = bare - float(seconds) * 1e3 / 1024
    assert lacking == pytest.approx(8.2e-8 * 20 * (24**2 + 20**2), rel=1e-6)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("1x28x28 conv20k5 pool1 conv20k5 pool2 fc128 fc10", []),
        ("784 fc128 fc10", ["every network that the model was made for has a conv layer",
                            "the model was made for tiles of 1×28×28"]),
        ("1x28x28 conv20k5 bn tanh pool2 fc128 sigmoid fc10",
         ["no network that the model was made for has batch norm or tanh or sigmoid"]),
        ("3x32x32 conv20k5 pool2 fc10", ["the model was made for tiles of 1×28×28"]),
    ],
)  # fmt: skip
def test_networks_outside_the_study_are_marked(
    published: CostModel, network: str, said: list[str]
) -> None:
    """What no network of the thesis had is told, where its equations have no term for it."""
    (found,) = ask.predict(published, [network], batches=[1024])
    assert list(found.extrapolates) == said


def test_a_search_marks_them_too(published: CostModel) -> None:
    """Of a family, the networks without a ConvLayer are listed as extrapolated, and no other."""
    found = ask.search(published, min_tiles_per_ms=1, family="mattsson(conv=0..2, fc=1)")
    marked = {one.notation for one in found.candidates if one.extrapolates}
    plain = {one.notation for one in found.candidates if not one.extrapolates}
    assert {"conv" in notation for notation in marked} == {False}
    assert {"conv" in notation for notation in plain} == {True}


def test_time_is_per_tile_whatever_the_batch(published: CostModel) -> None:
    """The equations know no batch: ms/tile are the same, and outside 1024 that is extrapolation."""
    spec = mattsson(conv=2)
    each = [float(predict.predict_specs(published, [spec], b)[0]) / b for b in (1, 64, 1024)]
    assert each == pytest.approx([each[0]] * 3)
    assert published.batches == (1024, 1024)


def test_c7_is_more_than_a_whole_network(published: CostModel) -> None:
    """C7 alone exceeds the measured time of 1 ConvLayer and 5 FC layers: no neurons can fit it."""
    (overhead,) = (term for term in published.terms if term.label == "C7")
    assert overhead.coefficient * 1e3 > 1 / 148.6


def test_equation_14_is_faster_than_light(published: CostModel) -> None:
    """Its neurons² term is 30 TFLOP/s on a card of 2.3; it carries the flag, and no other does."""
    (flagged,) = (term for term in published.terms if term.flag)
    assert flagged.label == "GpuDot22, eq. 14"
    assert published.peaks.flops_per_s == pytest.approx(2.3e12, rel=0.01)
    rate = 2 / flagged.coefficient
    assert rate == pytest.approx(30.3e12, rel=0.01)
    assert flagged.flag.startswith("30.3 TFLOP/s: 13.1 times")


def test_an_op_that_the_paper_did_not_have_is_unknown(published: CostModel) -> None:
    """An average pool is refused, not counted as nothing."""
    ops = lowering.of_specs([mattsson(conv=1)], "layers")
    assert not np.isnan(predict.network_seconds(published, ops, 1)).any()
    strange = work.sliding("AveragePool", (20, 24, 24), (20, 12, 12), 2, 2)
    assert predict.predict(published, [strange], 1).unknown == ("AveragePool",)


def test_the_page_shows_what_the_model_says(published: CostModel) -> None:
    """Every number of the page's table is what the model gives, with its error against Table 2."""
    rows = re.findall(r"^\| (\d+) \|(.+)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(neurons) for neurons, _ in rows] == [128, 256, 512, 1024, 2048]
    for neurons, text in rows:
        expected = []
        for conv, fc, measured in MEASURED:
            found = tiles_per_ms(published, conv, fc, 20, int(neurons))
            expected.append(f"{found:.1f} ({found / measured - 1:+.0%})")
        assert [cell.strip() for cell in text.split("|")][:3] == expected
