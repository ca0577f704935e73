"""Data sets: IDX files, the split, the digits, and downloads from mirrors."""

import gzip
import hashlib
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from nnprof.errors import BadFile, Unavailable, UnknownName, UsageError
from nnprof.networks import datasets

DEAD = "http://127.0.0.1:1/"  # nobody listens on port 1


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def idx(values: np.ndarray) -> bytes:
    """The bytes of an IDX file of these unsigned bytes."""
    header = struct.pack(f">{1 + values.ndim}I", 0x0800 + values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def write_set(folder: Path, train: int = 40, test: int = 20, packed: bool = True) -> dict[str, str]:
    """Write a small set of the four files of MNIST; file → sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    digests = {}
    for prefix, count in (("train", train), ("t10k", test)):
        for kind, values in (
            ("images-idx3-ubyte", random.integers(0, 256, (count, 28, 28))),
            ("labels-idx1-ubyte", np.arange(count) % 10),
        ):
            data = gzip.compress(idx(values), mtime=0) if packed else idx(values)
            name = f"{prefix}-{kind}" + (".gz" if packed else "")
            (folder / name).write_bytes(data)
            digests[name] = hashlib.sha256(data).hexdigest()
    return digests


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, dict[str, str], Path]]:
    """A real server on this machine with a small set: address, checksums, folder."""
    folder = tmp_path / "served"
    digests = write_set(folder)
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", digests, folder
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("packed", [True, False])
def test_files_in_the_named_folder_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    """MNIST comes from $NNPROF_DATA/mnist, gzip-packed or plain."""
    write_set(tmp_path / "mnist", packed=packed)
    monkeypatch.setenv("NNPROF_DATA", str(tmp_path))
    data = datasets.load("mnist")
    assert data.train_inputs.shape == (40, 1, 28, 28)
    assert data.train_inputs.dtype == np.uint8
    assert data.train_inputs.flags.writeable  # or torch warns
    assert data.test_targets.tolist() == [*range(10)] * 2
    assert data.classes == 10


def test_the_real_mnist_is_whole(data_folder: Path | None) -> None:
    """The real files give 60,000 + 10,000 tiles with the known mean."""
    if data_folder is None or not (data_folder / "mnist").is_dir():
        pytest.skip("NNPROF_DATA names no folder with mnist")
    data = datasets.load("mnist")
    assert data.train_inputs.shape == (60000, 1, 28, 28)
    assert data.test_inputs.shape == (10000, 1, 28, 28)
    assert data.train_inputs.mean() == pytest.approx(33.318, abs=1e-3)
    assert np.bincount(data.test_targets).tolist()[:3] == [980, 1135, 1032]


def test_an_unknown_data_set_is_named() -> None:
    """An unknown name lists the known ones."""
    with pytest.raises(UnknownName, match="digits"):
        datasets.load("mnits")


# --- corrupt files --------------------------------------------------------------------------------

TILES = idx(np.zeros((3, 4, 4)))
PACKED = gzip.compress(TILES)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("magic.gz", gzip.compress(idx(np.zeros(3)))),
        ("empty", b""),
        ("header", TILES[:7]),
        ("short", TILES[:-1]),
        ("long", TILES + b"\0"),
        ("text.gz", b"<html>Not found</html>"),
        ("cut.gz", PACKED[:-9]),
        ("damaged.gz", PACKED[:15] + b"\xff\xff" + PACKED[17:]),
    ],
)
def test_a_corrupt_idx_file_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    """Every corruption is one sentence with the file and what to do."""
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(BadFile, match=name) as caught:
        datasets.read_idx(path, 3)
    assert "Delete it" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tiles_without_their_labels_are_refused(tmp_path: Path) -> None:
    """Files of different sets are told apart by their counts."""
    (tmp_path / "tiles").write_bytes(TILES)
    (tmp_path / "labels").write_bytes(idx(np.zeros(4)))
    with pytest.raises(BadFile, match=r"3 tiles.* 4 labels"):
        datasets.read_labelled(tmp_path / "tiles", tmp_path / "labels")


# --- download -------------------------------------------------------------------------------------


def test_the_second_mirror_is_used_where_the_first_is_dead(
    mirror: tuple[str, dict[str, str], Path], tmp_path: Path
) -> None:
    """A dead mirror costs nothing but time."""
    address, digests, served = mirror
    folder = datasets.download("mnist", digests, tmp_path / "cache", [DEAD, address])
    for name in digests:
        assert (folder / name).read_bytes() == (served / name).read_bytes()


def test_files_with_a_wrong_checksum_are_refused(
    mirror: tuple[str, dict[str, str], Path], tmp_path: Path
) -> None:
    """A mirror with other bytes is refused, and its file is not kept."""
    address, digests, _ = mirror
    name = next(iter(digests))
    cache = tmp_path / "cache"
    with pytest.raises(Unavailable, match="wrong checksum"):
        datasets.download("mnist", {**digests, name: "0" * 64}, cache, [address])
    assert not (cache / name).exists()


def test_offline_says_what_to_do(tmp_path: Path) -> None:
    """Without a network the sentence names the files, the folder, and digits."""
    with pytest.raises(Unavailable) as caught:
        datasets.download("mnist", datasets.MNIST_FILES, tmp_path / "cache", [DEAD])
    for part in ("t10k-labels-idx1-ubyte.gz", "cache", "NNPROF_DATA", "--dataset digits"):
        assert part in str(caught.value)


# --- digits and split -----------------------------------------------------------------------------


def test_digits_need_no_download_and_stay_the_same() -> None:
    """The digits are 28×28 bytes over the whole range, the same tiles in the same parts always."""
    first, second = datasets.digits(), datasets.load("digits")
    assert first.train_inputs.shape == (1438, 1, 28, 28)
    assert first.test_inputs.shape == (359, 1, 28, 28)
    assert (first.train_inputs.min(), first.train_inputs.max()) == (0, 255)
    assert (first.test_inputs == second.test_inputs).all()
    assert np.bincount(first.test_targets).min() > 20


def test_without_scikit_learn_the_remedy_is_named() -> None:
    """A missing library is a sentence with the command that installs it."""
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from nnprof.errors import Unavailable\n"
        "from nnprof.networks import datasets\n"
        "try: datasets.digits()\n"
        "except Unavailable as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'nnprof-embedded[train]'" in done.stdout


def test_the_split_is_seeded_and_parts_the_training_tiles() -> None:
    """Ten percent validate, no tile is in both parts, and another seed parts otherwise."""
    data = datasets.digits()
    train, validation, inputs, _ = datasets.split(data, 3)
    assert len(validation) == 144
    assert inputs is data.train_inputs
    assert sorted([*train, *validation]) == [*range(1438)]
    assert (datasets.split(data, 3).validation == validation).all()
    assert set(datasets.split(data, 4).validation) != set(validation)
    assert len(datasets.split(data, 3, "0.25").validation) == 360


def test_the_test_set_can_validate() -> None:
    """With "test" nothing is held back: all inputs train, and the test set validates."""
    data = datasets.digits()
    parts = datasets.split(data, 3, "test")
    assert len(parts.training) == 1438
    assert parts.inputs[parts.validation].tolist() == data.test_inputs.tolist()
    assert parts.targets is data.test_targets


@pytest.mark.parametrize("text", ["", "0", "1", "-0.1", "nan", "tests", "0.9999"])
def test_a_share_that_parts_nothing_is_refused(text: str) -> None:
    """What is no share between 0 and 1, or leaves nothing to train with, is one sentence."""
    with pytest.raises(UsageError, match="share"):
        datasets.split(datasets.digits(), 0, text)


def test_inputs_and_targets_must_match() -> None:
    """A data set with a target missing cannot be made."""
    tiles = np.zeros((3, 1, 4, 4), np.uint8)
    with pytest.raises(ValueError, match="one target for each"):
        datasets.Dataset("x", tiles, np.zeros(2, np.int64), tiles, np.zeros(3, np.int64))
