"""Jetson boards, as folders in the formats of JetPack 5, 6 and 7."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_board
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnprof.errors import Unavailable
from nnprof.profiler.devices import jetson, linux, snapshot, tegrastats
from nnprof.profiler.place.shells import LocalShell

# What a person would read off each board.
TOLD: dict[str, dict[str, Any]] = {
    "orin-nano-jp5": {
        "module": "Orin Nano 8GB (developer kit)", "chip": "tegra234", "family": "Orin",
        "compute_capability": "8.7", "l4t": "35.4.1", "jetpack": "5.1.2",
        "tensorrt_version": "8.5.2", "cuda_version": "11.4.19", "power_mode": "15W",
        "power_mode_id": 0, "total_rail": "VDD_IN", "processors": 6, "model": "Cortex-A78AE",
    },
    "orin-nano-jp6": {
        "module": "Orin Nano 8GB (developer kit)", "chip": "tegra234", "family": "Orin",
        "compute_capability": "8.7", "l4t": "36.4.3", "jetpack": "6.2",
        "tensorrt_version": "10.3.0.30", "cuda_version": "12.6.11", "power_mode": "25W",
        "power_mode_id": 1, "total_rail": "VDD_IN", "processors": 6, "model": "Cortex-A78AE",
    },
    "orin-nano-jp7": {
        "module": "Orin Nano 8GB (developer kit)", "l4t": "39.2.0", "jetpack": "7.2",
        "tensorrt_version": "10.16.2.10", "cuda_version": "13.2.0", "power_mode": "MAXN_SUPER",
        "power_mode_id": 2, "total_rail": "VDD_IN",
    },
    "agx-orin-jp5": {
        "module": "AGX Orin 32GB (developer kit)", "l4t": "35.3.1", "jetpack": "5.1.1",
        "power_mode": "MODE_30W", "power_mode_id": 2, "total_rail": None, "processors": 12,
    },
    "agx-orin-jp6": {
        "module": "AGX Orin 64GB", "l4t": "36.3.0", "jetpack": "6.0",
        "tensorrt_version": "8.6.2.3", "power_mode": "MAXN", "power_mode_id": 0,
        "total_rail": None,
    },
    "agx-orin-jp7": {
        "module": "AGX Orin 64GB", "l4t": "39.2.0", "jetpack": "7.2",
        "tensorrt_version": "10.16.2.10", "power_mode": "MODE_50W", "power_mode_id": 3,
        "total_rail": None,
    },
    "thor-jp7": {
        "module": "AGX Thor T5000 (developer kit)", "chip": "tegra264", "family": "Thor",
        "compute_capability": "11.0", "l4t": "38.2.0", "jetpack": "7.0",
        "tensorrt_version": "10.13.3.9", "cuda_version": "13.0.48", "power_mode": "MAXN",
        "power_mode_id": 0, "total_rail": "VIN", "processors": 14, "model": "Neoverse-V3AE",
    },
}  # fmt: skip
X86 = (
    "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\n"
    "flags\t\t: fpu sse4_2 avx avx2 fma hypervisor\n"
)
NANO_W = {"VDD_IN": 4952 * 1128e-6, "VDD_CPU_GPU_CV": 4944 * 296e-6, "VDD_SOC": 4944 * 320e-6}
AGX_W = {"VDD_GPU_SOC": 19400 * 164e-6, "VDD_CPU_CV": 19400 * 42e-6,
         "VIN_SYS_5V0": 4968 * 904e-6, "VDDQ_VDD2_1V8AO": 4976 * 112e-6}  # fmt: skip
THOR_W = {"VDD_GPU": -19600 * 20e-6, "VDD_CPU_SOC_MSS": 19600 * 332e-6,
          "VIN_SYS_5V0": 5008 * 1302e-6, "VIN": 19640 * 1172e-6}  # fmt: skip


def on(*names: str) -> pytest.MarkDecorator:
    """Run the test on these boards; on all where none is named."""
    return pytest.mark.parametrize("board", names or list(fake_board.BOARDS), indirect=True)


@on()
def test_every_board_is_recognised(board: Path) -> None:
    """Module, chip, L4T, JetPack, TensorRT, CUDA and power mode of each board are what it is."""
    facts = jetson.DEVICE.facts()
    told = TOLD[board.name]
    assert {name: facts[name] for name in told} == told
    assert facts["board"] == fake_board.BOARDS[board.name].model
    assert facts["memory_bytes"] == fake_board.BOARDS[board.name].memory_kb * 1024


@on()
def test_what_computes_is_what_the_module_has(board: Path) -> None:
    """An Orin Nano and a Thor have no DLA, an AGX Orin has two; the fact says what to ask for."""
    facts = jetson.DEVICE.facts()
    assert facts["dla_cores"] == (2 if "agx" in board.name else 0)
    assert ("dla" in facts["computes_on"]) == ("agx" in board.name)
    assert {"cpu", "gpu"} <= set(facts["computes_on"]) <= set(jetson.DEVICE.on)


@on("orin-nano-jp6")
def test_the_clock_is_that_of_what_computes(board: Path) -> None:
    """The GPU's clock of a board, its processors' where they compute, and none of a DLA."""
    nano = fake_board.BOARDS[board.name]
    assert jetson.DEVICE.read((0,), "gpu").clock_hz == nano.gpu_hz[1]
    assert jetson.DEVICE.read((0,), "cpu").clock_hz == nano.cpu_khz[1] * 1e3
    reading = jetson.DEVICE.read((0,), "dla")
    assert reading.clock_hz is None
    assert "DLA" in reading.unknown["clock_hz"]


@on("orin-nano-jp6")
def test_an_emulated_processor_is_not_taken_for_the_one_beneath(board: Path) -> None:
    """Beneath an emulator /proc/cpuinfo is of an x86: model and extensions are unknown then."""
    (board / "proc/cpuinfo").write_text(X86)
    facts = jetson.DEVICE.facts()
    assert facts["architecture"] == "aarch64"
    assert facts["emulated"] is True
    for name in ("model", "extensions", "hypervisor"):
        assert facts[name] is None
        assert "emulator" in facts["why"][name]
    assert facts["board"] == fake_board.BOARDS[board.name].model


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "emulated"),
    [
        ("x86_64", "vendor_id\t: AuthenticAMD\nflags\t\t: avx2\n", False),
        ("aarch64", "CPU implementer\t: 0x41\nFeatures\t: asimd\n", False),
        ("aarch64", "vendor_id\t: AuthenticAMD\nflags\t\t: avx2\n", True),
        ("x86_64", "CPU implementer\t: 0x41\nFeatures\t: asimd\n", True),
        ("riscv64", "vendor_id\t: AuthenticAMD\nflags\t\t: avx2\n", False),
        ("aarch64", "", False),
        ("", "vendor_id\t: AuthenticAMD\n", False),
    ],
)
def test_emulation_is_told_by_what_a_kernel_writes(
    machine: str, cpuinfo: str, emulated: bool
) -> None:
    """Only a file that the kernel of another kind of machine wrote is not believed."""
    texts = {"uname -m": machine, "/proc/cpuinfo": cpuinfo}
    assert linux.is_emulated(texts) == emulated
    assert linux.facts(texts).get("emulated", False) == emulated


@on()
def test_unknown_has_its_reason(board: Path) -> None:
    """Each fact and each value of a reading that is None comes with a sentence that says why."""
    facts, reading = jetson.DEVICE.facts(), jetson.DEVICE.read((0,))
    unknown = {name for name, value in facts.items() if value is None}
    assert unknown == set(facts.get("why", {}))
    for name in ("clock_hz", "throttles", "power_mode", "power_w", "locked", "temperature_c"):
        assert (getattr(reading, name) is None) == (name in reading.unknown)
    assert all(reading.unknown.values())


@pytest.mark.parametrize(
    ("board", "watts"),
    [("orin-nano-jp5", NANO_W), ("orin-nano-jp6", NANO_W), ("agx-orin-jp5", AGX_W),
     ("agx-orin-jp7", AGX_W), ("thor-jp7", THOR_W)],
    indirect=["board"],
)  # fmt: skip
def test_rails(board: Path, watts: dict[str, float]) -> None:
    """Each rail reads V·A under its own label; unconnected channels and sums of shunts are none."""
    reading = jetson.DEVICE.read((0,))
    assert reading.rails_w == pytest.approx(watts)
    total = TOLD[board.name]["total_rail"]
    assert reading.power_w == (pytest.approx(watts[total]) if total else None)


@on()
def test_the_same_over_a_shell(board: Path) -> None:
    """What one script fetches from a board gives the same facts as reading its files here."""
    texts = snapshot.over(LocalShell(board / "tmp"), jetson.FACTS, jetson.COMMANDS)
    assert jetson.facts(texts) == jetson.DEVICE.facts()
    assert jetson.reading(texts).rails_w == jetson.DEVICE.read(()).rails_w


@on("orin-nano-jp6")
def test_mode_without_nvpmodel(board: Path) -> None:
    """Without the program the mode is read from its status file, named by its configuration."""
    (board / "usr/sbin/nvpmodel").unlink()
    facts = jetson.DEVICE.facts()
    assert (facts["power_mode"], facts["power_mode_id"]) == ("25W", 1)


@on("orin-nano-jp6", "thor-jp7")
def test_throttle_evidence(board: Path) -> None:
    """Over-current events are counted and a throttled GPU is named; a warm surface is neither."""
    before = jetson.DEVICE.read(())
    assert before.alerts == ()
    fake_board.throttle(board, 3, alert=True)
    after = jetson.DEVICE.read(())
    assert before.throttles is not None
    assert after.throttles == before.throttles + 3
    assert after.alerts == ("gpu-throttle-alert",)


@on("orin-nano-jp6", "agx-orin-jp5", "thor-jp7")
def test_clock_lock(board: Path) -> None:
    """Clocks are locked when their limits meet, of the GPU and of every processor."""
    assert jetson.DEVICE.facts()["clocks_locked"] is False
    (gpu,) = (
        path for path in board.glob("sys/class/devfreq/*/min_freq") if path.parent.name != "bwmgr"
    )
    gpu.write_text(gpu.with_name("max_freq").read_text())
    assert jetson.DEVICE.read(()).locked is False
    for path in board.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_min_freq"):
        path.write_text(path.with_name("scaling_max_freq").read_text())
    assert jetson.DEVICE.read(()).locked is True


@on()
def test_switched_off_sensors_are_left_out(board: Path) -> None:
    """A zone that reads -256 °C, or that cannot be read, does not count."""
    zones = dict(fake_board.BOARDS[board.name].zones)
    hottest = max(value for value in zones.values() if value is not None and value > 0)
    assert jetson.DEVICE.read(()).temperature_c == hottest / 1e3
    working = sorted(zone for zone, value in zones.items() if value is not None and value > 0)
    assert jetson.DEVICE.facts()["thermal_zones"] == working


@on("orin-nano-jp5", "orin-nano-jp7", "thor-jp7")
def test_tegrastats_where_sysfs_is_hidden(board: Path) -> None:
    """Without power monitors in sysfs, rails come from tegrastats, which is said."""
    for path in [*board.glob("sys/class/hwmon/hwmon[1-8]")]:
        path.unlink()
    for path in board.glob("sys/bus/i2c/devices/*/hwmon/*/name"):
        path.unlink()
    reading = jetson.DEVICE.read(())
    assert reading.rails_w == tegrastats.parse(fake_board.BOARDS[board.name].stats).rails_w
    assert {rail["sensor"] for rail in jetson.DEVICE.facts()["rails"].values()} == {"tegrastats"}


def test_a_machine_that_is_no_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the device tree of a Tegra is refused, with what to do."""
    monkeypatch.setenv("NNPROF_ROOT", str(tmp_path))
    with pytest.raises(Unavailable, match="no Jetson"):
        jetson.DEVICE.facts()


LINES = {
    "nano-jp4": ("RAM 1980/3956MB (lfb 1x4MB) CPU [10%@1479,2%@1479,off,off] EMC_FREQ 0%@1600 "
                 "GR3D_FREQ 0%@76 PLL@29C CPU@30.5C PMIC@100C GPU@28C AO@36.5C thermal@29.25C "
                 "POM_5V_IN 2532/2698 POM_5V_GPU 0/42 POM_5V_CPU 521/676",
                 {"POM_5V_IN": 2.532, "POM_5V_GPU": 0.0, "POM_5V_CPU": 0.521}, 76e6, 0.0, 30.5),
    "orin-nano-jp5": (fake_board.BOARDS["orin-nano-jp5"].stats,
                      {"VDD_IN": 4.485, "VDD_CPU_GPU_CV": 0.604, "VDD_SOC": 1.451},
                      305e6, 0.0, 46.031),
    "agx-orin-jp6": (fake_board.BOARDS["agx-orin-jp6"].stats,
                     {"VDD_GPU_SOC": 3.181, "VDD_CPU_CV": 0.814, "VIN_SYS_5V0": 4.491},
                     None, 0.35, 44.0),
    "agx-orin-jp7": (fake_board.BOARDS["agx-orin-jp7"].stats,
                     {"VDD_GPU_SOC": 3.181, "VDD_CPU_CV": 0.814, "VIN_SYS_5V0": 4.491},
                     1300e6, 0.12, 52.968),
    "thor-jp7": (fake_board.BOARDS["thor-jp7"].stats,
                 {"VDD_GPU": -0.392, "VDD_CPU_SOC_MSS": 6.507, "VIN_SYS_5V0": 6.52,
                  "VIN": 23.018}, 314e6, None, 53.7),
}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "rails", "gpu_hz", "load", "cpu_c"), LINES.values(), ids=LINES.keys()
)
def test_lines_of_tegrastats(
    line: str, rails: dict[str, float], gpu_hz: float | None, load: float | None, cpu_c: float
) -> None:
    """A line of each JetPack gives its rails (the value of now), GPU clock, load and zones."""
    stats = tegrastats.parse(line)
    assert stats.rails_w == rails
    assert stats.clocks_hz.get("gpu") == gpu_hz
    assert stats.gpu_load == load
    zones = {name.lower(): degrees for name, degrees in stats.temperatures_c.items()}
    assert zones["cpu"] == cpu_c
    assert min(zones.values()) > 0


JUNK = st.text() | st.sampled_from(["inf", "nan", "-1", "0-x", "x-3", "cpu a b c d e f g h", "1:2"])


@given(st.dictionaries(st.sampled_from([*jetson.FACTS, *jetson.COMMANDS]), JUNK, max_size=20))
def test_no_text_stops_the_reader(texts: dict[str, str]) -> None:
    """Whatever a file or program says, facts and reading are had, and unknown where unreadable."""
    texts = {name.replace("*", "0"): text for name, text in texts.items()}
    jetson.facts(texts)
    jetson.reading(texts)
    linux.facts(texts)


@given(st.text())
def test_no_line_stops_the_parser(line: str) -> None:
    """Any line of tegrastats can be read."""
    tegrastats.parse(line)


@given(
    st.dictionaries(
        st.from_regex(r"/[a-z0-9/_.,-]{1,30}", fullmatch=True),
        st.text(st.characters(codec="ascii", exclude_categories=["Cc", "Zs"]), min_size=1),
        max_size=5,
    )
)
def test_what_a_script_prints_is_read_back(files: dict[str, str]) -> None:
    """Lines of `.path:text`, as grep prints them, give the files back, whatever is in them."""
    printed = "".join(f".{path}:{text}\n" for path, text in files.items())
    assert snapshot.parsed(printed) == files
