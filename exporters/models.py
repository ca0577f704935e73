"""A file becomes a `Model`: what an ONNX file says of itself, and whether it is ours.

Files that nnprof writes carry facts as metadata whose keys begin with `METADATA`: the network's
notation, its weights, its normalisation, its precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx

from nnprof.errors import BadFile
from nnprof.exporters import axes, identity, valid
from nnprof.files import AnyPath, foreign
from nnprof.types import Model, Normalisation, Precision, Tensor

METADATA = "nnprof."
_STANDARD = ("", "ai.onnx")  # names of the domain of ONNX's own ops


def load_model(path: AnyPath) -> Model:
    """Inputs, outputs and opset of an ONNX file, and where the file came from if nnprof wrote it.

    `sha256` is of the file and of all files beside it that hold its weights
    (`nnprof.exporters.identity`); the weights are read for their hash alone.

    Raises:
        BadFile: the file is missing, cut off, no ONNX file, or uses ops that ONNX does not have; a
            file with its weights is missing, cut off or in another folder.
        OutOfMemory: the file is larger than the free memory.
    """
    path = Path(path).absolute()
    found = identity.read(path)
    valid.require_valid(path, found)
    inputs, outputs = _ports(path, found.proto.graph)
    batch = axes.find(inputs, outputs)
    own = facts(found.proto)
    return Model(
        name=own.get("name", path.stem),
        path=str(path),
        sha256=found.sha256,
        opset=next((o.version for o in found.proto.opset_import if o.domain in _STANDARD), 0),
        inputs=inputs,
        outputs=outputs,
        network=own.get("network"),
        weights=own.get("weights", "file"),
        normalisation=_word(path, own, "normalisation", Normalisation, "none"),
        dataset=own.get("dataset", ""),
        precision=_word(path, own, "precision", Precision, "fp32"),
        conversion=own.get("conversion", ""),
        batch_axes=batch.axes,
        batch_from=batch.how,
    )


def _word(path: Path, own: dict[str, str], key: str, words: Any, otherwise: str) -> Any:
    """What the file says of itself under the key, one of `words`, or `otherwise`.

    Raises:
        BadFile: the file says something else.
    """
    said = own.get(key, otherwise)
    if said not in get_args(words):
        raise BadFile(
            f"{path} says that its {key} is '{said}', none of {', '.join(get_args(words))}.",
            f"Remove nnprof.{key} from the file's metadata.",
        )
    return said


def facts(proto: onnx.ModelProto) -> dict[str, str]:
    """What nnprof wrote into a file about the file, by key; empty for a file of others."""
    return {
        prop.key.removeprefix(METADATA): prop.value
        for prop in proto.metadata_props
        if prop.key.startswith(METADATA)
    }


def set_facts(
    proto: onnx.ModelProto, own: Mapping[str, str], others: Mapping[str, str] | None = None
) -> None:
    """Write metadata: `own` under nnprof's keys, after `others` under the keys given there."""
    named = {METADATA + key: value for key, value in own.items()}
    onnx.helper.set_model_props(proto, {**(others or {}), **named})


def _ports(path: Path, graph: onnx.GraphProto) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs that are no constants, and outputs."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_tensor(path, value) for value in graph.input if value.name not in constants)
    outputs = tuple(_tensor(path, value) for value in graph.output)
    if not inputs or not outputs:
        raise BadFile(
            f"'{path}' has no {'inputs' if not inputs else 'outputs'}, so nothing to measure.",
            "Export the model with its tiles as an input.",
        )
    return inputs, outputs


def _tensor(path: Path, value: onnx.ValueInfoProto) -> Tensor:
    if not value.type.HasField("tensor_type"):
        what, remedy = "no tensor", "Export the model with tensors as inputs and outputs."
        if value.type.sequence_type.elem_type.HasField("map_type"):
            what = "a sequence of maps and no tensor"
            remedy = (
                "Convert it with the option zipmap=False (skl2onnx: options={'zipmap': False})."
            )
        raise BadFile(f"'{value.name}' of '{path}' is {what}.", remedy)
    kind = value.type.tensor_type
    if kind.elem_type not in onnx.helper.get_all_tensor_dtypes():
        raise BadFile(
            f"'{value.name}' of '{path}' is of type {kind.elem_type}, which onnx "
            f"{onnx.__version__} does not know.",
            "Update onnx, or export the model with a standard type.",
        )
    # Old converters write 0 or -1 for a free side.
    shape = tuple(
        dim.dim_value if dim.dim_value > 0 else dim.dim_param or axes.UNNAMED
        for dim in kind.shape.dim
    )
    with foreign(f"'{value.name}' of '{path}' is of no type that is known", "Export it again."):
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
    return Tensor(name=value.name, dtype=dtype, shape=shape)
