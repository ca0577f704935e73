"""A place to measure in: a target, and what its environment was found to be. Pure.

What is measured once is kept by the place's `machine` and used in the place's `state` only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from nnprof.types import Target

_MACHINE = ("name", "model", "extensions", "processors", "caches", "core")
_STATE = (
    *("governor", "driver", "power_mode", "clocks_locked", "power_limit_w", "persistence"),
    *("min_clock_hz", "max_clock_hz", "allowed_clock_hz", "turbo"),
)
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SMALL_BYTES = 1 << 20  # taken for the cache of a core that does not tell


class Place(msgspec.Struct, frozen=True):
    """Where something is measured.

    Attributes:
        target: runtime, device, host, threads and options.
        environment: its facts, as `environment.capture` gives them; the whole, or a part of it.
    """

    target: Target
    environment: Mapping[str, Any]

    @property
    def device(self) -> Mapping[str, Any]:
        """Facts of the device; {} where there are none."""
        return self.environment.get("device") or {}

    @property
    def machine(self) -> str:
        """A digest that is the same for the same machine, however it is set."""
        facts = (self.environment.get("host"), *(self.device.get(name) for name in _MACHINE))
        return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:16]

    @property
    def state(self) -> dict[str, Any]:
        """All that a time depends on beside the machine, by names that people know; as in JSON."""
        backend = self.environment.get("backend") or {}
        state = {
            "runtime": f"{backend.get('name')} {backend.get('version')}",
            "options": self.target.options,
            **({"on": self.target.beyond_device} if self.target.beyond_device else {}),
            "threads": self.target.threads,
            "variables": self.environment.get("variables") or {},
            **{name.replace("_", " "): self.device.get(name) for name in _STATE},
        }
        decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(state))
        return decoded

    @property
    def core_cache_bytes(self) -> int:
        """Bytes of the largest caches that belong to one core each, of all threads together.

        The device says `"L2": "2048K"` of a core; one that does not is taken to have 1 MiB. Threads
        divide the weights among them, so each needs room for its share only.
        """
        text = (self.device.get("caches") or {}).get("L2", "")
        if text[:-1].isdecimal() and text[-1] in _UNITS:
            return int(text[:-1]) * _UNITS[text[-1]] * self.target.threads
        return _SMALL_BYTES * self.target.threads
