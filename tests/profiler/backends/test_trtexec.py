"""trtexec as a backend, against a stand-in that speaks its flags and writes its files."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import fake_board
import numpy as np
import onnx.reference
import pytest
from msgspec.structs import replace

from nnprof.errors import (
    BadFile,
    NnprofError,
    OutOfMemory,
    Unavailable,
    UsageError,
    WorkerCrashed,
)
from nnprof.exporters.models import load_model
from nnprof.exporters.probes import identity_model
from nnprof.networks import bundled
from nnprof.profiler import inputs, results
from nnprof.profiler.backends import trtexec, trtexec_program
from nnprof.profiler.backends.trtexec import BACKEND, TrtexecSession
from nnprof.profiler.importers import trtexec_log
from nnprof.profiler.place import shells
from nnprof.profiler.run import begin, sweep
from nnprof.profiler.timing import passes, sample
from nnprof.types import Cell, Model, Plan, Target, Tensor, Workload

VERSIONS = ("8.4.1", "8.6.2", "10.3.0", "10.16.2", "11.4.1")
Install = Callable[..., Path]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Engines of one test are not seen by the next; runs are short."""
    monkeypatch.setattr(trtexec, "_CLEAN_S", 0.1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "nnprof" / "programs"


@pytest.fixture
def target(install_trtexec: Install, tmp_path: Path) -> Callable[..., Target]:
    """A target on a stand-in: settings of the stand-in by name, options in a dictionary."""

    def make(options: dict[str, str] | None = None, **settings: object) -> Target:
        path = install_trtexec(tmp_path / "bin", **settings)
        return Target(
            backend="trtexec", device="jetson", options={"trtexec": str(path), **(options or {})}
        )

    return make


@pytest.fixture
def opened(target: Callable[..., Target]) -> Iterator[Callable[..., TrtexecSession]]:
    """Opens sessions, and closes them at the end."""
    sessions: list[TrtexecSession] = []

    def make(work: Workload, **settings: object) -> TrtexecSession:
        sessions.append(BACKEND.open(work, target(**settings)))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_probe_tells_version_and_place(target: Callable[..., Target], version: str) -> None:
    """The version is read off the banner, in both of its ways of counting."""
    found = BACKEND.probe(target(version=version))
    assert found["version"] == version
    assert found["path"].endswith("bin/trtexec")


@pytest.mark.parametrize(
    ("number", "version"),
    [("8201", (8, 2, 1)), ("9301", (9, 3, 1)), ("100300", (10, 3, 0)), ("110401", (11, 4, 1))],
)
def test_version_numbers(number: str, version: tuple[int, ...]) -> None:
    """NV_TENSORRT_VERSION has two digits for each part since 10, one before."""
    assert (
        trtexec_log.version_of(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{number}] # x") == version
    )
    assert trtexec_log.version_of("bash: trtexec") is None


def test_missing_program_is_a_sentence(target: Callable[..., Target], tmp_path: Path) -> None:
    """Neither a path that is nothing, nor a program that is another, is taken for trtexec."""
    for path in (tmp_path / "nothing", Path("/bin/true")):
        with pytest.raises(Unavailable, match="looked for") as caught:
            BACKEND.probe(Target(options={"trtexec": str(path)}))
        assert "libnvinfer-bin" in caught.value.remedy


def test_program_is_found_on_the_path(
    install_trtexec: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an option the one on PATH is taken."""
    install_trtexec(tmp_path / "bin", version="10.13.3")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert BACKEND.probe()["version"] == "10.13.3"


@pytest.mark.parametrize("version", VERSIONS)
def test_outputs_are_right(opened: Callable[..., TrtexecSession], version: str) -> None:
    """What trtexec is given and gives back are the tiles and the outputs of the network."""
    model = load_model(bundled.model_path())
    work = Workload(model=model, batch=16, data=str(bundled.tiles_path()))
    tiles = inputs.make(work)
    result = opened(work, version=version).infer(tiles)["probabilities"]
    (expected,) = onnx.reference.ReferenceEvaluator(model.path).run(None, tiles)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("version", VERSIONS)
def test_flags_are_pinned_in_every_version(
    opened: Callable[..., TrtexecSession], model: Model, version: str
) -> None:
    """One inference at a time, spinning, no copies and no CUDA graph; none is left to a default.

    The stand-in refuses flags that its version does not know, as trtexec does.
    """
    session = opened(Workload(model=model, batch=3), version=version)
    assert session.sample(20) > 0
    flags = set(session.facts["flags"])
    assert {"--exposeDMA", "--profilingVerbosity=detailed"} <= flags
    assert ("--noCudaGraph" in flags) == version.startswith("11")
    assert (
        ("--useSpinWait" in flags) == ("--noDataTransfers" in flags) != ("--noCudaGraph" in flags)
    )
    assert session.facts["version"] == version
    assert session.facts["gpu"] == "Orin"


def test_choices_change_the_numbers(opened: Callable[..., TrtexecSession], model: Model) -> None:
    """A CUDA graph makes it faster and copies make it slower, by the stand-in's own rules."""
    work = Workload(model=model, batch=3)
    for version in ("8.6.2", "11.4.1"):
        level = {}
        for name, options in (
            ("plain", {}),
            ("graph", {"cuda_graph": "on"}),
            ("copies", {"transfers": "inside"}),
        ):
            session = opened(work, version=version, options=options)
            session.sample(50)
            level[name] = session.sample(500)
        assert level["graph"] < level["plain"] < level["copies"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"engine": "3"}, "no option 'engine'"),
        ({"engines": "0"}, "engines=0"),
        ({"cuda_graph": "yes"}, "neither off nor on"),
        ({"transfers": "no"}, "neither outside nor inside"),
    ],
)
def test_wrong_options_are_refused(
    target: Callable[..., Target], model: Model, options: dict[str, str], says: str
) -> None:
    """An option or value that does not exist is a sentence that names those that do."""
    with pytest.raises(UsageError, match=says) as caught:
        BACKEND.open(Workload(model=model, batch=1), target(options=options))
    assert caught.value.remedy


def test_times_are_handed_out_in_order_from_one_run(
    opened: Callable[..., TrtexecSession], model: Model
) -> None:
    """The cold inference comes first; one run of trtexec serves warm-up and samples."""
    session = opened(Workload(model=model, batch=3))
    first = session.sample(1)
    later = [session.sample(50) / 50 for _ in range(20)]
    assert first > 5 * median(later)
    assert max(later[2:]) / min(later[2:]) < 1.1
    assert session.facts["runs"] == 1


def test_used_up_times_are_followed_by_a_warm_run(
    opened: Callable[..., TrtexecSession], model: Model
) -> None:
    """A sample that asks for more than one run gave gets it, and no second cold start in it."""
    session = opened(Workload(model=identity_model(), batch=1))
    first = session.sample(30)
    runs = session.facts["runs"]
    again = []
    while session.facts["runs"] == runs:
        again.append(session.sample(10) / 10)
    again = [*again[-20:], *(session.sample(10) / 10 for _ in range(20))]
    assert max(again) < 1.5 * min(again)
    assert first / 30 > max(again)


def test_session_measures_like_any_other(
    opened: Callable[..., TrtexecSession], model: Model, short: Plan
) -> None:
    """The clean pass, the pauses and the floor work on handed-out times."""
    session = opened(Workload(model=model, batch=3))
    clean = sample.clean_pass(session, short)
    gap_s = sample.after_pauses_s(session, 0.002)
    assert clean.warmups_s[0] > median(clean.samples_s)
    assert 1.1 * median(clean.samples_s) < min(gap_s) <= max(gap_s) < 2 * min(gap_s)
    floor = opened(Workload(model=identity_model(), batch=1))
    assert 0 < sample.floor_s(floor) < median(clean.samples_s)


@pytest.mark.parametrize("version", VERSIONS)
def test_ops_are_traced_to_onnx(opened: Callable[..., TrtexecSession], version: str) -> None:
    """Each layer has the nodes that it was fused of, where the version tells; copies have none."""
    model = load_model(bundled.model_path())
    session = opened(Workload(model=model, batch=4), version=version)
    found = session.op_times(0.05)
    assert [op.node for op in found.ops] == [node.node for node in session.graph()]
    assert found.ops[0].kind == "memory"
    assert found.ops[0].origin == ()
    if version < "8.6" and not version.startswith("1"):
        return
    conv = next(op for op in found.ops if op.kind == "conv")
    assert conv.origin == ("conv1", "conv1_relu")
    assert {op.op for op in found.ops} >= {"Conv", "Gemm", "Softmax"}
    names = {node.name for node in onnx.load(model.path).graph.node}
    assert {name for op in found.ops for name in op.origin} <= names
    assert found.latency_s == pytest.approx(sum(op.seconds for op in found.ops))


def test_no_parts_but_a_reason(
    opened: Callable[..., TrtexecSession], model: Model, short: Plan
) -> None:
    """An op cannot be run alone; the passes go on without, and the facts say why."""
    session = opened(Workload(model=model, batch=3))
    with pytest.raises(Unavailable, match="another engine"):
        session.alone({})
    found = passes.all_passes(
        session, short, {}, passes.Setting(call_s=1e-6, latency_s=1e-4, cache_bytes=1 << 20)
    )
    assert [one.method for one in found] == ["runtime", "floor"]
    assert "another engine" in session.facts["parts"]


def test_engines_are_taken_in_turn(
    opened: Callable[..., TrtexecSession], model: Model, folder: Path
) -> None:
    """Three engines: the first three processes build one each, the next ones reuse them in turn."""
    work = Workload(model=model, batch=3)
    taken = []
    for _ in range(7):
        session = opened(work, options={"engines": "3"})
        taken.append((session.facts["engine"]["index"], session.facts["engine"]["built_now"]))
        session.close()
    assert taken == [
        (0, True),
        (1, True),
        (2, True),
        (0, False),
        (1, False),
        (2, False),
        (0, False),
    ]
    contents = {path.read_bytes() for path in folder.glob("*.plan")}
    assert len(contents) == 3


def test_floor_has_one_engine(opened: Callable[..., TrtexecSession]) -> None:
    """The graph that does nothing is not built again for each engine asked for."""
    work = Workload(model=identity_model(), batch=1)
    for _ in range(3):
        session = opened(work, options={"engines": "5"})
    assert session.facts["engine"] == {"index": 0, "of": 5, "built_now": False}


def test_nothing_but_engines_and_tiles_is_left(
    opened: Callable[..., TrtexecSession], model: Model, folder: Path
) -> None:
    """Closing leaves no answer of trtexec behind, and no half-built engine."""
    session = opened(Workload(model=model, batch=3))
    session.sample(5)
    session.op_times(0.01)
    session.infer(inputs.make(Workload(model=model, batch=3)))
    assert not list(folder.glob("*.json"))
    session.close()
    kinds = sorted({path.suffix for path in folder.iterdir()})
    assert kinds == [".cache", ".onnx", ".plan", ".raw"]


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("no_device", Unavailable, "no GPU"),
        ("build", BadFile, "Could not find any implementation for node conv0"),
        ("memory", OutOfMemory, "does not fit"),
        ("crash", WorkerCrashed, "SIGSEGV"),
    ],
)
def test_faults_are_sentences(
    target: Callable[..., Target],
    model: Model,
    folder: Path,
    fault: str,
    error: type[NnprofError],
    says: str,
) -> None:
    """What goes wrong in trtexec is an error of ours, with what to do; no engine is left of it."""
    with pytest.raises(error, match=says) as caught:
        BACKEND.open(Workload(model=model, batch=3), target(fault=fault))
    assert caught.value.remedy
    assert not list(folder.glob("*.plan"))


def test_broken_model_is_refused_in_its_own_words(
    target: Callable[..., Target], model: Model, tmp_path: Path
) -> None:
    """A file that is no ONNX is refused with what trtexec says of it."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    work = Workload(model=replace(model, path=str(broken), sha256="0" * 64), batch=1)
    with pytest.raises(BadFile, match="Failed to parse onnx file"):
        BACKEND.open(work, target())


def test_engine_of_another_gpu_is_refused(
    opened: Callable[..., TrtexecSession], target: Callable[..., Target], model: Model, folder: Path
) -> None:
    """An engine that came here from another board says so, and where to delete it."""
    work = Workload(model=model, batch=3)
    opened(work, device="Orin").sample(1)
    session = BACKEND.open(work, target(device="Thor"))
    with pytest.raises(BadFile, match="for another GPU") as caught:
        session.sample(1)
    assert str(folder) in caught.value.remedy


def test_other_version_builds_its_own_engine(
    opened: Callable[..., TrtexecSession], model: Model, folder: Path
) -> None:
    """After an update of TensorRT the old engine is not touched, and a new one is built."""
    work = Workload(model=model, batch=3)
    opened(work, version="10.3.0")
    assert opened(work, version="10.7.0").facts["engine"]["built_now"]
    assert len(list(folder.glob("*.plan"))) == 2


def test_full_disk_is_a_sentence(
    opened: Callable[..., TrtexecSession], model: Model, folder: Path
) -> None:
    """The program passes over files that it cannot write in silence; we do not."""
    session = opened(Workload(model=model, batch=3))
    if os.geteuid() == 0:
        session._shell = _Forgetful(folder)
    else:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(BadFile, match="wrote no file for --exportTimes") as caught:
        session.sample(1)
    assert "full" in caught.value.remedy
    folder.chmod(stat.S_IRWXU)


class _Forgetful(shells.LocalShell):
    """A place where nothing that is written stays."""

    def get(self, remote: str) -> bytes:
        Path(remote).unlink()
        return super().get(remote)


def test_names_with_colons_are_quoted() -> None:
    """The program splits names from values at colons, unless they are quoted."""
    assert trtexec_program.quoted("tiles") == "tiles"
    assert trtexec_program.quoted("in:0") == "'in:0'"


def test_fixed_batch_is_not_given_shapes(
    opened: Callable[..., TrtexecSession], tiny_onnx: Callable[..., Path], tmp_path: Path
) -> None:
    """A model that is bound to its batch takes no shapes, which TensorRT would refuse."""
    model = load_model(tiny_onnx(tmp_path / "fixed.onnx", batch=2))
    assert trtexec_program.shape_spec(model, {"x": (2, 6)}) == ""
    assert opened(Workload(model=model, batch=2)).sample(3) > 0


def test_free_sides_are_given_shapes() -> None:
    """The program gets the shapes of what is fed in, wherever the batch lies."""
    model = load_model(bundled.model_path())
    steps = Tensor(name="x", dtype="float32", shape=("time", "batch", 16))
    table = Tensor(name="t", dtype="float32", shape=(30, 4))
    model = replace(model, inputs=(steps, table), batch_axes={"x": 1})
    shapes = inputs.shapes(Workload(model=model, batch=8, dims={"time": 7}))
    assert trtexec_program.shape_spec(model, shapes) == "x:7x8x16"


def test_processor_is_refused(target: Callable[..., Target], model: Model) -> None:
    """A Run that says "cpu" would tell of the wrong part, so nothing is measured for it."""
    with pytest.raises(Unavailable, match="not on 'cpu' of device 'jetson'") as caught:
        BACKEND.open(Workload(model=model, batch=1), replace(target(), on="cpu"))
    assert "--on gpu or dla" in caught.value.remedy


@pytest.mark.parametrize("version", ["8.4.1", "10.3.0"])
def test_a_dla_is_named_in_each_run_of_it(
    target: Callable[..., Target], model: Model, folder: Path, version: str
) -> None:
    """An engine for a DLA is another one than that for the GPU, and is run on its core."""
    half = Workload(model=model, batch=1, precision="fp16")
    gpu = target(version=version)
    dla = replace(gpu, on="dla", options={**gpu.options, "dla_core": "1"})
    for one in (gpu, dla):
        BACKEND.open(half, one).sample(1)
    assert len(list(folder.glob("*.plan"))) == 2
    flags = BACKEND.open(half, dla).facts["flags"]
    assert flags.count("--useDLACore=1") == 2  # at the build, and in each run
    assert "--stronglyTyped" not in flags
    assert not [flag for flag in BACKEND.open(half, gpu).facts["flags"] if "DLA" in flag]


def test_a_dla_is_refused_what_it_does_not_compute(
    target: Callable[..., Target], model: Model
) -> None:
    """A DLA takes fp16 alone, of versions that have one; the floor has no precision to refuse."""
    dla = replace(target(), on="dla")
    with pytest.raises(UsageError, match="in fp16 from us, and this one is fp32") as caught:
        BACKEND.open(Workload(model=model, batch=1), dla)
    assert "--precision fp16" in caught.value.remedy
    BACKEND.open(Workload(model=identity_model(), batch=1), dla).close()
    core = {**dla.options, "dla_core": "first"}
    with pytest.raises(UsageError, match="dla_core=first"):
        BACKEND.open(Workload(model=identity_model(), batch=1), replace(dla, options=core))
    newer = replace(target(version="10.16.2"), on="dla")
    with pytest.raises(Unavailable, match=r"TensorRT 10\.16\.2 has no DLA; 10\.7 was the last"):
        BACKEND.open(Workload(model=identity_model(), batch=1), newer)


def test_whole_bench_runs_on_a_board(
    target: Callable[..., Target],
    model: Model,
    short: Plan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sweep with fresh workers measures cells, ops and floors by the board's trtexec alone."""
    root = fake_board.make("orin-nano-jp6", tmp_path / "root")
    for name, value in fake_board.environment(root).items():
        monkeypatch.setenv(name, value)
    asked = target(options={"engines": "2"})
    cells = [Cell(workload=Workload(model=model, batch=batch), target=asked) for batch in (8,)]
    plan = replace(short, processes=1, max_processes=1, energy_s=60.0)
    run, saved = begin.start(cells, plan, tmp_path, name="bench", command=("nnprof",))
    for _ in sweep.sweep(run, saved):
        pass
    done = results.load(saved)
    assert not done.failures
    assert done.environment["backend"]["version"] == "10.3.0"
    assert done.environment["device"]["board"] == fake_board.BOARDS["orin-nano-jp6"].model
    for measurement in done.measurements:
        assert measurement.clock == "recorded"
        assert measurement.ops is not None
        assert [one.method for one in measurement.op_passes].count("runtime") >= 1
        assert all(process.floor_s > 0 for process in measurement.processes)
        # Nothing runs while recorded times are handed out: that is no energy of an inference.
        assert {one.energy and one.energy.unknown for one in measurement.processes} == {
            "the inferences were over before they were counted"
        }
