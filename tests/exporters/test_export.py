"""Networks → ONNX files."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nnprof.errors import BadFile, BadShape
from nnprof.exporters import check
from nnprof.exporters import export as exporter
from nnprof.exporters.models import load_model, set_facts
from nnprof.networks import build, bundled, checkpoint
from nnprof.networks.families import mattsson
from nnprof.networks.spec import NetworkSpec, parse
from nnprof.types import Model, Tensor, TrainingRecord


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for the module, so that each network is exported once."""
    return tmp_path_factory.mktemp("models")


def ops(model: Model) -> list[str]:
    """Op types in the order of the file."""
    return [node.op_type for node in onnx.load(model.path).graph.node]


def trained(folder: Path, text: str, normalisation: str) -> NetworkSpec:
    """Write a checkpoint with seeded weights and a normalisation that differs everywhere."""
    spec = parse(text)
    state = build.build(spec).state_dict()
    random = np.random.default_rng(1)
    shape = spec.input_shape
    if normalisation == "channel" and len(shape) == 3:
        shape = (shape[0], 1, 1)
    mean = random.uniform(20, 60, shape).astype(np.float32)
    std = random.uniform(40, 90, shape).astype(np.float32)
    record = TrainingRecord(
        network=text, dataset="digits", normalisation=normalisation, settings={}, seed=0
    )
    weights = {name: value.numpy() for name, value in state.items()}
    checkpoint.save_weights(folder, record, weights, mean, std)
    return spec


# --- export ---------------------------------------------------------------------------------------


def test_an_export_says_what_it_is(cache: Path) -> None:
    """Names, shapes, free batch, network, weights and normalisation come back from the file."""
    model = exporter.export(mattsson(conv=1, fc=1), cache=cache)
    assert model.inputs == (Tensor(name="tiles", dtype="float32", shape=("batch", 1, 28, 28)),)
    assert model.outputs == (Tensor(name="probabilities", dtype="float32", shape=("batch", 10)),)
    assert model.name == "mattsson(conv=1, fc=1, depth=20, neurons=128)"
    assert model.network is not None
    assert parse(model.network).layers == mattsson(conv=1, fc=1).layers
    assert (model.weights, model.normalisation) == ("seed 0", "folded")
    assert model.fixed_batch is None
    assert load_model(Path(model.path)) == model
    assert ops(model) == ["Conv", "Relu", "MaxPool", "Reshape", "Gemm", "Relu", "Gemm", "Softmax"]
    names = [node.name for node in onnx.load(model.path).graph.node]
    assert names[:2] == ["conv1", "conv1_relu"]
    assert len(set(names)) == len(names)


def test_what_does_not_end_in_softmax_gives_scores(cache: Path) -> None:
    """The output's name tells probabilities from scores."""
    model = exporter.export(parse("20 fc4 linear"), cache=cache)
    assert model.outputs[0].name == "scores"


@pytest.mark.parametrize(
    ("text", "normalisation", "answer"),
    [
        ("3x12x12 conv5k3 fc4", "channel", "folded"),
        ("3x12x12 conv5k3s2 bn relu fc4", "channel", "folded"),
        ("3x12x12 conv5k1same fc4", "channel", "folded"),
        ("3x6x6 fc8 fc4", "channel", "folded"),
        ("3x6x6 fc8 fc4", "pixel", "folded"),
        ("30 fc8 fc4", "pixel", "folded"),
        ("3x12x12 conv5k3same fc4", "channel", "op"),
        ("3x12x12 conv5k3 fc4", "pixel", "op"),
        ("3x12x12 pool2 conv5k3 fc4", "channel", "op"),
    ],
)
def test_normalisation_is_folded_where_exact_and_an_op_elsewhere(
    tmp_path: Path, text: str, normalisation: str, answer: str
) -> None:
    """Either way the file takes raw tiles and agrees with explicit normalisation within 1e-5."""
    spec = trained(tmp_path / "trained", text, normalisation)
    model = exporter.export(spec, tmp_path / "trained", cache=tmp_path)
    assert (model.normalisation, model.weights) == (answer, "trained")
    assert ("Sub" in ops(model)) == (answer == "op")
    module = exporter.reference(spec, tmp_path / "trained")
    agreement = check.check_against_torch(model, module, check.generated_tiles(spec.input_shape))
    assert agreement.max_difference < 1e-5


def test_the_same_network_gives_the_same_bytes(cache: Path, tmp_path: Path) -> None:
    """Two processes, in other folders and with other hash seeds, write the same file."""
    text = "1x12x12 conv4k3same bn tanh avgpool2 fc8 softsign fc4"
    code = (
        "import sys; from pathlib import Path; from nnprof.exporters.export import export\n"
        "from nnprof.networks.spec import parse\n"
        "print(export(parse(sys.argv[1]), cache=Path(sys.argv[2])).path)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, text, "models"],
        cwd=tmp_path, env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    paths = done.stdout.strip(), exporter.export(parse(text), cache=cache).path
    data = [Path(path).read_bytes() for path in paths]
    assert data[0] == data[1]
    for trace in (b"stack_trace", b"site-packages", b".py", os.fsencode(tmp_path)):
        assert trace not in data[0]


def test_the_cache_is_used_and_mended(tmp_path: Path) -> None:
    """A second export reads the file; a damaged one is made again; other weights are kept apart."""
    spec = parse("20 fc4")
    first = exporter.export(spec, cache=tmp_path)
    path = Path(first.path)
    stamp = path.stat().st_mtime_ns
    assert exporter.export(spec, cache=tmp_path) == first
    assert path.stat().st_mtime_ns == stamp
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert exporter.export(spec, cache=tmp_path) == first
    path.write_bytes(data[:100])
    assert exporter.export(spec, cache=tmp_path) == first
    assert exporter.export(parse("20 fc4 seed1"), cache=tmp_path).sha256 != first.sha256
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".onnx", ".onnx"]


def test_a_cached_model_needs_no_torch(tmp_path: Path) -> None:
    """What is in the cache is found without importing torch."""
    exporter.export(parse("20 fc4"), cache=tmp_path)
    code = (
        "import sys; from pathlib import Path; from nnprof.exporters.export import export\n"
        "from nnprof.networks.spec import parse\n"
        "export(parse('20 fc4'), cache=Path(sys.argv[1])); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    """Weights are never put under the name of another network."""
    trained(tmp_path / "trained", "20 fc4", "pixel")
    with pytest.raises(BadFile, match="not '20 fc5'"):
        exporter.export(parse("20 fc5"), tmp_path / "trained", cache=tmp_path)


_CONVS = st.builds(
    "conv{}k{}{}{}{}".format,
    st.integers(1, 6),
    st.integers(1, 5),
    st.sampled_from(["", "s2", "s3"]),
    st.sampled_from(["", "same"]),
    st.sampled_from(["", " tanh", " sigmoid", " linear", " bn relu"]),
)
_POOLS = st.sampled_from(["pool2", "avgpool2", "pool3s1", "bn", "dropout0.5", "softsign"])
_DENSES = st.builds(
    "fc{}{}".format, st.integers(1, 40), st.sampled_from(["", " tanh", " bn relu", " dropout0.2"])
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["1x14x14", "3x9x11", "2x28x28"]),
    st.lists(_CONVS | _POOLS, max_size=3),
    st.lists(_DENSES, max_size=2),
    st.sampled_from(["fc10", "fc3 linear", "fc5 bn softmax"]),
    st.integers(0, 9),
)
def test_any_network_builds_exports_and_agrees(
    cache: Path, start: str, front: list[str], denses: list[str], end: str, seed: int
) -> None:
    """Random networks agree with torch, at any batch, and keep the shape that the spec infers."""
    try:
        spec = parse(" ".join([start, *front, *denses, end, f"seed{seed}"]))
    except BadShape:
        assume(False)
    model = exporter.export(spec, cache=cache)  # refuses a model that disagrees
    session = onnxruntime.InferenceSession(model.path)
    for batch in (1, 5):
        tiles = check.generated_tiles(spec.input_shape, batch)
        assert session.run(None, {"tiles": tiles})[0].shape == (batch, *spec.shapes[-1])


# --- the bundled network --------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["precision", "normalisation"])
def test_a_file_that_calls_itself_what_is_not_is_refused(key: str, tmp_path: Path) -> None:
    """A word under nnprof's own keys that no Run can hold is one sentence with the remedy."""
    proto = onnx.load(bundled.model_path())
    set_facts(proto, {key: "banana"})
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(BadFile, match=f"its {key} is 'banana', none of .*Remove nnprof.{key}"):
        load_model(tmp_path / "net.onnx")


def test_the_bundled_network_reads_the_bundled_tiles() -> None:
    """The installed package holds a trained file under 150 kB that reads its 64 tiles."""
    path = bundled.model_path()
    assert path.stat().st_size < 150_000
    model = load_model(path)
    record = msgspec.json.decode(bundled.record_path().read_bytes(), type=TrainingRecord)
    assert (model.network, model.weights) == (record.network, "trained")
    assert (model.normalisation, record.finished) == ("folded", True)
    assert record.test_accuracy is not None
    assert record.test_accuracy >= 0.985
    with np.load(bundled.tiles_path()) as data:
        tiles, labels = data["tiles"], data["labels"]
    assert (tiles.shape, tiles.dtype) == ((64, 1, 28, 28), np.uint8)
    session = onnxruntime.InferenceSession(model.path)
    out = session.run(None, {"tiles": tiles.astype(np.float32)})[0]
    assert (out.argmax(axis=1) == labels).mean() > 0.9
