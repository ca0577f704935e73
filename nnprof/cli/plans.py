"""How long and in what order `nnprof bench` measures, in the user's words, as a plan."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nnprof.cli import numbers
from nnprof.errors import UsageError

if TYPE_CHECKING:
    from nnprof.types import Plan

_LOOPS_OF_2016 = {"processes": 3, "max_processes": 3, "fresh": 0}  # section 3.1: so many loops
_BUDGET_S = 55.0  # of the first command: a minute, with what it takes to start and to end


def plan(passes: dict[str, Any], *, bundled: bool, quick: bool, rigorous: bool) -> Plan:
    """The plan of these words; without a word the bundled network keeps to a budget."""
    from msgspec.structs import replace

    plan = _words_plan(quick or (bundled and not rigorous), rigorous)
    budget_s = _BUDGET_S if bundled and not rigorous else 0.0
    return replace(plan, **{"budget_s": budget_s, **passes})


def _words_plan(quick: bool, rigorous: bool) -> Plan:
    from nnprof.types import Plan

    if quick and rigorous:
        raise UsageError("--quick and --rigorous exclude each other.", "Choose one.")
    if quick:
        return Plan(
            processes=5,  # a number that is fixed has no repeated looks to pay for
            max_processes=5,
            fresh=0,
            interval=0.03,
            sample_s=0.2,
            warmup_limit_s=1.0,
            cell_limit_s=20.0,
            op_processes=2,
            op_s=0.1,
        )
    if rigorous:
        return Plan(
            processes=6,
            max_processes=50,
            fresh=6,
            sample_s=0.5,
            min_samples=10,
            cell_limit_s=300.0,
            op_processes=5,
        )
    return Plan()


def passes(
    ops: str,
    idle: str | None,
    protocol: str,
    telemetry: bool,
    energy: float,
    patient: float,
    limit: float,
) -> dict[str, Any]:
    """What is done beside the clean pass, in which order, and for how long, as fields of a plan."""
    from nnprof.profiler.place.watcher import INTERVAL_S

    if protocol != "rounds":
        runtime = ops == "runtime"  # "combined" may be the default, "none" is what is done
        ops, telemetry = _without_passes(
            protocol, ops=runtime, idle=idle, energy=energy, patient=patient
        )
    return {
        "op_method": ops,
        "idle_s": _gaps(idle),
        "protocol": protocol,
        "telemetry_s": INTERVAL_S if telemetry else 0.0,
        "energy_s": numbers.seconds("--energy", energy),
        "patient_s": numbers.seconds("--patient", patient),
        "process_limit_s": numbers.seconds("--limit", limit, 0.01),
        **(_LOOPS_OF_2016 if protocol == "loop-fresh" else {}),
    }


def _without_passes(protocol: str, **asked: object) -> tuple[str, bool]:
    """How ops are timed, and whether the device is read, in loops: neither."""
    for name, value in asked.items():
        if value:
            raise UsageError(
                f"--protocol {protocol} times inferences and makes no other pass, so --{name} "
                "cannot be done.",
                f"Leave one of the two out: --protocol or --{name}.",
            )
    return "none", False


_GAP = re.compile(r"(\d+(?:\.\d+)?)(s|ms|us|µs)?")
_UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}


def _gaps(text: str | None) -> tuple[float, ...]:
    """Seconds of `0,1ms,10ms`; a bare 0 needs no unit."""
    gaps = []
    for word in text.split(",") if text else ():
        match = _GAP.fullmatch(word.strip())
        if not match or (not match[2] and float(match[1])):
            raise UsageError(
                f"--idle {text}: '{word}' is not a time.", "Write it like this: --idle 0,1ms,10ms"
            )
        gap_s = float(match[1]) * _UNITS_S[match[2] or "s"]
        gaps.append(numbers.seconds(f"--idle {word.strip()}:", gap_s))
    return tuple(gaps)
