"""Whether two checkouts of nnprof say the same of the committed files.

    python benchmarks/outputs.py BEFORE_PYTHON AFTER_PYTHON

Each argument is the Python of a checkout with nnprof installed. Both checkouts run `show`,
`compare`, `import`, `fit-model`, `predict`, `search` and `plan` on the committed Runs, models and
exports of this checkout. Each command whose exit code, numbers or words differ is printed. The
exit code is 1 if numbers differ: all of JSON and CSV, and the numbers in tables outside of notes.
"""

from __future__ import annotations

import difflib
import itertools
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNS = sorted((ROOT / "bench_results").glob("*.json"))
DATA = ROOT / "tests" / "data"
FROZEN = ROOT / "benchmarks" / "results" / "costmodel-own-frozen.json"
NETWORKS = ("1x28x28 conv20k5 conv20k5 pool2 fc128 fc10", "1x28x28 conv80k5 pool2 fc512 fc10")
_CREATED = re.compile(r'"created": *"[^"]*"')
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def commands() -> Iterator[tuple[str, ...]]:
    """Every command, as arguments of nnprof; files that it writes go to the folder it runs in."""
    for run in (*RUNS, DATA / "run-v1.json", DATA / "run-v2.json"):
        for form in ("table", "csv", "md", "json"):
            yield "show", str(run), "--format", form
            yield "show", str(run), "--format", form, "--ops"
    pairs = [*itertools.pairwise(RUNS), (RUNS[0], RUNS[0])]
    for one, other in pairs:
        for form in ("table", "md", "json"):
            yield "compare", str(one), str(other), "--format", form
    yield from imports()
    groups = [str(run) for run in RUNS if run.name.startswith("group")]
    own = [str(run) for run in RUNS if run.name.startswith("costmodel-train")]
    for runs, out in ((groups, "groups.json"), (own, "own.json")):
        yield "fit-model", *runs, "-o", out, "--format", "json"
    yield "fit-model", *groups, "-o", "again.json"
    for model in (str(FROZEN), "gtx960-mattsson2016", "groups.json", "own.json"):
        for form in ("table", "json"):
            yield "predict", model, *NETWORKS, "--ops", "--format", form
        yield "search", model, "--min-tiles-per-ms", "20", "--format", "csv"
        yield "search", model, "--min-tiles-per-ms", "20"
    yield "plan", str(FROZEN), "--budget", "12", "--out", "plan.json"


def imports() -> Iterator[tuple[str, ...]]:
    """Imports of other tools' committed files, each shown afterwards."""
    times = DATA / "trtexec" / "10.3"
    sources = {
        "table": [DATA / "import" / "table.csv"],
        "ort": [DATA / "ort-profile.json"],
        "trtexec": sorted(times.glob("*.json")),
    }
    for name, files in sources.items():
        yield "import", *map(str, files), "--network", name, "--batch", "1", "--out", f"{name}.json"
        yield "show", f"{name}.json", "--ops", "--format", "csv"


def said(python: str, folder: str) -> list[tuple[int, str]]:
    """Exit code and output of every command, and at the end the files that they wrote."""
    results = []
    for arguments in commands():
        done = subprocess.run(
            [python, "-m", "nnprof", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={"COLUMNS": "160", "PATH": "/usr/bin:/bin", "HOME": folder},
        )
        # Progress comes when it comes, and a model says when it was made.
        words = done.stderr if done.returncode else _CREATED.sub("", done.stdout)
        results.append((done.returncode, words))
    return results


def numbers(arguments: tuple[str, ...], words: str) -> object:
    """What must not differ: everything of JSON and CSV, the numbers of tables outside of notes."""
    if "json" in arguments or "csv" in arguments:
        return words
    notes = re.split(r"^(?:Note|Notes|!|  ·)", words, maxsplit=1, flags=re.MULTILINE)[0]
    return _NUMBER.findall(notes)


def main(before: str, after: str) -> int:
    """Run both checkouts side by side, print differences; the exit code."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        with ThreadPoolExecutor(2) as pool:
            old, new = pool.map(said, (before, after), (one, other))
        old, new = ([(c, w.replace(f, "OUT")) for c, w in x] for x, f in ((old, one), (new, other)))
    worse = words = 0
    for arguments, was, now in zip(commands(), old, new, strict=True):
        if was == now:
            continue
        same = was[0] == now[0] and numbers(arguments, was[1]) == numbers(arguments, now[1])
        worse, words = worse + (not same), words + same
        print(f"{'words' if same else 'NUMBERS'} differ: nnprof {' '.join(arguments)}")
        print(f"  exit codes {was[0]} and {now[0]}")
        lines = difflib.unified_diff(was[1].splitlines(), now[1].splitlines(), lineterm="", n=0)
        print("\n".join(f"    {line[:150]}" for line in list(lines)[2:12]))
    print(f"{len(old)} commands: numbers differ in {worse}, only words in {words}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
