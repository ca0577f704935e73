"""`nnprof bench --for`: what goes with it, what it prints, and what show makes of it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import commands
import pytest

import nnprof
from nnprof.networks import bundled

# On the fake an inference takes 35 ms, so that minutes of its clock are few of them.
FAKE = ("--backend", "fake", "--option", "speed=0.0005", "--option", "noise=0.01")
THROTTLED = ("--option", "throttle=1.25", "--option", "throttle_s=200")


def heated(folder: Path, *words: str) -> commands.Done:
    """A heat of the bundled network."""
    return commands.nnprof(
        "bench", bundled.model_path(), "--batch", "1", *FAKE, *words, folder=folder
    )


@pytest.mark.usefixtures("workers_here")
def test_a_heat_is_shown_as_windows_and_sentences(tmp_path: Path) -> None:
    """The table has a line per window within 80 columns; sentences say since when it is steady."""
    done = heated(
        tmp_path, "--for", "10min", "--option", "throttle=1.25", "--option", "throttle_s=200"
    )
    assert done.returncode == 0, done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines()[:-1])
    said = " ".join(done.stdout.split())
    assert "batch 1, without a rest for 10 min; windows of 10.0 s" in said
    assert "20 of 60 windows are shown" in said or "21 of 60 windows are shown" in said
    assert "Steady since 3:20" in said
    assert "+25.0%" in said
    assert "At 3:20 the latency went from" in said


@pytest.mark.usefixtures("workers_here")
@pytest.mark.parametrize("form", ["csv", "md", "json"])
def test_every_window_is_a_row(tmp_path: Path, form: str) -> None:
    """`show --windows` has them all, in each form, with what is unknown left empty."""
    heated(tmp_path, "--for", "30s", "--out", str(tmp_path))
    (path,) = tmp_path.glob("*.json")
    done = commands.nnprof("show", path, "--windows", "--format", form)
    assert done.returncode == 0, done.stderr
    rows = {
        "csv": lambda text: list(csv.DictReader(io.StringIO(text))),
        "json": json.loads,
        "md": lambda text: text.splitlines()[2:],
    }[form](done.stdout)
    assert len(rows) == 30
    if form == "json":
        assert rows[3]["at_s"] == pytest.approx(3.0, abs=0.2)
        assert rows[3]["missed"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--for", "ten"), "--for ten is not a time. Write it like this: --for 90s"),
        (("--for", "10"), "--for 10 is not a time."),
        (("--for", "0.1s"), "--for 0.1s: 0.1 is not so many seconds. Give 1 to 604800."),
        (("--for", "10min", "--quick", "--idle", "0"), "does not go with --quick, --idle."),
        (("--for", "10min", "--batch", "1,2"), "these are 2: "),
    ],
)
def test_what_does_not_go_with_it_is_refused(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    """One sentence with the remedy, exit code 2, and nothing is written."""
    done = heated(tmp_path, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("**/*.json"))


def test_windows_of_a_run_without_any(tmp_path: Path) -> None:
    """Asked for windows, a Run that has none says how to get them."""
    golden = Path(__file__).parents[1] / "data" / "run-v2.json"
    done = commands.nnprof("show", golden, "--windows", folder=tmp_path)
    assert done.returncode == 2
    assert "nnprof bench --for 10min" in done.stderr


@pytest.mark.usefixtures("workers_here")
@pytest.mark.parametrize(("budget", "word", "code"), [("50ms", "FITS", 0), ("32ms", "MISSES", 1)])
def test_the_verdict_is_that_of_the_steady_state(
    tmp_path: Path, budget: str, word: str, code: int
) -> None:
    """A budget that holds at first and not when the box is warm is missed; one that holds fits."""
    done = heated(tmp_path, "--for", "5min", *THROTTLED[:2], "--option", "throttle_s=100",
                  "--budget", budget)  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert f"Verdict: {word}" in said or word in said.rpartition("Run:")[0]
    (path,) = tmp_path.glob("**/*.json")
    (found,) = nnprof.verdicts(nnprof.load(path))
    assert (found.word, found.processes) == (word, 1)
    windows = nnprof.load(path).measurements[0].processes[0].windows
    assert {one.missed for one in windows[:9]} == {0}
    other = commands.nnprof("show", path, "--budget", "1s")
    assert "of the budget of bench only" in " ".join(other.stdout.split())
