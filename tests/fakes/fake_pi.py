"""Root folders that look like Raspberry Pis: device tree, sysfs, config.txt, and a vcgencmd.

Written from Raspberry Pi's documentation (revision codes, vcgencmd, config.txt) and from outputs
that people published; nothing was taken from a board of ours.
`python tests/fakes/fake_pi.py NAME FOLDER` makes one by hand.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

import fake_board

_SERIAL = "10000000abcdef01"  # must never be kept


@dataclasses.dataclass(frozen=True)
class Board:
    """What differs from board to board, as its own files say it."""

    model: str
    compatible: tuple[str, ...]
    revision: str
    part: str  # of the processor
    features: str
    memory_kb: int
    khz: tuple[int, int, int]  # lowest, now, highest
    kernel: str
    clock: int  # the number of the clock that measure_clock names
    core_v: str
    firmware: str
    settings: str  # of `get_config int`
    config: str
    bits: int = 64
    boot: str = "boot/firmware"
    pmic: bool = False


_ARMV8 = "fp asimd evtstrm crc32 cpuid"
_A76 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop"
_CONFIG = (
    "# For more options see\n# http://rptl.io/configtxt\ndtparam=audio=on\ncamera_auto_detect=1\n"
)

BOARDS = {
    "pi5": Board(
        model="Raspberry Pi 5 Model B Rev 1.0",
        compatible=("raspberrypi,5-model-b", "brcm,bcm2712"),
        revision="d04170", part="0xd0b", features=f"{_A76} asimddp", memory_kb=8252368,
        khz=(1500000, 1500000, 2400000), kernel="6.12.34+rpt-rpi-2712", clock=0, core_v="0.7200",
        firmware="2024/09/23 14:02:56 \nCopyright (c) 2012 Broadcom\n"
        "version 26826259 (release) (embedded)\n",
        settings="arm_boost=1\narm_freq=2400\narm_freq_min=1500\ntotal_mem=8192\n",
        config=f"{_CONFIG}arm_boost=1\n[cm5]\ndtoverlay=dwc2,dr_mode=host\n[all]\n", pmic=True,
    ),
    "pi4": Board(
        model="Raspberry Pi 4 Model B Rev 1.4",
        compatible=("raspberrypi,4-model-b", "brcm,bcm2711"),
        revision="c03114", part="0xd08", features=_ARMV8, memory_kb=3884380,
        khz=(600000, 1500000, 1800000), kernel="6.1.21-v8+", clock=48, core_v="0.8563",
        firmware="Jan  5 2023 10:46:54 \nCopyright (c) 2012 Broadcom\n"
        "version 8ba17717fbcedd4c3b6d4bce7e50c7af4155cba9 (clean) (release) (start)\n",
        settings="arm_boost=1\narm_freq=2000\narm_freq_min=600\nover_voltage=6\n"
        "over_voltage_avs=-20000\ntemp_limit=75\n",
        config=f"{_CONFIG}temp_limit=75\n[pi4]\narm_boost=1\nover_voltage=6\narm_freq=2000\n[all]\n",
        boot="boot",
    ),
    "zero2w": Board(
        model="Raspberry Pi Zero 2 W Rev 1.0",
        compatible=("raspberrypi,model-zero-2-w", "brcm,bcm2837"),
        revision="902120", part="0xd03", features=_ARMV8, memory_kb=427424,
        khz=(600000, 1000000, 1000000), kernel="6.6.20+rpt-rpi-v8", clock=0, core_v="1.2563",
        firmware="2023/10/17 15:42:28 \nCopyright (c) 2012 Broadcom\n"
        "version 30f0c5e4d076da3ab4f341d88e7d505760b93ad7 (clean) (release) (start)\n",
        settings="arm_freq=1000\narm_freq_min=600\nover_voltage_avs=62500\n", config=_CONFIG,
    ),
    "pi3b-plus-32": Board(  # 32-bit programs on the 64-bit kernel that Raspberry Pi OS starts
        model="Raspberry Pi 3 Model B Plus Rev 1.3",
        compatible=("raspberrypi,3-model-b-plus", "brcm,bcm2837"),
        revision="a020d3", part="0xd03", features=_ARMV8, memory_kb=931928,
        khz=(600000, 1400000, 1400000), kernel="6.1.21-v8+", clock=45, core_v="1.3688",
        firmware="Jan  5 2023 10:48:31 \nCopyright (c) 2012 Broadcom\n"
        "version 8ba17717fbcedd4c3b6d4bce7e50c7af4155cba9 (clean) (release) (start)\n",
        settings="arm_freq=1400\narm_freq_min=600\ntemp_soft_limit=65\n",
        config=f"{_CONFIG}temp_soft_limit=65\n", bits=32, boot="boot",
    ),
}  # fmt: skip

# As published of a Raspberry Pi 5 at work: currents and voltages of a rail have unlike numbers, and
# two voltages have no current.
PMIC = """ 3V7_WL_SW_A current(0)=0.09368929A
   3V3_SYS_A current(1)=0.08783370A
   1V8_SYS_A current(2)=0.18054710A
  DDR_VDD2_A current(3)=0.22543980A
  DDR_VDDQ_A current(4)=0.06666720A
   1V1_SYS_A current(5)=0.17566740A
    0V8_SW_A current(6)=0.37670900A
  VDD_CORE_A current(7)=6.22421000A
   3V3_DAC_A current(17)=0.00006105A
   3V3_ADC_A current(18)=0.00036630A
   0V8_AON_A current(16)=0.00305250A
      HDMI_A current(22)=0.02417580A
 3V7_WL_SW_V volt(8)=3.69977600V
   3V3_SYS_V volt(9)=3.31003300V
   1V8_SYS_V volt(10)=1.80512600V
  DDR_VDD2_V volt(11)=1.10476100V
  DDR_VDDQ_V volt(12)=0.60146460V
   1V1_SYS_V volt(13)=1.11025500V
    0V8_SW_V volt(14)=0.80146440V
  VDD_CORE_V volt(15)=0.86173300V
   3V3_DAC_V volt(20)=3.31318300V
   3V3_ADC_V volt(21)=3.30677300V
   0V8_AON_V volt(19)=0.80029220V
      HDMI_V volt(23)=5.08664000V
     EXT5V_V volt(24)=5.09066000V
      BATT_V volt(25)=0.00000000V
"""

_HEAD = '#!/bin/sh\nROOT=$(cd "$(dirname "$0")/../.." && pwd)\n'
_PROGRAMS = {
    "uname": 'case "$1" in -m) echo aarch64 ;; *) exec /usr/bin/uname "$@" ;; esac\n',
    "getconf": '[ "$1" = LONG_BIT ] && cat "$ROOT/var/bits"\n',
    # What it says where /dev/vcio is closed, and where a command is not known.
    "vcgencmd": """[ ! -e "$ROOT/var/closed" ] || {
    echo "Can't open device file: /dev/vcio"
    echo "Try creating a device file with: sudo mknod /dev/vcio c 100 0"; exit 255; }
[ -e "$ROOT/var/firmware/$*" ] || {
    echo "vc_gencmd_read_response returned -1"
    echo 'error=1 error_msg="Command not registered"'; exit 255; }
cat "$ROOT/var/firmware/$*"
""",
}


def make(name: str, root: Path) -> Path:
    """Fill a folder with the files of a board of `BOARDS`; the folder."""
    board = BOARDS[name]
    for path, text in {**_identity(board), **_state(board), **_firmware(board)}.items():
        write(root, path, text)
    for program, text in _PROGRAMS.items():
        write(root, f"usr/bin/{program}", _HEAD + text)
        (root / "usr/bin" / program).chmod(0o755)
    return root


environment = fake_board.environment


def write(root: Path, path: str, text: str) -> None:
    """A file below the root."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def throttled(root: Path, bits: int) -> None:
    """Have the firmware tell these bits."""
    write(root, "var/firmware/get_throttled", f"throttled=0x{bits:x}\n")


def close(root: Path) -> None:
    """Have the firmware closed to the account."""
    write(root, "var/closed", "")


def _identity(board: Board) -> dict[str, str]:
    cores = [
        f"processor\t: {core}\nBogoMIPS\t: 108.00\nFeatures\t: {board.features}\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\n"
        f"CPU part\t: {board.part}\nCPU revision\t: 1\n"
        for core in range(4)
    ]
    last = f"Revision\t: {board.revision}\nSerial\t\t: {_SERIAL}\nModel\t\t: {board.model}\n"
    return {
        "proc/device-tree/model": f"{board.model}\0",
        "proc/device-tree/compatible": "\0".join(board.compatible) + "\0",
        "proc/device-tree/serial-number": f"{_SERIAL}\0",
        "proc/cpuinfo": "\n".join([*cores, last]),
        "proc/meminfo": f"MemTotal:       {board.memory_kb} kB\nMemAvailable:    300000 kB\n",
        "proc/sys/kernel/osrelease": f"{board.kernel}\n",
        "proc/loadavg": "0.12 0.10 0.09 1/512 4242\n",
        "proc/stat": "cpu  100 0 100 10000 10 0 1 0 0 0\n",
        f"{board.boot}/config.txt": board.config,
        "var/bits": f"{board.bits}\n",
    }


def _state(board: Board) -> dict[str, str]:
    low, now, high = board.khz
    files = {
        "sys/devices/system/cpu/online": "0-3\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "48312\n",
        "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical\n",
        "sys/class/thermal/thermal_zone0/trip_point_0_temp": "110000\n",
        "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
        "sys/class/hwmon/hwmon0/temp1_input": "48312\n",
        "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
        "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
    }
    for core in range(4):
        folder = f"sys/devices/system/cpu/cpu{core}/cpufreq"
        files[f"{folder}/scaling_governor"] = "ondemand\n"
        files[f"{folder}/scaling_driver"] = "cpufreq-dt\n"
        files[f"{folder}/scaling_min_freq"] = f"{low}\n"
        files[f"{folder}/scaling_cur_freq"] = f"{now}\n"
        files[f"{folder}/scaling_max_freq"] = f"{high}\n"
        files[f"{folder}/cpuinfo_max_freq"] = f"{high}\n"
    return files


def _firmware(board: Board) -> dict[str, str]:
    folder, hertz = "var/firmware", board.khz[1] * 1000 + 16384  # measured, so never quite round
    files = {
        f"{folder}/get_throttled": "throttled=0x0\n",
        f"{folder}/measure_temp": "temp=48.3'C\n",
        f"{folder}/measure_clock arm": f"frequency({board.clock})={hertz}\n",
        f"{folder}/measure_volts core": f"volt={board.core_v}V\n",
        f"{folder}/version": board.firmware,
        f"{folder}/get_config int": board.settings,
    }
    return {**files, **({f"{folder}/pmic_read_adc": PMIC} if board.pmic else {})}


if __name__ == "__main__":
    shutil.rmtree(sys.argv[2], ignore_errors=True)
    make(sys.argv[1], Path(sys.argv[2]))
