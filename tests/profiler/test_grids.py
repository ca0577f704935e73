"""Grids: a Run over two parameters of a family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from nnprof.errors import UnknownName, UsageError
from nnprof.networks.families import parse_network
from nnprof.profiler import compare, grids, results, stats
from nnprof.types import Cell, Failure, Measurement, OpPass, Run

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "data" / "run-v1.json"
(GROUP3,) = (ROOT / "bench_results").glob("group3-cpu-*.json")


def measured(pattern: Measurement, network: str, batch: int, *levels_ms: float) -> Measurement:
    """The pattern as if it were that network, each process at a level of its own."""
    name = parse_network(network).name
    model = replace(pattern.workload.model, name=name, network=name, sha256=name)
    return replace(
        pattern,
        workload=replace(pattern.workload, model=model, batch=batch),
        samples_s=tuple((level * 1e-3,) for level in levels_ms),
        warmups_s=tuple((1.0,) for _ in levels_ms),
        processes=tuple(pattern.processes[0] for _ in levels_ms),
    )


def run_of(*cells: tuple[str, int] | tuple[str, int, Sequence[float]]) -> Run:
    """A Run of these networks and batches; levels in ms where they are told."""
    run = results.load(GOLDEN)
    found = [
        measured(run.measurements[1], network, batch, *(more[0] if more else (1.0, 1.1, 1.05)))
        for network, batch, *more in cells
    ]
    asked = tuple(Cell(workload=one.workload, target=one.target) for one in found)
    return replace(
        run, study=replace(run.study, cells=asked), measurements=tuple(found), failures=()
    )


def test_a_committed_run() -> None:
    """Each cell of group 3 is the tiles/ms of its measurement, with that one's interval."""
    run = results.load(GROUP3)
    grid = grids.of_run(run, "neurons", "fc")
    assert (grid.rows, grid.columns) == ((128, 256, 512, 1024, 2048), (1, 2, 3, 4, 5))
    name = "mattsson(conv=1, fc=3, depth=20, neurons=512)"
    (one,) = (m for m in run.measurements if m.workload.model.name == name)
    low_s, high_s = stats.interval_s(one) or (0.0, 0.0)
    told = [table[2][2] for table in (grid.low, grid.values, grid.high)]
    assert told == pytest.approx([1.024 / s for s in (high_s, stats.latency_s(one), low_s)])
    assert grid.fixed["batch"] == 1024
    assert grid.unit == "tiles/ms"


def test_time_of_a_kind() -> None:
    """With a kind, a cell is the sum of such ops' times per tile."""
    run = results.load(GROUP3)
    grid = grids.of_run(run, "neurons", "fc", "gemm")
    ops = run.measurements[0].ops
    assert ops
    seconds = sum(op.seconds for op in ops.ops if op.kind == "gemm")
    assert grid.values[0][0] == pytest.approx(seconds * 1e3 / 1024)
    assert grid.low[0][0] is None  # this Run kept one estimate for each op, without interval


def test_interval_of_a_kind_is_over_processes() -> None:
    """Where several processes timed the ops, the interval of a kind is that over their sums."""
    run = run_of(("mattsson(fc=1)", 8))
    (one,) = run.measurements
    assert one.ops
    kind = one.ops.ops[0].kind
    passes = tuple(
        OpPass(
            method="runtime", latency_s=1.0, process=at,
            ops=tuple(replace(op, seconds=op.seconds * part) for op in one.ops.ops),
        )
        for at, part in enumerate((0.9, 1.0, 1.1))
    )  # fmt: skip
    one = replace(one, ops=replace(passes[1], method="runtime"), op_passes=passes)
    grid = grids.of_run(replace(run, measurements=(one,)), "conv", "fc", kind)
    low, value, high = grid.low[0][0], grid.values[0][0], grid.high[0][0]
    assert None not in (low, value, high)
    assert low < 0.9 * value < 1.1 * value < high  # t with 2 degrees of freedom is wide
    ops = tuple(replace(op, low_s=op.seconds / 2, high_s=op.seconds * 2) for op in passes[1].ops)
    alone = replace(one, ops=replace(passes[1], ops=ops), op_passes=())
    grid = grids.of_run(replace(run, measurements=(alone,)), "conv", "fc", kind)
    assert (grid.low[0][0], grid.high[0][0]) == pytest.approx((value / 2, value * 2))


def test_what_varies_besides_must_be_chosen() -> None:
    """A third parameter that varies is named with its values, and with the words that choose."""
    run = run_of(("mattsson(fc=1)", 4), ("mattsson(fc=2)", 4), ("mattsson(fc=2)", 8))
    with pytest.raises(UsageError, match=r"batch: 4, 8.*--where batch=4"):
        grids.of_run(run, "conv", "fc")
    assert grids.of_run(run, "conv", "fc", where={"batch": "4"}).columns == (1, 2)
    with pytest.raises(UsageError, match=r"No cell has batch=5. Its values: 4, 8"):
        grids.of_run(run, "conv", "fc", where={"batch": 5})
    for wrong in (("layers", "fc"), ("conv", "depths")):
        with pytest.raises(UnknownName, match="Known: batch, conv, depth"):
            grids.of_run(run, *wrong)
    with pytest.raises(UsageError, match="both row and column"):
        grids.of_run(run, "fc", "fc")


def test_a_parameter_that_changes_nothing() -> None:
    """One ConvLayer is the same network with and without 1×1 pools, so it goes with either."""
    run = run_of(
        ("mattsson(conv=1)", 4), ("mattsson(conv=2, pool1=1)", 4), ("mattsson(conv=3, pool1=1)", 4)
    )
    grid = grids.of_run(run, "conv", "batch")
    assert grid.rows == (1, 2, 3)
    assert grid.fixed["pool1"] == 1
    assert grids.of_run(run, "conv", "batch", where={"pool1": 1}).rows == (1, 2, 3)
    mixed = run_of(("mattsson(conv=2)", 4), ("mattsson(conv=3, pool1=1)", 4))
    with pytest.raises(UsageError, match="pool1: 0, 1"):
        grids.of_run(mixed, "conv", "batch")


def test_what_has_no_number() -> None:
    """Missing, failed and doubled cells each have a state and no number; the others are there."""
    run = run_of(
        ("mattsson(fc=1)", 4), ("mattsson(fc=2)", 4), ("mattsson(fc=1)", 8),
        ("mattsson(fc=2, conv=2)", 8),
    )  # fmt: skip
    first, second, third, other = run.measurements
    failure = Failure(
        workload=second.workload, target=second.target, error="OutOfMemory", reason="no memory"
    )
    twin = replace(third, workload=replace(third.workload, seed=1))
    run = replace(run, measurements=(first, second, third, twin, other), failures=(failure,))
    grid = grids.of_run(run, "fc", "batch", where={"conv": 1})
    assert grid.states == (("measured", "several"), ("failed", "missing"))
    assert grid.values[0][0]
    assert [grid.values[0][1], *grid.values[1]] == [None] * 3
    assert any("2 measurements of fc=1, batch=8" in note for note in grid.notes)


def test_the_groups_in_one_run() -> None:
    """Four sub-studies in one Run, each network once: each is a grid of its own, whole."""
    numbers, depths, layers = (128, 256), (10, 20), (1, 2, 3)
    asked = [(f"mattsson(fc={fc})", batch) for fc in layers for batch in (4, 8)]
    asked += [(f"mattsson(conv={conv}, pool1=1)", batch) for conv in (2, 3) for batch in (4, 8)]
    asked += [(f"mattsson(fc={fc}, neurons={n})", 8) for fc in layers for n in numbers if n > 128]
    asked += [
        (f"mattsson(conv={c}, depth={d}, pool1=1)", 8) for c in layers for d in depths if d < 20
    ]
    run = run_of(*asked)
    for rows, columns, where in (
        ("fc", "batch", {"conv": 1, "depth": 20, "neurons": 128}),
        ("conv", "batch", {"fc": 1, "depth": 20, "neurons": 128}),
        ("fc", "neurons", {"conv": 1, "depth": 20, "batch": 8}),
        ("conv", "depth", {"fc": 1, "neurons": 128, "batch": 8}),
    ):
        grid = grids.of_run(run, rows, columns, where=where)
        assert (len(grid.rows), len(grid.columns)) == (3, 2), rows
        assert {state for row in grid.states for state in row} == {"measured"}, (rows, columns)


def test_what_was_not_measured() -> None:
    """A cell that the budget left out says so; one that was not reached yet is missing."""
    run = run_of(("mattsson(fc=1)", 4), ("mattsson(fc=2)", 4), ("mattsson(fc=3)", 4))
    run = replace(run, measurements=run.measurements[:1], left_out=(2,))
    assert grids.of_run(run, "conv", "fc").states == (("measured", "missing", "left out"),)


def test_networks_of_no_family_are_left_out_and_told() -> None:
    """A network in notation has no parameters: it is counted in a note; without others, refused."""
    run = run_of(("mattsson(fc=1)", 4), ("1x28x28 fc10", 4))
    assert grids.of_run(run, "conv", "fc").notes == (
        "1 cell left out: of no family, so without parameters.",
    )
    with pytest.raises(UsageError, match="No network of this Run is of a family"):
        grids.of_run(run_of(("1x28x28 fc10", 4)), "conv", "fc")


def test_a_kind_that_did_not_run() -> None:
    """A kind that the runtime fuses away is no zero: a sentence names the option that keeps it."""
    run = results.load(GROUP3)
    with pytest.raises(UsageError, match="--option optimise=0"):
        grids.of_run(run, "neurons", "fc", "elementwise")
    with pytest.raises(UnknownName, match="Known: conv, elementwise"):
        grids.of_run(run, "neurons", "fc", "dot")
    bare = replace(run, measurements=tuple(replace(one, ops=None) for one in run.measurements))
    with pytest.raises(UsageError, match="--ops runtime"):
        grids.of_run(bare, "neurons", "fc", "gemm")


def faster(run: Run, factor: float, **target: str) -> Run:
    """The Run as if another place had measured it so many times faster."""
    return replace(
        run,
        measurements=tuple(
            replace(
                one,
                target=replace(one.target, **target),
                samples_s=tuple(tuple(s / factor for s in samples) for samples in one.samples_s),
            )
            for one in run.measurements
        ),
    )


def test_across_two_runs() -> None:
    """A ratio is the second Run's time over the first one's; what differs is listed."""
    slow = run_of(("mattsson(fc=1)", 4), ("mattsson(fc=2)", 4))
    fast = faster(slow, 6, backend="other")
    grid = grids.across(fast, slow, "conv", "fc")
    assert grid.values[0] == pytest.approx((6, 6))
    low, high = grid.low[0][0], grid.high[0][0]
    assert low is not None
    assert high is not None
    assert low < 6 < high
    assert grid.unit == "b / a"
    assert "Differs: backend: other in a, fake in b." in grid.notes
    found = compare.compare(fast, slow, allow=["backend"]).cells[0]
    assert (low, high) == pytest.approx((found.low, found.high))


def test_across_what_one_side_lacks() -> None:
    """A cell that one side has not is named with that side; other networks are refused."""
    both = run_of(("mattsson(fc=1)", 4), ("mattsson(fc=2)", 4))
    one = run_of(("mattsson(fc=1)", 4))
    assert grids.across(one, both, "conv", "fc").states == (("measured", "missing in a"),)
    assert grids.across(both, one, "conv", "fc").states == (("measured", "missing in b"),)
    with pytest.raises(UsageError, match="batch: 4 and 8"):
        grids.across(one, run_of(("mattsson(fc=1)", 8)), "conv", "fc")
    with pytest.raises(UsageError, match="no measured cell of this grid in common"):
        grids.across(one, run_of(("mattsson(fc=2)", 4)), "conv", "fc")


def test_across_a_kind() -> None:
    """With a kind the ratio is that of its ops' times, whatever the whole network does."""
    run = results.load(GROUP3)
    slow = replace(
        run,
        measurements=tuple(
            replace(
                one,
                ops=replace(
                    one.ops,
                    ops=tuple(
                        replace(op, seconds=op.seconds * (105 if op.kind == "gemm" else 2))
                        for op in one.ops.ops
                    ),
                ),
            )
            for one in run.measurements
            if one.ops
        ),
    )
    for kind, ratio in (("gemm", 105), ("conv", 2), ("", 1)):
        grid = grids.across(run, slow, "neurons", "fc", kind)
        assert grid.values[1][3] == pytest.approx(ratio), kind
