"""What to measure next."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnprof.networks.families import parse_network
from nnprof.networks.spaces import parse_space
from nnprof.profiler.costmodel import design, features, lowering, model, pick, work
from nnprof.profiler.costmodel.design import Candidates
from nnprof.profiler.costmodel.model import CostModel, Group, Term

SPACE = parse_space("mattsson(conv=1..3, fc=1..2, depth=5..80/5, neurons=128..512/64)")
BATCHES = (1, 64, 1024)


@pytest.fixture(scope="module")
def offered() -> Candidates:
    """The layers of a small family."""
    return design.candidates(SPACE, BATCHES, "fused")


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_the_lattice_has_both_ends_and_tiles(first: int, second: int) -> None:
    """Every size is in the range, both ends are, and there are at most 40."""
    low, high = sorted((first, second))
    sizes = design.lattice(range(low, high + 1))
    assert (sizes[0], sizes[-1]) == (low, high)
    assert len(sizes) <= 40


def test_candidates_are_the_layers_of_the_family(offered: Candidates) -> None:
    """Each is a network of one layer of the family at one batch, and its op is that layer."""
    kinds = {group: int((offered.groups == group).sum()) for group in set(offered.groups)}
    assert set(kinds) == {"conv", "gemm", "maxpool"}
    assert len(set(zip([s.notation for s in offered.specs], offered.batches, strict=True))) == len(
        offered.specs
    )
    for index in (0, len(offered.specs) // 2, len(offered.specs) - 1):
        spec = offered.specs[index]
        assert len(spec.layers) == 1
        assert parse_network(spec.notation) == spec
        ops = lowering.of_specs([spec], "fused").at(int(offered.batches[index]))
        assert offered.columns["flops"][index] == ops.columns["flops"].max()


def test_candidates_have_the_values_of_the_model(offered: Candidates) -> None:
    """A model of 2-byte values is asked for half the bytes, and the same FLOPs."""
    half = design.candidates(SPACE, BATCHES, "fused", value_bytes=2.0)
    for name, times in (
        ("bytes_in", 0.5),
        ("bytes_out", 0.5),
        ("bytes_weights", 0.5),
        ("flops", 1),
    ):
        np.testing.assert_allclose(half.columns[name], times * offered.columns[name])


@pytest.mark.parametrize("budget", [1, 3, 12, 60, 150])
def test_the_budget_is_kept(offered: Candidates, budget: int) -> None:
    """Just as many as asked for, each once, and every group has some from 9 on."""
    chosen = design.plan(offered, budget)
    assert len(chosen) == budget
    assert len({(one.spec.notation, one.batch) for one in chosen}) == budget
    if budget >= 9:
        assert {one.group for one in chosen} == {"conv", "gemm", "maxpool"}


def test_the_stages_follow_the_number_of_ops(offered: Candidates) -> None:
    """The first 12 of a group are k-centre, the next 28 D-optimal, then come errors."""
    chosen = [one for one in design.plan(offered, 150) if one.group == "conv"]
    stages = [one.stage for one in chosen]
    assert stages[:12] == ["k-centre"] * 12
    assert stages[12:40] == ["D-optimal"] * 28
    assert set(stages[40:]) == {"error"}


def test_k_centre_leaves_no_candidate_far(offered: Candidates) -> None:
    """12 points chosen are nearer to all candidates than 12 at random, in 20 of 20 draws."""
    rows = np.flatnonzero(offered.groups == "conv")
    places = pick.places(offered.at(rows), {n: v[:0] for n, v in offered.columns.items()})
    far = np.full(len(rows), np.inf)
    free = np.ones(len(rows), dtype=bool)
    ones = np.ones(len(rows))
    mine = pick.k_centre(places, far, ones, free, 12)
    reach = pick.distances(places, places[mine]).max()
    random = np.random.default_rng(0)
    draws = [random.choice(len(rows), 12, replace=False) for _ in range(20)]
    assert all(pick.distances(places, places[draw]).max() > reach for draw in draws)


def test_d_optimal_tells_coefficients_apart(offered: Candidates) -> None:
    """The determinant of X'X beats that of random choices of as many rows, in 20 of 20 draws."""
    columns = offered.at(np.flatnonzero(offered.groups == "conv"))
    rows = design._rows("conv", columns, None, design._FIRST)
    free = np.ones(len(rows), dtype=bool)
    picked = pick.d_optimal(rows, rows[:0], free, 15)
    scaled = rows / np.sqrt((rows**2).mean(axis=0))

    def volume(chosen: list[int]) -> float:
        return float(np.linalg.slogdet(scaled[chosen].T @ scaled[chosen])[1])

    random = np.random.default_rng(0)
    draws = [list(random.choice(len(rows), 15, replace=False)) for _ in range(20)]
    assert all(volume(draw) < volume(picked) for draw in draws)


def test_what_was_measured_is_not_asked_again(offered: Candidates) -> None:
    """Ops that are known are left out, and the stages go on from their number."""
    first = design.plan(offered, 30)
    works = [_op(one.spec.notation, one.batch, one.group) for one in first]
    known = design.Measured(tuple(works), np.full(len(works), 0.1))
    second = design.plan(offered, 30, known=known)
    assert not {(o.spec.notation, o.batch) for o in first} & {
        (o.spec.notation, o.batch) for o in second
    }
    convs = sum(one.group == "conv" for one in first)
    assert convs >= 12
    assert "k-centre" not in {one.stage for one in second if one.group == "conv"}


def _op(notation: str, batch: int, group: str) -> work.Work:
    """The op of a network of one layer at a batch."""
    table = lowering.of_specs([parse_network(notation)], "fused").at(batch)
    (index,) = (i for i in range(len(table.ops)) if table.names[table.codes[i]] == group)
    numbers = {name: float(column[index]) for name, column in table.columns.items()}
    return work.Work(group=group, op=table.ops[index], label="", **numbers)


def test_errors_draw_the_last_stage(offered: Candidates) -> None:
    """Beyond 40 points, where the model was wrong there is more to measure."""
    rows = np.flatnonzero(offered.groups == "gemm")
    large = offered.columns["n"][rows] > 300
    some = np.random.default_rng(1).choice(rows, 60, replace=False)
    works = tuple(
        work.Work(
            group="gemm",
            op="Gemm",
            label="",
            **{n: float(v[i]) for n, v in offered.columns.items()},
        )
        for i in some
    )
    wrong = np.where(offered.columns["n"][some] > 300, 0.5, 0.01)
    chosen = design.plan(offered, 40, known=design.Measured(works, wrong))
    sizes = [one.spec.shapes[-1][0] for one in chosen if one.group == "gemm"]
    assert {one.stage for one in chosen if one.group == "gemm"} == {"error"}
    assert np.mean([size > 300 for size in sizes]) > large.mean()


def test_a_model_shares_the_budget_out(offered: Candidates) -> None:
    """With a model, groups get ops by their time in the family × the error of the group."""

    def of(conv_error: float, gemm_error: float) -> dict[str, int]:
        made = CostModel(
            name="made",
            terms=tuple(
                Term(group=group, feature="flops", coefficient=1e-11)
                for group in ("conv", "gemm", "maxpool")
            ),
            groups=tuple(
                Group(name=name, ops=(name,), error=error)
                for name, error in (("conv", conv_error), ("gemm", gemm_error), ("maxpool", 0.1))
            ),
        )
        chosen = design.plan(offered, 60, made)
        return {group: sum(one.group == group for one in chosen) for group in ("conv", "gemm")}

    alike, wrong = of(0.1, 0.1), of(0.1, 10.0)
    assert alike["conv"] > alike["gemm"] >= design.LEAST
    assert wrong["gemm"] > alike["gemm"]


def test_whole_networks_cover_the_ops_between() -> None:
    """A quarter of the budget at most; none where a model knows every op."""
    published = model.load("gtx960-mattsson2016")
    assert design.whole(SPACE, BATCHES, "layers", 120, published) == ()
    whole = design.whole(SPACE, BATCHES, "fused", 120, None)
    assert [one.batch for one in whole] == [1024, 1, 1]
    assert sum(one.ops for one in whole) <= 30
    assert design.whole(SPACE, BATCHES, "fused", 8, None) == ()


def test_features_of_no_model_exist() -> None:
    """The features that stand in before a model is there are known ones."""
    assert set(design._FIRST) <= set(features.FEATURES)
