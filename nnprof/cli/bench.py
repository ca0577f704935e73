"""`nnprof bench`: measure networks, keep the Run, show it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn

import typer

import nnprof
from nnprof.cli import (
    deadlines,
    fleets,
    forms,
    images,
    numbers,
    paired,
    plans,
    progress,
    resumed,
    streams,
    sustained,
)
from nnprof.cli.places import Place
from nnprof.cli.sides import BatchAxis, Dim, sides
from nnprof.errors import UsageError
from nnprof.text import shell_word, shown_json

if TYPE_CHECKING:
    from nnprof import Sides
    from nnprof.cli.progress import Shown
    from nnprof.types import Cell, Plan, Run, Target

    _Alone = Callable[[Target | Path], object]
    _Begin = Callable[[], tuple[Run, Path]]
    _Prepare = Callable[[_Alone], tuple[tuple[Target, ...], _Begin]]

_LOG = logging.getLogger(__name__)
INTERRUPTED = 130  # as shells report a program ended by Ctrl-C


class Ops(str, Enum):
    """How ops are timed."""

    combined = "combined"
    runtime = "runtime"
    none = "none"


class Protocol(str, Enum):
    """In which order things run."""

    rounds = "rounds"
    loop = "loop"
    fresh = "loop-fresh"


Networks = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NETWORK|FILE.onnx|CHECKPOINT]...",
        help="What to measure, such as '1x28x28 conv20k5 pool2 fc10', 'mattsson(conv=2)', an "
        "ONNX file, or a folder that nnprof train wrote. Nothing: the bundled network.",
    ),
]
StudyName = Annotated[
    str | None,
    typer.Option(help="A named study, such as group3, or a .json file that nnprof plan wrote."),
]
Batches = Annotated[
    str | None,
    typer.Option(
        help="Batch sizes, such as 1,16,1024.",
        show_default="1 to 1024, or a study's own; with --budget 1; with --image up to four that "
        "divide its tiles; or the one that a file is bound to",
    ),
]
BackendName = Annotated[str | None, typer.Option(help="The runtime.", show_default="ONNX Runtime")]
DeviceName = Annotated[
    str,
    typer.Option(
        help="cpu, jetson, a board of your devices.toml, or ssh://user@host; several at once: all, "
        "or names such as jetson,pi."
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        metavar="cpu|gpu|dla",
        help="What of the device computes.",
        show_default="the runtime's usual one",
    ),
]
Threads = Annotated[int, typer.Option(help="Threads of the runtime, pinned to as many processors.")]
Data = Annotated[
    str | None,
    typer.Option(
        help="A .npy or .npz file with the tiles to feed in, or the image to cut.",
        show_default="made up, seeded",
    ),
]
Options = Annotated[
    list[str] | None, typer.Option(help="An option of the backend, NAME=VALUE; repeatable.")
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="fp32, fp16, int8 or several, such as fp32,int8; accuracy is shown, too.",
        show_default="as the file is",
    ),
]
Engines = Annotated[
    int | None,
    typer.Option(
        help="Of a runtime that builds engines by timing kernels: build so many, which the "
        "processes take in turn.",
        show_default="1",
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Short cells, wider intervals.")]
Rigorous = Annotated[bool, typer.Option("--rigorous", help="Long cells, narrower intervals.")]
OpMethod = Annotated[Ops, typer.Option(help="How ops are timed.")]
Idle = Annotated[
    str | None,
    typer.Option(help="Also time single inferences after pauses, such as 0,1ms,10ms,100ms."),
]
Order = Annotated[
    Protocol,
    typer.Option(
        "--protocol",
        help="Fresh processes in shuffled rounds; or, to look for a drift, one process with all "
        "networks in order, four times over: our variant of the loops of 2016. loop-fresh: as in "
        "2016, a process for each network, 20 inferences each, three times over.",
    ),
]
Telemetry = Annotated[
    bool,
    typer.Option(
        "--telemetry/--no-telemetry", help="Read the device during the clean pass, from aside."
    ),
]
Energy = Annotated[
    float, typer.Option(help="Seconds of a pass that measures energy, where there is a sensor.")
]
Patient = Annotated[
    float,
    typer.Option(
        help="Seconds for which each process may wait until other programs leave the machine alone."
    ),
]
PowerMode = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|ID|locked",
        help="Put a Jetson into this mode of nvpmodel and lock its clocks meanwhile; locked: "
        "only lock them.",
    ),
]
Limit = Annotated[float, typer.Option(help="Seconds after which a worker is ended.")]
Out = Annotated[Path, typer.Option(help="Folder for the Run.")]
Resume = Annotated[
    Path | None,
    typer.Option(metavar="RUN.json", help="Go on with a Run: measure what is missing."),
]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait", help="Where another nnprof measures here, or writes the Run, wait for its end."
    ),
]
Form = Annotated[str, forms.fixed("What to print at the end.", "table", "json")]


def bench(
    context: typer.Context, networks: Networks = None, study: StudyName = None,
    batch: Batches = None, backend: BackendName = None, device: DeviceName = "cpu",
    on: On = None, threads: Threads = 1, data: Data = None, batch_axis: BatchAxis = None,
    dim: Dim = None, image: images.Image = None, option: Options = None,
    precision: Precision = None,
    engines: Engines = None, quick: Quick = False, rigorous: Rigorous = False,
    ops: OpMethod = Ops.combined, idle: Idle = None, protocol: Order = Protocol.rounds,
    pair: paired.Paired = False, against: paired.Against = None, telemetry: Telemetry = True,
    energy: Energy = 0.0, patient: Patient = 0.0, budget: deadlines.Budget = None,
    period: deadlines.Period = None, for_: sustained.For = None,
    several: streams.Streams = None, power_mode: PowerMode = None,
    limit: Limit = 180.0, scheduler: fleets.Scheduler = None,
    out: Out = Path("bench_results"), resume: Resume = None, wait: Wait = False,
    output: Form = forms.TABLE,
) -> None:  # fmt: skip
    """Measure how fast networks run here, and where the time goes."""
    place = Place(backend, device, threads, _options(option, engines), precision, on)
    how = partial(plans.passes, ops.value, idle, protocol.value, telemetry, energy, patient, limit)
    how = partial(deadlines.passes, how, budget, period)
    work = _Work(networks, study, batch, data, partial(sides, batch_axis, dim), out, image)
    work = work._replace(usual=deadlines.usual(budget))
    if for_ is not None:
        how = partial(sustained.passes, context, how, for_)
    if several is not None:
        work = work._replace(streams=streams.counts(several))
        how = partial(streams.passes, context, how)
    fleet = fleets.meant(device, resume, scheduler, power_mode)
    if fleet is not None:
        begin = partial(fleets.begun, fleet, work.cells, place, how, (quick, rigorous), out)
        begin = partial(begin, bundled=not (networks or study), pairs=bool(pair or against))
        if resume is not None:
            begin = partial(fleets.resumed, fleet, context, resume, limit)
        _print(*fleets.measured(fleet, begin), output, bundled=False)
    prepare = partial(_asked, work, place, how, (quick, rigorous), (context, pair, against))
    if resume is not None:
        prepare = partial(_resumed, context, resume, limit)
    complete, path = _measured(prepare, power_mode, wait)
    _print(complete, (path,), output, bundled=not (networks or study or resume))


class _Work(NamedTuple):
    """What is to be measured, in the user's words, and where the Run goes."""

    networks: list[str] | None
    study: str | None
    batch: str | None
    data: str | None
    told: Callable[[], Sides]
    out: Path
    image: str | None = None
    usual: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    streams: tuple[int, ...] = ()

    def cells(self, target: Target) -> tuple[str, tuple[Cell, ...]]:
        """The name of the Run, and its cells on a target."""
        if self.image is None:
            name, cells = _cells(
                self.networks, self.study, target, self.batch, self.data, self.told(), self.usual
            )
            return name, streams.each(cells, self.streams)
        batches, data = numbers.batch_sizes(self.batch), self.data or "generated"
        nnprof.framed_cells((), self.image)  # what is no image is said before networks are exported
        # Which batches divide the tiles depends on the network; the data are the image.
        name, cells = _cells(self.networks, self.study, target, None, None, self.told())
        cells = nnprof.framed_cells(cells, self.image, batches, data=data)
        return name, streams.each(cells, self.streams)


def _measured(prepare: _Prepare, power_mode: str | None, wait: bool) -> tuple[bool, Path]:
    """Whether all that was to be measured is, and where."""
    with progress.shown() as shown, claims(wait) as alone:
        targets, begin = prepare(alone)
        for target in targets:
            alone(target)
        with nnprof.powered(targets[0], power_mode):
            run, path = begin()
            alone(path)
            return _sweep(run, path, shown), path


def _asked(
    work: _Work,
    place: Place,
    how: Callable[[], dict[str, Any]],
    words: tuple[bool, bool],
    pairing: tuple[typer.Context, bool, list[str] | None],
    _: _Alone,
) -> tuple[tuple[Target, ...], _Begin]:
    """What is measured on, and how to start the Run of these words."""
    (quick, rigorous), (context, pair, against), passes = words, pairing, how()
    if pair:
        paired.require_sides(work.networks or (), work.study, against or ())
        plan = paired.plan(context, passes, quick=quick, rigorous=rigorous)
        named, places = work.networks or [], (place, place.changed(against or ()))
        targets = places[0].target(), places[1].target()
        networks = (named, named) if against else (named[:1], named[1:])
        sides = (work._replace(networks=networks[0]), work._replace(networks=networks[1]))
        return targets, partial(_begin_pairs, sides, places, targets, plan)
    if against:
        raise UsageError("--against changes one side, but nothing is paired.", "Add --paired.")
    target = place.target()
    bundled = not (work.networks or work.study)
    plan = plans.plan(passes, bundled=bundled, quick=quick, rigorous=rigorous)
    widest = streams.widest(target, work.streams)
    return (widest,), partial(_begin, *work.cells(target), place.precision, plan, work.out)


def _begin_pairs(
    sides: tuple[_Work, _Work],
    places: tuple[Place, Place],
    targets: tuple[Target, Target],
    plan: Plan,
) -> tuple[Run, Path]:
    (name, before), (_, after) = (
        work.cells(target) for work, target in zip(sides, targets, strict=True)
    )
    wanted = places[0].precision or "", places[1].precision or ""
    return nnprof.start_pairs(
        (before, after), plan, sides[0].out, precisions=wanted, name=name, command=sys.argv[1:]
    )


@contextmanager
def claims(wait: bool) -> Iterator[_Alone]:
    """What has a target, or the file that is written, for ourselves until the block ends."""
    with ExitStack() as held:
        tell = _LOG.warning if wait else None
        yield lambda what: held.enter_context(nnprof.alone(what, tell))


def _resumed(
    context: typer.Context, path: Path, limit: float, alone: _Alone
) -> tuple[tuple[Target, ...], _Begin]:
    """What a Run was measured on, and how to take it up; not before the board is set for it."""
    resumed.refuse_others(context)
    limit_s = numbers.seconds("--limit", limit, 0.01)
    run = nnprof.load(path)
    runs = nnprof.load_sides(path) if run.study.paired else (run,)
    targets = tuple(one.study.target for one in runs)
    alone(path)
    given_s = limit_s if resumed.given(context, "limit") else None
    return targets, lambda: (nnprof.resume(path, limit_s=given_s), path)


def _begin(
    name: str, cells: tuple[Cell, ...], precision: str | None, plan: Plan, out: Path
) -> tuple[Run, Path]:
    wanted = nnprof.parse_precisions(precision) if precision else ()
    return nnprof.start(cells, plan, out, precisions=wanted, name=name, command=sys.argv[1:])


def _options(given: list[str] | None, engines: int | None) -> list[str]:
    return [*(given or []), *([] if engines is None else [f"engines={engines}"])]


def _cells(
    networks: list[str] | None,
    study: str | None,
    target: Target,
    batch: str | None,
    data: str | None,
    told: Sides,
    usual: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
) -> tuple[str, tuple[Cell, ...]]:
    batches = numbers.batch_sizes(batch)
    if study and networks:
        raise UsageError("A study brings its own networks.", "Give --study or networks, not both.")
    if study:
        cells = nnprof.study_cells(study, target, batches, sides=told, data=data or "generated")
        return nnprof.study_name(study), cells
    if networks:
        data = data or "generated"
        cells = nnprof.named_cells(networks, target, batches, data=data, sides=told, **usual)
        return "bench", cells
    return "bundled", nnprof.bundled_cells(target, batches, sides=told, data=data, **usual)


def _sweep(run: Run, path: Path, shown: Shown) -> bool:
    """Measure, showing each step; False when the user stopped it. All is on disk either way."""
    try:
        for step in nnprof.sweep(run, path):
            shown.step(step)
    except KeyboardInterrupt:
        return False
    return True


def _print(complete: bool, paths: Sequence[Path], output: str, *, bundled: bool) -> NoReturn:
    runs = [nnprof.load(path) for path in paths]
    if not complete:
        sys.stderr.writelines(map(resumed.stopped, runs, paths))
    if runs[0].study.paired:
        sides = nnprof.load_sides(paths[0])
        paired.show(sides, output)
        runs = [*sides]
    elif output == forms.JSON:
        texts = [shown_json(path.read_text(encoding="utf-8")) for path in paths]
        sys.stdout.write((texts[0] if len(texts) == 1 else f"[{','.join(texts)}]") + "\n")
    else:
        for run in runs:
            _show(run, bundled=bundled)
    failed = not all(map(nnprof.is_complete, runs))
    code = (1 if failed else INTERRUPTED) if failed or not complete else deadlines.exit_code(runs)
    if output != forms.JSON:
        deadlines.show(runs, code=code)
        # Plain and on a line of its own, whatever the width: it will be copied.
        sys.stdout.writelines(f"Run: {shell_word(path)}\n" for path in paths)
    raise typer.Exit(code)


def _show(run: Run, *, bundled: bool) -> None:
    from nnprof.profiler.report import shown

    shown.print_cells(run)
    sys.stdout.write("\n")
    if bundled and run.measurements and not run.study.plan.streams_s:
        shown.print_ops(max(run.measurements, key=lambda cell: cell.workload.batch), run)
        sys.stdout.write("\n")
    shown.print_rest(run)
