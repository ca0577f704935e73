"""The blocks of docs/guide.md that need no measuring print what the guide shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import nnprof
from pages import calls

from nnprof.profiler.costmodel import here, model

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
RESULTS = ROOT / "bench_results" / "guide"
_RUN = re.compile(r"<!-- run -->\n```bash\n(.*?)```\n+```\n(.*?)```", re.DOTALL)
BLOCKS = _RUN.findall(GUIDE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place to write to, on the machine that the model is of, with the committed files."""
    (tmp_path / "bench_results").symlink_to(ROOT / "bench_results")
    monkeypatch.setattr(here, "_facts", lambda: model.load(RESULTS / "here.json").device)
    return tmp_path


def test_every_block_that_is_said_to_run_does() -> None:
    """Each mark stands before a command, and that before what it prints."""
    assert len(BLOCKS) == GUIDE.count("<!-- run -->") > 0


@pytest.mark.parametrize(("block", "shown"), BLOCKS, ids=[block.split()[1] for block, _ in BLOCKS])
def test_a_block_prints_what_the_guide_shows(block: str, shown: str, folder: Path) -> None:
    """Line by line, but for what "…" stands for; the exit code is the one that is told, or 0."""
    printed = ""
    for words in calls(block):
        done = nnprof(*words, folder=folder)
        told = re.search(r"exit code (\d+)\.", done.stdout)
        assert done.returncode == int(told[1] if told else 0), done.stderr
        printed += "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
    assert re.fullmatch(_some_of(shown), printed, re.DOTALL), f"not as in the guide:\n{printed}"


def _some_of(shown: str) -> str:
    """The pattern of an output of which the guide leaves out lines."""
    return "(?:.*\n)?".join(map(re.escape, shown.split("…\n")))
