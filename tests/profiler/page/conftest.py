"""Pages of real Runs, and a hostile one, written once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import msgspec
import pytest

import nnprof
from nnprof.types import Run

RESULTS = Path(__file__).parents[3] / "bench_results"
(GROUP1,) = RESULTS.glob("group1-cpu-*.json")
HOSTILE = "</script><img src=x onerror=window.hurt=1><!--<b>" + "שלום" + "x" * 300
# What must stay as it is for the Run to be one, or for its cells to be told apart.
_KEPT = {
    *("created", "sha256", "dtype", "host", "op_method", "protocol", "stopped", "method", "clock"),
    *("normalisation", "precision", "state", "kind", "batch_from", "code", "network"),
}


def nasty(value: Any, key: str = "") -> Any:
    """The same with a hostile name in front of each name."""
    if isinstance(value, dict):
        return {name: nasty(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [nasty(one, key) for one in value]
    return HOSTILE + value if isinstance(value, str) and key not in _KEPT else value


@pytest.fixture(scope="session")
def group1() -> Run:
    """The committed Run of group 1: 35 cells with op times, seven batches."""
    return nnprof.load(GROUP1)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages by name, as the public function writes them."""
    folder = tmp_path_factory.mktemp("pages")
    bad = folder / "hostile.json"
    bad.write_text(json.dumps(nasty(json.loads(GROUP1.read_bytes()))), encoding="utf-8")
    written = {}
    for name, run in {"group1": GROUP1, "hostile": bad}.items():
        written[name] = folder / f"{name}.html"
        nnprof.write_report([run], written[name])
    return written


@pytest.fixture(scope="session")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two Runs of the fake: five numbers of streams with a budget, and pauses."""
    folder = tmp_path_factory.mktemp("busy")
    options = {"noise": "0.02", "process": "0.002", "speed": "0.1", "contention": "0.3"}
    one = nnprof.Target(backend="fake", options=options)
    plan = nnprof.Plan(processes=3, max_processes=3, fresh=0, sample_s=0.05, op_method="none")
    streams = [msgspec.structs.replace(one, streams=count) for count in (1, 2, 3, 4, 5)]
    together = msgspec.structs.replace(plan, streams_s=0.1, deadline_s=1e-3)
    paused = msgspec.structs.replace(plan, idle_s=(0.0, 0.001, 0.01, 0.1))
    paths = []
    for targets, wanted in ((streams, together), ([one], paused)):
        cells = [cell for each in targets for cell in nnprof.bundled_cells(each, (1, 16))]
        run, path = nnprof.start(cells, wanted, folder)
        list(nnprof.sweep(run, path))
        paths.append(path)
    nnprof.write_report(paths, folder / "busy.html")
    return folder / "busy.html"


@pytest.fixture(scope="session")
def chromium() -> Iterator[browser.Browser]:
    """One browser for all tests of pages."""
    with browser.started() as found:
        yield found
