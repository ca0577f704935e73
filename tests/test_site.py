"""The documents as a site: each page is in its navigation, and what is in it is a page."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
MADE = {"docs/commands.md", "docs/reference.md"}  # by docs/site.py, when the site is built


def test_the_navigation_lists_every_page_once() -> None:
    """mkdocs.yml names each page of docs/ once, and nothing that is not there."""
    lines = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r": (\S+\.md)$", lines, re.MULTILINE)
    assert len(named) == len(set(named))
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages | MADE == {name for name in named if name.startswith("docs/")}
    assert all((ROOT / name).is_file() for name in set(named) - MADE)
