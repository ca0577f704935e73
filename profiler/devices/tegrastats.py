"""One line of tegrastats, where sysfs hides the sensors; its fields changed with every JetPack.

==============  =======================================  =====================================
field           JetPack 4 and 5                          JetPack 6, 7
==============  =======================================  =====================================
GPU             ``GR3D_FREQ 10%@1300``, ``35%``          ``12%@[1300,1300]``, ``@[314,314]``
rail            ``POM_5V_IN 2500/2400`` (now/mean, mW)   ``VDD_IN 5139mW/5139mW``, three values
temperature     ``CPU@40.5C``                            ``cpu@52.9C``, ``cpu@52.9C/54.1C``
==============  =======================================  =====================================

The mean is over a window that no document names, so it is not read.
"""

from __future__ import annotations

import re

import msgspec

_GPU = re.compile(r"\bGR3D_FREQ (?:(\d+)%)?(?:@\[?(\d+))?")
_MEMORY = re.compile(r"\bEMC_FREQ \d+%@(\d+)")
_RAIL = re.compile(r"\b((?:VDD|VIN|POM)\w*) (-?\d+)(?:mW)?(?=[/\s]|$)")
_TEMPERATURE = re.compile(r"\b([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C")
_OFF_C = -100.0


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What a line tells: watts by rail, degrees Celsius by zone, hertz by part, the GPU's load."""

    rails_w: dict[str, float]
    temperatures_c: dict[str, float]
    clocks_hz: dict[str, float]
    gpu_load: float | None


def parse(line: str) -> Stats:
    """Read one line of any JetPack; what is not in it is not in the answer."""
    gpu, memory = _GPU.search(line), _MEMORY.search(line)
    clocks = {"gpu": gpu[2] if gpu else None, "emc": memory[1] if memory else None}
    return Stats(
        rails_w={name: float(milliwatts) / 1e3 for name, milliwatts in _RAIL.findall(line)},
        temperatures_c={
            name: float(degrees)
            for name, degrees in _TEMPERATURE.findall(line)
            if float(degrees) > _OFF_C
        },
        clocks_hz={part: float(mhz) * 1e6 for part, mhz in clocks.items() if mhz},
        gpu_load=float(gpu[1]) / 100 if gpu and gpu[1] else None,
    )
