"""Reuters: words as columns, the parts, and files that are not what they should be."""

import io
from pathlib import Path

import numpy as np
import pytest

from nnprof.errors import BadFile, Unavailable, UsageError
from nnprof.networks import datasets
from nnprof.networks.data import reuters


def packed(tokens: list[int], offsets: list[int], labels: list[int]) -> bytes:
    """A file of newswires, one behind the other."""
    file = io.BytesIO()
    np.savez(file, tokens=tokens, offsets=offsets, labels=labels)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty $NNPROF_DATA/reuters, an empty cache, and no mirror."""
    monkeypatch.setenv("NNPROF_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(reuters, "MIRRORS", ["http://127.0.0.1:1/"])
    (tmp_path / "reuters").mkdir()
    return tmp_path / "reuters"


def test_a_newswire_is_the_set_of_its_words(folder: Path) -> None:
    """Rank r is column r + 3, rarer words share column 2, and column 1 is always there."""
    data = packed([1, 2, 2, 2, 9, 4, 5, 6], [0, 3, 5, 6, 6, 8], [0, 1, 0, 1, 2])
    (folder / "reuters_flat.npz").write_bytes(data)
    (folder / "reuters_topics.txt").write_text("cocoa\ngrain\ncorn\n", encoding="utf-8")
    found = datasets.load("reuters(words=8)")
    columns = {
        tuple(np.flatnonzero(row))
        for part in (found.train_inputs, found.test_inputs)
        for row in part
    }
    assert columns == {(1, 4, 5), (1, 2, 5), (1, 7), (1,), (1, 2)}
    assert found.train_inputs.shape == (4, 8)
    assert found.test_inputs.shape == (1, 8)
    assert found.labels == ("cocoa", "grain", "corn")
    assert found.name == "reuters(words=8)"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no file of arrays",
        packed([1, 2], [0, 1, 2], [0, 1])[:-30],
        packed([1, 2], [0, 1], [0, 1]),
        packed([1, 2], [0, 1, 3], [0, 1]),
        packed([1, 2], [1, 1, 2], [0, 1]),
        packed([1, 2], [0, 1, 2], [0, -1]),
        packed([1, 0], [0, 1, 2], [0, 1]),
        packed([1], [0, 1], [0]),
    ],
)
def test_a_corrupt_file_is_refused(folder: Path, data: bytes) -> None:
    """Every corruption is one sentence with the file's name."""
    (folder / "reuters_flat.npz").write_bytes(data)
    with pytest.raises(BadFile, match=r"reuters_flat\.npz.*Delete it") as caught:
        datasets.load("reuters")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("folder")
def test_without_files_and_network_the_remedy_is_named() -> None:
    """The sentence names the file and the folders."""
    with pytest.raises(Unavailable, match=r"reuters\.npz.*NNPROF_DATA/reuters"):
        datasets.load("reuters")


@pytest.mark.parametrize("words", [3, 65537, -1])
def test_too_few_or_too_many_words_are_refused(words: int) -> None:
    """A count of words that leaves no word, or would fill the memory, is refused."""
    with pytest.raises(UsageError, match="takes words from 4"):
        datasets.load(f"reuters(words={words})")


def test_the_real_newswires_are_keras(data_folder: Path | None) -> None:
    """The parts and first topics are those that Keras' users know."""
    if data_folder is None or not (data_folder / "reuters").is_dir():
        pytest.skip("NNPROF_DATA names no folder with reuters")
    data = datasets.load("reuters(words=1000)")
    assert data.train_inputs.shape == (8982, 1000)
    assert data.test_inputs.shape == (2246, 1000)
    assert data.train_targets[:10].tolist() == [3, 4, 3, 4, 4, 4, 4, 3, 3, 16]
    assert (data.classes, data.labels[3]) == (46, "earn")
