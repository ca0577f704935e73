"""Networks → ONNX files, and ONNX files → Model values.

An exported file takes raw tiles (0…255): the normalisation of training travels inside it. The same
network with the same weights gives the same bytes, on the same versions of torch and onnx.
"""

from __future__ import annotations

import ast
import hashlib
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import onnx
import platformdirs
from numpy.typing import NDArray

from nnprof.errors import BadFile, Unavailable
from nnprof.exporters import axes, identity, valid
from nnprof.exporters.check import check_against_torch, generated_tiles, require_agreement
from nnprof.files import AnyPath, foreign, write_atomically
from nnprof.networks.checkpoint import Checkpoint, load_checkpoint
from nnprof.networks.spec import Conv, Dense, NetworkSpec, Shape, same_padding
from nnprof.types import Model, Tensor

if TYPE_CHECKING:
    from torch import nn

_LOG = logging.getLogger(__name__)
OPSET = 18  # the oldest that torch's exporter writes without converting: older runtimes read it
EXPORTER = 1  # raised when the same network comes out as other bytes
INPUT = "tiles"
FLOOR = "floor"  # name of the graphs that do nothing
# Of MNIST's training tiles, for networks that were never trained: activations of a sane size.
MNIST_MEAN, MNIST_STD = 33.318, 78.567
METADATA = "nnprof."
_INSTALL = "Try: pip install 'nnprof-embedded[train]'."
_DIGEST = 16


class _Source(NamedTuple):
    """What is exported: the network, its weights, and the normalisation it was trained with."""

    spec: NetworkSpec
    checkpoint: Checkpoint | None
    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    @property
    def weights(self) -> str:
        return "trained" if self.checkpoint else f"seed {self.spec.seed}"

    @property
    def dataset(self) -> str:
        return self.checkpoint.record.dataset if self.checkpoint else ""


def export(
    spec: NetworkSpec, checkpoint: AnyPath | None = None, cache: AnyPath | None = None
) -> Model:
    """The network as an ONNX file in the cache, made where it is not there yet.

    With the trained weights in the folder `checkpoint`, else with seeded ones and MNIST's
    normalisation. Input "tiles" (float32, raw 0…255), output "probabilities", or "scores" where
    the network does not end in softmax; the batch is free.

    Raises:
        BadFile: the checkpoint is missing, corrupt or of another network.
        Unavailable: torch or onnxscript is not installed.
        Disagreement: the file would not compute what the network computes.
    """
    source = _source(spec, load_checkpoint(Path(checkpoint)) if checkpoint else None)
    folder = Path(cache or default_cache())
    key = _key(source)
    kept = cached(folder, key)
    if kept:
        return kept
    _LOG.info("exporting %s", spec.name)
    data, module = _serialise(source)
    with tempfile.TemporaryDirectory(prefix="nnprof-") as temporary:
        draft = Path(temporary) / "model.onnx"
        draft.write_bytes(data)
        model = load_model(draft)
        tiles = generated_tiles(spec.input_shape)
        require_agreement(model, check_against_torch(model, module, tiles))
    return keep(folder, key, data)


def reference(spec: NetworkSpec, checkpoint: Path | None = None) -> nn.Sequential:
    """The torch module that `export` promises to agree with: normalisation first, nothing folded.

    Raises:
        BadFile: the checkpoint is missing, corrupt or of another network.
        Unavailable: torch is not installed.
    """
    return _module(_source(spec, load_checkpoint(checkpoint) if checkpoint else None))


def default_cache() -> Path:
    """Where exported models are kept."""
    return Path(platformdirs.user_cache_dir("nnprof")) / "models"


# --- cache ----------------------------------------------------------------------------------------


def _source(spec: NetworkSpec, checkpoint: Checkpoint | None) -> _Source:
    if checkpoint is None:
        # One value for all channels and pixels, in a shape that broadcasts over the input.
        shape = (1,) * len(spec.input_shape)
        mean, std = (np.full(shape, value, np.float32) for value in (MNIST_MEAN, MNIST_STD))
        return _Source(spec, None, mean, std)
    if checkpoint.spec.layers != spec.layers or checkpoint.spec.input_shape != spec.input_shape:
        raise BadFile(
            f"The checkpoint holds '{checkpoint.spec.notation}', not '{spec.notation}'.",
            "Export it as the network that it is.",
        )
    return _Source(spec, checkpoint, checkpoint.mean, checkpoint.std)


def _key(source: _Source) -> str:
    """Equal for what comes out as the same bytes. Needs no torch, so a cached model needs none."""
    values = (
        EXPORTER,
        OPSET,
        source.spec.name,
        source.spec.notation,
        *((source.checkpoint.sha256, source.dataset) if source.checkpoint else (source.weights,)),
        source.mean.tolist(),
        source.std.tolist(),
        *(installed(package) for package in ("torch", "onnx", "onnxscript", "onnx-ir")),
    )
    return digest(values)


def digest(values: Any) -> str:
    """A key of the cache: the same for equal values."""
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()[:_DIGEST]


def installed(package: str) -> str:
    """The version of a package; empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def keep(folder: Path, key: str, data: bytes) -> Model:
    """Write a file into the cache, under a name that promises its bytes."""
    path = folder / f"{key}-{hashlib.sha256(data).hexdigest()[:_DIGEST]}.onnx"
    write_atomically(path, data)
    return load_model(path)


def cached(folder: Path, key: str) -> Model | None:
    """The cached file, if its bytes are still those that its name promises."""
    for path in sorted(folder.glob(f"{key}-*.onnx")):
        promised = path.stem.removeprefix(f"{key}-")
        if hashlib.sha256(path.read_bytes()).hexdigest().startswith(promised):
            return load_model(path)
        path.unlink()
    return None


# --- export ---------------------------------------------------------------------------------------


def _serialise(source: _Source) -> tuple[bytes, nn.Sequential]:
    """The bytes of the ONNX file, and the torch module that they must agree with."""
    explicit = _module(source)
    folded = _folds(source)
    module = _fold(source) if folded else explicit
    proto = _torch_to_onnx(module, source.spec)
    _strip(proto)
    onnx.helper.set_model_props(
        proto,
        {
            METADATA + "name": source.spec.name,
            METADATA + "network": source.spec.notation,
            METADATA + "weights": source.weights,
            METADATA + "normalisation": "folded" if folded else "op",
            # Untrained files say nothing of data, and keep the bytes that they have always had.
            **({METADATA + "dataset": source.dataset} if source.dataset else {}),
        },
    )
    return proto.SerializeToString(deterministic=True), explicit


def _network(source: _Source) -> nn.Sequential:
    from nnprof.networks import build

    if source.checkpoint:
        name = f"the checkpoint of '{source.spec.notation}'"
        return build.restore(source.spec, source.checkpoint.weights, name).eval()
    return build.build(source.spec).eval()


def _module(source: _Source) -> nn.Sequential:
    """Raw tiles → outputs, the normalisation as a layer at the front."""
    network = _network(source)

    import torch
    from torch import nn

    class Normalise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = nn.Buffer(torch.tensor(source.mean))
            self.std = nn.Buffer(torch.tensor(source.std))

        def forward(self, tiles: torch.Tensor) -> torch.Tensor:
            return (tiles - self.mean) / self.std

    module = nn.Sequential()
    module.add_module("normalise", Normalise())
    for name, part in network.named_children():
        module.add_module(name, part)
    return module.eval()


def _folds(source: _Source) -> bool:
    """Whether the first layer can take the normalisation in, exactly.

    A convolution that pads cannot: its zeros stand for the mean after folding, not before.
    """
    first = source.spec.layers[0]
    if isinstance(first, Dense):
        return True
    return (
        isinstance(first, Conv)
        and _pads_nothing(first, source.spec.input_shape)
        and source.mean.shape[1:] == (1, 1)
    )


def _pads_nothing(layer: Conv, shape: Shape) -> bool:
    return layer.padding == "valid" or all(
        same_padding(side, layer.kernel, layer.stride) == (0, 0) for side in shape[1:]
    )


def _fold(source: _Source) -> nn.Sequential:
    """The network with W/σ and b - Σ W·µ/σ in its first layer: W·((x - µ)/σ) + b for raw x."""
    network = _network(source)

    import torch

    first: Any = next(part for part in network if hasattr(part, "weight"))
    weight = first.weight.detach().double().numpy()
    # Both as the first layer sees them: one value per channel, or per value after flattening.
    shape: Shape = source.spec.input_shape
    wanted: Shape = (-1,)
    if isinstance(source.spec.layers[0], Conv):
        shape = wanted = (shape[0], 1, 1)
    mean, std = (
        np.broadcast_to(value.astype(np.float64), shape).reshape(wanted)
        for value in (source.mean, source.std)
    )
    scaled = weight / std
    shift = (scaled * mean).reshape(len(scaled), -1).sum(axis=1)
    with torch.no_grad():
        first.bias.sub_(torch.from_numpy(shift).float())
        first.weight.copy_(torch.from_numpy(scaled).float())
    return network


def _torch_to_onnx(module: nn.Sequential, spec: NetworkSpec) -> onnx.ModelProto:
    import torch

    from nnprof.networks import build

    example = torch.zeros(2, *spec.input_shape)
    output = "probabilities" if build.ends_in_softmax(spec) else "scores"
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
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
    for node in proto.graph.node:
        layer = _layer_name(node) or node.op_type.lower()
        seen[layer] += 1
        node.name = layer if seen[layer] == 1 else f"{layer}_{node.op_type.lower()}{seen[layer]}"
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
    return str(names[0]) if names else ""


# --- any ONNX file --------------------------------------------------------------------------------


def load_model(path: AnyPath) -> Model:
    """What an ONNX file says of itself: inputs, outputs, opset; and where it came from, if from us.

    `sha256` is of the file and of all files beside it that hold weights of it
    (`nnprof.exporters.identity`), which are read for that alone.

    Raises:
        BadFile: it is missing, cut off, no ONNX file, or uses ops that ONNX does not have; a file
            with weights of it is missing, cut off or somewhere else.
        OutOfMemory: it is larger than the free memory.
    """
    path = Path(path).absolute()
    found = identity.read(path)
    valid.require_valid(path, found)
    proto = found.proto
    own = {
        prop.key.removeprefix(METADATA): prop.value
        for prop in proto.metadata_props
        if prop.key.startswith(METADATA)
    }
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = tuple(
        _tensor(path, value) for value in proto.graph.input if value.name not in constants
    )
    outputs = tuple(_tensor(path, value) for value in proto.graph.output)
    batch = axes.find(inputs, outputs)
    if not inputs or not outputs:
        raise BadFile(
            f"'{path}' has no {'inputs' if not inputs else 'outputs'}, so nothing to measure.",
            "Export the model with its tiles as an input.",
        )
    return Model(
        name=own.get("name", path.stem),
        path=str(path),
        sha256=found.sha256,
        opset=next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0),
        inputs=inputs,
        outputs=outputs,
        network=own.get("network"),
        weights=own.get("weights", "file"),
        normalisation=own.get("normalisation", "none"),
        dataset=own.get("dataset", ""),
        precision=own.get("precision", "fp32"),
        conversion=own.get("conversion", ""),
        batch_axes=batch.axes,
        batch_from=batch.how,
    )


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


# --- floor ----------------------------------------------------------------------------------------


def identity_model(cache: Path | None = None) -> Model:
    """A graph of one Identity node, float32 [1] → [1]: its time is the floor of a call."""
    return _trivial("identity", ["Identity"], cache)


def chain_model(nodes: int, cache: Path | None = None) -> Model:
    """A graph of so many nodes with nothing to do: its time over the floor is that of the nodes.

    They negate, because a runtime would take a chain of identities out.
    """
    return _trivial("chain", ["Neg"] * nodes, cache)


def stream_model(values: int, cache: Path | None = None) -> Model:
    """Neg of so many values: reads them, writes as many, and computes next to nothing."""
    node = onnx.helper.make_node("Neg", ["x"], ["y"], name="stream")
    return measuring(f"stream{values}", [node], [values], [], cache)


def _trivial(name: str, ops: list[str], cache: Path | None) -> Model:
    names = ["x", *(f"t{index}" for index in range(1, len(ops))), "y"]
    nodes = [
        onnx.helper.make_node(op, [source], [made], name=f"{name}{index}")
        for index, (op, source, made) in enumerate(zip(ops, names[:-1], names[1:], strict=True))
    ]
    return measuring(f"{name}{len(ops)}", nodes, [1], [], cache)


def measuring(
    name: str,
    nodes: list[onnx.NodeProto],
    shape: list[int],
    weights: list[onnx.TensorProto],
    cache: Path | None,
    precision: str = "fp32",
) -> Model:
    """A graph that measures the machine and not a network: float32 x → y of the same shape."""
    declared = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes, name, [declared("x", kind, shape)], [declared("y", kind, shape)], weights
    )
    # Versions of 2022, which every runtime in use can read.
    proto = onnx.helper.make_model(
        graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 13)]
    )
    own = {} if precision == "fp32" else {METADATA + "precision": precision}
    onnx.helper.set_model_props(proto, {METADATA + "name": FLOOR, **own})
    path = (cache or default_cache()) / f"{name}.onnx"
    data = proto.SerializeToString(deterministic=True)
    if not path.is_file() or path.read_bytes() != data:
        write_atomically(path, data)
    return load_model(path)
