"""A cost model of this machine in so many minutes: plan, measure and fit by turns, in one Run.

1. A probe: small networks with the times of their ops. It tells how fast measuring goes (`pace`),
   in which blocks of channels the runtime keeps images, and whether it times ops at all.
2. Turns: whole networks with the times of their ops (`inplace`), then random ones of which only the
   time is measured. Nothing is fitted on those: they tell how far off the model is, and make its
   interval.
3. After each turn a fit. It is over when the time is, when the interval is as narrow as anybody
   needs, or when two turns made the error no smaller.

All that is asked stands in the Run (`environment["calibration"]`), so a Run can be gone on with. A
runtime that times no ops is fitted on whole networks alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter

import msgspec
from msgspec.structs import replace

from nnprof.errors import BadFile, UsageError
from nnprof.exporters.export import export
from nnprof.files import AnyPath
from nnprof.networks.families import parse_network
from nnprof.networks.spaces import parse_space
from nnprof.profiler import results
from nnprof.profiler.costmodel import around, assemble, gather, priors
from nnprof.profiler.costmodel.around import Asked
from nnprof.profiler.costmodel.course import TIMED, Course
from nnprof.profiler.costmodel.model import CostModel, load
from nnprof.profiler.run import accuracy, begin, session, sweep
from nnprof.profiler.run.rounds import Step
from nnprof.types import Cell, Run, Target, Workload

BATCHES = (1, 1024)
# At the smallest, a middle and the largest batch: convolutions in blocks and not, products.
PROBES = (
    "1x28x28 conv20k5 pool2 fc128 fc10",
    "1x28x28 conv36k3 conv20k3 pool2 fc10",
    "1x28x28 fc512 fc128 fc10",
)
FEW_OPS = 100  # distinct ones with times: up to here a model of another device helped (AMD Zen 5)
_KEY = "calibration"  # in a Run's environment
_LEAST_MINUTES, _MOST_MINUTES = 0.1, 24 * 60.0


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a calibration is of.

    Attributes:
        family: the networks that matter; `batches`: the smallest and the largest that do.
        minutes: of measuring and fitting, at most.
        precision: of the networks.
        prior: name or file of the model to start from; "" for one that is shipped.
        seed: of the networks that are drawn.
    """

    family: str = "mattsson"
    batches: tuple[int, ...] = BATCHES
    minutes: float = 15.0
    precision: str = "fp32"
    prior: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be done, before anything is measured."""
        if not _LEAST_MINUTES <= self.minutes <= _MOST_MINUTES:
            raise UsageError(
                f"{self.minutes:g} minutes are no time for a calibration.",
                f"Give {_LEAST_MINUTES:g} to {_MOST_MINUTES:g}.",
            )


class Calibrating(msgspec.Struct, frozen=True, kw_only=True):
    """What is told on the way.

    Attributes:
        words: what is done now.
        left_s: seconds until the end, at most.
        model: of what there is; None before the first fit.
        step: of the sweep, None beside it.
    """

    words: str
    left_s: float
    model: CostModel | None = None
    step: Step | None = None

    @property
    def known(self) -> str:
        """The error so far, as far as there is one."""
        if self.model is None or self.model.network.error is None:
            return "error not known yet"
        whole = self.model.network
        return f"error so far {whole.error:.1%} on {whole.networks} networks left out"


def start(
    target: Target,
    request: Request,
    folder: AnyPath = "bench_results",
    *,
    command: Sequence[str] | None = None,
) -> Path:
    """A Run on disk that `calibrate` fills.

    Raises:
        UsageError: no such family, or the target is not here.
    """
    around.ranges(parse_space(request.family))
    if request.prior:
        load(request.prior)
    low, high = min(request.batches), max(request.batches)
    batches = (low, round(math.sqrt(low * high)), high)
    probes = [
        Asked(parse_network(text), batch) for text, batch in zip(PROBES, batches, strict=True)
    ]
    run, path = session.start(
        _cells(probes, target, ""), TIMED, folder,
        precisions=(request.precision,), name="calibrate", command=command,
    )  # fmt: skip
    told = {_KEY: msgspec.to_builtins(request)}
    results.save(replace(run, environment={**run.environment, **told}), path)
    return path


def begun(output: AnyPath, folder: AnyPath) -> Path | None:
    """The Run that a model file came from, to be gone on with; None where there is no such file.

    Raises:
        UsageError: the file is there, but is no model of a calibration in the folder.
    """
    if not Path(output).exists():
        return None
    runs = [Path(folder) / Path(source.name).name for source in load(output).sources]
    if len(runs) == 1 and runs[0].is_file() and _is_calibration(runs[0]):
        return runs[0]
    raise UsageError(
        f"{output} is there, and {folder} has no Run of nnprof calibrate that it came from.",
        "Name another file, or the Run with --resume.",
    )


def _is_calibration(path: Path) -> bool:
    return _KEY in results.load(path).environment


def request_of(path: AnyPath) -> Request:
    """What a calibration's Run is of.

    Raises:
        BadFile: it is no Run of a calibration.
    """
    told = results.load(Path(path)).environment.get(_KEY)
    if told is None:
        raise BadFile(f"{path} is no Run of nnprof calibrate.", "Give one, or start a new one.")
    return msgspec.convert(told, Request)


def _cells(asked: Sequence[Asked], target: Target, precision: str) -> tuple[Cell, ...]:
    cells = [
        Cell(workload=Workload(model=export(spec), batch=batch), target=target)
        for spec, batch in asked
    ]
    return accuracy.in_precisions(cells, (precision,) if precision else ())[0]


def fitted(path: AnyPath) -> CostModel:
    """The model of what a calibration's Run holds by now.

    Few ops are fitted around a model of another device: the one that was asked for, else the
    nearest that is shipped, of the same backend; its name is in `calibration`.

    Raises:
        BadFile: it is no Run of a calibration.
        UsageError: it holds nothing that can be fitted.
    """
    request, measured = request_of(path), gather.read([Path(path)])
    prior = load(request.prior) if request.prior else None
    if prior is None and 0 < len(set(measured.rows.shapes)) < FEW_OPS:
        rules = measured.lowering or "fused"
        prior = priors.nearest(priors.shipped(), measured.target, measured.precision, rules)
    return assemble.model(measured, prior=prior)


def calibrate(path: AnyPath, *, minutes: float | None = None) -> Iterator[Calibrating]:
    """Measure what is missing and fit, until the time is over or more would not help.

    Args:
        path: a Run that `start` made, measured in part or not at all; it is kept up to date.
        minutes: in all, where that is to be others than the Run asks for.

    Raises:
        UsageError, Busy: as `begin.resume` and `sweep.sweep`.
    """
    path, request = Path(path), request_of(path)
    run = begin.resume(path)
    results.save(run, path)
    seconds = 60 * (request.minutes if minutes is None else minutes)
    until_s = perf_counter() + seconds - run.study.wall_s
    model, words = _known(path), "a probe"
    course = Course(request.family, request.batches, seconds, request.seed, model)
    while True:
        yield Calibrating(words=words, left_s=max(0.0, until_s - perf_counter()), model=model)
        for step in _swept(run, path, until_s):
            left_s = max(0.0, until_s - perf_counter())
            yield Calibrating(words=words, left_s=left_s, model=model, step=step)
        fit_s = -perf_counter()
        run, model = results.load(path), _known(path)
        fit_s += perf_counter()  # which the last one will take, too
        course = course if model is None else course.learned(model)
        turn = course.next_turn(run, until_s - perf_counter() - fit_s)
        if turn is None:
            return
        words, began_s = turn.words, perf_counter()
        yield Calibrating(words=words, left_s=max(0.0, until_s - began_s), model=model)
        cells = _cells(turn.asked, run.study.cells[0].target, request.precision)
        course = course._replace(file_s=(perf_counter() - began_s) / len(cells))
        study = replace(run.study, cells=(*run.study.cells, *cells), plan=turn.plan)
        run = replace(run, study=study)
        results.save(run, path)


def _swept(run: Run, path: Path, until_s: float) -> Iterator[Step]:
    """The steps of a sweep, none of which begins when the time is over."""
    if perf_counter() >= until_s:
        return
    for step in sweep.sweep(run, path):
        yield step
        if perf_counter() >= until_s:
            return


def _known(path: Path) -> CostModel | None:
    """The model of what there is, None where that is too little for one."""
    try:
        return fitted(path)
    except UsageError:
        return None
