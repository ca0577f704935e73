"""Every finding of the doctor: how bad it is, what it says, why it matters, what mends it.

A finding is data; its words live here, once. This file is longer than 400 lines because each
finding stands in it with all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

SCHEMA = 1  # of a diagnosis as JSON

Severity = Literal["impossible", "untrustworthy", "hint"]
# What `nnprof doctor` ends with, by the worst that it found.
EXIT_CODES: Mapping[Severity | None, int] = {
    None: 0,
    "hint": 0,
    "untrustworthy": 1,
    "impossible": 2,
}


class Text(NamedTuple):
    """The words of a finding; `{names}` are filled from its data.

    `command` is to be typed where the finding is, but for commands of nnprof; `advice` is what no
    command does.
    """

    severity: Severity
    found: str
    why: str
    command: str = ""
    advice: str = ""


_PIP = "{executable} -m pip"

# The worst first; within a severity what is looked at first.
TEXTS: dict[str, Text] = {
    "runtime_unavailable": Text(
        "impossible",
        "{backend} cannot be used: {reason}",
        "nothing can be measured with it",
        advice="{remedy}",
    ),
    "processors_held": Text(
        "impossible",
        "Another nnprof measures on the processors that we would take: {who}.",
        "two would time each other, so the second is refused",
        "nnprof bench --wait {device}",
    ),
    "python_old": Text(
        "impossible",
        "{executable} is Python {python}, and nnprof needs 3.10.",
        "no worker of ours can run there",
        "nnprof bench {device} --backend {driven}",
        "Or name a newer Python of that machine in devices.toml.",
    ),
    "gpu_closed": Text(
        "impossible",
        "This account may not use {file} (group {group}).",
        "no runtime can start on the GPU",
        'sudo usermod -aG {group} "$USER"',
        "Then log in again.",
    ),
    "disk_full": Text(
        "impossible",
        "{folder} has {free} left.",
        "models and Runs cannot be written",
        "du -xh --max-depth=2 {folder} | sort -h | tail",
        "Remove what is not needed.",
    ),
    "emulated": Text(
        "untrustworthy",
        "Programs run in an emulator: the machine says {architecture}, and /proc/cpuinfo tells of "
        "another kind of processor.",
        "times are the emulator's, and say nothing of the device",
        advice="Measure on the device itself.",
    ),
    "governor": Text(
        "untrustworthy",
        "The frequency governor is '{governor}'.",
        "the clock follows the load, and short inferences see a low one",
        "sudo cpupower frequency-set -g performance",
    ),
    "clocks_free": Text(
        "untrustworthy",
        "The board's clocks are not locked: {clocks}.",
        "they follow the load, and short inferences see low ones",
        "sudo jetson_clocks",
    ),
    "load": Text(
        "untrustworthy",
        "Other programs keep {processors:.1f} processors busy{who}.",
        "they take processors, caches, memory and the clocks' budget",
        "nnprof bench --patient 60 {device}",
        "That waits for their end; or stop them.",
    ),
    "sibling_busy": Text(
        "untrustworthy",
        "Processor {sibling}, the other thread of processor {processor}'s core, is {share:.0%} "
        "busy.",
        "both share one core, which is then about half as fast",
        "nnprof bench --patient 60 {device}",
        "That waits for quiet; or stop what runs there.",
    ),
    "measured_beside": Text(
        "untrustworthy",
        "Another nnprof measures here: {who}.",
        "caches, memory and clocks are shared",
        advice="Wait for its end.",
    ),
    "stolen_time": Text(
        "untrustworthy",
        "The hypervisor took {share:.1%} of the processors' time away.",
        "a sample that it interrupts is too long",
        "nnprof bench --rigorous {device}",
        "More processes help; a machine of your own helps more.",
    ),
    "quota_short": Text(
        "untrustworthy",
        "A cgroup gives us {quota:.3g} processors' worth of time, and {threads} threads want more.",
        "the kernel stops us for the rest of each period once that is used up",
        "{command}",
        "In a container: start it without --cpus.",
    ),
    "quota_stops": Text(
        "untrustworthy",
        "A cgroup's quota stopped programs {times} times in {seconds:.1f} s.",
        "a stopped sample is longer than the network takes",
        "{command}",
        "In a container: start it without --cpus.",
    ),
    "isolated_crowd": Text(
        "untrustworthy",
        "{threads} threads would run on isolated processors ({isolated}).",
        "the kernel does not spread threads there: all may run on one",
        "nnprof bench --threads 1 {device}",
    ),
    "memory_low": Text(
        "untrustworthy",
        "{available} of {total} memory are left.",
        "the machine begins to swap, or to end programs",
        "ps -eo pid,rss,comm --sort=-rss | head",
        "End what is not needed.",
    ),
    "swapping": Text(
        "untrustworthy",
        "{pages} pages moved to or from swap ({where}) in {seconds:.1f} s.",
        "an inference waits for pages, and zram takes a processor to pack them",
        "ps -eo pid,rss,comm --sort=-rss | head",
        "End what is not needed, then: sudo swapoff -a && sudo swapon -a",
    ),
    "throttling": Text(
        "untrustworthy",
        "The machine is slowed right now: {alerts}.",
        "the clock is lower than the one asked for",
        advice="Let it cool; improve cooling or supply.",
    ),
    "throttled_now": Text(
        "untrustworthy",
        "Throttle counters rose by {events} within {seconds:.1f} s.",
        "the clock is lowered again and again",
        advice="Let it cool; improve cooling or supply.",
    ),
    "hot": Text(
        "untrustworthy",
        "{sensor} is at {temperature_c:.0f} °C, and is slowed from {limit_c:.0f} °C.",
        "work of a minute may reach that, and the clock falls in the middle of it",
        advice="Let it cool; improve the cooling.",
    ),
    "under_voltage": Text(
        "untrustworthy",
        "The supply's voltage was too low: {told}.",
        "the board lowers its clocks to survive that",
        advice="Use {supply}, and a short cable.",
    ),
    "gpu_shared": Text(
        "untrustworthy",
        "Other programs use the GPU: {who}.",
        "kernels wait for theirs",
        "nvidia-smi",
        "End them.",
    ),
    "both_builds": Text(
        "untrustworthy",
        "onnxruntime and onnxruntime-gpu are both installed ({versions}).",
        "they overwrite each other's files, and which one runs is chance",
        f"{_PIP} uninstall -y onnxruntime onnxruntime-gpu && {_PIP} install {{wanted}}",
    ),
    "python_unfit": Text(
        "untrustworthy",
        "{executable} is Python {python}; JetPack {jetpack} is made for {fits}.",
        "its TensorRT and wheels for its GPU do not load",
        "python{fits} -m venv --system-site-packages ~/nnprof/.venv",
        "Then install nnprof there, and name that Python in devices.toml.",
    ),
    "tensorrt_differs": Text(
        "untrustworthy",
        "Python's TensorRT is {wheel}, the board's {system}.",
        "engines of one do not load in the other, and trtexec times another one",
        f"{_PIP} uninstall -y tensorrt",
        "A venv with --system-site-packages sees the board's own.",
    ),
    "debug_build": Text(
        "untrustworthy",
        "{executable} is a debug build of Python.",
        "every call is slowed",
        advice="Use a release build.",
    ),
    "clock_off": Text(
        "untrustworthy",
        "Its clock says {there}, ours {here}.",
        "files get wrong dates, and downloads fail on certificates",
        "sudo date -s @{now}",
        "For good: sudo timedatectl set-ntp true",
    ),
    "clock_past": Text(
        "untrustworthy",
        "The clock says {there}.",
        "Runs get wrong dates, and downloads fail on certificates",
        "sudo timedatectl set-ntp true",
    ),
    "power_mode": Text(
        "hint",
        "The power mode is {mode}; the board's fullest is {fullest}.",
        "clocks and cores are capped: numbers are of this mode alone",
        "sudo nvpmodel -m {number}",
        "Or for one Run: nnprof bench --power-mode {fullest}",
    ),
    "turbo": Text(
        "hint",
        "Turbo is on.",
        "the clock depends on heat and on what other cores do",
        "{command}",
    ),
    "clock_capped": Text(
        "hint",
        "The clock is capped at {allowed:.0f} MHz of {most:.0f} MHz.",
        "numbers are lower than the machine can do",
        "sudo cpupower frequency-set -u {most:.0f}MHz",
    ),
    "over_current": Text(
        "hint",
        "Over-current events since boot: {told}.",
        "each lowers the clocks for a moment; a Run notes new ones",
        advice="A stronger supply, or a lower power mode, has fewer.",
    ),
    "throttled_before": Text(
        "hint",
        "The machine was slowed since boot: {told}.",
        "it may happen again under load; a Run notes it",
        advice="Improve the cooling or the supply.",
    ),
    "swap_used": Text(
        "hint",
        "{used} lie in swap ({where}).",
        "what is used again has to be brought back first",
        "sudo swapoff -a && sudo swapon -a",
    ),
    "quota_wide": Text(
        "hint",
        "A cgroup gives us {quota:.3g} of {processors} processors' time.",
        "more threads than that are stopped",
        advice="In a container: start it without --cpus.",
    ),
    "fewer_processors": Text(
        "hint",
        "We may use processors {ours} of {all}.",
        "no Run has more threads, and the best cores may be missing",
        "{command}",
        "In a container: start it without --cpuset-cpus.",
    ),
    "isolated_unused": Text(
        "hint",
        "Processors {isolated} are isolated from other programs, and we would not use them.",
        "they are the quietest ones",
        "taskset -c {isolated} nnprof bench {device}",
    ),
    "virtual": Text(
        "hint",
        "This is a virtual machine.",
        "clocks, heat and neighbours cannot be seen from here",
        "nnprof bench --rigorous {device}",
    ),
    "logged_in": Text(
        "hint",
        "Others are logged in: {who}.",
        "they may start something",
        "loginctl list-sessions",
        "Ask them.",
    ),
    "no_gpu_provider": Text(
        "hint",
        "ONNX Runtime {version} has no library for the {gpu} here.",
        "networks run on the processors",
        "{command}",
    ),
    "runtime_differs": Text(
        "hint",
        "ONNX Runtime is {there} there and {here} here; Python 3.10 gets none after 1.23.2.",
        "another version has other kernels: the two machines do not compare",
        "python -m pip install onnxruntime=={there}",
        "Type it here.",
    ),
    "persistence": Text(
        "hint",
        "The GPU's persistence mode is off.",
        "the driver starts anew for each process, and clocks fall",
        "sudo nvidia-smi -pm 1",
    ),
    "firmware_closed": Text(
        "hint",
        "This account may not ask the board's firmware (vcgencmd).",
        "a supply that is too weak, and clocks that are lowered, cannot be seen",
        'sudo usermod -aG video "$USER"',
        "Then log in again.",
    ),
    "userland_32": Text(
        "hint",
        "Programs have 32 bits here, on a processor and a kernel of 64.",
        "runtimes have few builds and slower code for them: numbers are not those of the board",
        advice="Install the 64-bit Raspberry Pi OS.",
    ),
    "sensors_closed": Text(
        "hint",
        "{count} sensors are not open to this account, such as {file} (group {group}).",
        "Runs have no power or temperature from them",
        "sudo chmod a+r {files}",
        'For good: echo \'SUBSYSTEM=="hwmon", RUN+="/bin/chmod -R a+rX /sys%p"\' | sudo tee '
        "/etc/udev/rules.d/90-nnprof.rules",
    ),
    "disk_low": Text(
        "hint",
        "{folder} has {free} of {total} left.",
        "a long Run keeps its models and samples there",
        "du -xh --max-depth=2 {folder} | sort -h | tail",
    ),
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that spoils or forbids numbers, or may.

    Attributes:
        code: its name in `TEXTS`.
        severity: impossible, untrustworthy or hint.
        found: what was read, in a sentence.
        why: why that matters, in half a sentence.
        command: what mends it, to be copied; empty where no command does.
        advice: what else to do; may be empty.
        data: the figures that were read.
    """

    code: str
    severity: Severity
    found: str
    why: str
    command: str = ""
    advice: str = ""
    data: dict[str, Any] = {}


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """What could not be looked at, and because of what."""

    what: str
    because: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found of a place, the worst first, and what could not be looked at."""

    schema: int = SCHEMA
    nnprof: str
    host: str
    device: str
    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...]
    on: str = ""

    @property
    def severity(self) -> Severity | None:
        """The worst; None where nothing was found."""
        return self.findings[0].severity if self.findings else None

    @property
    def exit_code(self) -> int:
        """What the command ends with: 0, 1 (untrustworthy) or 2 (impossible)."""
        return EXIT_CODES[self.severity]


def finding(code: str, **data: Any) -> Finding:
    """A finding with its words; `data` fills them."""
    text = TEXTS[code]
    return Finding(
        code=code,
        severity=text.severity,
        found=text.found.format(**data),
        why=text.why.format(**data),
        command=text.command.format(**data).strip(),
        advice=text.advice.format(**data),
        data=data,
    )


def rank(code: str) -> int:
    """Where a finding stands among all, the worst first."""
    return list(TEXTS).index(code)
