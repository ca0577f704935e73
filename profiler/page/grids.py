"""Grids of Runs whose networks are of a family: over two parameters, as the figures of 2016. Pure.

A Run of a study has that study's figures; of others the two parameters that vary are taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nnprof.errors import NnprofError
from nnprof.networks.families import parameters, parse_network
from nnprof.profiler.figures import FIGURES, figure_grid
from nnprof.profiler.grids import Grid, of_run
from nnprof.profiler.page.values import Column, Number, Part, Table
from nnprof.profiler.report.digits import digits
from nnprof.text import plain
from nnprof.types import Run

_MOST = 30  # values of a parameter


def part(runs: Mapping[str, Run]) -> Part | None:
    """A table for each grid, its cells tinted by their values; None where there is none."""
    found = [(name, grid) for name, grids in _grids(runs) for grid in grids]
    if not found:
        return None
    several = len(runs) > 1
    tables = [_table(grid, name if several else "") for name, grid in found]
    notes = [note for _, grid in found for note in grid.notes]
    return Part(
        told=_told(found[0][1]),
        tables=tuple(tables),
        notes=tuple(plain(note) for note in dict.fromkeys(notes)),
    )


def _grids(runs: Mapping[str, Run]) -> Iterator[tuple[str, Sequence[Grid]]]:
    for name, run in runs.items():
        own = _of_study(run) or _of_parameters(run)
        if own:
            yield name, own
    if len(runs) == 2:
        first, second = runs.values()
        name = f"{' against '.join(runs)}: how many times faster the first is"
        yield name, [*_figures((first, second))]


def _of_study(run: Run) -> list[Grid]:
    return list(_figures((run,)))


def _figures(runs: Sequence[Run]) -> Iterator[Grid]:
    """Those figures of the study that can be made of the Runs; of alike ones the first."""
    seen = set()
    for number, figure in FIGURES.items():
        asked = (figure.rows, figure.columns, figure.kind)
        if (
            asked in seen
            or figure.runs != len(runs)
            or any(figure.study != run.study.name for run in runs)
        ):
            continue
        try:
            yield figure_grid(number, runs)
            seen.add(asked)
        except NnprofError:  # a kind of op that was not timed, or did not run
            continue


def _of_parameters(run: Run) -> list[Grid]:
    """The grid over the two parameters that vary, where there are two of a family."""
    values: dict[str, set[object]] = {}
    for one in run.measurements:
        try:
            spec = parse_network(one.workload.model.name)
        except NnprofError:
            return []
        if not spec.family:
            return []
        for name, value in {**parameters(spec), "batch": one.workload.batch}.items():
            values.setdefault(name, set()).add(value)
    varied = [name for name, own in values.items() if len(own) > 1]
    if len(varied) != 2 or any(len(values[name]) > _MOST for name in varied):
        return []
    try:
        return [of_run(run, varied[0], varied[1])]
    except NnprofError:
        return []


def _table(grid: Grid, source: str) -> Table:
    kind = f", {grid.kind}" if grid.kind else ""
    title = grid.title or f"{grid.row_name} against {grid.column_name}"
    fixed = ", ".join(f"{name} {value}" for name, value in grid.fixed.items())
    caption = f"{title}: {grid.unit}{kind}" + (f"; {fixed}" if fixed else "")
    columns = (
        Column(title=grid.row_name, form="text"),
        *(Column(title=f"{grid.column_name} {value}") for value in grid.columns),
    )
    rows = tuple(
        (str(row), *(_shown(value, state) for value, state in zip(values, states, strict=True)))
        for row, values, states in zip(grid.rows, grid.values, grid.states, strict=True)
    )
    return Table(
        caption=plain(f"{source}: {caption}" if source else caption),
        columns=columns,
        rows=rows,
        shades=_shades(grid),
    )


def _shown(value: float | None, state: str) -> str | Number:
    """The number, or what became of it."""
    return state if value is None else value


def _shades(grid: Grid) -> tuple[tuple[Number, ...], ...]:
    """Of the first column none; of the numbers their place between the least and the most."""
    known = [value for row in grid.values for value in row if value is not None]
    if not known:
        return ()
    low, high = min(known), max(known)
    reach = (high - low) or 1.0
    return tuple(
        (None, *(None if value is None else (value - low) / reach for value in row))
        for row in grid.values
    )


def _told(grid: Grid) -> str:
    """Between which cells of the first grid the numbers lie."""
    known = [
        (value, f"{grid.row_name} {row}, {grid.column_name} {column}")
        for row, values in zip(grid.rows, grid.values, strict=True)
        for column, value in zip(grid.columns, values, strict=True)
        if value is not None
    ]
    if not known:
        return "No cell of the grid has a number."
    (low, at_low), (high, at_high) = min(known), max(known)
    unit = f"{grid.unit} of {grid.kind}" if grid.kind else grid.unit
    return f"From {digits(low)} {unit} ({at_low}) to {digits(high)} ({at_high})."
