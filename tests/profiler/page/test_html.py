"""The page as a file: nothing in it comes from elsewhere, and no name ends its data."""

from __future__ import annotations

import hashlib
import json
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest

import nnprof
from nnprof.profiler.page import html

RESULTS = Path(__file__).parents[3] / "bench_results"

_FOREIGN = {"link", "img", "iframe", "object", "embed", "base", "form", "a"}


class Seen(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        """Keep that of scripts."""
        if self.cdata_elem == "script":
            self.scripts[-1] += data


def test_the_library_is_the_pinned_one() -> None:
    """The plotting library is the file of the release that the module names, with its licence."""
    assets = resources.files("nnprof.profiler.page") / "assets"
    data = (assets / html.PLOTLY).read_bytes()
    assert hashlib.sha256(data).hexdigest() == html.PLOTLY_SHA256
    assert f"v{html.PLOTLY_VERSION}" in data[:200].decode()
    assert "MIT License" in (assets / "plotly.LICENSE").read_text(encoding="utf-8")


def test_no_name_leaves_the_data(pages: dict[str, Path]) -> None:
    """With hostile names the page has the same elements, and its JSON still holds the names."""
    good, bad = (Seen(pages[name].read_text(encoding="utf-8")) for name in ("group1", "hostile"))
    assert len(bad.scripts) == len(good.scripts) == 3
    assert set(bad.tags) == set(good.tags)
    assert _FOREIGN.isdisjoint(bad.tags)
    assert any("onerror" in name for name in json.loads(bad.scripts[0])["cells"])
    assert not [name for name, _ in bad.attributes if name.startswith("on")]


def test_nothing_is_allowed_from_outside(pages: dict[str, Path]) -> None:
    """The policy lets in nothing but the scripts of the file itself, by their hashes."""
    text = pages["group1"].read_text(encoding="utf-8")
    (policy,) = (value for _, value in Seen(text).attributes if value and "default-src" in value)
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert parts["default-src"] == "'none'"
    assert parts["script-src"].count("'sha256-") == 2
    assert "unsafe" not in parts["script-src"]
    assert "http" not in policy


@pytest.mark.parametrize("runs", ["group?-cpu-*.json", "costmodel-*.json"])
def test_a_page_of_the_largest_runs_is_small(runs: str, tmp_path: Path) -> None:
    """The four groups together, and the four largest Runs of all, have at most 5 MB each."""
    paths = sorted(RESULTS.glob(runs))
    assert len(paths) == 4
    nnprof.write_report(paths, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 5e6


def test_a_page_is_small(pages: dict[str, Path]) -> None:
    """A page of 35 cells has at most 5 MB, of which the library is 1.2."""
    assert pages["group1"].stat().st_size < 5e6
