"""Output forms are an open table."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import commands
import pytest

from nnprof import registry
from nnprof.cli.forms import of_rows
from nnprof.errors import UnknownName
from nnprof.profiler.report import forms

ROWS = [{"network": "a|b", "ms": 1.25}, {"network": "c", "ms": None}]


def as_lines(table: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """A form of another package: one line per row."""
    return "".join(f"{' '.join(str(row[name]) for name in columns)}\n" for row in table)


def test_another_packages_form_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new form is one function and one line of entry points."""
    point = EntryPoint("lines", f"{__name__}:as_lines", "nnprof.outputs")
    monkeypatch.setattr(registry, "entry_points", lambda **_: [point])
    monkeypatch.setattr(EntryPoint, "load", lambda _: as_lines)
    assert forms.written("lines", ROWS, ("network", "ms")) == "a|b 1.25\nc None\n"


def test_a_command_with_rows_takes_another_packages_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--format` of show and search knows what is registered; what is not is a usage error."""
    parse = of_rows("How to print it.").parser
    monkeypatch.setattr(
        registry, "names", lambda kind: ("csv", "lines") if kind == "output" else ()
    )
    assert parse("lines") == "lines"
    with pytest.raises(
        ValueError, match="'xml' is not one of 'table', 'csv', 'md', 'json', 'lines'"
    ):
        parse("xml")


def test_the_built_in_forms() -> None:
    """CSV has numbers in full, Markdown four digits and its bars escaped, JSON what is there."""
    assert forms.written("csv", ROWS, ("network", "ms")) == "network,ms\na|b,1.25\nc,\n"
    assert "a\\|b" in forms.written("md", ROWS, ("network", "ms"))
    assert '"ms": null' in forms.written("json", ROWS, ("network", "ms"))


def test_an_unknown_form_is_one_sentence() -> None:
    """The forms that there are are listed; the command ends with 2 before it does anything."""
    with pytest.raises(UnknownName, match="Known: csv, json, md"):
        forms.written("xml", ROWS, ("network",))
    run = Path(__file__).parents[2] / "data" / "run-v1.json"
    done = commands.nnprof("show", run, "--format", "xml")
    assert (done.returncode, done.stdout) == (2, "")
