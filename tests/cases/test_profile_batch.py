"""The batch of a profile: as told, as the network's file says, or as shapes show beyond doubt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from ort_profiles import Event, Shapes, imported, node, run, write

from nnprof.errors import BadFile, UsageError
from nnprof.profiler import checks

EMBEDDED = [
    ("Gather", 40, [[5000, 64], [4, 16]], [[4, 16, 64]]),
    ("MatMul", 900, [[4, 16, 64], [64, 64]], [[4, 16, 64]]),
]
Ops = list[tuple[str, int, Shapes, Shapes]]


def profile(path: Path, *runs: Ops) -> Path:
    """A profile of runs that each begin with a cold start of their own."""
    events: list[Event] = []
    ts = 1000
    for ops in runs:
        start = ts
        for at, (op, dur, ins, outs) in enumerate(ops):
            events.append(node(f"{op}_{at}", op, dur, ts, ins, outs))
            ts += dur
        events.append(run(ts - start + 10, start))
        ts += 50
    return write(path, events)


def image(batch: int, side: int = 9) -> Ops:
    """A convolution and an activation."""
    made = [[batch, 8, side - 2, side - 2]]
    return [("Conv", 500, [[batch, 3, side, side], [8, 3, 3, 3]], made), ("Relu", 9, made, made)]


@pytest.mark.parametrize(
    "ops",
    [
        EMBEDDED,
        [("MatMul", 9, [[300, 64], [64, 8]], [[300, 8]])],  # a table of 300 anchors
        [("LSTM", 9, [[100, 4, 64], [1, 256, 64], [1, 256, 64]], [[100, 1, 4, 64]])],
        [("MatMul", 9, [[768, 768], [8, 768]], [[768, 8]])],  # weights first
        [("Unsqueeze", 1, [[3, 32, 32], [1]], [[1, 3, 32, 32]]), *image(1, 32)],
        [("Reshape", 1, [[4, 10, 3, 9, 9], [4]], [[40, 3, 9, 9]]), *image(40)],
        [("Relu", 9, [[]], [[]])],
        [("Conv", 9, [[7]], [[7]])],
    ],
)
def test_a_batch_that_shapes_do_not_show_is_asked_for(ops: Ops, tmp_path: Path) -> None:
    """Weights, sequences, anchors and images are no batch; one that is told is believed."""
    path = profile(tmp_path / "p.json", *[ops] * 4)
    with pytest.raises(UsageError, match=r"does not tell the batch\. Tell it with --batch N"):
        imported(path)
    (cell,) = imported(path, batch=4)
    assert (cell.workload.batch, cell.workload.counts_tiles) == (4, True)


def test_convolutions_show_the_batch(tmp_path: Path) -> None:
    """The first axis of what goes into one is the batch, as ONNX defines it."""
    (cell,) = imported(profile(tmp_path / "p.json", *[image(16)] * 4))
    assert cell.workload.batch == 16
    (cell,) = imported(profile(tmp_path / "p.json", *[image(16)] * 4), batch=2)
    assert cell.workload.batch == 2
    assert checks.text(cell.checks[-1])[0] == "The batch 2 was told; the shapes say 16."


def test_two_batches_of_one_session_are_two_cells(tmp_path: Path) -> None:
    """In turns or one after the other; each has a cold start, and --batch picks one."""
    for order in ((4, 4, 4, 16, 16, 16), (4, 16, 4, 16, 4, 16)):
        path = profile(tmp_path / "p.json", *[image(batch) for batch in order])
        cells = imported(path)
        assert [cell.workload.batch for cell in cells] == [4, 16]
        assert [(len(c.samples_s[0]), len(c.warmups_s[0])) for c in cells] == [(2, 1)] * 2
        assert [c.ops.ops[0].inputs[0][0] for c in cells if c.ops] == [4, 16]
        (one,) = imported(path, batch=16)
        assert one.workload.batch == 16
        with pytest.raises(UsageError, match=r"no runs at batch 5\. It has: 4, 16"):
            imported(path, batch=5)


def test_runs_of_other_shapes_are_never_one_cell(tmp_path: Path) -> None:
    """Two lengths of a text at batches that nothing shows: the sentence names the difference."""
    other = [
        ("Gather", 40, [[5000, 64], [4, 20]], [[4, 20, 64]]),
        ("MatMul", 900, [[4, 20, 64], [64, 64]], [[4, 20, 64]]),
    ]
    path = profile(tmp_path / "p.json", EMBEDDED, EMBEDDED, other, other)
    with pytest.raises(UsageError, match=r"Gather_0: 5000x64 4x16, then 5000x64 4x20") as caught:
        imported(path, batch=4)
    assert "--onnx, or profile each in a session of its own" in str(caught.value)
    with pytest.raises(UsageError, match="different shapes"):
        imported(profile(tmp_path / "q.json", *[image(4)] * 2, *[image(4, 12)] * 2))


# --- with the network's file ----------------------------------------------------------------------


def embedding(path: Path, ids: list[object]) -> Path:
    """A network that looks rows up in a table, and multiplies them."""
    rng = np.random.default_rng(0)
    inits = [
        numpy_helper.from_array(rng.random((500, 8), np.float32), "table"),
        numpy_helper.from_array(rng.random((8, 8), np.float32), "w"),
    ]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"], name="emb"),
        helper.make_node("MatMul", ["e", "w"], ["y"], name="mm"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ids)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [*ids, 8])],
        inits,
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def ran(model: Path, *shapes: tuple[int, ...]) -> Path:
    """A profile of this network that ONNX Runtime writes here and now."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(model.with_suffix(""))
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    for shape in shapes:
        session.run(None, {"ids": np.ones(shape, np.int64)})
    return Path(session.end_profiling())


def test_the_file_of_the_network_tells_the_batch(tmp_path: Path) -> None:
    """Where it declares one: first, last, or in a session of two."""
    first = embedding(tmp_path / "first.onnx", ["batch", "seq"])
    path = ran(first, *[(4, 16)] * 3)
    with pytest.raises(UsageError, match="--batch"):
        imported(path)
    (cell,) = imported(path, first)
    assert (cell.workload.batch, cell.workload.model.batch_axes) == (4, {"ids": 0})
    assert cell.ops is not None
    assert [op.op for op in cell.ops.ops] == ["Gather", "MatMul"]
    (cell,) = imported(path, first, batch=2)
    assert cell.workload.batch == 2
    last = embedding(tmp_path / "last.onnx", ["seq", "batch"])
    cells = imported(ran(last, *[(16, 4)] * 3, *[(16, 2)] * 3), last)
    assert [cell.workload.batch for cell in cells] == [4, 2]


def test_a_batch_that_the_network_is_bound_to_is_no_other(tmp_path: Path) -> None:
    """A file of batch 1 did not run at 4; one that has no batch counts no tiles."""
    bound = embedding(tmp_path / "bound.onnx", [1, 16])
    path = ran(bound, *[(1, 16)] * 3)
    with pytest.raises(UsageError, match="bound to batch 1, not 4"):
        imported(path, bound, batch=4)
    (cell,) = imported(path, bound)
    assert cell.workload.batch == 1
    none = embedding(tmp_path / "none.onnx", [40])
    (cell,) = imported(ran(none, *[(40,)] * 3), none)
    assert (cell.workload.batch, cell.workload.counts_tiles) == (1, False)


def test_a_file_that_is_no_network_is_one_sentence(tmp_path: Path) -> None:
    """`--onnx` junk is refused before anything is read from it."""
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"\x08\xff junk")
    path = profile(tmp_path / "p.json", *[image(16)] * 4)
    for onnx_file in (junk, tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(BadFile, match=onnx_file.name):
            imported(path, onnx_file)
