"""A diff by ONNX node, for a terminal, as CSV and as Markdown. Here seconds become milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from nnprof.profiler.report.csv import as_csv
from nnprof.profiler.report.digits import aligned, digits
from nnprof.profiler.report.markdown import as_markdown
from nnprof.terminal import Console, Table
from nnprof.text import markdown, plain

if TYPE_CHECKING:
    from nnprof.profiler.diff.values import CellDiff, Diff, DiffRow, DiffSide

MOST_ROWS = 30  # of a table; the other forms have all
_MOST_NODES = 4  # of a row that are named
_STYLES = {"FASTER": "green", "SLOWER": "red", "": ""}

COLUMNS = (
    *("network", "batch", "place", "kind", "nodes", "after", "before", "a_ops", "b_ops"),
    *("a_ms", "b_ms", "delta_ms", "low_ms", "high_ms", "share", "verdict", "reasons"),
)
_MARKDOWN = (
    "nodes",
    "a_ms",
    "b_ms",
    "delta_ms",
    "low_ms",
    "high_ms",
    "share",
    "verdict",
    "reasons",
)
_ENDS = ("sum of rows", "left over", "end to end")


def print_diff(found: Diff, chosen: Sequence[CellDiff]) -> None:
    """A table for each chosen cell, what is left over, and what one must know."""
    console = Console()
    for cell in chosen:
        for at, line in enumerate(heading(cell)):
            console.say(line, "" if at else "bold")
        console.print(table(cell))
        for line in lines(cell):
            console.say(line)
        console.print()
    for line in rest(found, chosen):
        console.say(line)


def largest(found: Diff) -> list[CellDiff]:
    """Of each network the cell of the largest batch."""
    return list({cell.network: cell for cell in found.cells}.values())


def rest(found: Diff, chosen: Sequence[CellDiff]) -> list[str]:
    """What is not shown, and how to see it."""
    batches = sorted({cell.batch for cell in found.cells} - {cell.batch for cell in chosen})
    told = list(found.notes)
    if batches:
        listed = ", ".join(map(str, batches))
        told.append(f"Both have batch {listed}, too; see one with --batch {batches[0]}.")
    return told


def heading(cell: CellDiff) -> list[str]:
    """The cell, and its two sides."""
    paired = cell.interval_from == "pairs"
    sides = _side("a", cell.a, paired=paired), _side("b", cell.b, paired=paired)
    return [f"{cell.network}, batch {cell.batch}", *sides]


def _side(name: str, side: DiffSide, *, paired: bool) -> str:
    interval = "undisturbed, of pairs" if paired else "no interval"
    if side.low_s is not None and side.high_s is not None:
        interval = f"{digits(side.low_s * 1e3)}…{digits(side.high_s * 1e3)}"
    where = f"{side.backend}, {side.device}, {side.precision}"
    return f"{name}: {where}: {digits(side.latency_s * 1e3)} ms ({interval})"


def table(cell: CellDiff) -> Table:
    """One row per group of nodes, the largest difference first; then the sum."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    shown.add_column("ONNX nodes", overflow="fold")
    for name in ("a ms", "b ms", "Δ ms", "± ms", "of Δ"):
        shown.add_column(name, justify="right", no_wrap=True)
    timed = [row for row in cell.rows if row.kind != "folded"]
    rows, more = timed[:MOST_ROWS], timed[MOST_ROWS:]
    numbers = _Numbers(cell)
    for at, row in enumerate(rows):
        last = at == len(rows) - 1 and not more
        shown.add_row(_name(row), *numbers.of(row), end_section=last)
    if more:
        whole_s = sum(row.delta_s or 0.0 for row in more)
        shown.add_row(f"{len(more)} more rows", "", "", numbers.signed(whole_s), "", "",
                      end_section=True)  # fmt: skip
    for name, delta_s, half_s in _ends(cell):
        half = "" if half_s is None else numbers.plain(half_s)
        shown.add_row(name, "", "", numbers.signed(delta_s), half, _share(delta_s, cell.delta_s))
    return shown


class _Numbers:
    """Milliseconds of a cell with as many decimals as its largest row needs."""

    def __init__(self, cell: CellDiff) -> None:
        every = [time for row in cell.rows for time in (row.a_s, row.b_s) if time is not None]
        text = aligned([max([abs(cell.delta_s), *every]) * 1e3])[0]
        self._decimals = min(6, len(text.partition(".")[2]) + 1)

    def plain(self, seconds: float | None) -> str:
        """Without sign."""
        return "–" if seconds is None else f"{seconds * 1e3:.{self._decimals}f}"

    def signed(self, seconds: float | None) -> str:
        """With its sign."""
        return "–" if seconds is None else f"{seconds * 1e3:+.{self._decimals}f}"

    def of(self, row: DiffRow) -> tuple[str, ...]:
        """A row's numbers."""
        return (
            self.plain(row.a_s) if row.a or row.a_s is None else "0",
            self.plain(row.b_s) if row.b or row.b_s is None else "0",
            self.signed(row.delta_s),
            self.plain(_half(row.low_s, row.high_s)),
            _percent(row.share),
        )


def _half(low_s: float | None, high_s: float | None) -> float | None:
    return None if low_s is None or high_s is None else (high_s - low_s) / 2


def _share(part_s: float, whole_s: float) -> str:
    return _percent(part_s / whole_s if whole_s else None)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}".replace("-0%", "0%")


def _ends(cell: CellDiff) -> Iterable[tuple[str, float, float | None]]:
    """Sum of the rows, what is left over, and the whole: name, difference, half its interval."""
    values = (cell.rows_s, None), (cell.left_over_s, None)
    halves = (*values, (cell.delta_s, _half(cell.low_s, cell.high_s)))
    return [(name, *value) for name, value in zip(_ENDS, halves, strict=True)]


def _name(row: DiffRow) -> RenderableType:
    """What a row is called, and below it the verdict and what differs."""
    called, why = Text(plain(label(row))), plain("; ".join(row.reasons))
    if not row.verdict and not why:
        return called
    told = Text(row.verdict, style=_STYLES[row.verdict])
    told.append(": " if row.verdict and why else "")
    told.append(why, style="dim")
    return Group(called, Padding(told, (0, 0, 0, 2)))


def label(row: DiffRow) -> str:
    """A row's nodes, the first and the last of many; or its op, and between which nodes it ran."""
    if row.nodes:
        if len(row.names) > _MOST_NODES:
            return f"{row.names[0]} … {row.names[-1]} ({len(row.names)} nodes)"
        return row.label
    if not (row.after or row.before):
        return row.label
    around = " → ".join(name or "…" for name in (row.after, row.before))
    return f"{row.label} ({around})"


def lines(cell: CellDiff) -> list[str]:
    """What is left over and why, what was folded away, conditions, and where intervals are from."""
    return [
        *_left_over(cell),
        *_folded(cell),
        *_intervals(cell),
        *(f"Differs: {name}: {was} and {now}." for name, was, now in cell.unlike),
        *cell.notes,
    ]


def _left_over(cell: CellDiff) -> list[str]:
    def told(name: str, side: DiffSide) -> str:
        word = "less" if side.residual_s >= 0 else "more"
        return f"{name} {digits(abs(side.residual_s) * 1e3, 3)} ms {word} (method {side.method})"

    both = f"{told('those of a', cell.a)}, {told('those of b', cell.b)}"
    return [
        f"Left over {cell.left_over_s * 1e3:+.3g} ms: the ops add up to another time than an "
        f"inference takes, {both}.",
        *(f"Left over, too: {one}." for one in cell.left_over_reasons[2:]),
    ]


def _folded(cell: CellDiff) -> list[str]:
    nodes = [node.name for row in cell.rows if row.kind == "folded" for node in row.nodes]
    if not nodes:
        return []
    listed = ", ".join(nodes[:3]) + (" …" if len(nodes) > 3 else "")
    return [f"Folded away on both sides, or in ops that do not name them ({len(nodes)}): {listed}."]


def _intervals(cell: CellDiff) -> list[str]:
    whole = {
        "pairs": "the end-to-end one of pairs of processes",
        "processes": "the end-to-end one over processes",
        "": "there is none end to end, where a side is a single process or time",
    }[cell.interval_from]
    if cell.low_s is not None and cell.high_s is not None and cell.low_s <= 0 <= cell.high_s:
        whole += ", which holds 0: as a whole they may be alike, and shares say little"
    if all(row.low_s is None for row in cell.rows):
        return [f"No row has an interval: the op times have none; {whole}."]
    return [f"± is half of the 95 % interval: of rows from each op's own interval; {whole}."]


def diff_csv(cells: Sequence[CellDiff]) -> str:
    """One row per row of each cell, all of them, numbers in full; then sum, rest and whole."""
    return as_csv([row for cell in cells for row in _records(cell)], COLUMNS)


def diff_markdown(found: Diff, chosen: Sequence[CellDiff]) -> str:
    """The tables as Markdown, with the sentences that belong to them."""
    parts: list[str] = []
    for cell in chosen:
        title, *sides = heading(cell)
        parts += [f"**{markdown(title)}**", ""]
        parts += [f"{markdown(line)}  " for line in sides]
        parts += ["", as_markdown(_records(cell), _MARKDOWN)]
        parts += [f"{markdown(line)}  " for line in lines(cell)]
        parts.append("")
    parts += [markdown(line) for line in rest(found, chosen)]
    return "\n".join(parts).rstrip() + "\n"


def _records(cell: CellDiff) -> list[dict[str, Any]]:
    what = {"network": cell.network, "batch": cell.batch}
    found = [{**what, **_record(row)} for row in cell.rows]
    known = [(side.latency_s - side.residual_s, side.residual_s, side.latency_s)
             for side in (cell.a, cell.b)]  # fmt: skip
    why = ("", "; ".join(cell.left_over_reasons), "")
    for at, (name, delta_s, half_s) in enumerate(_ends(cell)):
        whole = half_s is not None
        found.append(
            {
                **what,
                "kind": name,
                "nodes": name,
                "a_ms": known[0][at] * 1e3,
                "b_ms": known[1][at] * 1e3,
                "delta_ms": delta_s * 1e3,
                "low_ms": _ms(cell.low_s) if whole else None,
                "high_ms": _ms(cell.high_s) if whole else None,
                "share": delta_s / cell.delta_s if cell.delta_s else None,
                "reasons": why[at],
            }
        )
    return found


def _record(row: DiffRow) -> dict[str, Any]:
    return {
        "place": row.place,
        "kind": row.kind,
        "nodes": " ".join(node.name for node in row.nodes) or label(row),
        "after": row.after,
        "before": row.before,
        "a_ops": " ".join(op.op for op in row.a),
        "b_ops": " ".join(op.op for op in row.b),
        "a_ms": _ms(row.a_s),
        "b_ms": _ms(row.b_s),
        "delta_ms": _ms(row.delta_s),
        "low_ms": _ms(row.low_s),
        "high_ms": _ms(row.high_s),
        "share": row.share,
        "verdict": row.verdict,
        "reasons": "; ".join(row.reasons),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3
