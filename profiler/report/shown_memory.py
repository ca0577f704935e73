"""Memory and loading of a Run in a terminal: a table of each, and a line beside the cells."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from nnprof.profiler.report import memory_rows, rows
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.forms import TABLE, written
from nnprof.profiler.report.memory_rows import LOADING, MEMORY, amount_of, known, middle
from nnprof.profiler.report.names import labels, names
from nnprof.profiler.report.terminal import marked
from nnprof.profiler.taken import Amount, taken
from nnprof.terminal import Console, Table
from nnprof.types import Measurement, Run

OP_COLUMNS = ("weights", "in", "out", "live")
_HEADS = {  # of the tables
    "least": "at least",
    "arena": "arena",
    "device": "device",
    "imported": "runtime",
    "loaded": "loaded",
    "added": "peak",
    "peak": "process",
}
_NAMES = {  # in a sentence
    "arena_bytes": "The arena",
    "device_bytes": "Memory of the device",
    "peak_bytes": "Memory of the process",
    "live_bytes": "What the network needs at least",
    "import_s": "The time to import the runtime",
    "build_s": "The time to build a session",
}


def show(run: Run, form: str, *, ops: bool) -> None:
    """Memory and loading of a Run, or the memory of the ops of its cells, in that form."""
    if form != TABLE:
        found, columns = (
            (rows.op_rows(run), rows.OP_COLUMNS)
            if ops
            else (memory_rows.rows(run), memory_rows.ROW_COLUMNS)
        )
        sys.stdout.write(written(form, found, columns))
        return
    if not ops:
        print_memory(run)
    for measurement in run.measurements if ops else ():
        print_ops(measurement)
        Console().print()


def print_memory(run: Run) -> None:
    """Both tables, what their columns are, and why something is not known."""
    console = Console()
    if not known(run):
        console.say("This Run says nothing of memory and loading: an older nnprof measured it.")
        return
    shown = [name for name in MEMORY if name != "device" or _any(run, "device_mb")]
    console.say("Memory in MB", "bold")
    heads = [_HEADS[name] for name in shown]
    console.print(_table(run, heads, [f"{name}_mb" for name in shown], "added_mb"))
    console.print()
    console.say("Loading in ms", "bold")
    columns = [f"{name}_ms" for name in LOADING]
    console.print(
        _table(run, ["import", "build", "first", "waited", "in all"], columns, "answer_ms")
    )
    console.print()
    for line in _lines(run):
        console.say(line)


def _any(run: Run, column: str) -> bool:
    return any(amount_of(taken(cell), column) for cell in run.measurements)


def _table(run: Run, heads: Sequence[str], columns: Sequence[str], doubted: str) -> Table:
    """One line per cell; ± % is of the column `doubted`."""
    _, short = labels(names(run))
    table, before = Table(box=None, header_style="bold", pad_edge=False), ""
    table.add_column("network", overflow="fold")
    for name in ("batch", *heads, "± %"):
        table.add_column(name, justify="right", no_wrap=True)
    for cell in run.measurements:
        found, name = taken(cell), short[cell.workload.model.name]
        name += marked(run, cell.workload.model)
        label, before = "" if name == before else name, name
        numbers = [digits(middle(amount_of(found, column)), 3) for column in columns]
        table.add_row(label, str(cell.workload.batch), *numbers, _half(amount_of(found, doubted)))
    return table


def _half(amount: Amount | None) -> str:
    if amount is None or amount.low is None or amount.high is None or not amount.middle:
        return "–"
    return f"{(amount.high - amount.low) / 2 / amount.middle * 100:.1f}"


def _lines(run: Run) -> Iterator[str]:
    every = [found for cell in run.measurements if (found := taken(cell))]
    yield (
        "at least: weights and the tensors needed at one moment, from shapes; arena: what the "
        "runtime's allocator took; runtime, loaded, peak: by how much the process had grown once "
        "the runtime was imported, the model loaded, and at most; process: all of it at the peak."
    )
    yield (
        "import: the runtime; build: a session of the file; first: the first inference; waited: "
        "of these for a processor that others had, and not in all. Files are in the page cache "
        "after the first process."
    )
    if any(one.whole for one in every):
        yield "Peaks hold what came before the runtime, too: the kernel lets nobody set them back."
    cached = sum(one.cached for one in every)
    if cached:
        count = sum(len(cell.processes) for cell in run.measurements)
        yield f"{cached} of {count} processes took an artifact kept from before, and built none."
    for name, what in _NAMES.items():
        reasons = [one.unknown[name] for one in every if name in one.unknown]
        if reasons and not (name == "device_bytes" and len(reasons) == len(every)):
            yield f"{what} is not known in {len(reasons)} of {len(every)} cells: {reasons[0]}."


def summary(run: Run) -> list[str]:
    """A line beside the cells of a Run: how much, how long, and where more of it is."""
    found = [one for cell in run.measurements if (one := taken(cell))]
    added = [one.amounts["added_bytes"].middle for one in found if "added_bytes" in one.amounts]
    answers = [one.amounts["answer_s"].middle for one in found if "answer_s" in one.amounts]
    parts = [f"a process grew by {_range(added, 1e-6)} MB at most"] if added else []
    parts += [f"its first result came after {_range(answers, 1e3)} ms"] if answers else []
    return [f"Loading: {', '.join(parts)} (nnprof show --memory)."] if parts else []


def _range(values: Sequence[float], factor: float) -> str:
    low, high = (digits(one * factor, 3) for one in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def print_ops(measurement: Measurement) -> None:
    """What each op of a cell reads, makes and keeps alive, in the order of execution."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("op", overflow="fold")
    for name in OP_COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    ops = measurement.ops.ops if measurement.ops else ()
    most = max((op.live_bytes or 0 for op in ops), default=0)
    for op in ops:
        sizes = (op.bytes_weights, op.bytes_in, op.bytes_out, op.live_bytes)
        mark = " ←" if most and op.live_bytes == most else ""
        shown = [digits(None if size is None else size / 1e6, 3) for size in sizes]
        table.add_row(f"{op.index} {op.op}", *shown[:-1], shown[-1] + mark)
    console, work = Console(), measurement.workload
    console.say(f"{work.model.name}, batch {work.batch}: MB of each op as it ran", "bold")
    if not ops:
        console.say("No ops: measured with --ops none, or their passes failed.")
        return
    console.print(table)
    console.say(
        "live: tensors that something still needs while the op runs, weights left out, from the "
        "shapes of the graph that ran; the arrow is where that is most."
    )
