"""Boards that can be measured from here: devices.toml in the user's config folder, and ssh:// URLs.

docs/remote.md describes the file for its writers.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import platformdirs

from nnprof import registry
from nnprof.errors import BadFile, Unavailable, UnknownName, UsageError
from nnprof.files import foreign, read

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Devices whose name means this machine only where it is one; elsewhere a board of that name.
BOARDS = {"jetson": "Jetson", "pi": "Raspberry Pi"}
_MOST = 1 << 20  # bytes of devices.toml
_URL = "ssh://"
KIND = "fleet:"  # begins the name of several boards that are alike (`nnprof.profiler.fleet.kinds`)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HOST = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9._:%-]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@\\-]*")


class Board(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One board: where it is, and how networks run on it.

    Attributes:
        host: what ssh is given: a Host of ~/.ssh/config, a name or an address, `user@` before it.
        port: None is ssh's own choice.
        device: its kind, as `nnprof devices` lists them; empty: what it says it is.
        on: what of it computes, where --on does not say; empty: what the runtime usually takes.
        backend: the runtime, where --backend does not say; empty: the usual one.
        python: on the board, with nnprof installed; not needed where the runtime is a program.
        power_mode: the nvpmodel mode that it is to be measured in, empty for any.
        cache_gb: how much of what benches sent there is kept from one to the next.
        options: of the backend, as --option gives them.
        name: what tables and messages call it.
    """

    host: str
    port: int | None = None
    device: str = ""
    on: str = ""
    backend: str = ""
    python: str = "python3"
    power_mode: str = ""
    cache_gb: float = 2.0
    options: dict[str, str] = {}
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse what ssh would take for an option, or what is no host."""
        user, at, host = self.host.rpartition("@")
        if not _HOST.fullmatch(host) or (at and not _USER.fullmatch(user)):
            raise ValueError(f"'{self.host}' is no host; write host or user@host")
        if self.port is not None and not 0 < self.port < 2**16:
            raise ValueError(f"{self.port} is no port")
        if not 0 <= self.cache_gb < 1e6:
            raise ValueError(f"{self.cache_gb} is no number of GB")

    @property
    def cache_bytes(self) -> int:
        """Of `cache_gb`."""
        return round(self.cache_gb * 1e9)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of ssh, in front of the command."""
        port = () if self.port is None else ("-p", str(self.port))
        return (*port, "--", self.host)

    @property
    def by_hand(self) -> str:
        """What a person types to get there."""
        return " ".join(("ssh", *(word for word in self.arguments if word != "--")))


def file() -> Path:
    """The user's devices.toml, whether or not it exists."""
    return Path(platformdirs.user_config_dir("nnprof")) / "devices.toml"


def load() -> dict[str, Board]:
    """All boards of devices.toml by name; none where there is no such file.

    Raises:
        BadFile: it cannot be read, is not TOML, or says what it cannot mean.
    """
    path = file()
    return parsed(read(path, _MOST), path) if path.exists() else {}


def parsed(text: bytes, path: Path) -> dict[str, Board]:
    """The boards of a text that is, or is to be, devices.toml at that path.

    Raises:
        BadFile: it is not TOML, or says what it cannot mean.
    """
    with foreign(f"{path} is not TOML", "docs/remote.md has an example."):
        tables = tomllib.loads(text.decode())
    return {name: _board(path, name, table) for name, table in tables.items()}


def _board(path: Path, name: str, table: Any) -> Board:
    if not isinstance(table, dict):
        raise BadFile(
            f"{path}: '{name}' stands outside of any board.",
            f"Put the board's name in front, such as {_example('jetson')}.",
        )
    if not _NAME.fullmatch(name):
        raise BadFile(
            f"{path}: '{name}' cannot name a board.",
            "Use letters, digits, '.', '_' and '-'; other names need --device ssh://.",
        )
    if name in registry.names("device") and name not in BOARDS:
        raise BadFile(
            f"{path}: --device {name} always means this machine.", "Give the board another name."
        )
    if "name" in table:
        raise BadFile(f"{path}, board {name}: its name stands in brackets.", "Remove 'name'.")
    try:
        board = msgspec.convert({**table, "name": name}, Board)
    except msgspec.ValidationError as error:
        raise BadFile(f"{path}, board {name}: {_plain(error)}.", _known_keys()) from error
    for kind, value, known in (
        ("device", board.device, registry.names("device")),
        ("backend", board.backend, registry.names("backend")),
        ("on", board.on, _parts(board.device)),
    ):
        if value and value not in known:
            raise BadFile(
                f"{path}, board {name}: unknown {kind} '{value}'.",
                f"Known: {', '.join(known)}.",
            )
    return board


def _parts(device: str) -> list[str]:
    """What computes on a kind of device; on any, where the kind is not known."""
    kinds = [one for one in registry.names("device") if device in (one, "")]
    return sorted({one for kind in kinds for one in registry.find("device", kind).on})


def _plain(error: msgspec.ValidationError) -> str:
    """`Object contains unknown field `hots`` as a person would say it."""
    text = str(error).replace("Object contains unknown field", "unknown key")
    text = text.replace("Object missing required field", "it has no")
    text, _, where = text.partition(" - at ")
    place = where.strip("`$.")
    return f"{place}: {text}" if place else text


def _known_keys() -> str:
    keys = [name for name in Board.__struct_fields__ if name != "name"]
    return f"Keys of a board: {', '.join(keys)}; docs/remote.md explains them."


def from_url(text: str) -> Board:
    """The board of `ssh://user@host:port`.

    Raises:
        UsageError: it is not such a URL.
    """
    try:
        url = urlsplit(text)
        if url.password or url.path.strip("/") or url.query or url.fragment:
            raise ValueError("it is more than user, host and port")
        # Not url.hostname, which is in lower case: ~/.ssh/config may have it otherwise.
        host = url.netloc if url.port is None else url.netloc.rpartition(":")[0]
        host = host.rstrip(":").replace("[", "").replace("]", "")
        return Board(host=host, port=url.port, name=text.rstrip("/"))
    except ValueError as error:
        raise UsageError(
            f"--device {text}: {error}.", "Write it like this: --device ssh://user@host:22"
        ) from error


def find(name: str) -> Board:
    """The board that a `Target.host` names.

    Raises:
        BadFile: devices.toml has a mistake.
        UsageError: it has no such board.
    """
    if name.startswith(_URL):
        return from_url(name)
    if name.startswith(KIND):
        raise UsageError(
            f"{name.removeprefix(KIND)} are several boards that are alike, not one.",
            "Go on with their Run by nnprof bench --resume, or name one of them.",
        )
    boards = load()
    if name not in boards:
        raise UsageError(
            f"There is no board '{name}' in {file()}.", f"It has: {', '.join(boards) or 'none'}."
        )
    return boards[name]


def meant_by(device: str) -> Board | None:
    """The board that --device means; None for this machine.

    A device that is here means here. Elsewhere its name is that of a board.

    Raises:
        UsageError: there is nothing of that name, or no such URL.
        BadFile: devices.toml has a mistake.
    """
    if device.startswith(_URL):
        return from_url(device)
    kinds = registry.names("device")
    if device in kinds and (device not in BOARDS or _is_here(device)):
        return None
    boards = load()
    if device in boards:
        return boards[device]
    if device in BOARDS:
        raise Unavailable(
            f"This machine is no {BOARDS[device]}, and no board is called '{device}' in {file()}.",
            "There are two ways:\n"
            f"  name it there once: {_example(device)} (docs/remote.md)\n"
            "  or give its address: --device ssh://user@address",
        )
    raise UnknownName("device", device, [*kinds, *boards, "jetson", f"{_URL}user@host"])


def _example(name: str) -> str:
    return f'[{name}] and, on the next line, host = "user@address"'


def _is_here(device: str) -> bool:
    try:
        registry.find("device", device).facts()
    except Unavailable:
        return False
    return True
