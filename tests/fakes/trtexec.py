"""A stand-in for NVIDIA's trtexec: its flags, its messages and its files, for versions 8 to 11.

It computes real outputs by ONNX's reference and makes up times that follow from the model, the
flags and the engine's seed. Flags that a version does not know are refused as it refuses them.
Formats and flags: NVIDIA/TensorRT, samples/common at v8.6.1, v10.3.0 and v11.1 (sampleOptions.cpp,
sampleReporting.cpp, sampleInference.cpp, sampleDevice.cpp, logging.h).

`install` writes it as a program of one file, so that it can stand on a fake board.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import random
import signal
import stat
import sys
import time
from pathlib import Path
from typing import Any

SETTINGS: dict[str, Any] = {}
DEFAULTS = {"version": "10.3.0", "device": "Orin", "compute": "8.7", "fault": "", "fault_batch": 0}
FAULTS = ("", "no_device", "build", "memory", "crash", "hang")

_MODEL = "onnx saveEngine loadEngine minShapes optShapes maxShapes shapes"
_BUILD = "profilingVerbosity timingCacheFile noTF32 memPoolSize builderOptimizationLevel"
_RUN = (
    "iterations duration warmUp idleTime exposeDMA noDataTransfers useSpinWait useCudaGraph "
    "separateProfileRun loadInputs infStreams avgRuns percentile device verbose"
)
_EXPORT = "exportTimes exportProfile exportLayerInfo exportOutput dumpProfile dumpLayerInfo"
_DLA = "useDLACore allowGPUFallback"
_COMMON = {*_MODEL.split(), *_BUILD.split(), *_RUN.split(), *_EXPORT.split(), *_DLA.split()}
_NEW_IN_11 = {"includeDataTransfers", "noSpinWait", "noCudaGraph", "stronglyTyped"}
_KERNEL_S, _WEIGHT_S, _CALL_S, _GRAPH_S, _COPY_S = 3e-6, 2e-13, 10e-6, 3e-6, 8e-6


def install(folder: Path, **settings: Any) -> Path:
    """Write the program `trtexec` into a folder, as a board of such settings has it.

    Args:
        folder: it is made if need be.
        settings: version ("10.3.0"), device ("Orin"), compute ("8.7"), fault (one of FAULTS) and
            fault_batch (0: at every batch).
    """
    unknown = set(settings) - set(DEFAULTS)
    if unknown or settings.get("fault", "") not in FAULTS:
        raise ValueError(f"unknown settings {settings}")
    source = Path(__file__).read_text(encoding="utf-8")
    line = "SETTINGS: dict[str, Any] = {}\n"
    filled = source.replace(line, f"SETTINGS: dict[str, Any] = {settings!r}\n", 1)
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "trtexec"
    program.write_text(f"#!{sys.executable}\n{filled}", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return program


# --- the program ----------------------------------------------------------------------------------


def setting(name: str) -> Any:
    """What this board is like."""
    return SETTINGS.get(name, DEFAULTS[name])


def version() -> tuple[int, int, int]:
    """Of TensorRT: (10, 3, 0)."""
    major, minor, patch = map(int, setting("version").split("."))
    return major, minor, patch


def banner() -> str:
    """8.6.1 → v8601; 10.3.0 → v100300; since 10.4 with the build."""
    major, minor, patch = version()
    number = major * 1000 + minor * 100 + patch
    if major >= 10:
        number = major * 10000 + minor * 100 + patch
    build = " [b26]" if version() >= (10, 4, 0) else ""
    return f"TensorRT.trtexec [TensorRT v{number}]{build}"


def flags() -> set[str]:
    """Those that this version knows, without the dashes."""
    major, minor, _ = version()
    known = set(_COMMON)
    if major < 11:
        known |= {"fp16", "int8", "best"}
    if (major, minor) >= (8, 6):
        known.add("skipInference")
    else:
        known -= {"infStreams", "builderOptimizationLevel"}
        known |= {"streams"}
    if major < 10:
        known |= {"buildOnly", "explicitBatch", "workspace", "nvtxMode"}
    if major >= 10:
        known.add("stronglyTyped")
    return known | _NEW_IN_11 if major >= 11 else known


def say(level: str, text: str) -> None:
    """A line of the log; warnings and errors go to stderr."""
    stream = sys.stdout if level == "I" else sys.stderr
    now = time.strftime("%m/%d/%Y-%H:%M:%S")
    stream.write(f"[{now}] [{level}] {text}\n")


class Refused(Exception):
    """The run fails; the messages have been said."""


def fail(*lines: str) -> Refused:
    """Say what TensorRT says, and give up."""
    for line in lines:
        say("E", line)
    return Refused()


def main() -> int:
    """Parse, build or load, infer, export."""
    command = " ".join(["trtexec", *sys.argv[1:]])
    sys.stdout.write(f"&&&& RUNNING {banner()} # {command}\n")
    pairs = [word.partition("=") for word in sys.argv[1:]]
    options = {name.removeprefix("--"): value for name, _, value in pairs}
    if not options or "help" in options:
        sys.stdout.write("=== Model Options ===\n  --onnx=<file>  ONNX model\n")
        return 0
    unknown = [name for name in options if name not in flags()]
    if unknown:
        sys.stdout.write("=== Model Options ===\n  --onnx=<file>  ONNX model\n")
        for name in unknown:
            say("E", f"Unknown option: --{name} {options[name]}")
    try:
        if unknown:
            raise Refused
        run(options)
    except Refused:
        sys.stdout.write(f"&&&& FAILED {banner()} # {command}\n")
        return 1
    sys.stdout.write(f"&&&& PASSED {banner()} # {command}\n")
    return 0


def run(options: dict[str, str]) -> None:
    """What a call with such options does."""
    if setting("fault") == "no_device":
        raise fail("Cuda failure: no CUDA-capable device is detected")
    say("I", "=== Device Information ===")
    say("I", f"Selected Device: {setting('device')}")
    say("I", f"Compute Capability: {setting('compute')}")
    say("I", "")
    say("I", f"TensorRT version: {setting('version')}")
    engine = load(options) if "loadEngine" in options else build(options)
    if "skipInference" in options or "buildOnly" in options:
        export_layers(options, engine, {})
        return
    shapes = shapes_of(options.get("shapes", "")) or engine["shapes"]
    infer(options, engine, shapes)


def misbehave(batch: int) -> None:
    """The fault that was asked for, where it was asked for."""
    fault = setting("fault")
    if setting("fault_batch") not in (0, batch):
        return
    if fault == "build":
        raise fail(
            "[optimizer.cpp::computeCosts::4048] Error Code 10: Internal Error "
            "(Could not find any implementation for node conv0.)",
            "Engine could not be created from network",
            "Engine set up failed",
        )
    if fault == "memory":
        raise fail(
            "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)",
            "Engine set up failed",
        )
    if fault == "crash":
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "hang":
        sys.stdout.flush()
        time.sleep(3600)


# --- engines --------------------------------------------------------------------------------------


def shapes_of(spec: str) -> dict[str, list[int]]:
    """`a:1x2,'b:0':3` → sizes by name."""
    shapes = {}
    for part in spec.split(",") if spec else ():
        name, _, sizes = part.rpartition(":")
        shapes[name.strip("'")] = [int(size) for size in sizes.split("x")]
    return shapes


def build(options: dict[str, str]) -> dict[str, Any]:
    """Parse the ONNX file; what comes out depends on the timing cache, else on chance."""
    import onnx

    path = options.get("onnx", "")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise fail(f"Failed to parse onnx file: {text}", "Parsing model failed") from error
    shapes = shapes_of(options.get("optShapes", ""))
    fixed = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in model.graph.input
    }
    free = [name for name, shape in fixed.items() if 0 in shape and name not in shapes]
    if free:
        say("W", f"Dynamic dimensions required for input: {free[0]}, but no shapes were provided.")
    shapes = {
        name: shapes.get(name, [side or 1 for side in shape]) for name, shape in fixed.items()
    }
    misbehave(next(iter(shapes.values()))[0])
    cache = Path(options["timingCacheFile"]) if options.get("timingCacheFile") else None
    if cache and cache.is_file():
        seed = int(cache.read_text(encoding="ascii"))
    else:
        seed = random.SystemRandom().randrange(2**32)
        if cache:
            cache.write_text(str(seed), encoding="ascii")
    engine = {
        "version": setting("version"),
        "device": setting("device"),
        "onnx": base64.b64encode(model.SerializeToString()).decode(),
        "shapes": shapes,
        "detailed": options.get("profilingVerbosity") == "detailed",
        "half": "fp16" in options or _has_half(model),
        "seed": seed,
    }
    if "saveEngine" in options:
        Path(options["saveEngine"]).write_text(json.dumps(engine), encoding="ascii")
    return engine


def _has_half(model: Any) -> bool:
    return any(tensor.data_type == 10 for tensor in model.graph.initializer)


def load(options: dict[str, str]) -> dict[str, Any]:
    """An engine file, if it was built here."""
    path = Path(options["loadEngine"])
    if not path.is_file():
        raise fail(f"Error opening engine file: {path}", "Failed to create engine from model")
    try:
        engine: dict[str, Any] = json.loads(path.read_text(encoding="ascii"))
    except ValueError:
        engine = {}
    if engine.get("version") != setting("version"):
        raise fail(
            "[stdArchiveReader.cpp::stdArchiveReaderInitCommon::46] Error Code 1: Serialization "
            "(Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed.)",
            "Engine deserialization failed",
        )
    if engine["device"] != setting("device"):
        raise fail(
            "[engine.cpp::deserializeEngine::1233] Error Code 2: Internal Error (Engine was built "
            "on a GPU of another compute capability)",
            "Engine deserialization failed",
        )
    return engine


def layers_of(engine: dict[str, Any], shapes: dict[str, list[int]]) -> list[dict[str, Any]]:
    """The ONNX nodes, fused as TensorRT likes to, with made-up seconds each."""
    import onnx

    model = onnx.load_from_string(base64.b64decode(engine["onnx"]))
    for value in model.graph.input:
        for side, size in zip(
            value.type.tensor_type.shape.dim, shapes.get(value.name, []), strict=False
        ):
            side.dim_value = size
    inferred = onnx.shape_inference.infer_shapes(model)
    known = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for values in (inferred.graph.input, inferred.graph.value_info, inferred.graph.output)
        for value in values
    }
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    groups: list[list[Any]] = []
    for node in model.graph.node:
        follows = groups and groups[-1][-1].output[0] in node.input
        weighty = groups and groups[-1][0].op_type in {"Conv", "Gemm", "MatMul"}
        if follows and weighty and node.op_type in {"Relu", "Add"}:
            groups[-1].append(node)
        else:
            groups.append([node])
    level = random.Random(engine["seed"])  # noqa: S311  repeatable, not secret
    layers = [_layer(group, known, weights, level) for group in groups]
    first = layers[0]
    copy = {
        **first,
        "name": f"Reformatting CopyNode for Input Tensor 0 to {first['name']}",
        "type": "Reformat",
        "nodes": [],
        "outputs": first["inputs"],
        "seconds": _KERNEL_S,
        "extra": {"ParameterType": "Reformat", "Origin": "REFORMAT"},
    }
    speed = 0.6 if engine["half"] else 1.0
    return [{**layer, "seconds": layer["seconds"] * speed} for layer in (copy, *layers)]


def _layer(
    group: list[Any], known: dict[str, list[int]], weights: dict[str, list[int]], level: Any
) -> dict[str, Any]:
    first, names = group[0], [node.name for node in group if node.name]
    own = [weights[name] for name in first.input if name in weights]
    inputs = [(name, known.get(name, [])) for name in first.input if name and name not in weights]
    outputs = [(name, known.get(name, [])) for name in group[-1].output]
    count = math.prod(own[0]) if own else 0
    types = {"Conv": "CaskConvolution", "MaxPool": "CudaPooling", "Softmax": "SoftMax"}
    kind = types.get(first.op_type, "kgen" if version() >= (10, 0, 0) else "PluginV2")
    extra: dict[str, Any] = {}
    if first.op_type == "Conv":
        extra = {
            "ParameterType": "Convolution",
            "Kernel": own[0][2:],
            "Groups": 1,
            "Weights": {"Type": "Float", "Count": count},
        }
    elif first.op_type in {"Gemm", "MatMul"} and kind != "kgen":
        kind, extra = "MatrixMultiply", {"ParameterType": "MatrixMultiply"}
    elif first.op_type in {"Gemm", "MatMul"}:
        kind = "gemm"
    name = " + ".join(names) or f"node_of_{group[-1].output[0]}"
    if version() >= (10, 0, 0) and kind in {"kgen", "gemm"}:
        name = f"__myl_{first.op_type}_myl0_{len(names)}_{name}"
    work = math.prod(outputs[0][1] or [1]) * max(1, count // 100)
    return {
        "name": name,
        "type": kind,
        "nodes": names,
        "inputs": inputs,
        "outputs": outputs,
        "extra": extra,
        "seconds": (_KERNEL_S + work * _WEIGHT_S) * level.uniform(0.9, 1.1),
    }


# --- inference ------------------------------------------------------------------------------------


def infer(options: dict[str, str], engine: dict[str, Any], shapes: dict[str, list[int]]) -> None:
    """Times, outputs, layers, profile: each only where it was asked for."""
    misbehave(next(iter(shapes.values()))[0])
    layers = layers_of(engine, shapes)
    export_layers(options, engine, shapes)
    say("I", "Starting inference")
    profiled = "exportProfile" in options or "dumpProfile" in options
    separate = version() >= (11, 0, 0) or "separateProfileRun" in options
    if profiled and not separate:
        say("I", "The e2e network timing is not reported since it is inaccurate due to the extra ")
    elif "exportTimes" in options:
        write(options["exportTimes"], rows(trace(options, engine, layers)))
    if "exportOutput" in options:
        export_output(options, engine, shapes)
    if "exportProfile" in options:
        export_profile(options, engine, layers)


def has(options: dict[str, str], old: str, new: str) -> bool:
    """Whether something is on: in 11 unless `new` takes it off, before only if `old` says so."""
    return new not in options if version() >= (11, 0, 0) else old in options


def trace(
    options: dict[str, str], engine: dict[str, Any], layers: list[dict[str, Any]]
) -> list[dict[str, float]]:
    """One entry per inference, in milliseconds since the start; warm-up left out."""
    graph = has(options, "useCudaGraph", "noCudaGraph")
    copies = not has(options, "noDataTransfers", "includeDataTransfers")
    serial = "exposeDMA" in options
    idle_ms = float(options.get("idleTime", 0))
    warm_ms = float(options.get("warmUp", 200))
    limit_ms = float(options.get("duration", 3)) * 1e3 + warm_ms
    least = int(options.get("iterations", 10))
    chance = random.Random(os.getpid())  # noqa: S311  not secret
    base_ms = 1e3 * (sum(layer["seconds"] for layer in layers) + (_GRAPH_S if graph else _CALL_S))
    copy_ms = 1e3 * _COPY_S if copies else 0.0
    now_ms, cold, warm, result = 1.0, 12.0, 0, []
    while len(result) < least + warm or now_ms < limit_ms:
        slow = 1.2 if idle_ms else 1.0
        compute_ms = base_ms * slow * cold * math.exp(chance.gauss(0, 0.01))
        cold = 1 + (cold - 1) / 3
        up, start = now_ms, now_ms + copy_ms
        end = start + compute_ms
        queued = up - (0 if serial else base_ms)  # without exposeDMA one is enqueued ahead
        entry = {"startEnqMs": queued, "endEnqMs": queued + 0.4 * base_ms}
        entry |= {"startH2dMs": up, "endH2dMs": start, "startComputeMs": start, "endComputeMs": end}
        entry |= {"startD2hMs": end, "endD2hMs": end + copy_ms}
        entry |= {"h2dMs": copy_ms, "computeMs": compute_ms, "d2hMs": copy_ms}
        entry |= {"latencyMs": compute_ms + 2 * copy_ms}
        warm += now_ms < warm_ms
        result.append(entry)
        now_ms = end + copy_ms + (0.002 if serial else 0)
        now_ms += idle_ms if now_ms >= warm_ms else 0  # no pauses while it warms up
    return result[warm:]


def number(value: float) -> str:
    """As C++ streams write it: six digits."""
    return f"{value:.6g}"


def rows(entries: list[dict[str, float]]) -> str:
    """As `exportJSONTrace` writes them."""
    lines = [
        "{ " + ", ".join(f'"{name}" : {number(value)}' for name, value in entry.items()) + " }"
        for entry in entries
    ]
    return "[\n  " + "\n, ".join(lines) + "\n]\n"


def write(path: str, text: str) -> None:
    """As an ofstream does: a path that cannot be opened is passed over in silence."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError:
        return


def export_profile(
    options: dict[str, str], engine: dict[str, Any], layers: list[dict[str, Any]]
) -> None:
    """As `Profiler::exportJSONProfile` writes it; sums are longer than without the profiler."""
    total_ms = 1e3 * sum(layer["seconds"] for layer in layers)
    limit_ms = float(options.get("duration", 3)) * 1e3
    count = max(int(options.get("iterations", 10)), int(limit_ms / (1.5 * total_ms)))
    lines = [f'  {{ "count" : {count} }}']
    for layer in layers:
        mean_ms = 1e3 * layer["seconds"] + 2e-3
        fields = {
            "timeMs": mean_ms * count,
            "averageMs": mean_ms,
            "medianMs": mean_ms * 0.99,
            "percentage": 100 * layer["seconds"] * 1e3 / total_ms,
        }
        values = ", ".join(f'"{name}" : {number(value)}' for name, value in fields.items())
        lines.append(f', {{ "name" : "{layer["name"]}", {values} }}')
    write(options["exportProfile"], "[\n" + "\n".join(lines) + "\n]\n")


def export_layers(
    options: dict[str, str], engine: dict[str, Any], shapes: dict[str, list[int]]
) -> None:
    """As the engine inspector writes them: names alone, unless the engine was built detailed."""
    if "exportLayerInfo" not in options:
        return
    layers = layers_of(engine, shapes or engine["shapes"])
    names = [layer["name"] for layer in layers]
    ports = [name for name, _ in (*layers[0]["inputs"], *layers[-1]["outputs"])]
    data: dict[str, Any] = {"Layers": names}
    if engine["detailed"]:
        data["Layers"] = [_described(layer, engine["half"]) for layer in layers]
    if version() >= (11, 0, 0):
        data["I/O Tensors"] = [{"Name": name} for name in ports]
    else:
        data["Bindings"] = ports
    write(options["exportLayerInfo"], json.dumps(data, indent=1, ensure_ascii=False))


def _described(layer: dict[str, Any], half: bool) -> dict[str, Any]:
    word = "Half" if half else "Float"

    def tensors(ports: list[tuple[str, list[int]]]) -> list[dict[str, Any]]:
        form = f"Row major linear {'FP16' if half else 'FP32'} format"
        kind = {"Format/Datatype": form}
        if version() >= (11, 0, 0):
            kind = {"Format": "Row major linear format", "DataType": word}
        place = {"Location": "Device"}
        return [{"Name": name, **place, "Dimensions": shape, **kind} for name, shape in ports]

    metadata = "\x1e".join(f"[ONNX Layer: {name}]" for name in layer["nodes"])
    described = {
        "Name": layer["name"],
        "LayerType": layer["type"],
        "Inputs": tensors(layer["inputs"]),
        "Outputs": tensors(layer["outputs"]),
        **layer["extra"],
        "TacticName": f"sm{setting('compute').replace('.', '')}_stand_in_{word.lower()}",
        "StreamId": 0,
    }
    return described | {"Metadata": metadata} if version() >= (8, 6, 0) else described


def export_output(
    options: dict[str, str], engine: dict[str, Any], shapes: dict[str, list[int]]
) -> None:
    """What the model really computes, by ONNX's reference, as `exportJSONOutput` writes it."""
    import numpy as np
    import onnx
    import onnx.reference

    model = onnx.load_from_string(base64.b64decode(engine["onnx"]))
    files = dict(
        pair.replace("'", "").rsplit(":", 1) for pair in options["loadInputs"].split(",") if pair
    )
    arrays = {}
    for value in model.graph.input:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        raw = Path(files[value.name]).read_bytes()
        arrays[value.name] = np.frombuffer(raw, dtype).reshape(shapes[value.name])
    results = onnx.reference.ReferenceEvaluator(model).run(None, arrays)
    lines = []
    for value, array in zip(model.graph.output, results, strict=True):
        sizes = "x".join(map(str, array.shape))
        values = ", ".join(number(float(one)) for one in array.ravel())
        lines.append(
            f'{{ "name" : "{value.name}"\n  , "dimensions" : "{sizes}"\n  , '
            f'"values" : [ {values} ]\n  }}'
        )
    write(options["exportOutput"], "[\n  " + "\n, ".join(lines) + "\n]\n")


def digest(path: Path) -> str:
    """Of a file, for tests that ask whether two engines are one."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
