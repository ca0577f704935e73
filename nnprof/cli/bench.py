"""`nnprof bench`: measure networks, keep the Run, show it."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import nnprof
from nnprof.cli import forms, numbers, progress, resumed
from nnprof.cli.sides import BatchAxis, Dim, sides
from nnprof.errors import UsageError
from nnprof.text import shell_word, shown_json

if TYPE_CHECKING:
    from nnprof import Sides
    from nnprof.cli.progress import Shown
    from nnprof.types import Cell, Plan, Run, Target

_LOG = logging.getLogger(__name__)
_BUDGET_S = 55.0  # of the first command: a minute, with what it takes to start and to end
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
Batches = Annotated[str | None, typer.Option(help="Batch sizes, such as 1,16,1024.")]
BackendName = Annotated[str | None, typer.Option(help="The runtime.", show_default="ONNX Runtime")]
DeviceName = Annotated[
    str,
    typer.Option(help="cpu, jetson, a board of your devices.toml, or ssh://user@host."),
]
Threads = Annotated[int, typer.Option(help="Threads of the runtime, pinned to as many processors.")]
Data = Annotated[
    str | None,
    typer.Option(
        help="A .npy or .npz file with the tiles to feed in.", show_default="made up, seeded"
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
        help="Fresh processes in shuffled rounds, or one process with all networks in order, "
        "four times over, as in 2016, to look for drift.",
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
    context: typer.Context,
    networks: Networks = None,
    study: StudyName = None,
    batch: Batches = None,
    backend: BackendName = None,
    device: DeviceName = "cpu",
    threads: Threads = 1,
    data: Data = None,
    batch_axis: BatchAxis = None,
    dim: Dim = None,
    option: Options = None,
    precision: Precision = None,
    engines: Engines = None,
    quick: Quick = False,
    rigorous: Rigorous = False,
    ops: OpMethod = Ops.combined,
    idle: Idle = None,
    protocol: Order = Protocol.rounds,
    telemetry: Telemetry = True,
    energy: Energy = 0.0,
    power_mode: PowerMode = None,
    limit: Limit = 180.0,
    out: Out = Path("bench_results"),
    resume: Resume = None,
    wait: Wait = False,
    output: Form = forms.TABLE,
) -> None:
    """Measure how fast networks run here, and where the time goes."""
    with progress.shown() as shown, _claims(wait) as alone:
        if resume is not None:
            target, begin = _resumed(context, resume, limit, alone)
        else:
            target = asked_target(backend, device, threads, _options(option, engines))
            passes = _passes(ops, idle, protocol, telemetry, energy, limit)
            plan = _plan(passes, bundled=not (networks or study), quick=quick, rigorous=rigorous)
            asked = _cells(networks, study, target, batch, data, sides(batch_axis, dim))
            begin = partial(_begin, *asked, precision, plan, out)
        ended = _measured(begin, alone, target, power_mode, shown)
    _print(*ended, output, bundled=not (networks or study or resume))


def _measured(
    begin: Callable[[], tuple[Run, Path]],
    alone: Callable[[Target | Path], object],
    target: Target,
    power_mode: str | None,
    shown: Shown,
) -> tuple[bool, Path]:
    """Whether all that was to be measured is, and where."""
    alone(target)
    with nnprof.powered(target, power_mode):
        run, path = begin()
        alone(path)
        return _sweep(run, path, shown), path


@contextmanager
def _claims(wait: bool) -> Iterator[Callable[[Target | Path], object]]:
    """What has a target, or the file that is written, for ourselves until the block ends."""
    with ExitStack() as held:
        tell = _LOG.warning if wait else None
        yield lambda what: held.enter_context(nnprof.alone(what, tell))


def _resumed(
    context: typer.Context, path: Path, limit: float, alone: Callable[[Target | Path], object]
) -> tuple[Target, Callable[[], tuple[Run, Path]]]:
    """What a Run was measured on, and how to take it up; not before the board is set for it."""
    resumed.refuse_others(context)
    limit_s = numbers.seconds("--limit", limit, 0.01)
    target = nnprof.load(path).study.cells[0].target
    alone(path)
    given_s = limit_s if resumed.given(context, "limit") else None
    return target, lambda: (nnprof.resume(path, limit_s=given_s), path)


def _begin(
    name: str, cells: tuple[Cell, ...], precision: str | None, plan: Plan, out: Path
) -> tuple[Run, Path]:
    wanted = nnprof.parse_precisions(precision) if precision else ()
    return nnprof.start(cells, plan, out, precisions=wanted, name=name, command=sys.argv[1:])


def _options(given: list[str] | None, engines: int | None) -> list[str]:
    return [*(given or []), *([] if engines is None else [f"engines={engines}"])]


def asked_target(backend: str | None, device: str, threads: int, options: list[str]) -> Target:
    """What --backend, --device, --threads and --option NAME=VALUE mean."""
    pairs = {}
    for text in options:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--option {text} has no value.", "Write --option NAME=VALUE.")
        pairs[name] = value
    return nnprof.named_target(device, backend=backend, threads=threads, options=pairs)


def _plan(passes: dict[str, Any], *, bundled: bool, quick: bool, rigorous: bool) -> Plan:
    """The plan of these words; without a word the bundled network keeps to a budget."""
    from msgspec.structs import replace

    plan = _words_plan(quick or (bundled and not rigorous), rigorous)
    budget_s = _BUDGET_S if bundled and not rigorous else 0.0
    return replace(plan, budget_s=budget_s, **passes)


def _words_plan(quick: bool, rigorous: bool) -> Plan:
    from nnprof.types import Plan

    if quick and rigorous:
        raise UsageError("--quick and --rigorous exclude each other.", "Choose one.")
    if quick:
        return Plan(
            processes=4,  # a number that is fixed has no repeated looks to pay for
            max_processes=4,
            fresh=0,
            interval=0.03,
            sample_s=0.5,
            warmup_limit_s=1.0,
            cell_limit_s=20.0,
            op_processes=2,
            op_s=0.1,
        )
    if rigorous:
        return Plan(
            processes=6,
            max_processes=30,
            fresh=6,
            sample_s=2.0,
            min_samples=10,
            cell_limit_s=300.0,
            op_processes=5,
        )
    return Plan()


def _passes(
    ops: Ops,
    idle: str | None,
    protocol: Protocol,
    telemetry: bool,
    energy: float,
    limit: float,
) -> dict[str, Any]:
    """What is done beside the clean pass, in which order, and for how long, as fields of a plan."""
    from nnprof.profiler.place.watcher import INTERVAL_S

    return {
        "op_method": ops.value,
        "idle_s": _gaps(idle),
        "protocol": protocol.value,
        "telemetry_s": INTERVAL_S if telemetry else 0.0,
        "energy_s": numbers.seconds("--energy", energy),
        "process_limit_s": numbers.seconds("--limit", limit, 0.01),
    }


_GAP = re.compile(r"(\d+(?:\.\d+)?)(s|ms|us|µs)?")
_UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}


def _gaps(text: str | None) -> tuple[float, ...]:
    """Seconds of `0,1ms,10ms`; a bare 0 needs no unit."""
    gaps = []
    for word in text.split(",") if text else ():
        match = _GAP.fullmatch(word.strip())
        if not match or (not match[2] and float(match[1])):
            raise UsageError(
                f"--idle {text}: '{word}' is not a time.", "Write it like this: --idle 0,1ms,10ms"
            )
        gap_s = float(match[1]) * _UNITS_S[match[2] or "s"]
        gaps.append(numbers.seconds(f"--idle {word.strip()}:", gap_s))
    return tuple(gaps)


def _cells(
    networks: list[str] | None,
    study: str | None,
    target: Target,
    batch: str | None,
    data: str | None,
    told: Sides,
) -> tuple[str, tuple[Cell, ...]]:
    batches = numbers.batch_sizes(batch)
    if study and networks:
        raise UsageError("A study brings its own networks.", "Give --study or networks, not both.")
    if study:
        cells = nnprof.study_cells(study, target, batches, sides=told, data=data or "generated")
        return nnprof.study_name(study), cells
    if networks:
        cells = nnprof.named_cells(networks, target, batches, data=data or "generated", sides=told)
        return "bench", cells
    return "bundled", nnprof.bundled_cells(target, batches, sides=told, data=data)


def _sweep(run: Run, path: Path, shown: Shown) -> bool:
    """Measure, showing each step; False when the user stopped it. All is on disk either way."""
    try:
        for step in nnprof.sweep(run, path):
            shown.step(step)
    except KeyboardInterrupt:
        return False
    return True


def _print(complete: bool, path: Path, output: str, *, bundled: bool) -> None:
    from nnprof.profiler.report import shown

    if not complete:
        sys.stderr.write("Stopped. What is measured is kept; go on with:\n")
        sys.stderr.write(f"nnprof bench --resume {shell_word(path)}\n")
    run = nnprof.load(path)
    if output == forms.JSON:
        sys.stdout.write(shown_json(path.read_text(encoding="utf-8")) + "\n")
    else:
        shown.print_cells(run)
        sys.stdout.write("\n")
        if bundled and run.measurements:
            shown.print_ops(max(run.measurements, key=lambda cell: cell.workload.batch), run)
            sys.stdout.write("\n")
        shown.print_rest(run)
        # Plain and on a line of its own, whatever the width: it will be copied.
        sys.stdout.write(f"Run: {shell_word(path)}\n")
    failed = not nnprof.is_complete(run)
    if failed or not complete:
        raise typer.Exit(1 if failed else INTERRUPTED)
