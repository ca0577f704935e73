"""Weights in files beside a model: identity, links, what is refused (class A, part of G)."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from nnprof.errors import BadFile, NnprofError, OutOfMemory
from nnprof.exporters import identity, precision
from nnprof.exporters.beside import Beside
from nnprof.exporters.models import load_model
from nnprof.exporters.torch import rebuild
from nnprof.profiler.backends.onnxruntime import BACKEND as ONNXRUNTIME
from nnprof.profiler.backends.openvino import BACKEND as OPENVINO
from nnprof.profiler.run import begin, sweep
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import Probe, Probed
from nnprof.types import Cell, Target, Workload

SIDE = 8
X, Y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", SIDE]) for name in ("x", "y"))


def outside(name: str, location: str, **where: int) -> onnx.TensorProto:
    """A float32 tensor whose values are in another file."""
    tensor = numpy_helper.from_array(np.zeros((SIDE, SIDE), np.float32), name)
    set_external_data(tensor, location, **where)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def values(number: float) -> bytes:
    """What such a tensor holds."""
    return np.full((SIDE, SIDE), number, np.float32).tobytes()


def save(path: Path, *nodes: onnx.NodeProto, weights: tuple[onnx.TensorProto, ...] = ()) -> Path:
    """A model of these nodes, x → y."""
    graph = helper.make_graph(list(nodes), "g", [X], [Y], list(weights))
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(proto.SerializeToString())
    return path


def product(path: Path, location: str = "net.onnx.data", **where: int) -> Path:
    """One product, x · w, with w in another file."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")
    return save(path, node, weights=(outside("w", location, **where),))


def beside(folder: Path, number: float = 0.5) -> Path:
    """The usual pair of files."""
    path = product(folder / "net.onnx")
    (folder / "net.onnx.data").write_bytes(values(number))
    return path


def result(path: Path) -> float:
    """One value of what ONNX Runtime makes of the file."""
    session = ONNXRUNTIME.open(Workload(model=load_model(path), batch=1), Target())
    (found,) = session.infer({"x": np.ones((1, SIDE), np.float32)}).values()
    session.close()
    return float(found[0, 0])


# --- identity -------------------------------------------------------------------------------------


def test_a_conversion_is_of_the_weights_that_are_there(tmp_path: Path) -> None:
    """Exported again to the same names, a model is converted again, with the new weights."""
    none = precision.Calibration(np.zeros(0), "")
    halves = []
    for number in (0.5, 2.0):
        path = beside(tmp_path / "net", number)
        model = precision.convert(load_model(path), "fp16", none)
        halves.append(numpy_helper.to_array(onnx.load(model.path).graph.initializer[0])[0, 0])
    assert halves == [0.5, 2.0]


def _branch(tensor: onnx.TensorProto) -> onnx.GraphProto:
    node = helper.make_node("MatMul", ["x", tensor.name], [f"{tensor.name}y"])
    out = helper.make_tensor_value_info(f"{tensor.name}y", TensorProto.FLOAT, None)
    return helper.make_graph([node], "branch", [], [out], [tensor])


def _in_a_branch(path: Path) -> None:
    condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    branches = {
        "then_branch": _branch(outside("w", "d")),
        "else_branch": _branch(outside("v", "d")),
    }
    save(path, helper.make_node("If", ["c"], ["y"], **branches), weights=(condition,))


def _in_a_branch_of_a_branch(path: Path) -> None:
    condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    inner = helper.make_node(
        "If",
        ["c"],
        ["z"],
        then_branch=_branch(outside("w", "d")),
        else_branch=_branch(outside("v", "d")),
    )
    out = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    graph = helper.make_graph([inner], "middle", [], [out])
    save(
        path,
        helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph),
        weights=(condition,),
    )


def _in_a_constant(path: Path) -> None:
    save(
        path,
        helper.make_node("Constant", [], ["w"], value=outside("", "d")),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    )


def _sparse(path: Path, inside: str) -> None:
    """The tensor named by `inside` is in the other file."""
    kept = {
        "values": numpy_helper.from_array(np.ones(64, np.float32), "w"),
        "indices": numpy_helper.from_array(np.arange(64, dtype=np.int64), "i"),
    }
    set_external_data(kept[inside], "d")
    kept[inside].ClearField("raw_data")
    kept[inside].data_location = TensorProto.EXTERNAL
    sparse = helper.make_sparse_tensor(kept["values"], kept["indices"], [2 * SIDE, SIDE])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [X], [Y], sparse_initializer=[sparse]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(proto.SerializeToString())


def _in_a_function(path: Path) -> None:
    opset = helper.make_opsetid("", 17)
    function = helper.make_function(
        "own", "Layer", ["a"], ["b"],
        [
            helper.make_node("Constant", [], ["w"], value=outside("", "d")),
            helper.make_node("MatMul", ["a", "w"], ["b"]),
        ],
        [opset],
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Layer", ["x"], ["y"], domain="own")], "g", [X], [Y]
    )
    proto = helper.make_model(
        graph, functions=[function], opset_imports=[opset, helper.make_opsetid("own", 1)]
    )
    path.write_bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    "write",
    [
        lambda path: product(path, "d"),
        _in_a_branch,
        _in_a_branch_of_a_branch,
        _in_a_constant,
        lambda path: _sparse(path, "values"),
        lambda path: _sparse(path, "indices"),
        _in_a_function,
    ],
    ids=["initialiser", "branch", "nested", "constant", "values", "indices", "function"],
)
def test_all_weights_are_in_the_identity(tmp_path: Path, write: Callable[[Path], None]) -> None:
    """Wherever in a model a tensor stands, other values in its file make another model."""
    path, data = tmp_path / "net.onnx", tmp_path / "d"
    write(path)
    found = []
    for number in (1, 2, 1):
        # As floats some numbers, as places of sparse values those in order.
        data.write_bytes(np.arange(number, 64 + number).tobytes()[: 8 * 64])
        found.append(load_model(path).sha256)
    assert found[0] == found[2] != found[1]
    data.unlink()
    with pytest.raises(BadFile, match="that is missing"):
        load_model(path)


def test_a_file_alone_is_its_own_sha256(tmp_path: Path) -> None:
    """Without files beside it a model keeps the identity that earlier versions gave it."""
    path = save(tmp_path / "net.onnx", helper.make_node("Relu", ["x"], ["y"]))
    assert load_model(path).sha256 == identity.sha256_of(path)
    assert load_model(beside(tmp_path / "two")).sha256 != identity.sha256_of(
        tmp_path / "two" / "net.onnx"
    )


def test_the_same_model_elsewhere_is_the_same(tmp_path: Path) -> None:
    """The identity is of content and not of place: a store of links and the far end agree."""
    path = beside(tmp_path / "net")
    model = load_model(path)
    sent = tmp_path / "sent"

    def put(local: Path, name: str) -> str:
        (sent / name).parent.mkdir(parents=True, exist_ok=True)
        (sent / name).write_bytes(local.read_bytes())
        return str(sent / name)

    assert load_model(Path(identity.send(model, put))).sha256 == model.sha256
    assert load_model(_store(tmp_path / "store", os.symlink)).sha256 == model.sha256


def test_a_resumed_run_wants_the_weights_that_were_measured(tmp_path: Path) -> None:
    """Other weights in the file beside a model make another model of it for --resume, too."""
    path = beside(tmp_path / "net")
    cell = Cell(workload=Workload(model=load_model(path), batch=1), target=Target(backend="fake"))
    plan = sweep.Plan(processes=1, max_processes=1, op_method="none")
    _, file = begin.start((cell,), plan, tmp_path / "runs", name="bench")
    assert begin.resume(file).study.cells == (cell,)
    beside(tmp_path / "net", 2.0)
    with pytest.raises(BadFile, match="no longer the model that was measured"):
        begin.resume(file)


@pytest.mark.parametrize("what", ["net.onnx", "net.onnx.data"])
@pytest.mark.parametrize("how", ["edited", "gone"])
def test_a_model_that_changes_while_it_is_measured_is_no_result(
    tmp_path: Path, what: str, how: str
) -> None:
    """The worker looks at all files again before it answers, and says what became of them."""
    model = load_model(beside(tmp_path))
    job = Probe(target=Target(backend="fake"), workloads=(Workload(model=model, batch=1),))
    assert isinstance(hosts.run_local(job, 60.0), Probed)
    if how == "gone":
        (tmp_path / what).unlink()
    elif what == "net.onnx":
        product(tmp_path / what, "net.onnx.data", offset=0)
    else:
        (tmp_path / what).write_bytes(values(2.0))
    words = "changed while it was measured" if how == "edited" else "cannot be read|is missing"
    with pytest.raises(BadFile, match=words):
        hosts.run_local(job, 60.0)


# --- links ----------------------------------------------------------------------------------------


def _store(folder: Path, link: Callable[[Path, Path], None]) -> Path:
    """As the cache of the Hugging Face hub lays its files."""
    (folder / "blobs").mkdir(parents=True)
    snapshot = folder / "snapshots" / "a"
    snapshot.mkdir(parents=True)
    beside(folder / "made")
    for name, blob in (("net.onnx", "aaa"), ("net.onnx.data", "bbb")):
        (folder / "made" / name).rename(folder / "blobs" / blob)
        link(folder / "blobs" / blob, snapshot / name)
    return snapshot / "net.onnx"


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_a_store_of_links_is_followed(tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    """A model and its weights that are links into a store of blobs are read, run and converted."""
    path = _store(tmp_path, link)
    assert result(path) == SIDE * 0.5
    none = precision.Calibration(np.zeros(0), "")
    half = precision.convert(load_model(path), "fp16", none)
    assert result(Path(half.path)) == SIDE * 0.5
    assert numpy_helper.to_array(identity.whole(path).graph.initializer[0])[0, 0] == 0.5


def test_torch_reads_weights_behind_links(tmp_path: Path) -> None:
    """The file is rebuilt in torch with the weights that its links lead to."""
    torch = pytest.importorskip("torch")
    path = _store(tmp_path, os.symlink)
    (made,) = rebuild(path).module(torch.ones(1, SIDE))
    assert made[0, 0].item() == SIDE * 0.5


def _link_within_its_folder(folder: Path) -> Path:
    path = product(folder / "net.onnx")
    (folder / "store").mkdir()
    (folder / "store" / "real").write_bytes(values(0.5))
    (folder / "net.onnx.data").symlink_to("store/real")
    return path


def _folder_that_is_a_link(folder: Path) -> Path:
    beside(folder / "real")
    (folder / "linked").symlink_to("real")
    return folder / "linked" / "net.onnx"


def _model_alone_is_a_link(folder: Path) -> Path:
    beside(folder / "real").rename(folder / "blob")
    (folder / "real" / "net.onnx").symlink_to("../blob")
    return folder / "real" / "net.onnx"


def _in_a_folder_below(folder: Path) -> Path:
    (folder / "w").mkdir()
    (folder / "w" / "d.bin").write_bytes(values(0.5))
    return product(folder / "net.onnx", "./w//d.bin")


@pytest.mark.parametrize(
    "make",
    [_link_within_its_folder, _folder_that_is_a_link, _model_alone_is_a_link, _in_a_folder_below],
)
def test_what_the_runtime_follows_is_followed(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """Links that stay in the model's folder, or lead there, change nothing."""
    assert result(make(tmp_path)) == SIDE * 0.5


def _link_elsewhere(folder: Path) -> Path:
    beside(folder / "other")
    (folder / "net").mkdir()
    (folder / "net" / "net.onnx.data").symlink_to("../other/net.onnx.data")
    return product(folder / "net" / "net.onnx")


def _folder_below_elsewhere(folder: Path) -> Path:
    beside(folder / "other")
    (folder / "net").mkdir()
    (folder / "net" / "w").symlink_to("../other")
    return product(folder / "net" / "net.onnx", "w/net.onnx.data")


def _link_to_nothing(folder: Path) -> Path:
    (folder / "net.onnx.data").symlink_to("blob")
    return product(folder / "net.onnx")


def _link_to_itself(folder: Path) -> Path:
    (folder / "net.onnx.data").symlink_to("net.onnx.data")
    return product(folder / "net.onnx")


def _weights_where_the_link_leads(folder: Path) -> Path:
    real = beside(folder / "real")
    (folder / "net.onnx").symlink_to(real)
    return folder / "net.onnx"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_link_elsewhere, "a link out of the model's folder.*other/net.onnx.data.*cp -rL"),
        (_folder_below_elsewhere, "a link out of the model's folder.*cp -rL"),
        (_link_to_nothing, "is missing: 'net.onnx.data', as a link to '.*blob'"),
        (_link_to_itself, "cannot be read: Too many levels of symbolic links"),
        (_weights_where_the_link_leads, "is missing.*where the link leads: give '.*real/net.onnx'"),
    ],
)
def test_a_link_that_no_runtime_follows_is_said_to_be_one(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    """The sentence says that it is a link, where it leads, and what to do."""
    with pytest.raises(BadFile, match=words):
        load_model(make(tmp_path))


# --- places and sizes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("../d", "a path with '..'"),
        ("a/../../d", "a path with '..'"),
        ("a/../d", "a path with '..'"),
        ("..", "a path with '..'"),
        ("{folder}/d", "an absolute path"),
        ("/dev/zero", "an absolute path"),
        ("..\\d", "a backslash"),
        ("w\\d", "a backslash"),
        ("d\x1b[31m", "control characters"),
        ("d\0", "control characters"),
        ("*/_ORT_MEM_ADDR_/*", "an address in memory"),
        ("", "does not say in which file"),
        (".", "is a folder"),
        ("sub", "is a folder"),
        ("pipe", "is no regular file"),
        ("nowhere/d", "is missing"),
    ],
)
def test_weights_are_read_from_the_folder_of_the_model_only(
    tmp_path: Path, location: str, words: str
) -> None:
    """Whatever else a file names is refused at once, by its true reason, and never opened."""
    folder = tmp_path / "net"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").mkdir()
    os.mkfifo(folder / "pipe")
    for place in (tmp_path, folder):
        (place / "d").write_bytes(values(0.5))
    path = product(folder / "net.onnx", location.format(folder=folder))
    with pytest.raises(BadFile, match=words) as caught:
        load_model(path)
    assert caught.value.remedy
    assert "\x1b" not in str(caught.value)


def _of(*entries: tuple[str, str]) -> onnx.TensorProto:
    tensor = outside("w", "d")
    del tensor.external_data[:]
    for key, value in entries:
        tensor.external_data.add(key=key, value=value)
    return tensor


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([("offset", "4")], "bytes 4 to 260 of 'd', which has 256: it is cut off"),
        ([("offset", "9" * 19)], "it is cut off"),
        ([("offset", "9" * 30)], "no number of bytes as its offset"),
        ([("offset", "-4")], "a negative number as its offset: '-4'"),
        ([("offset", "0x10")], "no number of bytes as its offset"),
        ([("length", "-256")], "a negative number as its length"),
        ([("length", "128")], "states 128 bytes of values, and its shape needs 256"),
        ([("location", "e")], "states the location of its values twice"),
        ([("offset", "0"), ("offset", "4")], "states the offset of its values twice"),
    ],
)
def test_values_that_are_not_where_they_should_be(
    tmp_path: Path, entries: list[tuple[str, str]], words: str
) -> None:
    """A tensor whose bytes cannot be in its file is named, with what it says and what is there."""
    (tmp_path / "d").write_bytes(values(0.5))
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = save(tmp_path / "net.onnx", node, weights=(_of(("location", "d"), *entries),))
    with pytest.raises(BadFile, match=words):
        load_model(path)


@pytest.mark.parametrize("type_", [TensorProto.STRING, TensorProto.UNDEFINED, 999])
def test_values_of_no_size_are_refused(tmp_path: Path, type_: int) -> None:
    """A type whose values have no size in bytes cannot be kept in another file."""
    (tmp_path / "d").write_bytes(values(0.5))
    tensor = outside("w", "d")
    tensor.data_type = type_
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    with pytest.raises(BadFile, match="is of type"):
        load_model(save(tmp_path / "net.onnx", node, weights=(tensor,)))


def test_a_model_that_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe or a device under a model's name is not waited for."""
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    for name in ("pipe.onnx", "zero.onnx"):
        with pytest.raises(BadFile, match="no regular file"):
            load_model(tmp_path / name)


def test_a_file_over_the_limit_of_protobuf_is_not_read(tmp_path: Path) -> None:
    """Of a file that no ONNX file can be the size is looked at, and not the content."""
    path = tmp_path / "net.onnx"
    with path.open("wb") as file:
        file.truncate(identity.MOST_BYTES + 1)
    with pytest.raises(BadFile, match=r"has 2\.1 GB, and an ONNX file ends at 2 GB"):
        load_model(path)


def test_a_model_larger_than_the_free_memory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit is refused with both sizes, before memory is gone."""
    path = beside(tmp_path)
    free = 3 * path.stat().st_size

    class Memory:
        available = free

    monkeypatch.setattr(identity.psutil, "virtual_memory", Memory)
    assert load_model(path)
    (tmp_path / "net.onnx").write_bytes(path.read_bytes() + b"\x32\x04\x12\x02hi")
    with pytest.raises(OutOfMemory, match="GB of memory are free"):
        load_model(path)


def test_weights_larger_than_the_memory_are_a_failure_of_their_cells(tmp_path: Path) -> None:
    """The worker refuses them by name, and the other models of a Run go on."""
    path = beside(tmp_path)
    with pytest.raises(NnprofError, match="weights of net take"):
        identity.require_memory((Beside("d", path, path, 1 << 60),), "net")


def test_openvino_names_the_link_that_it_does_not_follow(tmp_path: Path) -> None:
    """A runtime that does not follow a link is not asked to: the sentence is ours, with the way."""
    work = Workload(model=load_model(_store(tmp_path, os.symlink)), batch=1)
    with pytest.raises(BadFile, match=r"OpenVINO does not follow links.*blobs/bbb.*cp -rL"):
        OPENVINO.open(work, Target(backend="openvino"))
