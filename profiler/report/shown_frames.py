"""Images cut into tiles as tables of a terminal: frames that were measured or predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnprof.networks.shapes import by
from nnprof.profiler import frames
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.names import labels, names
from nnprof.profiler.report.terminal import marked
from nnprof.profiler.streamed import is_streamed
from nnprof.terminal import Table
from nnprof.types import Failure, Measurement

if TYPE_CHECKING:
    from nnprof.profiler.costmodel.prediction import Prediction
    from nnprof.profiler.frames import Frame, FrameTime
    from nnprof.types import Run, Workload

_ALONE = ("ms/frame", "frames/s", "± %", "cut ms", "with cut", "± %")
_OF_STREAMS = ("streams", "frames/s", "± %")
NO_CUTTING = "Inference alone: cutting the image into tiles is not in a cost model."


def predicted_table(found: Sequence[Prediction]) -> Table:
    """What an image costs by a model, one line per network and batch."""
    table, before = _table("ms/frame", "frames/s", "90 %"), ""
    for one in found:
        if one.frame is not None:
            name, before = "" if one.network == before else one.network, one.network
            known = (digits(one.frame.seconds * 1e3), digits(one.frame.per_s), rates(one.frame))
            table.add_row(name, str(one.tiles_per_frame), str(one.batch), *known)
    return table


def heading(run: Run) -> list[str]:
    """How the image lies in tiles, a line for each kind of tile; nothing without an image."""
    works = [cell.workload for cell in run.study.cells if cell.workload.image]
    return list(dict.fromkeys(map(_layout, works)))


def _layout(work: Workload) -> str:
    from nnprof.profiler import inputs  # has numpy, which a Run without images does not need

    tile, grid = inputs.grid(work)
    side_by_side = grid.stride == tile[1:]
    apart = "side by side" if side_by_side else f"{by(tuple(dict.fromkeys(grid.stride)))} apart"
    return (
        f"A frame of {work.image}: {grid.rows} × {grid.columns} = {grid.tiles} tiles of "
        f"{by(tile)}, {apart}"
    )


def table(run: Run) -> Table:
    """What an image takes, one line per cell: its inferences alone, and with cutting."""
    from nnprof.profiler import inputs

    several = is_streamed(run)
    made, before = _table(*(_OF_STREAMS if several else _ALONE)), ""
    _, short = labels(names(run))
    cells: tuple[Measurement | Failure, ...] = (*run.measurements, *run.failures)
    for cell in cells:
        work = cell.workload
        if work.image is None:
            continue
        name = short[work.model.name] + marked(run, work.model)
        label, before = "" if name == before else name, name
        numbers = _numbers(cell) if isinstance(cell, Measurement) else ("–",) * len(_ALONE)
        if several:
            numbers = (str(cell.target.streams), *numbers[1:3])
        tiles = inputs.grid(work)[1].tiles
        made.add_row(label, str(tiles), str(work.batch), *numbers)
    return made


def _numbers(cell: Measurement) -> tuple[str, ...]:
    one = frames.measured(cell)
    if one is None:
        return ()
    cut_ms = one.cutting.seconds * 1e3 if one.cutting else None
    both = _rate(one.both) if one.both else ("–", "–")
    return (digits(one.inference.seconds * 1e3), *_rate(one.inference), digits(cut_ms, 3), *both)


def _rate(one: FrameTime) -> tuple[str, str]:
    """Frames/s, and half of its interval in percent."""
    if one.low_s is None or one.high_s is None:
        return digits(one.per_s), "–"
    return digits(one.per_s), f"{(one.high_s - one.low_s) / 2 / one.seconds * 100:.1f}"


def lines(run: Run) -> list[str]:
    """What the columns hold, one frame end to end, and why something is not known."""
    _, short = labels(names(run))
    known: dict[str, list[Frame]] = {}
    for cell in run.measurements:
        name = short[cell.workload.model.name] + marked(run, cell.workload.model)
        if one := frames.measured(cell):
            known.setdefault(name, []).append(one)
    if not known:
        return []
    if is_streamed(run):
        return [
            "frames/s: images that all streams together get through, by their inferences; cutting "
            "the image into tiles was not timed."
        ]
    return [
        "frames/s: all inferences of a frame, one after the other; with cut: the same with cutting "
        "it into tiles first.",
        *(
            f"One frame end to end{f' of {name}' if len(known) > 1 else ''}, with all copies: {ms}."
            for name, found in known.items()
            if (ms := _wholes(found))
        ),
        *dict.fromkeys(_unknown(one) for found in known.values() for one in found if one.unknown),
    ]


def _wholes(found: Sequence[Frame]) -> str:
    """Milliseconds from pixels to outputs beside the sum of the parts, by batch."""
    return ", ".join(
        f"{digits(one.whole_s * 1e3)} ms at batch {one.batch} (the sum: "
        f"{digits(one.both.seconds * 1e3)})"
        for one in found
        if one.whole_s and one.both
    )


def _unknown(one: Frame) -> str:
    what = "One frame end to end" if one.cutting else "Cutting"
    return f"{what} was not measured: {one.unknown}."


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("network", overflow="fold")
    for name in ("tiles", "batch", *columns):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def rates(frame: FrameTime) -> str:
    """The interval of frames/s, from the slower end."""
    low, high = frame.rates
    return f"{digits(low, 3)}…{digits(high, 3)}" if low and high else "–"
