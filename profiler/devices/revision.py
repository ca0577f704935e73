"""The revision code of a Raspberry Pi: memory, maker, processor, type and revision of its board.

The tables are those of raspberrypi.com/documentation/computers/raspberry-pi.html,
"Raspberry Pi revision codes".
"""

from __future__ import annotations

from typing import NamedTuple

_NEW = 1 << 23  # bits have a meaning, else the code is one of a list
_MEMORY = ("256 MB", "512 MB", "1 GB", "2 GB", "4 GB", "8 GB", "16 GB")
_MAKERS = ("Sony UK", "Egoman", "Embest", "Sony Japan", "Embest", "Stadium")
_CHIPS = ("BCM2835", "BCM2836", "BCM2837", "BCM2711", "BCM2712")
_TYPES = {
    **{0x00: "A", 0x01: "B", 0x02: "A+", 0x03: "B+", 0x04: "2B", 0x06: "CM1", 0x08: "3B"},
    **{0x09: "Zero", 0x0A: "CM3", 0x0C: "Zero W", 0x0D: "3B+", 0x0E: "3A+", 0x10: "CM3+"},
    **{0x11: "4B", 0x12: "Zero 2 W", 0x13: "400", 0x14: "CM4", 0x15: "CM4S", 0x17: "5"},
    **{0x18: "CM5", 0x19: "500", 0x1A: "CM5 Lite", 0x1B: "CM0"},
}


class Revision(NamedTuple):
    """What a code says; "" what no table here has. `memory` is as it is sold: "8 GB"."""

    type: str
    number: str
    memory: str
    maker: str
    chip: str


_OLD = {
    **dict.fromkeys((0x2, 0x3), Revision("B", "1.0", "256 MB", "Egoman", "BCM2835")),
    0x4: Revision("B", "2.0", "256 MB", "Sony UK", "BCM2835"),
    0x5: Revision("B", "2.0", "256 MB", "Qisda", "BCM2835"),
    0x6: Revision("B", "2.0", "256 MB", "Egoman", "BCM2835"),
    0x7: Revision("A", "2.0", "256 MB", "Egoman", "BCM2835"),
    0x8: Revision("A", "2.0", "256 MB", "Sony UK", "BCM2835"),
    0x9: Revision("A", "2.0", "256 MB", "Qisda", "BCM2835"),
    **dict.fromkeys((0xD, 0xF), Revision("B", "2.0", "512 MB", "Egoman", "BCM2835")),
    0xE: Revision("B", "2.0", "512 MB", "Sony UK", "BCM2835"),
    0x10: Revision("B+", "1.2", "512 MB", "Sony UK", "BCM2835"),
    0x11: Revision("CM1", "1.0", "512 MB", "Sony UK", "BCM2835"),
    0x12: Revision("A+", "1.1", "256 MB", "Sony UK", "BCM2835"),
    0x13: Revision("B+", "1.2", "512 MB", "Embest", "BCM2835"),
    0x14: Revision("CM1", "1.0", "512 MB", "Embest", "BCM2835"),
    0x15: Revision("A+", "1.1", "", "Embest", "BCM2835"),  # 256 or 512 MB
}


def decoded(code: int) -> Revision | None:
    """What a revision code says; None for one that is no code of a Raspberry Pi."""
    if not code & _NEW:
        return _OLD.get(code & 0xFFFF)
    return Revision(
        _TYPES.get(code >> 4 & 0xFF, ""),
        f"1.{code & 0xF}",
        _at(_MEMORY, code >> 20 & 0x7),
        _at(_MAKERS, code >> 16 & 0xF),
        _at(_CHIPS, code >> 12 & 0xF),
    )


def _at(table: tuple[str, ...], index: int) -> str:
    return table[index] if index < len(table) else ""
