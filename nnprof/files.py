"""Files: written whole or not at all, and read up to a bound; foreign libraries raise BadFile."""

from __future__ import annotations

import errno
import gzip
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from nnprof.errors import BadFile, NnprofError, UsageError

AnyPath = str | os.PathLike[str]  # what the public functions take for a path
_PIECE = 1 << 20
_MOST_LINKS = 40  # one behind the other, as the kernel counts them


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file in one step: a reader, or a power cut, meets the old or the new content.

    An existing file keeps its mode; a new file gets what the umask leaves. A link stays a link, and
    the file that it leads to is replaced. Another user's link is refused, as the kernel refuses it
    in folders such as /tmp (fs.protected_symlinks). A process killed in between leaves
    a `.NAME.*.tmp` beside the file; see `clear_leftovers`.

    Raises:
        UsageError: it cannot be written there.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        place = _followed(path)
        was = place.stat().st_mode if place.exists() else None
        if was is not None and not stat.S_ISREG(was):  # a device, a pipe; a folder raises
            place.write_bytes(data)
            return
        draft = _draft(place, data, was)
        try:
            draft.replace(place)
            _sync_folder(place.parent)
        finally:
            draft.unlink(missing_ok=True)


def write_new(path: Path, data: bytes) -> bool:
    """Write a file whose name must be free, as `write_atomically` does; False where it is taken.

    A link takes a name, too.

    Raises:
        UsageError: it cannot be written there.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_link(path.parent)
        draft = _draft(path, data, None)
        try:
            return _named(draft, path)
        finally:
            draft.unlink(missing_ok=True)


def read(path: Path, most: int, remedy: str = "") -> bytes:
    """All bytes of a file, unpacked if it ends in .gz; at most `most` bytes.

    Raises:
        BadFile: it cannot be read, or is larger; no more than `most` bytes are held for that.
    """
    if path.is_dir():
        raise BadFile(f"Cannot read '{path}': it is a folder.", remedy)
    pieces, size = [], 0
    opened = gzip.open if path.suffix == ".gz" else open
    with foreign(f"Cannot read {path}", remedy), opened(path, "rb") as file:
        while size <= most and (piece := file.read(_PIECE)):
            pieces.append(piece)
            size += len(piece)
    if size > most:
        raise BadFile(
            f"{path} is larger than {most / 2**20:g} MiB, the most that is read of such a file.",
            remedy,
        )
    return b"".join(pieces)


@contextmanager
def foreign(sentence: str, remedy: str = "") -> Iterator[None]:
    """Turn whatever a library raises over a foreign file into a BadFile.

    Its text is the sentence, with the library's words behind it unless the sentence ends in a full
    stop. Libraries do not document all that they raise (zip files alone: nine classes), so every
    exception is taken. Only the library's call stands inside the `with`.

    Raises:
        BadFile: in place of any exception but our own.
    """
    try:
        yield
    except NnprofError:
        raise
    except Exception as error:
        words = _words(error)
        if isinstance(error, MemoryError):
            words = "it does not fit into memory"
        whole = sentence if sentence.endswith(".") else f"{sentence}: {words.strip().rstrip('.')}."
        raise BadFile(whole, remedy) from error


def _words(error: Exception) -> str:
    """What an exception says; its name where it says nothing, or cannot (some of sympy's)."""
    try:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
    except Exception:  # noqa: BLE001  a text of its own that fails is the last thing to fail for
        return type(error).__name__


def clear_leftovers(path: Path) -> None:
    """Remove what killed writers of this file left beside it."""
    for leftover in path.parent.glob(f"{escape(_hidden(path))}*.tmp"):
        leftover.unlink(missing_ok=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        words = getattr(error, "strerror", None) or error
        raise UsageError(
            f"'{path}' cannot be written: {words}.", "Choose another folder, or free some space."
        ) from error


def _followed(path: Path) -> Path:
    """What a path leads to, through our own links only."""
    _refuse_link(path.parent)
    for _ in range(_MOST_LINKS):
        if not path.is_symlink():
            return path
        _refuse_link(path)
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _refuse_link(path: Path) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode) and found.st_uid not in (os.geteuid(), 0):
        raise UsageError(f"'{path}' is a link of somebody else's.", "Choose another folder.")


def _hidden(path: Path) -> str:
    """How the drafts of a file begin; shorter than a name may be."""
    return f".{os.fsencode(path.name)[:200].decode(errors='ignore')}."


def _draft(path: Path, data: bytes, mode: int | None) -> Path:
    """The content under another name, on disk."""
    draft = path.with_name(f"{_hidden(path)}{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, 0o666), "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(mode) & 0o777)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft


def _named(draft: Path, path: Path) -> bool:
    """Give a draft a name unless it is taken."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links: there is a moment with an empty file
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
        draft.replace(path)
    _sync_folder(path.parent)
    return True


def _sync_folder(folder: Path) -> None:
    """Until the folder is on disk, a power cut can bring the old name back."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
