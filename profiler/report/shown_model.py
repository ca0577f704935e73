"""A cost model and its predictions printed to a terminal, at most 80 columns wide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnprof.profiler.report import costmodel, shown_frames
from nnprof.profiler.report.shown import print_notes
from nnprof.terminal import Console, Table

if TYPE_CHECKING:
    from nnprof.profiler.costmodel.model import CostModel
    from nnprof.profiler.costmodel.prediction import Prediction


def print_model(made: CostModel) -> None:
    """Equations, checks and doubts of a model."""
    console = Console()
    console.say(costmodel.heading(made), "bold")
    if made.doubt:
        console.say(f"Warning: {made.doubt}", "bold red")
    for table in (_terms(made), _groups(made)):
        if table.row_count:
            console.print(table)
            console.print()
    for line in costmodel.check_lines(made):
        console.say(line)
    print_notes(costmodel.warning_lines(made))


def print_predictions(made: CostModel, found: Sequence[Prediction], *, ops: bool) -> None:
    """One line per network and batch; with `ops`, every term and every op; then the doubts."""
    console = Console()
    console.say(costmodel.heading(made), "bold")
    console.print(_predictions(found))
    if any(one.frame for one in found):
        console.print()
        console.print(shown_frames.predicted_table(found))
        console.say(shown_frames.NO_CUTTING)
    for one in found if ops else ():
        console.print()
        console.say(f"{one.network}, batch {one.batch}", "bold")
        for table in _breakdown(one):
            console.print(table)
            console.print()
    source = ", ".join(sorted({one.ops_from for one in found}))
    for line in costmodel.doubts(made, found, source):
        console.say(line, "yellow")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        words = index == 0 or column in ("pays for", "unit")
        table.add_column(column, justify="left" if words else "right", overflow="fold")
    return table


def _terms(made: CostModel) -> Table:
    """The equations, term by term; what the data do not tell is no number."""
    table = _table("op", "pays for", "rate", "unit", "95 %", "share")
    before = ""
    for term in made.terms:
        known = term.identified or term.low is None
        mark = " !" if term.flag else ""
        table.add_row(
            term.group if term.group != before else "",
            costmodel.term_words(term),
            costmodel.rate(term, term.coefficient) + mark if known else "not identified",
            costmodel.term_unit(term) if known else "",
            costmodel.term_range(term) if known else "",
            f"{term.share:.1%}" if term.share is not None else "",
        )
        before = term.group
    return table


def _groups(made: CostModel) -> Table:
    """How well each group of ops is known."""
    table = _table("op", "rows", "shapes", "error", "noise", "90 % within", "per doubling")
    for group in made.groups:
        if not group.rows:
            continue
        table.add_row(
            group.name + (" *" if group.pooled else ""),
            str(group.rows),
            str(group.shapes),
            _percent(group.error),
            _percent(group.noise),
            f"÷× {group.factor:.2f}" if group.factor else "",
            f"× {math.exp(group.growth):.2f}" if group.growth is not None else "",
        )
    return table


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _digits(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}"


def _predictions(found: Sequence[Prediction]) -> Table:
    """One line per network and batch."""
    table = _table("network", "batch", "ms/tile", "90 %", "tiles/ms")
    for one in found:
        table.add_row(
            one.network,
            str(one.batch),
            _digits(one.ms_per_tile) + (" partial" if one.unknown else ""),
            "" if one.low_s is None or one.high_s is None else
            f"{_digits(one.low_s * 1e3 / one.batch)}…{_digits(one.high_s * 1e3 / one.batch)}",
            _digits(1 / one.ms_per_tile) if one.ms_per_tile else "",
        )  # fmt: skip
    return table


def _breakdown(one: Prediction) -> tuple[Table, Table]:
    """Where the time goes: by term, by op."""
    by_term = _table("op", "pays for", "µs/tile", "share")
    total = one.seconds or 1.0
    for part in one.terms:
        if part.seconds:
            micro = f"{part.seconds / one.batch * 1e6:.4g}"
            by_term.add_row(part.name, part.words, micro, f"{part.seconds / total:.1%}")
    by_op = _table("op", "kind", "µs/tile", "share")
    for part in one.layers:
        known = part.seconds == part.seconds
        by_op.add_row(
            part.name,
            part.term,
            f"{part.seconds / one.batch * 1e6:.4g}" if known else "unknown",
            f"{part.seconds / total:.1%}" if known else "",
        )
    return by_term, by_op
