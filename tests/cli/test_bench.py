"""`nnprof bench` and `nnprof show` as a user types them: real processes, output and exit codes."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import commands
import jsonschema
import pytest
from processes import ended, until

from nnprof.cli.main import app
from nnprof.networks import bundled
from nnprof.profiler import results
from nnprof.types import Plan

FAKE = ("--backend", "fake", "--option", "noise=0.01", "--no-telemetry")
NETWORK = "1x28x28 conv4k5 pool2 fc10"


pytestmark = pytest.mark.usefixtures("workers_here")


def nnprof(*words: str, folder: Path | None = None) -> commands.Done:
    """Run the command in a folder, 80 columns wide, with no terminal."""
    return commands.nnprof(*words, folder=folder)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short cells, whatever is asked: for claims that need a runtime, but no good numbers."""
    plan = Plan(processes=2, max_processes=2, sample_s=0.05, warmup_limit_s=0.2, op_s=0.01)
    monkeypatch.setattr("nnprof.cli.plans._words_plan", lambda *_: plan)


def test_bundled_network_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`nnprof bench` alone measures the bundled network at six batches and shows its ops.

    With a plan that ends sooner, in all else as it comes: `.ci/run` has the first command whole.
    """
    plans = []

    def shorter(quick: bool, rigorous: bool) -> Plan:
        plans.append((quick, rigorous))
        return Plan(processes=2, max_processes=2, sample_s=0.05, op_s=0.01, op_processes=1)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["nnprof", "bench"])
    monkeypatch.setattr("nnprof.cli.plans._words_plan", shorter)
    app(["bench"], standalone_mode=False)
    said = capfd.readouterr()
    (path,) = (tmp_path / "bench_results").glob("bundled-cpu-*.json")
    run = results.load(path)
    assert plans == [(True, False)]
    assert 0 < run.study.plan.budget_s < 60
    assert [m.workload.batch for m in run.measurements] == [1, 4, 16, 64, 256, 1024]
    assert f"Run: bench_results/{path.name}" in said.out
    assert "Σops" in said.out
    assert "residual" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    # Nothing but what it does goes to standard error: a line for each round.
    assert [line.split(",")[0] for line in said.err.splitlines()] == [
        "6 of 12 processes",
        "12 of 12 processes",
    ]


def test_out_says_where(tmp_path: Path) -> None:
    """--out names the folder; the last line names the file in it."""
    done = nnprof("bench", NETWORK, *FAKE, "--batch", "1", "--out", "there", folder=tmp_path)
    (path,) = (tmp_path / "there").glob("bench-cpu-*.json")
    assert done.stdout.splitlines()[-1] == f"Run: there/{path.name}"


def test_json_is_all_of_stdout(tmp_path: Path) -> None:
    """--format json writes the Run to stdout and nothing else."""
    done = nnprof(
        *("bench", NETWORK, *FAKE, "--batch", "1,8", "--quick", "--format", "json"),
        folder=tmp_path,
    )
    run = json.loads(done.stdout)
    jsonschema.validate(run, json.loads(results.json_schema()))
    assert [cell["workload"]["batch"] for cell in run["measurements"]] == [1, 8]


def test_failed_cell_is_exit_code_1(tmp_path: Path) -> None:
    """A failed cell is named with its reason, the others are measured, and the exit code is 1."""
    fault = ("--option", "fault=memory", "--option", "fault_batch=8")
    done = nnprof("bench", NETWORK, *FAKE, *fault, "--batch", "1,8", "--quick", folder=tmp_path)
    assert done.returncode == 1
    assert "Failed: 1x28x28 conv4k5 pool2 fc10, batch 8: OutOfMemory:" in done.stdout


def test_study_with_batches(tmp_path: Path) -> None:
    """--study measures its cells; --batch keeps those of that batch."""
    done = nnprof(
        *("bench", "--study", "group1", "--batch", "16", *FAKE, "--quick", "--format", "json"),
        folder=tmp_path,
    )
    run = json.loads(done.stdout)
    assert [m["workload"]["model"]["name"] for m in run["measurements"]] == [
        f"mattsson(conv=1, fc={fc}, depth=20, neurons=128)" for fc in range(1, 6)
    ]


def test_data_file_is_fed(tmp_path: Path, brief: None) -> None:
    """--data feeds the user's own tiles, and the Run says which."""
    import numpy as np

    np.save(tmp_path / "tiles.npy", np.zeros((3, 1, 28, 28), np.uint8))
    done = nnprof(
        *("bench", NETWORK, "--data", "tiles.npy", "--batch", "4", "--quick", "--format", "json"),
        folder=tmp_path,
    )
    run = json.loads(done.stdout)
    assert run["measurements"][0]["workload"]["data"] == str(tmp_path / "tiles.npy")


def test_threads_are_pinned_and_recorded(tmp_path: Path, brief: None) -> None:
    """--threads 2 pins each worker to two processors and says so in the Run."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this machine has one processor")
    done = nnprof(
        *("bench", NETWORK, "--threads", "2", "--batch", "4", "--ops", "none", "--format", "json"),
        folder=tmp_path,
    )
    (cell,) = json.loads(done.stdout)["measurements"]
    assert cell["target"]["threads"] == 2
    assert all(len(process["processors"]) == 2 for process in cell["processes"])


def test_interrupt_keeps_what_is_measured(tmp_path: Path) -> None:
    """Ctrl-C ends with 130 and the command that goes on; that command finishes the Run."""
    words = ["bench", str(bundled.model_path()), *FAKE, "--ops", "none", "--batch", "1,2,3,4,5,6"]
    bench = subprocess.Popen(
        [sys.executable, "-m", "nnprof", *words],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with ended(bench):
        path = until(lambda: next((tmp_path / "bench_results").glob("*.json"), None), bench)
        until(lambda: results.load(path).measurements, bench)
        bench.send_signal(signal.SIGINT)
        assert bench.stderr is not None
        said = bench.stderr.read()
    assert bench.returncode == 130
    assert f"nnprof bench --resume bench_results/{path.name}" in said.splitlines()
    before = results.load(path)
    done = nnprof("bench", "--resume", f"bench_results/{path.name}", folder=tmp_path)
    after = results.load(path)
    assert done.returncode == 0
    kept = {m.workload.batch: m.samples_s for m in before.measurements}
    whole = {m.workload.batch: m.samples_s for m in after.measurements}
    assert len(whole) == 6
    assert all(whole[batch][: len(samples)] == samples for batch, samples in kept.items())


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal the progress names the cell, the estimate so far and the time left."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "nnprof", "bench", NETWORK, *FAKE, "--batch", "1,8", "--quick"]
    terminal = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    bench = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=follower, env=terminal
    )
    os.close(follower)
    said = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:  # the terminal's other end is closed: that is how a pty says goodbye
            break
        if not part:
            break
        said += part
    os.close(leader)
    assert bench.wait(timeout=60) == 0
    text = said.decode(errors="replace")
    (path,) = (tmp_path / "bench_results").glob("*.json")
    count = sum(len(m.processes) for m in results.load(path).measurements)
    whole = f"{count}/{count}"
    for words in ("tiles/ms", "s left", f"batch 8, {NETWORK}", "2/2 cells", whole):
        assert words in text
    # From the beginning: what is done before anything is measured, and each process as it starts.
    order = ["starting", "asking fake", "process 1 with ops", " 1/", "process 3", whole]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_progress_elsewhere_is_a_line_a_round(tmp_path: Path) -> None:
    """Without a terminal each round is a line on standard error, as soon as it is over."""
    command = [sys.executable, "-m", "nnprof", "bench", str(bundled.model_path()), *FAKE]
    bench = subprocess.Popen(
        [*command, "--batch", "1,8", "--quick", "--ops", "none", "--out", "out"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with ended(bench):
        assert bench.stderr is not None
        said = list(bench.stderr)
    assert bench.returncode == 0
    (path,) = (tmp_path / "out").glob("*.json")
    counts = [len(m.processes) for m in results.load(path).measurements]
    assert [line.split(" of ")[0] for line in said] == [
        str(sum(min(count, number) for count in counts)) for number in range(1, max(counts) + 1)
    ]
    assert "processes, 0 of 2 cells finished, about " in said[0]
    assert "processes, 2 of 2 cells finished, about 0 s left" in said[-1]


def test_show_in_all_formats(tmp_path: Path) -> None:
    """A kept Run is shown as table, CSV, Markdown and JSON, cells and ops."""
    golden = str(Path(__file__).parents[1] / "data" / "run-v1.json")
    for form in ("table", "csv", "md", "json"):
        for words in ((), ("--ops",), ("--ops", "--batch", "64")):
            done = nnprof("show", golden, *words, "--format", form)
            assert (done.returncode, done.stderr) == (0, "")
            assert "Conv" in done.stdout or not words
    rows = json.loads(nnprof("show", golden, "--format", "json").stdout)
    assert [row["state"] for row in rows] == ["steady", "steady", "failed"]


def test_pauses_are_shown(tmp_path: Path, brief: None) -> None:
    """--idle adds a line per pause with the latency after it."""
    done = nnprof(
        *("bench", NETWORK, "--batch", "1", "--quick", "--ops", "none", "--idle", "0,1ms"),
        folder=tmp_path,
    )
    lines = " ".join(done.stdout.split())
    assert "ms after 0 ms of pause" in lines
    assert "ms after 1.000 ms of pause" in lines


@pytest.mark.parametrize("protocol", ["loop", "loop-fresh"])
def test_loop_of_2016_says_whether_it_drifted(protocol: str, tmp_path: Path) -> None:
    """Both loops over all networks, in one process or in many, say whether drift was found."""
    done = nnprof(
        *("bench", NETWORK, "1x28x28 fc10", *FAKE, "--batch", "1,8", "--protocol", protocol),
        folder=tmp_path,
    )
    assert done.returncode == 0
    assert "Drift over the turns:" in done.stdout
    assert "not found" in done.stdout
    (path,) = (tmp_path / "bench_results").glob("*.json")
    assert "Drift over the turns:" in nnprof("show", str(path)).stdout


def test_devices_shows_this_machine() -> None:
    """`nnprof devices` names the processor, and says how to measure its limits."""
    done = nnprof("devices")
    assert done.returncode == 0
    assert any(line.split()[:2] == ["cpu", "here"] for line in done.stdout.splitlines())
    assert "nnprof devices --measure" in done.stdout


def test_default_ops_are_combined_and_add_up(tmp_path: Path, brief: None) -> None:
    """Without a word about ops a Run has the combined estimate, each op with its interval."""
    done = nnprof(
        *("bench", NETWORK, "--batch", "64", "--quick", "--format", "json"), folder=tmp_path
    )
    (cell,) = json.loads(done.stdout)["measurements"]
    assert cell["ops"]["method"] == "combined"
    assert cell["ops"]["ops"][-1]["op"] == "call"
    assert all(op["low_s"] <= op["seconds"] <= op["high_s"] for op in cell["ops"]["ops"])
    assert {one["method"] for one in cell["op_passes"]} >= {"runtime", "isolated", "floor"}


def test_precisions_stand_beside_their_accuracy(tmp_path: Path) -> None:
    """--precision measures each, and shows in the table how many tiles each still gets right."""
    tiles = tmp_path / "labelled.npz"
    shutil.copy(bundled.tiles_path(), tiles)
    done = nnprof(
        *("bench", str(bundled.model_path()), *FAKE, "--batch", "4", "--quick"),
        *("--precision", "fp32,int8", "--data", str(tiles)),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    flat = " ".join(done.stdout.split())
    assert "fp32, int8, 1 thread" in flat
    assert "on 64 tiles of labelled.npz" in flat
    assert flat.count("right)") == 2
    assert max(map(len, done.stdout.splitlines())) <= 80
