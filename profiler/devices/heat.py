"""How near a machine is to being slowed by heat, from sysfs.

Pure functions over snapshots. Formats: the kernel's documentation of thermal zones and hwmon.
"""

from __future__ import annotations

from typing import NamedTuple

from nnprof.profiler.devices.linux import named, number
from nnprof.profiler.devices.snapshot import Texts
from nnprof.profiler.devices.topology import CPU

_ZONE, _HWMON = "/sys/class/thermal/thermal_zone", "/sys/class/hwmon/hwmon"
STATE = (
    f"{_ZONE}*/type",
    f"{_ZONE}*/temp",
    f"{_ZONE}*/trip_point_*_type",
    f"{_ZONE}*/trip_point_*_temp",
    f"{_HWMON}*/temp*_input",
    f"{_HWMON}*/temp*_max",
    f"{_HWMON}*/name",
    f"{CPU}/cpu[0-9]*/thermal_throttle/*_throttle_count",
)
_TRIPS = ("passive", "hot")  # at which the kernel slows the machine; "active" only starts a fan
_LEAST_C, _MOST_C = 40.0, 150.0  # a limit beyond is a placeholder: some zones write 0 or -274


class Margin(NamedTuple):
    """A sensor, its degrees Celsius, and at which the machine is slowed."""

    sensor: str
    temperature_c: float
    limit_c: float


def nearest(texts: Texts) -> Margin | None:
    """The sensor that is nearest to its limit; None where no sensor states one."""
    found = [*_zones(texts), *_monitors(texts)]
    return min(found, key=lambda one: one.limit_c - one.temperature_c, default=None)


def _zones(texts: Texts) -> list[Margin]:
    found = []
    for path, kind in named(texts, f"{_ZONE}*/trip_point_*_type").items():
        folder = path.rpartition("/")[0]
        limit = path.removesuffix("_type") + "_temp"
        if kind in _TRIPS:
            found += _margin(texts, texts.get(f"{folder}/type", folder), f"{folder}/temp", limit)
    return found


def _monitors(texts: Texts) -> list[Margin]:
    found = []
    for path in named(texts, f"{_HWMON}*/temp*_max"):
        name = texts.get(f"{path.rpartition('/')[0]}/name", path.split("/")[-2])
        found += _margin(texts, name, path.removesuffix("_max") + "_input", path)
    return found


def _margin(texts: Texts, sensor: str, temperature: str, limit: str) -> list[Margin]:
    now, most = number(texts.get(temperature)), number(texts.get(limit))
    if now is None or most is None or not _LEAST_C < most / 1e3 < _MOST_C:
        return []
    return [Margin(sensor, now / 1e3, most / 1e3)]


def throttle_counts(texts: Texts) -> dict[str, int]:
    """How often each processor was slowed by heat since boot, by its name (x86 only)."""
    found: dict[str, int] = {}
    pattern = f"{CPU}/cpu[0-9]*/thermal_throttle/*_throttle_count"
    for path, text in named(texts, pattern).items():
        count, name = number(text), path.removeprefix(f"{CPU}/").partition("/")[0]
        if count is not None:
            found[name] = max(found.get(name, 0), int(count))
    return found
