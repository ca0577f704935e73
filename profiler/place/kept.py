"""What is measured once of a machine and kept in the cache: its limits, what telemetry costs.

One file a machine, with an entry for each state that something was measured in: runtime, options,
threads, power mode, governor, clocks. An entry is used in its own state only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from nnprof.files import write_atomically
from nnprof.types import Target

Kind = TypeVar("Kind")
_MOST = 50  # entries of a machine; older ones go
_MACHINE = ("name", "model", "extensions", "processors", "caches", "core")
_STATE = (
    *("governor", "driver", "power_mode", "clocks_locked", "power_limit_w", "persistence"),
    *("min_clock_hz", "max_clock_hz", "allowed_clock_hz", "turbo"),
)


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    state: dict[str, Any]
    value: msgspec.Raw


def state_of(environment: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """All that a limit depends on beside the machine, by the names that people know; as in JSON."""
    device, backend = environment.get("device") or {}, environment.get("backend") or {}
    state = {
        "runtime": f"{backend.get('name')} {backend.get('version')}",
        "options": target.options,
        "threads": target.threads,
        "variables": environment.get("variables") or {},
        **{name.replace("_", " "): device.get(name) for name in _STATE},
    }
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(state))
    return decoded


def save(kind: str, value: Any, environment: Mapping[str, Any], target: Target) -> Path:
    """Keep a value for this machine in its state, beside those of other states."""
    path, state = _file(kind, environment), state_of(environment, target)
    others = [entry for entry in _entries(path) if entry.state != state]
    now = _Entry(state=state, value=msgspec.Raw(msgspec.json.encode(value)))
    text = msgspec.json.encode([*others[1 - _MOST :], now])
    write_atomically(path, msgspec.json.format(text, indent=1))
    return path


def load(
    kind: str, of: type[Kind], environment: Mapping[str, Any], target: Target
) -> tuple[Kind | None, str]:
    """What was kept for this machine in its state, None where nothing was.

    With it a sentence where something was kept for other states only; else "".
    """
    state, entries = state_of(environment, target), _entries(_file(kind, environment))
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


def _file(kind: str, environment: Mapping[str, Any]) -> Path:
    """Where what was measured of a machine is kept."""
    import platformdirs

    device = environment.get("device") or {}
    identity = (environment.get("host"), *(device.get(name) for name in _MACHINE))
    digest = hashlib.sha256(msgspec.json.encode(identity)).hexdigest()[:16]
    return Path(platformdirs.user_cache_dir("nnprof")) / kind / f"{digest}.json"
