"""`nnprof devices`: what is here and configured, one in full, and what it can do at best."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

import nnprof
from nnprof.cli import progress
from nnprof.cli.bench import BackendName, Options, PowerMode, asked_target
from nnprof.text import plain

if TYPE_CHECKING:
    from nnprof.profiler.place.limits import Roofline
    from nnprof.profiler.place.watcher import Effect
    from nnprof.profiler.ports import Device
    from nnprof.types import Reading, Target

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="Show this one in full: cpu, jetson, a board, ssh://user@host."
    ),
]
Measure = Annotated[
    bool,
    typer.Option(
        "--measure",
        help="Measure peak FLOP/s, bandwidth, launch cost and what telemetry costs; keep them.",
    ),
]
Threads = Annotated[int, typer.Option(help="Threads to measure with.")]


def devices(
    name: Name = None,
    measure: Measure = False,
    threads: Threads = 1,
    backend: BackendName = None,
    option: Options = None,
    power_mode: PowerMode = None,
) -> None:
    """List the devices that are here and configured, or show one in full.

    What --measure finds holds for the runtime, options, threads, power mode, governor and clocks
    that it was measured with, and is used by runs with the same.
    """
    from nnprof.types import Target

    if name is None and not measure:
        _list()
        sys.stdout.write("One in full: nnprof devices NAME\n")
        sys.stdout.write("Limits of this machine: nnprof devices --measure\n")
        return
    target = asked_target(backend, name or Target().device, threads, option or [])
    with nnprof.powered(target, power_mode) if measure else nullcontext():
        if name:
            _show(target)
        _limits(target, measure=measure)


def _list() -> None:
    from nnprof import registry
    from nnprof.profiler.place import boards
    from nnprof.terminal import Console, Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("device", "where", "what"):
        table.add_column(column, no_wrap=column != "what")
    for kind in registry.names("device"):
        table.add_row(kind, *_here(registry.find("device", kind)))
    for name, board in boards.load().items():
        runtime = board.backend or "the usual runtime"
        table.add_row(name, board.by_hand, f"of {boards.file().name}; {runtime}")
    Console().print(table)


def _here(device: Device) -> tuple[str, str]:
    from nnprof.errors import Unavailable

    try:
        facts = device.facts()
    except Unavailable as error:
        return "–", error.reason
    return "here", _text(facts.get("board") or facts.get("model"))


def _show(target: Target) -> None:
    """Facts and state of a device, here or far; nothing but a shell is needed there."""
    from nnprof import registry
    from nnprof.profiler.work import hosts
    from nnprof.types import LOCAL

    device: Device = registry.find("device", target.device)
    if target.host != LOCAL:
        device = device.over(hosts.shell(target.host))
    facts = device.facts()
    why = facts.pop("why", {})
    for name, value in facts.items():
        _tell(name, value, why.get(name, ""))
    sys.stdout.write("\nnow\n")
    processors = device.processors(target.threads)
    _show_reading(device.read(processors))


def _show_reading(now: Reading) -> None:
    import msgspec

    words = msgspec.structs.asdict(now)
    words["rails_w"] = {name: f"{watts:.3f} W" for name, watts in now.rails_w.items()} or None
    words["clocks_hz"] = {part: f"{hz / 1e6:.0f} MHz" for part, hz in now.clocks_hz.items()} or None
    words["alerts"] = ", ".join(now.alerts) or ("none" if now.rails_w else None)
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
    _line(name, _text(value, why))


def _line(name: str, text: str) -> None:
    sys.stdout.write(f"{plain(name):<22} {plain(text)}\n")


def _text(value: Any, why: str = "") -> str:
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


def _limits(target: Target, *, measure: bool) -> None:
    from nnprof.errors import Unavailable
    from nnprof.profiler.place import claims, kept, limits, watcher
    from nnprof.profiler.place.place import Place
    from nnprof.profiler.run import accuracy, begin, machine
    from nnprof.types import LOCAL

    if target.host != LOCAL and not measure:
        return
    try:
        environment = begin.probe(target)
    except Unavailable as error:
        _line("runtime", str(error))
        return
    backend = environment["backend"]
    _line("runtime", f"{backend['name']} {backend.get('version') or ''}".rstrip())
    place = Place(target, environment)
    found, why = kept.load(limits.Roofline, place)
    effect, _ = kept.load(watcher.Effect, place)
    if measure:
        form = accuracy.form_for(target)
        with progress.shown(), claims.held(target):
            found = machine.measured_limits(target, form)
            effect = machine.measured_watching(target)
        kept.save(found, place)
        path = kept.save(effect, place)
        sys.stdout.write(f"Kept: {plain(str(path.parents[1]))}\n")
    if found:
        _print(found)
    else:
        told = why or "not measured"
        sys.stdout.write(plain(f"Limits: {told}; nnprof devices --measure") + "\n")
    if effect:
        _print_effect(effect)


def _print(limits: Roofline) -> None:
    for precision, peak in {"fp32": limits.flops_per_s, **limits.peaks}.items():
        _line(f"peak, {precision}", f"{peak / 1e9:.1f} GFLOP/s")
    for size, rate in limits.bandwidths:
        _line(f"stream of {size / 2**20:.3g} MiB", f"{rate / 1e9:.1f} GB/s")
    _line("launch", f"{limits.launch_s * 1e6:.2f} µs")


def _print_effect(effect: Effect) -> None:
    _line(
        "telemetry costs",
        f"{effect.ratio - 1:+.2%} (95 %: {effect.low - 1:+.2%} to {effect.high - 1:+.2%}) of "
        f"{effect.latency_s * 1e3:.3g} ms",
    )
