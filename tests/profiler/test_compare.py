"""Two Runs, cell by cell."""

from __future__ import annotations

import json
from pathlib import Path

import commands
import numpy as np
import pytest
from msgspec.structs import replace

from nnprof.errors import UsageError
from nnprof.profiler import compare, report, results
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
    assert compare._holm([0.01]) == [True]
    assert compare._holm(doubts)[0] is False
    assert compare._holm([1e-6, 0.02, 0.03]) == [True, True, True]


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
        compare.compare(before, replace(before, measurements=()), allow=compare.conditions(before))


def test_markdown_for_a_pull_request() -> None:
    """The Markdown has the counts first and one line per cell."""
    text = report.comparison_markdown(compare.compare(_run(1, [1.0, 1.0]), _run(2, [1.0, 2.0])))
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
