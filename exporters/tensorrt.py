"""ONNX files → TensorRT engines, for TensorRT 8.6, 10 and 11.

An engine is good for one version of TensorRT on one kind of GPU: its file carries a stamp, and is
refused elsewhere. An engine is also one draw of a lottery: the builder times kernels and takes the
fastest, so two builds may run different kernels. So a folder may hold several engines of one
recipe, which fresh processes take in turn.

The precision comes from the ONNX graph: from version 10 on the network is built strongly typed, the
only way in version 11. Version 8.6 has no strongly typed networks; there the builder may use the
recipe's precision besides float32. TF32 stays on for float32, TensorRT's default.

Only `build` needs TensorRT.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import platformdirs

from nnprof.errors import BadFile, OutOfMemory, Unavailable
from nnprof.exporters.identity import require_same
from nnprof.files import write_atomically
from nnprof.types import Model

if TYPE_CHECKING:
    import tensorrt as trt

STRONGLY_TYPED = (10,)  # since this version
SUFFIX = ".plan"
# What a precision allows besides float32 where networks are weakly typed (before version 10).
WEAK_FLAGS: dict[str, tuple[str, ...]] = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8",)}
_INSTALL = (
    "On a Jetson it comes with JetPack: make the virtual environment with --system-site-packages. "
    "Elsewhere try: pip install 'nnprof-embedded[tensorrt]'"
)
_KEY_DIGITS = 16


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What decides which engine comes out, the lottery aside.

    Attributes:
        model: its sha256 (`nnprof.types.Model`).
        batches: each has an optimisation profile of its own, in this order.
        precision: of the workload.
        version: of TensorRT, such as "10.3.0".
        device: name of the GPU, or of its host.
        compute: compute capability, such as "8.7"; "" where it is not known.
        shapes: for each batch the shape of each input; () where only first axes are free, and are
            the batch.
    """

    model: str
    batches: tuple[int, ...]
    precision: str
    version: str
    device: str
    compute: str = ""
    shapes: tuple[dict[str, tuple[int, ...]], ...] = ()

    @property
    def key(self) -> str:
        """The same for the same recipe."""
        parts = msgspec.structs.asdict(self)
        if not self.shapes:  # the key from before `shapes` came, so that old engines are found
            del parts["shapes"]
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:_KEY_DIGITS]


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine file is, beside the file as `NAME.plan.json`; `index` counts the draws."""

    recipe: Recipe
    index: int
    sha256: str


class Engine(NamedTuple):
    """An engine file's content, its stamp, and whether it was built just now."""

    plan: bytes
    stamp: Stamp
    fresh: bool


def library() -> Any:
    """The module `tensorrt`.

    Raises:
        Unavailable: TensorRT, or a shared library that it needs, is not installed.
    """
    try:
        import tensorrt
    except (ImportError, OSError) as error:  # OSError: a shared library of its own is missing
        raise Unavailable("tensorrt is not installed, or not whole.", _INSTALL) from error
    return tensorrt


def version_of(text: str) -> tuple[int, ...]:
    """Numbers to compare: 10.3.0 → (10, 3, 0); what follows the numbers is left out."""
    parts = []
    for word in text.split("."):
        if not word.isdecimal():
            break
        parts.append(int(word))
    return tuple(parts)


def default_folder() -> Path:
    """Where engines are kept."""
    return Path(platformdirs.user_cache_dir("nnprof")) / "engines"


def next_index(built: Sequence[int], count: int) -> int:
    """Which of `count` engines a fresh process takes: one not built yet, else the longest unused.

    So each engine is used about equally often, also over several runs.

    Args:
        built: indices of the engines at hand, the longest unused first.
        count: number of engines wanted.
    """
    missing = [index for index in range(count) if index not in built]
    return missing[0] if missing else next(index for index in built if index < count)


def take(model: Model, recipe: Recipe, count: int, folder: Path) -> Engine:
    """The engine whose turn it is, built first if there are fewer than `count`.

    Raises:
        BadFile: TensorRT refuses the model, or the engine file is not what its stamp says.
        OutOfMemory: too little memory to build the engine.
    """
    names = {index: folder / f"{recipe.key}-{index}{SUFFIX}" for index in range(count)}
    at_hand = [index for index, path in names.items() if path.is_file()]
    at_hand.sort(key=lambda index: names[index].stat().st_mtime_ns)
    index = next_index(at_hand, count)
    path = names[index]
    if index in at_hand:
        _used_now(path)
        return Engine(*load(path, recipe), fresh=False)
    # A timing cache per index: with one cache for all, all engines would be alike.
    cache = folder / f"timing-{recipe.version}-{recipe.device}-{index}.cache".replace(" ", "_")
    plan, timings = build(model, recipe, cache.read_bytes() if cache.is_file() else b"")
    require_same(model)  # or the folder would keep another model's engine under its key
    stamp = Stamp(recipe=recipe, index=index, sha256=hashlib.sha256(plan).hexdigest())
    write_atomically(cache, timings)
    write_atomically(_stamp_path(path), msgspec.json.format(msgspec.json.encode(stamp)))
    write_atomically(path, plan)
    _used_now(path)
    return Engine(plan, stamp, fresh=True)


def _used_now(path: Path) -> None:
    now = time.time_ns()  # the file system's own clock has coarse ticks
    os.utime(path, ns=(now, now))


def load(path: Path, here: Recipe) -> tuple[bytes, Stamp]:
    """An engine file and its stamp.

    Args:
        path: of the engine.
        here: the wanted recipe, with this machine's version and GPU.

    Raises:
        BadFile: the file has no stamp, is not what its stamp says, or is of another version, GPU,
            model, batch or precision.
    """
    again = f"Delete it; it will be built again: {path}"
    try:
        plan = path.read_bytes()
        stamp = msgspec.json.decode(_stamp_path(path).read_bytes(), type=Stamp)
    except (OSError, msgspec.DecodeError) as error:
        raise BadFile(f"The engine {path.name} has no stamp that can be read.", again) from error
    for field in msgspec.structs.fields(Recipe):
        was, is_now = getattr(stamp.recipe, field.name), getattr(here, field.name)
        if was != is_now:
            raise BadFile(
                f"The engine {path.name} was built for {_words(field.name, was)}; "
                f"wanted here is {_words(field.name, is_now)}.",
                again,
            )
    if hashlib.sha256(plan).hexdigest() != stamp.sha256:
        raise BadFile(f"The engine {path.name} is cut or was changed.", again)
    return plan, stamp


def _words(field: str, value: Any) -> str:
    names = {
        "version": "TensorRT",
        "device": "the GPU",
        "compute": "compute capability",
        "batches": "the batches",
        "shapes": "the shapes",
        "precision": "precision",
        "model": "the model",
    }
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"{names[field]} {text}"


def _stamp_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


# --- building -------------------------------------------------------------------------------------


def build(model: Model, recipe: Recipe, timings: bytes) -> tuple[bytes, bytes]:
    """An engine, and the timing cache after the build.

    Detailed verbosity, so that each layer can be traced to the ONNX nodes that it was made of.

    Args:
        model: with sides free where the recipe has a size, or bound to the recipe's one batch.
        recipe: for this TensorRT on this GPU.
        timings: a timing cache of this version and GPU, b"" for a new one.

    Raises:
        Unavailable: TensorRT is not installed.
        BadFile: TensorRT refuses the model.
        OutOfMemory: there is not enough to build it.
    """
    library()
    import tensorrt as trt

    log = logger()
    builder = trt.Builder(log)
    network = builder.create_network(_network_flags(trt.NetworkDefinitionCreationFlag.__members__))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(model.path):
        errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise refused(model, errors or log.said)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    for name in _builder_flags(recipe):
        config.set_flag(trt.BuilderFlag.__members__[name])
    config.set_timing_cache(config.create_timing_cache(timings), ignore_mismatch=False)
    for profile in _profiles(builder, network, recipe):
        config.add_optimization_profile(profile)
    plan: Any = builder.build_serialized_network(network, config)
    if plan is None:
        raise refused(model, log.said)
    after: Any = config.get_timing_cache().serialize()
    return bytes(plan), bytes(after)


def logger() -> Any:
    """A logger that prints nothing and keeps what went wrong in `said`."""
    import tensorrt as trt

    severities = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)

    class Log(trt.ILogger):  # type: ignore[misc]  # known only where tensorrt is installed
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.said: list[str] = []

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity in severities:
                self.said.append(msg)

    return Log()


def _network_flags(members: Mapping[str, Any]) -> int:
    """Strongly typed where this version knows such networks; else with explicit batch."""
    strong = version_of(library().__version__) >= STRONGLY_TYPED
    return 1 << int(members["STRONGLY_TYPED" if strong else "EXPLICIT_BATCH"])


def _builder_flags(recipe: Recipe) -> tuple[str, ...]:
    if version_of(recipe.version) >= STRONGLY_TYPED:
        return ()
    return WEAK_FLAGS[recipe.precision]


def _profiles(
    builder: trt.Builder, network: trt.INetworkDefinition, recipe: Recipe
) -> Iterator[trt.IOptimizationProfile]:
    """For each batch one that is made for it alone; none where nothing is free."""
    import tensorrt as trt

    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    free = [tensor for tensor in inputs if -1 in tensor.shape[:]]
    for index, batch in enumerate(recipe.batches if free else ()):
        profile = builder.create_optimization_profile()
        for tensor in free:
            plain = [batch, *tensor.shape[1:]]
            shape = trt.Dims(recipe.shapes[index][tensor.name] if recipe.shapes else plain)
            profile.set_shape(tensor.name, min=shape, opt=shape, max=shape)
        yield profile


def refused(model: Model, said: Sequence[str]) -> BadFile | OutOfMemory:
    """The error that TensorRT's own words amount to; the first of them says most."""
    text = " ".join((said[0] if said else "It does not say why").split()).rstrip(".")
    if any("out of memory" in line.lower() for line in said):
        return OutOfMemory(
            f"{model.name} does not fit into the memory of the GPU.", "Ask for a smaller batch."
        )
    return BadFile(
        f"TensorRT refuses {model.name}: {text}.",
        "Try another --backend, or another version of TensorRT.",
    )
