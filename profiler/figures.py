"""The figures of Mattsson 2016, section 3.2, as grids: number → rows, columns, kind of op, choice.

The pictures are lost; captions and text say what varies, and the y-axis of the first is "Tiles/ms".
Which of the two stood on the x-axis they do not say: here the layers do, with a line for each value
of the other, but in Figure 36, whose point is the neurons. Captions of Figures 23, 26, 29, 32 and
35 repeat "time taken" where the text says speedup: they are speedups here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from nnprof.errors import UnknownName, UsageError
from nnprof.profiler.grids import Grid, across, of_run
from nnprof.profiler.placed import Value, Where
from nnprof.types import Run

# What the thesis varied (section 3.1; batches of Figure 10 and 11: section 4.1).
_VALUES: Mapping[str, tuple[int, ...]] = {
    "fc": (1, 2, 3, 4, 5),
    "conv": (1, 2, 3, 4, 5),
    "neurons": (128, 256, 512, 1024, 2048),
    "depth": (5, 10, 20, 40, 80),
    "batch": (16, 32, 64, 128, 256, 512, 1024, 2048, 4096),
}


class Figure(NamedTuple):
    """One figure.

    Attributes:
        number: in the thesis.
        title: what it shows, after its caption.
        rows: the parameter on the x-axis.
        columns: the parameter that has a line for each value.
        kind: of op whose time it shows; empty for tiles/ms of the whole network.
        op: what Theano called that op.
        where: what does not vary. Neurons where they do not vary are not given: 128 is our choice.
        runs: 1, or 2 for how many times faster one device is.
        study: that measures it; empty where none does.
        device: in the thesis.
        remark: what our figure cannot have, or has differently.
    """

    number: int
    title: str
    rows: str
    columns: str
    where: Mapping[str, Value]
    kind: str = ""
    op: str = ""
    runs: int = 1
    study: str = ""
    device: str = "GTX 960"
    remark: str = ""


_FC = {"conv": 1, "depth": 20, "batch": 1024}
_CONV = {"fc": 1, "neurons": 128, "batch": 1024}
_ALLOC = (
    "GpuAlloc took memory. Runtimes take theirs beforehand; the nearest are ops that only move "
    "values (kind memory)."
)
_RELU = "Here these are the ReLUs; the bias is a part of convolutions and products."
_INSIDE = "The bias, and ReLU where the runtime fuses it, are a part of these ops here."
# Of each three figures (GTX 960, TX1, speedup): the first number, kind, op, rows, and a remark.
_TRIPLES = (
    (12, "", "", "fc", ""),
    (15, "", "", "conv", ""),
    (18, "memory", "GpuAlloc", "conv", _ALLOC),
    (21, "gemm", "GpuDot22", "fc", _INSIDE),
    (24, "pool", "GpuDnnPool", "conv", ""),
    (27, "conv", "GpuDnnConv", "conv", _INSIDE),
    (30, "elementwise", "GpuElemwise", "conv", _RELU),
    (33, "elementwise", "GpuElemwise", "fc", _RELU),
)
_VARIED = {
    "fc": "number of FC-layers and their number of neurons",
    "conv": "number of ConvLayers and their depth",
}


def _triple(first: int, kind: str, op: str, rows: str, remark: str) -> Iterator[Figure]:
    what = f"Time taken for {kind} ({op})" if kind else "Performance"
    faster = f"Speedup of {kind} ({op})" if kind else "Speedup"
    for number, device in ((first, "GTX 960"), (first + 1, "TX1"), (first + 2, "both")):
        two = device == "both"
        yield Figure(
            number=number,
            title=f"{faster if two else what} when varying {_VARIED[rows]}",
            rows=rows,
            columns="neurons" if rows == "fc" else "depth",
            where=_FC if rows == "fc" else _CONV,
            kind=kind,
            op=op,
            runs=2 if two else 1,
            study="group3" if rows == "fc" else "group4",
            device=device,
            remark=remark,
        )


def _all() -> Iterator[Figure]:
    yield Figure(
        number=10,
        title="Performance when varying batch size and number of FC-layers",
        rows="fc",
        columns="batch",
        where={"conv": 1, "depth": 20, "neurons": 128},
        study="group1",
    )
    yield Figure(
        number=11,
        title="Performance when varying batch size and number of ConvLayers",
        rows="conv",
        columns="batch",
        where={"fc": 1, "depth": 20, "neurons": 128},
        study="group2",
    )
    for triple in _TRIPLES:
        yield from _triple(*triple)
    yield Figure(
        number=36,
        title="Performance when varying the number of neurons and FC-layers",
        rows="neurons",
        columns="fc",
        where=_FC,
        study="figure36",
        remark="The thesis does not give its steps of neurons.",
    )


FIGURES: Mapping[int, Figure] = {one.number: one for one in _all()}


def figure_grid(number: int, runs: Sequence[Run], where: Where | None = None) -> Grid:
    """The grid of a figure of Mattsson 2016, made of our measurements.

    Args:
        number: of the figure: 10 to 36.
        runs: one, or for a speedup two, that of the faster device first.
        where: values that are to replace those of the figure.

    Raises:
        UnknownName: no such figure.
        UsageError: another number of Runs; otherwise as `of_run` and `across`.
    """
    if number not in FIGURES:
        raise UnknownName("figure", str(number), map(str, FIGURES))
    figure = FIGURES[number]
    if len(runs) != figure.runs:
        asked = "one Run" if figure.runs == 1 else "two Runs, that of the faster device first"
        raise UsageError(
            f"Figure {number} is made of {asked}, and here {_are(len(runs))}.",
            f"Give {asked}, to 'nnprof compare --across' or 'nnprof plot'."
            if len(runs) < figure.runs
            else f"Give one Run, or take the figure of the speedup: {_speedup(figure)}.",
        )
    chosen = {**figure.where, **(where or {})}
    rows, columns, kind = figure.rows, figure.columns, figure.kind
    if figure.runs == 1:
        grid = of_run(runs[0], rows, columns, kind, chosen)
    else:
        grid = across(runs[0], runs[1], rows, columns, kind, chosen)
    title = f"{figure.title} (as Figure {number} of Mattsson 2016)"
    return replace(grid, title=title, notes=(*grid.notes, *_remarks(figure, grid)))


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"


def _speedup(figure: Figure) -> str:
    alike = (one for one in FIGURES.values() if one.runs == 2 and one.number > figure.number)
    return next((str(one.number) for one in alike), "35")


def _remarks(figure: Figure, grid: Grid) -> tuple[str, ...]:
    """What a grid that was made for a figure has not, or has differently."""
    said = []
    if figure.number != 36:
        for name, own in ((figure.rows, grid.rows), (figure.columns, grid.columns)):
            gone = [str(value) for value in _VALUES[name] if value not in own]
            if gone:
                said.append(f"Figure {figure.number} of 2016 has {name} {', '.join(gone)}, too.")
    if figure.rows == "conv" and grid.fixed.get("pool1") == 0:
        said.append(
            "The thesis has 1×1 pools behind all ConvLayers but the last (pool1=1); here are none."
        )
    return (*said, *([figure.remark] if figure.remark else []))
