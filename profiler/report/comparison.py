"""Two Runs compared, as a table of a terminal, as CSV, as Markdown and as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from nnprof.profiler.changes import RESOLUTION
from nnprof.profiler.report.csv import as_csv
from nnprof.terminal import Table, styled
from nnprof.text import markdown

if TYPE_CHECKING:
    from nnprof.profiler.compare import Comparison

from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.markdown import as_markdown
from nnprof.profiler.report.names import labels

_STYLES = {"FASTER": "green", "SLOWER": "red", "AMBIGUOUS": "yellow", "SAME": ""}


_COMPARED = ("network", "batch", "before ms", "after ms", "ratio", "95 %", "verdict")
_PAIRED = ("network", "batch", "a ms", "b ms", "pairs", "b / a", "95 %", "verdict")


def comparison_table(found: Comparison) -> Table:
    """One line per cell that both Runs have."""
    cells = found.cells
    _, short = labels([name for cell in cells for name in (cell.network, cell.after) if name])
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in _columns(found):
        words = name in ("network", "verdict")
        table.add_column(
            name, justify="left" if words else "right", overflow="fold", no_wrap=name != "network"
        )
    for row, cell in zip(_compared_rows(found, short), cells, strict=True):
        style = _STYLES[cell.verdict]
        table.add_row(*row[:-1], styled(row[-1], style))
    return table


def comparison_markdown(found: Comparison) -> str:
    """The comparison as Markdown, for a pull request: verdicts first, the table behind."""
    names = {name: name for cell in found.cells for name in (cell.network, cell.after)}
    columns = _columns(found)
    table = as_markdown(
        [dict(zip(columns, row, strict=True)) for row in _compared_rows(found, names)], columns
    )
    return "\n".join([*map(markdown, comparison_lines(found)), "", table])


def comparison_csv(found: Comparison) -> str:
    """One row per cell that both Runs have, numbers in full."""
    rows = [msgspec.structs.asdict(cell) for cell in found.cells]
    return as_csv(rows, tuple(rows[0]))


def _columns(found: Comparison) -> tuple[str, ...]:
    return _PAIRED if found.paired else _COMPARED


def _compared_rows(found: Comparison, labels: dict[str, str]) -> list[list[str]]:
    mixed = len({cell.precision for cell in found.cells}) > 1
    return [
        [
            labels[cell.network]
            + (f" → {labels[cell.after]}" if cell.after else "")
            + (f", {cell.precision}" if mixed else ""),
            str(cell.batch),
            digits(cell.before_s * 1e3),
            digits(cell.after_s * 1e3),
            *([str(cell.pairs or 0)] if found.paired else []),
            f"{cell.ratio:.3f}",
            f"{cell.low:.3f}…{cell.high:.3f}" if cell.low and cell.high else "–",
            cell.verdict,
        ]
        for cell in found.cells
    ]


def _pair_lines(found: Comparison) -> list[str]:
    """How many pairs would tell a change of a size that matters; () without pairs."""
    if not found.paired:
        return []
    counts = [cell.needed for cell in found.cells if cell.needed is not None]
    what = f"To call a change of {RESOLUTION:.0%} in 9 of 10 cases takes"
    if len(counts) < len(found.cells):
        return [f"{what} more pairs than can be had here."]
    least, most = min(counts), max(counts)
    count = f"{least}" if least == most else f"{least} to {most}, by cell,"
    return [f"{what} about {count} pairs here."]


def comparison_lines(found: Comparison) -> list[str]:
    """Counts of the verdicts, the mean, and what could not be compared."""
    verdicts = [cell.verdict for cell in found.cells]
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in _STYLES if name in verdicts)
    how = "b / a, by pairs" if found.paired else "after / before"
    lines = [f"{counts}; geometric mean of the ratios {found.geometric_mean:.3f} ({how})."]
    lines += _pair_lines(found)
    lines += [f"{told}." for told in found.boards]
    allowed = "" if found.paired else ", as allowed"
    lines += [f"Differs{allowed}: {name}: {was} and {now}." for name, was, now in found.allowed]
    for reason in dict.fromkeys(cell.reason for cell in found.cells if cell.reason):
        count = sum(cell.reason == reason for cell in found.cells)
        lines.append(f"AMBIGUOUS ({count}): {reason}.")
    edited = dict.fromkeys(cell.network for cell in found.cells if cell.edited)
    lines += [f"Edited: {name} has another content than before, under its name." for name in edited]
    for word, names in (
        ("Failed after", found.failed),
        ("Failed before", found.failed_before),
        ("Only before", found.missing),
        ("Only after", found.added),
    ):
        lines += [f"{word}: {name}." for name in names]
    alike = "; ".join(f"{name} {value}" for name, value in found.alike.items())
    return [*lines, f"Alike: {alike}."]
