"""Tables of the evaluation, at most 80 columns wide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

_CONSOLE = Console(width=80, highlight=False)


def percent(value: float | None, digits: int = 1, sign: str = "") -> str:
    """A share as people read it; a dash for none, and no digits behind thousands."""
    if value is None:
        return "–"
    return f"{value:{sign}.{0 if abs(value) >= 10 else digits}%}"


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose first column is text and whose others are numbers."""
    made = Table(box=None, pad_edge=False)
    made.add_column(heads[0], overflow="fold")  # gives way to the numbers
    for head in heads[1:]:
        made.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    _CONSOLE.print(f"\n{title}")
    _CONSOLE.print(made)


def models(title: str, found: Mapping) -> None:
    """One line per model: its ops, and the totals of networks; then ours against the forest."""
    heads = ("", "op MAPE", "median", "±10%", "network", "max", "±10%", "bias", "rank")
    table(f"{title} ({_asked(found['models'])})", heads, [
        (name, *_of_ops(one["ops"]), percent(one["networks"]["mape"]),
         percent(one["networks"]["max"], 0), percent(one["networks"]["within10"], 0),
         percent(one["networks"]["bias"], 1, "+"), _rank(one["networks"]))
        for name, one in found["models"].items()
    ])  # fmt: skip
    lost = next(iter(found["models"].values()))["networks"]["unknown"]
    if lost:
        _CONSOLE.print(f"{lost} networks have an op of a group not learned, which counts nothing.")
    _paired(found)


def _of_ops(one: Mapping | None) -> tuple[str, str, str]:
    if one is None:  # a model of whole networks, or nobody timed the ops
        return "–", "–", "–"
    return percent(one["mape"]), percent(one["median"]), percent(one["within10"], 0)


def _asked(found: Mapping) -> str:
    one = next(iter(found.values()))
    ops = f"{one['ops']['n']} ops, " if one["ops"] else ""
    return f"{ops}{one['networks']['n']} networks"


def networks(title: str, found: Mapping) -> None:
    """The same where only whole networks were measured."""
    heads = ("", "MAPE", "median", "RMSPE", "max", "±5%", "±10%", "±20%", "bias", "rank", "lost")
    first = next(iter(found["models"].values()))
    table(f"{title} ({first['n']} networks)", heads, [
        (name, percent(one["mape"]), percent(one["median"]), percent(one["rmspe"], 0),
         percent(one["max"], 0), *(percent(one[f"within{limit}"], 0) for limit in (5, 10, 20)),
         percent(one["bias"], 1, "+"), _rank(one), str(one["unknown"]))
        for name, one in found["models"].items()
    ])  # fmt: skip
    _paired(found)


def _rank(one: Mapping) -> str:
    return "–" if one["spearman"] is None else f"{one['spearman']:.3f}"


def _paired(found: Mapping) -> None:
    one = found.get("ours minus forest")
    if one:
        _CONSOLE.print(
            f"MAPE of ours minus the forest's: {one['difference']:+.1%} "
            f"[{one['low']:+.1%}, {one['high']:+.1%}], {one['networks']} networks drawn"
        )


def curve(title: str, found: Mapping[str, Mapping], part: str) -> None:
    """MAPE by the number of measurements, one line per model."""
    names = list(next(iter(found.values())))
    table(title, ("measured", *found), [
        (name, *(percent(one[name][part]["mape"]) for one in found.values())) for name in names
    ])  # fmt: skip


def coverage(title: str, found: Mapping[str, Mapping]) -> None:
    """Intervals of several sets, 90 % asked for."""
    rows = [
        (name, str(one["n"]), percent(one["coverage"]),
         "–" if one["factor"] is None else f"{one['factor']:.3f}", str(one["unknown"]))
        for name, one in found.items()
    ]  # fmt: skip
    table(title, ("90 % intervals", "n", "hold", "factor", "none given"), rows)


def say(text: str) -> None:
    """A sentence under a table."""
    _CONSOLE.print(text)
