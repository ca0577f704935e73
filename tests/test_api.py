"""The public names."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

import nnprof
from nnprof.errors import UsageError
from nnprof.networks import bundled

README = Path(__file__).parents[1] / "README.md"


def test_all_names_exist_and_are_sorted() -> None:
    """Every name of __all__ loads, the list is sorted, and leaves out none that would load."""
    assert set(nnprof.__all__) == {"__version__", *nnprof._HOMES}
    assert nnprof.__all__ == sorted(nnprof.__all__)
    assert all(getattr(nnprof, name) is not None for name in nnprof.__all__)


def test_types_are_told() -> None:
    """Type checkers are shown every public name, from the module that it loads from."""
    tree = ast.parse(Path(nnprof.__file__).read_text(encoding="utf-8"))
    (block, *_) = (node for node in tree.body if isinstance(node, ast.If))
    told = {
        name.asname or name.name: f"{node.module}:{name.name}" if name.asname else node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for name in node.names
    }
    assert told == nnprof._HOMES


def test_unknown_name() -> None:
    """A name that does not exist is an AttributeError, as of any module."""
    with pytest.raises(AttributeError, match="no attribute 'profile'"):
        nnprof.profile  # noqa: B018  asking for it is the test


def test_importing_costs_nothing() -> None:
    """`import nnprof` loads neither numpy nor msgspec."""
    code = "import sys, nnprof; print({'numpy', 'msgspec', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


PLAN = nnprof.Plan(processes=2, max_processes=2, sample_s=0.05, op_method="none")
FAKE = nnprof.Target(backend="fake")


def test_example_of_the_readme(tmp_path: Path) -> None:
    """The README's Python, letter by letter in a folder of its own, prints steps and results."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    (path,) = (tmp_path / "results").glob("mine-cpu-*.json")
    run = nnprof.load(path)
    *steps, first, second = done.stdout.splitlines()
    assert len(steps) == sum(len(cell.processes) for cell in run.measurements)
    assert steps[-1].split()[:2] == ["2", "2"]
    expected = [f"{row['network']} {row['batch']} {row['tiles_per_ms']} {row['state']}"
                for row in nnprof.rows(run)]  # fmt: skip
    assert [first, second] == expected


def test_examples_of_the_page(tmp_path: Path) -> None:
    """The examples of docs/api.md run as one program, and each public function is named there."""
    page = (README.parent / "docs" / "api.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "example.py").write_text("\n".join(blocks), encoding="utf-8")
    table = README.parent / "tests" / "data" / "import" / "table.csv"
    header, *lines = table.read_text(encoding="utf-8").splitlines()
    of_one = [line for line in lines if "mattsson(conv=1, fc=1)" in line]
    (tmp_path / "times.csv").write_text("\n".join([header, *of_one]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    functions = [name for name in nnprof.__all__ if name[0].islower() and "_cells" not in name]
    assert not [name for name in functions if f"{name}(" not in page and f"`{name}`" not in page]


def test_paths_may_be_strings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every public function that takes a path takes it as a string, too."""
    monkeypatch.chdir(tmp_path)
    file = os.fspath(bundled.model_path())
    tiles = os.fspath(bundled.tiles_path())
    assert nnprof.load_model(file) == nnprof.load_model(Path(file))
    cells = nnprof.named_cells([Path(file)], FAKE, [1, 4], data=Path(tiles))
    assert cells == nnprof.named_cells([file], FAKE, [1, 4], data=tiles)
    run, path = nnprof.start(cells, PLAN, "results", name="example")
    assert path.parent == Path("results")
    text = os.fspath(path)
    list(nnprof.sweep(run, text))
    measured = nnprof.load(text)
    assert [cell.workload.batch for cell in measured.measurements] == [1, 4]
    nnprof.save(replace(measured, measurements=measured.measurements[:1]), text)
    assert [step.finished for step in nnprof.sweep(nnprof.resume(text), text)] == [1, 2]
    network = nnprof.parse_network("20 fc4")
    assert nnprof.export(network, cache=os.fspath(tmp_path)).path.startswith(os.fspath(tmp_path))


def test_api_measures(tmp_path: Path) -> None:
    """A few lines of Python measure a network and read its tiles/ms."""
    cells = nnprof.named_cells([bundled.model_path()], FAKE, [1, 64])
    run, path = nnprof.start(cells, PLAN, tmp_path, name="example")
    for step in nnprof.sweep(run, path):
        assert step.total == 2
    rows = nnprof.rows(nnprof.load(path))
    assert [row["batch"] for row in rows] == [1, 64]
    assert all(row["tiles_per_ms"] > 0 for row in rows)


def test_nothing_to_measure(tmp_path: Path) -> None:
    """A run of no cells is refused in a sentence, and leaves no file."""
    with pytest.raises(UsageError, match="nothing to measure"):
        nnprof.start([], PLAN, tmp_path, name="example")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (nnprof.Target(backend="fake", threads=2), "threads 2"),
        (nnprof.Target(backend="fake", options={"noise": "0.1"}), "noise"),
        (nnprof.Target(backend="onnxruntime"), "backend onnxruntime"),
        (nnprof.Target(backend="fake", host="orin"), "host orin"),
    ],
)
def test_cells_of_several_targets(tmp_path: Path, other: nnprof.Target, named: str) -> None:
    """Cells that differ in any part of their target are refused: a Run has one environment."""
    (one,) = nnprof.named_cells([bundled.model_path()], FAKE, [1])
    with pytest.raises(UsageError, match=named):
        nnprof.start([one, replace(one, target=other)], PLAN, tmp_path, name="example")
    assert not list(tmp_path.iterdir())
