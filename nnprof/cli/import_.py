"""`nnprof import`: times that other tools measured become a Run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

import nnprof
from nnprof import types
from nnprof.errors import UsageError
from nnprof.text import shell_word
from nnprof.types import MOST_BATCH, MOST_THREADS

if TYPE_CHECKING:
    from nnprof.types import Run

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="A table (.csv, .csv.gz); or what trtexec --exportProfile, --exportLayerInfo and "
        "--exportTimes wrote in one run; or its logs; or profiles of ONNX Runtime.",
    ),
]
Out = Annotated[
    Path | None, typer.Option("-o", "--out", help="The Run.", show_default="in bench_results")
]
Network = Annotated[str | None, typer.Option(help="The network, where the files do not name it.")]
Onnx = Annotated[
    Path | None,
    typer.Option(metavar="FILE.onnx", help="The network's file: names and types of ops."),
]
Batch = Annotated[
    int | None, typer.Option(min=1, max=MOST_BATCH, help="The batch, where the files do not tell.")
]
Device = Annotated[
    str | None, typer.Option(help="The device; of a table with several, the one to take.")
]
Runtime = Annotated[str | None, typer.Option(help="The runtime; likewise.")]
Precision = Annotated[str | None, typer.Option(help="fp32, fp16 or int8; likewise.")]
Threads = Annotated[
    int | None, typer.Option(min=1, max=MOST_THREADS, help="Threads of the runtime; likewise.")
]
Rename = Annotated[
    list[str] | None,
    typer.Option(metavar="THEIRS=OURS", help="Read a table's column by another name; repeatable."),
]


def import_(
    files: Files,
    out: Out = None,
    network: Network = None,
    onnx: Onnx = None,
    batch: Batch = None,
    device: Device = None,
    runtime: Runtime = None,
    precision: Precision = None,
    threads: Threads = None,
    rename: Rename = None,
) -> None:
    """Make a Run of times that another tool measured (columns of a table: docs/import.md)."""
    if precision is not None and precision not in get_args(types.Precision):
        raise UsageError(
            f"No precision '{precision}'.", f"Known: {', '.join(get_args(types.Precision))}."
        )
    told = nnprof.Told(
        network=network,
        batch=batch,
        device=device,
        runtime=runtime,
        precision=cast("types.Precision | None", precision),
        threads=threads,
    )
    run = nnprof.import_run(
        files, told, onnx=onnx, rename=_pairs(rename or []), command=sys.argv[1:]
    )
    _print(run, _kept(run, out))


def _kept(run: Run, out: Path | None) -> Path:
    """Where the Run is: in the file that was named, or in one of a name of its own."""
    if out is None:
        device = run.measurements[0].target.device
        return nnprof.save_new(run, Path("bench_results"), device)
    if out.suffix != ".json":
        raise UsageError(f"'{out}' is no name for a Run.", "Give one that ends in .json.")
    nnprof.save(run, out)
    return out


def _print(run: Run, path: Path) -> None:
    from nnprof.profiler.report import shown
    from nnprof.profiler.report.notes import note_lines
    from nnprof.terminal import Console

    shown.print_cells(run)
    sys.stdout.write("\n")
    shown.print_notes(note_lines(run))
    for line in _lines(run):
        Console().say(line)
    sys.stdout.write(f"Run: {shell_word(path)}\n")


def _pairs(words: list[str]) -> dict[str, str]:
    pairs = {}
    for word in words:
        theirs, equals, ours = word.partition("=")
        if not (theirs and equals and ours):
            raise UsageError(f"--rename {word} is no pair.", "Write --rename THEIRS=OURS.")
        pairs[theirs] = ours
    return pairs


def _lines(run: Run) -> list[str]:
    from nnprof.profiler.importers import runs

    ops = sum(len(m.ops.ops) for m in run.measurements if m.ops)
    lines = [f"{len(run.measurements)} cells, {ops} op times."]
    missing = runs.unknowns(run)
    if missing:
        flags = " ".join(f"--{name}" for name in missing)
        lines.append(f"Unknown: {', '.join(missing)}; tell with {flags}.")
    ignored = run.environment["imported"]["ignored_columns"]
    if ignored:
        lines.append(f"Columns that say nothing to nnprof: {', '.join(ignored)}.")
    return lines
