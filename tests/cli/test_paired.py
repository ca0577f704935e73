"""`nnprof bench --paired` and `nnprof compare RUN` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import commands
import pytest
from msgspec.structs import replace

from nnprof.profiler import results

FAKE = ("--backend", "fake", "--batch", "4")
ONE, OTHER = "1x28x28 fc10", "1x28x28 fc64 fc10"

pytestmark = pytest.mark.usefixtures("workers_here")


def _paired(folder: Path, *words: str) -> commands.Done:
    return commands.nnprof("bench", *words, *FAKE, "--paired", "--quick", folder=folder)


def _file(done: commands.Done) -> str:
    return done.stdout.splitlines()[-1].removeprefix("Run: ")


def test_two_networks(tmp_path: Path) -> None:
    """A table of at most 80 columns says which is slower; `compare` reads it from either file."""
    done = _paired(tmp_path, ONE, OTHER)
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "SLOWER" in done.stdout
    assert "To call a change of 3% in 9 of 10 cases takes about" in done.stdout
    (side_a, side_b) = sorted((tmp_path / "bench_results").glob("*.json"))
    forms = [commands.nnprof("compare", one, "--format", "csv") for one in (side_a, side_b)]
    assert forms[0].stdout == forms[1].stdout
    assert forms[0].returncode == 1  # more than 5 % slower
    told = json.loads(commands.nnprof("compare", side_a, side_b, "--format", "json").stdout)
    assert told["paired"] is True
    assert (told["cells"][0]["network"], told["cells"][0]["after"]) == (ONE, OTHER)
    assert commands.nnprof("compare", side_b, side_a).returncode == 0  # faster
    assert "| b / a" in commands.nnprof("compare", side_a, "--format", "md").stdout


def test_one_network_against_itself_with_a_change(tmp_path: Path) -> None:
    """--against changes an option or the threads of side b, and the comparison says which."""
    done = _paired(tmp_path, ONE, "--against", "speed=2", "--against", "threads=2")
    assert "FASTER" in done.stdout
    assert "Differs: threads: 1 and 2." in done.stdout
    before, after = results.load_sides(tmp_path / _file(done))
    targets = [run.study.cells[0].target for run in (before, after)]
    assert [(one.threads, one.options) for one in targets] == [(1, {}), (2, {"speed": "2"})]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--paired", ONE), "two networks against each other, and 1 network is named. Name two"),
        (("--paired", ONE, OTHER, ONE), "and 3 networks are named. Name two"),
        (("--paired",), "and 0 networks are named. Name two"),
        (("--paired", "--study", "group3"), "study group3 is one. Name two networks, or what to"),
        (("--paired", ONE, OTHER, "--protocol", "loop"), "Leave --protocol out."),
        (("--paired", ONE, "--against", "threads"), "changes nothing. Write --against NAME=VALUE"),
        (("--paired", ONE, "--against", "threads=x"), "is no number of threads. Give 1 or more."),
        (("--paired", ONE, "--against", "backend=none"), "Known: "),
        ((ONE, "--against", "threads=2"), "nothing is paired. Add --paired."),
    ],
)
def test_bad_input(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    """What is no pair gets a sentence and its remedy, exit code 2, and leaves no file."""
    done = commands.nnprof("bench", *words, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in " ".join(done.stderr.split())
    assert not list(tmp_path.rglob("*.json"))


def test_compare_needs_two_sides(tmp_path: Path) -> None:
    """A Run that was not measured in pairs is nothing to compare alone."""
    golden = Path(__file__).parents[1] / "data" / "run-v1.json"
    done = commands.nnprof("compare", golden, folder=tmp_path)
    assert done.returncode == 2
    assert "was not measured in pairs" in done.stderr
    assert "Give a second Run" in done.stderr


def test_a_change_that_changes_nothing_is_a_look_at_the_machine(tmp_path: Path) -> None:
    """--against threads=1, where it is 1 anyway, holds a network against itself."""
    done = _paired(tmp_path, ONE, "--against", "threads=1")
    assert done.returncode == 0
    assert "1 SAME" in done.stdout


def test_going_on_is_done_by_the_same_flag(tmp_path: Path) -> None:
    """--resume with either file measures both sides to the end, and compares them."""
    done = _paired(tmp_path, ONE, OTHER)
    (side_a, side_b) = sorted((tmp_path / "bench_results").glob("*.json"))
    for side in (side_a, side_b):
        run = results.load(side)
        cut = tuple(
            replace(
                one,
                stopped="",
                processes=one.processes[:2],
                samples_s=one.samples_s[:2],
                warmups_s=one.warmups_s[:2],
            )
            for one in run.measurements
        )
        results.save(replace(run, measurements=cut), side)
    again = commands.nnprof("bench", "--resume", side_b, folder=tmp_path)
    assert again.returncode == 0
    assert again.stdout.splitlines()[:2] == done.stdout.splitlines()[:2]
