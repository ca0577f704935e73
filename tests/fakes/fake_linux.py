"""Root folders in which nothing spoils a measurement: computer, Jetson, Raspberry Pi; and time.

Written from the kernel's documentation and proc(5). What a test plants is one file of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import fake_board
import fake_pi

_CPU = "sys/devices/system/cpu"
_TICKS = 200  # of each processor while the doctor waits: two seconds
PID = 4242  # of a program that sleeps


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write files below a root; each is what its path says."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def computer(root: Path) -> Path:
    """Two cores of two threads, held at 3 GHz, cool, idle, with a gigabyte to spare."""
    write(root, _moving(4))
    cores = {0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}
    for number, threads in cores.items():
        clocks = f"{_CPU}/cpu{number}/cpufreq"
        files = {
            f"{_CPU}/cpu{number}/topology/thread_siblings_list": threads,
            f"{_CPU}/cpu{number}/thermal_throttle/core_throttle_count": "0",
            f"{clocks}/scaling_governor": "performance",
            f"{clocks}/scaling_driver": "intel_pstate",
            f"{clocks}/scaling_min_freq": "800000",
            f"{clocks}/scaling_cur_freq": "3000000",
            f"{clocks}/scaling_max_freq": "3000000",
            f"{clocks}/cpuinfo_max_freq": "3000000",
        }
        write(root, files)
    write(
        root,
        {
            f"{_CPU}/online": "0-3\n",
            f"{_CPU}/isolated": "\n",
            f"{_CPU}/intel_pstate/no_turbo": "1\n",
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: avx2 fma\n",
            "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
            "sys/class/thermal/thermal_zone0/temp": "45000\n",
            "sys/class/thermal/thermal_zone0/trip_point_0_type": "passive\n",
            "sys/class/thermal/thermal_zone0/trip_point_0_temp": "95000\n",
            "sys/class/thermal/thermal_zone0/trip_point_1_type": "passive\n",
            "sys/class/thermal/thermal_zone0/trip_point_1_temp": "0\n",  # a placeholder
        },
    )
    _programs(root)
    return root


def jetson(root: Path) -> Path:
    """An Orin Nano with JetPack 6 in its fullest mode, with locked clocks and quiet counters."""
    fake_board.make("orin-nano-jp6", root)
    write(root, _moving(6))
    write(root, {"var/lib/nvpmodel/status": "pmode:0002\n"})
    write(root, {"sys/class/hwmon/hwmon9/oc3_event_cnt": "0\n"})
    for path in root.glob("sys/class/devfreq/*/min_freq"):
        path.write_text(path.with_name("max_freq").read_text())
    for path in root.glob(f"{_CPU}/cpu*/cpufreq/scaling_min_freq"):
        path.write_text(path.with_name("scaling_max_freq").read_text())
    _programs(root)
    return root


def raspberry_pi(root: Path) -> Path:
    """A Raspberry Pi 5 held at its clock, with a supply that is strong enough."""
    fake_pi.make("pi5", root)
    write(root, _moving(4))
    for path in root.glob(f"{_CPU}/cpu*/cpufreq/scaling_governor"):
        path.write_text("performance")
    _programs(root)
    return root


def environment(root: Path) -> dict[str, str]:
    """Variables with which nnprof takes the folder for `/`."""
    return fake_board.environment(root)


def _moving(cores: int) -> dict[str, str]:
    """What the kernel counts, and whose processes there are."""
    line = "1000 0 500 90000 100 0 10 0 0 0"
    return {
        "proc/stat": "\n".join([f"cpu {line}", *(f"cpu{one} {line}" for one in range(cores))]),
        "proc/loadavg": "0.01 0.02 0.00 1/200 4242\n",
        "proc/vmstat": "pswpin 0\npswpout 0\n",
        "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
        "proc/meminfo": "MemTotal:       8000000 kB\nMemAvailable:    6000000 kB\n",
        f"proc/{PID}/stat": f"{PID} (make all) S 1 1 1 0 -1 0 0 0 0 0 50 20 0 0 20 0 1 0 5 0\n",
        f"proc/{PID}/status": "Name:\tmake all\nUid:\t1001\t1001\t1001\t1001\n",
        "proc/self/status": f"Uid:\t1000\t1000\nCpus_allowed_list:\t0-{cores - 1}\n",
        "proc/self/cgroup": "0::/user.slice/session-2.scope\n",
        "proc/locks": "",
        "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
        "etc/passwd": "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/:/bin/sh\n"
        "bob:x:1001:1001::/:/bin/sh\n",
        "run/systemd/sessions/2": "UID=1000\nUSER=me\nCLASS=user\n",
    }


def _programs(root: Path) -> None:
    """Programs whose answers would otherwise be of the machine that tests."""
    program(root, "df", "echo F\necho disk 100000000 1000000 90000000 2% /")
    program(root, "nvidia-smi", ":")


def program(root: Path, name: str, script: str) -> None:
    """Have a program of the folder answer that."""
    write(root, {f"usr/bin/{name}": f"#!/bin/sh\n{script}\n"})
    (root / "usr/bin" / name).chmod(0o755)


def pause(
    root: Path,
    *,
    busy: Mapping[int, int] | None = None,
    stolen: int = 0,
    files: Mapping[str, str] | None = None,
) -> Callable[[float], None]:
    """Passes two seconds of the kernel's clock, with ticks of work by processor and of theft."""

    def wait(_: float) -> None:
        lines = (root / "proc/stat").read_text().split("\n")
        rows = {line.split()[0]: list(map(int, line.split()[1:])) for line in lines if line}
        for number in range(len(rows) - 1):
            ticks = (busy or {}).get(number, 0)
            for name in ("cpu", f"cpu{number}"):
                rows[name][0] += ticks
                rows[name][3] += _TICKS - ticks - stolen
                rows[name][7] += stolen
        text = "\n".join(" ".join([name, *map(str, row)]) for name, row in rows.items())
        write(root, {"proc/stat": text, **(files or {})})

    return wait
