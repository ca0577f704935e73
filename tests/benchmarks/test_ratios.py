"""What is said of ratios that should be one."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
ratios = importlib.import_module("ratios")


def test_a_cell_without_a_ratio_is_not_near_one(tmp_path: Path) -> None:
    """It counts among the cells, so that a runtime that tells nothing reaches no target."""
    assert ratios.share([1.0, None, 1.2, 0.96], 0.05) == 0.5
    assert ratios.words([None, None]) == "not measured"
    rows = [
        {"backend": "a", "ratio": 1.0},
        {"backend": "a", "ratio": None},
        {"backend": "b", "ratio": 2.0},
    ]
    lines = ratios.by_backend(rows, "ratio", "x/y")
    assert lines[0].startswith("a: x/y median 1.000")
    assert lines[0].endswith("within 5 %: 50%, within 10 %: 50% of 2 cells")
    assert lines[1].endswith("within 10 %: 0% of 1 cells")
    ratios.conclude(tmp_path / "out.json", rows, lines, rounds=3)
    kept = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert kept == {"rounds": 3, "cells": rows, "summary": lines}


def test_each_runtime_is_measured_once() -> None:
    """In the order asked for, with a folder that is there."""

    def measure(backend: str, folder: Path) -> list[dict[str, str]]:
        assert folder.is_dir()
        return [{"backend": backend}]

    assert [one["backend"] for one in ratios.measured(("b", "a"), measure)] == ["b", "a"]
