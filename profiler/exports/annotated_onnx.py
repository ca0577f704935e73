"""A copy of the network's ONNX file with the measured times as metadata of its nodes.

Netron shows them beside a node's attributes, and Model Explorer as "[metadata] nnprof.ms". Nodes
have metadata from IR version 10 on (onnx/onnx#5938). The weights stay as they are; files with
weights of the model are copied beside the copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnprof.errors import BadFile, UsageError
from nnprof.exporters import identity
from nnprof.profiler import stats
from nnprof.profiler.exports.export import Asked, Export, Made, only_cell
from nnprof.profiler.exports.nodes import NodeTime, on_nodes, placeless, placeless_words
from nnprof.profiler.place.limits import Roofline
from nnprof.profiler.report import rows
from nnprof.profiler.report.digits import digits
from nnprof.text import plain
from nnprof.types import Measurement

if TYPE_CHECKING:
    import onnx

_IR = 10  # the first version whose nodes have metadata
_OWN = "nnprof."
_GIVE = "Give the file that was measured with --model FILE.onnx."


def make(asked: Asked) -> Made:
    """The copy, and the files with weights that belong to it.

    Raises:
        UsageError: not one cell has op times, or the copy would replace the model.
        BadFile: the model is not here, or is another one than was measured.
    """
    cell = only_cell(asked.run, "An annotated model")
    found, path = _measured_file(cell, asked.model)
    output = asked.output.absolute()
    if output.exists() and output.samefile(path):
        raise UsageError(f"'{output}' is the model itself.", "Give the copy another name.")
    lost = annotate(found.proto, cell, rows.roof(asked.run))
    same_folder = output.parent.resolve() == path.parent.resolve()
    beside = {} if same_folder else {one.name: one.path for one in found.beside}
    _require_free(output, beside)
    files: dict[str, bytes | Path] = {"": found.proto.SerializeToString(), **beside}
    return Made(files, (*placeless_words(cell), *lost))


def _measured_file(cell: Measurement, given: Path | None) -> tuple[identity.Found, Path]:
    """The file that was measured.

    Raises:
        BadFile: it is not here, or is another one.
    """
    model = cell.workload.model
    path = given or Path(model.path)
    if not model.path and given is None:
        raise BadFile(f"The Run knows no file of '{model.name}'.", _GIVE)
    if not path.is_file():
        raise BadFile(f"'{path}' is not here.", _GIVE)
    found = identity.read(path)
    if model.sha256 and found.sha256 != model.sha256:
        raise BadFile(
            f"'{path}' is not the model that was measured: its SHA-256 begins with "
            f"{found.sha256[:12]}, that of the measured one with {model.sha256[:12]}.",
            _GIVE,
        )
    return found, path


def _require_free(output: Path, beside: Mapping[str, Path]) -> None:
    """Refuse to put the copy, or its weights, where another file is.

    Raises:
        UsageError: the place is taken.
    """
    if output.name in beside:
        raise UsageError(f"A file of weights has the name '{output.name}'.", "Choose another name.")
    for name, source in beside.items():
        place = output.parent / name
        if place.exists() and identity.sha256_of(place) != identity.sha256_of(source):
            raise UsageError(
                f"The weights belong beside the copy, and '{place}' is another file.",
                "Choose another folder.",
            )


def annotate(proto: onnx.ModelProto, cell: Measurement, roof: Roofline | None) -> tuple[str, ...]:
    """Write the times of the cell into the model; what could not be written, a sentence each."""
    places = {tensor: node for node in proto.graph.node for tensor in node.output if tensor}
    places |= {node.name: node for node in proto.graph.node if node.name}
    about = _about(cell)
    lost = []
    for one in on_nodes(cell, roof):
        node = places.get(one.node)
        if node is None:
            lost.append(f"{one.node} is no node of the file; its time is not in the copy.")
            continue
        _set(node.metadata_props, {**_facts(one), **about})
        for name in one.fused:
            if name in places:
                _set(places[name].metadata_props, {"fused_into": one.node, **about})
    proto.ir_version = max(proto.ir_version, _IR)
    _set(proto.metadata_props, _of_model(cell))
    return tuple(lost)


def _about(cell: Measurement) -> dict[str, str]:
    target = cell.target
    return {
        "batch": str(cell.workload.batch),
        "device": plain(target.device),
        **({"on": target.beyond_device} if target.beyond_device else {}),
        "backend": plain(target.backend),
    }


def _facts(one: NodeTime) -> dict[str, str]:
    """What is known of a node; what is not has no entry."""
    single = one.ops[0] if len(one.ops) == 1 else None
    low, high = (single.low_s, single.high_s) if single else (None, None)
    values = {
        "ms": None if one.seconds is None else digits(one.seconds * 1e3),
        "low_ms": None if low is None else digits(low * 1e3),
        "high_ms": None if high is None else digits(high * 1e3),
        "share": None if one.share is None else digits(one.share),
        "of_limit": None if one.of_limit is None else digits(one.of_limit),
        "bound": one.bound,
        "fused_with": ", ".join(one.fused),
        "kernel": ", ".join(dict.fromkeys(plain(op.kernel) for op in one.ops if op.kernel)),
    }
    return {name: value for name, value in values.items() if value}


def _of_model(cell: Measurement) -> dict[str, str]:
    ops = cell.ops.ops if cell.ops else ()
    left = placeless(cell)
    values = {
        **{f"measured.{name}": value for name, value in _about(cell).items()},
        "measured.sha256": cell.workload.model.sha256,
        "measured.ms": digits(stats.latency_s(cell) * 1e3),
        "measured.ops_ms": digits(sum(op.seconds for op in ops) * 1e3),
        "measured.of_no_node_ms": digits(sum(op.seconds for op in left) * 1e3) if left else "",
    }
    return {name: value for name, value in values.items() if value}


def _set(entries: Any, own: Mapping[str, str]) -> None:
    """Set our entries, and keep those of others."""
    known = {entry.key: entry for entry in entries}
    for name, value in own.items():
        key = _OWN + name
        entry = known.get(key) or entries.add(key=key)
        entry.value = value


EXPORT = Export(make, takes_model=True)
