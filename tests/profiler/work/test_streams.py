"""Several streams at once: what they get done together, and what becomes of one that fails."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from commands import nnprof
from msgspec.structs import replace

from nnprof.errors import Unavailable, UsageError, WorkerCrashed, WorkerTimeout
from nnprof.exporters.models import load_model
from nnprof.exporters.probes import chain_model, identity_model
from nnprof.profiler import deadlines, results, streamed
from nnprof.profiler.devices import cpu, linux
from nnprof.profiler.place import claims, spread
from nnprof.profiler.run import begin
from nnprof.profiler.work import hosts, streams
from nnprof.profiler.work.jobs import CHAIN, Measure
from nnprof.profiler.work.stream import Done
from nnprof.types import (
    Cell,
    Measurement,
    Plan,
    Process,
    Reading,
    Run,
    Stream,
    Study,
    Target,
    Workload,
)

BUNDLED = Path(__file__).parents[3] / "networks" / "bundled" / "mnist.onnx"


def _regular(seconds: float, count: int, start: float = 0.0) -> Done:
    begun = tuple(start + index * seconds for index in range(count))
    return Done(begun_s=begun, samples_s=(seconds,) * count)


def test_rates_of_streams_add() -> None:
    """Streams of 10 and of 5 inferences a second make 15 together, in every slice."""
    samples, loops = streams.together([_regular(0.1, 100), _regular(0.2, 50)])
    assert len(samples) == 20
    assert samples == pytest.approx([1 / 15] * 20)
    assert loops == 7  # of 7.5


def test_only_the_time_in_common_counts() -> None:
    """What one does before the others begin, or after one has ended, is not in the throughput."""
    alone = _regular(0.01, 50)
    late = _regular(0.1, 9, start=0.3)
    samples, _ = streams.together([replace(alone, samples_s=(0.01,) * 50), late])
    assert samples == pytest.approx([1 / 110] * len(samples))


def test_a_single_slow_inference_is_one_slice() -> None:
    """Streams of one inference each have a throughput all the same."""
    samples, loops = streams.together([_regular(2.0, 1), _regular(2.0, 1)])
    assert (samples, loops) == ((pytest.approx(1.0),), 2)


class _Device(cpu.Cpu):
    """A device with so many processors."""

    def __init__(self, count: int) -> None:
        self._count = count

    def processors(self, threads: int) -> tuple[int, ...]:
        """The first of them."""
        if threads > self._count:
            raise Unavailable("There are fewer.")
        return tuple(range(threads))


@pytest.mark.parametrize(
    ("have", "threads", "count", "sets"),
    [
        (4, 1, 2, ((0,), (1,))),
        (4, 2, 2, ((0, 1), (2, 3))),
        (4, 2, 3, ((0, 1), (2, 3), (0, 1))),
        (1, 1, 3, ((0,), (0,), (0,))),
    ],
)
def test_streams_have_processors_of_their_own(
    have: int, threads: int, count: int, sets: spread.Sets
) -> None:
    """Each stream has a set of its own while they last; then they take turns."""
    assert spread.spread(_Device(have), threads, count) == sets


def test_too_few_processors_for_one_stream() -> None:
    """A stream that needs more threads than there are processors is refused."""
    with pytest.raises(Unavailable):
        spread.spread(_Device(1), 2, 2)


def test_all_processors_are_claimed() -> None:
    """A Run with several streams locks the processors of all of them."""
    count = len(linux.allowed())
    names = {name for name, _ in claims._places(Target(streams=count))}
    assert {f"nnprof-processor-{one}" for one in linux.allowed()} <= names


@pytest.mark.parametrize(
    ("rates", "index"), [([1, 1, 1], 1.0), ([1, 0, 0, 0], 0.25), ([1, 3], 0.8)]
)
def test_jains_index(rates: Sequence[float], index: float) -> None:
    """1 where all have the same, 1/n where one has all (Jain, Chiu & Hawe 1984)."""
    assert streamed.jain(rates) == pytest.approx(index)


def _bench(folder: Path, *words: str) -> tuple[int, str]:
    done = nnprof(
        *("bench", str(BUNDLED), "--backend", "fake", "--batch", "8", "--quick"),
        *("--out", str(folder), *words),
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.usefixtures("workers_here")
def test_streams_of_the_fake(tmp_path: Path) -> None:
    """Two streams that slow each other by half get 4/3 as much done; all is in table and file."""
    code, said = _bench(tmp_path, "--streams", "1,2", "--option", "contention=0.5")
    assert code == 0, said
    run = results.load(next(tmp_path.glob("*.json")))
    assert [cell.target.streams for cell in run.measurements] == [1, 2]
    assert all(len(one.streams) == cell.target.streams for cell in run.measurements
               for one in cell.processes)  # fmt: skip
    done = nnprof("show", str(next(tmp_path.glob("*.json"))), "--format", "json")
    one, two = json.loads(done.stdout)
    assert one["speedup"] == pytest.approx(1.0)
    assert two["speedup"] == pytest.approx(4 / 3, rel=1e-3)
    assert two["stream_p50_ms"] == pytest.approx(1.5 * one["stream_p50_ms"])
    assert (two["jain"], two["slowest_stream"]) == (pytest.approx(1.0), pytest.approx(1.0))
    shown = nnprof("show", str(next(tmp_path.glob("*.json")))).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "speedup" in shown


@pytest.mark.usefixtures("workers_here")
def test_a_stream_that_fails_is_a_failure_of_its_cell(tmp_path: Path) -> None:
    """The cell fails with the stream's own reason; the others are measured."""
    options = ("--option", "fault=error", "--option", "fault_batch=8")
    code, said = _bench(tmp_path, "--streams", "2", "--batch", "1,8", *options)
    assert code == 1
    assert "of 2: The fake refuses" in " ".join(said.split())
    run = results.load(next(tmp_path.glob("*.json")))
    assert [cell.workload.batch for cell in run.measurements] == [1]


def _job(**options: str) -> Measure:
    return Measure(
        workload=Workload(model=load_model(BUNDLED), batch=1),
        target=Target(backend="fake", streams=2, options=options),
        plan=Plan(streams_s=0.01, warmup_s=0.0),
        floor=identity_model(),
        chain=chain_model(CHAIN),
        ops=False,
    )


def test_one_stream_that_dies_ends_all() -> None:
    """A stream that ends without a word is named, and no other one is left running."""
    with pytest.raises(WorkerCrashed, match="Stream 2 of 2 ended with exit code 1"):
        streams.measure(_job(), cpu.DEVICE, ((), (99999,)), 1e-6)


def test_streams_end_with_their_worker() -> None:
    """Streams of a worker that is ended at its limit are gone, too."""
    with pytest.raises(WorkerTimeout):
        hosts.run(_job(fault="hang"), 3.0)


def test_a_program_of_its_own_has_no_streams(tmp_path: Path) -> None:
    """Of trtexec come times of inferences that are over: refused before anything is written."""
    cell = Cell(
        workload=Workload(model=load_model(BUNDLED), batch=1),
        target=Target(backend="trtexec", device="cuda", streams=2),
    )
    with pytest.raises(UsageError, match="does not say when its inferences begin"):
        begin.start([cell], Plan(streams_s=0.5), tmp_path)
    assert not [*tmp_path.iterdir()]


SLOW = ("--option", "contention=0.5", "--option", "speed=0.01", "--option", "noise=0.02")


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four rounds, however long a busy machine takes for them."""
    plan = Plan(processes=4, max_processes=4, fresh=0, warmup_limit_s=0.2, cell_limit_s=600.0)
    monkeypatch.setattr("nnprof.cli.plans._words_plan", lambda *_: plan)


@pytest.mark.usefixtures("workers_here", "brief")
def test_each_stream_is_judged_by_a_budget(tmp_path: Path) -> None:
    """One fits into 2 ms, and five that take three times as long each do not.

    Though the five together are done with one in less time than one alone.
    """
    code, said = _bench(tmp_path, "--streams", "1,5", "--batch", "1", *SLOW, "--budget", "2ms")
    path = next(tmp_path.glob("*.json"))
    one, five = deadlines.verdicts(results.load(path))
    assert (one.word, five.word) == ("FITS", "MISSES")
    assert code == 1, said
    assert one.median.estimate is not None
    assert five.median.estimate == pytest.approx(3 * one.median.estimate, rel=0.02)
    told = " ".join(said.split())
    assert "for one inference of each stream" in told
    assert "MISSES (1 of 2 cells; the worst decides): exit code 1." in told
    shown = " ".join(nnprof("show", str(path), "--budget", "10ms").stdout.split())
    assert "5 streams: to claim FITS takes 662 single inferences, and there are" in shown
    assert shown.endswith("UNDECIDED (1 of 2 cells; the worst decides).")


def _unfair(fast_s: float, slow_s: float) -> Run:
    """Seven rounds of two streams, of which one is slower."""
    random = np.random.default_rng(0)
    rounds = [
        tuple(
            Stream(processors=(), samples_s=tuple((s * random.normal(1, 0.01, 500)).tolist()))
            for s in (fast_s, slow_s)
        )
        for _ in range(7)
    ]
    target = Target(backend="fake", streams=2)
    work = Workload(model=load_model(BUNDLED), batch=1)
    blank = Process(
        **{"round": 0, "processors": (0,), "loops": 2, "state": "steady", "floor_s": 0.0},
        **{"open_s": 0.0, "timed_s": 1.0, "wall_s": 1.0, "before": Reading(), "after": Reading()},
    )
    cell = Measurement(
        workload=work, target=target, plan=Plan(streams_s=0.5), clock="perf_counter",
        samples_s=((fast_s / 2,) * 5,) * 7, warmups_s=((),) * 7, stopped="processes",
        processes=tuple(replace(blank, streams=streams) for streams in rounds),
    )  # fmt: skip
    plan = replace(cell.plan, deadline_s=0.01)
    study = Study(name="s", command=(), created="now", plan=plan,
                  cells=(Cell(workload=work, target=target),))  # fmt: skip
    return Run(study=study, environment={}, measurements=(cell,))


def test_the_worst_stream_decides() -> None:
    """Two fit, or one does and the other does not: then the cell misses, by that one."""
    (both,) = deadlines.verdicts(_unfair(0.008, 0.009))
    assert (both.word, both.samples, both.of_streams) == ("FITS", 3500, True)
    (one,) = deadlines.verdicts(_unfair(0.001, 0.011))
    assert one.word == "MISSES"
    assert one.median.estimate == pytest.approx(0.011, rel=0.01)
    assert one.missed.estimate == pytest.approx(1.0, abs=0.01)


@pytest.mark.usefixtures("workers_here")
def test_images_of_all_streams(tmp_path: Path) -> None:
    """Four inferences an image: the streams' rate over four; what one image takes is not told."""
    words = ("--streams", "1,2", "--image", "56x56", "--batch", "1", *SLOW)
    code, said = _bench(tmp_path, *words)
    assert code == 0, said
    path = next(tmp_path.glob("*.json"))
    rows = json.loads(nnprof("show", str(path), "--format", "json").stdout)
    for row in rows:
        assert row["frames_per_s"] == pytest.approx(row["tiles_per_ms"] * 1e3 / 4)
        assert row["ms_per_frame"] is None
        assert row["frames_per_s_with_cut"] is None
    assert rows[1]["frames_per_s"] == pytest.approx(rows[0]["frames_per_s"] * 4 / 3, rel=0.05)
    assert "images that all streams together get through" in " ".join(said.split())
    judged = nnprof("show", str(path), "--budget", "1s").stdout
    assert "streams time inferences, and no whole images" in " ".join(judged.split())
    assert judged.splitlines()[-1].startswith("UNDECIDED")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--streams", "0"), "--streams 0 is not a list of whole numbers"),
        (("--streams", "1,x"), "--streams 1,x is not a list of whole numbers"),
        (("--streams", "1000"), "--streams 1000 is not a number of streams"),
        (("--streams", "2", "--ops", "runtime"), "it does not go with --ops"),
        (("--streams", "2", "--for", "10s"), "it does not go with --for"),
        (("--streams", "2", "--period", "30fps"), "it does not go with --period"),
        (("--streams", "2", "--paired"), "hold them against each other with: nnprof compare"),
        (
            ("--streams", "2", "--image", "56x56", "--budget", "30fps"),
            "so a --budget of a whole --image cannot be judged. Leave one of the three out;",
        ),
    ],
)
def test_what_does_not_go_with_streams(tmp_path: Path, words: list[str], sentence: str) -> None:
    """A number that is none, or a flag that asks for something else, is refused."""
    code, said = _bench(tmp_path, *words)
    assert code == 2
    assert sentence in " ".join(said.split())


def test_a_model_is_not_made_of_streams(tmp_path: Path) -> None:
    """What several sessions take together is no latency that a cost model could learn."""
    code, said = _bench(tmp_path, "--streams", "2")
    assert code == 0, said
    done = nnprof("fit-model", str(next(tmp_path.glob("*.json"))), folder=tmp_path)
    assert done.returncode == 2
    assert "which a model knows nothing of" in " ".join(done.stderr.split())
