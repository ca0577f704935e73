"""Refuses an ONNX file that is no valid model, and says why, before any runtime sees the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from nnprof.errors import BadFile
from nnprof.exporters.beside import outside, parts
from nnprof.exporters.identity import Found, bring_in

_NO_VERSION = 1 << 31
_REMEDY = "Export the model again, by its exporter's latest version."


def require_valid(path: Path, found: Found) -> None:
    """Refuse what onnx.checker refuses, with the reason and what to do about it.

    Raises:
        BadFile: the model is newer than the onnx package, uses ops that ONNX does not have, or is
            otherwise not valid.
    """
    proto = found.proto
    if proto.ir_version > onnx.IR_VERSION:
        raise BadFile(
            f"'{path}' is of IR version {proto.ir_version}; onnx {onnx.__version__} reads up to "
            f"{onnx.IR_VERSION}.",
            "Update onnx, or export the model for an older one.",
        )
    shapeless = next((one.name for one in proto.graph.output if _is_shapeless(one)), None)
    if shapeless is not None:
        raise BadFile(
            f"'{path}' does not say what shape its output '{shapeless}' has, not even how many "
            "sides.",
            "Write the shapes into it: onnx.shape_inference.infer_shapes_path, or export it again.",
        )
    unknown = _unknown_op(proto)
    if unknown:
        raise BadFile(
            f"'{path}' uses an op that ONNX {onnx.__version__} does not have: {unknown}.",
            "Export it with standard ops, or update onnx.",
        )
    try:
        onnx.checker.check_model(_without_values(path, found) if found.beside else found.data)
    except onnx.checker.ValidationError as error:
        first = str(error).strip().partition("\n")[0].rstrip(".") or "no reason given"
        raise BadFile(f"'{path}' is no valid ONNX model: {first}.", _REMEDY) from error


def _without_values(path: Path, found: Found) -> onnx.ModelProto:
    """The model without values that are in other files.

    The checker would look for the files, and refuses links that runtimes follow. It looks at values
    only of sparse tensors.
    """
    hollow = onnx.ModelProto()
    hollow.ParseFromString(found.data)
    for sparse in parts(hollow, "SparseTensorProto"):
        for tensor in outside(sparse):
            bring_in(path, tensor)
    for tensor in outside(hollow):
        del tensor.external_data[:]
        tensor.data_location = tensor.DEFAULT
        tensor.dims[:] = [0]
    return hollow


def _unknown_op(proto: onnx.ModelProto) -> str:
    """An op of an ONNX domain that onnx does not have, or not in the stated version; "" if none."""
    own = {(_domain(one), one.name) for one in proto.functions}
    known = {_domain(schema) for schema in onnx.defs.get_all_schemas()}
    for part in (proto, *proto.functions):
        versions = {_domain(one): one.version for one in part.opset_import}
        nodes = part.node if isinstance(part, onnx.FunctionProto) else part.graph.node
        for node in _nested(nodes):
            domain = _domain(node)
            if domain not in known or (domain, node.op_type) in own:
                continue
            version = versions.get(domain)
            if version is None:
                return f"{node.op_type} of domain '{domain}', of which no version is stated"
            if not 0 < version < _NO_VERSION:
                return f"{node.op_type} of domain '{domain}', of version {version}"
            if not onnx.defs.has(node.op_type, max_inclusive_version=version, domain=domain):
                return f"{node.op_type} (domain '{domain}', version {version})"
    return ""


def _is_shapeless(value: onnx.ValueInfoProto) -> bool:
    kind = value.type
    return kind.HasField("tensor_type") and not kind.tensor_type.HasField("shape")


def _domain(one: object) -> str:
    domain = str(one.domain)  # type: ignore[attr-defined]
    return "" if domain == "ai.onnx" else domain


def _nested(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes, and those of graphs inside them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nested(graph.node)
