"""fp32 ONNX files → fp16 and int8 ones, by ONNX Runtime's own converters.

fp16: all tensors inside become float16, inputs and outputs stay float32.

int8: QuantizeLinear and DequantizeLinear nodes (QDQ) around each op that can compute in whole
numbers, in the form that the target runs right (`int8.Form`); the ranges of the activations are
those seen on the calibration tiles.

A runtime without a kernel of a precision computes in another, and says so in the session's facts
where it can.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from numpy.typing import NDArray

from nnprof.errors import NnprofError, Unavailable, UsageError
from nnprof.exporters import cache, identity, plain
from nnprof.exporters.axes import back
from nnprof.exporters.int8 import ANYWHERE, Form
from nnprof.exporters.models import set_facts
from nnprof.types import Model

PRECISIONS = ("fp32", "fp16", "int8")
TOOL = "onnxruntime"
CONVERTER = 4  # raised when the same file comes out as other bytes
CALIBRATION_TILES = 512
_CHUNK = 64


def chunk(batch: int) -> int:
    """Tiles per calibration step of a network that is measured at `batch`.

    64 where 64 divides the batch; else a whole number of batches, since a network may run only so.
    """
    return _CHUNK if batch % _CHUNK == 0 else batch * max(1, _CHUNK // batch)


class Calibration(NamedTuple):
    """Tiles whose activations set the ranges of int8.

    Attributes:
        tiles: (N, …), the batch in front, wherever the model has its batch.
        source: what the tiles are, for people.
        at_once: tiles per step, unless the model has a fixed batch.
    """

    tiles: NDArray[Any]
    source: str
    at_once: int = _CHUNK


def convert(model: Model, precision: str, calibration: Calibration, form: Form = ANYWHERE) -> Model:
    """The model in a precision, from the cache where it is there; fp32 gives the model itself.

    `form` counts for int8 only. The converted file names the network, the weights and the
    conversion.

    Raises:
        UsageError: no such precision, a model that is converted already, or one that the tools
            cannot convert.
        Unavailable: onnxruntime is not installed.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"No precision '{precision}'.", f"Known: {', '.join(PRECISIONS)}.")
    if precision == model.precision:
        return model
    if model.precision != "fp32":
        raise UsageError(
            f"{model.name} is {model.precision} already.", "Convert the fp32 file that it is from."
        )
    key = _key(model, precision, calibration, form)
    kept = cache.find(key)
    if kept:
        return kept
    data = _converted(model, precision, calibration, form)
    identity.require_same(model)  # or the cache would keep another model under its key
    return cache.keep(key, data)


def _converted(model: Model, precision: str, calibration: Calibration, form: Form) -> bytes:
    """The file's bytes; every error of the tools becomes an error of nnprof."""
    try:
        with _tools():
            proto = _half(model) if precision == "fp16" else _quantised(model, calibration, form)
        onnx.checker.check_model(proto)
        return _finished(proto, model, precision, calibration, form)
    except ImportError as error:
        raise Unavailable(
            f"Converting to {precision} needs {error.name}, which is not installed.",
            "Try: pip install 'nnprof-embedded[cpu]'.",
        ) from error
    except NnprofError:
        raise
    # The converters raise errors of any type; each becomes a sentence about the user's file.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        if isinstance(error, EncodeError):  # which does not say why
            lines = ["what comes out is larger than 2 GB, and a file of its own"]
        raise UsageError(
            f"{model.name} cannot be converted to {precision}: {lines[0].rstrip('.')}.",
            "Leave out that precision.",
        ) from error


def _key(model: Model, precision: str, calibration: Calibration, form: Form) -> str:
    used = hashlib.sha256(np.ascontiguousarray(calibration.tiles).tobytes()).hexdigest()
    own = (used, str(form)) if precision == "int8" else ()
    parts = (CONVERTER, model.sha256, precision, *own)
    return cache.digest((*parts, *(cache.installed(name) for name in ("onnx", TOOL))))


def _finished(
    proto: onnx.ModelProto, model: Model, precision: str, calibration: Calibration, form: Form
) -> bytes:
    """Bytes of the file, with the metadata of the original."""
    how = "float16 inside"
    if precision == "int8":
        how = f"int8 QDQ, {form}, calibrated on {len(calibration.tiles)} {calibration.source}"
    kept = {prop.key: prop.value for prop in identity.read(Path(model.path)).proto.metadata_props}
    own = {"name": model.name, "precision": precision, "conversion": how}
    del proto.metadata_props[:]
    set_facts(proto, own, kept)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _plain(model: Model) -> onnx.ModelProto:
    """The model with all its weights, and without inputs that stand for constants."""
    proto = identity.whole(Path(model.path))
    plain.keep_inputs(proto, {tensor.name for tensor in model.inputs})
    plain.make_dense(proto)
    plain.free_empty_sides(proto)
    return proto


def _half(model: Model) -> onnx.ModelProto:
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = ONNXModel(convert_float_to_float16(_plain(model), keep_io_types=True))
    half.topological_sort()  # it puts the casts of the inputs last, which ONNX does not allow
    proto: onnx.ModelProto = half.model
    return proto


def _quantised(model: Model, calibration: Calibration, form: Form) -> onnx.ModelProto:
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if len(model.inputs) != 1:
        raise ValueError("it has several inputs, and tiles are for one")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Hands out the tiles in chunks."""

        def __init__(self) -> None:
            self._left = _chunks(model, calibration)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self._left, None)

    kinds = quantization.QuantType
    with tempfile.TemporaryDirectory(prefix="nnprof-") as folder:
        whole, prepared, done = (Path(folder, f"{name}.onnx") for name in ("0", "1", "2"))
        onnx.save(_plain(model), whole)  # ONNX Runtime 1.23 takes no model that is not in a file
        # Shapes only: what fuses is for the runtime to say, and names must stay.
        shapes_only = {"skip_optimization": True, "skip_symbolic_shape": True}
        quant_pre_process(whole, prepared, **shapes_only)
        quantization.quantize_static(
            prepared,
            done,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=kinds.QUInt8 if form.unsigned else kinds.QInt8,
            weight_type=kinds.QInt8,
            per_channel=form.per_channel,
            reduce_range=form.reduced,
            extra_options={"ActivationSymmetric": not form.unsigned, "WeightSymmetric": True},
        )
        return onnx.load(done)


def _chunks(model: Model, calibration: Calibration) -> Iterator[dict[str, NDArray[Any]]]:
    """All tiles as inputs of the model, `at_once` at a time, or as many as its fixed batch.

    The first tiles come again where the last chunk would not be full.
    """
    size = model.fixed_batch or calibration.at_once
    count = -(-len(calibration.tiles) // size) * size
    tiles = np.resize(calibration.tiles, (count, *calibration.tiles.shape[1:]))
    name, dtype = model.inputs[0].name, model.inputs[0].dtype
    axis = model.axes.get(name)
    for at in range(0, count, size):
        yield {name: back(tiles[at : at + size], axis).astype(dtype)}


@contextmanager
def _tools() -> Iterator[None]:
    """What ONNX Runtime's converters want, taken back afterwards.

    They import each other by bare names from a folder that they put on the path, and that has
    modules called "profiler" and the like. They warn at the root logger that they would rather have
    optimised the file first.
    """
    from onnxruntime import transformers

    path, level = list(sys.path), logging.root.level
    sys.path.append(str(Path(str(transformers.__file__)).parent))
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        sys.path[:] = path
        logging.root.setLevel(level)
