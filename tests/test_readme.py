"""What README.md tells a reader to type and to open exists."""

import re
import subprocess
from pathlib import Path

import pytest
from pages import BASH, calls, unknown

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench_results/*.md"))
]
_MARKED = re.compile(r"<!-- command: (\S+) -->\s*```bash\n(.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def test_the_parser_sees_wrong_calls() -> None:
    """A subcommand or an option that does not exist is noticed, wherever it stands in a line."""
    first, second = calls("cd x && .venv/bin/nnprof bnech\npython -m nnprof bench \\\n --bacth 1")
    assert unknown(first) == ["bnech"]
    assert unknown(second) == ["--bacth"]


def test_readme_has_the_commands_that_ci_runs() -> None:
    """The first command and the test command are there, each once."""
    names = [name for name, _ in _MARKED.findall(README)]
    assert names.count("first") == 1
    assert names.count("test") == 1


def test_commands_in_readme_exist() -> None:
    """Every nnprof call in the README's shell blocks is one that `nnprof --help` knows."""
    found = [call for block in BASH.findall(README) for call in calls(block)]
    assert found
    assert not [word for call in found for word in unknown(call)]


@pytest.mark.parametrize(
    "document", ["docs/training.md", "docs/data.md", "docs/mattsson-2016.md", "docs/guide.md"]
)
def test_commands_in_pages_exist(document: str) -> None:
    """Every nnprof call in the shell blocks of a page is one that `nnprof --help` knows."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = [call for block in BASH.findall(text) for call in calls(block)]
    assert not [word for call in found for word in unknown(call)]


@pytest.mark.parametrize("name", ["first", "test"])
def test_ci_runs_what_readme_says(name: str) -> None:
    """.ci/run takes the command out of README.md, so the two cannot differ."""
    script = ROOT / ".ci" / "readme-command"
    done = subprocess.run([script, name], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == dict(_MARKED.findall(README))[name].strip()
    assert re.search(rf"^readme {name}$", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_ci_refuses_a_missing_command() -> None:
    """A marker that README.md lacks is an error, not an empty run that passes."""
    script = ROOT / ".ci" / "readme-command"
    done = subprocess.run([script, "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no block" in done.stderr


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """Every link to a file of the repository leads to one."""
    text = (ROOT / document).read_text(encoding="utf-8")
    targets = [target.split("#")[0] for target in _LINK.findall(text) if "://" not in target]
    missing = [
        target
        for target in targets
        if target and not (ROOT / document).parent.joinpath(target).exists()
    ]
    assert not missing
