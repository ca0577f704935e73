"""Ops of a profile: by run and by nesting, not by name; what a GPU worked, not its launches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from ort_profiles import Event, imported, kernel, node, run, write

from nnprof.errors import BadFile, UsageError
from nnprof.exporters.models import load_model
from nnprof.profiler import checks
from nnprof.profiler.backends.onnxruntime import BACKEND
from nnprof.types import Measurement, Target, Workload

CUDA = "CUDAExecutionProvider"


def ops_us(cell: Measurement) -> dict[str, int]:
    """Microseconds of each op, by place and type."""
    assert cell.ops is not None
    return {f"{op.index} {op.op}": round(op.seconds * 1e6) for op in cell.ops.ops}


def codes(cell: Measurement) -> list[str]:
    """Its checks."""
    return [check.code for check in cell.checks]


# --- names ----------------------------------------------------------------------------------------

CHAIN = (("Conv", 900), ("BatchNormalization", 300), ("Relu", 100), ("Conv", 700), ("MatMul", 50))
PLACES = {f"{at} {op}": dur for at, (op, dur) in enumerate(CHAIN)}


def chain(names: list[str], runs: int = 4) -> list[Event]:
    """A chain of ops, run several times; with fences, as older versions write them."""
    events, ts = [], 1000
    for _ in range(runs):
        start = ts
        for name, (op, dur) in zip(names, CHAIN, strict=True):
            args = {"op_name": op}
            fence = {"cat": "Node", "ph": "X", "tid": 1, "name": f"{name}_fence_before"}
            events.append({**fence, "dur": 1, "ts": ts, "args": args})
            took = {"cat": "Node", "ph": "X", "tid": 1, "name": f"{name}_kernel_time"}
            events.append({**took, "dur": dur, "ts": ts, "args": args})
            ts += dur + 10
        events.append(run(2100, start))
    return events


@pytest.mark.parametrize(
    "names", [[""] * 5, ["conv", "bn", "relu", "conv", "mm"], ["n"] * 5, ["", "a", "", "a", ""]]
)
def test_nodes_of_one_name_stay_several(names: list[str], tmp_path: Path) -> None:
    """Empty and equal names: five ops in their order, each with its own time."""
    (cell,) = imported(write(tmp_path / "p.json", chain(names)), batch=1)
    assert ops_us(cell) == PLACES
    assert cell.samples_s[0] == pytest.approx((2.1e-3,) * 3)


def test_a_file_sorted_by_start_is_the_same(tmp_path: Path) -> None:
    """A run that other programs wrote before its nodes holds those behind it."""
    events = sorted(chain([""] * 5), key=lambda one: (one["ts"], -one["dur"]))
    (cell,) = imported(write(tmp_path / "p.json", {"traceEvents": events}), batch=1)
    assert ops_us(cell) == PLACES


def test_a_run_that_was_cut_short_is_left_out_and_said(tmp_path: Path) -> None:
    """The event limit of the profiler ends a file within a run: its ops do not shift the others."""
    events = chain([""] * 5, runs=5)
    short = [one for at, one in enumerate(events) if not 44 <= at < 48]
    (cell,) = imported(write(tmp_path / "p.json", short), batch=1)
    assert ops_us(cell) == PLACES
    assert codes(cell)[-1] == "runs_differ"
    assert checks.text(cell.checks[-1])[0].startswith("1 of 5 runs")
    tail = [*chain([""] * 5), *chain([""] * 5)[:4]]
    (cell,) = imported(write(tmp_path / "p.json", tail), batch=1)
    assert ops_us(cell) == PLACES


def test_nodes_without_arguments_are_of_unknown_type(tmp_path: Path) -> None:
    """As DirectML writes them: three ops, 0.636 ms."""
    events, ts = [], 1000
    for _ in range(3):
        for name, dur in (("Fused_0_41", 378), ("Fused_4_63", 150), ("/lstm/LSTM", 108)):
            events.append({"cat": "Node", "ph": "X", "name": f"{name}_kernel_time"})
            events[-1] |= {"dur": dur, "ts": ts, "tid": 1}
            ts += dur
        events.append(
            {"cat": "Session", "ph": "X", "dur": 900, "ts": ts - 700, "name": "model_run"}
        )
    (cell,) = imported(write(tmp_path / "p.json", events), batch=1)
    assert ops_us(cell) == {"0 unknown": 378, "1 unknown": 150, "2 unknown": 108}


# --- nesting --------------------------------------------------------------------------------------


def looped(*, first: bool) -> list[Event]:
    """A Loop of 20 passes of two nodes, in three runs; the Loop before or behind its body."""
    events, ts = [], 1000
    for _ in range(3):
        body = []
        for step in range(20):
            at = ts + 20 + step * 30
            body += [node("mm", "MatMul", 20, at), node("act", "Relu", 5, at + 22)]
        loop = node("loop", "Loop", 640, ts + 10)
        events += [node("in", "Relu", 9, ts), *([loop, *body] if first else [*body, loop])]
        events += [node("out", "MatMul", 30, ts + 655), run(700, ts)]
        ts += 1000
    return events


@pytest.mark.parametrize("first", [True, False])
def test_what_ran_in_a_loop_counts_once_in_all_passes(first: bool, tmp_path: Path) -> None:
    """The Loop has the time of its 20 passes; its body adds nothing."""
    (cell,) = imported(write(tmp_path / "p.json", looped(first=first)), batch=1)
    assert ops_us(cell) == {"0 Relu": 9, "1 Loop": 640, "2 MatMul": 30}


def test_nesting_within_nesting(tmp_path: Path) -> None:
    """An If within a Loop within an If, with times cut to whole microseconds at both ends."""
    inside = [
        *(node("mm", "MatMul", 48, 102), node("mid", "If", 49, 101), node("l", "Loop", 51, 100)),
        *(node("outer", "If", 51, 100), node("last", "Relu", 0, 151), run(53, 99)),
    ]
    (cell,) = imported(write(tmp_path / "p.json", inside), batch=1)
    assert ops_us(cell) == {"0 If": 51, "1 Relu": 0}


def test_a_node_without_a_duration_before_an_if_is_not_in_it(tmp_path: Path) -> None:
    """A Shape that took less than a microsecond just before stays an op of its own."""
    events = [
        *(node("s", "Shape", 0, 100), node("a", "MatMul", 20, 105), node("if", "If", 30, 100)),
        run(40, 99),
    ]
    (cell,) = imported(write(tmp_path / "p.json", events), batch=1)
    assert ops_us(cell) == {"0 Shape": 0, "1 If": 30}


def weights(name: str, *shape: int) -> onnx.TensorProto:
    """Values of a fixed seed."""
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32) * 0.1
    return numpy_helper.from_array(values, name)


def value(name: str, kind: int, shape: list[object] | None) -> onnx.ValueInfoProto:
    """A tensor of a graph."""
    return helper.make_tensor_value_info(name, kind, shape)


def save(path: Path, nodes: list[onnx.NodeProto], extra: list[onnx.ValueInfoProto]) -> Path:
    """A network from x of Nx256 to y, with the weights w1, w2, w3 and a trip count."""
    inits = [weights("w1", 256, 256), weights("w2", 256, 256), weights("w3", 256, 8)]
    inits.append(numpy_helper.from_array(np.array(20, np.int64), "trip"))
    inputs = [value("x", TensorProto.FLOAT, ["N", 256]), *extra]
    outputs = [value("y", TensorProto.FLOAT, ["N", 8])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, inits)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def branch(name: str, weight: str, act: str) -> onnx.GraphProto:
    """A product and an activation."""
    nodes = [
        helper.make_node("MatMul", ["x", weight], [f"{name}t"], name=f"{name}mm"),
        helper.make_node(act, [f"{name}t"], [f"{name}o"], name=f"{name}act"),
    ]
    return helper.make_graph(nodes, name, [], [value(f"{name}o", TensorProto.FLOAT, None)])


def with_if(path: Path) -> Path:
    """An If whose branches are most of the work."""
    both = {"then_branch": branch("a", "w1", "Relu"), "else_branch": branch("b", "w2", "Tanh")}
    nodes = [
        helper.make_node("If", ["c"], ["z"], name="if", **both),
        helper.make_node("MatMul", ["z", "w3"], ["y"], name="mm"),
    ]
    return save(path, nodes, [value("c", TensorProto.BOOL, [])])


def with_loop(path: Path) -> Path:
    """A Loop of 20 passes."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["s", "w1"], ["t"], name="bmm"),
            helper.make_node("Relu", ["t"], ["so"], name="brelu"),
            helper.make_node("Identity", ["ci"], ["co"], name="bid"),
        ],
        "body",
        [
            *(value("i", TensorProto.INT64, []), value("ci", TensorProto.BOOL, [])),
            value("s", TensorProto.FLOAT, None),
        ],
        [value("co", TensorProto.BOOL, []), value("so", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Loop", ["trip", "", "x"], ["z"], name="loop", body=body),
        helper.make_node("MatMul", ["z", "w3"], ["y"], name="mm"),
    ]
    return save(path, nodes, [])


@pytest.mark.parametrize("build", [with_if, with_loop])
def test_live_and_imported_ops_add_up_to_the_run(
    build: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs inside of an If or a Loop is counted once: Σops is no more than the run."""
    model = load_model(build(tmp_path / "net.onnx"))  # type: ignore[operator]
    monkeypatch.chdir(tmp_path)
    session = BACKEND.open(Workload(model=model, batch=64), Target())
    live = session.op_times(0.02)
    assert [op.op for op in live.ops] in (["If", "MatMul"], ["Loop", "MatMul"])
    assert 0.5 * live.latency_s < sum(op.seconds for op in live.ops) <= 1.05 * live.latency_s
    session.close()
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.intra_op_num_threads = True, 1
    own = onnxruntime.InferenceSession(model.path, options, providers=["CPUExecutionProvider"])
    feeds = {"x": np.ones((64, 256), np.float32), "c": np.array(True)}
    for _ in range(5):
        own.run(None, {tensor.name: feeds[tensor.name] for tensor in own.get_inputs()})
    (cell,) = imported(Path(own.end_profiling()), batch=64)
    assert cell.ops is not None
    assert [op.op for op in cell.ops.ops] == [op.op for op in live.ops]
    total_s = sum(op.seconds for op in cell.ops.ops)
    assert 0.5 * cell.ops.latency_s < total_s <= 1.05 * cell.ops.latency_s


# --- devices --------------------------------------------------------------------------------------


def launches(*, kernels: bool, parents: bool = False, **more: object) -> list[Event]:
    """Four runs of three nodes on a GPU, with or without what it worked for them."""
    events, ts = [], 1000
    for _ in range(4):
        start = ts
        for name, op, launch, work in (
            *(("conv", "Conv", 30, (500, 400)), ("relu", "Relu", 12, (80,))),
            ("fc", "Gemm", 25, (400,)),
        ):
            events.append(node(name, op, launch, ts, provider=CUDA))
            said = {"parent_name": f"{name}_kernel_time"} if parents else {}
            events += [kernel(op, took, ts, **said) for took in work if kernels]
            ts += launch
        events.append(run(1450, start, **more))
    return events


@pytest.mark.parametrize("parents", [True, False])
def test_kernels_are_the_times_of_their_nodes(parents: bool, tmp_path: Path) -> None:
    """1.38 ms of work, not 0.067 ms of launches; several kernels of a node add up."""
    path = write(tmp_path / "p.json", launches(kernels=True, parents=parents))
    (cell,) = imported(path, batch=16)
    assert ops_us(cell) == {"0 Conv": 900, "1 Relu": 80, "2 Gemm": 400}


def test_two_nodes_of_one_type_keep_their_own_kernels(tmp_path: Path) -> None:
    """A kernel belongs to the node that it stands behind."""
    events = []
    for start in (1000, 2000):
        events += [node("a", "Conv", 9, start, provider=CUDA), kernel("Conv", 300, start)]
        events += [node("b", "Conv", 9, start + 10, provider=CUDA), kernel("Conv", 50, start + 10)]
        events += [node("r", "Reshape", 3, start + 20, provider=CUDA), run(400, start)]
    (cell,) = imported(write(tmp_path / "p.json", events), batch=1)
    assert ops_us(cell) == {"0 Conv": 300, "1 Conv": 50, "2 Reshape": 0}


def test_kernels_of_no_node_are_not_lost(tmp_path: Path) -> None:
    """A copy that belongs to no node stands under a name of its own."""
    events = []
    for start in (1000, 2000):
        events += [{**kernel("", 70, start), "args": {"stream": "7"}, "name": "Memcpy HtoD"}]
        events += [node("a", "Conv", 9, start, provider=CUDA), kernel("Conv", 300, start)]
        events.append(run(400, start))
    (cell,) = imported(write(tmp_path / "p.json", events), batch=1)
    assert ops_us(cell) == {"0 Conv": 300, "1 unknown": 70}


def test_launches_are_not_op_times(tmp_path: Path) -> None:
    """Without kernels a profile of a GPU has runs, and no ops; the check says why."""
    (cell,) = imported(write(tmp_path / "p.json", launches(kernels=False)), batch=16)
    assert cell.ops is None
    assert codes(cell) == ["not_clean", "launches_only"]
    assert "CUDAExecutionProvider only launched" in checks.text(cell.checks[1])[0]
    alone = write(tmp_path / "p.json", launches(kernels=False)[:3])
    with pytest.raises(UsageError, match=r"launches of CUDA.*enable_cuda_profiling"):
        imported(alone, batch=16)


def test_kernels_within_an_if_belong_to_it(tmp_path: Path) -> None:
    """A node on the host that launched work inside has the time of that work."""
    events = []
    for start in (1000, 2000):
        events += [node("mm", "MatMul", 9, start + 5, provider=CUDA), kernel("MatMul", 300, start)]
        events += [node("if", "If", 20, start), run(400, start)]
    (cell,) = imported(write(tmp_path / "p.json", events), batch=1)
    assert ops_us(cell) == {"0 If": 300}


# --- threads --------------------------------------------------------------------------------------


def test_ops_that_overlap_are_told(tmp_path: Path) -> None:
    """Nodes of several threads at one time add up to more than the run: a check says so."""
    events = []
    for start in (1000, 2000):
        events += [node("a", "MatMul", 500, start, tid=7), node("b", "MatMul", 480, start, tid=8)]
        events += [node("add", "Add", 20, start + 505, tid=7), run(540, start)]
    (cell,) = imported(write(tmp_path / "p.json", events), batch=1)
    assert ops_us(cell) == {"0 MatMul": 500, "1 MatMul": 480, "2 Add": 20}
    assert codes(cell) == ["not_clean", "ops_overlap"]


def test_the_order_of_threads_does_not_mix_nodes(tmp_path: Path) -> None:
    """Where each run has another order, a node is known by its name."""
    events = []
    for start, names in ((1000, "ab"), (2000, "ab"), (3000, "ba"), (4000, "ab")):
        for at, name in enumerate(names):
            took = {"a": 500, "b": 100}[name]
            events.append(node(name, "MatMul", took, start + at * 510, tid=at))
        events.append(run(700, start))
    (cell,) = imported(write(tmp_path / "p.json", events), batch=1)
    assert cell.ops is not None
    assert {op.node: round(op.seconds * 1e6) for op in cell.ops.ops} == {"a": 500, "b": 100}
    assert {op.runs for op in cell.ops.ops} == {3}


def test_runs_at_the_same_time_are_refused(tmp_path: Path) -> None:
    """Two threads that run one session: no run is one inference alone."""
    events = [node("a", "Relu", 9, 10), node("a", "Relu", 9, 12, tid=2), run(20, 5)]
    events.append(run(20, 8, tid=2))
    with pytest.raises(BadFile, match="several threads ran at the same time"):
        imported(write(tmp_path / "p.json", events), batch=1)


def test_runs_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    """Without the event of a whole run, nodes that come again are of several."""
    events = [node("a", "Relu", 9, 10), node("a", "Relu", 9, 30)]
    with pytest.raises(BadFile, match="where one inference ends"):
        imported(write(tmp_path / "p.json", events), batch=1)
    (cell,) = imported(write(tmp_path / "p.json", events[:1]), batch=1)
    assert ops_us(cell) == {"0 Relu": 9}
