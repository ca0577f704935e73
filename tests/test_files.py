"""Files are written whole, where they belong, with the mode they should have; reads are bounded."""

from __future__ import annotations

import gzip
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nnprof import files
from nnprof.errors import BadFile, NnprofError, UsageError


@pytest.fixture
def umask() -> Iterator[None]:
    """A user who keeps what they make to themselves."""
    old = os.umask(0o077)
    yield
    os.umask(old)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_the_umask_is_kept(tmp_path: Path) -> None:
    """A new file has what the umask leaves; one that is there keeps its mode."""
    files.write_atomically(tmp_path / "one", b"1")
    assert files.write_new(tmp_path / "two", b"2")
    assert (_mode(tmp_path / "one"), _mode(tmp_path / "two")) == (0o600, 0o600)
    (tmp_path / "one").chmod(0o640)
    files.write_atomically(tmp_path / "one", b"3")
    assert (_mode(tmp_path / "one"), (tmp_path / "one").read_bytes()) == (0o640, b"3")


def test_a_taken_name_is_left_alone(tmp_path: Path) -> None:
    """`write_new` writes over no file, and through no link, even one that leads nowhere."""
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    assert not files.write_new(tmp_path / "file", b"new")
    assert not files.write_new(tmp_path / "link", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "link"]


def test_our_own_link_stays_one(tmp_path: Path) -> None:
    """A link of the user's leads to the file that is replaced; it may be in another folder."""
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(Path("there") / "file")
    for content in (b"1", b"2"):
        files.write_atomically(tmp_path / "link", content)
        assert (tmp_path / "there" / "file").read_bytes() == content
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="symbolic links"):
        files.write_atomically(tmp_path / "loop", b"")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link away")
def test_a_planted_link_is_refused(tmp_path: Path) -> None:
    """Through a link of somebody else's, nothing is written."""
    (tmp_path / "run.json").symlink_to(tmp_path / "victim")
    (tmp_path / "folder").symlink_to(tmp_path)
    for name in ("run.json", "folder"):
        os.chown(tmp_path / name, 12345, 12345, follow_symlinks=False)
    for path in (tmp_path / "run.json", tmp_path / "folder" / "x"):
        with pytest.raises(UsageError, match="is a link of somebody else's"):
            files.write_atomically(path, b"")
    assert not (tmp_path / "victim").exists()


def test_a_draft_is_never_a_planted_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft's name that is taken is not written through."""
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "known")
    (tmp_path / ".run.json.known.tmp").symlink_to(tmp_path / "victim")
    with pytest.raises(UsageError, match="File exists"):
        files.write_atomically(tmp_path / "run.json", b"")
    assert not (tmp_path / "victim").exists()


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """A pipe or device is written to and stays what it is; a folder is told."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    files.write_atomically(tmp_path / "pipe", b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    with pytest.raises(UsageError, match="Is a directory"):
        files.write_atomically(tmp_path, b"")


def test_names_of_every_kind(tmp_path: Path) -> None:
    """A name as long as the file system takes is written, and with brackets cleared up after."""
    files.write_atomically(tmp_path / ("x" * 255), b"")
    leftover = tmp_path / ".a[1].json.0123.tmp"
    other = tmp_path / ".a1.json.0123.tmp"
    leftover.touch()
    other.touch()
    files.clear_leftovers(tmp_path / "a[1].json")
    assert (leftover.exists(), other.exists()) == (False, True)
    with pytest.raises(UsageError, match="cannot be written"):
        files.write_atomically(tmp_path / "a\0b", b"")


def test_reading_has_a_bound(tmp_path: Path) -> None:
    """A file is read to its bound and no further, even where it never ends."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 2**20)
    assert files.read(path, 2**20) == b"x" * 2**20
    with pytest.raises(BadFile, match=r"larger than 0\.5 MiB, the most that is read"):
        files.read(path, 2**19)
    with pytest.raises(BadFile, match="larger than 2 MiB"):
        files.read(Path("/dev/zero"), 2**21)
    for wrong in (tmp_path, tmp_path / "none", tmp_path / "a\0b"):
        with pytest.raises(BadFile, match="Cannot read"):
            files.read(wrong, 1)


def _exceptions(base: type[BaseException] = Exception) -> Iterator[type[Exception]]:
    """Every exception that the libraries of our readers define, and Python's own."""
    for each in base.__subclasses__():
        if issubclass(each, Exception):
            yield each
            yield from _exceptions(each)


def test_every_foreign_error_is_mapped() -> None:
    """Whatever exception any loaded library has, `foreign` makes a BadFile of it; ours pass."""
    seen = 0
    for kind in dict.fromkeys(_exceptions()):
        try:
            error = kind("said so.")
        except Exception:  # noqa: BLE001, S112  some need other arguments
            continue
        wanted = kind if issubclass(kind, NnprofError) else BadFile
        with pytest.raises(wanted) as caught, files.foreign("It is corrupt", "Mend it."):
            raise error
        assert caught.type is wanted
        seen += 1
    assert seen > 50
    assert {zlib.error, struct.error, zipfile.BadZipFile} <= set(_exceptions())


def test_what_is_not_an_error_passes() -> None:
    """Ctrl-C is no fault of a file."""
    with pytest.raises(KeyboardInterrupt), files.foreign("It is corrupt"):
        raise KeyboardInterrupt


def test_a_bomb_is_unpacked_to_its_bound(tmp_path: Path) -> None:
    """A .gz is read as what it unpacks to, no further than the bound; a cut one is told."""
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(bytes(1 << 24)))
    assert path.stat().st_size < 1 << 16
    assert files.read(path, 1 << 24) == bytes(1 << 24)
    with pytest.raises(BadFile, match="larger than 1 MiB"):
        files.read(path, 1 << 20)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadFile, match="Cannot read"):
        files.read(path, 1 << 24)
