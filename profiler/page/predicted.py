"""View 11: what a cost model predicts against what was measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from nnprof.profiler.costmodel.prediction import Prediction
from nnprof.profiler.page.cells import Cell
from nnprof.profiler.page.values import Axis, Column, Figure, Part, Series, Table
from nnprof.text import plain

Found = Mapping[int, Prediction]  # by the number of the cell


def part(cells: Sequence[Cell], found: Found, why_not: Sequence[str] = ()) -> Part | None:
    """Predictions with their intervals over the measured times; None without any."""
    if not found:
        return None
    told = _told(cells, found)
    inside = [number for number in found if not found[number].extrapolates]
    outside = [number for number in found if found[number].extrapolates]
    times = [cells[number].ms for number in found]
    low, high = min(times) / 1.5, max(times) * 1.5
    diagonal = Series(
        name="as predicted", x=(low, high), y=(low, high), dashed=True, colour=6, marked=False
    )
    figure = Figure(
        told=told,
        x=Axis(title="measured ms", log=True),
        y=Axis(title="predicted ms", log=True),
        series=(
            *([_series("within what the model knows", cells, found, inside)] if inside else []),
            *([_series("extrapolated", cells, found, outside, hollow=True)] if outside else []),
            diagonal,
        ),
        table=_table(cells, found),
        wide=True,
    )
    return Part(told=told, figures=(figure,), notes=tuple(map(plain, why_not)))


def _series(
    name: str, cells: Sequence[Cell], found: Found, own: Sequence[int], *, hollow: bool = False
) -> Series:
    predictions = [found[number] for number in own]
    return Series(
        name=name,
        x=tuple(cells[number].ms for number in own),
        y=tuple(one.seconds * 1e3 for one in predictions),
        low=tuple(None if one.low_s is None else one.low_s * 1e3 for one in predictions),
        high=tuple(None if one.high_s is None else one.high_s * 1e3 for one in predictions),
        text=tuple(cells[number].name for number in own),
        cells=tuple(own),
        shape="points",
        hollow=hollow,
        colour=1 if hollow else 0,
    )


def _error(cells: Sequence[Cell], found: Found, number: int) -> float:
    return found[number].seconds * 1e3 / cells[number].ms - 1


def _told(cells: Sequence[Cell], found: Found) -> str:
    errors = {number: _error(cells, found, number) for number in found}
    middle = median(map(abs, errors.values()))
    worst = max(errors, key=lambda number: abs(errors[number]))
    told = (
        f"Predictions of {len(found)} cells are off by {middle:.1%} (median); the worst is "
        f"{cells[worst].name} with {errors[worst]:+.1%}"
    )
    held = [_holds(cells[number], one) for number, one in found.items() if one.low_s is not None]
    return (
        f"{told}; {sum(held)} of {len(held)} intervals hold the measured time."
        if held
        else (f"{told}; the model has no intervals.")
    )


def _holds(cell: Cell, one: Prediction) -> bool:
    return (one.low_s or 0.0) * 1e3 <= cell.ms <= (one.high_s or 0.0) * 1e3


def _table(cells: Sequence[Cell], found: Found) -> Table:
    columns = (
        Column(title="cell", form="cell"),
        Column(title="measured ms"),
        Column(title="predicted ms"),
        Column(title="low"),
        Column(title="high"),
        Column(title="error", form="percent"),
        Column(title="extrapolates", form="text"),
    )
    rows = tuple(
        (
            number,
            cells[number].ms,
            one.seconds * 1e3,
            None if one.low_s is None else one.low_s * 1e3,
            None if one.high_s is None else one.high_s * 1e3,
            _error(cells, found, number),
            plain(" ".join(one.extrapolates)),
        )
        for number, one in found.items()
    )
    return Table(caption="Predicted and measured", columns=columns, rows=rows)
