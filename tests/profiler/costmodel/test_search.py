"""Networks that meet a time budget."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import msgspec
import numpy as np
import pytest

from nnprof.errors import UsageError
from nnprof.networks.counts import counted
from nnprof.networks.families import mattsson, parse_network
from nnprof.networks.spaces import parse_space
from nnprof.profiler.costmodel import lowering, model, predict, priors, search
from nnprof.profiler.costmodel.model import CostModel
from nnprof.types import TrainingRecord

SPACE = "mattsson(conv=1..3, fc=1..2, depth=5..20/5, neurons=128|512|2048)"


@pytest.fixture(scope="module")
def published() -> CostModel:
    """The model of 2016."""
    return model.load("gtx960-mattsson2016")


def test_just_those_that_meet_the_budget(published: CostModel) -> None:
    """The networks found are those whose own prediction meets the budget, most weights first."""
    space = parse_space(SPACE)
    found = search.search(published, space, (1024,), 60)
    specs = list(space.specs())
    seconds = predict.predict_specs(published, specs, 1024)
    expected = {s.name for s, t in zip(specs, seconds, strict=True) if 1024 / t / 1e3 >= 60}
    assert {one.network for one in found.candidates} == expected
    assert 0 < len(expected) < len(specs) == found.looked_at
    counts = [one.weights for one in found.candidates]
    assert counts == sorted(counts, reverse=True)
    assert {one.meets for one in found.candidates} == {"probably"}


def test_the_largest_cannot_grow(published: CostModel) -> None:
    """Of a largest one every single step is too slow; of any other there is one that is not."""
    found = search.search(published, parse_space(SPACE), (1024,), 60)
    meeting = {one.network for one in found.candidates}
    steps = {"conv": (1, 2, 3), "fc": (1, 2), "depth": (5, 10, 15, 20), "neurons": (128, 512, 2048)}
    for spec in parse_space(SPACE).specs():
        if spec.name not in meeting:
            continue
        bigger = []
        for name, values in steps.items():
            later = [value for value in values if value > spec.parameters[name]]
            if later:
                bigger.append(mattsson(**{**spec.parameters, name: later[0]}).name)
        (one,) = (one for one in found.candidates if one.network == spec.name)
        assert one.largest == (not any(name in meeting for name in bigger))


def test_surely_means_the_whole_interval(published: CostModel) -> None:
    """With a conformal factor, only what meets the budget at its slow end is sure."""
    sure = msgspec.structs.replace(
        published, network=msgspec.structs.replace(published.network, factor=1.2)
    )
    found = search.search(sure, parse_space(SPACE), (1024,), 60).candidates
    assert {one.meets for one in found} == {"surely", "probably"}
    for one in found:
        assert one.low_tiles_per_ms == pytest.approx(one.tiles_per_ms / 1.2)
        assert (one.meets == "surely") == (one.tiles_per_ms / 1.2 >= 60)


def test_leaving_the_domain_is_told(published: CostModel) -> None:
    """Depths beyond the model's, and batches that it was not made for, are marked."""
    space = parse_space("mattsson(conv=1, fc=1, depth=80|160, neurons=128)")
    at_1024 = search.search(published, space, (1024,), 0).candidates
    assert {one.extrapolates for one in at_1024 if "depth=160" in one.network} == {True}
    assert {one.extrapolates for one in at_1024 if "depth=80" in one.network} == {False}
    assert {one.extrapolates for one in search.search(published, space, (1,), 0).candidates} == {
        True
    }


def test_networks_with_unknown_ops_are_counted_out(published: CostModel) -> None:
    """A group that the model lacks makes a network unknown, never free."""
    groups = tuple(group for group in published.groups if group.name != "maxpool")
    blind = msgspec.structs.replace(published, groups=groups)
    found = search.search(blind, parse_space(SPACE), (1024,), 0)
    assert (found.candidates, found.unknown) == ((), found.looked_at)
    assert (found.unseen, found.fastest) == (("MaxPool",), None)


def test_a_budget_that_nothing_meets_has_a_fastest(published: CostModel) -> None:
    """So that one sees how far away the budget is; no other network is faster."""
    nothing = search.search(published, parse_space(SPACE), (1024,), 1e9)
    assert nothing.candidates == ()
    assert nothing.fastest
    every = search.search(published, parse_space(SPACE), (1024,), 0).candidates
    assert nothing.fastest.tiles_per_ms == max(one.tiles_per_ms for one in every)


def test_of_several_batches_the_best_counts() -> None:
    """A network is found where one of them is fast enough, at the batch that is fastest there."""
    made = model.load(Path(priors.__file__).with_name("priors") / "onnxruntime-avx2.json")
    space, batches = parse_space(SPACE), (1, 98, 784)
    rates: dict[str, list[float]] = defaultdict(list)
    for batch in batches:
        for one in search.search(made, space, (batch,), 0).candidates:
            rates[one.network].append(one.tiles_per_ms)
    wanted = float(np.median([max(own) for own in rates.values()]))
    found = search.search(made, space, batches, wanted)
    assert {one.network for one in found.candidates} == {
        name for name, own in rates.items() if max(own) >= wanted
    }
    told = {one.network: (one.batch, one.tiles_per_ms) for one in found.candidates}
    best = {name: (batches[int(np.argmax(own))], max(own)) for name, own in rates.items()}
    assert told == {name: (best[name][0], pytest.approx(best[name][1])) for name in told}
    assert len({batch for batch, _ in told.values()}) > 1  # of no two networks alike


def test_the_best_batch_has_the_best_verdict_not_the_best_guess() -> None:
    """A batch that fits wholly is better than a faster one that may not; then speed decides."""
    rates = np.array([[10.0, 3.0, 5.0, np.nan], [11.0, 4.0, 7.0, np.nan]])
    factors = np.array([[1.1, 3.0, 1.1, 2.0], [2.0, 1.1, 1.1, 2.0]])
    assert search._best(rates, factors, 8.0).tolist()[:3] == [0, 0, 1]


def test_an_interval_of_ops_counts_where_networks_gave_none(published: CostModel) -> None:
    """The same interval that predict gives."""
    groups = tuple(msgspec.structs.replace(group, factor=1.3) for group in published.groups)
    sure = msgspec.structs.replace(published, groups=groups)
    (found,) = search.search(
        sure, parse_space("mattsson(conv=2, fc=1, depth=20, neurons=128)"), (1024,), 0
    ).candidates
    ops = lowering.of_spec(parse_network(found.notation), sure.lowering, 1024)
    one = predict.predict(sure, ops, 1024)
    assert one.high_s
    assert found.low_tiles_per_ms == pytest.approx(1024 / one.high_s / 1e3)


def test_weights_are_those_that_are_learnt() -> None:
    """Against the sum by hand: 1·20·25+20, 2880·128+128, 128·10+10."""
    assert counted(mattsson(conv=1, fc=1)).weights == 520 + 368_768 + 1290


def save(folder: Path, network: str, accuracy: float | None, dataset: str = "mnist") -> Path:
    """A training's record, as `nnprof train` leaves it."""
    record = TrainingRecord(
        **{"network": network, "dataset": dataset, "normalisation": "channel", "settings": {}},
        seed=0,
        test_accuracy=accuracy,
    )
    folder.mkdir(parents=True)
    (folder / "record.json").write_bytes(msgspec.json.encode(record))
    return folder


def test_the_front_of_accuracy_against_time(published: CostModel, tmp_path: Path) -> None:
    """A trained network is on the front where none that is faster is as accurate."""
    save(tmp_path / "a", "mattsson(conv=1)", 0.97)
    save(tmp_path / "b", "mattsson(conv=2)", 0.96)
    save(tmp_path / "c", "mattsson(conv=3)", 0.99)
    save(tmp_path / "d", "mattsson(conv=3, seed=1)", 0.98)
    trained, notes = search.records([tmp_path])
    found = search.front(published, trained, (1024,), 50).candidates
    assert [one.notation.count("conv") for one in found] == [1, 2, 3]
    # Two seeds of one network count as one, with the median of what they reached.
    assert [one.accuracy for one in found] == pytest.approx([97, 96, 98.5])
    assert [one.front for one in found] == [True, False, True]
    assert {one.meets for one in found} == {"probably", "no"}
    assert notes == ()
    rates = [one.tiles_per_ms for one in found]
    assert rates == sorted(rates, reverse=True)


def test_trainings_without_an_accuracy_are_named(tmp_path: Path) -> None:
    """An unfinished training is left out with a sentence; alone it is refused."""
    unfinished = save(tmp_path / "a", "mattsson(conv=1)", None)
    save(tmp_path / "b", "mattsson(conv=2)", 0.9)
    trained, notes = search.records([unfinished, tmp_path / "b" / "record.json"])
    assert [one.accuracy for one in trained] == [pytest.approx(90)]
    assert "no accuracy on test tiles yet" in notes[0]
    with pytest.raises(UsageError, match="No record has an accuracy"):
        search.records([unfinished])


def test_records_of_two_data_sets_are_refused(tmp_path: Path) -> None:
    """Accuracies on MNIST and on digits cannot be compared."""
    save(tmp_path / "a", "mattsson(conv=1)", 0.9)
    save(tmp_path / "b", "mattsson(conv=2)", 0.9, "fashion-mnist")
    with pytest.raises(UsageError, match="several data sets: fashion-mnist, mnist"):
        search.records([tmp_path])


def test_a_family_is_predicted_at_once(published: CostModel) -> None:
    """One call for a whole family gives what single calls give."""
    specs = list(parse_space(SPACE).specs())
    together = predict.predict_specs(published, specs, 64)
    alone = [predict.predict_specs(published, [spec], 64)[0] for spec in specs[:5]]
    assert together[:5] == pytest.approx(np.array(alone))
