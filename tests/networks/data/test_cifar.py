"""CIFAR-10 from files and from the archive, whole ones and pieces."""

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from nnprof.errors import BadFile, Unavailable
from nnprof.networks import datasets
from nnprof.networks.data import cifar


def records(count: int, first: int = 0) -> bytes:
    """Records whose pictures are their number in red, 1 in green, and 2 in blue."""
    return b"".join(
        bytes([number % 10]) + bytes([number]) * 1024 + b"\1" * 1024 + b"\2" * 1024
        for number in range(first, first + count)
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty $NNPROF_DATA/cifar10, an empty cache, and no mirror."""
    monkeypatch.setenv("NNPROF_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cifar, "MIRRORS", ["http://127.0.0.1:1/"])
    (tmp_path / "cifar10").mkdir()
    return tmp_path / "cifar10"


def test_files_are_read_in_their_order_and_a_piece_says_so(folder: Path) -> None:
    """Batches come one behind the other, packed or plain, planes in the order red, green, blue.

    They can be written, or torch would warn whoever trains on them.
    """
    (folder / "data_batch_1.bin").write_bytes(records(4))
    (folder / "data_batch_2.bin.gz").write_bytes(gzip.compress(records(3, 4)))
    (folder / "test_batch.bin").write_bytes(records(2))
    data = datasets.load("cifar10")
    assert data.train_inputs.shape == (7, 3, 32, 32)
    assert data.train_inputs[:, :, 5, 9].tolist() == [[number, 1, 2] for number in range(7)]
    assert data.train_targets.tolist() == [*range(7)]
    assert data.subset == "7 + 2 of 50,000 + 10,000"
    assert (data.classes, data.labels[3]) == (10, "cat")
    assert data.train_inputs.flags.writeable


def test_the_archive_is_read_as_published(folder: Path) -> None:
    """The archive gives what its files give, and nothing is written beside it."""
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, data in (
            ("data_batch_2.bin", records(3, 4)),
            ("readme.html", b"words"),
            ("data_batch_1.bin", records(4)),
            ("test_batch.bin", records(2)),
        ):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    data = datasets.load("cifar10")
    assert data.train_targets.tolist() == [*range(7)]
    assert len(data.test_targets) == 2
    assert [path.name for path in folder.iterdir()] == ["cifar-10-binary.tar.gz"]


def test_as_many_as_published_are_no_subset(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set of the published size says nothing of a subset."""
    monkeypatch.setattr(cifar, "PUBLISHED", (4, 2))
    (folder / "data_batch_1.bin").write_bytes(records(4))
    (folder / "test_batch.bin").write_bytes(records(2))
    assert datasets.load("cifar10").subset == ""


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not whole records"),
        (records(2)[:-1], "not whole records"),
        (b"\x0a" + records(1)[1:], "a class 10"),
    ],
)
def test_a_corrupt_file_is_refused(folder: Path, data: bytes, says: str) -> None:
    """Every corruption is one sentence with the file's name."""
    (folder / "data_batch_1.bin").write_bytes(data)
    (folder / "test_batch.bin").write_bytes(records(2))
    with pytest.raises(BadFile, match=f"data_batch_1.*{says}"):
        datasets.load("cifar10")


@pytest.mark.parametrize("data", [b"no archive", gzip.compress(b""), gzip.compress(bytes(10240))])
def test_a_corrupt_archive_is_refused(folder: Path, data: bytes) -> None:
    """An archive that is none, or has no batches in it, is named."""
    (folder / "cifar-10-binary.tar.gz").write_bytes(data)
    with pytest.raises(BadFile, match="cifar-10-binary"):
        datasets.load("cifar10")


@pytest.mark.usefixtures("folder")
def test_without_files_and_network_the_remedy_is_named() -> None:
    """The sentence names the archive and the folders."""
    with pytest.raises(Unavailable, match=r"cifar-10-binary.tar.gz.*NNPROF_DATA/cifar10"):
        datasets.load("cifar10")


def test_the_shared_piece_has_the_known_classes(data_folder: Path | None) -> None:
    """The first 5,000 + 1,000 pictures have the published counts of each class."""
    if data_folder is None or not (data_folder / "cifar10").is_dir():
        pytest.skip("NNPROF_DATA names no folder with cifar10")
    data = datasets.load("cifar10")
    if not data.subset:
        pytest.skip("the whole set is here")
    assert data.subset == "5,000 + 1,000 of 50,000 + 10,000"
    assert np.bincount(data.test_targets).tolist() == [
        103,
        89,
        100,
        103,
        90,
        86,
        112,
        102,
        106,
        109,
    ]
