"""Raspberry Pis, as folders in the formats that their documentation and people's outputs show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fake_pi
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnprof.errors import Unavailable
from nnprof.profiler.devices import pi, revision, snapshot, vcgencmd
from nnprof.profiler.devices.revision import Revision
from nnprof.profiler.place.shells import LocalShell

# What a person would read off each board.
TOLD: dict[str, dict[str, Any]] = {
    "pi5": {
        "revision": "d04170", "type": "5", "board_revision": "1.0", "memory_fitted": "8 GB",
        "manufacturer": "Sony UK", "chip": "BCM2712", "model": "Cortex-A76", "userland_bits": 64,
        "firmware": "2024/09/23 14:02:56, 26826259", "config_txt": {"arm_boost": "1"},
        "settings": {"arm_freq": 2400, "arm_freq_min": 1500, "arm_boost": 1},
    },
    "pi4": {
        "revision": "c03114", "type": "4B", "board_revision": "1.4", "memory_fitted": "4 GB",
        "manufacturer": "Sony UK", "chip": "BCM2711", "model": "Cortex-A72", "userland_bits": 64,
        "settings": {"arm_freq": 2000, "arm_freq_min": 600, "arm_boost": 1, "over_voltage": 6,
                     "temp_limit": 75},
        "config_txt": {"temp_limit": "75", "arm_boost [pi4]": "1", "over_voltage [pi4]": "6",
                       "arm_freq [pi4]": "2000"},
    },
    "zero2w": {
        "revision": "902120", "type": "Zero 2 W", "memory_fitted": "512 MB", "chip": "BCM2837",
        "model": "Cortex-A53", "userland_bits": 64, "config_txt": {},
    },
    "pi3b-plus-32": {
        "revision": "a020d3", "type": "3B+", "board_revision": "1.3", "memory_fitted": "1 GB",
        "chip": "BCM2837", "architecture": "aarch64", "userland_bits": 32,
        "config_txt": {"temp_soft_limit": "65"},
    },
}  # fmt: skip
WATTS = {"VDD_CORE": 6.22421 * 0.861733, "DDR_VDD2": 0.2254398 * 1.104761,
         "0V8_SW": 0.376709 * 0.8014644}  # fmt: skip


@pytest.fixture
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Raspberry Pi that stands in for `/`; a Raspberry Pi 5 if nothing else is said."""
    name = getattr(request, "param", "pi5")
    made = fake_pi.make(name, tmp_path / name)
    for variable, value in fake_pi.environment(made).items():
        monkeypatch.setenv(variable, value)
    return made


def on(*names: str) -> pytest.MarkDecorator:
    """Run the test on these boards; on all where none is named."""
    return pytest.mark.parametrize("root", names or list(fake_pi.BOARDS), indirect=True)


@on()
def test_every_board_is_recognised(root: Path) -> None:
    """Type, revision, memory, maker, chip, firmware and settings of each board are what it is."""
    facts, told = pi.DEVICE.facts(), TOLD[root.name]
    assert {name: facts[name] for name in told} == told
    assert facts["board"] == fake_pi.BOARDS[root.name].model
    assert facts["memory_bytes"] == fake_pi.BOARDS[root.name].memory_kb * 1024
    assert (facts["governor"], facts["processors"]) == ("ondemand", 4)


@on()
def test_unknown_has_its_reason(root: Path) -> None:
    """Each fact and each value of a reading that is None comes with a sentence that says why."""
    facts, reading = pi.DEVICE.facts(), pi.DEVICE.read((0,))
    assert {name for name, value in facts.items() if value is None} == set(facts["why"])
    for name in ("clock_hz", "throttles", "power_mode", "power_w", "temperature_c"):
        assert (getattr(reading, name) is None) == (name in reading.unknown)
    assert all(reading.unknown.values())
    assert root.name == "pi5" or "no currents" in facts["why"]["rails"]


@on()
def test_the_same_over_a_shell(root: Path) -> None:
    """What one script fetches from a board gives the same facts as reading its files here."""
    texts = snapshot.over(LocalShell(root / "tmp"), pi.FACTS, pi.COMMANDS)
    assert pi.facts(texts) == pi.DEVICE.facts()
    here, there = pi.DEVICE.read(()), pi.DEVICE.over(LocalShell(root / "tmp")).read(())
    assert (here.rails_w, here.volts, here.clock_hz) == (there.rails_w, there.volts, there.clock_hz)


@on()
def test_the_serial_number_is_not_kept(root: Path) -> None:
    """Neither facts nor a reading hold the serial number, which the same files have."""
    told = json.dumps(pi.DEVICE.facts()) + msgspec.json.encode(pi.DEVICE.read(())).decode()
    assert "abcdef01" in (root / "proc/cpuinfo").read_text()
    assert "abcdef01" not in told


def test_rails_of_a_raspberry_pi_5(root: Path) -> None:
    """A rail is what has current and voltage, by its name; there is no sum, and it is said why."""
    facts, reading = pi.DEVICE.facts(), pi.DEVICE.read((0,))
    assert len(reading.rails_w) == 12
    assert not {"EXT5V", "BATT"} & set(reading.rails_w)
    assert {name: reading.rails_w[name] for name in WATTS} == pytest.approx(WATTS)
    assert set(facts["rails"]) == set(reading.rails_w)
    assert (facts["total_rail"], reading.power_w) == (None, None)
    assert "USB" in facts["why"]["total_rail"]
    assert "USB" in facts["not_measured"]
    assert reading.volts == {"core": 0.861733, "EXT5V": 5.09066}
    (root / "var/firmware/pmic_read_adc").unlink()
    assert pi.DEVICE.read(()).rails_w == {}


@on("pi4", "zero2w")
def test_boards_without_currents_have_the_core_voltage(root: Path) -> None:
    """Where the firmware measures no currents, there is the core's voltage, and no power."""
    reading = pi.DEVICE.read(())
    assert reading.volts == {"core": float(fake_pi.BOARDS[root.name].core_v)}
    assert reading.rails_w == {}
    assert "no currents" in reading.unknown["power_w"]


@on("pi4")
def test_the_clock_is_the_measured_one(root: Path) -> None:
    """The clock is what the firmware measures; where it is closed, what the kernel asked for."""
    reading = pi.DEVICE.read((0, 1))
    assert (reading.clock_hz, reading.clocks_hz) == (1500016384.0, {"cpu": 1500016384.0})
    fake_pi.close(root)
    reading = pi.DEVICE.read((0, 1))
    assert (reading.clock_hz, reading.clocks_hz) == (1500000000.0, {})
    assert "the kernel asked for" in reading.unknown["clocks_hz.cpu"]


def test_throttle_evidence(root: Path) -> None:
    """What is on now is named; what happened since boot is counted by kind, so a new one is one."""
    fake_pi.throttled(root, 0x20000)
    before = pi.DEVICE.read(())
    assert (before.alerts, before.throttles) == ((), 1)
    fake_pi.throttled(root, 0x7000D)
    after = pi.DEVICE.read(())
    assert after.alerts == ("under-voltage", "throttling", "soft temperature limit")
    assert after.throttles == 3
    assert after.events == {
        "under-voltage": 1, "capped clock": 1, "throttling": 1, "soft temperature limit": 0,
    }  # fmt: skip


def test_the_alarm_of_the_kernel(root: Path) -> None:
    """The kernel's alarm tells of a weak supply, also where the firmware is closed."""
    fake_pi.write(root, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    fake_pi.close(root)
    reading = pi.DEVICE.read(())
    assert (reading.alerts, reading.throttles) == (("under-voltage",), None)
    assert "video" in reading.unknown["throttles"]
    fake_pi.write(root, "sys/class/hwmon/hwmon1/name", "another\n")
    assert pi.DEVICE.read(()).alerts == ()


def test_a_firmware_that_is_closed(root: Path) -> None:
    """An account outside of group video has no facts of the firmware, with the reason."""
    fake_pi.close(root)
    facts = pi.DEVICE.facts()
    for name in ("firmware", "settings", "rails", "total_rail"):
        assert (facts[name], "video" in facts["why"][name]) == (None, True)
    assert facts["type"] == "5"


def test_temperature_without_a_zone(root: Path) -> None:
    """Where the kernel shows no sensor, as in some containers, the firmware is asked."""
    for path in ("thermal/thermal_zone0/temp", "hwmon/hwmon0/temp1_input"):
        (root / "sys/class" / path).unlink()
    assert pi.DEVICE.read(()).temperature_c == 48.3


@pytest.mark.parametrize(
    ("root", "limit_c"),
    [("pi5", 80.0), ("pi4", 75.0), ("pi3b-plus-32", 65.0)],
    indirect=["root"],
)
def test_where_a_board_is_slowed(root: Path, limit_c: float) -> None:
    """The margin is to 80 °C, or to the lower limit of config.txt or of the type."""
    margin = pi.margin(snapshot.here(pi.FACTS, pi.COMMANDS))
    assert margin is not None
    assert (margin.temperature_c, margin.limit_c) == (48.312, limit_c)


def test_a_machine_that_is_no_pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose device tree is another's is refused, with what to do."""
    monkeypatch.setenv("NNPROF_ROOT", str(tmp_path))
    with pytest.raises(Unavailable, match="no Raspberry Pi"):
        pi.DEVICE.facts()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (0xE04171, Revision("5", "1.1", "16 GB", "Sony UK", "BCM2712")),
        (0xA22082, Revision("3B", "1.2", "1 GB", "Embest", "BCM2837")),
        (0x2A01041, Revision("2B", "1.1", "1 GB", "Sony UK", "BCM2836")),  # the warranty bit
        (0x9000C1, Revision("Zero W", "1.1", "512 MB", "Sony UK", "BCM2835")),
        (0xF042F0, Revision("", "1.0", "", "Sony UK", "BCM2712")),  # newer than the table
        (0x0010, Revision("B+", "1.2", "512 MB", "Sony UK", "BCM2835")),
        (0x1000002, Revision("B", "1.0", "256 MB", "Egoman", "BCM2835")),
        (0x0001, None),
    ],
)
def test_revision_codes(code: int, told: Revision | None) -> None:
    """Codes of both styles are read as the documentation's table has them."""
    assert revision.decoded(code) == told


@pytest.mark.parametrize(
    "text", ["[pi4\narm_freq=2000", "=1\n", "arm_freq", "[all]\n[all]\narm_freq=1\narm_freq=2"]
)
def test_any_config_txt_is_read(text: str) -> None:
    """A file that is no INI file is read as far as it goes, or is unknown."""
    found = pi.config_txt({"/boot/config.txt": text})
    assert found is None or set(found.values()) <= {"2000", "2"}


JUNK = st.text() | st.sampled_from(
    ["throttled=0xfffffffff", "volt=nanV", "frequency(0)=", "temp=-1'C", "a=0x\narm_freq=9e9"]
)


@given(st.dictionaries(st.sampled_from([*pi.FACTS, *pi.COMMANDS]), JUNK, max_size=20))
def test_no_text_stops_the_reader(texts: dict[str, str]) -> None:
    """Whatever a file or the firmware says, facts and reading are had."""
    texts = {name.replace("*", "0"): text for name, text in texts.items()}
    pi.facts(texts)
    pi.reading(texts)
    vcgencmd.alerts(texts)
