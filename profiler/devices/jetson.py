"""A Jetson board, read from its device tree, sysfs and a few programs of JetPack 5, 6 and 7.

`facts` and `reading` are functions of a snapshot (`snapshot.here`, or `snapshot.over` a shell), so
a board that has nothing but JetPack tells the same as this one. Layouts and formats: NVIDIA's
Jetson Linux Developer Guide, and the kernel's documentation of the ina3221 and ina238 drivers.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import psutil
from msgspec.structs import replace

from nnprof.errors import Unavailable
from nnprof.profiler.devices import jetpack, linux, snapshot, tegrastats, topology
from nnprof.profiler.devices.linux import named, number
from nnprof.profiler.devices.snapshot import Texts
from nnprof.types import Reading

if TYPE_CHECKING:  # numpy comes with it, and telemetry starts often
    from nnprof.profiler.ports import Shell

_POWER = (
    *("name", "update_interval", "samples"),
    *("in[1-3]_label", "in[1-3]_input", "curr[1-3]_input", "power1_input", "power1_label"),
)

MODES = ("/var/lib/nvpmodel/status", "/etc/nvpmodel.conf")
READING = (
    *linux.READING,
    *MODES,
    "/sys/class/devfreq/*/cur_freq",
    "/sys/class/devfreq/*/min_freq",
    "/sys/class/devfreq/*/max_freq",
    f"{topology.CPU}/cpu[0-9]*/cpufreq/scaling_min_freq",
    f"{topology.CPU}/cpu[0-9]*/cpufreq/scaling_max_freq",
    "/sys/class/thermal/cooling_device*/type",
    "/sys/class/thermal/cooling_device*/cur_state",
    "/sys/class/hwmon/hwmon*/oc[0-9]_event_cnt",
    *(f"/sys/class/hwmon/hwmon*/{name}" for name in _POWER),
    *(f"/sys/bus/i2c/devices/*-00*/hwmon/hwmon*/{name}" for name in _POWER),
    "/sys/kernel/debug/bpmp/debug/clk/emc/rate",
)
FACTS = (
    *linux.FACTS,
    *READING,
    *jetpack.FILES,
)
QUERY = "nvpmodel -q"
CLOCKS = "jetson_clocks --show"  # answers root only
STATS = "timeout 1.2 tegrastats --interval 500"  # where no rail is in sysfs
COMMANDS = (*linux.COMMANDS, jetpack.PACKAGES, QUERY, CLOCKS)

# The rail that feeds the whole module, where there is one. Rails overlap: they are never added up.
_TOTALS = ("VIN", "VDD_IN", "POM_5V_IN")
_GPUS = ("gpu", "ga10b", "gb10b", "gv11b", "gp10b", "gpu-gpc-0")
_SENSORS = ("ina3221", "ina238")
_NO_CLOCK = "devfreq lists no GPU"
PARTS = ("cpu", "gpu", "dla")


def is_jetson(texts: Texts) -> bool:
    """Whether the device tree is that of a Tegra chip."""
    return jetpack.chip(texts) is not None


def facts(texts: Texts, ours: Collection[int] = ()) -> dict[str, Any]:
    """What the board is, and how it is set; `why` says why something is unknown.

    `ours` are the processors that may be used; see `linux.facts`.
    """
    mode, locked = power_mode(texts), clocks_locked(texts)
    own = linux.stated(
        {
            **jetpack.known(texts),
            "computes_on": (_parts(texts), ""),
            "power_mode": (mode and mode[1], "neither nvpmodel nor its status file tells"),
            "power_mode_id": (mode and mode[0], "neither nvpmodel nor its status file tells"),
            "power_modes": (power_modes(texts) or None, "/etc/nvpmodel.conf cannot be read"),
            "clocks_locked": (locked, "the clocks' limits cannot be read"),
            "rails": (_rail_facts(texts) or None, "hwmon shows no INA3221 or INA238"),
            "total_rail": (total_rail(rails_w(texts)), "no rail measures the whole board"),
            "thermal_zones": (sorted(linux.temperatures_c(texts)) or None, "no zone is shown"),
            "overcurrent_counters": (overcurrents(texts) or None, "no soctherm_oc in hwmon"),
        }
    )
    both = linux.facts(texts, ours)
    why = {**both.pop("why", {}), **own.pop("why", {})}
    return {**both, **own, **({"why": why} if why else {})}


def _parts(texts: Texts) -> tuple[str, ...]:
    """What computes on this board; a DLA is left out only where it is known to have none."""
    return tuple(one for one in PARTS if one != "dla" or jetpack.dla_cores(texts) != 0)


def reading(texts: Texts, processors: tuple[int, ...] = (), on: str = "") -> Reading:
    """The board at the moment of the snapshot; its clock is that of what computes, the GPU's."""
    rails, mode, counts = rails_w(texts), power_mode(texts), overcurrents(texts)
    total = total_rail(rails)
    clocks = clocks_hz(texts)
    around = linux.readings(texts, processors)
    of_part = {"cpu": around["clock_hz"], "dla": (None, "no file tells the clock of a DLA")}
    known = {
        **around,
        "clock_hz": of_part.get(on, (clocks.get("gpu"), _NO_CLOCK)),
        "throttles": (sum(counts.values()) if counts else None, "no soctherm_oc in hwmon"),
        "power_mode": (mode and mode[1], "neither nvpmodel nor its status file tells"),
        "power_w": (rails.get(total or ""), "no rail measures the whole board"),
        "locked": (clocks_locked(texts), "the clocks' limits cannot be read"),
    }
    unknown = {name: reason for name, (value, reason) in known.items() if value is None}
    if "emc" not in clocks:
        unknown["clocks_hz.emc"] = "only root may read the memory's clock"
    return Reading(
        **{name: value for name, (value, _) in known.items()},
        clocks_hz=clocks,
        rails_w=rails,
        alerts=alerts(texts),
        events=counts,
        unknown=unknown,
    )


def alerts(texts: Texts) -> tuple[str, ...]:
    """What throttles now; a hot surface is only a warning, and fans and governors are at work."""
    return tuple(
        kind
        for path, state in named(texts, "/sys/class/thermal/cooling_device*/cur_state").items()
        if (kind := texts.get(path.removesuffix("cur_state") + "type", "")).endswith(
            "-throttle-alert"
        )
        and (number(state) or 0) > 0
    )


def overcurrents(texts: Texts) -> dict[str, int]:
    """Events since boot by counter: oc1 under-voltage, oc2 mean current, oc3 current spikes."""
    return {
        path.rsplit("/", 1)[1].removesuffix("_event_cnt"): int(count)
        for path, text in named(texts, "/sys/class/hwmon/hwmon*/oc?_event_cnt").items()
        if (count := number(text)) is not None
    }


def rails_w(texts: Texts) -> dict[str, float]:
    """Watts of each rail by its label. Rails feed each other, so their sum means nothing."""
    found = {}
    for folder in _sensors(texts):
        for channel in ("1", "2", "3"):
            label = texts.get(f"{folder}in{channel}_label")
            volts = number(texts.get(f"{folder}in{channel}_input"))
            amperes = number(texts.get(f"{folder}curr{channel}_input"))
            if label and label != "NC" and volts is not None and amperes is not None:
                found[label] = volts * amperes * 1e-6  # mV · mA
        microwatts = number(texts.get(f"{folder}power1_input"))
        if microwatts is not None:
            # The kernel's ina238 has no labels; on Thor it measures what the board takes in.
            found[texts.get(f"{folder}power1_label", "VIN")] = microwatts * 1e-6
    return found or tegrastats.parse(_last(texts.get(STATS, ""))).rails_w


def updates_s(texts: Texts) -> dict[str, float]:
    """How often each rail's sensor has a new value, seconds; reading it faster repeats the old."""
    found = {}
    for folder in _sensors(texts):
        milliseconds = number(texts.get(f"{folder}update_interval"))
        if milliseconds:
            found.update(dict.fromkeys(rails_w(_within(texts, folder)), milliseconds / 1e3))
    return found


def total_rail(rails: dict[str, float]) -> str | None:
    """The rail that feeds all of the module; None where the board has none, as AGX Orin."""
    return next((name for name in _TOTALS if name in rails), None)


def clocks_hz(texts: Texts) -> dict[str, float]:
    """Of gpu, cpu (mean) and emc (memory), those that the board tells without root."""
    gpu = _gpu(texts)
    emc = number(texts.get("/sys/kernel/debug/bpmp/debug/clk/emc/rate")) or number(
        texts.get("/sys/class/devfreq/bwmgr/cur_freq")
    )
    found = {
        "gpu": number(texts.get(f"{gpu}cur_freq")) if gpu else None,
        "cpu": linux.clock_hz(texts),
        "emc": emc or _shown(texts, "EMC"),
    }
    return {name: value for name, value in found.items() if value is not None}


def clocks_locked(texts: Texts) -> bool | None:
    """Whether GPU and processors are held at one clock, as `jetson_clocks` does."""
    limits = []
    gpu = _gpu(texts)
    if gpu:
        limits.append((texts.get(f"{gpu}min_freq"), texts.get(f"{gpu}max_freq")))
    for path, low in named(texts, f"{topology.CPU}/cpu*/cpufreq/scaling_min_freq").items():
        limits.append((low, texts.get(path.replace("_min_", "_max_"))))
    return all(low == high for low, high in limits) if limits else None


_MODE = re.compile(r"NV Power Mode: *(\S+)\s+(\d+)")
_STATUS = re.compile(r"pmode:(\d+)")
_MODEL = re.compile(r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>", re.MULTILINE)


def power_modes(texts: Texts) -> dict[str, int]:
    """Names of the modes that nvpmodel knows, and their ids, which differ from board to board."""
    return {name: int(key) for key, name in _MODEL.findall(texts.get("/etc/nvpmodel.conf", ""))}


_WATTS = re.compile(r"(\d+)W")


def fullest(modes: dict[str, int]) -> str | None:
    """The mode of nvpmodel that caps least: MAXN_SUPER, MAXN, or that of most watts."""
    for name in ("MAXN_SUPER", "MAXN"):
        if name in modes:
            return name
    watts = {name: int(found[1]) for name in modes if (found := _WATTS.search(name))}
    return max(watts, key=lambda name: watts[name]) if watts else None


def power_mode(texts: Texts) -> tuple[int, str] | None:
    """Id and name of the mode, from nvpmodel, or from its status file; None where neither tells."""
    said = _MODE.search(texts.get(QUERY, ""))
    if said:
        return int(said[2]), said[1]
    status = _STATUS.search(texts.get("/var/lib/nvpmodel/status", ""))
    if not status:
        return None
    number_ = int(status[1])
    names = {key: name for name, key in power_modes(texts).items()}
    return number_, names.get(number_, f"mode {number_}")


def _last(text: str) -> str:
    return text.splitlines()[-1] if text else ""


def _sensors(texts: Texts) -> list[str]:
    """Folders of the power monitors; one that is listed by class and by bus counts once."""
    found: dict[str, str] = {}
    for path, name in named(texts, "/sys/*/hwmon/hwmon*/name").items():
        if name in _SENSORS:
            folder = path.removesuffix("name")
            found.setdefault(folder.split("/")[-2], folder)
    return list(found.values())


def _within(texts: Texts, folder: str) -> dict[str, str]:
    return {path: text for path, text in texts.items() if path.startswith(folder)}


def _rail_facts(texts: Texts) -> dict[str, dict[str, Any]]:
    updates = updates_s(texts)
    sensors = {
        name: texts[f"{folder}name"]
        for folder in _sensors(texts)
        for name in rails_w(_within(texts, folder))
    }
    return {
        name: {"sensor": sensors.get(name, "tegrastats"), "update_s": updates.get(name)}
        for name in rails_w(texts)
    }


def _gpu(texts: Texts) -> str | None:
    """The folder of the GPU's clock: `17000000.gpu`, `17000000.ga10b`, `gpu-gpc-0`."""
    for path in named(texts, "/sys/class/devfreq/*/cur_freq"):
        if path.split("/")[-2].rpartition(".")[2] in _GPUS:
            return path.removesuffix("cur_freq")
    return None


def _shown(texts: Texts, name: str) -> float | None:
    found = re.search(rf"^{name} .*CurrentFreq=(\d+)", texts.get(CLOCKS, ""), re.MULTILINE)
    return float(found[1]) if found else None


class Jetson:
    """The device: the board that we run on, or one at the other end of a shell."""

    backend = "trtexec"  # comes with JetPack
    on = PARTS

    def __init__(self, shell: Shell | None = None) -> None:
        self._shell = shell

    def facts(self) -> dict[str, Any]:
        """See `facts` above.

        Raises:
            Unavailable: it is no Jetson.
        """
        texts = self._texts(FACTS, COMMANDS)
        if not is_jetson(texts):
            raise Unavailable(
                "This machine is no Jetson: its device tree names no Tegra chip.",
                "Name a board of your devices.toml, or ssh://user@host.",
            )
        return facts(texts, () if self._shell else linux.allowed())

    def processors(self, threads: int) -> tuple[int, ...]:
        """As on any Linux machine."""
        return () if self._shell else linux.pinned(threads)

    def read(self, processors: tuple[int, ...], on: str = "") -> Reading:
        """See `reading` above."""
        own = None if self._shell else psutil.Process().num_ctx_switches().involuntary
        return replace(reading(self._texts(READING), processors, on), preemptions=own)

    def over(self, shell: Shell) -> Jetson:
        """The board that the shell is on."""
        return Jetson(shell)

    def _texts(self, patterns: tuple[str, ...], commands: tuple[str, ...] = ()) -> dict[str, str]:
        texts = snapshot.of(self._shell, patterns, commands)
        return texts if _sensors(texts) else {**texts, **snapshot.of(self._shell, (), (STATS,))}


DEVICE = Jetson()
