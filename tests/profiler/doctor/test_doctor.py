"""Faults planted in the files of a machine are found, and nothing is found where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fake_linux
import pytest
from fake_linux import PID, pause, write
from msgspec.structs import replace

from nnprof.profiler.devices.snapshot import Closed
from nnprof.profiler.doctor import examine, findings, seen
from nnprof.profiler.doctor.findings import Diagnosis
from nnprof.profiler.doctor.seen import Disk, Seen
from nnprof.profiler.place.installed import Installed
from nnprof.types import Target

pytestmark = pytest.mark.usefixtures("workers_here")

FAKE = Target(backend="fake")
CPU = "sys/devices/system/cpu"
Wait = Callable[[float], None]
Plant = Callable[[Path], "Wait | None"]


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ordinary computer that stands in for `/`."""
    root = fake_linux.computer(tmp_path / "pc")
    for name, value in fake_linux.environment(root).items():
        monkeypatch.setenv(name, value)
    return root


@pytest.fixture
def jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Jetson that stands in for `/`."""
    root = fake_linux.jetson(tmp_path / "jetson")
    for name, value in fake_linux.environment(root).items():
        monkeypatch.setenv(name, value)
    return root


def visit(root: Path, target: Target = FAKE, wait: Wait | None = None) -> Diagnosis:
    """What is found of a root folder."""
    return examine.judged(seen.look(target, wait or pause(root)))


def codes(told: Diagnosis) -> list[str]:
    """The names of what was found."""
    return [one.code for one in told.findings]


def put(path: str, text: str) -> Plant:
    """Plants a file."""

    def plant(root: Path) -> None:
        write(root, {path: text})

    return plant


def later(**more: object) -> Plant:
    """Plants what happens meanwhile; see `fake_linux.pause`."""

    def plant(root: Path) -> Wait:
        return pause(root, **more)  # type: ignore[arg-type]

    return plant


def answer(program: str, script: str) -> Plant:
    """Plants a program's answer."""

    def plant(root: Path) -> None:
        fake_linux.program(root, program, script)

    return plant


def answer_firmware(question: str, text: str) -> Plant:
    """Plants what the firmware of a Raspberry Pi answers."""
    return put(f"var/firmware/{question}", f"{text}\n")


def turbo(root: Path) -> None:
    """Turbo that the driver of other makers has."""
    (root / f"{CPU}/intel_pstate/no_turbo").unlink()
    write(root, {f"{CPU}/cpufreq/boost": "1"})


def isolated(root: Path) -> None:
    """Two processors of four that nobody uses."""
    status = "Uid:\t1000\nCpus_allowed_list:\t0-1\n"
    write(root, {f"{CPU}/isolated": "2-3\n", "proc/self/status": status})


def zram(root: Path) -> Wait:
    """A swap of compressed memory that is used right now."""
    write(root, {"proc/swaps": "Filename Type Size Used Priority\n/dev/zram0 partition 9 8 5\n"})
    return pause(root, files={"proc/vmstat": "pswpin 300\npswpout 20\n"})


BUSY = f"{PID} (make all) R 1 1 1 0 -1 0 0 0 0 0 220 20 0 0 20 0 1 0 5 0\n"
CLOCKS = f"{CPU}/cpu3/cpufreq"
ZONE = "sys/class/thermal/thermal_zone0/temp"
COUNT = "thermal_throttle/core_throttle_count"
MEMORY = "MemTotal: 8000000 kB\nMemAvailable: 400000 kB"
GPU = "proc/driver/nvidia/gpus/0/information"
MODE = "var/lib/nvpmodel/status"
PC_FAULTS: list[tuple[str, str, Plant]] = [
    ("governor", "'performance, powersave'", put(f"{CLOCKS}/scaling_governor", "powersave")),
    ("turbo", "Turbo is on", put(f"{CPU}/intel_pstate/no_turbo", "0")),
    ("turbo", "Turbo is on", turbo),
    ("clock_capped", "2000 MHz of 3000", put(f"{CPU}/cpu2/cpufreq/scaling_max_freq", "2000000")),
    ("load", "0.9 processors busy: make all (process 4242 of bob) 85%",
     later(busy={0: 170, 1: 10}, files={f"proc/{PID}/stat": BUSY})),
    ("sibling_busy", "Processor 3, the other thread of processor 2", later(busy={3: 30})),
    ("stolen_time", "5.0%", later(stolen=10)),
    ("logged_in", "bob", put("run/systemd/sessions/7", "UID=1001\nUSER=bob\nCLASS=user\n")),
    ("quota_short", "0.5 processors", put("sys/fs/cgroup/user.slice/cpu.max", "50000 100000")),
    ("quota_wide", "2 of 4", put("sys/fs/cgroup/user.slice/cpu.max", "200000 100000")),
    ("fewer_processors", "0-1 of 0-3", put("proc/self/status", "Cpus_allowed_list:\t0-1\n")),
    ("isolated_unused", "Processors 2-3", isolated),
    ("memory_low", "391 MiB of 7.6 GiB", put("proc/meminfo", MEMORY)),
    ("swapping", "320 pages moved to or from swap (/dev/zram0, zram)", zram),
    ("swap_used", "977 MiB", put("proc/swaps", "Filename\n/swapfile file 2000000 1000000 -2\n")),
    ("hot", "x86_pkg_temp is at 93", put("sys/class/thermal/thermal_zone0/temp", "93000")),
    ("throttled_before", "cpu1 12 times", put(f"{CPU}/cpu1/{COUNT}", "12")),
    ("throttled_now", "rose by 3", later(files={f"{CPU}/cpu0/{COUNT}": "3"})),
    ("under_voltage", "now", answer("vcgencmd", "echo throttled=0x1")),
    ("throttling", "capped clock", answer("vcgencmd", "echo throttled=0x2")),
    ("gpu_shared", "/usr/bin/game (process 77)", answer("nvidia-smi", "echo 77, /usr/bin/game")),
    ("clock_past", "1970-01-01 00:02", answer("date", "echo 120")),
    ("disk_full", "10 MiB", answer("df", "echo F\necho disk 100000000 1 10240 99% /")),
    ("disk_low", "500 MiB of 95.4 GiB", answer("df", "echo F\necho disk 100000000 1 512000 99% /")),
    ("virtual", "virtual machine", put("proc/cpuinfo", "flags\t\t: fma hypervisor\n")),
    ("no_gpu_provider", "NVIDIA RTX", put(GPU, "Model: \t NVIDIA RTX\n")),
]  # fmt: skip


def test_nothing_on_a_clean_computer(computer: Path) -> None:
    """An idle computer at one clock has no finding, and each thing could be looked at."""
    told = visit(computer)
    assert (codes(told), told.unknown, told.exit_code) == ([], (), 0)


@pytest.mark.parametrize(("code", "words", "plant"), PC_FAULTS)
def test_faults_of_a_computer(code: str, words: str, plant: Plant, computer: Path) -> None:
    """A planted fault is found, with the figure that was read, and so are no others but its own."""
    told = visit(computer, wait=plant(computer))
    beside = {"sibling_busy"} if code == "load" else set()
    assert set(codes(told)) - beside == {code}
    (found,) = (one for one in told.findings if one.code == code)
    assert words in found.found
    assert found.command or found.advice
    assert told.exit_code == findings.EXIT_CODES[told.findings[0].severity]


JETSON_FAULTS: list[tuple[str, str, Plant]] = [
    ("power_mode", "15W; the board's fullest is MAXN_SUPER", put(MODE, "pmode:0000")),
    ("throttling", "gpu-throttle-alert", put("sys/class/thermal/cooling_device3/cur_state", "1")),
    ("over_current", "oc3 7 times", put("sys/class/hwmon/hwmon9/oc3_event_cnt", "7")),
    ("under_voltage", "2 times since boot (oc1)", put("sys/class/hwmon/hwmon9/oc1_event_cnt", "2")),
    ("clocks_free", "gpu 306 MHz now", put("sys/class/devfreq/17000000.gpu/min_freq", "306000000")),
]  # fmt: skip


@pytest.fixture
def driven(jetson: Path, install_trtexec: Callable[..., Path]) -> Target:
    """A target on the Jetson whose runtime is a program."""
    path = install_trtexec(jetson / "usr/src/tensorrt/bin")
    return Target(backend="trtexec", device="jetson", options={"trtexec": str(path)})


def test_nothing_on_a_clean_jetson(jetson: Path, driven: Target) -> None:
    """A Jetson in its fullest mode with locked clocks has no finding."""
    told = visit(jetson, driven)
    assert (codes(told), told.unknown, told.exit_code) == ([], (), 0)


@pytest.mark.parametrize(("code", "words", "plant"), JETSON_FAULTS)
def test_faults_of_a_jetson(
    code: str, words: str, plant: Plant, jetson: Path, driven: Target
) -> None:
    """A fault planted on a Jetson is found with its figure; a free clock lets its governor show."""
    told = visit(jetson, driven, plant(jetson))
    beside = {"governor"} if code == "clocks_free" else set()
    assert set(codes(told)) - beside == {code}
    assert words in next(one.found for one in told.findings if one.code == code)


PI_FAULTS: list[tuple[str, str, Plant]] = [
    ("under_voltage", "now, at 5.09 V", answer_firmware("get_throttled", "throttled=0x1")),
    ("under_voltage", "since boot", answer_firmware("get_throttled", "throttled=0x10000")),
    ("under_voltage", "now", put("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1")),
    ("throttling", "soft temperature limit", answer_firmware("get_throttled", "throttled=0x8")),
    ("throttled_before", "capped clock", answer_firmware("get_throttled", "throttled=0x20000")),
    ("governor", "ondemand, performance", put(f"{CLOCKS}/scaling_governor", "ondemand")),
    ("hot", "the chip is at 79 °C, and is slowed from 80", put(ZONE, "79000")),
    ("firmware_closed", "may not ask", put("var/closed", "")),
    ("userland_32", "32 bits", put("var/bits", "32")),
]  # fmt: skip


@pytest.fixture
def raspberry_pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Raspberry Pi 5 that stands in for `/`."""
    root = fake_linux.raspberry_pi(tmp_path / "pi")
    for name, value in fake_linux.environment(root).items():
        monkeypatch.setenv(name, value)
    return root


def test_nothing_on_a_clean_raspberry_pi(raspberry_pi: Path) -> None:
    """A Raspberry Pi held at its clock has no finding, and everything could be looked at."""
    told = visit(raspberry_pi)
    assert (codes(told), told.unknown, told.exit_code) == ([], (), 0)


@pytest.mark.parametrize(("code", "words", "plant"), PI_FAULTS)
def test_faults_of_a_raspberry_pi(code: str, words: str, plant: Plant, raspberry_pi: Path) -> None:
    """A fault planted on a Raspberry Pi is found, and no other; which supply to have is said."""
    told = visit(raspberry_pi, wait=plant(raspberry_pi))
    assert codes(told) == [code]
    assert words in told.findings[0].found
    if code == "under_voltage":
        assert "5 V and 5 A" in told.findings[0].advice


def test_a_runtime_that_is_not_there(jetson: Path) -> None:
    """A Jetson without trtexec cannot measure with it: impossible, exit code 2, with the remedy."""
    told = visit(jetson, Target(backend="trtexec", device="jetson"))
    assert codes(told) == ["runtime_unavailable"]
    assert told.exit_code == 2
    assert told.findings[0].advice


@pytest.fixture
def calm(computer: Path) -> Seen:
    """What is seen of a clean computer."""
    return seen.look(FAKE, pause(computer))


ORIN = {"jetpack": "6.2", "family": "Orin", "tensorrt_version": "10.3.0.30"}
PYTHON = Installed(python="3.10", executable="/v/bin/python", providers=("cuda",))
BOTH = {"onnxruntime": "1.23.2", "onnxruntime-gpu": "1.23.0"}
WHEELS: list[tuple[list[str], Installed]] = [
    ([], PYTHON),
    (["python_unfit"], replace(PYTHON, python="3.12")),
    (["python_old"], replace(PYTHON, python="3.8")),
    (["tensorrt_differs"], replace(PYTHON, packages={"tensorrt": "10.9.1"})),
    ([], replace(PYTHON, packages={"tensorrt": "10.3.0"})),
    (["both_builds"], replace(PYTHON, packages=BOTH)),
    (["no_gpu_provider"], replace(PYTHON, providers=(), packages={"onnxruntime": "1.23.2"})),
    (["debug_build"], replace(PYTHON, debug=True)),
]


@pytest.mark.parametrize(("expected", "there"), WHEELS)
def test_python_of_a_jetpack(expected: list[str], there: Installed, calm: Seen) -> None:
    """JetPack 6.2 wants Python 3.10, its own TensorRT, one build of ONNX Runtime for its GPU."""
    told = examine.judged(replace(calm, facts={**calm.facts, **ORIN}, installed=there))
    assert codes(told) == expected


@pytest.mark.parametrize("packages", [{}, {"onnxruntime": "1.23.2"}])
def test_what_only_a_gpu_needs(packages: dict[str, str], calm: Seen) -> None:
    """Who asks for a Jetson's processors needs neither JetPack's Python nor a build for its GPU."""
    there = replace(PYTHON, python="3.12", providers=(), packages=packages)
    target = Target(backend="fake", device="jetson", on="cpu")
    told = replace(calm, target=target, facts={**calm.facts, **ORIN}, installed=there)
    assert not {"python_unfit", "no_gpu_provider"} & {*codes(examine.judged(told))}
    both = {"python_unfit", *(["no_gpu_provider"] if packages else [])}
    told = replace(told, target=replace(target, on="gpu"))
    assert both <= {*codes(examine.judged(told))}


def test_wheels_of_jetpack_are_named(calm: Seen) -> None:
    """The command that brings the GPU's build names the index of that JetPack."""
    there = replace(PYTHON, providers=(), packages={"onnxruntime": "1.23.2"})
    told = examine.judged(replace(calm, facts={**calm.facts, **ORIN}, installed=there))
    assert "--index-url https://pypi.jetson-ai-lab.io/jp6/cu126" in told.findings[0].command


def test_who_measures_beside(calm: Seen) -> None:
    """Another nnprof on our processors makes it impossible, one on others untrustworthy."""
    told = examine.judged(replace(calm, ours=("process 7",), beside=("process 8",)))
    assert codes(told) == ["processors_held", "measured_beside"]
    assert told.exit_code == 2


def test_files_that_are_closed_to_us(calm: Seen) -> None:
    """A GPU's file that is closed to us is impossible, a sensor's a hint, each with its group.

    Where processors compute, nobody opens the GPU.
    """
    gpu, rail = Closed("/dev/nvmap", "video"), Closed("/sys/class/hwmon/hwmon1/in1_input", "root")
    closed = replace(calm, closed_gpu=(gpu,), closed_sensors=(rail,))
    assert codes(examine.judged(closed)) == ["sensors_closed"]
    told = examine.judged(replace(closed, target=Target(backend="fake", device="jetson")))
    assert codes(told) == ["gpu_closed", "sensors_closed"]
    assert told.findings[0].command == 'sudo usermod -aG video "$USER"'
    assert told.findings[1].command == f"sudo chmod a+r {rail.path}"


def test_an_emulator_is_named(calm: Seen) -> None:
    """Where programs run in an emulator, times are untrustworthy, and the doctor says why."""
    facts = {**calm.facts, "emulated": True, "architecture": "aarch64"}
    told = examine.judged(replace(calm, facts=facts))
    assert codes(told) == ["emulated"]
    assert told.exit_code == 1
    assert "the machine says aarch64" in told.findings[0].found


def test_threads_on_isolated_processors(calm: Seen) -> None:
    """Several threads that may run on isolated processors only would share one."""
    texts = {**calm.before, f"/{CPU}/isolated": "0-3"}
    two = replace(calm, before=texts, target=replace(FAKE, threads=2))
    assert codes(examine.judged(two)) == ["isolated_crowd"]
    assert codes(examine.judged(replace(calm, before=texts))) == []


def test_what_is_on_a_board_is_typed_there(calm: Seen) -> None:
    """A board's command goes there by ssh, quoted; one of nnprof, or for our disk, stays here."""
    status = {"/run/systemd/sessions/7": "UID=1001\nUSER=bob", "/proc/swaps": "F\n/s f 9 99999 1"}
    there = replace(
        calm, before={**calm.before, **status}, disks=(Disk("/cwd", 1, 2),),
        target=replace(FAKE, host="ssh://me@b:22"), way="ssh -p 22 me@b", installed_here=PYTHON,
        now_s=float(calm.before[seen.DATE]),
    )  # fmt: skip
    told = {one.code: one.command for one in examine.judged(there).findings}
    assert told["swap_used"] == "ssh -t -p 22 me@b 'sudo swapoff -a && sudo swapon -a'"
    assert told["disk_full"].startswith("du -xh")


def test_nothing_is_said_that_was_not_read(calm: Seen) -> None:
    """Of a machine that tells nothing there is no finding: each look says why it could not."""
    silent = replace(calm, before={}, after={}, facts={}, disks=(), installed="python3: not found")
    told = examine.judged(silent)
    assert codes(told) == []
    assert len(told.unknown) >= 8
    assert all(one.because for one in told.unknown)


def test_the_worst_comes_first() -> None:
    """Findings stand in the order of their severity, and every one has words that can be filled."""
    order = [text.severity for text in findings.TEXTS.values()]
    assert order == sorted(order, key=("impossible", "untrustworthy", "hint").index)
    assert all(text.command or text.advice for text in findings.TEXTS.values())
