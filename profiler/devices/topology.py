"""Which processors to measure on: cores, hardware threads, kinds and memory nodes, from sysfs.

Pure functions over a snapshot (`nnprof.profiler.devices.snapshot`). What a kernel does not tell is
taken to be alike: each processor a core of its own, of one kind, on one node.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from nnprof.profiler.devices.snapshot import Texts

CPU = "/sys/devices/system/cpu"
_THREADS = "topology/thread_siblings_list"
_HYBRID = {"/sys/devices/cpu_core/cpus": 1.0, "/sys/devices/cpu_atom/cpus": 0.5}
_NODE = "/sys/devices/system/node/node"
FILES = (
    f"{CPU}/cpu[0-9]*/{_THREADS}",
    f"{CPU}/cpu[0-9]*/cpu_capacity",
    f"{CPU}/cpu[0-9]*/cpufreq/cpuinfo_max_freq",
    *_HYBRID,
    f"{_NODE}[0-9]*/cpulist",
)
_MOST = 1 << 16  # processors; the kernel's own bound is 8192
_ALIKE = 0.9  # cores of one kind differ by their best clocks, by less than that


def numbers(text: str) -> tuple[int, ...]:
    """The processors of a list as the kernel writes it: `0-3,6`, or `0-6:2/4` for groups."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        last, _, groups = last.partition(":")
        used, _, step = groups.partition("/")
        if first.isdecimal() and (last or first).isdecimal():
            every = range(int(first), min(int(last or first), _MOST) + 1)
            found |= {
                number
                for index, number in enumerate(every)
                if not (used.isdecimal() and step.isdecimal() and int(step))
                or index % int(step) < int(used)
            }
    return tuple(sorted(found))


def chosen(texts: Texts, ours: Collection[int], threads: int) -> tuple[int, ...]:
    """The best `threads` of the processors that we may use, in order.

    One thread a core before its siblings; cores of the fastest kind before others; the core of
    processor 0, which serves most interrupts, and us, last of its kind; then high numbers. All on
    one memory node where one has enough: on that which gives the best.
    """
    kinds, nodes = _ranks(texts, ours), _nodes(texts)

    def rank(number: int) -> tuple[int, int, bool]:
        threads_of_core = siblings(texts, number)
        usable = [other for other in threads_of_core if other in ours]
        return usable.index(number), kinds[number], 0 in threads_of_core

    ranks = {number: rank(number) for number in ours}

    def best(among: Collection[int]) -> list[int]:
        order = sorted(among, key=lambda one: (ranks[one], -nodes.get(one, 0), -one))
        return order[:threads]

    by_node: dict[int, list[int]] = {}
    for number in ours:
        by_node.setdefault(nodes.get(number, 0), []).append(number)
    enough = {node: best(some) for node, some in by_node.items() if len(some) >= threads}
    if not enough:
        return tuple(sorted(best(ours)))
    _, node = min(
        (sorted(ranks[one] for one in some)[::-1], -node) for node, some in enough.items()
    )
    return tuple(sorted(enough[-node]))


def siblings(texts: Texts, processor: int) -> tuple[int, ...]:
    """The hardware threads of a processor's core, itself among them."""
    found = numbers(texts.get(f"{CPU}/cpu{processor}/{_THREADS}", ""))
    return found if processor in found else (processor,)


def kinds(texts: Texts, processors: Sequence[int]) -> str:
    """What kinds of cores these are: performance, middle, efficiency; empty where all are alike."""
    ranks = _ranks(texts, _known(texts) | set(processors))
    last = max(ranks.values(), default=0)
    words = {0: "performance", last: "efficiency"}
    found = sorted({ranks[one] for one in processors})
    return ", ".join(words.get(rank, "middle") for rank in found) if last else ""


def _known(texts: Texts) -> set[int]:
    """All processors that the kernel tells something of."""
    names = (path.removeprefix(f"{CPU}/cpu").partition("/")[0] for path in texts)
    return {int(name) for name in names if name.isdecimal()}


def _ranks(texts: Texts, processors: Collection[int]) -> dict[int, int]:
    """The kind of each processor's core: 0 is the fastest of the machine."""
    speeds = _speeds(texts, _known(texts) | set(processors))
    tops: list[float] = []
    for speed in sorted(speeds.values(), reverse=True):
        if not tops or speed < _ALIKE * tops[-1]:
            tops.append(speed)
    return {
        one: sum(speeds[one] < _ALIKE * top for top in tops) if one in speeds else 0
        for one in processors
    }


def _speeds(texts: Texts, processors: Collection[int]) -> Mapping[int, float]:
    """How fast each core is, in units of its own: as the first of these tells that differ.

    Intel's hybrid processors list their cores by kind; Arm's kernels state capacities; other mixed
    ones (AMD's dense cores) differ by their highest clock.
    """
    hybrid = {
        number: speed for path, speed in _HYBRID.items() for number in numbers(texts.get(path, ""))
    }
    if len(set(hybrid.values())) > 1:
        return hybrid
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        told = {one: texts.get(f"{CPU}/cpu{one}/{name}", "") for one in processors}
        known = {one: float(text) for one, text in told.items() if text.isdecimal() and int(text)}
        if len(set(known.values())) > 1:
            return known
    return {}


def _nodes(texts: Texts) -> dict[int, int]:
    return {
        number: int(name)
        for path, text in texts.items()
        if path.startswith(_NODE)
        and (name := path.removeprefix(_NODE).partition("/")[0]).isdecimal()
        for number in numbers(text)
    }
