"""Graphs that a runtime turns into something unexpected, and what it may raise (class E)."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnprof.errors import BadFile, NnprofError, OutOfMemory, UsageError
from nnprof.exporters.models import load_model
from nnprof.exporters.precision import Calibration, convert
from nnprof.profiler.backends.onnxruntime import BACKEND as ONNXRUNTIME
from nnprof.profiler.backends.openvino import BACKEND as OPENVINO
from nnprof.profiler.backends.refusals import translated
from nnprof.profiler.ports import Backend
from nnprof.profiler.timing import passes
from nnprof.types import Lost, OpPass, Plan, Target, Workload

LIGHT = Path(str(onnx.__file__)).parent / "backend" / "test" / "data" / "light"
QUICK = Plan(op_s=0.002)
SIDE = 8
FLOAT = TensorProto.FLOAT
node, value = helper.make_node, helper.make_tensor_value_info
X, Y = value("x", FLOAT, ["N", SIDE]), value("y", FLOAT, ["N", SIDE])


def weights(name: str, number: float = 0.1) -> onnx.TensorProto:
    """A square of one number."""
    return numpy_helper.from_array(np.full((SIDE, SIDE), number, np.float32), name)


def sides(name: str, *numbers: int) -> onnx.TensorProto:
    """A shape as a constant."""
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


def save(
    path: Path,
    nodes: Iterable[onnx.NodeProto],
    *constants: onnx.TensorProto,
    inputs: Iterable[onnx.ValueInfoProto] = (X,),
    outputs: Iterable[onnx.ValueInfoProto] = (Y,),
    listed: bool = False,
    ir: int = 8,
    opset: int = 17,
    **more: Any,
) -> Path:
    """An ONNX file; `listed` declares its constants as inputs, as IR version 3 wants it."""
    declared = [value(one.name, one.data_type, list(one.dims)) for one in constants if listed]
    graph = helper.make_graph(
        list(nodes), "g", [*inputs, *declared], list(outputs), list(constants), **more
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=ir)
    path.write_bytes(proto.SerializeToString())
    return path


def old(path: Path, nodes: Iterable[onnx.NodeProto], *constants: onnx.TensorProto) -> Path:
    """A file of IR version 3."""
    return save(path, nodes, *constants, listed=True, ir=3, opset=9)


def methods(path: Path, backend: Backend = ONNXRUNTIME) -> dict[str, int]:
    """How many ops each method times."""
    name = "onnxruntime" if backend is ONNXRUNTIME else "openvino"
    session = backend.open(Workload(model=load_model(path), batch=2), Target(backend=name))
    found = tuple(
        passes.all_passes(
            session, QUICK, {}, passes.Setting(call_s=0.0, latency_s=1e-5, cache_bytes=1 << 20)
        )
    )
    session.close()
    assert not [one for one in found if isinstance(one, Lost)]
    return {
        one.method: len(one.ops)
        for one in found
        if isinstance(one, OpPass) and one.method != "floor"
    }


def _equal_shapes(path: Path) -> Path:
    nodes = [
        node("Reshape", ["x", "s1"], ["a"], name="r1"),
        node("Relu", ["a"], ["b"], name="re"),
        node("Transpose", ["b"], ["c"], perm=[0, 2, 1], name="t"),
        node("Reshape", ["c", "s2"], ["d"], name="r2"),
        node("Reshape", ["d", "s3"], ["y"], name="r3"),
    ]
    return old(path, nodes, sides("s1", -1, 4, 2), sides("s2", -1, 4, 2), sides("s3", -1, SIDE))


def _chain(*names: str) -> list[onnx.NodeProto]:
    """Products of x with such weights in a row, Tanh between them."""
    nodes, flows = [], "x"
    for at, name in enumerate(names):
        nodes += [
            node("MatMul", [flows, name], [f"m{at}"]),
            node("Tanh", [f"m{at}"], ["y" if at + 1 == len(names) else f"t{at}"]),
        ]
        flows = f"t{at}"
    return nodes


def _folded(path: Path) -> Path:
    return old(path, [node("Add", ["a", "b"], ["w"]), *_chain("w")], weights("a"), weights("b"))


def _unused_input(path: Path) -> Path:
    return save(path, _chain("w"), weights("w"), inputs=[X, value("z", FLOAT, ["N", 3])])


def _constant_output(path: Path) -> Path:
    outputs = [Y, value("w", FLOAT, [SIDE, SIDE])]
    return save(path, _chain("w"), weights("w"), outputs=outputs)


def _passed_through(path: Path) -> Path:
    nodes = [node("Identity", ["x"], ["z"]), *_chain("w")]
    return save(path, nodes, weights("w"), outputs=[Y, value("z", FLOAT, ["N", SIDE])])


def _sparse(path: Path) -> Path:
    places = sides("i", *range(0, SIDE * SIDE, SIDE + 1))
    diagonal = numpy_helper.from_array(np.ones(SIDE, np.float32), "w")
    sparse = helper.make_sparse_tensor(diagonal, places, [SIDE, SIDE])
    return save(path, _chain("w"), sparse_initializer=[sparse])


def _listed(path: Path) -> Path:
    return save(path, _chain("w"), weights("w"), listed=True, ir=3, opset=13)


def _loop(path: Path) -> Path:
    body = helper.make_graph(
        [node("MatMul", ["v", "w"], ["o"]), node("Identity", ["go"], ["on"])],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("v", FLOAT, None),
        ],
        [value("on", TensorProto.BOOL, []), value("o", FLOAT, None)],
    )  # fmt: skip
    times = numpy_helper.from_array(np.int64(4), "n")
    go = numpy_helper.from_array(np.bool_(True), "t")
    return old(path, [node("Loop", ["n", "t", "x"], ["y"], body=body)], times, go, weights("w"))


@pytest.mark.parametrize(
    "make",
    [
        _equal_shapes,
        lambda path: old(path, _chain("a", "b"), weights("a"), weights("b")),
        lambda path: old(path, _chain("a"), weights("a"), weights("b")),
        _folded,
        _loop,
        lambda path: save(path, _chain("a", "b"), weights("a"), weights("b"), listed=True),
        _unused_input,
        _constant_output,
        _passed_through,
        _sparse,
    ],
    ids=[
        *("equal-shapes", "equal-weights", "unused-constant", "folded", "loop", "defaults"),
        *("unused-input", "constant-output", "passed-through", "sparse"),
    ],
)
def test_ops_of_whatever_the_runtime_made_of_it(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    """Inputs that the optimiser leaves behind, merges or takes out cost no method its ops."""
    found = methods(make(tmp_path / "net.onnx"))
    assert set(found) >= {"runtime", "isolated"}
    assert min(found.values()) >= 1


@pytest.mark.skipif(not LIGHT.is_dir(), reason="this onnx has no light models")
@pytest.mark.parametrize("name", ["squeezenet", "inception_v1"])
def test_old_files_of_the_zoo_have_ops(name: str) -> None:
    """Files of IR version 3 with a hundred equal constants are timed op by op."""
    path = LIGHT / f"light_{name}.onnx"
    session = ONNXRUNTIME.open(Workload(model=load_model(path), batch=1), Target())
    times = session.op_times(0.001)
    assert len(times.ops) == len(session.graph()) > 30
    assert all(node.inputs for node in session.graph())
    session.close()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("make", [_listed, _sparse])
def test_converters_get_a_plain_model(
    tmp_path: Path, make: Callable[[Path], Path], precision: str
) -> None:
    """Constants among the inputs and sparse weights, which the tools do not know, are converted."""
    tiles = Calibration(np.ones((SIDE, SIDE), np.float32), "tiles")
    made = convert(load_model(make(tmp_path / "net.onnx")), precision, tiles)
    assert [one.name for one in made.inputs] == ["x"]
    session = ONNXRUNTIME.open(Workload(model=made, batch=1, precision=precision), Target())
    (found,) = session.infer({"x": np.ones((1, SIDE), np.float32)}).values()
    session.close()
    assert found[0, 0] == pytest.approx(np.tanh(1.0 if make is _sparse else 0.1 * SIDE), abs=0.05)


@pytest.mark.parametrize(
    ("cast", "opset"), [(TensorProto.BFLOAT16, 19), (TensorProto.FLOAT8E4M3FN, 19)]
)
def test_types_that_cannot_be_handed_on_leave_the_runtime_alone(
    tmp_path: Path, cast: int, opset: int
) -> None:
    """Where what flows inside has no type in numpy, the runtime's own op times remain."""
    nodes = [node("Cast", ["x"], ["a"], to=cast), node("Cast", ["a"], ["y"], to=FLOAT)]
    assert methods(save(tmp_path / "net.onnx", nodes, opset=opset, ir=9)) == {"runtime": 2}


def test_a_scalar_input_stays_a_scalar(tmp_path: Path) -> None:
    """A condition that is an input has no sides when it is bound, for no runtime."""
    branches = {
        f"{name}_branch": helper.make_graph(
            [node(op, ["x"], [op])], op, [], [value(op, FLOAT, None)]
        )
        for name, op in (("then", "Tanh"), ("else", "Neg"))
    }
    path = save(
        tmp_path / "net.onnx",
        [node("If", ["c"], ["y"], **branches)],
        inputs=[X, value("c", TensorProto.BOOL, [])],
    )
    assert set(methods(path, OPENVINO)) == {"runtime"}


# --- refusals -------------------------------------------------------------------------------------


def _twice(path: Path) -> Path:
    nodes = [node("Relu", ["x"], ["a"], name="n"), node("Tanh", ["a"], ["y"], name="n")]
    return save(path, nodes)


def _maps(path: Path) -> Path:
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(FLOAT, None))
    out = helper.make_value_info("z", helper.make_sequence_type_proto(kind))
    zipped = node("ZipMap", ["x"], ["z"], domain="ai.onnx.ml", classlabels_int64s=range(SIDE))
    return save(path, [zipped], outputs=[out])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_twice, "two nodes with same node name.*are called 'n': give each a name of its own"),
        (_maps, "a sequence of maps.*zipmap=False"),
        (
            lambda path: save(path, [node("Gather", ["x", "i"], ["y"])], sides("i", 77)),
            "refuses net: .*out of data bounds.*another --batch, another --backend, or",
        ),
        (
            lambda path: save(path, [node("Relu", ["x"], ["y"])], opset=99),
            "refuses net: ONNX Runtime only .guarantees. support.*Opset 99",
        ),
        (
            lambda path: save(path, [node("Abs", ["x"], ["y"])], outputs=[value("y", FLOAT, None)]),
            "does not say what shape its output 'y' has",
        ),
        (
            lambda path: save(path, [node("Relu", ["x"], ["y"])], ir=99),
            "is of IR version 99; onnx .* reads up to .*Update onnx",
        ),
        (
            lambda path: save(path, [node("Abs", ["x"], ["y"])], inputs=[value("x", 99, ["N"])]),
            "is of type 99",
        ),
    ],
)  # fmt: skip
def test_the_true_reason_and_a_remedy_that_helps(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    """No remedy names a checker that finds nothing, no reason begins with the runtime's code."""
    with pytest.raises(BadFile, match=words) as caught:
        methods(make(tmp_path / "net.onnx"))
    assert "onnx.checker" not in caught.value.remedy
    assert "onnxruntime_src" not in str(caught.value)


def test_nothing_to_time_is_said_so(tmp_path: Path) -> None:
    """A network that was folded away whole runs; of its ops it is said that there are none."""
    path = save(
        tmp_path / "net.onnx",
        [node("Relu", ["w"], ["y"])],
        weights("w"),
        outputs=[value("y", FLOAT, [SIDE, SIDE])],
    )
    session = ONNXRUNTIME.open(Workload(model=load_model(path), batch=1), Target())
    with pytest.raises(BadFile, match=r"has no ops to time.*--ops none"):
        session.op_times(0.001)
    session.close()


def test_a_type_that_numpy_lacks_is_not_asked_for(tmp_path: Path) -> None:
    """A bfloat16 input is not sent to --data, whose files cannot carry it."""
    path = save(
        tmp_path / "net.onnx",
        [node("Cast", ["x"], ["y"], to=FLOAT)],
        inputs=[value("x", TensorProto.BFLOAT16, ["N", SIDE])],
        opset=19,
    )
    with pytest.raises(UsageError, match=r"nothing can be fed in.*cast to bfloat16 inside"):
        methods(path)


class EncodeError(Exception):
    """As protobuf calls it."""


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            ValueError("Required inputs (['s1']) are missing"),
            BadFile,
            "ValueError: Required inputs",
        ),
        (RuntimeError("\n - it broke.\nmore"), BadFile, "The runtime refuses net: - it broke. Try"),
        (IndexError(""), BadFile, "IndexError: no reason given"),
        (KeyError("w"), BadFile, "KeyError: 'w'"),
        (EncodeError("Failed to serialize proto"), BadFile, "larger than 2 GB.*--ops none"),
        (MemoryError(), OutOfMemory, "net at batch 3 does not fit into memory"),
        (RuntimeError("std::bad_alloc"), OutOfMemory, "does not fit"),
        (RuntimeError("[enforce fail] can't allocate memory"), OutOfMemory, "does not fit"),
        (BadFile("Ours.", "Stays."), BadFile, "^Ours. Stays.$"),
    ],
)
def test_whatever_a_binding_raises_is_a_sentence(
    tmp_path: Path, error: Exception, kind: type[NnprofError], words: str
) -> None:
    """Errors of plain types do not end a worker; memory is told from refusals."""
    path = save(tmp_path / "net.onnx", _chain("w"), weights("w"))
    work = Workload(model=load_model(path), batch=3)
    with pytest.raises(kind, match=words), translated("The runtime", work):
        raise error


@pytest.mark.parametrize(("good", "bad"), [(b"Tanh", b"T\xbanh"), (b"mark", b"m\xf2rk")])
def test_names_that_are_no_text(tmp_path: Path, good: bytes, bad: bytes) -> None:
    """Bytes that are no UTF-8 where a name should be are damage, and said to be."""
    path = save(tmp_path / "net.onnx", [node("Tanh", ["x"], ["y"], name="mark")])
    path.write_bytes(path.read_bytes().replace(good, bad))
    with pytest.raises(BadFile, match="names in it are no text"):
        load_model(path)


@pytest.mark.parametrize("version", [-1, 0, 1 << 31, 1 << 62])
def test_versions_that_cannot_be(tmp_path: Path, version: int) -> None:
    """An opset's version that no library can hold is named."""
    with pytest.raises(BadFile, match=f"Abs of domain '', of version {version}"):
        load_model(save(tmp_path / "net.onnx", [node("Abs", ["x"], ["y"])], opset=version))


def test_a_damaged_file_is_always_a_sentence(tmp_path: Path) -> None:
    """Of some hundred files with a few bytes changed each is read, or refused with a sentence."""
    random = np.random.default_rng(12)
    path = _loop(tmp_path / "net.onnx")
    whole = path.read_bytes()
    refused: list[NnprofError] = []
    for _ in range(400):
        data = bytearray(whole)
        for at in random.integers(0, len(data), random.integers(1, 5)):
            data[at] = random.integers(0, 256)
        path.write_bytes(data)
        try:
            load_model(path)
        except NnprofError as error:
            refused.append(error)
    assert 0 < len(refused) < 400
    assert all(error.remedy for error in refused)
