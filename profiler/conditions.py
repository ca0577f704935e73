"""What a Run was measured under, as far as it may not differ between two that are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nnprof.errors import UnknownName, UsageError
from nnprof.types import Measurement, Run

_LENIENT = ("variables", "on", "converter")  # where one side is unknown
MISSING = "missing"  # what may be allowed beside the conditions: cells that are gone


def conditions(run: Run, measured: Sequence[Measurement] | None = None) -> dict[str, str]:
    """What must be alike for numbers to be compared; unknown is "unknown".

    Args:
        run: tells where it was measured.
        measured: the cells that are compared; all of the Run if not given.
    """
    device, backend = (run.environment.get(part) or {} for part in ("device", "backend"))
    measured = run.measurements if measured is None else measured
    work = [m.workload for m in measured]
    variables = run.environment.get("variables")
    return {
        "backend": _joined(m.target.backend for m in measured),
        "version": str(backend.get("version", "unknown")),
        "options": _joined(named(m.target.options) for m in measured),
        "device": str(device.get("board") or device.get("model", "unknown")),
        "on": _joined(m.target.on or "unknown" for m in measured),
        "host": _joined(m.target.host for m in measured),
        "nnprof": str(run.environment.get("nnprof", "unknown")),
        "variables": "unknown" if variables is None else named(variables),
        "clock": _joined(m.clock for m in measured),
        "threads": _joined(m.target.threads or "unknown" for m in measured),
        "precision": _joined(one.precision for one in work),
        "conversion": _joined(one.model.conversion or "none" for one in work),
        "converter": _joined(map(_converter, measured)),
        "data": _joined(one.data for one in work),
        "seed": _joined(one.seed for one in work),
        "batch-axis": _joined(named(one.model.axes) for one in work),
        "transfers": _joined(m.facts.get("transfers", "unknown") for m in measured),
        "power": _joined(p.before.power_mode or "unknown" for m in measured for p in m.processes)
        or "unknown",
    }


def _converter(measured: Measurement) -> str:
    """What made the files that a runtime of its own format read; where is no condition."""
    by = measured.facts.get("converters")
    told = "unknown" if "converted" in measured.facts else "none"
    return named(by) if isinstance(by, Mapping) else told


def named(facts: Mapping[str, object]) -> str:
    """`a=1 b=2`, sorted; "none" where there is nothing."""
    return " ".join(f"{name}={value}" for name, value in sorted(facts.items())) or "none"


def differences(
    before: Run,
    after: Run,
    old: Sequence[Measurement],
    new: Sequence[Measurement],
    allow: set[str],
) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Conditions of two Runs that are alike, by name, and those that differ and were allowed to.

    Only the cells that are compared count: `old` of the Run before, `new` of the Run after. A
    difference is (name, before, after).
    What an older nnprof did not look at is not held against its Runs (`variables`, `converter`),
    nor what an import does not tell (`on`).

    Raises:
        UnknownName: `allow` names no condition.
        UsageError: others are not alike.
    """
    was, now = conditions(before, old), conditions(after, new)
    for name in allow - {*was, MISSING}:
        raise UnknownName("condition", name, (*was, MISSING))
    unlike = [(name, was[name], now[name]) for name in was if was[name] != now[name]]
    unlike = [one for one in unlike if one[0] not in _LENIENT or "unknown" not in one]
    refused = [item for item in unlike if item[0] not in allow]
    if refused:
        listed = "; ".join(f"{name}: {one} and {other}" for name, one, other in refused)
        flags = " ".join(f"--allow {name}" for name, _, _ in refused)
        raise UsageError(
            f"The two Runs were measured under unlike conditions ({listed}).",
            f"If that difference is what you compare, add {flags}.",
        )
    differ = {name for name, _, _ in unlike}
    return {name: value for name, value in was.items() if name not in differ}, unlike


def _joined(values: Iterable[object]) -> str:
    return ", ".join(sorted({str(value) for value in values}))
