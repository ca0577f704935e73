"""Networks as ops: the rules against what the runtime really runs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnprof.errors import UsageError
from nnprof.networks.families import mattsson, parse_network
from nnprof.networks.spec import NetworkSpec
from nnprof.profiler.backends.onnxruntime import BACKEND
from nnprof.profiler.costmodel import features, onnx_rules, work
from nnprof.profiler.costmodel.lowering import LOWERINGS, of_spec, of_specs
from nnprof.profiler.costmodel.ran import of_nodes, widths
from nnprof.profiler.costmodel.work import Work
from nnprof.profiler.ports import OpNode
from nnprof.profiler.studies import model_of
from nnprof.types import Target, Workload

RECORDED = Path(__file__, "../../../data/blocks").resolve()
NETWORKS = [
    "1x28x28 conv20k3 tanh pool2 relu conv20k3 fc10 linear",
    "32x12x12 pool2 conv32k3 fc10",
    "1x28x28 conv32k3s2same bn relu conv20k1 linear fc10 relu",
    "1x28x28 conv17k3 conv16k3 pool2 fc20 softsign fc10",
    "1x28x28 conv20k5 conv8k3 conv33k3 pool2 conv5k3 fc10",
    "9x12x12 conv32k3 conv24k3 pool2 fc10",
]
# What other people build: LeNet, padding of any kind, norms and activations in all places.
OTHERS = [
    "1x28x28 conv6k5same tanh avgpool2 conv16k5 tanh avgpool2 fc120 tanh fc10",
    "1x32x32 conv6k5 softsign avgpool2 conv16k5 sigmoid avgpool2 conv40k5 tanh fc10",
    "3x16x16 conv32k1same conv32k1s2same conv24k3s2same fc10",
    "3x16x16 conv20k3same bn relu pool3s2 conv24k3 bn relu avgpool2 fc32 bn relu fc10",
    "1x16x16 conv20k3 relu bn conv24k3 tanh bn relu pool2 bn fc10",
    "3x12x12 bn conv20k3 relu tanh conv32k3 sigmoid avgpool2 tanh conv10k1 avgpool4 fc10",
    "3x16x16 conv18k2s2 conv48k4s2same pool3s1 conv20k2s3 fc10 sigmoid",
    "784 fc100 relu bn fc50 linear sigmoid tanh fc10 linear",
]


def numbers(ops: tuple[Work, ...]) -> list[tuple[object, ...]]:
    """What features see, without names, to nine digits: channels are padded by a quotient."""
    return [(op.group, *(float(f"{one:.9g}") for one in op[3:])) for op in ops]


def graph(text: str) -> tuple[OpNode, ...]:
    """What ONNX Runtime runs of a network here, at batch 3."""
    session = BACKEND.open(Workload(model=model_of(text), batch=3), Target())
    ran = session.graph()
    session.close()
    return ran


def recorded(width: int, name: str = "blocks") -> dict[str, tuple[OpNode, ...]]:
    """The same of every network on a processor with blocks of that width."""
    text = (RECORDED / f"{name}-of-{width}.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, tuple[OpNode, ...]])


def held(text: str, ran: tuple[OpNode, ...], width: int) -> None:
    """Refuse rules that give other ops than those that ran."""
    workload = Workload(model=model_of(text), batch=3)
    found = numbers(of_nodes(ran))
    assert numbers(of_spec(parse_network(text), f"blocked{width}", 3)) == found
    assert numbers(onnx_rules.of_workload(workload, f"blocked{width}")) == found


@pytest.mark.parametrize("width", [8, 16])
@pytest.mark.parametrize("text", NETWORKS)
def test_the_rules_give_what_each_kind_of_processor_ran(text: str, width: int) -> None:
    """Every op, in order, with every number, of graphs recorded on AVX2 and on AVX-512."""
    ran = recorded(width)[text]
    held(text, ran, width)
    assert width in (widths(ran) or ())


@pytest.mark.parametrize("width", [8, 16])
@pytest.mark.parametrize("text", OTHERS)
def test_the_rules_give_what_ran_of_other_peoples_networks(text: str, width: int) -> None:
    """The same of average pools, strides, norms and activations wherever people put them."""
    held(text, recorded(width, "others")[text], width)


@pytest.mark.parametrize("text", [*NETWORKS, *OTHERS[:-1]])
def test_the_rules_give_what_the_runtime_runs_here(text: str) -> None:
    """The same of this machine's runtime, whatever its processor; the graph tells the width."""
    ran = graph(text)
    found = widths(ran)
    if found is None:
        pytest.skip("this machine's runtime keeps no images in blocks")
    held(text, ran, max(found))
    name = "blocks" if text in NETWORKS else "others"
    assert found == widths(recorded(max(found), name)[text])


def test_pools_of_1x1_are_ops_too() -> None:
    """No runtime leaves out a pool that changes nothing: it runs, and so do copies around it."""
    text = "1x28x28 conv20k5 pool1 conv32k5 pool1 conv20k5 pool2 fc10"
    ran = graph(text)
    found = widths(ran)
    if found is None:
        pytest.skip("this machine's runtime keeps no images in blocks")
    assert sum(op.kind == "pool" for op in ran) == 3
    held(text, ran, max(found))


def test_the_graph_tells_the_width_of_its_blocks() -> None:
    """20 channels in 24 are blocks of 8, in 32 of 16; 32 in 32 could be both, 20 in 28 neither."""

    def ran(channels: int, blocks: int) -> frozenset[int] | None:
        copy = OpNode(node="copy", op="ReorderOutput", kind="memory",
                      inputs=((1, blocks, 9, 9),), outputs=((1, channels, 9, 9),))  # fmt: skip
        return widths([copy])

    assert (ran(20, 24), ran(20, 32), ran(32, 32)) == ({8}, {16}, {8, 16})
    assert ran(20, 28) == frozenset()
    assert widths(()) is None
    named = OpNode(node="relu_nchwc", op="Conv", kind="conv", inputs=((1, 1, 9, 9), (24, 1, 1, 1)),
                   outputs=((1, 24, 9, 9),))  # fmt: skip
    whole = OpNode(node="copy", op="ReorderOutput", kind="memory",
                   inputs=((1, 32, 9, 9),), outputs=((1, 32, 9, 9),))  # fmt: skip
    assert widths([named, whole]) == {8}


def test_a_convolution_is_filed_under_the_code_that_ran() -> None:
    """24 channels run blocked where blocks are of 8; names tell, and without them the shapes."""
    nodes = recorded(8)["1x28x28 conv20k3 tanh pool2 relu conv20k3 fc10 linear"]
    named = [one.group for one in of_nodes(nodes)]
    assert named.count("conv-blocked") == 2
    unnamed = [msgspec.structs.replace(node, node=f"node{at}") for at, node in enumerate(nodes)]
    assert [one.group for one in of_nodes(unnamed)] == named


@given(
    st.lists(
        st.builds(
            mattsson,
            conv=st.integers(1, 5),
            fc=st.integers(0, 3),
            depth=st.integers(1, 70),
            neurons=st.integers(1, 300),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 2000),
    st.sampled_from(LOWERINGS),
    st.sampled_from([1.0, 2.0, 4.0]),
)
@settings(max_examples=30, deadline=None)
def test_many_networks_are_lowered_as_each_one(
    specs: list[NetworkSpec], batch: int, lowering: str, value_bytes: float
) -> None:
    """The table of a family has, for each network, the ops that it has alone."""
    table = of_specs(specs, lowering).at(batch, value_bytes)
    for index, spec in enumerate(specs):
        rows = table.row[table.network == index]
        alone = of_spec(spec, lowering, batch, value_bytes)
        assert [table.names[code] for code in table.codes[rows]] == [op.group for op in alone]
        for column in work.COLUMNS:
            expected = [getattr(op, column) for op in alone]
            found = table.columns[column][rows]
            if column == "touched":  # of a network, not of an op that many share
                found = np.full(len(rows), table.touched()[index])
            np.testing.assert_allclose(found, expected)


@given(st.sampled_from([1.0, 2.0, 4.0, 8.0]), st.integers(1, 500))
def test_values_of_another_size_are_other_bytes_and_nothing_else(size: float, batch: int) -> None:
    """An op in values of half the size moves half the bytes; in its own size it stays as it is."""
    one = work.at_batch(work.conv((3, 20, 20), (16, 18, 18), 3, 1), batch)
    other = work.in_values(one, size)
    assert other.bytes_out == pytest.approx(size * other.elements_out)
    for name in work.COLUMNS:
        times = size / 4 if name.startswith("bytes") else 1
        assert getattr(other, name) == pytest.approx(times * getattr(one, name))
    assert work.in_values(other, 4.0) == one


def test_an_unknown_lowering_is_refused() -> None:
    """A model file can name rules that this nnprof does not have."""
    with pytest.raises(UsageError, match="blocked16"):
        of_specs([mattsson()], "blocked99")


def test_features_count_what_their_names_say() -> None:
    """A 5×5 convolution worked out by hand."""
    ops = of_spec(parse_network("3x12x12 conv20k5 linear"), "fused", 2)
    columns = {name: np.array([getattr(ops[0], name)]) for name in work.COLUMNS}
    value = {name: float(one.of(columns)[0]) for name, one in features.FEATURES.items()}
    assert value["flops"] == 2 * 2 * 8 * 8 * 20 * 3 * 25
    assert value["bytes_in"] == 4 * 2 * 3 * 12 * 12
    assert value["bytes_out"] == 4 * 2 * 20 * 8 * 8
    assert value["bytes_weights"] == 4 * 20 * 3 * 25
    assert value["im2col"] == 4 * 2 * 8 * 8 * 3 * 25
    assert value["tiles_128x32"] == 2 * 128 * 32 * 75  # 128 pixels, 20 channels in a tile of 32
    assert value["image_tiles_128x32"] == 2 * 2 * 128 * 32 * 75  # 64 pixels of each image in 128
    # A line of 8 pixels × 2 vectors: a step of 6 in 6 cycles, and one of 2 in 4.
    assert value["conv_steps_few_avx512f"] == 64 * (6 + 4) * 2 * 8 * 75
    assert value["conv_steps_avx512f"] == 0
    assert value["vectors_few_avx512f"] == 2 * 2 * 64 * 32 * 75
    assert value["passes_few_avx512f"] == 3 * 2 * 64 * 20
    # With vectors of 8: three of them; two steps of 3 in 3 × 1.5 cycles, at least 4, and one of 2.
    assert value["conv_steps_few_fma3"] == 32 * (4.5 + 4.5 + 4) * 2 * 8 * 75
    assert value["conv_steps_neon"] == 0
    assert value["winograd2"] == 0


def test_steps_of_a_matrix_product() -> None:
    """20 rows × 40 columns are steps of 12, 6 and 2 rows over a pair of vectors and one alone."""
    one = work.at_batch(work.gemm(300, 40), 20)
    columns = {name: np.array([getattr(one, name)]) for name in work.COLUMNS}
    cycles = (12 + 6 + 4) + (6 + 4 + 4)
    assert features.FEATURES["gemm_steps_avx512f"].of(columns)[0] == 64 * 300 * cycles
    # Vectors of 8: three steps of 6 rows and one of 2, over two pairs of vectors and one alone.
    cycles = 2 * (3 * 6 + 4) + (3 * 4 + 4)
    assert features.FEATURES["gemm_steps_fma3"].of(columns)[0] == 32 * 300 * cycles
    columns["m"][:] = 12  # two steps of 6 rows
    assert features.FEATURES["gemm_steps_fma3"].of(columns)[0] == 32 * 300 * (2 * 12 + 8)


def test_pixels_at_an_edge_are_steps_of_their_own_and_of_fewer_taps() -> None:
    """With "same" padding the windows of a line's ends reach over the image."""
    same, valid = (
        of_spec(parse_network(f"16x{side}x{side} conv16k3{form} linear"), "blocked16", 1)
        for side, form in ((14, "same"), (16, ""))
    )
    steps = [
        float(features.FEATURES["conv_steps_avx512f"].of(work.columns_of(ops))[0])
        for ops in (
            [one for one in works if one.group == "conv-blocked"] for works in (same, valid)
        )
    ]
    # 14 pixels: six and six and two; or an edge, six and six, and an edge. A vector each. Of each
    # edge's windows a third of the taps is beyond the image, in a line as among lines.
    at_edges = 64 * (14 - 2 / 3) * 144 * (4 + 4 + (2 - 2 / 3) * 4)
    assert steps == pytest.approx([at_edges, 64 * 14 * 144 * (4 + 4 + 4)])


def test_weights_leave_a_cache_as_the_network_overflows_it() -> None:
    """All stay in a cache that holds the network; half go at 1.5 times its size, all at twice."""
    columns = {name: np.full(4, getattr(Work("gemm", "Gemm"), name)) for name in work.COLUMNS}
    columns["bytes_weights"][:] = 1000.0
    columns["touched"] = np.array([1.0, 2.0, 3.0, 9.0]) * (1 << 20)
    missed = features.FEATURES["weights_missed_2m"].of(columns)
    assert missed.tolist() == [0, 0, 500, 1000]
    small, large = (
        of_spec(parse_network(text), "fused", 1)[0] for text in ("784 fc16 fc10", "784 fc2000 fc10")
    )
    assert small.touched < 1 << 20
    assert large.touched > large.bytes_weights > 4 << 20


def test_planes_of_no_whole_lines_are_ragged() -> None:
    """20×20 values fill 25 cache lines; 26×26 end within one, at any batch and depth."""
    for side, ragged in ((20, False), (26, True), (16, False), (14, True)):
        copy = work.reorder("ReorderOutput", (32, side, side), (17, side, side))
        one = work.at_batch(copy, 3)
        columns = {name: np.array([getattr(one, name)]) for name in work.COLUMNS}
        found = features.FEATURES["bytes_out_ragged"].of(columns)[0]
        assert found == (one.bytes_out if ragged else 0)
