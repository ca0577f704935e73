"""What of a device computes: its processor, its GPU or a DLA, by what device and backend can do.

A device is a place with facts, readings and a power mode; a backend may use one part of it or
another. Both say what they know (`ports`); here the two are brought together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnprof import registry
from nnprof.errors import Unavailable
from nnprof.profiler.ports import Device
from nnprof.types import Target

THERE = "computes_on"  # the fact of a device of which not every one has all parts


def backend_for(device: Device, on: str) -> str:
    """The backend of a device where none was named: its own, or the usual one.

    Args:
        device: where.
        on: what shall compute; "" for any. The device's own backend may not compute on it.
    """
    own = device.backend
    if own and (not on or on in _can(own)):
        return own
    return Target().backend


def device_for(backend: str) -> str:
    """A device that a backend computes on, where none was named: the usual one if it can be.

    Raises:
        UnknownName: there is no such backend.
    """
    can = _can(backend)
    names = (Target().device, *registry.names("device"))
    return next((one for one in names if set(can) & set(_has(one))), Target().device)


def chosen(backend: str, device: str, asked: str = "") -> str:
    """What computes for a backend on a device: what was asked for, or the backend's usual part.

    Raises:
        Unavailable: the device has no such part, or the backend does not compute on it.
    """
    can, has = _can(backend), _has(device)
    both = [one for one in can if one in has]
    if asked in both:
        return asked
    if both and not asked:
        return both[0]
    wanted = f", and '{asked}' was asked for" if asked else ""
    raise Unavailable(
        f"The {backend} backend computes on {_listed(can)}; device '{device}' has "
        f"{_listed(has)}{wanted}.",
        _remedy(backend, device, both, asked),
    )


def _remedy(backend: str, device: str, both: Sequence[str], asked: str) -> str:
    """The parts that both have; else the backends that do it there, or devices that have it."""
    has = _has(device)
    ways = [f"--on {_listed(both, 'or')}"] if both else []
    wanted = [asked] if asked in has else list(has)
    others = [
        name
        for name in registry.names("backend")
        if name != backend and set(wanted) & set(_can(name)) and _works(name)
    ]
    ways += [f"--backend {_listed(others, 'or')}"] if others else []
    can = [asked] if asked else _can(backend)
    if not both:
        devices = [
            name
            for name in registry.names("device")
            if name != device and set(can) & set(_has(name))
        ]
        ways += [f"--device {_listed(devices, 'or')}"] if devices else []
    return f"Ask for {'; or for '.join(ways)}." if ways else ""


def _has(device: str) -> Sequence[str]:
    """What computes on devices of a kind."""
    own: Sequence[str] = registry.find("device", device).on
    return own


def _can(backend: str) -> Sequence[str]:
    """What a backend computes on: on processors, where it says nothing (`ports.Backend`)."""
    own: Sequence[str] = getattr(registry.find("backend", backend), "on", (Target().on,))
    return own


def _works(backend: str) -> bool:
    return bool(getattr(registry.find("backend", backend), "computes", True))


def require_can(name: str, can: Sequence[str], target: Target) -> None:
    """Refuse a target on which a backend does not compute, before it would use another part.

    Raises:
        Unavailable: it does not; `can` is what it computes on.
    """
    if target.on not in can:
        word = f"'{target.on}' of " if target.on else ""
        raise Unavailable(
            f"The {name} backend computes on {_listed(can)}, not on {word}device "
            f"'{target.device}'.",
            f"Ask for --on {_listed(can, 'or')}, or for another --backend.",
        )


def require_has(device: Device, target: Target) -> None:
    """Refuse a part that devices of this kind do not have.

    Raises:
        Unavailable: they do not.
    """
    if target.on not in device.on:
        raise Unavailable(
            f"Device '{target.device}' computes on {_listed(device.on)}, not on '{target.on}'.",
            f"Ask for --on {_listed(device.on, 'or')}.",
        )


def require_there(facts: Mapping[str, Any], target: Target) -> None:
    """Refuse a part that this very device lacks, where its facts tell.

    Raises:
        Unavailable: it has none.
    """
    there = facts.get(THERE)
    if there and target.on not in there:
        name = facts.get("module") or facts.get("board") or f"device '{target.device}'"
        raise Unavailable(
            f"{name} computes on {_listed(there)}; it has no '{target.on}'.",
            f"Ask for --on {_listed(there, 'or')}.",
        )


def _listed(words: Sequence[str], last: str = "and") -> str:
    """`cpu, gpu and dla`."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
