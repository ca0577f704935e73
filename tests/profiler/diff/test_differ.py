"""Two Runs of one network, by ONNX node."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from msgspec.structs import replace

from nnprof.errors import UsageError
from nnprof.profiler import results, stats
from nnprof.profiler.diff.differ import diff
from nnprof.profiler.diff.values import CellDiff, DiffRow
from nnprof.profiler.importers import cell as importers_cell
from nnprof.profiler.importers import runs
from nnprof.profiler.importers.importer import Told
from nnprof.types import Check, Measurement, OpTime, Paired, Run

DATA = Path(__file__).parents[2] / "data"
BUNDLED = Path(__file__).parents[3] / "networks" / "bundled" / "mnist.onnx"
Kept = Callable[[str], Run]
PAIRS = [
    ("onnxruntime-fp32", "onnxruntime-int8"),
    ("onnxruntime-fp32", "openvino-fp32"),
    ("openvino-fp32", "openvino-int8"),
    ("onnxruntime-int8", "openvino-int8"),
    ("torch", "onnxruntime-fp32"),
    ("onnxruntime-int8", "torch"),
]


def _names(run: Run) -> list[str]:
    """The nodes of the first cell's model, by its file."""
    graph = onnx.load(run.measurements[0].workload.model.path, load_external_data=False).graph
    return [node.name for node in graph.node]


def _row(cell: CellDiff, name: str) -> DiffRow:
    return next(row for row in cell.rows if name in row.label.split())


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_every_onnx_node_is_in_one_row(kept: Kept, a: str, b: str) -> None:
    """Of real Runs: the nodes of both files, each once, and all ops of both sides, each once."""
    first, second = kept(a), kept(b)
    (cell,) = diff(first, second).cells
    names = [node.name for node in cell.nodes]
    assert sorted(names) == sorted({*_names(first), *_names(second)})
    for side, run in (("a", first), ("b", second)):
        found = [op.index for row in cell.rows for op in getattr(row, side)]
        ops = run.measurements[0].ops
        assert ops
        assert sorted(found) == [op.index for op in ops.ops]


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_rows_and_rest_make_the_whole(kept: Kept, a: str, b: str) -> None:
    """Rows and what is left over add up to the clean medians' difference; the rest is residuals."""
    first, second = kept(a), kept(b)
    (cell,) = diff(first, second).cells
    medians = [stats.latency_s(run.measurements[0]) for run in (first, second)]
    assert cell.delta_s == pytest.approx(medians[1] - medians[0])
    assert math.fsum(row.delta_s or 0.0 for row in cell.rows) == pytest.approx(cell.rows_s)
    assert cell.rows_s + cell.left_over_s == pytest.approx(cell.delta_s)
    assert cell.left_over_s == pytest.approx(cell.b.residual_s - cell.a.residual_s)
    sizes = [abs(row.delta_s or 0.0) for row in cell.rows]
    assert sizes == sorted(sizes, reverse=True)


def test_int8_on_the_same_runtime_is_explained(kept: Kept) -> None:
    """Rows of fp32 against int8 make up the difference within 5 %; the worst has a reason."""
    (cell,) = diff(kept("onnxruntime-fp32"), kept("onnxruntime-int8")).cells
    assert abs(cell.left_over_s) < 0.05 * abs(cell.delta_s)
    worst = cell.rows[0]
    assert worst.label == "conv1 conv1_relu"
    assert worst.verdict == "SLOWER"
    assert worst.reasons[:2] == ("no longer on blocks of channels", "Conv → QLinearConv")
    assert ("precision", "fp32", "int8") in cell.unlike
    quantise = _row(cell, "tiles_QuantizeLinear")
    assert (quantise.a, quantise.a_s, quantise.reasons) == ((), 0.0, ("quantise added",))


def test_what_became_of_a_node(kept: Kept) -> None:
    """The Relu that the quantiser took out is absent from b; weights of fp32 are in no op of a."""
    (cell,) = diff(kept("onnxruntime-fp32"), kept("onnxruntime-int8")).cells
    fates = {node.name: (node.op, node.a, node.b) for node in cell.nodes}
    assert fates["conv1_relu"] == ("Relu", "ran", "absent")
    assert fates["conv1.weight_DequantizeLinear"] == ("DequantizeLinear", "absent", "ran")
    (cell,) = diff(kept("openvino-fp32"), kept("openvino-int8")).cells
    fates = {node.name: (node.op, node.a, node.b) for node in cell.nodes}
    assert fates["conv1.weight_DequantizeLinear"] == ("DequantizeLinear", "absent", "folded")


def test_a_verdict_stands_only_beyond_doubt(kept: Kept) -> None:
    """A row is SLOWER or FASTER just where its interval holds no 0, and on the right side."""
    for a, b in PAIRS:
        for row in diff(kept(a), kept(b)).cells[0].rows:
            if row.low_s is None or row.high_s is None:
                assert row.verdict == ""
                continue
            assert row.low_s <= (row.delta_s or 0.0) <= row.high_s
            assert (row.verdict == "SLOWER") == (row.low_s > 0)
            assert (row.verdict == "FASTER") == (row.high_s < 0)


def test_a_run_against_itself_has_no_difference(kept: Kept) -> None:
    """No row differs, none has a verdict, and each op is beside itself."""
    run = kept("openvino-int8")
    (cell,) = diff(run, run).cells
    assert {row.delta_s for row in cell.rows if row.kind != "folded"} == {0.0}
    assert not any(row.verdict for row in cell.rows)
    assert all(row.a == row.b for row in cell.rows)


def test_sides_swap(kept: Kept) -> None:
    """Held the other way round, each row has the difference with the other sign."""
    a, b = kept("onnxruntime-fp32"), kept("openvino-int8")
    (there,), (back,) = diff(a, b).cells, diff(b, a).cells
    told = {row.label: row.delta_s for row in there.rows if row.nodes}
    for row in back.rows:
        if row.nodes and row.delta_s is not None:
            assert told[row.label] == pytest.approx(-row.delta_s)


def test_a_file_that_is_gone_is_said(kept: Kept, tmp_path: Path) -> None:
    """Without b's file, or with another in its place, a note says so; nodes of ops stay."""
    a, b = kept("onnxruntime-fp32"), kept("onnxruntime-int8")
    for what, words in (("gone", "is not there"), ("changed", "is another file now")):
        path = tmp_path / f"{what}.onnx"
        if what == "changed":
            shutil.copy(BUNDLED, path)
        model = replace(b.measurements[0].workload.model, path=str(path))
        (cell,) = diff(a, _with_model(b, model)).cells
        assert any(words in note for note in cell.notes)
        assert _row(cell, "conv1").b
        names = [node.name for node in cell.nodes]
        assert len(names) == len(set(names))


def _with_model(run: Run, model: object) -> Run:
    cells = tuple(
        replace(one, workload=replace(one.workload, model=model)) for one in run.measurements
    )
    return replace(run, measurements=cells)


def test_the_file_of_the_other_side_serves_the_same_model(kept: Kept) -> None:
    """Where one side's file is gone, the other's with the same content tells all nodes."""
    a, b = kept("onnxruntime-fp32"), kept("openvino-fp32")
    model = replace(b.measurements[0].workload.model, path="/nowhere/mnist.onnx")
    (cell,) = diff(a, _with_model(b, model)).cells
    assert not cell.notes


def _with_ops(run: Run, change: Callable[[OpTime], OpTime]) -> Run:
    (one,) = run.measurements
    assert one.ops
    ops = replace(one.ops, ops=tuple(map(change, one.ops.ops)))
    return replace(run, measurements=(replace(one, ops=ops),))


def test_an_op_that_fell_back_is_named(kept: Kept) -> None:
    """On the int8 side a product in floating point is called that, by its type or its kernel."""

    def as_float(op: OpTime) -> OpTime:
        return replace(op, op="Gemm") if op.node == "fc1" else op

    (cell,) = diff(kept("onnxruntime-fp32"), _with_ops(kept("onnxruntime-int8"), as_float)).cells
    assert _row(cell, "fc1").reasons[0] == "fell back: Gemm computes in floating point"
    assert not any("fell back" in text for text in _row(cell, "fc2").reasons)

    def by_kernel(op: OpTime) -> OpTime:
        return replace(op, kernel="brgconv_avx512_f32") if op.index == 2 else op

    (cell,) = diff(kept("openvino-fp32"), _with_ops(kept("openvino-int8"), by_kernel)).cells
    assert "(brgconv_avx512_f32)" in _row(cell, "conv1").reasons[0]


def test_imported_profile_of_tensorrt(tmp_path: Path) -> None:
    """Layers of an engine line up with another's by the nodes in their metadata."""
    sides = []
    for version in ("8.6", "10.3"):
        folder = DATA / "trtexec" / version
        files = [folder / name for name in ("profile.json", "layers.json", "times.json")]
        sides.append(runs.import_run(files, Told(batch=64)))
    (cell,) = diff(*sides).cells
    assert _row(cell, "conv1").a
    assert _row(cell, "conv1").b
    assert {row.kind for row in cell.rows} >= {"nodes", "moved"}
    assert all(row.low_s is None and not row.verdict for row in cell.rows if row.a and row.b)
    assert cell.notes  # neither file is at hand


def test_imported_profile_of_onnxruntime(kept: Kept) -> None:
    """A profile names ops; their nodes follow from the file of the import, or of the other side."""
    there = kept("onnxruntime-fp32")
    (one,) = there.measurements
    for onnx_path in (BUNDLED, None):
        imported = _as_imported(one, onnx_path)
        (cell,) = diff(there, replace(there, measurements=(imported,))).cells
        assert [row.label for row in cell.rows if row.nodes and not (row.a and row.b)] == []
        assert _row(cell, "conv1").label == "conv1 conv1_relu"
        assert _row(cell, "fc1").label == "fc1 fc1_relu"
        call = next(row for row in cell.rows if row.kind == "call")
        assert (call.b_s, call.delta_s) == (None, None)  # a profile does not see it


def _as_imported(one: Measurement, path: Path | None) -> Measurement:
    """The ops as a profile tells them: by their names alone, without the call."""
    assert one.ops
    ops = [replace(op, origin=(), low_s=None, high_s=None) for op in one.ops.ops if op.op != "call"]
    model = one.workload.model
    if path is None:
        model = importers_cell.named_model("profile")
    return replace(
        one,
        workload=replace(one.workload, model=model),
        ops=replace(one.ops, ops=tuple(ops)),
        stopped="imported",
        processes=(),
    )


def test_two_networks_are_refused(kept: Kept) -> None:
    """Runs of two networks, of no common node, or without ops, are refused with a way out."""
    a, golden = kept("onnxruntime-fp32"), results.load(DATA / "run-v2.json")
    (one,) = a.measurements
    small = replace(golden, measurements=golden.measurements[:1])
    same_batch = replace(
        one, workload=replace(one.workload, batch=small.measurements[0].workload.batch)
    )
    with pytest.raises(UsageError, match="two networks"):
        diff(replace(a, measurements=(same_batch,)), small)
    with pytest.raises(UsageError, match="no finished cell of one network at one batch"):
        diff(a, small)
    with pytest.raises(UsageError, match="Side b has no op times"):
        diff(a, replace(a, measurements=(replace(one, ops=None),)))
    renamed = _with_ops(
        _with_model(a, replace(one.workload.model, path="", sha256="", network=None)),
        lambda op: replace(op, origin=tuple(f"x_{name}" for name in op.origin)),
    )
    with pytest.raises(UsageError, match="no ONNX node in common"):
        diff(a, renamed)


def test_two_precisions_of_one_run(kept: Kept) -> None:
    """A Run with fp32 and int8 is held against itself: fp32 is a, or what is asked for."""
    a, b = kept("onnxruntime-fp32"), kept("onnxruntime-int8")
    both = replace(a, measurements=(*a.measurements, *b.measurements))
    (cell,) = diff(both).cells
    assert (cell.a.precision, cell.b.precision) == ("fp32", "int8")
    (cell,) = diff(both, precisions=("int8", "fp32")).cells
    assert (cell.a.precision, cell.b.precision) == ("int8", "fp32")
    with pytest.raises(UsageError, match="No cell of b is fp16"):
        diff(both, precisions=("fp32", "fp16"))
    # Of two Runs like that, each precision has its own partner.
    assert [one.a.precision for one in diff(both, replace(both)).cells] == ["fp32", "int8"]


def test_pairs_give_the_interval_of_the_whole(kept: Kept) -> None:
    """Of processes that alternated, a shift of all pairs divides out of the end-to-end interval."""
    (one,) = kept("onnxruntime-fp32").measurements
    levels = [1.0, 1.5, 0.8, 2.0, 1.2, 0.9]
    wobble = [1.0, 1.001, 0.999, 1.002, 0.998, 1.0]
    created = kept("onnxruntime-fp32").study
    sides = []
    for side, factor in (("a", 1e-3), ("b", 1.1e-3)):
        samples = [
            factor * level * (shake if side == "b" else 1)
            for level, shake in zip(levels, wobble, strict=True)
        ]
        measured = replace(
            one,
            samples_s=tuple((value,) * 10 for value in samples),
            warmups_s=tuple((1.0,) for _ in samples),
            processes=tuple(
                replace(one.processes[0], pair=pair, waited_s=()) for pair in range(len(samples))
            ),
        )
        paired = Paired(side=side, other=f"{side}.json")  # type: ignore[arg-type]
        study = replace(created, paired=paired, created="2026-11-26T10:00:00+00:00")
        sides.append(replace(kept("onnxruntime-fp32"), measurements=(measured,), study=study))
    (cell,) = diff(*sides).cells
    assert cell.interval_from == "pairs"
    assert cell.low_s is not None
    assert cell.high_s is not None
    assert 0 < cell.low_s < cell.delta_s < cell.high_s < 2 * cell.delta_s
    apart = [replace(run, study=replace(run.study, paired=None)) for run in sides]
    (cell,) = diff(*apart).cells
    assert cell.interval_from == "processes"
    assert cell.low_s is not None
    assert cell.low_s < 0  # alone, the two are not told apart


def test_boards_that_differ_are_told_and_in_all_intervals(kept: Kept) -> None:
    """Where b ran on twins of unlike speed a note says so, and its rows and whole are less sure."""
    a, b = kept("onnxruntime-fp32"), kept("onnxruntime-int8")
    (before,) = diff(a, b).cells
    (one,) = b.measurements
    told = Check(
        code=stats.BOARDS_DIFFER,
        data={"fast": "x", "slow": "y", "change": 0.22, "steps": {"x": -0.1, "y": 0.1}},
    )
    processes = tuple(replace(p, board="xy"[number % 2]) for number, p in enumerate(one.processes))
    (cell,) = diff(
        a, replace(b, measurements=(replace(one, processes=processes, checks=(told,)),))
    ).cells
    (note,) = set(cell.notes) - set(before.notes)
    assert note.startswith("The boards of side b differ: y takes 22.0% longer than x.")
    assert cell.low_s is not None
    assert before.low_s is not None
    assert cell.low_s < before.low_s
    for row, old in zip(
        sorted(cell.rows, key=_place), sorted(before.rows, key=_place), strict=True
    ):
        if old.high_s is not None and old.b:
            assert row.high_s is not None
            assert row.high_s > old.high_s


def _place(row: DiffRow) -> int:
    return row.place
