"""What the firmware of a Raspberry Pi says: the answers of its program vcgencmd.

Pure functions over snapshots. Formats: raspberrypi.com/documentation/computers/os.html#vcgencmd,
the same site's config_txt.html (settings, EXT5V_V), and the program's source in
github.com/raspberrypi/utils (what it says where /dev/vcio is closed to us). The whole answer of
`pmic_read_adc`, which the Raspberry Pi 5 alone has, is in none of them: it is read as people
published it, by the names of its rails.

The kernel's own file, soc:firmware/get_throttled, is left alone: reading it taints the kernel with
a warning ("deprecated, use hwmon sysfs instead", drivers/firmware/raspberrypi.c), and its bits are
those of the last two seconds. What that warning names is read: the alarm of rpi_volt.
"""

from __future__ import annotations

import re

from nnprof.profiler.devices.linux import named
from nnprof.profiler.devices.snapshot import Texts

THROTTLED = "vcgencmd get_throttled"
CLOCK = "vcgencmd measure_clock arm"
TEMPERATURE = "vcgencmd measure_temp"
VOLTS = "vcgencmd measure_volts core"
RAILS = "vcgencmd pmic_read_adc"
_VERSION = "vcgencmd version"
_SETTINGS = "vcgencmd get_config int"
COMMANDS = (THROTTLED, CLOCK, TEMPERATURE, VOLTS, RAILS, _VERSION, _SETTINGS)
ALARM = ("/sys/class/hwmon/hwmon*/name", "/sys/class/hwmon/hwmon*/in0_lcrit_alarm")

UNDER_VOLTAGE = "under-voltage"
SUPPLY = "EXT5V"  # the voltage that comes in; it has no current beside it
_BITS = {0: UNDER_VOLTAGE, 1: "capped clock", 2: "throttling", 3: "soft temperature limit"}
_SINCE_BOOT = 16  # the bit from which on the same four tell what has happened since boot
NAMES = (  # of settings of config.txt that a processor's time depends on
    *("arm_freq", "arm_freq_min", "arm_boost", "force_turbo", "over_voltage"),
    *("over_voltage_delta", "temp_limit", "temp_soft_limit"),
)


def alerts(texts: Texts) -> tuple[str, ...]:
    """What slows the board, or would, at this moment; () also where nothing tells."""
    word = _word(texts) or 0
    alarms = [
        path
        for path, text in named(texts, ALARM[1]).items()
        if text == "1" and texts.get(path.replace("in0_lcrit_alarm", "name")) == "rpi_volt"
    ]
    return tuple(
        name for bit, name in _BITS.items() if word >> bit & 1 or (name == UNDER_VOLTAGE and alarms)
    )


def events(texts: Texts) -> dict[str, int] | None:
    """Of each kind of slowing 1 where it has happened since boot, else 0; None: nothing tells.

    The firmware keeps one bit of each kind until the next boot: more than one event are 1, too.
    """
    word = _word(texts)
    if word is None:
        return None
    return {name: word >> (bit + _SINCE_BOOT) & 1 for bit, name in _BITS.items()}


def is_closed(texts: Texts) -> bool:
    """Whether the firmware does not answer to this account; its group has to be video."""
    words = ("Can't open device file", "VCHI initialization failed")
    return any(word in texts.get(command, "") for command in COMMANDS for word in words)


def clock_hz(texts: Texts) -> float | None:
    """Of the cores, measured; the kernel's is the one that was asked for."""
    return _number(texts.get(CLOCK, ""), "frequency") or None


def temperature_c(texts: Texts) -> float | None:
    """Degrees Celsius of the chip."""
    return _number(texts.get(TEMPERATURE, ""), "temp")


def volts(texts: Texts) -> dict[str, float]:
    """Of the core and, where it is measured, of what comes in."""
    _, by_rail = _rails(texts)
    core = by_rail.get("VDD_CORE", _number(texts.get(VOLTS, ""), "volt"))
    found = {"core": core, SUPPLY: by_rail.get(SUPPLY)}
    return {name: value for name, value in found.items() if value is not None}


def rails_w(texts: Texts) -> dict[str, float]:
    """Watts of each rail that has both a current and a voltage."""
    amperes, by_rail = _rails(texts)
    return {name: value * by_rail[name] for name, value in amperes.items() if name in by_rail}


def version(texts: Texts) -> str | None:
    """Date and version of the firmware, such as "2024/09/23 14:02:56, 26826259"."""
    found = re.search(r"^(.+?)\s*$[\s\S]*^version (\w+)", texts.get(_VERSION, ""), re.MULTILINE)
    return f"{found[1]}, {found[2]}" if found else None


def settings(texts: Texts) -> dict[str, int] | None:
    """Settings of config.txt as the firmware took them, those of `NAMES`; None: it does not tell.

    It tells those only that differ from 0.
    """
    text = texts.get(_SETTINGS, "")
    found = re.findall(r"^(\w+)=(0x[0-9a-fA-F]+|-?\d+)\s*$", text, re.MULTILINE)
    known = {name: int(value, 0) for name, value in found if len(value) < 20}
    return {name: known[name] for name in NAMES if name in known} if known else None


def _word(texts: Texts) -> int | None:
    said = re.search(r"throttled=0x([0-9a-fA-F]{1,8})\b", texts.get(THROTTLED, ""))
    return int(said[1], 16) if said else None


def _number(text: str, name: str) -> float | None:
    """The number of `temp=48.3'C`, `frequency(0)=2400000000` or `volt=0.8768V`."""
    found = re.search(rf"\b{name}(?:\(\d+\))?=(\d{{1,12}}(?:\.\d+)?)", text)
    return float(found[1]) if found else None


_RAIL = re.compile(r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=(-?\d{1,6}(?:\.\d+)?)\2", re.M)


def _rails(texts: Texts) -> tuple[dict[str, float], dict[str, float]]:
    """Amperes and volts by rail: `VDD_CORE_A current(7)=1.9A`, `VDD_CORE_V volt(15)=0.8V`."""
    found: dict[str, dict[str, float]] = {"A": {}, "V": {}}
    for name, unit, value in _RAIL.findall(texts.get(RAILS, "")):
        found[unit][name] = float(value)
    return found["A"], found["V"]
