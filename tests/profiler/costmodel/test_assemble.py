"""From Runs to models: what is left out and said, what is recovered, what other tools measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnprof.errors import UsageError
from nnprof.networks.spec import parse
from nnprof.profiler.costmodel import assemble, features, gather, lowering, model, whole, work
from nnprof.profiler.costmodel.model import CostModel
from nnprof.profiler.costmodel.predict import predict
from nnprof.profiler.costmodel.rows import rows_of
from nnprof.profiler.importers import columns, importer, table
from nnprof.types import Cell, Failure, Measurement, OpPass, OpTime, Run, Study

STUDIES = Path(__file__).parents[3] / "bench_results" / "studies"
LAUNCH_S, FLOP_S, BYTE_S = 20e-6, 1e-11, 1e-10
NAMES = ("launch", "flops", "bytes_in", "bytes_out", "bytes_weights")
SIZES = (64, 160, 400, 1000, 2500)
BATCHES = (1, 8, 64)


def seconds_of(inner: int, neurons: int, batch: int, slower: float = 1.0) -> float:
    """A fully connected layer on the device of these tests."""
    one = work.at_batch(work.gemm(inner, neurons), batch)
    amounts = features.matrix(NAMES, work.columns_of([one]))
    return float((amounts @ [LAUNCH_S, FLOP_S, *[BYTE_S * slower] * 3])[0])


def lines(
    sizes: Sequence[int] = SIZES, call_s: float | None = None, extremes: float = 0.0
) -> list[str]:
    """A table of networks of 2 to 4 layers; with `call_s` each has a row of its own time, too."""
    rows = ["network,batch,op,time_s,Cin,Cout,min_s,max_s"]
    for index, size in enumerate(sizes):
        layers = [(784, size), *[(size, size)] * (index % 3), (size, 10)]
        name = "784 " + " ".join(f"fc{neurons}" for _, neurons in layers) + " linear"
        for batch in BATCHES:
            times = [seconds_of(*layer, batch) for layer in layers]
            for (inner, neurons), time in zip(layers, times, strict=True):
                ends = f"{time * (1 - extremes)},{time * (1 + extremes)}" if extremes else ","
                rows.append(f"{name},{batch},Gemm,{time},{inner},{neurons},{ends}")
            if call_s is not None:
                total = sum(times) + call_s
                rows.append(f"{name},{batch},network,{total},,,,")
    return rows


def run_of(text: Sequence[str]) -> Run:
    """The Run of a table."""
    rows = columns.parse("\n".join(text), "table.csv").rows
    measurements = table.measurements(rows)
    cells = tuple(Cell(workload=one.workload, target=one.target) for one in measurements)
    study = Study(name="imported", command=(), created="", plan=importer.NO_PLAN, cells=cells)
    return Run(study=study, environment={"device": {}, "backend": {}}, measurements=measurements)


def fitted(run: Run, prior: CostModel | None = None) -> CostModel:
    """The model of one Run."""
    return assemble.model(gather.gathered([run], ()), "toy", None, prior)


def changed(run: Run, change: dict[int, dict[str, object]]) -> Run:
    """The Run with fields of some of its ops replaced, by their number in all of it."""
    count, cells = 0, []
    for cell in run.measurements:
        assert cell.ops
        ops = []
        for op in cell.ops.ops:
            ops.append(msgspec.structs.replace(op, **change.get(count, {})))
            count += 1
        cells.append(msgspec.structs.replace(
            cell, ops=msgspec.structs.replace(cell.ops, ops=tuple(ops))))  # fmt: skip
    return msgspec.structs.replace(run, measurements=tuple(cells))


# --- what is missing ------------------------------------------------------------------------------


def test_op_times_alone_make_a_model_that_says_what_it_lacks() -> None:
    """No process, no floor, no clean time: no traceback, no call, no check, and notes of it."""
    made = fitted(run_of(lines()))
    assert not made.terms_of("network")
    assert made.network.error is None
    notes = " ".join(made.notes)
    assert "The cost of a call is not known" in notes
    assert "15 of 15 cells (15: their time is not a clean one)" in notes


def test_unclean_times_do_not_touch_the_overhead() -> None:
    """Sums of ops that stand in for latencies, however wrong, change no number of the model."""
    run = run_of(lines())
    wild = tuple(
        msgspec.structs.replace(cell, samples_s=((cell.samples_s[0][0] * 7,),))
        for cell in run.measurements
    )
    one = fitted(run)
    other = fitted(msgspec.structs.replace(run, measurements=wild))
    assert other.terms == one.terms
    assert other.network == one.network


def test_clean_times_tell_the_call() -> None:
    """Networks that take 100 µs more than their ops give a call of that, without any floor."""
    made = fitted(run_of(lines(call_s=100e-6)))
    (call,) = made.terms_of("network")
    assert call.coefficient == pytest.approx(100e-6, rel=0.15)
    assert made.network.error is not None
    assert made.network.error < 0.05
    assert made.network.noise is None


def test_networks_measured_whole_tell_how_far_off_it_is() -> None:
    """19 networks without op times give the interval and change no term; fewer are left out."""
    timed = lines(call_s=50e-6)
    alone = fitted(run_of(timed))
    for count, factor in ((19, 1.25), (18, None)):
        whole = [
            f"784 fc{size} linear,4,network,{1.25 * (seconds_of(784, size, 4) + 50e-6)},,,,"
            for size in range(100, 100 + count)
        ]
        found = fitted(run_of([*timed, *whole]))
        assert [term.coefficient for term in found.terms] == [
            term.coefficient for term in alone.terms
        ]
        if factor:
            assert found.network.factor == pytest.approx(factor, rel=0.02)
            assert found.network.networks == count
            assert not any("Left out" in note for note in found.notes)
        else:
            assert found.network.factor == alone.network.factor
            assert any("18 of" in note and "not timed" in note for note in found.notes)


def test_ops_without_shapes_are_counted_and_their_networks_left_out() -> None:
    """One large op of unknown shape: its network is no longer held against the sum of the rest."""
    run = changed(run_of(lines(call_s=1e-5)), {4: {"inputs": (), "outputs": (), "op": "Odd"}})
    made = fitted(run)
    notes = " ".join(made.notes)
    assert "1 op times without shapes (Odd)" in notes
    assert "1 of 15 cells (1: the shapes of their ops are not all known)" in notes
    assert "no prediction" not in made.doubt  # it takes little
    most = {number: {"outputs": ()} for number in range(0, 42, 2)}
    assert "is of ops without shapes, and in no prediction" in fitted(changed(run, most)).doubt


def test_no_shapes_at_all_is_one_sentence() -> None:
    """Then nothing can be fitted; the remedy is to tell them."""
    with pytest.raises(UsageError, match=r"shapes are missing.*docs/import\.md"):
        fitted(run_of(["network,batch,op,time_s", "mine,1,Conv,0.1", "mine,1,Relu,0.2"]))


def test_networks_alone_need_three() -> None:
    """Whole networks without op times: with two, one sentence; with three, a model."""
    text = [line for line in lines(SIZES[:3], call_s=1e-5) if "Gemm" not in line]
    with pytest.raises(UsageError, match="clean times of only 2 networks"):
        fitted(run_of(text[:7]))
    made = fitted(run_of(text))
    assert made.network.networks == 3
    assert all(term.largest for term in made.terms if term.group == "gemm")


def test_a_run_of_failures_is_one_sentence() -> None:
    """There is no measurement in it; how many failures there are is told."""
    run = run_of(lines())
    cell = run.measurements[0]
    failure = Failure(workload=cell.workload, target=cell.target, error="X", reason="r")
    empty = msgspec.structs.replace(run, measurements=(), failures=(failure, failure))
    with pytest.raises(UsageError, match="no measurement, only 2 failures"):
        fitted(empty)


def test_different_targets_are_told_apart_by_name() -> None:
    """The sentence says what differs."""
    run = run_of(lines())
    target = msgspec.structs.replace(run.measurements[0].target, threads=4)
    cells = (*run.measurements, msgspec.structs.replace(run.measurements[0], target=target))
    with pytest.raises(UsageError, match=r"threads: 0, 4"):
        fitted(msgspec.structs.replace(run, measurements=cells))


def test_a_prior_needs_op_times() -> None:
    """It is not silently left out where there are none."""
    text = [line for line in lines(call_s=1e-5) if "Gemm" not in line]
    with pytest.raises(UsageError, match="--prior"):
        fitted(run_of(text), fitted(run_of(lines())))


def test_a_runtime_with_names_of_its_own_is_fitted_on_whole_networks() -> None:
    """Where the rules know none of its ops, their times would predict no network in notation."""
    run = run_of(lines(call_s=50e-6))
    renamed = {number: {"op": "Dense_kernel"} for number in range(100)}
    made = fitted(changed(run, renamed))
    assert any("not those that the rules give a network" in note for note in made.notes)
    asked = "784 fc700 fc10 linear"
    told = predict(made, lowering.of_spec(parse(asked), made.lowering, 8), 8)
    assert not told.unknown
    expected = seconds_of(784, 700, 8) + seconds_of(700, 10, 8) + 50e-6
    assert told.seconds == pytest.approx(expected, rel=0.1)
    assert not any("not those" in note for note in fitted(run).notes)


def test_ops_that_take_no_time_are_known_and_free() -> None:
    """A table with zeros for an op: it is no unknown op, and costs nothing."""
    run = changed(run_of(lines()), {0: {"op": "Dropout", "seconds": 0.0}})
    made = fitted(run)
    dropout = work.plain("Dropout", (64,))
    found = predict(made, [dropout], 1)
    assert found.unknown == ()
    assert found.seconds == 0


def test_times_that_cannot_be_told_from_0_are_left_out_and_counted() -> None:
    """Two ops whose interval reaches 0 change no term and no error, and a note counts them."""
    near = {"seconds": 1e-10, "low_s": 0.0, "high_s": 2e-7}
    run = run_of(lines())
    gone = fitted(changed(run, {0: {"seconds": 0.0}, 9: {"seconds": 0.0}}))
    made = fitted(changed(run, {0: near, 9: near}))
    for one, other in zip(made.terms, gone.terms, strict=True):
        assert one.coefficient == pytest.approx(other.coefficient)
    for mine, its in zip(made.groups, gone.groups, strict=True):
        assert mine.error == pytest.approx(its.error, abs=1e-9)
    assert (
        "2 of 42 op times cannot be told from 0 (standard error over 50 %) and are left out of the "
        "fit: 2 of Gemm." in made.notes
    )


def test_a_group_of_times_near_0_is_not_free() -> None:
    """Where no time of a group can be told from 0, they are better than none; views stay."""
    product, pool = work.gemm(64, 32), work.sliding("MaxPool", (8, 16, 16), (8, 8, 8), 2, 2)
    view = work.plain("Reshape", (64,))
    works = [product, product, pool, view, view]
    rows = rows_of(works, [1.0] * 5, spreads=[0.1, 2.0, 2.0, 0.1, 2.0])
    assert list(rows.groups) == ["gemm", "maxpool", "reshape", "reshape"]
    assert list(rows.spreads) == [0.1, 2.0, 0.1, 2.0]


def test_the_error_of_a_group_is_by_weight() -> None:
    """An op that is a thousandth of its network's time and ten times off hardly counts."""
    run = run_of(lines())
    assert run.measurements[0].ops
    seconds = run.measurements[0].ops.ops[0].seconds
    (group,) = (one for one in fitted(changed(run, {0: {"seconds": seconds / 1000}})).groups
                if one.name == "gemm")  # fmt: skip
    assert group.error is not None
    assert group.error < 1  # 22 if all counted alike


def test_a_pool_of_unknown_kind_stands_for_all() -> None:
    """Caffe says Pooling; networks in notation have MaxPool."""
    pools = [f"p,{batch},Pooling,{batch * 1e-3},8,{side},{side // 2},2,2,0"
             for side in (8, 16, 32) for batch in (1, 2)]  # fmt: skip
    header = "network,batch,op,time_s,Cin,H,Hout,k,stride,pad"
    made = fitted(run_of([header, *pools]))
    pool = work.at_batch(work.sliding("MaxPool", (8, 16, 16), (8, 8, 8), 2, 2), 2)
    found = predict(made, [pool], 2)
    assert found.unknown == ()
    assert found.seconds == pytest.approx(2e-3, rel=0.5)
    same = model.decode(model.encode(made), "again").same
    assert {same[name] for name in ("averagepool", "globalaveragepool", "maxpool")} == {"pooling"}


# --- weights --------------------------------------------------------------------------------------


def cell_with(op: OpTime, passes: tuple[OpPass, ...] = ()) -> Measurement:
    """A cell with one op."""
    cell = run_of(lines()).measurements[0]
    ops = OpPass(method="x", latency_s=op.seconds, ops=(op,))
    return msgspec.structs.replace(cell, ops=ops, op_passes=passes)


def test_the_spread_of_an_op_is_its_standard_error() -> None:
    """A 95 % interval of ±19.6 % is a standard error of 10 %, which is Huber's: it counts half.

    Half of what an op counts that is all of its network.
    """
    run = run_of(lines())
    assert run.measurements[0].ops
    op = run.measurements[0].ops.ops[0]
    wide = msgspec.structs.replace(op, low_s=op.seconds * 0.804, high_s=op.seconds * 1.196)
    rows = gather.gathered([msgspec.structs.replace(run, measurements=(cell_with(wide),))], ()).rows
    assert rows.spreads[0] == pytest.approx(0.1)
    assert rows.weights[0] == pytest.approx(0.5 / 1.02)


def test_the_spread_of_an_imported_op_is_that_of_its_repetitions() -> None:
    """Its smallest and largest time stand in for the interval; without them there is none."""
    with_ends = gather.gathered([run_of(lines(extremes=0.196))], ()).rows
    np.testing.assert_allclose(with_ends.spreads, 0.1, rtol=1e-6)
    assert not gather.gathered([run_of(lines())], ()).rows.spreads.any()


def test_ops_count_by_their_share_of_the_network() -> None:
    """An op of a fiftieth of its network's time counts half, one of a hundredth a third."""
    works = [work.gemm(64, 32)] * 3
    rows = rows_of(works, [1.0, 1.0, 1.0], shares=[1.0, 0.02, 0.01])
    np.testing.assert_allclose(rows.weights, [1 / 1.02, 1 / 2, 1 / 3])


# --- what is found --------------------------------------------------------------------------------


@given(st.floats(1e-6, 1e-4), st.floats(1e-13, 1e-10), st.floats(1e-11, 1e-9))
@settings(max_examples=8, deadline=None)
def test_a_device_of_known_coefficients_is_given_back(
    launch_s: float, flop_s: float, byte_s: float
) -> None:
    """Ops timed on it without noise predict other ops of it, and the sum of terms is the time."""
    works = [
        work.at_batch(work.gemm(inner, neurons), batch)
        for inner in (16, 100, 784, 3000) for neurons in (10, 130, 900) for batch in (1, 16, 300)
    ]  # fmt: skip
    truth = np.array([launch_s, flop_s, byte_s, byte_s, byte_s])
    rows = ["network,batch,op,time_s,Cin,Cout"]
    seconds = (features.matrix(NAMES, work.columns_of(works)) @ truth).tolist()
    for index, (one, time) in enumerate(zip(works, seconds, strict=True)):
        rows.append(f"n{index % 7},{one.batch:.0f},Gemm,{time!r},{one.k},{one.n}")
    made = fitted(run_of(rows))
    asked = [work.at_batch(work.gemm(500, 300), 50), work.at_batch(work.gemm(50, 30), 2)]
    for one in asked:
        expected = float((features.matrix(NAMES, work.columns_of([one])) @ truth)[0])
        found = predict(made, [one], int(one.batch))
        assert found.seconds == pytest.approx(expected, rel=0.02)
        assert sum(part.seconds for part in found.terms) == pytest.approx(found.seconds)


@pytest.mark.parametrize("count", [3, 6, 12])
def test_a_prior_and_few_ops_make_a_model(count: int) -> None:
    """Of another device twice as slow: with 3 ops scaled, with more better, and all are kept."""
    prior = fitted(run_of(lines(call_s=50e-6)))
    rows = lines((100, 300, 700, 2000))[: 1 + count]
    slow = [rows[0]]
    for row in rows[1:]:
        cells = row.split(",")
        slow.append(",".join([*cells[:3], str(2 * float(cells[3])), *cells[4:]]))
    made = fitted(run_of(slow), prior)
    assert made.calibration
    assert (made.calibration.points, made.calibration.scale) == (count, pytest.approx(2, rel=0.1))
    asked = work.at_batch(work.gemm(784, 500), 32)
    found = predict(made, [asked], 32).seconds
    call = 2 * prior.terms_of("network")[0].coefficient
    assert found - call == pytest.approx(2 * seconds_of(784, 500, 32), rel=0.15)
    assert {term.feature for term in made.terms_of("gemm")} == {
        term.feature for term in prior.terms_of("gemm")
    }


def test_ops_that_the_prior_lacks_are_fitted_on_their_own() -> None:
    """They are not dropped; a note names them."""
    prior = fitted(run_of(lines()))
    text = [*lines()[:13], "784 fc64 fc10 linear,1,Softmax,1e-5,10,10,,"]
    made = fitted(run_of(text), prior)
    assert predict(made, [work.plain("Softmax", (10,))], 1).unknown == ()
    assert any("softmax" in note for note in made.notes)


def test_ops_measured_alone_say_nothing_of_a_networks_interval() -> None:
    """Where 19 networks of several ops are there, ops alone, however far off, widen nothing."""
    cells = [
        gather.Cellular(str(number), 1, 1.0, None, (work.gemm(8, 8),) * ops)
        for number, ops in enumerate([1] * 30 + [5] * 19)
    ]
    known = np.ones(len(cells), dtype=bool)
    assert whole._like_asked(cells, known).tolist() == [False] * 30 + [True] * 19
    assert whole._like_asked(cells[:-1], known[:-1]).all()


def test_a_coefficient_outside_its_interval_is_not_identified() -> None:
    """Of two groups of 2016, what a table shows as known lies within the interval beside it."""
    runs = [STUDIES / f"{group}-onnxruntime.json" for group in ("group3", "group4")]
    terms = assemble.model(gather.read(runs)).terms
    known = [term for term in terms if term.identified and term.low is not None]
    assert known
    assert not [t for t in known if not t.low <= t.coefficient <= (t.high or 0)]  # type: ignore[operator]
