"""Record the graphs that ONNX Runtime runs here: `python -m tests.data.blocks.record`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from nnprof.profiler.costmodel.ran import widths
from nnprof.profiler.ports import OpNode
from tests.profiler.costmodel.test_work import NETWORKS, OTHERS, graph


def main() -> None:
    """Write the graphs of both lists of networks; the width of their blocks is in the names."""
    for name, texts in (("blocks", NETWORKS), ("others", OTHERS)):
        graphs = {text: graph(text) for text in texts}
        found = [one for ran in graphs.values() if (one := widths(ran)) is not None]
        (width,) = frozenset.intersection(*found)
        _write(Path(__file__).with_name(f"{name}-of-{width}.json"), graphs)


def _write(path: Path, graphs: Mapping[str, Sequence[OpNode]]) -> None:
    parts = []
    for text, ran in graphs.items():
        nodes = [msgspec.to_builtins(msgspec.structs.replace(node, key="")) for node in ran]
        lines = ",\n ".join(msgspec.json.encode(node).decode() for node in nodes)
        parts.append(f"{msgspec.json.encode(text).decode()}: [\n {lines}\n]")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
