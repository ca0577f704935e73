"""What is measured once of a machine and kept in the cache: its limits, what telemetry costs.

One file a machine, with an entry for each state that something was measured in: runtime, options,
threads, power mode, governor, clocks. An entry is used in its own state only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import msgspec

from nnprof.files import write_atomically
from nnprof.profiler.place.place import Place

_MOST = 50  # entries of a machine; older ones go


class Keepable(Protocol):
    """A struct whose class says which folder of the cache it is kept in."""

    folder: ClassVar[str]


Kind = TypeVar("Kind", bound=Keepable)


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    state: dict[str, Any]
    value: msgspec.Raw


def save(value: Keepable, place: Place) -> Path:
    """Keep a value for the place's machine in its state, beside values of other states."""
    path, state = file(value.folder, place), place.state
    others = [entry for entry in _entries(path) if entry.state != state]
    now = _Entry(state=state, value=msgspec.Raw(msgspec.json.encode(value)))
    text = msgspec.json.encode([*others[1 - _MOST :], now])
    write_atomically(path, msgspec.json.format(text, indent=1))
    return path


def load(of: type[Kind], place: Place) -> tuple[Kind | None, str]:
    """The value of that class kept for the place's machine in its state; None where there is none.

    With it a sentence where something was kept for other states only; else "".
    """
    state, entries = place.state, _entries(file(of.folder, place))
    for entry in entries:
        if entry.state == state:
            try:
                return msgspec.json.decode(entry.value, type=of), ""
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return None, ""
    if not entries:
        return None, ""
    found = [_differences(entry.state, state) for entry in reversed(entries)]
    nearest = min(found, key=len)
    return None, f"those kept were measured in another state ({', '.join(nearest)})"


def _differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`governor performance, here powersave`, for each fact of the state that differs."""
    return [
        f"{name} {_word(was.get(name))}, here {_word(now.get(name))}"
        for name in dict.fromkeys([*now, *was])
        if was.get(name) != now.get(name)
    ]


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={one}" for name, one in value.items()) or "none"
    return "unknown" if value is None else str(value)


def _entries(path: Path) -> list[_Entry]:
    """What a file holds; nothing where it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[_Entry])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


def file(folder: str, place: Place) -> Path:
    """Where values of a folder are kept for the place's machine."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("nnprof")) / folder / f"{place.machine}.json"
