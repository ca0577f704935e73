"""Names from files reach terminals, Markdown, CSV and JSON as text, through every command."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from nnprof.cli.main import app
from nnprof.profiler import results

GOLDEN = Path(__file__).parents[1] / "data" / "run-v1.json"
NASTY = "=[/x]\x1b]0;owned\x07\x9b31m\u202e|`<script>[red]\n# name"
# What must stay as it is for the Run to be one, or for its cells to be told apart.
KEPT = {
    *("created", "sha256", "dtype", "host", "op_method", "protocol", "stopped", "method", "clock"),
    *("normalisation", "precision", "state", "kind", "batch_from"),
}


def _nasty(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _nasty(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_nasty(one, key) for one in value]
    return NASTY + value if isinstance(value, str) and key not in KEPT else value


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Run in which every name is hostile: networks, ops, devices, checks, failures."""
    path = tmp_path_factory.mktemp("run") / "run.json"
    path.write_text(json.dumps(_nasty(json.loads(GOLDEN.read_bytes()))), encoding="utf-8")
    results.load(path)
    return path


def nnprof(words: Sequence[str]) -> tuple[int, str]:
    """Exit code and all output of a command, run in this process."""
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    return done.exit_code, done.output


@pytest.mark.parametrize("form", ["table", "md", "csv", "json"])
@pytest.mark.parametrize("more", [(), ("--ops",)])
def test_show(hostile: Path, form: str, more: tuple[str, ...]) -> None:
    """`show` prints names in every format, and no control character."""
    code, output = nnprof(["show", str(hostile), "--format", form, *more])
    assert code == 0
    assert all(letter.isprintable() or letter == "\n" for letter in output)
    assert "owned" in output
    if form == "table":
        assert "[/x]" in output
    if form == "md":
        assert "<script" not in output
        assert len({line.replace("\\|", "").count("|") for line in output.splitlines()}) == 1
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(output)))
        assert all(row["network"].startswith("'=[/x]") for row in rows)
    if form == "json":
        assert NASTY in json.loads(output)[0]["network"]


@pytest.mark.parametrize("form", ["table", "md", "json"])
def test_compare(hostile: Path, form: str) -> None:
    """`compare` does the same for two Runs."""
    code, output = nnprof(["compare", str(hostile), str(hostile), "--format", form])
    assert code in (0, 1)
    assert all(letter.isprintable() or letter == "\n" for letter in output)
    assert form != "md" or "<script" not in output


@pytest.mark.parametrize("command", ["predict", "search"])
@pytest.mark.parametrize("form", ["table", "json"])
def test_a_model(command: str, form: str, tmp_path: Path) -> None:
    """Names, groups, notes and labels of a cost model are text, too."""
    from nnprof.profiler.costmodel import model

    made = msgspec.to_builtins(model.load("gtx960-mattsson2016"))
    kept = {"group", "feature", "lowering", "precision"}
    groups = [{**one, "flag": NASTY, "label": NASTY} for one in made["terms"]]
    nasty = {
        **{key: value if key in kept else _nasty(value, key) for key, value in made.items()},
        "terms": groups,
        "groups": made["groups"],
    }
    path = tmp_path / "model.json"
    path.write_text(json.dumps(nasty), encoding="utf-8")
    what = ["mattsson(conv=1)", "--ops"] if command == "predict" else ["--min-tiles-per-ms", "1"]
    code, output = nnprof([command, str(path), *what, "--format", form])
    assert code == 0
    assert all(letter.isprintable() or letter == "\n" for letter in output)
