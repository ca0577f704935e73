"""Images cut into tiles as tables of a terminal: frames that were measured or predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnprof.profiler.report.digits import digits
from nnprof.terminal import Table

if TYPE_CHECKING:
    from nnprof.profiler.costmodel.prediction import Prediction
    from nnprof.profiler.frames import FrameTime

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
