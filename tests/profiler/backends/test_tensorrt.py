"""TensorRT as a backend, against stand-ins for its modules that keep its rules."""

from __future__ import annotations

import ast
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx.reference
import pytest
import tensorrt_gpu as fakes
from msgspec.structs import replace

from nnprof.errors import BadFile, OutOfMemory, Unavailable, UsageError
from nnprof.exporters import tensorrt as engines
from nnprof.exporters.models import load_model
from nnprof.exporters.probes import identity_model
from nnprof.exporters.tensorrt import Recipe
from nnprof.networks import bundled
from nnprof.profiler import inputs
from nnprof.profiler.backends import cuda_calls
from nnprof.profiler.backends import tensorrt as backend
from nnprof.profiler.backends.tensorrt import BACKEND
from nnprof.profiler.timing import sample
from nnprof.types import Model, Plan, Target, Workload

Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Engines of one test are not seen by the next."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "nnprof" / "engines"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Puts the stand-ins in place; gives the state of their GPU."""

    def make(**settings: object) -> Any:
        state = fakes.State(**settings)
        bindings: Any = types.ModuleType("cuda.bindings")
        bindings.runtime = fakes.cuda(state)
        monkeypatch.setitem(sys.modules, "tensorrt", fakes.tensorrt(state))
        monkeypatch.setitem(sys.modules, "cuda", types.ModuleType("cuda"))
        monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
        return state

    return make


def target(**options: str) -> Target:
    """A GPU with such options."""
    return Target(backend="tensorrt", device="cuda", options=options)


def only_plan(folder: Path) -> dict[str, Any]:
    """What the stand-in wrote into the one engine there is."""
    (path,) = folder.glob("*.plan")
    plan: dict[str, Any] = json.loads(path.read_bytes())
    return plan


def test_probe_tells_versions_and_gpu(gpu: Make) -> None:
    """The version of TensorRT, those of CUDA, and the GPU's name and capability."""
    gpu(version="10.13.3")
    found = BACKEND.probe()
    assert (found["version"], found["gpu"]) == ("10.13.3", "Orin")
    assert found["compute_capability"] == "8.7"


def test_missing_library_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tensorrt the remedy names JetPack and pip."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(Unavailable, match="not installed") as caught:
        BACKEND.probe()
    assert "system-site-packages" in caught.value.remedy
    assert "pip install" in caught.value.remedy


def test_missing_bindings_or_gpu_are_sentences(gpu: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither cuda-bindings nor the driver is taken for granted."""
    gpu(name="")
    with pytest.raises(Unavailable, match="cudaErrorNoDevice"):
        BACKEND.probe()
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(Unavailable, match="cuda-bindings"):
        BACKEND.probe()


@pytest.mark.parametrize("options", [{}, {"cuda_graph": "on"}, {"transfers": "inside"}])
def test_outputs_are_right_and_leave_the_tiles(gpu: Make, options: dict[str, str]) -> None:
    """The bundled network gives what the reference gives; what is timed keeps its own tiles."""
    gpu()
    model = load_model(bundled.model_path())
    work = Workload(model=model, batch=4, data=str(bundled.tiles_path()))
    tiles = inputs.make(work)
    session = BACKEND.open(work, target(**options))
    (expected,) = onnx.reference.ReferenceEvaluator(model.path).run(None, tiles)
    np.testing.assert_allclose(session.infer(tiles)["probabilities"], expected, atol=1e-6)
    other = {name: array[::-1].copy() for name, array in tiles.items()}
    np.testing.assert_allclose(session.infer(other)["probabilities"], expected[::-1], atol=1e-6)
    np.testing.assert_array_equal(session._context.view("tiles"), tiles["tiles"])


def test_every_inference_is_waited_for(gpu: Make, model: Model) -> None:
    """Nothing is under way after a sample; its seconds are those of the device's clock."""
    state = gpu()
    session = BACKEND.open(Workload(model=model, batch=3), target())
    before = state.inferences
    assert session.sample(10) == pytest.approx(10 * 25e-6)
    assert state.inferences == before + 10
    assert not state.pending


def test_graph_and_copies_change_what_is_timed(gpu: Make, model: Model) -> None:
    """A CUDA graph leaves out most of the launch; copies inside add theirs; the facts say so."""
    gpu()
    work = Workload(model=model, batch=3)
    level = {}
    for name, options in (
        ("plain", {}),
        ("graph", {"cuda_graph": "on"}),
        ("copies", {"transfers": "inside"}),
    ):
        session = BACKEND.open(work, target(**options))
        level[name] = session.sample(5)
        assert session.facts["cuda_graph"] == (name == "graph")
        assert session.facts["transfers"] == ("inside" if name == "copies" else "outside")
        session.close()
    assert level["graph"] < level["plain"] < level["copies"]


def test_closing_gives_everything_back(gpu: Make, model: Model) -> None:
    """Memory, events, streams and graphs are freed, each once."""
    state = gpu()
    for options in ({}, {"cuda_graph": "on"}):
        session = BACKEND.open(Workload(model=model, batch=3), target(**options))
        session.sample(2)
        session.op_times(0.001)
        session.close()
        assert state.blocks == {}
        assert state.handles == set()


def test_engine_is_built_once_per_recipe(gpu: Make, model: Model, folder: Path) -> None:
    """The same cell takes the same engine; another batch has its own."""
    state = gpu()
    for batch in (3, 3, 8):
        BACKEND.open(Workload(model=model, batch=batch), target()).close()
    assert state.builds == 2
    assert {path.suffix for path in folder.iterdir()} == {".plan", ".json", ".cache"}


def test_processes_take_engines_in_turn(gpu: Make, model: Model, folder: Path) -> None:
    """With three engines the fourth process takes the first again; their tactics are their own."""
    gpu()
    taken = []
    for _ in range(7):
        session = BACKEND.open(Workload(model=model, batch=3), target(engines="3"))
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
    plans = [json.loads(path.read_bytes()) for path in folder.glob("*.plan")]
    assert len({plan["tactics"] for plan in plans}) == 3


def test_timings_are_reused_within_an_index(gpu: Make, model: Model, folder: Path) -> None:
    """A second model built as engine 0 starts from what the first one timed."""
    state = gpu()
    for batch in (1, 2):
        BACKEND.open(Workload(model=model, batch=batch), target()).close()
    assert state.builds == 2
    plans = [json.loads(path.read_bytes()) for path in folder.glob("*.plan")]
    assert {plan["tactics"] for plan in plans} == {"timings 1"}


@pytest.mark.parametrize(
    ("version", "precision", "network", "flags"),
    [
        ("8.6.1", "fp32", 1, []),
        ("8.6.1", "fp16", 1, ["FP16"]),
        ("8.6.1", "int8", 1, ["INT8"]),
        ("10.3.0", "fp16", 2, []),
        ("11.4.0.106", "int8", 2, []),
    ],
)
def test_precision_comes_from_the_graph_where_it_can(
    gpu: Make,
    model: Model,
    folder: Path,
    version: str,
    precision: str,
    network: int,
    flags: list[str],
) -> None:
    """Strongly typed since 10, without flags of the builder; before, by those of the precision."""
    gpu(version=version)
    BACKEND.open(Workload(model=model, batch=2, precision=precision), target()).close()
    plan = only_plan(folder)
    assert (plan["network"], plan["flags"]) == (network, flags)
    assert plan["verbosity"] == "DETAILED"


def test_one_engine_for_a_list_of_batches(gpu: Make, model: Model, folder: Path) -> None:
    """The list makes a profile for each batch, and each cell chooses its own."""
    state = gpu()
    for batch in (1, 4, 16):
        work = Workload(model=model, batch=batch)
        session = BACKEND.open(work, target(batches="1,4,16"))
        assert session.infer(inputs.make(work))["y"].shape == (batch, 4)
        session.op_times(0.001)
        session.close()
    assert state.builds == 1
    assert [profile["x"] for profile in only_plan(folder)["profiles"]] == [[1, 6], [4, 6], [16, 6]]


def test_fixed_batch_needs_no_profile(
    gpu: Make, tiny_onnx: Callable[..., Path], tmp_path: Path, folder: Path
) -> None:
    """A model that is bound to its batch is built as it is."""
    gpu()
    model = load_model(tiny_onnx(tmp_path / "fixed.onnx", batch=2))
    assert BACKEND.open(Workload(model=model, batch=2), target()).sample(2) > 0
    assert only_plan(folder)["profiles"] == []


@pytest.mark.parametrize("batches", ["1,2", "1,x,3", "", "0,3"])
def test_wrong_batches_are_refused(gpu: Make, model: Model, batches: str) -> None:
    """A list without the cell's batch, or that is none, is a sentence."""
    gpu()
    with pytest.raises(UsageError, match="batches"):
        BACKEND.open(Workload(model=model, batch=3), target(batches=batches))


def test_ops_are_those_of_the_engine(gpu: Make, model: Model) -> None:
    """Each layer with its ONNX node and the median of its times, from a context of its own."""
    state = gpu()
    session = BACKEND.open(Workload(model=model, batch=3), target())
    before = state.inferences
    found = session.op_times(0.001)
    # The first one is cold, and left out.
    assert {op.runs for op in found.ops} == {state.inferences - before - 1}
    assert [(op.node, op.op) for op in found.ops] == [
        ("gemm", "Gemm"),
        ("relu", "Relu"),
        ("softmax", "Softmax"),
    ]
    assert [op.node for op in session.graph()] == [op.node for op in found.ops]
    assert all(op.seconds == pytest.approx(6e-6) and op.origin == (op.node,) for op in found.ops)
    assert found.ops[0].runs > 20
    assert found.latency_s == pytest.approx(25e-6)
    assert session._context.profiler is None


def test_layers_of_one_name_are_told_by_order() -> None:
    """A name that comes twice in an inference is two layers."""
    rows = [[("a", 1.0), ("b", 2.0), ("a", 3.0)], [("a", 2.0), ("b", 2.0), ("a", 5.0)]]
    found = backend.profile_of(rows)
    assert found.count == 2
    assert [(one.name, one.mean_s, one.median_s) for one in found.layers] == [
        ("a", 1.5, 1.5),
        ("b", 2.0, 2.0),
        ("a", 4.0, 4.0),
    ]


def test_session_measures_like_any_other(gpu: Make, model: Model, short: Plan) -> None:
    """The clean pass and the floor work on it; parts are not to be had, and the facts say why."""
    gpu()
    session = BACKEND.open(Workload(model=model, batch=3), target())
    clean = sample.clean_pass(session, short)
    for _ in range(2):  # one floor is enough, however many engines there are
        floor = BACKEND.open(Workload(model=identity_model(), batch=1), target(engines="4"))
    assert floor.facts["engine"]["index"] == 0
    assert 0 < floor.sample(10) / 10 < median(clean.samples_s)
    with pytest.raises(Unavailable, match="another engine"):
        session.alone({})
    assert "another engine" in session.facts["parts"]


def test_refusals_are_in_tensorrts_words(gpu: Make, model: Model, tmp_path: Path) -> None:
    """A build that fails says the error, not the warning before it; memory is told apart."""
    state = gpu()
    work = Workload(model=model, batch=3)
    state.refuse = "Error Code 10: Could not find any implementation\n for node conv."
    with pytest.raises(BadFile, match=r"refuses tiny.*implementation for node conv\."):
        BACKEND.open(work, target())
    state.refuse = "Error Code 1: Cuda Runtime (out of memory)"
    with pytest.raises(OutOfMemory, match="does not fit"):
        BACKEND.open(work, target())
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(BadFile, match="UNSUPPORTED_NODE"):
        BACKEND.open(
            Workload(model=replace(model, path=str(broken), sha256="0" * 64), batch=1), target()
        )


def test_full_gpu_is_out_of_memory(gpu: Make, model: Model) -> None:
    """Buffers that do not fit are OutOfMemory, which ends the cell and not the sweep."""
    gpu(memory=64)
    with pytest.raises(OutOfMemory, match="no memory left"):
        BACKEND.open(Workload(model=model, batch=64), target())


def test_engine_from_elsewhere_is_refused(gpu: Make, model: Model, folder: Path) -> None:
    """A file under the name that is looked for, but stamped on another GPU, is not run."""
    gpu(name="Orin")
    work = Workload(model=model, batch=3)
    BACKEND.open(work, target()).close()
    gpu(name="Thor")
    (path,) = folder.glob("*.plan")
    recipe = Recipe(
        model=model.sha256, batches=(3,), precision="fp32", version="10.3.0", device="Thor",
        compute="8.7",
    )  # fmt: skip
    for old in (path, Path(f"{path}.json")):
        old.rename(old.with_name(old.name.replace(path.stem, f"{recipe.key}-0")))
    with pytest.raises(BadFile, match="was built for the GPU Orin; wanted here is the GPU Thor"):
        BACKEND.open(work, target())


# --- the real bindings of CUDA --------------------------------------------------------------------


def calls_of_cuda() -> set[tuple[str, int]]:
    """Each call of CUDA in our code, with the number of its arguments."""
    texts = [Path(module.__file__).read_text(encoding="utf-8") for module in (backend, cuda_calls)]
    found = set()
    for node in (node for text in texts for node in ast.walk(ast.parse(text))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(
            ("cuda.", "runtime().")
        ):
            # `*ends` stands for two.
            count = sum(2 if isinstance(one, ast.Starred) else 1 for one in node.args)
            found.add((ast.unparse(node.func).rpartition(".")[2], count))
    return found


def test_calls_of_cuda_have_the_real_names_and_arguments() -> None:
    """Each function that we call is in cuda-bindings, with so many arguments."""
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    calls = calls_of_cuda()
    assert len(calls) > 20
    for name, count in calls:
        signature = getattr(runtime, name).__doc__.strip().splitlines()[0]
        inside = signature[signature.index("(") + 1 : signature.rindex(")")]
        assert len([word for word in inside.split(",") if word.strip()]) == count, signature
    assert runtime.cudaMemcpyKind.cudaMemcpyHostToDevice == 1
    assert runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost == 2
    assert runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal == 1
    assert runtime.cudaError_t(2).name == "cudaErrorMemoryAllocation"


# --- stamps ---------------------------------------------------------------------------------------


def stamped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Recipe]:
    """An engine of eight bytes, built by nobody, and its recipe."""
    recipe = Recipe(
        model="0" * 64, batches=(1, 16), precision="fp16", version="10.3.0", device="Orin"
    )
    monkeypatch.setattr(engines, "build", lambda *_: (b"an engine", b""))
    engines.take(load_model(bundled.model_path()), recipe, 1, tmp_path)
    return tmp_path / f"{recipe.key}-0.plan", recipe


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": "10.7.0"}, "built for TensorRT 10.3.0; wanted here is TensorRT 10.7.0"),
        ({"device": "Thor"}, "GPU Orin.*GPU Thor"),
        ({"compute": "8.7"}, "compute capability"),
        ({"batches": (1,)}, "batches 1, 16; wanted here is the batches 1"),
        ({"precision": "int8"}, "precision fp16.*int8"),
        ({"model": "f" * 64}, "the model 000"),
    ],
)
def test_stamp_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], says: str
) -> None:
    """Each field of the recipe is looked at; the sentence has both values, the remedy the file."""
    path, recipe = stamped(tmp_path, monkeypatch)
    assert engines.load(path, recipe)[0] == b"an engine"
    with pytest.raises(BadFile, match=says) as caught:
        engines.load(path, replace(recipe, **change))
    assert str(path) in caught.value.remedy


def test_cut_engine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content that is not what was stamped, and a stamp that is missing, are sentences."""
    path, recipe = stamped(tmp_path, monkeypatch)
    path.write_bytes(b"an eng")
    with pytest.raises(BadFile, match="cut or was changed"):
        engines.load(path, recipe)
    Path(f"{path}.json").unlink()
    with pytest.raises(BadFile, match="no stamp"):
        engines.load(path, recipe)


def test_recipes_of_one_kind_have_one_key() -> None:
    """Equal recipes share engines; every field makes another."""
    recipe = Recipe(model="a", batches=(1,), precision="fp32", version="10.3.0", device="Orin")
    changes: list[dict[str, Any]] = [
        {"model": "b"}, {"batches": (2,)}, {"precision": "fp16"}, {"version": "10.3.1"},
        {"device": "Thor"}, {"compute": "8.7"}, {"shapes": ({"x": (7, 1)},)},
    ]  # fmt: skip
    keys = {recipe.key, *(replace(recipe, **change).key for change in changes)}
    assert len(keys) == 8
    assert replace(recipe).key == recipe.key
    # Engines that were built before there were shapes are still found.
    assert recipe.key == "fa2ccfcf3e32e8f1"


def test_turns() -> None:
    """What is missing is built first, in order; then the longest unused is taken."""
    assert engines.next_index([], 3) == 0
    assert engines.next_index([0, 2], 3) == 1
    assert engines.next_index([2, 0, 1], 3) == 2
    assert engines.next_index([4, 1, 0], 2) == 1
