"""Two Runs, cell by cell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import commands
import numpy as np
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from nnprof.cli.main import app
from nnprof.errors import UnknownName, UsageError
from nnprof.profiler import changes, compare, conditions, results
from nnprof.profiler.report import comparison
from nnprof.types import Failure, Measurement, Run

GOLDEN = Path(__file__).parents[1] / "data" / "run-v1.json"


def _run(seed: int, factors: list[float], processes: int = 5, noise: float = 0.01) -> Run:
    """The golden Run's second cell, once per factor, each under a batch of its own."""
    run = results.load(GOLDEN)
    random = np.random.default_rng(seed)
    cells = []
    for index, factor in enumerate(factors):
        levels = factor * 1e-3 * np.exp(random.normal(0, noise, processes))
        cells.append(_cell(run.measurements[1], index + 1, levels))
    return replace(run, measurements=tuple(cells), failures=())


def _cell(pattern: Measurement, batch: int, levels: np.ndarray) -> Measurement:
    return replace(
        pattern,
        workload=replace(pattern.workload, batch=batch),
        samples_s=tuple((float(level),) for level in levels),
        warmups_s=tuple((1.0,) for _ in levels),
        processes=tuple(pattern.processes[0] for _ in levels),
    )


def _verdicts(before: Run, after: Run) -> list[str]:
    return [cell.verdict for cell in compare.compare(before, after).cells]


def test_same_code_is_rarely_called_different() -> None:
    """Of 40 comparisons of 10 like cells each, at most 2 % of cells are called FASTER or SLOWER."""
    verdicts = [
        verdict
        for seed in range(40)
        for verdict in _verdicts(_run(seed, [1.0] * 10), _run(1000 + seed, [1.0] * 10))
    ]
    wrong = verdicts.count("FASTER") + verdicts.count("SLOWER")
    assert wrong <= 0.02 * len(verdicts)
    assert verdicts.count("SAME") > 0.5 * len(verdicts)


@pytest.mark.parametrize(("change", "share"), [(0.05, 0.90), (0.10, 0.99)])
def test_true_changes_are_called(change: float, share: float) -> None:
    """With 1 % between processes, 5 % slower is called in 90 % of 100 pairs, 10 % in 99 %."""
    called = [
        _verdicts(_run(seed, [1.0]), _run(1000 + seed, [1.0 + change]))[0] for seed in range(100)
    ]
    assert called.count("SLOWER") >= share * len(called)
    assert "FASTER" not in called


def test_faster_and_slower_point_the_right_way() -> None:
    """A cell that takes half the time is FASTER, one that takes twice the time SLOWER."""
    found = compare.compare(_run(1, [1.0, 1.0]), _run(2, [0.5, 2.0]))
    assert [cell.verdict for cell in found.cells] == ["FASTER", "SLOWER"]
    assert found.geometric_mean == pytest.approx(1.0, rel=0.05)
    assert all(c.low is not None and c.low < c.ratio < c.high for c in found.cells if c.high)


def test_one_process_is_ambiguous() -> None:
    """Of a cell with a single process nothing can be said, however large the change."""
    found = compare.compare(_run(1, [1.0], processes=1), _run(2, [3.0], processes=1))
    assert (found.cells[0].verdict, found.cells[0].low) == ("AMBIGUOUS", None)


def test_many_cells_raise_the_bar() -> None:
    """What is called in a lone cell may not be called among 200 others, by Holm's procedure."""
    doubts = [0.01, *[0.9] * 199]
    assert changes.holm([0.01]) == [True]
    assert changes.holm(doubts)[0] is False
    assert changes.holm([1e-6, 0.02, 0.03]) == [True, True, True]


@pytest.mark.parametrize("name", ["threads", "version", "transfers", "precision"])
def test_unlike_conditions_are_refused_by_name(name: str) -> None:
    """Runs of other threads, version, transfers or precision are refused, unless allowed."""
    before = _run(1, [1.0])
    (cell,) = before.measurements
    changed = {
        "threads": replace(cell, target=replace(cell.target, threads=2)),
        "transfers": replace(cell, facts={"transfers": "inside"}),
        "precision": replace(cell, workload=replace(cell.workload, precision="fp16")),
        "version": cell,
    }[name]
    environment = dict(before.environment)
    if name == "version":
        environment["backend"] = {**environment["backend"], "version": "2"}
    after = replace(before, measurements=(changed,), environment=environment)
    with pytest.raises(UsageError, match=f"unlike conditions .*{name}: .* add --allow {name}"):
        compare.compare(before, after)
    if name != "precision":  # another precision is another cell
        allowed = compare.compare(before, after, allow=[name])
        assert [item[0] for item in allowed.allowed] == [name]


def test_cells_without_a_partner_are_named() -> None:
    """Cells that only one side has, and cells that failed after, are named, not dropped."""
    before, after = _run(1, [1.0, 1.0, 1.0]), _run(2, [1.0])
    lost = before.measurements[2]
    failure = Failure(workload=lost.workload, target=lost.target, error="OutOfMemory", reason="x")
    found = compare.compare(before, replace(after, failures=(failure,)))
    assert [name.split(", ")[-1] for name in found.missing] == ["batch 2"]
    assert [name.split(", ")[-1] for name in found.failed] == ["batch 3"]


def test_nothing_in_common_is_refused() -> None:
    """Two Runs without a common cell are refused."""
    before = _run(1, [1.0])
    with pytest.raises(UsageError, match="no finished cell in common"):
        compare.compare(
            before, replace(before, measurements=()), allow=conditions.conditions(before)
        )


def test_markdown_for_a_pull_request() -> None:
    """The Markdown has the counts first and one line per cell."""
    text = comparison.comparison_markdown(compare.compare(_run(1, [1.0, 1.0]), _run(2, [1.0, 2.0])))
    lines = text.splitlines()
    assert lines[0].startswith("1 ")
    assert "geometric mean" in lines[0]
    assert sum(line.startswith("|") for line in lines) == 4
    assert "SLOWER" in lines[-1]


def _command(*words: str) -> commands.Done:
    return commands.nnprof("compare", *words)


def test_exit_codes(tmp_path: Path) -> None:
    """A regression beyond --fail-on is exit code 1, below it 0, unlike conditions 2."""
    paths = []
    for name, run in (("a", _run(1, [1.0])), ("b", _run(2, [1.2]))):
        paths.append(str(tmp_path / f"{name}.json"))
        results.save(run, tmp_path / f"{name}.json")
    unlike = _run(3, [1.0])
    (cell,) = unlike.measurements
    cell = replace(cell, target=replace(cell.target, threads=2))
    results.save(replace(unlike, measurements=(cell,)), tmp_path / "c.json")
    assert _command(*paths).returncode == 1
    assert _command(*paths, "--fail-on", "50").returncode == 0
    assert _command(*reversed(paths)).returncode == 0
    refused = _command(paths[0], str(tmp_path / "c.json"))
    assert (refused.returncode, "threads: 1 and 2" in refused.stderr) == (2, True)
    printed = json.loads(_command(*paths, "--format", "json").stdout)
    assert printed["cells"][0]["verdict"] == "SLOWER"


def _named(run: Run, *names: str, folder: str = "/a") -> Run:
    """The Run's cells as of files of these names, all of batch 1."""
    cells = tuple(
        replace(
            one,
            workload=replace(
                one.workload,
                batch=1,
                model=replace(
                    one.workload.model, name=name, path=f"{folder}{index}/{name}.onnx",
                    sha256=f"{index:064x}",
                ),
            ),
        )
        for index, (one, name) in enumerate(zip(run.measurements, names, strict=True))
    )  # fmt: skip
    return replace(run, measurements=cells)


def _write(tmp_path: Path, *runs: Run) -> list[str]:
    paths = [tmp_path / f"{index}.json" for index in range(len(runs))]
    for run, path in zip(runs, paths, strict=True):
        results.save(run, path)
    return [str(path) for path in paths]


@pytest.mark.parametrize("stopped", ["", "failure", "gone"])
def test_a_run_that_was_cut_off_does_not_pass(tmp_path: Path, stopped: str) -> None:
    """Cells that are gone or unfinished are exit code 1, unless that is allowed."""
    before, after = _run(1, [1.0] * 3), _run(2, [1.0] * 3)
    kept = after.measurements[:1]
    if stopped != "gone":
        kept += tuple(replace(one, stopped=stopped) for one in after.measurements[1:])
    paths = _write(tmp_path, before, replace(after, measurements=kept))
    done = CliRunner().invoke(app, ["compare", *paths])
    assert done.exit_code == 1
    assert done.stdout.count("Only before: ") == 2
    for form in ("table", "md", "json"):
        words = ["compare", *paths, "--allow", "missing", "--format", form]
        allowed = CliRunner().invoke(app, words)
        assert allowed.exit_code == 0
        assert "batch 2" in allowed.stdout


def test_cells_of_one_name_are_all_compared() -> None:
    """Two files of one name in two folders are two cells, told by their files."""
    before = _named(_run(1, [1.0, 2.0]), "model", "model")
    after = _named(_run(2, [1.0, 2.4]), "model", "model")
    after = replace(after, measurements=after.measurements[::-1])  # their order says nothing
    found = compare.compare(before, after)
    assert [cell.verdict for cell in found.cells] == ["SAME", "SLOWER"]
    assert [cell.network for cell in found.cells] == [
        "model (/a0/model.onnx)",
        "model (/a1/model.onnx)",
    ]
    assert found.missing == found.added == ()


def test_an_edited_file_of_one_name_is_found_by_its_folder() -> None:
    """Of two files of one name, the one that was edited keeps its place."""
    before = _named(_run(1, [1.0, 2.0]), "model", "model")
    after = _named(_run(2, [1.0, 2.0]), "model", "model")
    model = replace(after.measurements[1].workload.model, sha256="f" * 64)
    changed = replace(
        after.measurements[1], workload=replace(after.measurements[1].workload, model=model)
    )
    after = replace(after, measurements=(after.measurements[0], changed))
    found = compare.compare(before, after)
    assert [cell.edited for cell in found.cells] == [False, True]
    lines = comparison.comparison_lines(found)
    assert (
        "Edited: model (/a1/model.onnx) has another content than before, under its name." in lines
    )


def test_one_of_two_of_a_name_that_is_gone_is_missing() -> None:
    """Where only one of two files of a name is left, the other is missing, and named."""
    before = _named(_run(1, [1.0, 2.0]), "model", "model")
    after = replace(before, measurements=before.measurements[1:])
    found = compare.compare(before, after)
    assert len(found.cells) == 1
    assert found.missing == ("model (/a0/model.onnx), batch 1",)


def test_what_cannot_be_told_apart_is_refused() -> None:
    """Files of one name with other contents in other folders have no partners."""
    before = _named(_run(1, [1.0, 2.0]), "model", "model")
    other = _named(_run(2, [1.0, 2.0]), "model", "model", folder="/b")
    edited = tuple(
        replace(
            one, workload=replace(one.workload, model=replace(one.workload.model, sha256=mark * 64))
        )
        for one, mark in zip(other.measurements, "ef", strict=True)
    )
    with pytest.raises(UsageError, match="2 and 2 cells called model, batch 1, and nothing tells"):
        compare.compare(before, replace(other, measurements=edited))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (
            "options",
            lambda one: replace(one, target=replace(one.target, options={"provider": "x"})),
        ),
        ("data", lambda one: replace(one, workload=replace(one.workload, data="/tiles.npy"))),
        ("seed", lambda one: replace(one, workload=replace(one.workload, seed=7))),
        ("host", lambda one: replace(one, target=replace(one.target, host="board"))),
        ("on", lambda one: replace(one, target=replace(one.target, on="gpu"))),
        (
            "conversion",
            lambda one: replace(
                one,
                workload=replace(
                    one.workload, model=replace(one.workload.model, conversion="S8S8")
                ),
            ),
        ),
        ("converter", lambda one: replace(one, facts={**one.facts, "converters": {"pnnx": "2"}})),
    ],
)
def test_what_is_measured_is_a_condition(name: str, change: Callable[..., Measurement]) -> None:
    """Another option, other data or another form of int8 is refused by name, and may be allowed."""
    before = _run(1, [1.0])
    after = replace(before, measurements=tuple(map(change, before.measurements)))
    with pytest.raises(UsageError, match=f"--allow {name}"):
        compare.compare(before, after)
    found = compare.compare(before, after, allow=[name])
    assert [one[0] for one in found.allowed] == [name]
    assert name not in found.alike


@pytest.mark.parametrize(
    ("name", "fact"), [("nnprof", "9.9.9"), ("variables", {"OMP_WAIT_POLICY": "active"})]
)
def test_the_place_is_a_condition(name: str, fact: object) -> None:
    """Another version of nnprof, or a variable that changes speed, is refused by name."""
    before = replace(_run(1, [1.0]), environment={**_run(1, [1.0]).environment, "variables": {}})
    after = replace(before, environment={**before.environment, name: fact})
    with pytest.raises(UsageError, match=f"--allow {name}"):
        compare.compare(before, after)
    assert compare.compare(before, before).alike["variables"] == "none"


def test_what_an_old_run_does_not_state_is_not_held_against_it() -> None:
    """Variables were not kept once: such a Run can still be compared."""
    after = _run(1, [1.0])
    old = {name: one for name, one in after.environment.items() if name != "variables"}
    before = replace(after, environment=old)
    after = replace(after, environment={**old, "variables": {"OMP_NUM_THREADS": "4"}})
    assert compare.compare(before, after).allowed == ()


def test_no_such_condition() -> None:
    """A condition that does not exist is refused, with those that do."""
    with pytest.raises(UnknownName, match=r"mising.*Known: .*missing"):
        compare.compare(_run(1, [1.0]), _run(2, [1.0]), allow=["mising"])


def test_ambiguous_says_why() -> None:
    """A single process on a side, or a wide interval, is the reason that stands in the output."""
    one, many = _run(1, [1.0], processes=1), _run(2, [1.0])
    imported = replace(
        one, measurements=tuple(replace(m, stopped="imported") for m in one.measurements)
    )
    for before, after, words in (
        (one, many, "there is a single process (before)"),
        (many, imported, "a single time was imported (after)"),
        (_run(1, [1.0], 3, 0.1), _run(2, [1.05], 3, 0.1), "its interval is too wide"),
    ):
        found = compare.compare(before, after)
        assert [cell.verdict for cell in found.cells] == ["AMBIGUOUS"]
        assert words in found.cells[0].reason
        assert any(words in line for line in comparison.comparison_lines(found))


def test_failures_of_either_run_are_told(tmp_path: Path) -> None:
    """What failed after is exit code 1, what failed before is said."""
    before, after = _run(1, [1.0] * 2), _run(2, [1.0] * 2)
    failures = [
        Failure(workload=one.workload, target=one.target, error="OutOfMemory", reason="No room.")
        for one in (before.measurements[1], after.measurements[1])
    ]
    only = [replace(run, measurements=run.measurements[:1]) for run in (before, after)]
    broken = replace(only[1], failures=(failures[1],))
    paths = _write(tmp_path, before, broken, replace(only[0], failures=(failures[0],)), after)
    failed = CliRunner().invoke(app, ["compare", *paths[:2], "--allow", "missing"])
    mended = CliRunner().invoke(app, ["compare", *paths[2:]])
    assert (failed.exit_code, mended.exit_code) == (1, 0)
    assert "Failed after: " in failed.stdout
    assert "Failed before: " in mended.stdout


def test_shift_within_the_tolerance_is_not_called() -> None:
    """A shift of 0.9 %, however sure, is not called; one of 1.2 % is."""
    for shift, verdict in ((1.009, "SAME"), (1.012, "SLOWER"), (0.992, "SAME"), (0.985, "FASTER")):
        pair = _run(1, [1.0], noise=1e-5), _run(2, [shift], noise=1e-5)
        assert _verdicts(*pair) == [verdict]


def test_precisions_are_told_apart() -> None:
    """Where a Run has several precisions of one network, each line says which it is."""
    run = _run(1, [1.0, 2.0])
    cells = tuple(
        replace(one, workload=replace(one.workload, batch=1, precision=precision))
        for one, precision in zip(run.measurements, ("fp32", "int8"), strict=True)
    )
    found = compare.compare(replace(run, measurements=cells), replace(run, measurements=cells))
    assert [cell.precision for cell in found.cells] == ["fp32", "int8"]
    assert ", int8" in comparison.comparison_markdown(found)


def test_what_an_import_does_not_tell_is_not_held_against_it() -> None:
    """Which part of a device computed is not told by most imports: they compare all the same."""
    before = _run(1, [1.0])
    told = (replace(m, target=replace(m.target, device="x", on="")) for m in before.measurements)
    after = replace(before, measurements=tuple(told))
    assert compare.compare(before, after).allowed == ()


def test_what_was_not_recorded_is_unknown() -> None:
    """Of imported cells neither threads nor the power mode is known: no 0 and no gap says so."""
    one = _run(1, [1.0])
    cells = tuple(
        replace(m, target=replace(m.target, threads=0), processes=(), stopped="imported")
        for m in one.measurements
    )
    said = conditions.conditions(one, cells)
    assert (said["threads"], said["power"]) == ("unknown", "unknown")
