"""`nnprof devices`: devices and runtimes here, one device in full, and what it can do at best."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

import nnprof
from nnprof.cli import places, progress
from nnprof.cli.bench import BackendName, On, Options, PowerMode
from nnprof.text import plain

if TYPE_CHECKING:
    from nnprof.profiler.ports import Device
    from nnprof.types import Target

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
    on: On = None,
    threads: Threads = 1,
    backend: BackendName = None,
    option: Options = None,
    power_mode: PowerMode = None,
) -> None:
    """List devices and runtimes, those here and those that can be had, or show one in full.

    What --measure finds holds for the runtime, options, threads, power mode, governor and clocks
    that it was measured with, and is used by runs with the same.
    """
    from nnprof.types import Target

    if name is None and not measure:
        _list()
        sys.stdout.write("One in full: nnprof devices NAME\n")
        sys.stdout.write("Limits of this machine: nnprof devices --measure\n")
        return
    device = name or Target().device
    target = places.Place(backend, device, threads, option or [], on=on).target()
    with nnprof.powered(target, power_mode) if measure else nullcontext():
        if name:
            _show(target)
        _limits(target, measure=measure)


def _list() -> None:
    from nnprof import registry
    from nnprof.profiler.place import boards, runtimes
    from nnprof.profiler.report import shown_device

    rows = [(kind, *_here(registry.find("device", kind))) for kind in registry.names("device")]
    for name, board in boards.load().items():
        runtime = board.backend or "the usual runtime"
        rows.append((name, board.by_hand, f"of {boards.file().name}; {runtime}"))
    shown_device.print_devices(rows)
    sys.stdout.write("\n")
    shown_device.print_runtimes(runtimes.known())
    sys.stdout.write("\n")


def _here(device: Device) -> tuple[str, str]:
    from nnprof.errors import Unavailable
    from nnprof.profiler.report import shown_device

    try:
        facts = device.facts()
    except Unavailable as error:
        return "–", error.reason
    return "here", shown_device.value_text(facts.get("board") or facts.get("model"))


def _show(target: Target) -> None:
    """Facts and state of a device, here or far; nothing but a shell is needed there."""
    from nnprof import registry
    from nnprof.profiler.report import shown_device
    from nnprof.profiler.work import hosts
    from nnprof.types import LOCAL

    device: Device = registry.find("device", target.device)
    if target.host != LOCAL:
        device = device.over(hosts.shell(target.host))
    facts = device.facts()
    why = facts.pop("why", {})
    shown_device.print_facts(facts, why)
    sys.stdout.write("\nnow\n")
    shown_device.print_reading(device.read(device.processors(target.threads), target.on))


def _limits(target: Target, *, measure: bool) -> None:
    from nnprof.errors import Unavailable
    from nnprof.profiler.place import claims, kept, limits, watcher
    from nnprof.profiler.place.place import Place
    from nnprof.profiler.report import shown_device
    from nnprof.profiler.run import accuracy, begin, machine
    from nnprof.types import LOCAL

    if target.host != LOCAL and not measure:
        return
    try:
        environment = begin.probe(target)
    except Unavailable as error:
        shown_device.print_line("runtime", str(error))
        return
    backend = environment["backend"]
    shown_device.print_line("runtime", f"{backend['name']} {backend.get('version') or ''}".rstrip())
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
        shown_device.print_limits(found)
    else:
        told = why or "not measured"
        sys.stdout.write(plain(f"Limits: {told}; nnprof devices --measure") + "\n")
    if effect:
        shown_device.print_effect(effect)
