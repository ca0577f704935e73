"""`nnprof show`: a Run, trainings or a network as tables, CSV, Markdown or JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

import nnprof
from nnprof.cli import deadlines, forms, grids
from nnprof.errors import UsageError

if TYPE_CHECKING:
    from nnprof.types import Run

_What = Annotated[
    str | None,
    typer.Argument(
        help="A Run that nnprof bench wrote, a folder of trainings, or a network.",
        metavar="RUN.json|FOLDER|NETWORK",
    ),
]
_Beside = Annotated[
    Path | None,
    typer.Argument(help="Of the trainings' networks: how fast they are.", metavar="[RUN.json]"),
]
_Study = Annotated[
    str | None, typer.Option(help="Weights and multiply-adds of a study's networks.")
]
_Ops = Annotated[bool, typer.Option("--ops", help="Show the time of each op.")]
_Windows = Annotated[
    bool,
    typer.Option("--windows", help="Of bench --for: every window, also as CSV or --format."),
]
_Memory = Annotated[
    bool,
    typer.Option("--memory", help="Show memory and the time to load; with --ops of each op."),
]
_Curves = Annotated[
    bool, typer.Option("--curves", help="Of trainings: each epoch, as CSV or --format.")
]
_Batch = Annotated[
    list[int] | None,
    typer.Option(help="Only cells of this batch; may be repeated. Of networks: tiles.", min=1),
]
_Form = Annotated[str, forms.of_rows("How to print it.")]


def show(
    what: _What = None,
    run: _Beside = None,
    study: _Study = None,
    ops: _Ops = False,
    windows: _Windows = False,
    memory: _Memory = False,
    curves: _Curves = False,
    batch: _Batch = None,
    grid: grids.Axes = None,
    figure: grids.Figure = None,
    kind: grids.Kind = None,
    where: grids.Where = None,
    budget: deadlines.Asked = None,
    output: _Form = forms.TABLE,
) -> None:
    """Show a Run; trainings, with the speed of a Run beside them; or what a network weighs."""
    batches = batch or []
    wanted = grids.asked(grid, figure, kind, where)
    named = study is None and what is not None and Path(what).suffix == ".json"
    deadlines.require_run(budget, is_run=named and not wanted)
    if study is not None or what is None:
        _show_study(study, what, batches, output)
    elif Path(what).is_dir():
        from nnprof.profiler.report import shown_trainings

        beside = nnprof.load(run) if run else None
        shown_trainings.print_folder(Path(what), beside, output, curves=curves)
    elif not Path(what).is_file() and not what.endswith(".json"):
        from nnprof.profiler.report import shown_counts

        shown_counts.print_network(nnprof.parse_network(what), _one(batches) or 1, output)
    elif wanted:
        grids.refuse_batch(batch)
        grids.write(wanted, output, nnprof.load(Path(what)))
    else:
        budget_s = None if budget is None else deadlines.seconds("--budget", budget)
        looks = _Looks(ops, windows, memory)
        _show_run(Path(what), batches, output, looks, budget_s)


def _show_study(study: str | None, what: str | None, batches: list[int], output: str) -> None:
    if study is None or what is not None:
        raise UsageError(
            "There is nothing to show." if study is None else "A study is shown by itself.",
            "Name a Run, a folder of trainings or a network, or give --study NAME.",
        )
    from nnprof.profiler.report import shown_counts

    shown_counts.print_study(nnprof.find_study(study), _one(batches), output)


def _one(batches: list[int]) -> int | None:
    if len(batches) > 1:
        raise UsageError("Networks are counted at one batch.", "Give --batch once.")
    return batches[0] if batches else None


class _Looks(NamedTuple):
    """What of a Run is asked for beside its cells."""

    ops: bool
    windows: bool
    memory: bool


def _show_run(
    path: Path, batches: list[int], output: str, looks: _Looks, budget_s: float | None
) -> None:
    whole = nnprof.load(path)
    chosen = select(whole, batches)
    if looks.windows:
        from nnprof.profiler.report import shown_sustained

        shown_sustained.print_all(chosen, output)
    elif looks.memory:
        from nnprof.profiler.report import shown_memory

        shown_memory.show(chosen, output, ops=looks.ops)
    elif output == forms.TABLE:
        from nnprof.profiler.report import shown

        shown.print_cells_or_ops(chosen, ops=looks.ops)
        shown.print_rest(whole)
        deadlines.show((whole,), budget_s, batches)
    else:
        sys.stdout.write(_text(chosen, looks.ops, output))


def select(run: Run, batches: list[int]) -> Run:
    """Only the cells of these batches; all where none is named.

    Raises:
        UsageError: the Run has none of them.
    """
    from msgspec.structs import replace

    if not batches:
        return run
    kept = replace(
        run,
        measurements=tuple(m for m in run.measurements if m.workload.batch in batches),
        failures=tuple(f for f in run.failures if f.workload.batch in batches),
    )
    if not kept.measurements and not kept.failures:
        known = sorted({cell.workload.batch for cell in run.study.cells})
        raise UsageError("No cell has such a batch.", f"Batches: {', '.join(map(str, known))}.")
    return kept


def _text(run: Run, ops: bool, output: str) -> str:
    from nnprof.profiler.report import rows
    from nnprof.profiler.report.forms import written

    found, columns = (
        (rows.op_rows(run), rows.OP_COLUMNS) if ops else (rows.rows(run), rows.columns(run))
    )
    return written(output, found, columns)
