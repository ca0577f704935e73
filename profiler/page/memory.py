"""Memory of each cell's processes, and how long they take to their first result. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from nnprof.profiler.page.batches import series_of
from nnprof.profiler.page.cells import Cell
from nnprof.profiler.page.values import Axis, Column, Figure, Part, Series, Table
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.memory_rows import LOADING, MEMORY, amount_of, middle
from nnprof.profiler.taken import Amount, Taken, taken
from nnprof.text import plain

_EXACT = 1e-9  # of an amount: what is less is none, but of the arithmetic
_TITLES = {
    "least": ("at least", "weights and the tensors needed at one moment, from shapes"),
    "arena": ("arena", "what the runtime's allocator took"),
    "device": ("device", "of a device with memory of its own"),
    "imported": ("runtime", "by how much the process had grown once the runtime was imported"),
    "loaded": ("loaded", "and with the model loaded"),
    "added": ("peak grown", "and at most"),
    "peak": ("process", "all of the process at its peak"),
    "import": ("import", "to import the runtime"),
    "build": ("build", "to make a session of the model"),
    "first": ("first", "the first inference"),
    "waited": ("waited", "of these, for a processor that other programs had"),
    "answer": ("to first result", "from the start of the import to it"),
}


def part(cells: Sequence[Cell]) -> Part | None:
    """What each cell took; None where nobody looked."""
    every = {number: taken(cell.one) for number, cell in enumerate(cells)}
    found = {number: one for number, one in every.items() if one is not None}
    if not found:
        return None
    memory = _table(found, "Memory, MB", [f"{name}_mb" for name in MEMORY])
    loading = _table(found, "Loading, ms", [f"{name}_ms" for name in LOADING])
    told = _told(cells, found)
    figures = _figure(cells, found, memory, told)
    why = {reason for one in found.values() for reason in _why(one)}
    return Part(
        told=told, figures=figures, tables=(memory, loading), notes=tuple(map(plain, sorted(why)))
    )


def _why(one: Taken) -> list[str]:
    return [f"{name.replace('_', ' ')}: {reason}." for name, reason in one.unknown.items()]


def _table(found: dict[int, Taken], caption: str, names: Sequence[str]) -> Table:
    """The medians, with half of the interval behind those that have one."""
    kept = [
        name for name in names if any(amount_of(one, name) is not None for one in found.values())
    ]
    columns = [Column(title="cell", form="cell")]
    for name in kept:
        title, note = _TITLES[name.rpartition("_")[0]]
        columns += [Column(title=title, note=note), Column(title="±", note=f"of {title}")]
    rows = []
    for number, one in found.items():
        row: list[float | None] = [number]
        for name in kept:
            amount = amount_of(one, name)
            row += [middle(amount), _half(amount)]
        rows.append(tuple(row))
    return Table(caption=caption, columns=tuple(columns), rows=tuple(rows))


def _half(amount: Amount | None) -> float | None:
    if amount is None or amount.low is None or amount.high is None:
        return None
    half = (amount.high - amount.low) / 2
    return half if half > _EXACT * amount.middle else None


def _told(cells: Sequence[Cell], found: dict[int, Taken]) -> str:
    peaks = {number: middle(amount_of(one, "peak_mb")) for number, one in found.items()}
    known = {number: peak for number, peak in peaks.items() if peak is not None}
    answers = {number: middle(amount_of(one, "answer_ms")) for number, one in found.items()}
    slow = {number: answer for number, answer in answers.items() if answer is not None}
    parts = []
    if known:
        most = max(known, key=lambda number: known[number])
        parts.append(f"{cells[most].name} has the largest process, {digits(known[most])} MB")
    if slow:
        most = max(slow, key=lambda number: slow[number])
        parts.append(
            f"{cells[most].name} takes the longest to its first result, {digits(slow[most])} ms"
        )
    return f"{'; '.join(parts)}." if parts else "Nothing of it is known."


def _figure(
    cells: Sequence[Cell], found: dict[int, Taken], table: Table, told: str
) -> tuple[Figure, ...]:
    """The peak over the batch, and the least that shapes ask for; nothing at one batch."""
    kept = [cells[number] for number in found]
    if len({cell.batch for cell in kept}) < 2:
        return ()
    series = []
    for colour, (name, own) in enumerate(series_of(cells).items()):
        for column, word in (("added_mb", "peak grown"), ("least_mb", "at least")):
            points = [(p, middle(amount_of(found.get(p.number), column))) for p in own]
            known = [(point, value) for point, value in points if value is not None]
            if known:
                series.append(
                    Series(
                        name=f"{name}: {word}",
                        x=tuple(point.cell.batch for point, _ in known),
                        y=tuple(value for _, value in known),
                        cells=tuple(point.number for point, _ in known),
                        colour=colour,
                        dashed=column == "least_mb",
                    )
                )
    if not series:
        return ()
    return (
        Figure(
            told=told,
            x=Axis(title="batch (tiles of one inference)", log=True),
            y=Axis(title="MB that the process grew by, at most"),
            series=tuple(series),
            table=table,
            wide=True,
        ),
    )
