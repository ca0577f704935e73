"""A network and its weights → an ONNX file in the cache.

An exported file takes raw tiles (0…255): the normalisation of training travels inside it. The same
network with the same weights gives the same bytes, on the same versions of torch and onnx.
"""

from __future__ import annotations

import ast
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from nnprof.errors import Unavailable
from nnprof.exporters import cache as kept_files
from nnprof.exporters import recurrent
from nnprof.exporters.check import check_against_torch, generated_for, require_agreement
from nnprof.exporters.models import load_model, set_facts
from nnprof.files import AnyPath
from nnprof.networks.checkpoint import Source, source_of
from nnprof.networks.spec import NetworkSpec, ends_in_softmax
from nnprof.types import Model

if TYPE_CHECKING:
    from torch import nn

_LOG = logging.getLogger(__name__)
OPSET = 18  # the oldest that torch's exporter writes without converting: older runtimes read it
EXPORTER = 1  # raised when the same network comes out as other bytes
INPUT = "tiles"
_RECURRENT = ("LSTM", "GRU")
_BRACKET = "branches"  # begins the name of a module of branches
_INNER = ".layer"  # ends the name of torch's layer in a recurrent one
_INSTALL = "Try: pip install 'nnprof-embedded[train]'."


def export(
    spec: NetworkSpec, checkpoint: AnyPath | None = None, *, cache: AnyPath | None = None
) -> Model:
    """The network as an ONNX file in the folder `cache`, made where it is not there yet.

    Args:
        spec: the network.
        checkpoint: folder with trained weights. Without it: weights drawn by `spec.seed`, and the
            normalisation of MNIST.
        cache: the user's cache of models where not given.

    Input "tiles" (float32, raw 0…255), output "probabilities", or "scores" where the network does
    not end in softmax; the batch is free.

    Raises:
        BadFile: the checkpoint is missing, corrupt or of another network.
        Unavailable: torch or onnxscript is not installed.
        Unexportable: ONNX has no op for a recurrent layer with this activation.
        Disagreement: the file would not compute what the network computes.
    """
    recurrent.require_ops(spec)
    source = source_of(spec, Path(checkpoint) if checkpoint else None)
    place = Path(cache) if cache else None
    key = _key(source)
    kept = kept_files.find(key, place)
    if kept:
        return kept
    _LOG.info("exporting %s", spec.name)
    data, module = _serialise(source)
    with tempfile.TemporaryDirectory(prefix="nnprof-") as temporary:
        draft = Path(temporary) / "model.onnx"
        draft.write_bytes(data)
        model = load_model(draft)
        tiles = generated_for(source)
        require_agreement(model, check_against_torch(model, module, tiles))
    return kept_files.keep(key, data, place)


def reference(spec: NetworkSpec, checkpoint: Path | None = None) -> nn.Sequential:
    """The torch module that `export` promises to agree with: normalisation first, nothing folded.

    Raises:
        BadFile: the checkpoint is missing, corrupt or of another network.
        Unavailable: torch is not installed.
    """
    from nnprof.networks import build

    return build.explicit(source_of(spec, checkpoint))


def _key(source: Source) -> str:
    """Equal for what comes out as the same bytes. Needs no torch, so a cached model needs none."""
    values = (
        EXPORTER,
        OPSET,
        source.spec.name,
        source.spec.notation,
        *((source.checkpoint.sha256, source.dataset) if source.checkpoint else (source.weights,)),
        source.mean.tolist(),
        source.std.tolist(),
        *(kept_files.installed(package) for package in ("torch", "onnx", "onnxscript", "onnx-ir")),
    )
    return kept_files.digest(values)


def _serialise(source: Source) -> tuple[bytes, nn.Sequential]:
    """The bytes of the ONNX file, and the torch module that they must agree with."""
    from nnprof.networks import build

    explicit = build.explicit(source)
    folded = build.folds(source)
    proto = _torch_to_onnx(build.folded(source) if folded else explicit, source.spec)
    recurrent.drop_unread(proto.graph)
    _strip(proto)
    own = {
        "name": source.spec.name,
        "network": source.spec.notation,
        "weights": source.weights,
        "normalisation": "folded" if folded else "op",
        # Untrained files say nothing of data, and keep the bytes that they have always had.
        **({"dataset": source.dataset} if source.dataset else {}),
    }
    set_facts(proto, own)
    return proto.SerializeToString(deterministic=True), explicit


def _torch_to_onnx(module: nn.Sequential, spec: NetworkSpec) -> onnx.ModelProto:
    import torch

    example = torch.zeros(2, *spec.input_shape)
    output = "probabilities" if ends_in_softmax(spec) else "scores"
    try:
        with _quiet():
            program = torch.onnx.export(
                recurrent.written_as_ops(module),
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[output],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    except ImportError as error:
        raise Unavailable(
            f"Exporting needs {error.name}, which is not installed.", _INSTALL
        ) from error
    if program is None:
        raise TypeError("torch.onnx.export(dynamo=True) gave no program")
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's warnings are about torch's inside and missing torchvision."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    names = [name for name in logging.root.manager.loggerDict if name.startswith("torch.onnx.")]
    loggers += [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _strip(proto: onnx.ModelProto) -> None:
    """Take out local paths and stack traces; name nodes after the layers that they come from."""
    seen: Counter[str] = Counter()
    # The op has its layer's name; transposes beside it, which may come first, have a number.
    seen.update({_layer_name(node) for node in proto.graph.node if node.op_type in _RECURRENT})
    for node in proto.graph.node:
        layer = _layer_name(node) or node.op_type.lower()
        seen[layer] += node.op_type not in _RECURRENT
        plain = seen[layer] == 1 or node.op_type in _RECURRENT
        node.name = layer if plain else f"{layer}_{node.op_type.lower()}{seen[layer]}"
        node.doc_string = ""
        del node.metadata_props[:]
    graph = proto.graph
    for value in (*graph.value_info, *graph.input, *graph.output, *graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    graph.doc_string = proto.doc_string = ""
    del graph.metadata_props[:]
    del proto.metadata_props[:]
    # What runs is the node list; these are in no order of their own.
    for values in (graph.value_info, graph.initializer):
        ordered = sorted(values, key=lambda value: value.name)
        del values[:]
        values.extend(ordered)


def _layer_name(node: onnx.NodeProto) -> str:
    weights = [name for name in node.input if name.endswith(".weight")]
    if weights:
        return str(weights[0]).removesuffix(".weight")
    scopes = {prop.key: prop.value for prop in node.metadata_props}.get(
        "pkg.torch.onnx.name_scopes", "[]"
    )
    names = [name for name in ast.literal_eval(scopes)[:-1] if name]
    if not names:
        return ""
    # Inside brackets the layer is the innermost module; else it is the outermost.
    name = str(names[-1] if names[0].startswith(_BRACKET) else names[0])
    return name.removesuffix(_INNER)
