"""`nnprof plot RUN.json` as a user runs it: grids and figures as pictures."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import commands
import pytest
from msgspec.structs import replace

import nnprof
from nnprof.errors import UsageError

RESULTS = Path(__file__).parents[2] / "bench_results"
(GROUP1,), (GROUP3,) = (tuple(RESULTS.glob(f"group{one}-cpu-*.json")) for one in (1, 3))

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed"
)


@needs_matplotlib
@pytest.mark.parametrize("form", ["png", "pdf", "svg"])
def test_the_same_run_gives_the_same_bytes(form: str, tmp_path: Path) -> None:
    """A figure is a picture of each form, without date or chance."""
    begins = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
    made = []
    for name in ("1", "2"):
        done = commands.nnprof(
            "plot", GROUP3, "--figure", "12", "-o", f"{name}.{form}", folder=tmp_path
        )
        assert (done.returncode, done.stdout) == (0, f"{name}.{form}\n")
        made.append((tmp_path / f"{name}.{form}").read_bytes())
    assert made[0] == made[1]
    assert made[0].startswith(begins[form])


@needs_matplotlib
def test_each_column_has_a_look(tmp_path: Path) -> None:
    """Five columns are five colours with bars; two Runs are a ratio."""
    run = nnprof.load(GROUP3)
    nnprof.plot_grid(nnprof.grid_of_run(run, "neurons", "fc"), tmp_path / "a.svg", [run])
    colours = set(re.findall("#[0-9a-f]{6}", (tmp_path / "a.svg").read_text(encoding="utf-8")))
    assert {"#0072b2", "#d55e00", "#009e73", "#cc79a7"} <= colours
    assert "#56b4e9" not in colours
    done = commands.nnprof("plot", GROUP3, GROUP3, "--figure", "14", "-o", tmp_path / "b.svg")
    assert done.returncode == 0


@needs_matplotlib
def test_what_has_no_number_is_told(tmp_path: Path) -> None:
    """A cell that is not in the Run, or failed, is a gap that a sentence names."""
    run = nnprof.load(GROUP3)
    first, second, *rest = run.measurements
    failure = nnprof.Failure(
        workload=second.workload, target=second.target, error="OutOfMemory", reason="no memory"
    )
    cells = tuple(nnprof.Cell(workload=one.workload, target=one.target) for one in rest)
    run = replace(
        run,
        measurements=tuple(rest),
        failures=(failure,),
        study=replace(run.study, cells=cells),
    )
    grid = nnprof.grid_of_run(run, "neurons", "fc")
    (note, *_) = nnprof.plot_grid(grid, tmp_path / "a.png", [run])
    assert first.workload.model.name == "mattsson(conv=1, fc=1, depth=20, neurons=128)"
    assert note == ("Not in the picture: missing: neurons=128 fc=1; failed: neurons=256 fc=1.")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((GROUP3,), "is a Run, which is drawn as a grid. Add --grid"),
        ((RESULTS, "--figure", "12"), "is a folder, and a grid is of Runs. Give a RUN.json."),
        ((GROUP3, GROUP3, GROUP3, "--grid", "fc,neurons"), "here are 3. Give one or two."),
        ((GROUP3, "--kind", "conv"), "--kind is about a grid"),
        ((GROUP3, "--figure", "14"), "Figure 14 is made of two Runs"),
        (
            (GROUP3, GROUP1, "--grid", "fc,depth", "--where", "neurons=256"),
            "Run b: No cell has neurons=256. Its values: 128.",
        ),
    ],
)
def test_bad_input(words: tuple[str | Path, ...], sentence: str, tmp_path: Path) -> None:
    """What cannot be drawn gets a sentence and its remedy, exit code 2, and leaves no file."""
    done = commands.nnprof("plot", *words, "-o", "a.png", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())


def test_more_lines_than_looks(tmp_path: Path) -> None:
    """Lines that nobody can tell apart are refused, with the way round that works."""
    values = tuple(range(1, 21))
    row = ((1.0,) * 20,)
    grid = nnprof.Grid(
        row_name="fc", column_name="neurons", rows=(1,), columns=values, values=row, low=row,
        high=row, states=(("measured",) * 20,), unit="tiles/ms",
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"20 lines.*--grid neurons,fc"):
        nnprof.plot_grid(grid, tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"End it with one of \.svg, \.png, \.pdf"):
        nnprof.plot_grid(grid, tmp_path / "a.jpg")
