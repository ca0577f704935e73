"""Reuters: newswires by topic, each as the set of the frequent words that it has.

The words are numbered as Keras' `reuters.load_data` numbers them, and the parts to train with and
to test on are Keras'. So figures compare with those of studies that used it.

Source: Reuters-21578, Distribution 1.0, as prepared for Keras (11,228 newswires, 46 topics).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnprof.errors import BadFile, UsageError
from nnprof.files import foreign, read
from nnprof.networks.data import names
from nnprof.networks.datasets import Dataset, cache_folder, download, folders

FLAT, TOPICS = "reuters_flat.npz", "reuters_topics.txt"
KERAS = {"reuters.npz": "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916"}
MIRRORS = ("https://storage.googleapis.com/tensorflow/tf-keras-datasets/",)
MOST_WORDS = 1 << 16
_TRAINING_SHARE, _SEED = 0.8, 113  # of Keras
_START, _RARE, _SHIFT = 1, 2, 3  # of Keras: the mark of a beginning, of a rare word; the offset
_MOST = 1 << 28
_REMEDY = "Delete it, or copy it anew."

Wires = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def reuters(words: int = 10_000) -> Dataset:
    """Newswires (N, words) of 0 and 1, and their topics.

    Column 3 + r says whether the word of rank r is in a newswire (1 is the most frequent), column 2
    whether a rarer word is; column 1 is always 1, 0 and 3 always 0: as Keras' `num_words=words`.

    Raises:
        UsageError: `words` is below 4, or above 65,536.
        Unavailable: there is no file, and none can be had.
        BadFile: the file is corrupt.
    """
    if not _SHIFT < words <= MOST_WORDS:
        raise UsageError(f"Reuters takes words from {_SHIFT + 1} to {MOST_WORDS:,}, not {words}.")
    (ranks, starts, topics), labels = _found()
    order = np.arange(len(topics))
    np.random.RandomState(_SEED).shuffle(order)
    inputs, topics = _sets(ranks, starts, words)[order], topics[order]
    count = int(len(topics) * _TRAINING_SHARE)
    name = names.text_of("reuters", {"words": words})
    return Dataset(
        name, inputs[:count], topics[:count], inputs[count:], topics[count:], labels=labels
    )


def _sets(ranks: NDArray[np.int64], starts: NDArray[np.int64], words: int) -> NDArray[np.uint8]:
    """Which of the columns each newswire has."""
    columns = ranks + _SHIFT
    columns[columns >= words] = _RARE
    wires = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    inputs = np.zeros((len(starts) - 1, words), np.uint8)
    inputs[wires, columns] = 1
    inputs[:, _START] = 1
    return inputs


def _found() -> tuple[Wires, tuple[str, ...]]:
    """Ranks of all words, where each newswire begins, its topic; and the topics' names."""
    for folder in folders("reuters"):
        if (folder / FLAT).is_file():
            labels: tuple[str, ...] = ()
            if (folder / TOPICS).is_file():
                text = read(folder / TOPICS, _MOST).decode(errors="replace")
                labels = tuple(text.splitlines())
            return _flat(folder / FLAT), labels
    folder = download("reuters", KERAS, cache_folder("reuters"), MIRRORS)
    return _pickled(folder / next(iter(KERAS))), ()


def _flat(path: Path) -> Wires:
    data = read(path, _MOST, _REMEDY)
    with foreign(f"Cannot read {path}", _REMEDY), np.load(io.BytesIO(data)) as arrays:
        ranks, starts, topics = (
            arrays[key].astype(np.int64) for key in ("tokens", "offsets", "labels")
        )
    flat = ranks.ndim == topics.ndim == 1
    if (
        not flat
        or starts.shape != (len(topics) + 1,)
        or starts[0]
        or starts[-1] != len(ranks)
        or (np.diff(starts) < 0).any()
    ):
        raise BadFile(f"The newswires in '{path}' do not match their topics.", _REMEDY)
    if len(topics) < 2 or topics.min() < 0 or ranks.min(initial=1) < 1:
        raise BadFile(f"'{path}' has no newswires, or numbers below those allowed.", _REMEDY)
    return ranks, starts, topics


def _pickled(path: Path) -> Wires:
    """Keras' own file, which can run code when it is read: only after its checksum was right."""
    with foreign(f"Cannot read {path}", _REMEDY), np.load(path, allow_pickle=True) as arrays:
        wires: NDArray[Any] = arrays["x"]
        topics = arrays["y"].astype(np.int64)
    starts = np.cumsum([0, *map(len, wires)])
    return np.concatenate([np.asarray(wire, np.int64) for wire in wires]), starts, topics
