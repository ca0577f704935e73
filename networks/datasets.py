"""What a data set is, where its files lie; MNIST, Fashion-MNIST, and digits without a download.

A new data set is a function that returns a `Dataset`, in a file of `data/`, and a line under
`nnprof.datasets` in setup.cfg. Its arguments, int or str, are those that its name takes. The files
of `NAME` are looked for in `$NNPROF_DATA/NAME`, then in the user's cache, then on the mirrors.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import platformdirs
from numpy.typing import NDArray

from nnprof import registry
from nnprof.errors import BadFile, Unavailable, UsageError
from nnprof.files import read
from nnprof.networks.data import names

DATA_VARIABLE = "NNPROF_DATA"
DOWNLOAD_TIMEOUT_S = 30
MOST_IDX = 1 << 30  # bytes of an IDX file, unpacked; MNIST's largest has 47 MB

_TRAIN_TILES = "train-images-idx3-ubyte.gz"
_TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
_TEST_TILES = "t10k-images-idx3-ubyte.gz"
_TEST_LABELS = "t10k-labels-idx1-ubyte.gz"

# File → sha256, of the files as first published.
MNIST_FILES = {
    _TRAIN_TILES: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    _TRAIN_LABELS: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    _TEST_TILES: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    _TEST_LABELS: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)
FASHION_FILES = {
    _TRAIN_TILES: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    _TRAIN_LABELS: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    _TEST_TILES: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    _TEST_LABELS: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
FASHION_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
# In the order of the numbers, as its README has them.
FASHION_LABELS = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

Tiles = NDArray[np.uint8]


@dataclass(frozen=True)
class Series:
    """Values in the course of time, scaled to 0…1 over the part to train with.

    Attributes:
        column: what the values are, such as "High".
        low: the value that 0 stands for, in the units of the file.
        high: the value that 1 stands for.
        test_dates: when each value to test on was.
    """

    column: str
    low: float
    high: float
    test_dates: NDArray[np.datetime64]

    def unscaled(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Scaled values, targets or outputs of a network, in the units of the file."""
        return self.low + values.astype(np.float64) * (self.high - self.low)


@dataclass(frozen=True)
class Dataset:
    """Inputs with their targets, to train with and to test on.

    Attributes:
        name: as it is recorded, and as `load` reads it again.
        train_inputs: (N, …): tiles uint8 (N, C, H, W), 0…255; words uint8 (N, words), 0 or 1;
            windows float32 (N, steps, features).
        train_targets: classes int64 (N,), counted from 0; or values float32 (N, k).
        test_inputs: as `train_inputs`.
        test_targets: as `train_targets`.
        task: whether the targets are "classes" or "values".
        subset: what part of the published set this is; empty where it is the whole.
        labels: names of the classes, in their order; empty where they are not known.
        series: of values in the course of time: how to turn them back, and when they were.

    Raises:
        ValueError: at construction, where inputs and targets do not match.
    """

    name: str
    train_inputs: NDArray[Any]
    train_targets: NDArray[Any]
    test_inputs: NDArray[Any]
    test_targets: NDArray[Any]
    task: Literal["classes", "values"] = "classes"
    subset: str = ""
    labels: tuple[str, ...] = ()
    series: Series | None = None

    def __post_init__(self) -> None:
        """Refuse inputs and targets that do not match."""
        sides = 1 if self.task == "classes" else 2
        for inputs, targets in (
            (self.train_inputs, self.train_targets),
            (self.test_inputs, self.test_targets),
        ):
            if inputs.ndim < 2 or targets.ndim != sides or not len(targets):
                raise ValueError(f"a data set of {self.task} needs inputs (N, …), and targets")
            if len(inputs) != len(targets):
                raise ValueError("a data set needs one target for each input")
        if self.train_inputs.shape[1:] != self.test_inputs.shape[1:]:
            raise ValueError("the inputs to train with and to test on have one shape")

    @property
    def classes(self) -> int:
        """How many classes there are; 0 where the targets are values."""
        if self.task == "values":
            return 0
        return max(len(self.labels), int(self.train_targets.max()) + 1)

    @property
    def outputs(self) -> int:
        """How many numbers a network gives for one input: one for each class, or the values."""
        return self.classes or int(self.train_targets.shape[1])


class Split(NamedTuple):
    """What to train with, and what to validate on.

    Attributes:
        training: indices into the data set's `train_inputs`.
        validation: indices into `inputs`.
        inputs: what the validation set is taken from: the inputs to train with, or to test on.
        targets: of `inputs`.
    """

    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    inputs: NDArray[Any]
    targets: NDArray[Any]


def load(name: str) -> Dataset:
    """The data set of that name, with its arguments where it takes any: `reuters(words=10000)`.

    Raises:
        UnknownName: nothing of that name is registered.
        BadNotation: the arguments are not those of this data set.
        Unavailable: its files are not here and cannot be had.
        BadFile: one of its files is corrupt.
    """
    function = registry.find("dataset", names.parse(name)[0])
    dataset: Dataset = function(**names.bound(function, name))
    return dataset


def split(dataset: Dataset, seed: int, validation: str = "0.1") -> Split:
    """Part the inputs to train with into those that train and those that validate.

    `validation` is the share that validates, chosen at random by the seed; or "test": then the
    test set validates, and all inputs to train with train.

    Raises:
        UsageError: `validation` is neither, or leaves no input to train with.
    """
    inputs, targets = dataset.train_inputs, dataset.train_targets
    total = len(targets)
    if validation == "test":
        tested = np.arange(len(dataset.test_targets))
        return Split(np.arange(total), tested, dataset.test_inputs, dataset.test_targets)
    order = np.random.default_rng([seed, 0]).permutation(total)
    held_out = max(1, round(total * validation_share(validation)))
    if held_out >= total:
        raise UsageError(
            f"A validation share of {validation} leaves nothing of '{dataset.name}' to train with.",
            "Give a smaller share, or 'test'.",
        )
    return Split(np.sort(order[held_out:]), np.sort(order[:held_out]), inputs, targets)


def validation_share(text: str) -> float:
    """The share that a text such as "0.1" names.

    Raises:
        UsageError: it is no number between 0 and 1.
    """
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise UsageError(
            f"'{text}' is no part to validate on.",
            "Give a share between 0 and 1, such as 0.1, or 'test'.",
        )
    return share


# --- the data sets --------------------------------------------------------------------------------


def mnist() -> Dataset:
    """MNIST: 60,000 + 10,000 handwritten digits, 28×28, as IDX files."""
    return _idx_dataset("mnist", MNIST_FILES, MNIST_MIRRORS)


def fashion_mnist() -> Dataset:
    """Fashion-MNIST: 60,000 + 10,000 articles of clothing, 28×28, as IDX files."""
    return _idx_dataset("fashion-mnist", FASHION_FILES, FASHION_MIRRORS, FASHION_LABELS)


def digits() -> Dataset:
    """The 1,797 UCI digits of scikit-learn, laid out like MNIST; a fixed fifth is for testing.

    8×8 tiles of 0…16 become 20×20 of 0…255 with a border of 4, where MNIST has its digits. So a
    network trained on one set also reads the other.

    Raises:
        Unavailable: scikit-learn is not installed.
    """
    try:
        from scipy.ndimage import zoom
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise Unavailable(
            "The data set 'digits' comes with scikit-learn, which is not installed.",
            "Try: pip install 'nnprof-embedded[train]'.",
        ) from error
    small, labels = load_digits(return_X_y=True)
    large = zoom(small.reshape(-1, 8, 8), (1, 2.5, 2.5), order=1) * (255 / 16)
    tiles = np.pad(np.rint(large).clip(0, 255).astype(np.uint8), ((0, 0), (4, 4), (4, 4)))
    tiles = tiles[:, np.newaxis]
    labels = labels.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    test, train = order[: len(labels) // 5], order[len(labels) // 5 :]
    return Dataset("digits", tiles[train], labels[train], tiles[test], labels[test])


# --- IDX files ------------------------------------------------------------------------------------


def _idx_dataset(
    name: str, files: Mapping[str, str], mirrors: Sequence[str], labels: tuple[str, ...] = ()
) -> Dataset:
    folder = _local_folder(name, files) or download(name, files, cache_folder(name), mirrors)
    train, test = (
        read_labelled(_present(folder, tiles), _present(folder, numbers))
        for tiles, numbers in ((_TRAIN_TILES, _TRAIN_LABELS), (_TEST_TILES, _TEST_LABELS))
    )
    return Dataset(name, *train, *test, labels=labels)


def cache_folder(name: str) -> Path:
    """Where the files of a data set are kept once downloaded."""
    return Path(platformdirs.user_cache_dir("nnprof")) / "datasets" / name


def folders(name: str) -> list[Path]:
    """Where the files of a data set are looked for: `$NNPROF_DATA/NAME`, then the user's cache."""
    named = os.environ.get(DATA_VARIABLE)
    return [*([Path(named) / name] if named else []), cache_folder(name)]


def _local_folder(name: str, files: Mapping[str, str]) -> Path | None:
    for folder in folders(name):
        if all(_present(folder, file).is_file() for file in files):
            return folder
    return None


def _present(folder: Path, file: str) -> Path:
    """The .gz file, or the unpacked one where only that is there."""
    packed = folder / file
    plain = packed.with_suffix("")
    return plain if plain.is_file() and not packed.is_file() else packed


def read_labelled(tiles: Path, labels: Path) -> tuple[Tiles, NDArray[np.int64]]:
    """Tiles (N, 1, H, W) and labels (N,) of a pair of IDX files.

    Raises:
        BadFile: one of them is corrupt, or they differ in number.
    """
    images = read_idx(tiles, 3)
    numbers = read_idx(labels, 1)
    if len(images) != len(numbers):
        raise BadFile(
            f"'{tiles}' holds {len(images)} tiles, but '{labels}' {len(numbers)} labels.",
            "Put the two files of one set side by side.",
        )
    return images[:, np.newaxis], numbers.astype(np.int64)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, gzip-packed or plain.

    The header is big-endian: 0x0000, 0x08 for unsigned bytes, the number of dimensions, then one
    32-bit size for each.

    Raises:
        BadFile: the file cannot be read, is cut off, is something else, or unpacks to more than
            `MOST_IDX` bytes.
    """
    remedy = "Delete it, and nnprof downloads it again; or copy it anew."
    data = read(path, MOST_IDX, remedy)
    start = 4 + 4 * dimensions
    header = np.frombuffer(data[: len(data[:start]) // 4 * 4], dtype=">u4")
    if len(data) < start or header[0] != 0x0800 + dimensions:
        raise BadFile(
            f"'{path}' is not an IDX file of unsigned bytes in {dimensions} dimension(s).", remedy
        )
    shape = tuple(int(side) for side in header[1:])
    if len(data) != start + math.prod(shape):
        raise BadFile(
            f"'{path}' announces {math.prod(shape)} values, but holds {len(data) - start}.", remedy
        )
    # A copy, since torch warns of arrays that cannot be written.
    return np.array(np.frombuffer(data, np.uint8, offset=start)).reshape(shape)


# --- download -------------------------------------------------------------------------------------


def download(name: str, files: Mapping[str, str], folder: Path, mirrors: Sequence[str]) -> Path:
    """Fetch `files` from the first mirror that has all; returns `folder`.

    `files` has each name's sha256, or `md5:…` where only that was published.

    Files that are there already, with the right checksum, are left alone.

    Raises:
        Unavailable: no mirror gave all files with their checksums.
    """
    import pooch

    reasons = []
    for mirror in mirrors:
        registered = {
            file: digest if ":" in digest else f"sha256:{digest}" for file, digest in files.items()
        }
        shelf = pooch.create(path=folder, base_url=mirror, registry=registered)
        downloader = pooch.HTTPDownloader(timeout=DOWNLOAD_TIMEOUT_S)
        pooch.get_logger().setLevel("WARNING")
        try:
            for file in files:
                shelf.fetch(file, downloader=downloader)
        # pooch raises requests' errors, which are OSErrors, and ValueError for a wrong checksum.
        except (OSError, ValueError) as error:
            reasons.append(f"{mirror}: {_first_sentence(error)}")
        else:
            return folder
    raise Unavailable(
        f"The data set '{name}' is not here and could not be downloaded ({'; '.join(reasons)}).",
        f"Put {', '.join(files)} into '{folder}' or ${DATA_VARIABLE}/{name}, "
        "or use --dataset digits, which needs no download.",
    )


def _first_sentence(error: Exception) -> str:
    text = str(error)
    if "hash" in text:
        return "wrong checksum"
    return type(error).__name__ if len(text) > 80 else text
