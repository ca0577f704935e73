"""Weights, multiply-adds and shapes of networks, printed; nothing is measured for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnprof.networks import layers as notation
from nnprof.networks.counts import by_layer, counted, least_bytes
from nnprof.networks.families import parse_network
from nnprof.profiler.report.digits import digits
from nnprof.profiler.report.forms import TABLE, written
from nnprof.terminal import Console, Table
from nnprof.text import plain

if TYPE_CHECKING:
    from nnprof.networks.spec import NetworkSpec
    from nnprof.networks.studies.study import Study

LAYER_COLUMNS = ("layer", "output", "weights", "norm_weights", "mult_adds")
NETWORK_COLUMNS = ("cell", "network", "batch", "weights", "norm_weights", "mult_adds")
_COUNTED = (
    "Weights have biases in them, but not batch norm's scale and shift; multiply-adds of batch {}."
)
Row = dict[str, Any]


def print_network(spec: NetworkSpec, batch: int, form: str) -> None:
    """What each layer of a network gives and has, and all together."""
    rows = [
        {
            "layer": " ".join(notation.units([layer])),
            "output": "×".join(map(str, shape)),
            **_counts(count._replace(mult_adds=count.mult_adds * batch)),
        }
        for layer, shape, count in by_layer(spec)
    ]
    if form != TABLE:
        sys.stdout.write(written(form, rows, LAYER_COLUMNS))
        return
    total = counted(spec)
    rows.append(
        {
            "layer": "all",
            "output": "",
            **_counts(total._replace(mult_adds=total.mult_adds * batch)),
        }
    )
    console = Console()
    console.print(_table(("layer", "output"), rows, plain(spec.name)))
    console.say(_COUNTED.format(batch))
    weights, values = (digits(part / 1e6, 3) for part in least_bytes(spec, batch))
    console.say(
        f"Memory at batch {batch}, in fp32: at least {weights} MB of weights and {values} MB of "
        "values at once."
    )


def print_study(study: Study, batch: int | None, form: str) -> None:
    """The networks of a study, each once at each batch: its own, or the given one."""
    asked = [(cell, batch or cell.batch or 1) for cell in study.cells]
    rows = {
        (cell.network, size): {
            "cell": cell.name or cell.network,
            "network": cell.network,
            "batch": size,
            **_counts_at(cell.network, size),
        }
        for cell, size in reversed(asked)
    }
    ordered = list(reversed(rows.values()))
    if form != TABLE:
        sys.stdout.write(written(form, ordered, NETWORK_COLUMNS))
        return
    console = Console()
    console.print(_table(("cell", "batch"), ordered, f"{study.name}: {study.asks}"))
    console.say(_COUNTED.format("as shown"))


def _counts_at(network: str, batch: int) -> Row:
    count = counted(parse_network(network))
    return _counts(count._replace(mult_adds=count.mult_adds * batch))


def _counts(count: Any) -> Row:
    return dict(count._asdict())


def _table(names: Sequence[str], rows: Sequence[Row], title: str) -> Table:
    numbers = ("weights", "norm_weights", "mult_adds")
    table = Table(title=title, title_justify="left", pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    for name in ("weights", "of batch norm", "mult-adds"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(str(row[name]) for name in names), *(f"{row[one]:,}" for one in numbers))
    return table
