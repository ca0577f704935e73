"""What the page shows, as plain data: `assets/page.js` draws it, and knows nothing of Runs.

All numbers are in the units that their axes and columns name. None is unknown.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Number: TypeAlias = float | None
Shape: TypeAlias = Literal["line", "points", "steps", "bars"]


class Column(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A column of a table.

    Attributes:
        title: with the unit.
        form: "text", "number", "percent" (the values are shares of 1) or "cell": the number of a
            cell of the page, shown by its name, which chooses it.
        note: what the column means, where the title is not enough.
    """

    title: str
    form: Literal["text", "number", "percent", "cell"] = "number"
    note: str = ""


class Table(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A table that can be sorted by each column.

    Attributes:
        caption: what stands in it, in one line.
        rows: values in the order of the columns.
        shades: by row, shares of 1 that the row's cells are tinted by; () for none.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str | Number, ...], ...]
    shades: tuple[tuple[Number, ...], ...] = ()


class Series(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Values that belong together in a figure.

    Attributes:
        x, y: numbers, or names where the axis is one of names.
        low, high: ends of the intervals of y; of x where the y axis is one of names.
        base: where each bar begins; 0 where not given.
        text: what is told of each point beside its numbers.
        sizes: areas of the points, as shares of the largest.
        cells: the page's cell of each point, which a click chooses; None: of no cell.
        colour: number of its colour; series of one colour belong together.
        hollow: points without filling; dashed: a broken line; plain: no legend entry;
            star: a star for each point; marked: whether a line shows its points.
        shade: 0…1 on a scale from first to last instead of `colour`; None: by colour.
    """

    name: str
    x: tuple[str | Number, ...]
    y: tuple[str | Number, ...]
    shape: Shape = "line"
    low: tuple[Number, ...] = ()
    high: tuple[Number, ...] = ()
    base: tuple[float, ...] = ()
    text: tuple[str, ...] = ()
    sizes: tuple[float, ...] = ()
    cells: tuple[int | None, ...] = ()
    colour: int = 0
    shade: float | None = None
    hollow: bool = False
    dashed: bool = False
    plain: bool = False
    star: bool = False
    marked: bool = True


class Axis(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An axis: its title with the unit; its names, where it is one of names, in order.

    `ends` and `ticks` are given where they are not those of the numbers; `zero`: it begins there.
    """

    title: str
    log: bool = False
    names: tuple[str, ...] = ()
    ends: tuple[float, float] | None = None
    ticks: tuple[float, ...] = ()
    zero: bool = False


class Mark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A straight line across a figure, at a value of one axis, and what it is."""

    axis: Literal["x", "y"]
    at: float
    label: str


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A figure, told in one true sentence for who does not see it, and its numbers as a table."""

    told: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    table: Table
    marks: tuple[Mark, ...] = ()
    wide: bool = False
    tall: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The card: a word, numbers with their names, reasons, and what to know of the numbers.

    Attributes:
        word: "FITS", "MISSES", "UNDECIDED", or "NO BUDGET".
        about: the word in a sentence.
        facts: name, value, and a remark.
        reasons: the most important first.
        flags: what puts the numbers in doubt, each with what to do.
    """

    word: str
    about: str
    facts: tuple[tuple[str, str, str], ...]
    reasons: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a view shows, for the whole page or for one cell; `told` is its sentence."""

    told: str
    verdict: Verdict | None = None
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


class View(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of the page under a heading.

    Attributes:
        key: its anchor.
        parts: one for the whole page, or one for each cell; None where a cell lacks it.
        lacking: what is said of a cell that lacks it, with what would give it.
        first: whether it is among those that are open from the start.
    """

    key: str
    title: str
    parts: tuple[Part | None, ...]
    lacking: str = ""
    first: bool = False


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """A view that there is nothing for: why, and the command that would give it."""

    title: str
    why: str
    command: str


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The whole page. `cells` are their names, `chosen` the one that is shown first."""

    title: str
    about: str
    cells: tuple[str, ...]
    chosen: int
    views: tuple[View, ...]
    missing: tuple[Missing, ...]
