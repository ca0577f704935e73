"""Users' code is type-checked against nnprof's own types: `py.typed` is a promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/api.md")
UNKNOWN = "import nnprof\nnnprof.profile\nnnprof.load(1)\n"


def linked(folder: Path) -> Path:
    """A tree that shows the root folders as nnprof.profiler and so on, as `make types` does."""
    package = folder / "typing" / "nnprof"
    package.mkdir(parents=True)
    names = ("profiler", "networks", "exporters")
    for path in (*(ROOT / "nnprof").iterdir(), *(ROOT / name for name in names)):
        (package / path.name).symlink_to(path)
    return package.parent


def test_examples_pass_mypy_and_mistakes_do_not(tmp_path: Path) -> None:
    """`mypy --strict` passes the Python of README and docs/api.md; it sees real signatures."""
    for page in PAGES:
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
        name = page.rpartition("/")[2].replace(".md", ".py").lower()
        (tmp_path / name).write_text("\n".join(blocks), encoding="utf-8")
    (tmp_path / "wrong.py").write_text(UNKNOWN, encoding="utf-8")
    cache = ROOT / "build" / "mypy"  # what a run before found makes the next one cheap
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", ROOT / "setup.cfg",
         "--follow-imports=silent", "--cache-dir", cache, "readme.py", "api.py", "wrong.py"],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": os.fspath(linked(tmp_path))},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    mistakes = done.stdout.splitlines()
    assert len(mistakes) == 3, done.stdout + done.stderr
    assert mistakes[0].startswith("wrong.py:2: ")
    assert "[attr-defined]" in mistakes[0]
    assert mistakes[1].startswith("wrong.py:3: ")
    assert "[arg-type]" in mistakes[1]
