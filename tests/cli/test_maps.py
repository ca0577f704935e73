"""`nnprof maps` as a user runs it: feature maps of a trained network as a picture."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import commands
import numpy as np
import pytest
import torch

import nnprof
from nnprof.errors import Unavailable
from nnprof.networks import build, datasets, maps
from nnprof.networks.checkpoint import load_checkpoint
from nnprof.networks.settings import TrainingSettings
from nnprof.profiler.report import maps as drawing

NETWORK = "1x28x28 conv4k5s2same bn relu [conv3k3same | conv2k1] pool2 conv5k3 fc10"

# Where the extra is missing, what is said about that is tested all the same.
needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with every kind of layer that gives maps, after a few steps on the digits."""
    folder = tmp_path_factory.mktemp("maps") / "net"
    settings = TrainingSettings(epochs=1, steps=10, batch=32)
    nnprof.train(NETWORK, folder, dataset="digits", settings=settings)
    return folder


def test_maps_are_what_layers_hand_on(trained: Path) -> None:
    """Each layer's maps are computed by torch's own modules in order, activations included."""
    looked = maps.look(trained, ["conv1", "act1", "conv3", "branches1", "conv4"], [5, 2])
    kept = load_checkpoint(trained)
    network = build.restore(kept.spec, kept.weights, "here").eval()
    tiles = datasets.digits().test_inputs[[5, 2]]
    value = (torch.tensor(tiles).float() - torch.tensor(kept.mean)) / torch.tensor(kept.std)
    seen = {}
    with torch.no_grad():
        for name, module in network.named_children():
            value = module(value)
            seen[name] = value.numpy()
    for name, module_name in (
        ("conv1", "conv1"), ("act1", "act1"), ("branches1", "branches1"), ("conv4", "conv4_relu")
    ):  # fmt: skip
        np.testing.assert_allclose(looked.maps[name], seen[module_name], atol=1e-5)
    assert looked.maps["conv1"].min() < 0 == looked.maps["act1"].min()  # before and behind ReLU
    np.testing.assert_allclose(looked.maps["conv3"], looked.maps["branches1"][:, 3:], atol=1e-5)
    np.testing.assert_allclose(looked.outputs, value.numpy(), atol=1e-5)


def test_without_words_each_convolution_sees_three_classes(trained: Path) -> None:
    """The tiles are the first ones of three classes, the layers all convolutions in order."""
    looked = maps.look(trained)
    assert list(looked.maps) == ["conv1", "conv2", "conv3", "conv4"]
    labels = datasets.digits().test_targets
    assert len(set(looked.targets)) == 3
    assert set(labels[: looked.indices[-1]]) == set(looked.targets[:2])


@needs_matplotlib
def test_the_command_draws(trained: Path, tmp_path: Path) -> None:
    """The command writes the picture and its name; the same training gives the same bytes."""
    words = "maps", trained, "--layer", "conv1,pool1", "--tile", "1,4,7", "-o"
    for name in ("1.svg", "2.svg", "maps.png"):
        done = commands.nnprof(*words, name, folder=tmp_path)
        assert (done.returncode, done.stdout) == (0, f"{name}\n"), done.stderr
    first, second = ((tmp_path / name).read_bytes() for name in ("1.svg", "2.svg"))
    assert first == second
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")


@needs_matplotlib
def test_a_dead_map_is_told(trained: Path, tmp_path: Path) -> None:
    """A map that is one value in all tiles says nothing, and a sentence says that."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "dead"
    shutil.copytree(trained, folder)
    weights = load_file(folder / "weights.safetensors")
    weights["conv4.bias"][:] = (1e3, -1e6, -1e6, 1e3, 1e3)
    save_file(weights, folder / "weights.safetensors")
    (note,) = nnprof.plot_maps(folder, tmp_path / "maps.png", layers=["conv4"])
    assert note == "2 of 5 maps of conv4 are one value in all these tiles."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--layer", "conv9"), "has no layer 'conv9'. Layers with maps: conv1, bn1, act1, conv2, "
         "conv3, branches1, pool1, conv4."),
        (("--layer", "fc1"), "is flat: it has no maps. Layers with maps: conv1, "),
        (("--tile", "0,359"), "has no tile 359. It has those from 0 to 358."),
        (("--tile", "1,two"), "--tile 1,two is no list of tiles. Write it like this: --tile 1,4,7"),
        (("--tile", ",".join(map(str, range(61))), "--layer", "conv1"), "Draw at most 60 "),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused(
    trained: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    """An unknown layer or tile is a sentence that names the known ones; nothing is written."""
    done = commands.nnprof("maps", trained, *words, "-o", tmp_path / "maps.png")
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_network_without_maps_is_refused(tmp_path: Path) -> None:
    """A network of flat layers is told that it has no maps."""
    settings = TrainingSettings(epochs=1, steps=1)
    nnprof.train("784 fc10", tmp_path / "net", dataset="digits", settings=settings)
    done = commands.nnprof("maps", tmp_path / "net", "-o", tmp_path / "maps.png")
    assert done.returncode == 2
    assert "has no convolution whose maps could be drawn." in done.stderr


def test_without_matplotlib(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing matplotlib is a sentence with the line that installs it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Unavailable, match=r"pip install 'nnprof-embedded\[plot\]'"):
        nnprof.plot_maps(trained, tmp_path / "maps.svg")


def test_a_grid_keeps_each_map_whole() -> None:
    """Seven maps of 2×3 stand row by row with gaps between them, and none is lost."""
    values = np.arange(42, dtype=np.float32).reshape(7, 2, 3)
    whole = drawing._mosaic(values)
    assert sorted(whole[np.isfinite(whole)]) == list(range(42))
    np.testing.assert_array_equal(whole[:2, :3], values[0])
    np.testing.assert_array_equal(whole[:2, 4:7], values[1])
