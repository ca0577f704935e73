"""Which processors are measured on, from what kernels say on machines that are not at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nnprof.errors import Unavailable
from nnprof.profiler.devices import cpu, linux, topology

CPU = topology.CPU


def _threads(*cores: str) -> dict[str, str]:
    """The files that say which processors are threads of one core, from lists such as `0,8`."""
    return {
        f"{CPU}/cpu{number}/topology/thread_siblings_list": core
        for core in cores
        for number in topology.numbers(core)
    }


def _each(name: str, values: dict[str, int]) -> dict[str, str]:
    return {
        f"{CPU}/cpu{number}/{name}": str(value)
        for some, value in values.items()
        for number in topology.numbers(some)
    }


# As Linux 6.1 shows an i7-12700: 8 performance cores of two threads, 4 efficiency cores.
I7_12700 = {
    **_threads(*(f"{one}-{one + 1}" for one in range(0, 16, 2)), "16", "17", "18", "19"),
    **_each("cpufreq/cpuinfo_max_freq", {"0-7,12-15": 4800000, "8-11": 4900000, "16-19": 3600000}),
    "/sys/devices/cpu_core/cpus": "0-15",
    "/sys/devices/cpu_atom/cpus": "16-19",
    "/sys/devices/system/node/node0/cpulist": "0-19",
}
# Two sockets of an EPYC 7302: 2 × 16 cores of two threads; the second threads have high numbers.
EPYC = {
    **_threads(*(f"{one},{one + 32}" for one in range(32))),
    **_each("cpufreq/cpuinfo_max_freq", {"0-63": 3300000}),
    "/sys/devices/system/node/node0/cpulist": "0-15,32-47",
    "/sys/devices/system/node/node1/cpulist": "16-31,48-63",
}
# RK3588: four Cortex-A55, then two pairs of Cortex-A76, one of which is binned a little lower.
RK3588 = {
    **_threads(*map(str, range(8))),
    **_each("cpu_capacity", {"0-3": 530, "4-5": 1024, "6-7": 1010}),
    **_each("cpufreq/cpuinfo_max_freq", {"0-3": 1800000, "4-5": 2400000, "6-7": 2352000}),
}
# A telephone's three kinds, the fast one first in number.
THREE = {
    **_threads(*map(str, range(8))),
    **_each("cpu_capacity", {"0-3": 325, "4-6": 800, "7": 1024}),
}
TWO_VCPU = {**_threads("0", "1"), **_each("cpu_capacity", {"0-1": 1024})}
# One core of two threads, as clouds sell it.
ONE_CORE = _threads("0-1")
DENSE = {  # AMD's Zen 5 and Zen 5c: told apart by their clocks alone
    **_threads(*(f"{one},{one + 4}" for one in range(4))),
    **_each("cpufreq/cpuinfo_max_freq", {"0-1,4-5": 5090000, "2-3,6-7": 3300000}),
}


@pytest.mark.parametrize(
    ("machine", "ours", "threads", "wanted"),
    [
        (I7_12700, "0-19", 1, "14"),
        (I7_12700, "0-19", 2, "12,14"),
        (I7_12700, "0-19", 8, "0,2,4,6,8,10,12,14"),
        (I7_12700, "0-19", 10, "0,2,4,6,8,10,12,14,18,19"),
        (I7_12700, "0-19", 13, "0,2,4,6,8,10,12,14-19"),
        (I7_12700, "0-19", 20, "0-19"),
        (I7_12700, "14-19", 1, "14"),
        (I7_12700, "15-19", 1, "15"),  # the only thread of a performance core that is ours
        (I7_12700, "16-19", 2, "18-19"),
        (I7_12700, "0-1", 1, "0"),
        (EPYC, "0-63", 1, "31"),
        (EPYC, "0-63", 16, "16-31"),
        (EPYC, "0-63", 20, "16-31,60-63"),
        (EPYC, "0-63", 33, "0-31,63"),
        (EPYC, "0-15,32-47", 2, "14-15"),
        (EPYC, "0,8-15,16-19", 6, "10-15"),  # the node that has so many
        (EPYC, "16-19,48-51,0-7", 6, "2-7"),  # one thread a core, before the higher node
        (RK3588, "0-7", 1, "7"),
        (RK3588, "0-7", 4, "4-7"),
        (RK3588, "0-7", 5, "3-7"),
        (RK3588, "0-5", 2, "4-5"),
        (RK3588, "0-3", 2, "2-3"),
        (THREE, "0-7", 1, "7"),
        (THREE, "0-7", 3, "5-7"),
        (THREE, "0-7", 5, "3-7"),
        (TWO_VCPU, "0-1", 1, "1"),
        (TWO_VCPU, "0-1", 2, "0-1"),
        (TWO_VCPU, "0", 1, "0"),
        (ONE_CORE, "0-1", 1, "0"),
        (ONE_CORE, "0-1", 2, "0-1"),
        (DENSE, "0-7", 1, "1"),
        (DENSE, "0-7", 2, "0-1"),
        ({}, "0-3", 2, "2-3"),  # a kernel that tells nothing
        ({}, "5,9,200", 2, "9,200"),
    ],
)
def test_the_best_processors_are_chosen(
    machine: dict[str, str], ours: str, threads: int, wanted: str
) -> None:
    """Fast cores before slow ones, one thread a core first, off processor 0, on one node."""
    chosen = topology.chosen(machine, topology.numbers(ours), threads)
    assert chosen == topology.numbers(wanted)


@pytest.mark.parametrize(
    ("machine", "processors", "words"),
    [
        (I7_12700, "14", "performance"),
        (I7_12700, "18-19", "efficiency"),
        (I7_12700, "14-16", "performance, efficiency"),
        (RK3588, "4-7", "performance"),
        (RK3588, "3", "efficiency"),
        (THREE, "4", "middle"),
        (THREE, "0-7", "performance, middle, efficiency"),
        (DENSE, "2", "efficiency"),
        (EPYC, "0-63", ""),
        (TWO_VCPU, "0-1", ""),
        ({}, "0-3", ""),
        (I7_12700, "", ""),
    ],
)
def test_the_kind_of_a_core_is_named(machine: dict[str, str], processors: str, words: str) -> None:
    """Performance, middle and efficiency where cores differ; nothing where all are alike."""
    assert topology.kinds(machine, topology.numbers(processors)) == words


def test_siblings_share_a_core() -> None:
    """The hardware threads of a core are found on machines that number them either way."""
    assert topology.siblings(I7_12700, 15) == (14, 15)
    assert topology.siblings(EPYC, 31) == (31, 63)
    assert topology.siblings({}, 3) == (3,)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0-3,6", (0, 1, 2, 3, 6)),
        ("0-6:2/4", (0, 1, 4, 5)),
        ("", ()),
        (" 7 ", (7,)),
        ("a-b,,3-", (3,)),
        ("5-2", ()),
        ("0-3:1/0", (0, 1, 2, 3)),
    ],
)
def test_lists_of_processors(text: str, numbers: tuple[int, ...]) -> None:
    """Lists as kernels write them are read, and what is none gives none."""
    assert topology.numbers(text) == numbers


def test_facts_are_those_of_the_chosen_core() -> None:
    """Caches, model, governor and clocks come from the core that is measured on, not from cpu0."""
    little = f"{CPU}/cpu0/cpufreq"
    big = f"{CPU}/cpu7/cpufreq"
    texts = {
        **RK3588,
        "/proc/cpuinfo": "processor\t: 0\nFeatures\t: asimd\nCPU implementer\t: 0x41\n"
        "CPU part\t: 0xd05\n\nprocessor\t: 7\nFeatures\t: asimd asimddp\nCPU implementer\t: 0x41\n"
        "CPU part\t: 0xd0b",
        f"{CPU}/online": "0-7",
        f"{CPU}/cpu0/cache/index2/level": "2",
        f"{CPU}/cpu0/cache/index2/size": "128K",
        f"{CPU}/cpu7/cache/index2/level": "2",
        f"{CPU}/cpu7/cache/index2/size": "512K",
        f"{little}/scaling_governor": "powersave",
        f"{big}/scaling_governor": "performance",
        f"{big}/scaling_min_freq": "408000",
    }
    facts = linux.facts(texts)
    assert facts["model"] == "Cortex-A76"
    assert facts["core"] == "performance"
    assert facts["caches"] == {"L2": "512K"}
    assert facts["governor"] == "performance"
    assert (facts["min_clock_hz"], facts["max_clock_hz"]) == (408e6, 2352e6)
    assert facts["extensions"] == ["asimd", "asimddp"]
    confined = linux.facts(texts, (0,))
    assert (confined["core"], confined["caches"]) == ("efficiency", {"L2": "128K"})


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is chosen here is ours, and as many as asked; the facts come from a tree of files."""
    ours = linux.allowed()
    assert set(linux.pinned(len(ours))) == set(ours)
    with pytest.raises(Unavailable, match=f"lets us use {len(ours)}"):
        linux.pinned(len(ours) + 1)
    for path, text in {
        **_threads(",".join(map(str, ours))),
        **{f"{CPU}/cpu{one}/cache/index0/level": "1" for one in ours},
        **{f"{CPU}/cpu{one}/cache/index0/type": "Data" for one in ours},
        **{f"{CPU}/cpu{one}/cache/index0/size": f"{one}K" for one in ours},
    }.items():
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path[1:]).write_text(text)
    monkeypatch.setenv("NNPROF_ROOT", str(tmp_path))
    (core,) = linux.pinned(1)
    assert core == ours[0]  # all are threads of one core, and its first is taken
    assert linux.siblings((core,)) == ours[1:]
    facts = cpu.DEVICE.facts()
    assert (facts["caches"], facts["threads_per_core"]) == ({"L1d": f"{core}K"}, len(ours))
    assert facts["processors"] == len(os.sched_getaffinity(0))
