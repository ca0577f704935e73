"""Node data of Google's Model Explorer: a file for each metric, shown as colours on the graph.

A fused op stands on the first of its nodes, and the others have no value, because nobody knows
their parts. Fields: google-ai-edge/model-explorer, node_data_builder.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from nnprof.errors import UsageError
from nnprof.profiler.exports.export import Asked, Export, Made, only_cell
from nnprof.profiler.exports.nodes import NodeTime, on_nodes, placeless_words
from nnprof.profiler.report import rows

# From white to the red that "much" has, and back for what is best when it is high.
_MUCH = ({"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#d73027"})
_LITTLE = ({"stop": 0, "bgColor": "#d73027"}, {"stop": 1, "bgColor": "#ffffff"})


def make(asked: Asked) -> Made:
    """Milliseconds, share of all ops, share of the best possible speed, FLOPs and bytes.

    Raises:
        UsageError: not one cell has op times, or no op is of a named node.
    """
    cell = only_cell(asked.run, "Model Explorer")
    nodes = on_nodes(cell, rows.roof(asked.run))
    if not nodes:
        raise UsageError(
            "No op is of a named node of the ONNX file, so there is nothing to put on its graph.",
            "Import the profile with --onnx FILE.onnx, or give the file's nodes names.",
        )
    where = f"batch {cell.workload.batch}, {cell.target.backend}"
    metrics: tuple[tuple[str, str, Callable[[NodeTime], float | None], Sequence[Any]], ...] = (
        ("ms", f"ms, {where}", _ms, _MUCH),
        ("share", f"% of all ops, {where}", lambda node: _percent(node.share), _MUCH),
        ("of_limit", f"% of the best possible speed, {where}", _of_limit, _LITTLE),
        ("gflops", f"GFLOP, {where}", lambda node: _sum(node, "flops", 1e-9), _MUCH),
        ("mbytes", f"MB moved, {where}", _moved, _MUCH),
    )
    files, missing = {}, []
    for word, title, value, colours in metrics:
        results = {node.node: {"value": v} for node in nodes if (v := value(node)) is not None}
        if results:
            told = {"name": f"nnprof {title}", "results": results, "gradient": colours}
            files[f"{word}.json"] = msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n"
        else:
            missing.append(f"{word} is not known of any node, so there is no {word}.json.")
    return Made(files, (*placeless_words(cell), *missing))


def _ms(node: NodeTime) -> float | None:
    return None if node.seconds is None else node.seconds * 1e3


def _percent(share: float | None) -> float | None:
    return None if share is None else share * 100


def _of_limit(node: NodeTime) -> float | None:
    return _percent(node.of_limit)


def _moved(node: NodeTime) -> float | None:
    parts = [_sum(node, name, 1e-6) for name in ("bytes_in", "bytes_out", "bytes_weights")]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _sum(node: NodeTime, field: str, unit: float) -> float | None:
    """A count of all ops of a node; None where it is not known of one of them."""
    counts = [getattr(op, field) for op in node.ops]
    return None if None in counts else sum(counts) * unit


EXPORT = Export(make, several=True)
