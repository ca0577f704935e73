"""Ratios that should be one: what a table of them says in words, and the file that keeps it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Row = dict[str, Any]


def share(ratios: Sequence[float | None], reach: float) -> float:
    """Part of the ratios within 1 ± reach; one that is not known is not."""
    return sum(one is not None and abs(one - 1) <= reach for one in ratios) / len(ratios)


def words(ratios: Sequence[float | None]) -> str:
    """Median, range, and how many are near one."""
    known = [one for one in ratios if one is not None]
    if not known:
        return "not measured"
    return (
        f"median {median(known):.3f}, range {min(known):.3f} to {max(known):.3f}, within 5 %: "
        f"{share(ratios, 0.05):.0%}, within 10 %: {share(ratios, 0.10):.0%} of {len(ratios)} cells"
    )


def by_backend(rows: Sequence[Row], key: str, name: str) -> list[str]:
    """A line for each runtime about what its rows have under a key."""
    return [
        f"{backend}: {name} {words([one[key] for one in rows if one['backend'] == backend])}"
        for backend in dict.fromkeys(one["backend"] for one in rows)
    ]


def measured(backends: Iterable[str], measure: Callable[[str, Path], list[Row]]) -> list[Row]:
    """The rows of all runtimes; `measure` gets each, and a folder for what it does not keep."""
    with tempfile.TemporaryDirectory() as folder:
        return [row for backend in backends for row in measure(backend, Path(folder))]


def conclude(out: Path, rows: list[Row], lines: list[str], **more: Any) -> None:
    """Print the lines; write them with the rows as JSON."""
    print("\n".join(lines))
    text = json.dumps({**more, "cells": rows, "summary": lines}, indent=1, ensure_ascii=False)
    out.write_text(text + "\n", encoding="utf-8")
