"""Root folders that look like Jetson boards: device tree, sysfs, and stand-ins for their programs.

Written from the formats that NVIDIA's Jetson Linux Developer Guide, the kernel's documentation and
people's logs show, for JetPack 5, 6 and 7. Nothing here was taken from a board of ours.
`python tests/fakes/fake_board.py NAME FOLDER` makes one by hand.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from pathlib import Path

Watts = tuple[int, int]  # millivolts, milliamperes


@dataclasses.dataclass(frozen=True)
class Board:
    """What differs from board to board, as its own files say it."""

    model: str
    compatible: tuple[str, ...]
    release: str
    packages: tuple[tuple[str, str], ...]
    cores: int
    part: str  # of the processor
    cpu_khz: tuple[int, int, int]  # lowest, now, highest
    gpu: str  # its devfreq folder
    gpu_hz: tuple[int, int, int]
    memory_kb: int
    modes: tuple[str, ...]  # of nvpmodel, by id
    mode: int
    sensors: tuple[tuple[str, str, tuple[tuple[str, Watts], ...]], ...]  # address, driver, rails
    zones: tuple[tuple[str, int | None], ...]  # None: its file cannot be read
    stats: str  # a line of tegrastats
    cuda: str


_NANO_RAILS = (
    ("VDD_IN", (4952, 1128)),
    ("VDD_CPU_GPU_CV", (4944, 296)),
    ("VDD_SOC", (4944, 320)),
)
_AGX_RAILS = (
    ("1-0040", "ina3221", (("VDD_GPU_SOC", (19400, 164)), ("VDD_CPU_CV", (19400, 42)),
                           ("VIN_SYS_5V0", (4968, 904)))),
    ("1-0041", "ina3221", (("NC", (0, 0)), ("VDDQ_VDD2_1V8AO", (4976, 112)), ("NC", (0, 0)))),
)  # fmt: skip
_THOR_RAILS = (
    ("2-0040", "ina3221", (("VDD_GPU", (19600, -20)), ("VDD_CPU_SOC_MSS", (19600, 332)),
                           ("VIN_SYS_5V0", (5008, 1302)))),
    ("2-0044", "ina238", (("VIN", (19640, 1172)),)),
)  # fmt: skip
_ORIN_ZONES = (
    *(("cpu-thermal", 48312), ("gpu-thermal", 47843), ("cv0-thermal", None)),
    *(("soc0-thermal", 47031), ("tj-thermal", 48312)),
)

BOARDS = {
    "orin-nano-jp5": Board(
        model="NVIDIA Orin Nano Developer Kit",
        compatible=("nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005", "nvidia,tegra234",
                    "nvidia,tegra23x"),
        release="# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64, "
        "DATE: Tue Aug  1 19:57:35 UTC 2023",
        packages=(("libnvinfer-bin", "8.5.2-1+cuda11.4"), ("libnvinfer8", "8.5.2-1+cuda11.4"),
                  ("nvidia-l4t-core", "35.4.1-20230801124926")),
        cores=6, part="0xd42", cpu_khz=(729600, 1190400, 1510400),
        gpu="17000000.ga10b", gpu_hz=(306000000, 306000000, 624750000), memory_kb=6481752,
        modes=("15W", "7W"), mode=0,
        sensors=(("1-0040", "ina3221", _NANO_RAILS),),
        zones=(("CPU-therm", 46031), ("GPU-therm", 45156), ("CV0-therm", -256000),
               ("SOC0-therm", 44625), ("tj-therm", 46031)),
        stats="08-02-2023 10:00:00 RAM 1834/6329MB (lfb 4x4MB) SWAP 0/3164MB (cached 0MB) "
        "CPU [1%@1510,0%@1510,0%@1510,0%@1510,0%@1510,0%@1510] EMC_FREQ 0%@2133 "
        "GR3D_FREQ 0%@305 VIC_FREQ 729 APE 174 CPU@46.031C SOC2@44.4C SOC0@44.625C CV0@-256C "
        "GPU@45.156C tj@46.031C SOC1@45C CV2@-256C VDD_IN 4485mW/4485mW "
        "VDD_CPU_GPU_CV 604mW/604mW VDD_SOC 1451mW/1451mW",
        cuda="11.4.19",
    ),
    "orin-nano-jp6": Board(
        model="NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        compatible=("nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234"),
        release="# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
        "DATE: Wed Jan  8 01:49:37 UTC 2025",
        packages=(("libnvinfer-bin", "10.3.0.30-1+cuda12.5"),
                  ("libnvinfer10", "10.3.0.30-1+cuda12.5"),
                  ("nvidia-l4t-core", "36.4.3-20250107174145")),
        cores=6, part="0xd42", cpu_khz=(729600, 1190400, 1728000),
        gpu="17000000.gpu", gpu_hz=(306000000, 306000000, 1020000000), memory_kb=7802884,
        modes=("15W", "25W", "MAXN_SUPER", "7W"), mode=1,
        sensors=(("1-0040", "ina3221", _NANO_RAILS),), zones=_ORIN_ZONES,
        stats="01-09-2025 12:00:00 RAM 1774/7620MB (lfb 2x4MB) SWAP 0/3810MB (cached 0MB) "
        "CPU [2%@729,0%@729,0%@729,0%@729,0%@729,0%@729] GR3D_FREQ 10%@[305] cpu@48.312C "
        "soc2@46.9C soc0@47.031C gpu@47.843C tj@48.312C soc1@47.4C VDD_IN 5585mW/5585mW "
        "VDD_CPU_GPU_CV 1463mW/1463mW VDD_SOC 1582mW/1582mW",
        cuda="12.6.11",
    ),
    "orin-nano-jp7": Board(
        model="NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        compatible=("nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234"),
        release="# R39 (release), REVISION: 2.0, GCID: 43210987, BOARD: generic, EABI: aarch64, "
        "DATE: Mon May 18 20:11:02 UTC 2026",
        packages=(("libnvinfer-bin", "10.16.2.10-1+cuda13.2"),
                  ("libnvinfer10", "10.16.2.10-1+cuda13.2"),
                  ("nvidia-l4t-core", "39.2.0-20260518131102")),
        cores=6, part="0xd42", cpu_khz=(729600, 729600, 1728000),
        gpu="17000000.gpu", gpu_hz=(306000000, 306000000, 1020000000), memory_kb=7802884,
        modes=("15W", "25W", "MAXN_SUPER", "7W"), mode=2,
        sensors=(("1-0040", "ina3221", _NANO_RAILS),), zones=_ORIN_ZONES,
        stats="05-20-2026 09:08:28 RAM 2064/7620MB (lfb 1x2MB) CPU [23%@1728,10%@1728] "
        "EMC_FREQ 3%@3199 GR3D_FREQ 0%@[1020,1020] NVENC off NVDEC off APE 174 "
        "cpu@52.968C/52.968C gpu@50.1C/50.1C tj@52.968C/52.968C VDD_IN 5139mW/5139mW/5139mW "
        "VDD_CPU_GPU_CV 1000mW/1000mW/1000mW VDD_SOC 1500mW/1500mW/1500mW",
        cuda="13.2.0",
    ),
    "agx-orin-jp5": Board(
        model="Jetson AGX Orin Developer Kit",
        compatible=("nvidia,p3737-0000+p3701-0000", "nvidia,tegra234", "nvidia,tegra23x"),
        release="# R35 (release), REVISION: 3.1, GCID: 32827747, BOARD: t186ref, EABI: aarch64, "
        "DATE: Sun Mar 19 15:19:21 UTC 2023",
        packages=(("libnvinfer-bin", "8.5.2-1+cuda11.4"), ("libnvinfer8", "8.5.2-1+cuda11.4"),
                  ("nvidia-l4t-core", "35.3.1-20230319081403")),
        cores=12, part="0xd42", cpu_khz=(729600, 729600, 2201600),
        gpu="17000000.ga10b", gpu_hz=(306000000, 306000000, 1300500000), memory_kb=31250000,
        modes=("MAXN", "MODE_15W", "MODE_30W", "MODE_50W"), mode=2,
        sensors=_AGX_RAILS, zones=(("CPU-therm", 44000), ("GPU-therm", 40500), ("tj-therm", 44000)),
        stats="RAM 3009/30536MB (lfb 2x4MB) SWAP 0/15268MB (cached 0MB) "
        "CPU [1%@729,off,off] EMC_FREQ 0%@2133 GR3D_FREQ 0%@305 CPU@44C GPU@40.5C tj@44C "
        "VDD_GPU_SOC 3181mW/3181mW VDD_CPU_CV 814mW/814mW VIN_SYS_5V0 4491mW/4491mW "
        "VDDQ_VDD2_1V8AO 557mW/557mW",
        cuda="11.4.19",
    ),
    "agx-orin-jp6": Board(
        model="NVIDIA Jetson AGX Orin Developer Kit",
        compatible=("nvidia,p3737-0000+p3701-0005", "nvidia,p3701-0005", "nvidia,tegra234"),
        release="# R36 (release), REVISION: 3.0, GCID: 36923193, BOARD: generic, EABI: aarch64, "
        "DATE: Fri Jul 19 23:24:25 UTC 2024",
        packages=(("libnvinfer-bin", "8.6.2.3-1+cuda12.2"), ("libnvinfer8", "8.6.2.3-1+cuda12.2"),
                  ("nvidia-l4t-core", "36.3.0-20240719161631")),
        cores=12, part="0xd42", cpu_khz=(729600, 2201600, 2201600),
        gpu="17000000.gpu", gpu_hz=(306000000, 918000000, 1300500000), memory_kb=64336856,
        modes=("MAXN", "MODE_15W", "MODE_30W", "MODE_50W"), mode=0,
        sensors=_AGX_RAILS, zones=_ORIN_ZONES,
        stats="RAM 3009/62829MB (lfb 2x4MB) CPU [1%@2201,0%@2201] GR3D_FREQ 35% cpu@44C gpu@40.5C "
        "tj@44C VDD_GPU_SOC 3181mW/3181mW VDD_CPU_CV 814mW/814mW VIN_SYS_5V0 4491mW/4491mW",
        cuda="12.2.140",
    ),
    "agx-orin-jp7": Board(
        model="NVIDIA Jetson AGX Orin Developer Kit",
        compatible=("nvidia,p3737-0000+p3701-0005", "nvidia,p3701-0005", "nvidia,tegra234"),
        release="# R39 (release), REVISION: 2.0, GCID: 43210987, BOARD: generic, EABI: aarch64, "
        "DATE: Mon May 18 20:11:02 UTC 2026",
        packages=(("libnvinfer10", "10.16.2.10-1+cuda13.2"),
                  ("nvidia-l4t-core", "39.2.0-20260518131102")),
        cores=12, part="0xd42", cpu_khz=(729600, 729600, 2201600),
        gpu="17000000.gpu", gpu_hz=(306000000, 306000000, 1300500000), memory_kb=64336856,
        modes=("MAXN", "MODE_15W", "MODE_30W", "MODE_50W"), mode=3,
        sensors=_AGX_RAILS, zones=_ORIN_ZONES,
        stats="07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x2MB) CPU [23%@2201,10%@2201] "
        "EMC_FREQ 3%@3199 GR3D_FREQ 12%@[1300,1300] NVENC0 off APE 174 cpu@52.968C/52.968C "
        "tj@52.968C/52.968C VDD_GPU_SOC 3181mW/3181mW/3181mW VDD_CPU_CV 814mW/814mW/814mW "
        "VIN_SYS_5V0 4491mW/4491mW/4491mW",
        cuda="13.2.0",
    ),
    "thor-jp7": Board(
        model="NVIDIA Jetson AGX Thor Developer Kit",
        compatible=("nvidia,p3971-0089+p3834-0008", "nvidia,p3834-0008", "nvidia,tegra264"),
        release="# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64, "
        "DATE: Fri Aug 22 00:55:42 UTC 2025",
        packages=(("libnvinfer10", "10.13.3.9-1+cuda13.0"),
                  ("nvidia-l4t-core", "38.2.0-20250821174705")),
        cores=14, part="0xd83", cpu_khz=(972000, 2601000, 2601000),
        gpu="gpu-gpc-0", gpu_hz=(315000000, 1575000000, 1575000000), memory_kb=128830804,
        modes=("MAXN", "120W"), mode=0,
        sensors=_THOR_RAILS,
        zones=(("cpu-thermal", 53700), ("gpu-thermal", None), ("soc012-thermal", 55100),
               ("tj-thermal", 55100)),
        stats="08-24-2025 01:02:03 RAM 3840/125772MB (lfb 16x4MB) CPU [0%@972,0%@972] EMC_FREQ 0% "
        "GR3D_FREQ @[314,314,314] cpu@53.7C soc012@55.1C tj@55.1C VDD_GPU -392mW/-392mW "
        "VDD_CPU_SOC_MSS 6507mW/6507mW VIN_SYS_5V0 6520mW/6520mW VIN 23018mW/23018mW",
        cuda="13.0.48",
    ),
}  # fmt: skip

# The programs keep the state of the board in its own files, as the real ones do. What only root may
# do asks for the environment that the stand-in for sudo sets.
_HEAD = '#!/bin/sh\nROOT=$(cd "$(dirname "$0")/../.." && pwd)\n'
_PROGRAMS = {
    "usr/bin/uname": 'case "$1" in -m) echo aarch64 ;; *) exec /usr/bin/uname "$@" ;; esac\n',
    "usr/bin/dpkg-query": """while IFS= read -r line; do echo "$line"; done <"$ROOT/var/packages"
echo "dpkg-query: no packages found matching libnvinfer11" >&2
exit 1
""",
    "usr/bin/sudo": """shift
[ -e "$ROOT/etc/sudoers.d/nnprof" ] || { echo "sudo: a password is required" >&2; exit 1; }
FAKE_ROOT=1 exec "$@"
""",
    "usr/bin/id": '[ "$1" = -u ] && echo 1000\n',
    "usr/bin/tegrastats": 'while :; do cat "$ROOT/var/tegrastats"; sleep 0.5; done\n',
    "usr/sbin/nvpmodel": """conf=$ROOT/etc/nvpmodel.conf; status=$ROOT/var/lib/nvpmodel/status
now=$(sed 's/pmode:0*\\([0-9][0-9]*\\).*/\\1/' "$status")
case "$1" in
-q) echo "NV Power Mode: $(sed -n "s/< POWER_MODEL ID=$now NAME=\\([^ ]*\\) >/\\1/p" "$conf")"
    echo "$now" ;;
-m) [ -n "$FAKE_ROOT" ] || { echo "NVPM ERROR: Error opening $status: 13" >&2; exit 1; }
    echo "nvpmodel -m $2" >>"$ROOT/var/log"
    if [ -e "$ROOT/etc/needs-reboot" ]; then
        echo "NVPM WARN: Reboot required for changing to this power mode: $2"
        echo "NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:"
        read -r answer; exit 0
    fi
    printf 'pmode:%04d\\n' "$2" >"$status" ;;
esac
""",
    "usr/bin/jetson_clocks": """[ -n "$FAKE_ROOT" ] || {
    echo "Error: Run this script($0) as a root user"; exit 1; }
gpu=$(ls -d "$ROOT"/sys/class/devfreq/*g[ap]* | head -n 1)
cpus=$ROOT/sys/devices/system/cpu
case "$1" in
--show) echo "GPU MinFreq=$(cat $gpu/min_freq) MaxFreq=$(cat $gpu/max_freq) CurrentFreq=0"
    echo "EMC MinFreq=204000000 MaxFreq=3199000000 CurrentFreq=2133000000 FreqOverride=0" ;;
--store) echo "jetson_clocks --store" >>"$ROOT/var/log"
    (cd "$ROOT" && grep -H '' sys/class/devfreq/*/min_freq \\
        sys/devices/system/cpu/cpu*/cpufreq/scaling_min_freq) >"$2" ;;
--restore) echo "jetson_clocks --restore" >>"$ROOT/var/log"
    while IFS=: read -r file value; do echo "$value" >"$ROOT/$file"; done <"$2" ;;
"") echo "jetson_clocks" >>"$ROOT/var/log"
    cat "$gpu/max_freq" >"$gpu/min_freq"; cat "$gpu/max_freq" >"$gpu/cur_freq"
    for cpu in "$cpus"/cpu[0-9]*/cpufreq; do
        cat "$cpu/scaling_max_freq" >"$cpu/scaling_min_freq"
        cat "$cpu/scaling_max_freq" >"$cpu/scaling_cur_freq"
    done ;;
esac
""",
}


def make(name: str, root: Path) -> Path:
    """Fill a folder with the files of a board of `BOARDS`; the folder."""
    board = BOARDS[name]
    for path, text in {**_identity(board), **_clocks(board), **_thermal(board)}.items():
        _write(root / path, text)
    for number, (address, driver, rails) in enumerate(board.sensors, start=1):
        _sensor(root, address, driver, rails, f"hwmon{number}")
    for path, text in _PROGRAMS.items():
        _write(root / path, _HEAD + text)
        (root / path).chmod(0o755)
    return root


def environment(root: Path) -> dict[str, str]:
    """Variables with which nnprof takes the folder for `/`, and its programs for the board's."""
    programs = f"{root}/usr/sbin:{root}/usr/bin"
    return {"NNPROF_ROOT": str(root), "PATH": f"{programs}:{os.environ['PATH']}"}


def set_rail(root: Path, label: str, milliwatts: int) -> None:
    """Have a rail carry so much power, at 5 V."""
    for path in root.glob("sys/class/hwmon/hwmon*/in?_label"):
        if path.read_text().strip() == label:
            channel = path.name[2]
            _write(path.with_name(f"curr{channel}_input"), str(milliwatts // 5))
            _write(path.with_name(f"in{channel}_input"), "5000")


def throttle(root: Path, events: int, *, alert: bool = False) -> None:
    """Have the over-current counter rise, or the GPU be throttled by heat."""
    path = root / "sys/class/hwmon/hwmon9/oc3_event_cnt"
    _write(path, str(int(path.read_text()) + events))
    if alert:
        _write(root / "sys/class/thermal/cooling_device3/cur_state", "1")


def _identity(board: Board) -> dict[str, str]:
    features = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm"
    cores = [
        f"processor\t: {core}\nBogoMIPS\t: 62.50\nFeatures\t: {features} lrcpc dcpop asimddp\n"
        f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: {board.part}\n"
        for core in range(board.cores)
    ]
    modes = "\n".join(
        f"< POWER_MODEL ID={key} NAME={mode} >\nCPU_ONLINE CORE_0 1\nGPU MAX_FREQ -1\n"
        for key, mode in enumerate(board.modes)
    )
    return {
        "proc/device-tree/model": f"{board.model}\0",
        "proc/device-tree/compatible": "\0".join(board.compatible) + "\0",
        "proc/cpuinfo": "\n".join(cores),
        "proc/meminfo": f"MemTotal:       {board.memory_kb} kB\nMemFree:         1234567 kB\n",
        "proc/sys/kernel/osrelease": "5.15.148-tegra\n",
        "proc/loadavg": "0.12 0.10 0.09 1/512 4242\n",
        "proc/stat": "cpu  100 0 100 10000 10 0 1 0 0 0\n",
        "etc/nv_tegra_release": board.release + "\n",
        "etc/nvpmodel.conf": f"# comment\n{modes}\n< PM_CONFIG DEFAULT={board.mode} >\n",
        "var/lib/nvpmodel/status": f"pmode:{board.mode:04d}\n",
        "var/packages": "".join(f"{name}\t{version}\n" for name, version in board.packages),
        "var/tegrastats": board.stats + "\n",
        "usr/local/cuda/version.json": f'{{"cuda": {{"version": "{board.cuda}"}}}}\n',
    }


def _clocks(board: Board) -> dict[str, str]:
    low, now, high = board.gpu_hz
    devfreq = f"sys/class/devfreq/{board.gpu}"
    files = {
        "sys/devices/system/cpu/online": f"0-{board.cores - 1}\n",
        f"{devfreq}/min_freq": f"{low}\n",
        f"{devfreq}/cur_freq": f"{now}\n",
        f"{devfreq}/max_freq": f"{high}\n",
        f"{devfreq}/governor": "nvhost_podgov\n",
    }
    if "gpc" in board.gpu:
        for name in ("min_freq", "cur_freq", "max_freq"):
            files[f"sys/class/devfreq/bwmgr/{name}"] = "4266000000\n"
    low, now, high = board.cpu_khz
    for core in range(board.cores):
        folder = f"sys/devices/system/cpu/cpu{core}/cpufreq"
        files[f"{folder}/scaling_governor"] = "schedutil\n"
        files[f"{folder}/scaling_driver"] = "tegra194\n"
        files[f"{folder}/scaling_min_freq"] = f"{low}\n"
        files[f"{folder}/scaling_cur_freq"] = f"{now}\n"
        files[f"{folder}/scaling_max_freq"] = f"{high}\n"
        files[f"{folder}/cpuinfo_max_freq"] = f"{high}\n"
    return files


def _thermal(board: Board) -> dict[str, str]:
    files = {}
    for number, (zone, value) in enumerate(board.zones):
        files[f"sys/class/thermal/thermal_zone{number}/type"] = f"{zone}\n"
        # A folder cannot be read as a file either, not even by root.
        name = "temp" if value is not None else "temp/unreadable"
        files[f"sys/class/thermal/thermal_zone{number}/{name}"] = f"{value}\n"
    kinds = ("pwm-fan", "cpufreq-cpu0", "cpu-throttle-alert", "gpu-throttle-alert",
             "hot-surface-alert")  # fmt: skip
    for number, kind in enumerate(kinds):
        files[f"sys/class/thermal/cooling_device{number}/type"] = f"{kind}\n"
        normal = "2" if kind in ("pwm-fan", "hot-surface-alert") else "0"
        files[f"sys/class/thermal/cooling_device{number}/cur_state"] = f"{normal}\n"
    files["sys/class/hwmon/hwmon9/name"] = "soctherm_oc\n"
    for counter, count in (("oc1", 0), ("oc2", 0), ("oc3", 7)):
        files[f"sys/class/hwmon/hwmon9/{counter}_event_cnt"] = f"{count}\n"
        files[f"sys/class/hwmon/hwmon9/{counter}_throt_en"] = "1\n"
    return files


def _sensor(
    root: Path, address: str, driver: str, rails: tuple[tuple[str, Watts], ...], number: str
) -> None:
    """A power monitor where the bus has it, and the class's link to it."""
    folder = root / "sys/bus/i2c/devices" / address / "hwmon" / number
    _write(folder / "name", f"{driver}\n")
    _write(folder / "update_interval", "4\n" if driver == "ina238" else "8\n")
    for channel, (label, (millivolts, milliamperes)) in enumerate(rails, start=1):
        if driver == "ina238":  # has no label, and multiplies itself
            _write(folder / "power1_input", f"{millivolts * milliamperes}\n")
            continue
        _write(folder / f"in{channel}_label", f"{label}\n")
        _write(folder / f"in{channel}_input", f"{millivolts}\n")
        _write(folder / f"curr{channel}_input", f"{milliamperes}\n")
    if driver == "ina3221":
        _write(folder / "samples", "1\n")
        _write(folder / "in7_label", "sum of shunt voltages\n")
        _write(folder / "in7_input", "1\n")
    link = root / "sys/class/hwmon" / number
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(folder)


def _write(path: Path, text: str) -> None:
    """In place and in one step, as the kernel does: a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.resolve()
    draft = target.with_name(f".{target.name}.new")
    draft.write_text(text)
    draft.replace(target)


if __name__ == "__main__":
    shutil.rmtree(sys.argv[2], ignore_errors=True)
    make(sys.argv[1], Path(sys.argv[2]))
