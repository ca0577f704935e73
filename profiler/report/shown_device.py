"""A device printed to a terminal: facts, a reading, limits, what telemetry costs.

Hz become MHz here, seconds milli- and microseconds, bytes MiB and GiB.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from nnprof.profiler.place.limits import Roofline
from nnprof.profiler.place.watcher import Effect
from nnprof.terminal import Console, Table
from nnprof.text import plain
from nnprof.types import Reading


def print_devices(rows: Iterable[tuple[str, str, str]]) -> None:
    """A line for each device: its name, where it is, what it is."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("device", "where", "what"):
        table.add_column(column, no_wrap=column != "what")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def print_runtimes(rows: Iterable[tuple[str, str | None, str]]) -> None:
    """A line for each runtime: its name, its version here, else how to get it."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("runtime", "version", "how to get it"):
        table.add_column(column, no_wrap=column != "how to get it")
    for name, version, remedy in rows:
        table.add_row(name, version or "–", remedy)
    Console().print(table)


def print_facts(facts: Mapping[str, Any], why: Mapping[str, str]) -> None:
    """A line for each fact of a device; `why` says why a fact is unknown."""
    for name, value in facts.items():
        _tell(name, value, why.get(name, ""))


def print_reading(now: Reading) -> None:
    """What a device is doing now."""
    words = msgspec.structs.asdict(now)
    words["rails_w"] = {name: f"{watts:.3f} W" for name, watts in now.rails_w.items()} or None
    words["clocks_hz"] = {part: f"{hz / 1e6:.0f} MHz" for part, hz in now.clocks_hz.items()} or None
    words["volts"] = {name: f"{volts:.3g} V" for name, volts in now.volts.items()} or None
    words["events"] = {kind: count for kind, count in now.events.items() if count} or None
    words["alerts"] = ", ".join(now.alerts) or ("none" if now.rails_w or now.events else None)
    for name in ("unknown", "at_s", "preemptions"):
        del words[name]
    for name, value in words.items():
        reason = now.unknown.get(name, "")
        if value is not None or reason:
            _tell(name, value, reason)


def _tell(name: str, value: Any, why: str) -> None:
    if isinstance(value, int | float) and name.endswith("_hz"):
        value = f"{value / 1e6:.0f} MHz"
    elif isinstance(value, int) and name.endswith("_bytes"):
        value = f"{value / 2**30:.1f} GiB"
    print_line(name, value_text(value, why))


def print_line(name: str, text: str) -> None:
    """A name, and in a second column what is known of it."""
    sys.stdout.write(f"{plain(name):<22} {plain(text)}\n")


def value_text(value: Any, why: str = "") -> str:
    """A fact in words; what is not known is unknown, with the reason where there is one."""
    if value is None:
        return f"unknown: {why}" if why else "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_inner(item)}" for name, item in value.items()) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _inner(value: Any) -> str:
    """Facts of a fact, such as a rail's: its sensor, and how often that has a new value."""
    if not isinstance(value, dict):
        return str(value)
    update_s = value.get("update_s")
    each = "" if update_s is None else f" each {update_s * 1e3:g} ms"
    return f"({value.get('sensor', '')}{each})"


def print_limits(limits: Roofline) -> None:
    """Peaks, bandwidths and the cost of a launch."""
    for precision, peak in {"fp32": limits.flops_per_s, **limits.peaks}.items():
        print_line(f"peak, {precision}", f"{peak / 1e9:.1f} GFLOP/s")
    for size, rate in limits.bandwidths:
        print_line(f"stream of {size / 2**20:.3g} MiB", f"{rate / 1e9:.1f} GB/s")
    print_line("launch", f"{limits.launch_s * 1e6:.2f} µs")


def print_effect(effect: Effect) -> None:
    """By how much telemetry slows an inference."""
    print_line(
        "telemetry costs",
        f"{effect.ratio - 1:+.2%} (95 %: {effect.low - 1:+.2%} to {effect.high - 1:+.2%}) of "
        f"{effect.latency_s * 1e3:.3g} ms",
    )
