"""How `fuzz.py` has each reader read: as the commands do, up to what they print."""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nnprof.errors import NnprofError, WorkerTimeout
from nnprof.exporters.probes import chain_model, identity_model
from nnprof.networks import bundled, checkpoint, datasets
from nnprof.networks.families import parse_network
from nnprof.networks.studies.study import load_study
from nnprof.profiler import compare, conditions, inputs, results, studies
from nnprof.profiler.costmodel import gather, lowering, model, predict, search
from nnprof.profiler.devices import jetpack, jetson, linux, snapshot
from nnprof.profiler.importers import runs
from nnprof.profiler.importers.importer import Told
from nnprof.profiler.place import boards, kept, limits, ssh, watcher
from nnprof.profiler.place.place import Place
from nnprof.profiler.report import comparison, csv, markdown, rows, shown, shown_model
from nnprof.profiler.run import accuracy
from nnprof.profiler.work import hosts, jobs, worker
from nnprof.text import json_lines
from nnprof.types import Model, OpTime, Plan, Reading, Run, Target, Tensor, Workload

ROOT = Path(__file__).parents[1]
WORKER_S = 10.0  # as --limit would be
Files = dict[str, bytes]


class Reader(NamedTuple):
    """A reader: what it does with files in a folder; how many inputs share a process."""

    name: str
    use: Callable[[Path, Files], None]
    per_process: int = 500


def _written(folder: Path, files: Files) -> list[Path]:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def _all(*uses: Callable[[], object]) -> None:
    """Each of them, whatever became of those before; then the first error of ours."""
    errors = [error for use in uses if (error := _refusal(use))]
    if errors:
        raise errors[0]


def _refusal(use: Callable[[], object]) -> NnprofError | None:
    try:
        use()
    except NnprofError as error:
        return error
    return None


def _run(folder: Path, files: Files) -> None:
    """`show` in every format, `compare`, and what `fit-model` gathers."""
    (path,) = _written(folder, files)
    results.is_run(path)
    run = results.load(path)
    shown.print_cells(run)
    for measurement in run.measurements:
        shown.print_ops(measurement, run)
    shown.print_rest(run)
    for lines, columns in (
        (rows.rows(run), rows.COLUMNS),
        (rows.op_rows(run), rows.OP_COLUMNS),
    ):
        csv.as_csv(lines, columns)
        markdown.as_markdown(lines, columns)
        json_lines(lines)
    every = conditions.conditions(run)
    _all(
        lambda: comparison.comparison_markdown(compare.compare(run, run, allow=every)),
        lambda: gather.gathered([run], ()),
    )


def _study(folder: Path, files: Files) -> None:
    (path,) = _written(folder, files)
    for cell in load_study(path).cells:
        parse_network(cell.network)


def _model(folder: Path, files: Files) -> None:
    """What `fit-model` shows, `predict` and `search`."""
    (path,) = _written(folder, files)
    made = model.load(str(path))
    shown_model.print_model(made)
    spec = parse_network("mattsson(conv=2, fc=1)")
    for batch in (1, 1024):
        predict.predict(
            made, lowering.of_spec(spec, made.lowering, batch, made.value_bytes), batch, "x"
        )
    from nnprof.networks.spaces import parse_space

    search.search(made, parse_space("mattsson(conv=1, depth=5..10/5, neurons=64)"), (16,), 1.0)


def _imported(folder: Path, files: Files) -> None:
    """`import`, with and without what the files do not tell, and what it prints."""
    paths = _written(folder, files)
    errors = [
        _refusal(lambda told=told: _shown(runs.import_run(paths, told, command=["import"])))
        for told in (Told(), Told(network="net", batch=16, device="d", runtime="r"))
    ]
    if all(errors):  # whatever is told
        raise errors[-1]


def _shown(run: Run) -> None:
    again = msgspec.json.decode(msgspec.json.encode(run), type=Run)
    shown.print_cells(again)
    for measurement in run.measurements[:3]:
        shown.print_ops(measurement, run)
    shown.print_rest(run)


_TILES = Tensor(name="tiles", dtype="float32", shape=("batch", 1, 28, 28))
_CLASSES = Tensor(name="classes", dtype="float32", shape=("batch", 10))
_READS = Model(
    name="net", path="net.onnx", sha256="0", opset=18, inputs=(_TILES,), outputs=(_CLASSES,)
)


def _arrays(folder: Path, files: Files) -> None:
    """`--data`, and the labels that an accuracy is taken of."""
    (path,) = _written(folder, files)
    asked = Workload(model=_READS, batch=2, data=str(path))
    try:
        inputs.make(asked)
    finally:
        accuracy.labelled(asked, _READS)


def _idx(folder: Path, files: Files) -> None:
    _written(folder, files)
    datasets.read_labelled(folder / "tiles.gz", folder / "labels.gz")


def _checkpoint(folder: Path, files: Files) -> None:
    _written(folder, files)
    search.records([folder])
    _all(
        lambda: checkpoint.load_record(folder),
        lambda: checkpoint.load_checkpoint(folder),
        lambda: checkpoint.load_state(folder),
    )


def _boards(folder: Path, files: Files) -> None:
    os.environ["XDG_CONFIG_HOME"] = str(folder)
    (folder / "nnprof").mkdir(exist_ok=True)
    _written(folder / "nnprof", files)
    for name in boards.load():
        str(boards.find(name).by_hand)


def _lock(folder: Path, files: Files) -> None:
    (text,) = files.values()
    words = text.decode(errors="replace")
    raise ssh._busy(boards.Board(host="h", name="board"), words)


_JOB = jobs.Probe(target=Target())


def _answer(folder: Path, files: Files) -> None:
    (text,) = files.values()
    hosts._answer(_JOB, text, 0, "")


def _cache(folder: Path, files: Files) -> None:
    """What `devices --measure` kept, and the same in a Run."""
    os.environ["XDG_CACHE_HOME"] = str(folder)
    for kind, content in zip(("roofline", "telemetry"), files.values(), strict=True):
        path = kept.file(kind, Place(Target(), ENVIRONMENT))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    kept.load(watcher.Effect, Place(Target(), ENVIRONMENT))
    op = OpTime(index=0, node="n", op="Conv", kind="conv", inputs=(), outputs=(), origin=(),
                kernel="", seconds=1e-3, runs=1, method="runtime", flops=10**6, bytes_in=1000,
                bytes_out=1000)  # fmt: skip
    known, _ = kept.load(limits.Roofline, Place(Target(), ENVIRONMENT))
    if known:
        known.limit(op)
    try:
        told = json.loads(files["roofline.json"])[0]["value"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return
    stated = limits.stated({"roofline": told})
    if stated:
        stated.limit(op)


ENVIRONMENT = {"device": {"name": "cpu"}, "backend": {"name": "fake"}}


def caches() -> tuple[bytes, bytes]:
    """Limits and the cost of telemetry, as they are kept."""
    known = limits.Roofline(
        flops_per_s=1e11, bandwidths=((1 << 15, 1e11), (1 << 28, 1e10)), launch_s=1e-6
    )
    effect = watcher.Effect(ratio=1.001, low=0.999, high=1.003, pairs=12, latency_s=1e-4)
    state = Place(Target(), ENVIRONMENT).state
    both = ([{"state": state, "value": value}] for value in (known, effect))
    first, second = map(msgspec.json.encode, both)
    return first, second


def _system(folder: Path, files: Files) -> None:
    """Facts and readings of a machine from what its files say."""
    (text,) = files.values()
    texts = snapshot.parsed(text.decode(errors="replace"))
    linux.facts(texts)
    linux.readings(texts, (0, 1))
    for value in (jetson.facts(texts), jetson.reading(texts, (0, 1))):
        msgspec.json.decode(msgspec.json.encode(value))


# --- networks -------------------------------------------------------------------------------------

_PLAN = Plan(
    processes=1, max_processes=1, warmup_s=0.0, warmup_limit_s=0.01, sample_s=0.001,
    sample_min_s=0.0001, min_samples=1, op_method="runtime", op_processes=1, op_s=0.001,
)  # fmt: skip


def _onnx(folder: Path, files: Files) -> None:
    """`bench FILE --batch 2 --ops runtime`: cells here, the rest in a worker that may die."""
    (path,) = _written(folder, files)
    (cell,) = studies.named_cells([str(path)], Target(), (2,))
    asked = (
        jobs.Probe(target=cell.target, workloads=(cell.workload,)),
        jobs.Measure(workload=cell.workload, target=cell.target, plan=_PLAN,
                       floor=identity_model(), chain=chain_model(jobs.CHAIN), ops=True),
    )  # fmt: skip
    there, here = os.pipe()
    child = os.fork()
    if not child:
        _work(here, asked)
    os.close(here)
    data, silent = b"", not select.select([there], [], [], WORKER_S)[0]
    if silent:
        os.kill(child, signal.SIGKILL)
    else:
        with os.fdopen(there, "rb", closefd=False) as pipe:
            data = pipe.read()
    os.close(there)
    _, status = os.waitpid(child, 0)
    if silent:
        raise WorkerTimeout("The worker had not answered and was ended.")
    if os.WIFSIGNALED(status):
        raise hosts._crash(-os.WTERMSIG(status), "")
    error = pickle.loads(data)  # noqa: S301  our own child's
    if error:
        raise error


def _work(pipe: int, asked: tuple[jobs.Job, ...]) -> None:
    """In the worker: do the jobs, and write the error that the parent is to raise."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    error: BaseException | None = None
    try:
        for job in asked:
            answer = worker.do(job, msgspec.json.encode)
            if isinstance(answer, jobs.Fault):
                error = hosts._error(answer)
                break
            msgspec.json.encode(answer)
    except BaseException as bug:  # noqa: BLE001  the parent tells it
        frames = []
        trace = bug.__traceback__
        while trace:
            frames.append(f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}")
            trace = trace.tb_next
        own = [frame for frame in frames if frame.startswith("nnprof")]
        error = RuntimeError(f"in the worker, {type(bug).__name__} at {own[-1:]}: {bug!s:.200}")
    try:
        text = pickle.dumps(error)
    except Exception:  # noqa: BLE001
        text = pickle.dumps(RuntimeError(f"{error!r:.300}"))
    os.write(pipe, text[:60_000])
    os._exit(0)


def networks() -> tuple[bytes, ...]:
    """Small models of the kinds of op that matter, and the bundled one."""
    return (_convolutional(), _branching(), _recurrent(), bundled.model_path().read_bytes())


def _saved(graph: onnx.GraphProto) -> bytes:
    opset = [helper.make_opsetid("", 18)]
    data: bytes = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return data


def _weights(name: str, *shape: int) -> onnx.TensorProto:
    count = int(np.prod(shape))
    return numpy_helper.from_array(np.linspace(-1, 1, count, dtype=np.float32).reshape(shape), name)


def _convolutional() -> bytes:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("MaxPool", ["r"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "v"], ["g"], name="gemm"),
        helper.make_node("Softmax", ["g"], ["y"], name="softmax"),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 10, 10]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3]),
    ]
    weights = [_weights("w", 4, 1, 3, 3), _weights("v", 64, 3)]
    return _saved(helper.make_graph(nodes, "conv", ends[:1], ends[1:], weights))


def _branching() -> bytes:
    def branch(name: str, op: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 8])
        return helper.make_graph([helper.make_node(op, ["x"], [name])], name, [], [out])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["b"]),
        helper.make_node(
            "If", ["b"], ["y"], then_branch=branch("t", "Relu"), else_branch=branch("e", "Tanh")
        ),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8]),
    ]
    zero = numpy_helper.from_array(np.float32(0), "zero")
    return _saved(helper.make_graph(nodes, "branch", ends[:1], ends[1:], [zero]))


def _recurrent() -> bytes:
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["h", "last", ""], hidden_size=4, name="lstm"),
        helper.make_node("Squeeze", ["last", "axis"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [6, "batch", 3]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4]),
    ]
    axis = numpy_helper.from_array(np.array([0]), "axis")
    weights = [_weights("w", 1, 16, 3), _weights("r", 1, 16, 4), axis]
    return _saved(helper.make_graph(nodes, "lstm", ends[:1], ends[1:], weights))


# --- other examples -------------------------------------------------------------------------------


def answers() -> tuple[bytes, ...]:
    """One of each kind of answer that a worker gives."""
    golden = results.load(ROOT / "tests" / "data" / "run-v1.json")
    cell = golden.measurements[0]
    measured = jobs.Measured(
        clock="fake", facts={}, samples_s=cell.samples_s[0], warmups_s=cell.warmups_s[0], loops=1,
        state="steady", floor_s=1e-6, open_s=1e-3, timed_s=1.0, processors=(0,), before=Reading(),
        after=Reading(), op_passes=cell.op_passes, idle=(),
    )  # fmt: skip
    kinds = (
        jobs.Probed(environment=golden.environment),
        measured,
        jobs.Scored(right=3),
        jobs.Fault(error="OutOfMemory", reason="It does not fit.", remedy="Ask for less."),
    )
    return tuple(map(msgspec.json.encode, kinds))


def systems() -> tuple[bytes, ...]:
    """Snapshots of this machine and of the boards that the tests have, as a shell gives them."""
    import sys

    sys.path.insert(0, str(ROOT / "tests" / "fakes"))
    import fake_board

    found = [_snapshot()]
    old = os.environ.get("NNPROF_ROOT")
    with tempfile.TemporaryDirectory() as folder:
        for name in fake_board.BOARDS:
            os.environ["NNPROF_ROOT"] = str(fake_board.make(name, Path(folder, name)))
            found.append(_snapshot())
    os.environ.pop("NNPROF_ROOT", None)
    if old is not None:
        os.environ["NNPROF_ROOT"] = old
    return tuple(found)


def _snapshot() -> bytes:
    texts = {**snapshot.here(jetson.FACTS), **_SAID}
    lines = (f".{name}:{line}" for name, text in texts.items() for line in text.splitlines())
    return "\n".join(lines).encode()


_SAID = {
    jetson.QUERY: "NV Power Mode: MAXN\n0",
    jetpack.PACKAGES: "libnvinfer10\t10.3.0.30-1+cuda12.5\nnvidia-l4t-core\t36.4.3-2025",
    jetson.CLOCKS: "EMC MinFreq=204000000 MaxFreq=2133000000 CurrentFreq=2133000000",
    jetson.STATS: "RAM 2500/7620MB GR3D_FREQ 12%@[1300,1300] cpu@52.9C VDD_IN 5139mW/5139mW",
}

READERS = {
    reader.name: reader
    for reader in (
        Reader("run", _run),
        Reader("study", _study, 5000),
        Reader("model", _model),
        Reader("table", _imported),
        Reader("ort", _imported),
        Reader("trtexec", _imported),
        Reader("arrays", _arrays, 2000),
        Reader("idx", _idx, 5000),
        Reader("checkpoint", _checkpoint),
        Reader("boards", _boards, 2000),
        Reader("lock", _lock, 5000),
        Reader("answer", _answer, 5000),
        Reader("cache", _cache, 2000),
        Reader("system", _system, 2000),
        Reader("onnx", _onnx),
    )
}
