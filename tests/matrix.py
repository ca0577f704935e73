"""`make matrix`: what is asked of every runtime, on each one in an environment of its own.

::

    PYTHON tests/matrix.py [ROW …]

A row is one extra of setup.cfg in a new virtual environment, with the versions of a file of
constraints; where the row names another version of its runtime, that one. No other runtime is
there, so a row also shows that its extra brings what its runtime needs. In it run the contract of
the backends and the runtime's own tests. `build/matrix` keeps the environments, what pip and pytest
said (`ROW.log`) and the table (`table.md`).

The exit code is 1 where a row failed or could not be installed. A row whose Python is not on the
PATH says so, and fails nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from junitparser import JUnitXml, Skipped
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tabulate import tabulate

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "matrix"
TESTS = Path("tests") / "profiler" / "backends"
MORE = {"onnxruntime": (Path("tests") / "exporters" / "test_precision.py",)}  # by its converters
NEWEST = "newest"
INSTALL_LIMIT_S = 3600
TEST_LIMIT_S = 1200
SHOWN = 3  # names of tests that failed
_NO_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # those of packages that a runtime brings


class Row(NamedTuple):
    """A runtime in one environment.

    Attributes:
        name: of the row.
        backend: the name that nnprof knows it by, and its distribution where `version` is given.
        extra: of setup.cfg, which brings it; several with commas between.
        version: of the runtime; "" is the one of the constraints, `NEWEST` what pip takes.
        constraints: the file with the versions of all the rest.
        held: the packages whose versions there are kept to; none named: all of them.
        python: such as "3.10"; "" is the one that runs this.
        bare: further packages, installed without what they depend on.
    """

    name: str
    backend: str
    extra: str
    version: str = ""
    constraints: str = "constraints.txt"
    held: tuple[str, ...] = ()
    python: str = ""
    bare: tuple[str, ...] = ()


ROWS = (
    Row("onnxruntime-1.23", "onnxruntime", "cpu", "1.23.2"),
    Row("onnxruntime-newest", "onnxruntime", "cpu", NEWEST),
    Row("jetpack6", "onnxruntime", "cpu", constraints="constraints-jetpack6.txt", python="3.10"),
    Row("openvino", "openvino", "openvino"),
    Row("torch", "torch", "train"),
    Row("mnn", "mnn", "mnn"),
    Row("ncnn", "ncnn", "ncnn", bare=("pnnx",)),  # which would bring torch
    # What converts needs older versions of some packages than all the rest is tested with. torch is
    # held all the same: the newest would come with CUDA, gigabytes of it.
    Row("litert", "litert", "litert,litert-convert", held=("ai-edge-litert", "torch")),
)


class Outcome(NamedTuple):
    """What came of a row; `why` says what kept its tests from running."""

    row: Row
    python: str = ""
    version: str = ""
    passed: int = 0
    skipped: int = 0
    failed: tuple[str, ...] = ()
    why: str = ""
    absent: bool = False

    @property
    def good(self) -> bool:
        """Whether tests ran and none failed."""
        return not self.why and not self.failed and self.passed > 0

    @property
    def words(self) -> str:
        """The last column of the table."""
        if self.why or self.good:
            return self.why or "passed"
        more = len(self.failed) - SHOWN
        names = ", ".join(self.failed[:SHOWN]) + (f" and {more} more" if more > 0 else "")
        return f"failed: {names}" if self.failed else "no test ran"


def constraints(row: Row) -> str:
    """What of the file holds; not the runtime, where the row chooses its version itself."""
    lines = (ROOT / row.constraints).read_text(encoding="utf-8").splitlines(True)
    chosen = row.backend if row.version else ""
    return "".join(
        line
        for line in lines
        if (name := _pinned(line)) and name != chosen and (not row.held or name in row.held)
    )


def _pinned(line: str) -> str:
    """The name that a line pins; "" for a comment."""
    words = line.partition("#")[0].strip()
    return canonicalize_name(Requirement(words).name) if words else ""


def wanted(row: Row) -> list[str]:
    """What pip is asked for."""
    exact = [] if row.version in ("", NEWEST) else [f"{row.backend}=={row.version}"]
    return ["-e", f".[{row.extra}]", "pytest", *exact]


def interpreter(python: str) -> str:
    """The Python of that version, by running it; "" where it is not here."""
    if not python:
        return sys.executable
    found = shutil.which(f"python{python}")
    if not found:
        return ""
    done = subprocess.run([found, "-c", ""], capture_output=True, check=False)
    return "" if done.returncode else found


def run(row: Row) -> Outcome:
    """Make the environment, and run the tests in it."""
    base = interpreter(row.python)
    if not base:
        return Outcome(row, why=f"no python{row.python} on the PATH", absent=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    home, chosen = FOLDER / row.name, FOLDER / f"{row.name}.txt"
    chosen.write_text(constraints(row), encoding="utf-8")
    python = str(home / "bin" / "python")
    pip = [python, "-m", "pip", "install", "-q"]
    steps = [
        [base, "-m", "venv", "--clear", str(home)],
        [*pip, "-c", str(chosen), *wanted(row)],
        *([[*pip, "--no-deps", *row.bare]] if row.bare else []),
    ]
    with (FOLDER / f"{row.name}.log").open("wb") as log:
        for step in steps:
            failure = _do(step, log.fileno(), INSTALL_LIMIT_S)
            if failure:
                said = Path(log.name).read_text(encoding="utf-8", errors="replace")
                return Outcome(row, why=f"cannot install: {refusal(said) or failure}")
        return _tested(row, python, log.fileno())


def _do(command: Sequence[str], log: int, limit_s: float) -> str:
    """Run a program in the root with its words in the log; why it failed, "" where it did not."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | _NO_PLUGINS, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, timeout=limit_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not done after {limit_s / 60:.0f} min"
    return f"exit code {done.returncode}" if done.returncode else ""


def refusal(said: str) -> str:
    """The line in which pip says what it misses; "" where it says nothing of the kind."""
    lines = re.findall(r"^ERROR: (.+)$", said, re.MULTILINE)
    return lines[-1] if lines else ""


_ASK = (
    "import platform, sys; from nnprof import registry; "
    "print(platform.python_version(), registry.find('backend', sys.argv[1]).probe()['version'])"
)


def _tested(row: Row, python: str, log: int) -> Outcome:
    """The tests in an environment that is there."""
    asked = subprocess.run(
        [python, "-c", _ASK, row.backend], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if asked.returncode:
        return Outcome(row, why=(asked.stderr.strip().splitlines() or ["it does not load"])[-1])
    version, runtime = asked.stdout.split()[-2:]
    report = FOLDER / f"{row.name}.xml"
    report.unlink(missing_ok=True)
    own = [TESTS / f"test_{row.backend}.py", *MORE.get(row.backend, ())]
    files = [TESTS / "test_contract.py", *(one for one in own if (ROOT / one).is_file())]
    chosen = " or ".join((row.backend, *(one.stem for one in own)))  # of the contract, its part
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", "-k", chosen]
    command += [f"--junitxml={report}", *map(str, files)]
    failure = _do(command, log, TEST_LIMIT_S)
    known = Outcome(row, python=version, version=runtime)
    return told(report, known) if report.is_file() else known._replace(why=failure)


def told(report: Path, known: Outcome) -> Outcome:
    """An outcome with what pytest's report says."""
    cases = [case for suite in JUnitXml.fromfile(str(report)) for case in suite]
    skipped = [case for case in cases if case.is_skipped]
    failed = [case for case in cases if any(not isinstance(one, Skipped) for one in case.result)]
    names = tuple(dict.fromkeys(str(case.name) for case in failed))
    passed = len(cases) - len(skipped) - len(failed)
    return known._replace(passed=passed, skipped=len(skipped), failed=names)


def table(outcomes: Sequence[Outcome]) -> str:
    """A line for each row, as Markdown."""
    rows = [
        (one.row.name, one.version or "–", one.python or "–", one.passed, one.skipped,
         len(one.failed), one.words)
        for one in outcomes
    ]  # fmt: skip
    head = ("row", "version", "Python", "passed", "skipped", "failed", "")
    return tabulate(rows, headers=head, tablefmt="github", disable_numparse=True)


def main(asked: Sequence[str]) -> int:
    """Run the rows that are asked for, or all; 1 where one failed."""
    known = {row.name: row for row in ROWS}
    if unknown := [name for name in asked if name not in known]:
        print(f"Unknown row '{unknown[0]}'. Known: {', '.join(known)}.", file=sys.stderr)
        return 2
    outcomes = []
    for row in (known[name] for name in asked or known):
        print(f"{row.name}: its environment, then its tests …", flush=True)
        outcomes.append(run(row))
        print(f"{row.name}: {outcomes[-1].words}", flush=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / "table.md").write_text(table(outcomes) + "\n", encoding="utf-8")
    print(f"\n{table(outcomes)}\n\nLogs: {FOLDER.relative_to(ROOT)}/ROW.log")
    return 0 if all(one.good or one.absent for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
