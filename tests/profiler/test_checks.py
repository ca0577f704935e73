"""Warnings as data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from nnprof.profiler import checks, results, stats
from nnprof.types import Check, Lost, Measurement, Process, Reading

GOLDEN = Path(__file__).parents[1] / "data" / "run-v1.json"


def _cell(*, op_scale: float | None = None, **process: object) -> Measurement:
    """A clean cell of the golden Run, its processes changed as asked."""
    cell = results.load(GOLDEN).measurements[1]
    quiet = Reading(load_1m=0.2)
    fields = {"before": quiet, "after": quiet, "floor_s": 1e-7, "state": "steady", **process}
    processes: tuple[Process, ...] = tuple(replace(old, **fields) for old in cell.processes)
    cell = replace(cell, processes=processes)
    if op_scale is not None and cell.ops is not None:
        ops = tuple(replace(op, seconds=op.seconds * op_scale) for op in cell.ops.ops)
        cell = replace(cell, ops=replace(cell.ops, ops=ops))
    return cell


def test_clean_cell_has_no_warning() -> None:
    """A cell on a quiet machine whose ops add up gets no warning."""
    assert checks.find(_cell()) == ()


def _around(before: dict[str, object], after: dict[str, object]) -> dict[str, object]:
    return {"before": Reading(**before), "after": Reading(**after)}


@pytest.mark.parametrize(
    ("code", "process"),
    [
        ("loaded_machine", _around({"load_1m": 3.0}, {"load_1m": 3.0})),
        ("stolen_time", _around({"stolen_s": 1.0}, {"stolen_s": 2.0})),
        ("governor", _around({"power_mode": "powersave"}, {})),
        ("clock_changed", _around({"clock_hz": 2e9}, {"clock_hz": 1e9})),
        ("throttled", _around({"throttles": 1}, {"throttles": 3})),
        ("throttling", _around({}, {"alerts": ("capped clock",)})),
        ("under_voltage", _around({"alerts": ("under-voltage",)}, {})),
        (
            "under_voltage",
            _around({"events": {"under-voltage": 0}}, {"events": {"under-voltage": 1}}),
        ),
        ("under_voltage", _around({"events": {"oc1": 2}}, {"events": {"oc1": 3}})),
        ("floor_high", {"floor_s": 1.0}),
        ("not_steady", {"state": "drifting"}),
    ],
)
def test_each_condition_is_found(code: str, process: dict[str, object]) -> None:
    """Each bad condition of the processes gives its own warning, and only that."""
    found = checks.find(_cell(**process))
    assert [check.code for check in found] == [code]
    assert _sentences(found)


def test_interrupted_samples_are_counted() -> None:
    """Samples that waited for a processor are told by number and share of the time."""
    cell = _cell()
    waits = [[one * (index % 4 == 0) for index, one in enumerate(own)] for own in cell.samples_s]
    late = [
        tuple(map(sum, zip(*two, strict=True))) for two in zip(cell.samples_s, waits, strict=True)
    ]
    processes = [
        replace(process, waited_s=tuple(wait))
        for process, wait in zip(cell.processes, waits, strict=True)
    ]
    cell = replace(cell, samples_s=tuple(late), processes=tuple(processes))
    (check,) = checks.find(cell)
    assert check.code == "interrupted"
    assert check.data["samples"] == sum(map(len, late))
    assert check.data["count"] == sum(wait > 0 for own in waits for wait in own)
    assert check.data["share"] == pytest.approx(sum(map(sum, waits)) / sum(map(sum, late)))
    assert _sentences((check,))


@pytest.mark.parametrize(("waited_s", "told"), [(9.5, False), (10.0, True)])
def test_others_that_outlast_our_patience_are_told(waited_s: float, told: bool) -> None:
    """Processes that began beside others are told, when waiting for their end was over."""
    cell = _cell(patience_s=waited_s, others=1.5)
    found = checks.find(replace(cell, plan=replace(cell.plan, patient_s=10.0)))
    assert [check.code for check in found] == ["not_quiet"] * told
    assert len(_sentences(found)) == told


def test_levels_and_outliers_and_timer_and_build() -> None:
    """Processes on other levels, far samples, a coarse timer and a debug build are each found."""
    cell = _cell()
    scaled = (cell.samples_s[0], *(tuple(2 * s for s in each) for each in cell.samples_s[1:]))
    far = ((*cell.samples_s[0][:-1], 3 * cell.samples_s[0][0]), *cell.samples_s[1:])
    coarse = {**cell.facts, "timer_s": 1.0}
    debug = {**cell.facts, "debug_build": True}
    for code, changed in (
        ("levels_differ", replace(cell, samples_s=scaled)),
        ("outliers", replace(cell, samples_s=far)),
        ("timer_coarse", replace(cell, facts=coarse)),
        ("debug_build", replace(cell, facts=debug)),
    ):
        assert code in {check.code for check in checks.find(changed)}


def test_ops_that_do_not_add_up() -> None:
    """Ops that sum to half the clean time are called out."""
    found = checks.find(_cell(op_scale=0.5))
    assert [check.code for check in found] == ["ops_do_not_add_up"]


def test_wide_interval() -> None:
    """An interval wider than asked for is called out with both widths."""
    cell = _cell()
    wide = replace(cell, samples_s=tuple((s,) for s in (1.0, 2.0, 3.0)), ops=None)
    found = {check.code: check for check in checks.find(wide)}
    check = found["interval_wide"]
    assert "wider than the ±3.0% asked for" in checks.text(check)[0]


def test_unknown_readings_warn_of_nothing() -> None:
    """What the machine does not tell is unknown, not bad."""
    assert checks.find(_cell(before=Reading(), after=Reading())) == ()


def test_every_text_has_advice() -> None:
    """Every warning says what to do."""
    assert all(sentence and advice for sentence, advice in checks.TEXTS.values())


def test_unknown_code_is_shown() -> None:
    """A warning of a later version is shown by its code instead of being dropped."""
    assert checks.text(Check(code="new_thing")) == ("new_thing", "")


def test_methods_that_disagree_are_told() -> None:
    """Methods apart by more than twice their errors are a warning, on ops of some length."""
    cell = _cell(op_scale=1.0)
    assert cell.ops is not None
    longest = max(cell.ops.ops, key=lambda op: op.seconds)
    shortest = min(cell.ops.ops, key=lambda op: op.seconds)
    for op, ratio, codes in (
        (longest, 2.1, ["methods_disagree"]),
        (longest, 1.9, []),
        (shortest, 9.0, ["methods_disagree"] if shortest.seconds >= 0.05 * _sum(cell) else []),
    ):
        ops = tuple(replace(one, disagreement=ratio) if one is op else one for one in cell.ops.ops)
        found = checks.find(replace(cell, ops=replace(cell.ops, ops=ops)))
        assert [check.code for check in found] == codes
        _sentences(found)
    (sentence, advice) = checks.text(
        Check(code="methods_disagree", data={"ratio": 9.51, "op": "3 Conv", "count": 2})
    )
    assert "most on 3 Conv (9.5 times their errors)" in sentence
    assert advice


def _sum(cell: Measurement) -> float:
    return sum(op.seconds for op in cell.ops.ops) if cell.ops else 0.0


@pytest.mark.parametrize(("floor", "codes"), [(0.11, ["floor_high"]), (0.09, [])])
def test_floor_is_high_from_a_tenth_on(floor: float, codes: list[str]) -> None:
    """A call that is more than a tenth of the latency is told, one that is less is not."""
    floor_s = floor * stats.latency_s(_cell())
    assert [check.code for check in checks.find(_cell(floor_s=floor_s))] == codes


def _sentences(found: Iterable[Check]) -> list[str]:
    """The sentence of each, which its own data must fill."""
    return [checks.TEXTS[check.code][0].format(**check.data) for check in found]


def test_the_worst_disagreement_is_named() -> None:
    """Of several ops whose methods disagree the one that is worst is named, and all are counted."""
    cell = _cell()
    assert cell.ops is not None
    long = replace(cell.ops.ops[0], seconds=1.0)
    ops = tuple(
        replace(long, index=index, disagreement=ratio)
        for index, ratio in enumerate((2.5, 7.0, 3.0, None))
    )
    found = checks.find(replace(cell, ops=replace(cell.ops, ops=ops)))
    (check,) = [one for one in found if one.code == "methods_disagree"]
    assert check.data == {"ratio": 7.0, "op": f"1 {long.op}", "count": 3}


def test_what_failed_after_the_clean_pass_is_told() -> None:
    """Passes of ops and others are told apart, counted by process, with the first error's words."""
    gone = Lost(what="isolated", error="OutOfMemory", reason="No room.", remedy="Less.")
    late = Lost(what="differential", error="NotReached", reason="Late.")
    idle = Lost(what="idle", error="RuntimeError", reason="Odd.")
    cell = _cell(lost=(gone, late, idle))
    ops, other = (check for check in checks.find(cell) if check.code in checks.INCOMPLETE)
    count = len(cell.processes)
    assert (ops.code, other.code) == ("ops_failed", "pass_failed")
    assert checks.text(ops) == (
        "The clean time was measured, but timing the ops failed (isolated, differential) in "
        f"{count} of {count} processes: OutOfMemory: No room.",
        "Less.",
    )
    assert checks.text(other) == (
        "The clean time was measured, but what was asked for beside it failed (idle) in "
        f"{count} of {count} processes: RuntimeError: Odd.",
        "Measure again, or without it.",
    )
    assert not checks.is_complete(replace(cell, checks=(ops,)))
    assert checks.is_complete(_cell())
