"""An ONNX model in a plainer form that means the same, for tools that know only the plain form."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import numpy_helper


def keep_inputs(model: onnx.ModelProto, asked: Collection[str]) -> None:
    """Take out every input whose name is not among `asked`.

    Before IR version 4 each initialiser is declared as an input, too. A runtime that folds an
    initialiser leaves its input behind, now without a value. From version 4 on no initialiser need
    be declared as an input.
    """
    model.ir_version = max(model.ir_version, 4)
    kept = [value for value in model.graph.input if value.name in asked]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def free_empty_sides(model: onnx.ModelProto) -> None:
    """Free each side declared as 0: old converters mean a free side, ONNX Runtime reads 0."""
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        for side in value.type.tensor_type.shape.dim:
            if side.HasField("dim_value") and not side.dim_value:
                side.Clear()


def make_dense(model: onnx.ModelProto) -> None:
    """Replace sparse initialisers by dense ones, as a runtime does when it reads them."""
    for sparse in model.graph.sparse_initializer:
        places = numpy_helper.to_array(sparse.indices)
        if places.ndim == 2:
            places = np.ravel_multi_index(tuple(places.T), tuple(sparse.dims))
        values = numpy_helper.to_array(sparse.values)
        dense = np.zeros(tuple(sparse.dims), values.dtype)
        dense.reshape(-1)[places] = values
        model.graph.initializer.append(numpy_helper.from_array(dense, sparse.values.name))
    del model.graph.sparse_initializer[:]
