"""One way to read our own JSON: whatever the bytes are, a value or one sentence."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from nnprof.documents import Document
from nnprof.errors import BadFile, NewerSchema
from nnprof.networks.checkpoint import load_record
from nnprof.networks.studies import study as studies
from nnprof.profiler import results
from nnprof.profiler.costmodel import model

GOLDEN = Path(__file__).parent / "data" / "run-v1.json"
READERS = {
    "Run": results.load,
    "study": studies.load_study,
    "model": lambda path: model.load(str(path)),
}
JUNK = {
    "nothing": b"",
    "zeros": bytes(100),
    "no text": b"\xff\xfe\x00",
    "a number": b"1",
    "null": b"null",
    "an array": b"[1]",
    "no keys": b"{}",
    "half": GOLDEN.read_bytes()[:20_000],
    "schema of text": b'{"schema": "x"}',
    "schema 0": b'{"schema": 0}',
    "schema below 0": b'{"schema": -1}',
    "deep": b'{"environment": {"a": ' + b"[" * 100_000,
    "deep in a field": b'{"study": ' * 50_000,
    "a key that is no text": b'{"\xff": 1}',
    "half a character": b'{"name": "\\ud800"}',
    "UTF-16": GOLDEN.read_text(encoding="utf-8").encode("utf-16"),
    "no number": b'{"schema": NaN}',
    "out of range": b'{"schema": 1e999}',
    "many digits": b'{"schema": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("junk", JUNK)
def test_junk(reader: str, junk: str, tmp_path: Path) -> None:
    """Every kind of junk is a BadFile that names the file."""
    path = tmp_path / "junk.json"
    path.write_bytes(JUNK[junk])
    with pytest.raises(BadFile) as caught:
        READERS[reader](path)
    assert "junk.json" in caught.value.reason


@pytest.mark.parametrize("reader", READERS)
def test_a_later_schema(reader: str, tmp_path: Path) -> None:
    """A file of a later nnprof says so, whatever else it holds."""
    path = tmp_path / "later.json"
    path.write_bytes(b'{"schema": 99, "new": []}')
    with pytest.raises(NewerSchema, match="has schema 99; this nnprof reads up to"):
        READERS[reader](path)


def test_a_record_of_junk(tmp_path: Path) -> None:
    """A training's record is read in the same way."""
    for text in JUNK.values():
        (tmp_path / "record.json").write_bytes(text)
        with pytest.raises(BadFile):
            load_record(tmp_path)


def test_a_mark_of_byte_order_is_none(tmp_path: Path) -> None:
    """A Run that an editor saved with a BOM is a Run."""
    path = tmp_path / "run.json"
    path.write_bytes(b"\xef\xbb\xbf" + GOLDEN.read_bytes())
    assert results.load(path) == results.load(GOLDEN)
    assert results.is_run(path)


def test_a_file_beyond_its_bound(tmp_path: Path) -> None:
    """A file larger than its kind may be is refused without being held."""
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    for read in READERS.values():
        with pytest.raises(BadFile, match="the most that is read of such a file"):
            read(path)
    small = Document(msgspec.Raw, "a word", "Write it anew.", most=3)
    (tmp_path / "word").write_bytes(b"123")
    assert bytes(small.load(tmp_path / "word")) == b"123"
