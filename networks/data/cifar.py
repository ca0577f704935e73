"""CIFAR-10: 32×32 pictures in colour of ten kinds of things, in the published binary layout.

A record has 3,073 bytes: the class, then 32×32 of red, of green and of blue, row by row. Files may
hold fewer records than the published ones; then the data set calls itself a subset.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
<https://www.cs.toronto.edu/~kriz/cifar.html>, which states the archive's checksum.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile
from nnprof.files import foreign, read
from nnprof.networks.datasets import Dataset, cache_folder, download, folders

_ARCHIVE = "cifar-10-binary.tar.gz"
ARCHIVES = {_ARCHIVE: "md5:c32a1d4ab5d03f1284b67883e8d87530"}
MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")
LABELS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
PUBLISHED = 50_000, 10_000  # to train with, to test on
_SIDES = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32
_MOST = 1 << 28  # bytes of a file, unpacked; the whole archive has 184 MB
_REMEDY = "Delete it, or copy it anew."


def cifar10() -> Dataset:
    """CIFAR-10: 50,000 + 10,000 pictures, 3×32×32; of the files found, as many as they hold.

    Looks for data_batch_*.bin and test_batch*.bin, plain or .gz, or for the archive.

    Raises:
        Unavailable: there are no files, and none can be had.
        BadFile: one of them is corrupt.
    """
    (train, classes), (test, test_classes) = _parts()
    subset = ""
    if (len(train), len(test)) != PUBLISHED:
        whole = " + ".join(f"{count:,}" for count in PUBLISHED)
        subset = f"{len(train):,} + {len(test):,} of {whole}"
    return Dataset("cifar10", train, classes, test, test_classes, subset=subset, labels=LABELS)


Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]


def _parts() -> tuple[Labelled, Labelled]:
    """What to train with, and what to test on."""
    for folder in folders("cifar10"):
        training = sorted(folder.glob("data_batch_*.bin*"))
        tests = sorted(folder.glob("test_batch*.bin*"))
        if training and tests:
            return _labelled(training), _labelled(tests)
        if (folder / _ARCHIVE).is_file():
            return _unpacked(folder / _ARCHIVE)
    folder = download("cifar10", ARCHIVES, cache_folder("cifar10"), MIRRORS)
    return _unpacked(folder / _ARCHIVE)


def _labelled(paths: list[Path]) -> Labelled:
    return _records([(str(path), read(path, _MOST, _REMEDY)) for path in paths])


def _unpacked(path: Path) -> tuple[Labelled, Labelled]:
    """What is in the archive, read without writing its files."""
    data = read(path, _MOST, _REMEDY)
    files: dict[str, bytes] = {}
    with foreign(f"Cannot read {path}", _REMEDY), tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None and member.name.endswith(".bin"):
                files[Path(member.name).name] = content.read()
    train, test = (
        [(f"{name} in {path}", files[name]) for name in sorted(files) if name.startswith(prefix)]
        for prefix in ("data_batch_", "test_batch")
    )
    if not train or not test:
        raise BadFile(f"'{path}' has no data_batch_*.bin, or no test_batch.bin.", _REMEDY)
    return _records(train), _records(test)


def _records(files: list[tuple[str, bytes]]) -> Labelled:
    """Pictures and classes of these files, by name, in their order."""
    for name, data in files:
        if not data or len(data) % _RECORD:
            raise BadFile(
                f"'{name}' has {len(data)} bytes, which are not whole records of {_RECORD}.",
                _REMEDY,
            )
        found = max(data[::_RECORD])
        if found >= len(LABELS):
            raise BadFile(f"'{name}' has a class {found}, but CIFAR-10 has 0 to 9.", _REMEDY)
    # Not of bytes, since torch warns of arrays that cannot be written.
    joined = np.frombuffer(bytearray().join(data for _, data in files), np.uint8)
    joined = joined.reshape(-1, _RECORD)
    return joined[:, 1:].reshape(-1, *_SIDES), joined[:, 0].astype(np.int64)
