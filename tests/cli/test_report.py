"""`nnprof report`: what it takes, what it writes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import nnprof

RESULTS = Path(__file__).parents[2] / "bench_results"
RUN = RESULTS / "bundled-cpu-20261125-193638.json"


def test_it_writes_a_page_and_says_what_is_not_in_it(tmp_path: Path) -> None:
    """The name of the page goes to the output, what it lacks in one line beside."""
    done = nnprof("report", RUN, "-o", tmp_path / "page.html")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'page.html'}\n")
    assert done.stderr.startswith("nnprof: not shown: where the time goes, ops, ")
    assert done.stderr.count("\n") == 1


def test_a_budget_of_its_own(tmp_path: Path) -> None:
    """With --budget the page has a verdict, though the Run was measured without one."""
    done = nnprof("report", RUN, "--budget", "30fps", "-o", tmp_path / "page.html")
    assert done.returncode == 0
    assert "Time budget 33.3 ms" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((RUN, "-o", "page.pdf"), "page.pdf is no name of a page. Let it end in .html."),
        (("gtx960-mattsson2016", "-o", "page.html"), "There is nothing to report."),
        (("nothing.json", "-o", "page.html"), "nothing.json"),
        ((RUN, RESULTS.parent / "docs", "-o", "page.html"), "holds no training"),
        ((RUN, *["onnxruntime-avx2", "gtx960-mattsson2016"], "-o", "page.html"), "Two cost models"),
        ((RUN, "--budget", "soon", "-o", "page.html"), "--budget soon is no time."),
        ((RUN, "-o", RUN / "page.html"), "page.html"),
    ],
)
def test_what_it_refuses(tmp_path: Path, words: tuple[object, ...], sentence: str) -> None:
    """Each is one sentence with a remedy, exit code 2, and no page."""
    done = nnprof("report", *words, folder=tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not list(tmp_path.rglob("*.html"))
