"""Models whose batch is not axis 0 of the first input: found, said, or asked for; never assumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from nnprof.cli.main import app
from nnprof.errors import BadFile, NnprofError, UsageError
from nnprof.exporters.axes import ALL
from nnprof.profiler import results, studies
from nnprof.profiler.backends.fake import BACKEND as FAKE
from nnprof.profiler.backends.onnxruntime import BACKEND as RUNTIME
from nnprof.profiler.report import lines, rows
from nnprof.profiler.run import begin, sweep
from nnprof.profiler.work import jobs, worker
from nnprof.types import Cell, Plan, Run, Study, Target

Shape = Sequence[int | str | None]
Make = Callable[[Path], None]
PLAN = Plan(processes=1, max_processes=1, warmup_s=0.0, sample_s=0.01, op_method="none")


def _weights(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(0).standard_normal(shape) * 0.1
    return numpy_helper.from_array(values.astype(np.float32), name)


def _axes(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _save(
    path: Path,
    nodes: Sequence[tuple[str, list[str], str]],
    inputs: dict[str, Shape],
    output: Shape,
    weights: Sequence[onnx.TensorProto] = (),
    **attributes: Any,
) -> None:
    """A float32 model of these nodes (type, reads, writes); the first has the attributes."""
    declared = helper.make_tensor_value_info
    made = [
        helper.make_node(op, reads, [writes], name=writes, **(attributes if not index else {}))
        for index, (op, reads, writes) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        made,
        "g",
        [declared(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [declared("y", TensorProto.FLOAT, output)],
        list(weights),
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def _scalar(path: Path) -> None:
    nodes = [("MatMul", ["x", "w"], "z"), ("Mul", ["z", "s"], "y")]
    inputs: dict[str, Shape] = {"x": ["batch", 64], "s": []}
    _save(path, nodes, inputs, ["batch", 32], [_weights("w", 64, 32)])


def _scalar_first(path: Path) -> None:
    nodes = [("MatMul", ["x", "w"], "z"), ("Mul", ["z", "s"], "y")]
    inputs: dict[str, Shape] = {"s": [], "x": [None, 64]}
    _save(path, nodes, inputs, [None, 32], [_weights("w", 64, 32)])


def _state(path: Path) -> None:
    nodes = [
        ("MatMul", ["x", "w"], "z"),
        ("ReduceSum", ["h0", "ax"], "s"),
        ("Add", ["z", "s"], "y"),
    ]
    inputs: dict[str, Shape] = {"x": ["batch", 64], "h0": [2, "batch", 32]}
    _save(path, nodes[1:2] + nodes[:1] + nodes[2:], inputs, ["batch", 32],
          [_weights("w", 64, 32), _axes("ax", 0)], keepdims=0)  # fmt: skip


def _anchors(path: Path) -> None:
    nodes = [("MatMul", ["x", "w"], "z"), ("MatMul", ["z", "h0"], "y")]
    inputs: dict[str, Shape] = {"x": ["batch", 64], "h0": [32, 10]}
    _save(path, nodes, inputs, ["batch", 10], [_weights("w", 64, 32)])


def _time_major(path: Path, batch: str = "batch") -> None:
    nodes = [("LSTM", ["x", "W", "R"], "y")]
    weights = [_weights("W", 1, 128, 16), _weights("R", 1, 128, 32)]
    _save(path, nodes, {"x": ["seq", batch, 16]}, ["seq", 1, batch, 32], weights, hidden_size=32)


def _unbatched(path: Path, shape: Shape = (3, 64, 64)) -> None:
    _save(path, [("Relu", ["x"], "y")], {"x": shape}, shape)


def _opened(cells: Sequence[Cell]) -> list[dict[str, np.ndarray]]:
    """What ONNX Runtime is really fed, of sessions that it opens."""
    found = []
    for cell in cells:
        session = RUNTIME.open(cell.workload, Target())
        found.append(dict(session._tiles))
        session.close()
    return found


@pytest.mark.parametrize(
    ("make", "arrays", "shapes"),
    [
        (_scalar, {"x": (4, 64), "s": ()}, {"x": (4, 64), "s": ()}),
        (_scalar_first, {"x": (4, 64), "s": ()}, {"x": (4, 64), "s": ()}),
        (_state, {"x": (4, 64), "h0": (2, 4, 32)}, {"x": (4, 64), "h0": (2, 4, 32)}),
        (_state, {"x": (1, 64), "h0": (2, 1, 32)}, {"x": (4, 64), "h0": (2, 4, 32)}),
        (_state, {"x": (9, 64), "h0": (2, 9, 32)}, {"x": (4, 64), "h0": (2, 4, 32)}),
        (_anchors, {"x": (4, 64), "h0": (32, 10)}, {"x": (4, 64), "h0": (32, 10)}),
        (_time_major, {"x": (100, 4, 16)}, {"x": (100, 4, 16)}),
        (_time_major, {"x": (100, 1, 16)}, {"x": (100, 4, 16)}),
    ],
)
def test_data_is_cut_along_its_batch_alone(
    tmp_path: Path, make: Make, arrays: dict[str, Shape], shapes: dict[str, Shape]
) -> None:
    """Scalars, states, tables and steps reach the runtime whole; tiles as many as asked."""
    make(tmp_path / "net.onnx")
    np.savez(tmp_path / "d.npz", **{name: np.ones(own, np.float32) for name, own in arrays.items()})
    cells = studies.named_cells([tmp_path / "net.onnx"], Target(), (4,), data=tmp_path / "d.npz")
    (fed,) = _opened(cells)
    assert {name: array.shape for name, array in fed.items()} == shapes
    assert cells[0].workload.tiles == 4


@pytest.mark.parametrize("shape", [(3, 64, 64), (16000,), (300, 2, 4), ()])
def test_without_a_batch_there_is_one_inference(tmp_path: Path, shape: Shape) -> None:
    """Channels, samples and steps are no tiles: none is counted unless --batch 1 says so."""
    path = tmp_path / "net.onnx"
    _unbatched(path, shape)
    ((alone,), (told,)) = (studies.named_cells([path], Target(), given) for given in ((), (1,)))
    assert (alone.workload.batch, alone.workload.tiles) == (1, None)
    assert (told.workload.batch, told.workload.tiles) == (1, 1)
    assert [array.shape for array in _opened([alone])[0].values()] == [tuple(shape)]
    with pytest.raises(UsageError, match="one inference and not batch 4") as caught:
        studies.named_cells([path], Target(), (4,))
    assert ("--batch-axis x=0" in caught.value.remedy) == bool(shape)


def test_uncounted_cells_claim_no_tiles(tmp_path: Path) -> None:
    """Tables, rows and lines of an unbatched model have milliseconds of an inference, no tiles."""
    _unbatched(tmp_path / "net.onnx")
    target = Target(backend="fake")
    cells = studies.named_cells([tmp_path / "net.onnx"], target)
    run, path = begin.start(cells, replace(PLAN, op_method="runtime"), tmp_path, name="test")
    list(sweep.sweep(run, path))
    run = results.load(path)
    (row,) = rows.rows(run)
    assert (row["batch"], row["tiles_per_ms"], row["ms_per_tile"]) == (1, None, None)
    assert row["latency_ms"] > 0
    assert [op["ms_per_tile"] for op in rows.op_rows(run)] == [None]
    assert lines.batch_lines(run) == [
        "Batch of net: unknown; one inference is timed, and no tiles are counted. Say where it is "
        "(--batch-axis x=AXIS), or that an inference is one tile (--batch 1)."
    ]


@pytest.mark.parametrize(
    ("make", "told", "line"),
    [
        (_scalar, {}, None),
        (_state, {}, "Batch of net: axis 0 of x, axis 1 of h0, as declared."),
        (_anchors, {}, "Batch of net: axis 0 of x, as declared. h0 given whole."),
        (_time_major, {}, "Batch of net: axis 1 of x, as declared."),
        (
            lambda path: _time_major(path, "lanes"),
            {},
            "Batch of net: axis 1 of x, guessed from the shapes. If it is another: --batch-axis "
            "x=AXIS, or x=none.",
        ),
        (_unbatched, {"x": 0}, "Batch of net: axis 0 of x, as given."),
        (_state, {ALL: None}, "Batch of net: none; an inference counts as one tile."),
    ],
)
def test_the_output_says_where_the_batch_is(
    tmp_path: Path, make: Make, told: dict[str, int | None], line: str | None
) -> None:
    """A line tells the axes, and how they are known, wherever they are not plainly the first."""
    make(tmp_path / "net.onnx")
    sides = studies.Sides(told, {"seq": 5} if make not in (_scalar, _state, _anchors, _unbatched)
                          else {"batch": 5} if ALL in told else {})  # fmt: skip
    batches = () if told == {"x": 0} else (1,)
    cells = studies.named_cells([tmp_path / "net.onnx"], Target(), batches, sides=sides)
    study = Study(name="s", command=(), created="", plan=PLAN, cells=cells)
    said = lines.batch_lines(Run(study=study, environment={}))
    assert [one for one in said if one.startswith("Batch")] == ([line] if line else [])


@pytest.mark.parametrize("side", [-1, 0, None, ""])
def test_numbers_below_one_are_free(tmp_path: Path, side: int | str | None) -> None:
    """A side of 0 or -1, as old converters write it, is free like one that is not set."""
    shape: Shape = [side, 3, 8, 8]
    nodes = [("Conv", ["x", "w"], "y")]
    _save(tmp_path / "net.onnx", nodes, {"x": shape}, [side, 8, 6, 6], [_weights("w", 8, 3, 3, 3)])
    cells = studies.named_cells([tmp_path / "net.onnx"], Target())
    assert [cell.workload.batch for cell in cells] == list(studies.BATCHES)
    assert cells[0].workload.model.inputs[0].shape == ("?", 3, 8, 8)
    session = RUNTIME.open(cells[1].workload, Target())
    assert session.infer(session._tiles)["y"].shape == (4, 8, 6, 6)
    assert [node.outputs for node in session.graph()][-1] == ((4, 8, 6, 6),)
    session.close()


def test_an_empty_state_stays_empty(tmp_path: Path) -> None:
    """A side of 0 that is meant, as of a state before the first token, can be asked for as 0."""
    inputs: dict[str, Shape] = {"x": ["batch", 2, 1, 8], "past": ["batch", 2, 0, 8]}
    _save(tmp_path / "net.onnx", [("Concat", ["past", "x"], "y")], inputs, ["batch", 2, 1, 8],
          axis=2)  # fmt: skip
    with pytest.raises(UsageError, match="'past' has a free dimension at axis 2") as caught:
        studies.named_cells([tmp_path / "net.onnx"], Target(), (2,))
    assert "--dim past.2=N" in caught.value.remedy
    sides = studies.Sides({}, {"past.2": 0})
    cells = studies.named_cells([tmp_path / "net.onnx"], Target(), (2,), sides=sides)
    assert _opened(cells)[0]["past"].shape == (2, 2, 0, 8)


def test_negative_inner_sides_are_asked_for(tmp_path: Path) -> None:
    """An inner side of -1 is asked for by input and axis, and runs once it is given."""
    path = tmp_path / "net.onnx"
    _unbatched(path, [-1, 3, -1, -1])
    with pytest.raises(UsageError, match="free dimension at axis 2") as caught:
        studies.named_cells([path], Target(), (2,))
    assert "--dim x.2=N --dim x.3=N" in caught.value.remedy
    sides = studies.Sides({}, {"x.2": 5, "x.3": 6})
    cells = studies.named_cells([path], Target(), (2,), sides=sides)
    assert _opened(cells)[0]["x"].shape == (2, 3, 5, 6)
    assert cells[0].workload.dims == {"x.2": 5, "x.3": 6}
    other = studies.named_cells(
        [path], Target(), (2,), sides=studies.Sides({}, {"x.2": 5, "x.3": 7})
    )
    assert cells[0].key != other[0].key


# --- probing --------------------------------------------------------------------------------------


def _pairs(path: Path) -> None:
    nodes = [("Reshape", ["x", "s"], "z"), ("MatMul", ["z", "w"], "y")]
    weights = [_weights("w", 64, 16), _axes("s", -1, 64)]
    _save(path, nodes, {"x": ["rows", 32]}, ["pairs", 16], weights)


def _never(path: Path) -> None:
    nodes = [("Reshape", ["x", "s"], "y")]
    _save(path, nodes, {"x": ["rows", 32]}, ["pairs", 7], [_axes("s", -1, 7)])


def _heard(_: object) -> None:
    """A probe has nothing to tell before its answer."""


@pytest.mark.parametrize(
    ("makes", "batches"),
    [
        ((_pairs,), (4,)),
        ((_pairs,), (1, 4)),
        ((_pairs, _never), (1, 2)),
        ((_never, _scalar), (1,)),
    ],
)
def test_a_network_is_probed_at_what_was_asked(
    tmp_path: Path, makes: tuple[Make, ...], batches: tuple[int, ...]
) -> None:
    """A batch that nobody asked for is not tried, and one that fails does not stop the others."""
    for make in makes:
        make(tmp_path / f"{make.__name__}.onnx")
    paths = [tmp_path / f"{make.__name__}.onnx" for make in makes]
    works = tuple(cell.workload for cell in studies.named_cells(paths, Target(), batches))
    answer = worker.do(jobs.Probe(target=Target(), workloads=works), _heard)
    assert isinstance(answer, jobs.Probed)


def test_a_study_that_cannot_run_at_all_is_refused(tmp_path: Path) -> None:
    """Where no network opens at any batch, the runtime's words come before anything is measured."""
    _never(tmp_path / "net.onnx")
    works = tuple(
        cell.workload for cell in studies.named_cells([tmp_path / "net.onnx"], Target(), (1, 2))
    )
    answer = worker.do(jobs.Probe(target=Target(), workloads=works), _heard)
    assert isinstance(answer, jobs.Fault)
    assert answer.reason.startswith("ONNX Runtime refuses net:")


def test_a_cell_that_cannot_run_is_a_failure(tmp_path: Path) -> None:
    """The batch that a network cannot run at fails in its cell, and the others are measured."""
    _scalar(tmp_path / "net.onnx")
    target = Target(backend="fake", options={"fault": "error", "fault_batch": "1"})
    cells = studies.named_cells([tmp_path / "net.onnx"], target, (1, 2))
    run, path = begin.start(cells, PLAN, tmp_path, name="test")
    list(sweep.sweep(run, path))
    run = results.load(path)
    assert [failure.workload.batch for failure in run.failures] == [1]
    assert [measurement.workload.batch for measurement in run.measurements] == [2]


# --- the flags ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--batch-axis", "x"], "--batch-axis x is no axis of an input."),
        (["--batch-axis", "x=1.5"], "--batch-axis x=1.5 is no axis of an input."),
        (["--batch-axis", "x=7"], "Input 'x' has no axis 7: its axes are 0 to 1."),
        (["--batch-axis", "tiles=0"], "There is no input 'tiles'. Inputs: x, s."),
        (["--batch-axis", "s=0"], "Input 's' has no axis 0: it is a scalar."),
        (["--batch-axis", "x=0", "--batch-axis", "x=1"], "--batch-axis x=1 says it a second time."),
        (["--dim", "length=x"], "--dim length=x is no size of a side."),
        (["--dim", "length=-1"], "--dim length=-1 is no size of a side."),
        (["--dim", "length=9"], "No side 'length' is free. Leave --dim out."),
        (["--dim", "batch=9"], "'batch' is the batch of net. Give it with --batch 9."),
        (["--dim", "x.0=9"], "'x.0' is the batch of net. Give it with --batch 9."),
    ],
)
def test_wrong_flags_are_refused(tmp_path: Path, flags: list[str], reason: str) -> None:
    """A flag that names nothing of the model, or is not written as it should be, is exit code 2."""
    _scalar(tmp_path / "net.onnx")
    asked = ["bench", str(tmp_path / "net.onnx"), "--out", str(tmp_path / "out"), *flags]
    with pytest.raises(NnprofError) as caught:
        CliRunner().invoke(app, asked, catch_exceptions=False)
    assert str(caught.value).startswith(reason) or caught.value.reason.startswith(reason)
    assert not (tmp_path / "out").exists()


def test_the_flags_are_kept_in_the_run(tmp_path: Path) -> None:
    """What --batch-axis and --dim said is in the Run, and in the key of its cells."""
    _time_major(tmp_path / "net.onnx", "lanes")
    asked = ["bench", str(tmp_path / "net.onnx"), "--backend", "fake", "--ops", "none", "--quick"]
    asked += ["--batch", "3", "--batch-axis", "x=-2", "--dim", "seq=20", "--format", "json"]
    said = CliRunner().invoke(app, [*asked, "--out", str(tmp_path)], catch_exceptions=False)
    work = json.loads(said.stdout)["measurements"][0]["workload"]
    assert (work["model"]["batch_axes"], work["model"]["batch_from"]) == ({"x": 1}, "given")
    assert work["dims"] == {"seq": 20}
    (path,) = tmp_path.glob("*.json")
    (cell,) = results.load(path).study.cells
    assert cell.key.endswith("|seq=20|x@1")


def test_the_fake_runtime_gives_outputs_of_such_models(tmp_path: Path) -> None:
    """The fake backend's outputs have the batch where names put it."""
    _time_major(tmp_path / "net.onnx")
    sides = studies.Sides({}, {"seq": 7})
    (cell,) = studies.named_cells([tmp_path / "net.onnx"], Target(), (3,), sides=sides)
    session = FAKE.open(cell.workload, Target(backend="fake"))
    made = session.infer({"x": np.ones((7, 3, 16), np.float32)})
    assert made["y"].shape == (7, 1, 3, 32)


def test_a_bound_batch_on_another_axis_is_obeyed(tmp_path: Path) -> None:
    """A fixed side that the user calls the batch binds the model to it."""
    _unbatched(tmp_path / "net.onnx", (100, 8, 16))
    path, sides = tmp_path / "net.onnx", studies.Sides({"x": 1})
    (cell,) = studies.named_cells([path], Target(), sides=sides)
    assert (cell.workload.batch, cell.workload.tiles) == (8, 8)
    with pytest.raises(UsageError, match="bound to batch 8, not 4"):
        studies.named_cells([path], Target(), (4,), sides=sides)
    np.savez(tmp_path / "d.npz", x=np.ones((100, 2, 16)))
    (cell,) = studies.named_cells([path], Target(), data=tmp_path / "d.npz", sides=sides)
    assert _opened([cell])[0]["x"].shape == (100, 8, 16)
    np.savez(tmp_path / "d.npz", x=np.ones((99, 8, 16)))
    with pytest.raises(BadFile, match="holds 99×8×16, but input 'x' needs 100×8×16"):
        studies.named_cells([path], Target(), data=tmp_path / "d.npz", sides=sides)
