"""`--budget` and `--period` as a user types them: verdicts, exit codes, wrong words."""

from __future__ import annotations

import json
from pathlib import Path

import commands
import msgspec
import pytest

import nnprof
from nnprof.profiler import decisions, results
from nnprof.profiler.costmodel import priors
from nnprof.profiler.costmodel.prediction import Prediction
from nnprof.types import Plan

PRIORS = Path(priors.__file__).with_name("priors")
FAMILY = "mattsson(conv=1, fc=1, depth=5..20/5, neurons=64|512)"
NETWORK = "1x28x28 conv4k5 pool2 fc10"
FAKE = ("--backend", "fake", "--option", "noise=0.02", "--option", "process=0.002")
BENCH = ("bench", NETWORK, *FAKE, "--no-telemetry", "--ops", "none", "--batch", "4")

pytestmark = pytest.mark.usefixtures("workers_here", "brief")


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few short processes."""
    plan = Plan(processes=4, max_processes=4, fresh=0, sample_s=0.05, warmup_limit_s=0.2)
    monkeypatch.setattr("nnprof.cli.plans._words_plan", lambda *_: plan)


def bench(folder: Path, *words: str) -> tuple[commands.Done, Path]:
    """A benchmark on the fake backend, and its Run."""
    done = commands.nnprof(*BENCH, *words, folder=folder)
    return done, newest(folder)


def newest(folder: Path) -> Path:
    """The Run written last; two of one second differ by more than the time in their names."""
    runs = (folder / "bench_results").glob("*.json")
    return max(runs, key=lambda path: path.stat().st_mtime_ns)


def latency_s(folder: Path) -> float:
    """What the fake takes for one inference, without noise."""
    words = ("--option", "noise=0", "--option", "process=0")
    _, path = bench(folder, *words)
    one = results.load(path).measurements[0].samples_s[0][0]
    path.unlink()
    return one


@pytest.mark.parametrize(
    ("times", "word", "code"), [(1.2, "FITS", 0), (0.8, "MISSES", 1), (1.05, "UNDECIDED", 3)]
)
def test_exit_code_says_the_verdict(tmp_path: Path, times: float, word: str, code: int) -> None:
    """0 fits, 1 misses, 3 undecided: by the exit code, in words, and again from the file."""
    deadline_s = times * latency_s(tmp_path)
    done, path = bench(tmp_path, "--budget", f"{deadline_s * 1e6:.6f}us")
    assert done.returncode == code, done.stdout + done.stderr
    assert f"{word}: exit code {code}." in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80 or "Run: " in done.stdout
    again = commands.nnprof("show", path, folder=tmp_path)
    assert again.returncode == 0
    verdict = done.stdout[done.stdout.index("Time budget") : done.stdout.index(": exit code")]
    assert f"{verdict}." in again.stdout  # which ends with 0, and does not speak of exit codes
    plan = results.load(path).study.plan
    assert plan.deadline_s == pytest.approx(deadline_s, rel=1e-3)
    assert plan.budget_s == 0


def test_percentiles_of_microseconds(tmp_path: Path) -> None:
    """With a budget even a network of microseconds has p90 and p99 in the rows."""
    _, path = bench(tmp_path, "--budget", "1ms")
    (row,) = json.loads(commands.nnprof("show", path, "--format", "json", folder=tmp_path).stdout)
    assert row["latency_ms"] < row["p90_ms"] < row["p99_ms"] < 0.1


def test_a_rate_is_a_budget(tmp_path: Path) -> None:
    """30fps are 33.3 ms, of the whole image where there is one; the heading says which."""
    done, path = bench(tmp_path, "--budget", "30fps", "--image", "56x56", "--period", "30fps")
    plan = results.load(path).study.plan
    assert (plan.deadline_s, plan.period_s) == (1 / 30, 1 / 30)
    told = " ".join(done.stdout.split())
    assert "Time budget 33.3 ms (30.0 per second) for an image of 56x56: cut, and all" in told
    assert "one each 33.3 ms" in told
    assert done.returncode in (0, 3)  # the time to cut is real, and of a busy machine
    (process, *_) = results.load(path).measurements[0].processes
    assert process.singles is not None
    assert process.singles.period_s == 1 / 30
    assert len(process.singles.late_s) == len(process.singles.samples_s) == 200


def test_a_budget_for_a_run_that_had_none(tmp_path: Path) -> None:
    """`show --budget` judges the median, and says why it cannot judge the rest."""
    done, path = bench(tmp_path)
    assert (done.returncode, "Time budget" in done.stdout) == (0, False)
    shown = commands.nnprof("show", path, "--budget", "1ms", folder=tmp_path)
    told = " ".join(shown.stdout.split())
    assert "inferences were not timed one by one" in told
    assert "UNDECIDED." in told
    assert shown.stdout.count("FITS") == 1
    other = commands.nnprof("show", path, "--budget", "1ms", "--batch", "9", folder=tmp_path)
    assert other.returncode == 2


def test_a_failed_cell_misses(tmp_path: Path) -> None:
    """A cell that failed has its reason and exit code 1, though the other one fits."""
    words = ("--option", "fault=memory", "--option", "fault_batch=8", "--batch", "4,8")
    done, _ = bench(tmp_path, "--budget", "1ms", *words)
    assert done.returncode == 1
    assert "FAILED (1 of 2 cells; the worst decides): exit code 1." in done.stdout
    assert "Batch 8 does not fit." in " ".join(done.stdout.split())


IMAGE = ("--image", "112x112", "--batch", "1,16")  # 16 tiles


def test_of_an_image_the_best_batch_decides(tmp_path: Path) -> None:
    """Sixteen calls of a slow call miss what one call keeps to: FITS, by the batch that is named.

    `show` says so, too; of the batch that misses alone MISSES; and so does JUnit.
    """
    words = (*IMAGE, "--budget", "40ms", "--option", "speed=0.001")  # of 5 ms a call
    done, path = bench(tmp_path, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FITS (batch 16, the best of 2, decides): exit code 0." in done.stdout
    assert done.stdout.count("MISSES") == 3
    shown = commands.nnprof("show", path, folder=tmp_path).stdout
    assert "FITS (batch 16, the best of 2, decides)." in shown
    alone = commands.nnprof("show", path, "--batch", "1", folder=tmp_path).stdout
    assert alone.splitlines()[-1] == "MISSES."
    commands.nnprof("export-run", path, "--format", "junit", "-o", "j.xml", folder=tmp_path)
    junit = (tmp_path / "j.xml").read_text()
    assert 'failures="0"' in junit
    assert "Batch 16 decides: FITS." in junit
    assert nnprof.decided(nnprof.verdicts(results.load(path))) == "FITS"


def test_without_an_image_each_batch_counts(tmp_path: Path) -> None:
    """An inference of more tiles is another one; where nobody names batches it is one tile."""
    words = ("--budget", f"{8 * latency_s(tmp_path) * 1e3}ms")
    done, _ = bench(tmp_path, *words, "--batch", "4,512")
    assert done.returncode == 1
    assert "MISSES (1 of 2 cells; the worst decides): exit code 1." in done.stdout
    short = [word for word in BENCH if word not in ("--batch", "4")]
    single = commands.nnprof(*short, *words, folder=tmp_path)
    path = newest(tmp_path)
    assert [cell.workload.batch for cell in results.load(path).study.cells] == [1]
    assert single.returncode in (0, 3)


def test_a_failed_batch_of_an_image_is_told_beside_the_verdict(tmp_path: Path) -> None:
    """FITS by a batch that was measured, and exit code 1, for something failed."""
    words = ("--option", "fault=memory", "--option", "fault_batch=1")
    done, _ = bench(tmp_path, *IMAGE, *words, "--budget", "10s")
    assert done.returncode == 1
    assert (
        "FITS (batch 16, the best of 2, decides): exit code 1, because not all could be measured."
        in " ".join(done.stdout.split())
    )


PUBLISHED = "gtx960-mattsson2016"


def predicted(low_s: float | None, high_s: float | None) -> Prediction:
    """98 tiles in 10 ms, with an interval or without."""
    return Prediction(
        network="n", batch=98, seconds=0.01, low_s=low_s, high_s=high_s, terms=(), layers=()
    )


@pytest.mark.parametrize(
    ("ends", "word", "code"),
    [
        ((0.005, 0.02), "FITS", 0),
        ((0.005, 0.05), "UNDECIDED", 3),
        ((0.04, 0.05), "MISSES", 1),
        ((None, None), "UNDECIDED", 3),
    ],
)
def test_predictions_are_judged_by_their_interval(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: tuple[float | None, float | None],
    word: str,
    code: int,
) -> None:
    """The same words and exit codes as of what was measured; JSON has them, too."""
    monkeypatch.setattr(nnprof, "predict", lambda *_, **__: (predicted(*ends),), raising=False)
    words = ("predict", PUBLISHED, "n", "--budget", "33ms")
    done = commands.nnprof(*words, folder=tmp_path)
    assert done.returncode == code, done.stderr
    assert f"{word}: exit code {code}." in done.stdout
    assert "p99 takes measuring" in done.stdout
    machine = commands.nnprof(*words, "--format", "json", folder=tmp_path)
    (row,) = json.loads(machine.stdout)
    assert (machine.returncode, row["verdict"], row["budget_ms"]) == (code, word, 33.0)


def test_an_unknown_op_is_undecided() -> None:
    """A sum that is not the whole proves nothing; the reason names the op."""
    made = msgspec.structs.replace(predicted(0.001, 0.002), unknown=("Erf",)).claim(0.1)
    assert (made.word, made.estimate) == ("UNDECIDED", None)
    assert "Erf" in made.reason


def test_a_predicted_image_has_a_budget_of_all_its_tiles() -> None:
    """784 tiles at batch 98 are eight inferences."""
    whole = msgspec.structs.replace(predicted(0.009, 0.011), tiles_per_frame=784)
    assert whole.claim(0.08).word == "UNDECIDED"
    assert (whole.claim(0.09).word, whole.claim(0.07).word) == ("FITS", "MISSES")


def test_batches_of_a_predicted_image_answer_one_question() -> None:
    """The best of them counts; without an image, and of another network, the worst."""
    small, large = predicted(0.0005, 0.002), predicted(0.009, 0.011)
    small = msgspec.structs.replace(small, batch=1, seconds=0.001, asked="a/n.onnx")
    large = msgspec.structs.replace(large, asked="a/n.onnx")
    framed = [msgspec.structs.replace(one, tiles_per_frame=784) for one in (small, large)]
    answers = [one.answer(0.09) for one in framed]  # 784 and 88 ms
    assert [one.word for one in answers] == ["MISSES", "FITS"]
    assert decisions.word(answers) == "FITS"
    assert [one.batch for one in decisions.deciding(answers)] == [98]
    other = msgspec.structs.replace(framed[0], asked="b/n.onnx")
    assert decisions.word([*answers, other.answer(0.09)]) == "MISSES"
    assert decisions.word([one.answer(0.005) for one in (small, large)]) == "MISSES"


def test_search_and_predict_agree(tmp_path: Path) -> None:
    """A network that search lists as FITS fits by predict, and by predict --all; at that batch."""
    model = json.loads((PRIORS / "onnxruntime-avx2.json").read_bytes())
    model["network"]["factor"] = 1.2
    (tmp_path / "m.json").write_text(json.dumps(model))
    image = ("--image", "784x784", "--format", "json")
    found = commands.nnprof("search", "m.json", "--family", FAMILY, *image, "--budget", "40ms",
                            folder=tmp_path)  # fmt: skip
    fits = [one for one in json.loads(found.stdout) if one["meets"] == "surely"]
    assert fits
    for one in fits[:2]:
        words = (one["network"], *image, "--budget", "40ms")
        by_one = commands.nnprof("predict", "m.json", *words, folder=tmp_path)
        by_all = commands.nnprof("predict", "--all", *words, folder=tmp_path)
        assert (by_one.returncode, by_all.returncode) == (0, 0)
        rows = {row["batch"]: row for row in json.loads(by_one.stdout)}
        assert rows[one["batch"]]["verdict"] == "FITS"
        best = max(rows.values(), key=lambda row: row["tiles_per_ms"])
        assert best["batch"] == one["batch"]
        assert best["frames_per_s"] == pytest.approx(one["frames_per_s"])


def test_a_predicted_inference_is_of_one_tile(tmp_path: Path) -> None:
    """Where nobody names batches; named, each counts."""
    words = ("predict", PUBLISHED, "mattsson(conv=1)", "--budget", "5ms", "--format", "json")
    rows = json.loads(commands.nnprof(*words, folder=tmp_path).stdout)
    assert [row["batch"] for row in rows] == [1]
    both = commands.nnprof(*words, "--batch", "1,16", folder=tmp_path)
    assert [row["batch"] for row in json.loads(both.stdout)] == [1, 16]


def test_search_by_a_time_budget(tmp_path: Path) -> None:
    """A budget of an image is so many frames/s; the same networks are found by either."""
    words = ("search", PUBLISHED, "--family", "mattsson(conv=1..2, fc=1, depth=20..40/20)")
    image = ("--image", "784x784", "--format", "csv")
    by_time = commands.nnprof(*words, *image, "--budget", "20ms", folder=tmp_path)
    by_rate = commands.nnprof(*words, *image, "--min-frames-per-s", "50", folder=tmp_path)
    assert by_time.returncode == 0, by_time.stderr
    assert by_time.stdout == by_rate.stdout
    shown = commands.nnprof(*words, "--image", "784x784", "--budget", "20ms", folder=tmp_path)
    told = " ".join(shown.stdout.split())
    assert "keep to 20.0 ms for all inferences of an image" in told
    assert "UNDECIDED" in told
    single = commands.nnprof(*words, "--budget", "20ms", folder=tmp_path)
    assert "keep to 20.0 ms for one inference at batch 1 " in " ".join(single.stdout.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("search", PUBLISHED, "--budget", "1ms", "--min-tiles-per-ms", "3"),
            "A search needs one budget, and has 2.",
        ),
        (("predict", PUBLISHED, "784 fc10", "--budget", "x"), "--budget x is no time."),
        (("bench", "--budget", "33"), "--budget 33 is no time. Write it like this: --budget 33ms"),
        (("bench", "--budget", "0ms"), "--budget 0ms is no time that an inference can have."),
        (("bench", "--budget", "0fps"), "--budget 0fps is no time."),
        (("bench", "--period", "soon"), "--period soon is no time."),
        (
            ("bench", "--budget", "1ms", "--protocol", "loop"),
            "--protocol loop times no single inferences, so --budget cannot be kept.",
        ),
        (("show", "mattsson(conv=2)", "--budget", "1ms"), "--budget judges the cells of a Run"),
    ],
)
def test_wrong_words_are_one_sentence(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """Exit code 2, and what to write instead."""
    more = FAKE if words[0] == "bench" else ()
    done = commands.nnprof(*words, *more, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
