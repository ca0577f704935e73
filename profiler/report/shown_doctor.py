"""What the doctor found, printed to a terminal, or as JSON."""

from __future__ import annotations

import sys
from collections import Counter

import msgspec
from rich.padding import Padding

from nnprof.profiler.doctor.findings import Diagnosis, Finding, Severity
from nnprof.terminal import Console, styled
from nnprof.text import json_lines, plain

_STYLES: dict[Severity, str] = {
    "impossible": "bold red",
    "untrustworthy": "bold yellow",
    "hint": "bold cyan",
}
_INDENT = 2
_LEFT = (0, 0, 0, _INDENT)


def print_diagnosis(told: Diagnosis) -> None:
    """Each finding in three lines: how bad and what, why, what mends it; then what was not seen."""
    console = Console()
    for one in told.findings:
        _finding(console, one)
    console.say(_sum(told))
    if told.unknown:
        reasons = "; ".join(f"{one.what}, because {one.because}" for one in told.unknown)
        console.say(f"Could not look at: {reasons}.")


def _finding(console: Console, one: Finding) -> None:
    console.print(styled(f"{one.severity}: ", _STYLES[one.severity]).append(plain(one.found)))
    console.print(Padding(styled(f"Why: {one.why}.", ""), _LEFT, expand=False))
    if one.command:  # on a line of its own, whatever its length, so that it can be copied
        console.print(f"{' ' * _INDENT}$ {plain(one.command)}", soft_wrap=True)
    if one.advice:
        console.print(Padding(styled(one.advice, ""), _LEFT, expand=False))
    console.print()


def _sum(told: Diagnosis) -> str:
    where = "here" if told.host == "local" else f"on {told.host}"
    counts = Counter(one.severity for one in told.findings)
    if not counts:
        return f"Nothing was found {where} that would spoil numbers."
    parts = [f"{counts[name]} {name}" for name in _STYLES if counts[name]]
    return f"Found {where}: {', '.join(parts)}."


def print_json(told: Diagnosis) -> None:
    """All of it, with the worst severity and the exit code."""
    value = {
        **msgspec.structs.asdict(told), "severity": told.severity, "exit_code": told.exit_code
    }  # fmt: skip
    sys.stdout.write(json_lines(value) + "\n")
