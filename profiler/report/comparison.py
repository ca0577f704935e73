"""Two Runs compared, as a table of a terminal, as Markdown and as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnprof.terminal import Table, styled
from nnprof.text import markdown

if TYPE_CHECKING:
    from nnprof.profiler.compare import Comparison

from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.markdown import as_markdown
from nnprof.profiler.report.names import labels

_STYLES = {"FASTER": "green", "SLOWER": "red", "AMBIGUOUS": "yellow", "SAME": ""}


_COMPARED = ("network", "batch", "before ms", "after ms", "ratio", "95 %", "verdict")


def comparison_table(found: Comparison) -> Table:
    """One line per cell that both Runs have."""
    _, short = labels([cell.network for cell in found.cells])
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in _COMPARED:
        words = name in ("network", "verdict")
        table.add_column(
            name, justify="left" if words else "right", overflow="fold", no_wrap=name != "network"
        )
    for row, cell in zip(_compared_rows(found, short), found.cells, strict=True):
        style = _STYLES[cell.verdict]
        table.add_row(*row[:-1], styled(row[-1], style))
    return table


def comparison_markdown(found: Comparison) -> str:
    """The comparison as Markdown, for a pull request: verdicts first, the table behind."""
    names = {cell.network: cell.network for cell in found.cells}
    table = as_markdown(
        [dict(zip(_COMPARED, row, strict=True)) for row in _compared_rows(found, names)], _COMPARED
    )
    return "\n".join([*map(markdown, comparison_lines(found)), "", table])


def _compared_rows(found: Comparison, labels: dict[str, str]) -> list[list[str]]:
    mixed = len({cell.precision for cell in found.cells}) > 1
    return [
        [
            labels[cell.network] + (f", {cell.precision}" if mixed else ""),
            str(cell.batch),
            digits(cell.before_s * 1e3),
            digits(cell.after_s * 1e3),
            f"{cell.ratio:.3f}",
            f"{cell.low:.3f}…{cell.high:.3f}" if cell.low and cell.high else "–",
            cell.verdict,
        ]
        for cell in found.cells
    ]


def comparison_lines(found: Comparison) -> list[str]:
    """Counts of the verdicts, the mean, and what could not be compared."""
    verdicts = [cell.verdict for cell in found.cells]
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in _STYLES if name in verdicts)
    lines = [f"{counts}; geometric mean of the ratios {found.geometric_mean:.3f} (after / before)."]
    lines += [f"Differs, as allowed: {name}: {was} and {now}." for name, was, now in found.allowed]
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
