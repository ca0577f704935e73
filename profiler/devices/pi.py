"""A Raspberry Pi, read from its device tree, sysfs and what its firmware says.

`facts` and `reading` are functions of a snapshot, as in `jetson`. Sources, all at
raspberrypi.com/documentation/computers: the revision code (raspberry-pi.html), vcgencmd (os.html),
frequency management and config.txt (config_txt.html). The serial number is not kept.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import psutil
from msgspec.structs import replace

from nnprof.errors import Unavailable
from nnprof.profiler.devices import linux, revision, snapshot, vcgencmd
from nnprof.profiler.devices.heat import Margin
from nnprof.profiler.devices.snapshot import Texts
from nnprof.types import Reading

if TYPE_CHECKING:  # numpy comes with it, and telemetry starts often
    from nnprof.profiler.ports import Shell

_TREE = ("/proc/device-tree", "/sys/firmware/devicetree/base")
_CONFIG = ("/boot/firmware/config.txt", "/boot/config.txt")  # the first since Debian 12
READING = (*linux.READING, *vcgencmd.ALARM, *(f"{tree}/compatible" for tree in _TREE))
FACTS = (*linux.FACTS, *READING, *(f"{tree}/model" for tree in _TREE), *_CONFIG)
_BITS = "getconf LONG_BIT"
COMMANDS = (*linux.COMMANDS, _BITS, *vcgencmd.COMMANDS)

NOT_MEASURED = (
    "what 5 V feed directly (USB, the fan, what sits on the header), and what converters lose"
)
_NO_TOTAL = f"no rail measures the whole board: in none is {NOT_MEASURED}"
_CLOSED = "this account may not ask the firmware: its group has to be video"
_SILENT = "the firmware does not tell: vcgencmd is not here"
_SLOWED_C, _SOFT_C = 80.0, 60.0  # frequency management and thermal control, raspberry-pi.html
_ALL = "all"  # the section of config.txt that holds for each board
# Amperes of the supply that is recommended for a type of board (power supply, raspberry-pi.html).
_SUPPLIES_A = {
    **{"5": "5", "500": "5", "4B": "3", "400": "3", "3B": "2.5", "3B+": "2.5", "3A+": "2.5"},
    "Zero 2 W": "2",
}


def is_pi(texts: Texts) -> bool:
    """Whether the device tree is that of a Raspberry Pi."""
    return "raspberrypi," in (_tree(texts, "compatible") or "")


def facts(texts: Texts, ours: Collection[int] = ()) -> dict[str, Any]:
    """What the board is, and how it is set; `why` says why something is unknown.

    `ours` are the processors that may be used; see `linux.facts`.
    """
    code = _code(texts)
    known = revision.decoded(int(code, 16)) if code else None
    no_code = "its revision code is in no table here" if code else "/proc/cpuinfo has no Revision"
    silent = _silent(texts)
    rails = {name: {"sensor": "PMIC", "update_s": None} for name in vcgencmd.rails_w(texts)}
    own = linux.stated(
        {
            "board": (_tree(texts, "model"), "the device tree names none"),
            "revision": (code, no_code),
            "type": ((known and known.type) or None, no_code),
            "board_revision": (known and known.number, no_code),
            "memory_fitted": ((known and known.memory) or None, no_code),
            "manufacturer": ((known and known.maker) or None, no_code),
            "chip": (_chip(texts) or (known and known.chip) or None, "nothing names it"),
            "firmware": (vcgencmd.version(texts), silent),
            "settings": (vcgencmd.settings(texts), silent),
            "config_txt": (config_txt(texts), "config.txt cannot be read"),
            "userland_bits": (userland_bits(texts), "getconf does not tell"),
            "rails": (rails or None, _no_rails(texts)),
            "total_rail": (None, _NO_TOTAL if rails else _no_rails(texts)),
            **({"not_measured": (NOT_MEASURED, "")} if rails else {}),
        }
    )
    both = linux.facts(texts, ours)
    why = {**both.pop("why", {}), **own.pop("why", {})}
    return {**both, **own, **({"why": why} if why else {})}


def reading(texts: Texts, processors: tuple[int, ...] = ()) -> Reading:
    """The board at the moment of the snapshot."""
    around, events = linux.readings(texts, processors), vcgencmd.events(texts)
    measured = vcgencmd.clock_hz(texts)
    temperature = around["temperature_c"][0]
    known = {
        **around,
        "clock_hz": (measured or around["clock_hz"][0], "neither the firmware nor cpufreq tells"),
        "temperature_c": (
            vcgencmd.temperature_c(texts) if temperature is None else temperature,
            "no sensor is shown here",
        ),
        "throttles": (None if events is None else sum(events.values()), _silent(texts)),
        "power_mode": (linux.governor(texts, processors), "the kernel has no cpufreq driver"),
        "power_w": (None, _NO_TOTAL if vcgencmd.rails_w(texts) else _no_rails(texts)),
    }
    unknown = {name: reason for name, (value, reason) in known.items() if value is None}
    if measured is None and known["clock_hz"][0] is not None:
        unknown["clocks_hz.cpu"] = f"{_silent(texts)}; clock_hz is what the kernel asked for"
    return Reading(
        **{name: value for name, (value, _) in known.items()},
        clocks_hz={} if measured is None else {"cpu": measured},
        rails_w=vcgencmd.rails_w(texts),
        volts=vcgencmd.volts(texts),
        alerts=vcgencmd.alerts(texts),
        events=events or {},
        unknown=unknown,
    )


def questions(texts: Texts) -> tuple[str, ...]:
    """The fewest questions to the firmware that complete the files of a reading."""
    volts = vcgencmd.RAILS if _chip(texts) == "BCM2712" else vcgencmd.VOLTS
    warmth = () if linux.temperatures_c(texts) else (vcgencmd.TEMPERATURE,)
    return (vcgencmd.THROTTLED, vcgencmd.CLOCK, volts, *warmth)


def userland_bits(texts: Texts) -> int | None:
    """Bits of a pointer of the programs, whatever the kernel's are; None: it is not told."""
    said = texts.get(_BITS, "")
    return int(said) if said in ("32", "64") else None


def supply(type_: str | None) -> str:
    """The supply that a type of board is to have, in words."""
    amperes = _SUPPLIES_A.get(type_ or "")
    return f"a supply of 5 V and {amperes} A" if amperes else "the supply that is made for it"


def margin(texts: Texts) -> Margin | None:
    """How near the chip is to being slowed, which no trip point tells; None: another machine.

    80 °C, or `temp_limit` where that is lower; on 3A+ and 3B+ their soft limit, 60 °C by default.
    """
    found = max(linux.temperatures_c(texts).values(), default=vcgencmd.temperature_c(texts))
    if not is_pi(texts) or found is None:
        return None
    code, settings = _code(texts), vcgencmd.settings(texts) or {}
    known = revision.decoded(int(code, 16)) if code else None
    limit = min(_SLOWED_C, settings.get("temp_limit") or _SLOWED_C)
    if known and known.type in ("3A+", "3B+"):
        limit = min(limit, settings.get("temp_soft_limit") or _SOFT_C)
    return Margin("the chip", found, limit)


def config_txt(texts: Texts) -> dict[str, str] | None:
    """What config.txt asks for, of the settings that times depend on, by name and filter.

    `arm_boost [pi4]` holds for what that filter names, and `arm_boost` for all; the firmware's own
    word is the fact `settings`. None: the file cannot be read.
    """
    text = next((texts[path] for path in _CONFIG if texts.get(path)), None)
    if text is None:
        return None
    parser = configparser.RawConfigParser(
        strict=False, allow_no_value=True, delimiters=("=",), comment_prefixes=("#",)
    )
    lines = "\n".join(line.strip() for line in text.splitlines())
    try:
        parser.read_string(f"[{_ALL}]\n{lines}")
    except configparser.Error:
        return None
    return {
        name if section.lower() == _ALL else f"{name} [{section}]": value
        for section in parser.sections()
        for name, value in parser.items(section)
        if name in vcgencmd.NAMES and value is not None
    }


def _silent(texts: Texts) -> str:
    return _CLOSED if vcgencmd.is_closed(texts) else _SILENT


def _no_rails(texts: Texts) -> str:
    """Why no power is known: only the Raspberry Pi 5 and its kin measure currents."""
    if vcgencmd.events(texts) is None:
        return _silent(texts)
    return "this board measures no currents; those with a BCM2712 do"


def _tree(texts: Texts, name: str) -> str | None:
    """A file of the device tree, by its name there."""
    return next((text for folder in _TREE if (text := texts.get(f"{folder}/{name}"))), None)


def _chip(texts: Texts) -> str | None:
    """The chip that the device tree names, such as "BCM2712"."""
    found = re.search(r"\bbrcm,(bcm\d+)", _tree(texts, "compatible") or "")
    return found[1].upper() if found else None


def _code(texts: Texts) -> str | None:
    """The revision code, such as "d04170"."""
    found = re.search(r"^Revision\s*: *([0-9a-f]{4,8})$", texts.get("/proc/cpuinfo", ""), re.M)
    return found[1] if found else None


class Pi:
    """The device: the board that we run on, or one at the other end of a shell."""

    backend = ""
    on = ("cpu",)

    def __init__(self, shell: Shell | None = None) -> None:
        self._shell = shell

    def facts(self) -> dict[str, Any]:
        """See `facts` above.

        Raises:
            Unavailable: it is no Raspberry Pi.
        """
        texts = snapshot.of(self._shell, FACTS, COMMANDS)
        if not is_pi(texts):
            raise Unavailable(
                "This machine is no Raspberry Pi: its device tree names none.",
                "Name a board of your devices.toml, or ssh://user@host.",
            )
        return facts(texts, () if self._shell else linux.allowed())

    def processors(self, threads: int) -> tuple[int, ...]:
        """As on any Linux machine."""
        return () if self._shell else linux.pinned(threads)

    def read(self, processors: tuple[int, ...], on: str = "") -> Reading:  # noqa: ARG002
        """See `reading` above."""
        texts = snapshot.of(self._shell, READING)
        texts |= snapshot.of(self._shell, (), questions(texts))
        own = None if self._shell else psutil.Process().num_ctx_switches().involuntary
        return replace(reading(texts, processors), preemptions=own)

    def over(self, shell: Shell) -> Pi:
        """The board that the shell is on."""
        return Pi(shell)


DEVICE = Pi()
