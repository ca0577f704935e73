"""Record the graphs that ONNX Runtime runs here: `python -m tests.data.blocks.record`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.profiler.costmodel.test_work import NETWORKS, graph


def main() -> None:
    """Write `blocks-of-8.json` or `blocks-of-16.json`, by what the graphs are."""
    graphs = {text: graph(text) for text in NETWORKS}
    (width,) = frozenset.intersection(*(ran.widths(ran) or frozenset() for ran in graphs.values()))
    parts = []
    for text, ran in graphs.items():
        nodes = [msgspec.to_builtins(msgspec.structs.replace(node, key="")) for node in ran]
        lines = ",\n ".join(msgspec.json.encode(node).decode() for node in nodes)
        parts.append(f"{msgspec.json.encode(text).decode()}: [\n {lines}\n]")
    path = Path(__file__).with_name(f"blocks-of-{width}.json")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
