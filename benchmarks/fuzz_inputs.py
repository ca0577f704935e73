"""What `fuzz.py` feeds: the project's own files, and changed copies of them."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
Example = dict[str, bytes]  # name of a file → content

_NUMBERS = (0, -1, 1, 2, 255, 2**31, 2**63, 10**20, 10**30, -0.5, 1e-300, 1e308, -1e308)
_WORDS = ("", "x", "\x1b[31m", "[/x]", "=1", "../../x", "nan", "?", "a\nb", "\u202e", "9" * 400)
_WRONG = (None, True, [], {}, [[]], {"": None}, *_NUMBERS, *_WORDS)
_TOKENS = (
    *(b"nan", b"inf", b"-1", b"0", b"1e999", b"9" * 30, b"9" * 5000, b"", b"\0", b"\xff", b"\n"),
    *(b'"', b",", b";", b"{", b"[" * 2000, b"\xef\xbb\xbf", b"\r", b"\t", b"%s", b"PK", b"-", b"e"),
)


def mutated(seeds: tuple[Example, ...], random: Random) -> Example:
    """A changed copy of one of the examples; now and then of two files, or unchanged."""
    example = dict(random.choice(seeds))
    for name in random.sample(sorted(example), k=min(len(example), random.choice((1, 1, 1, 2)))):
        example[name] = _changed(name, example[name], random)
    return example


def _changed(name: str, data: bytes, random: Random) -> bytes:
    ways: list[Callable[[bytes, Random], bytes]] = [_bytes]
    if name.endswith(".json"):
        ways += [_json, _json, _json]
    elif name.endswith((".csv", ".toml", ".log", ".txt")):
        ways += [_text, _text]
    elif name.endswith(".gz"):
        ways += [_unpacked, _unpacked]
    elif name.endswith(".npz"):
        ways += [_inside, _inside]
    elif name.endswith(".onnx"):
        ways += [_proto, _proto, _proto]
    elif name.endswith(".safetensors"):
        ways += [_header]
    return random.choice(ways)(data, random)


def _bytes(data: bytes, random: Random) -> bytes:
    """Bits, bytes, stretches: turned, written over, cut out, doubled, cut off."""
    new = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        at, much = random.randrange(len(new) + 1), random.choice((1, 2, 4, 8, 64, 1000))
        way = random.randrange(6)
        if way == 0 and at < len(new):
            new[at] ^= 1 << random.randrange(8)
        elif way == 1:
            new[at : at + much] = random.randbytes(min(much, len(new) - at))
        elif way == 2:
            del new[at : at + much]
        elif way == 3:
            new[at:at] = new[at : at + much]
        elif way == 4:
            new[at : at + random.choice((0, 1, 4))] = random.choice(_TOKENS)
        elif random.random() < 0.3:
            del new[at:]
    return bytes(new)


def _text(data: bytes, random: Random) -> bytes:
    """Words and numbers become others; lines come twice, go, or change places."""
    lines = data.split(b"\n")
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(lines))
        way = random.randrange(5)
        if way == 0:
            lines.insert(at, random.choice(lines))
        elif way == 1 and len(lines) > 1:
            del lines[at]
        else:
            split = next((c for c in (b";", b"\t", b",", b" ") if c in lines[at]), b"=")
            words = lines[at].split(split)
            words[random.randrange(len(words))] = random.choice(
                (
                    *_TOKENS,
                    *(str(one).encode() for one in _WRONG),
                    *random.choice(lines).split(split),
                )
            )
            lines[at] = split.join(words)
    return b"\n".join(lines)


def _json(data: bytes, random: Random) -> bytes:
    """A key or a value somewhere becomes another, goes, comes twice, or is one from elsewhere."""
    try:
        whole = json.loads(data, strict=False)
    except ValueError:  # some of trtexec's own are none
        return _text(data, random)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        places = list(_places(whole))
        if not places:
            break
        # Places near the root are few, and matter most.
        depth = random.choice(sorted({len(place) for place in places}))
        *way, last = random.choice([place for place in places if len(place) == depth])
        inside = whole
        for step in way:
            inside = inside[step]
        _replace(inside, last, whole, places, random)
    return json.dumps(whole).encode()


def _replace(inside: Any, key: Any, whole: Any, places: list[Any], random: Random) -> None:
    what = random.randrange(8)
    if what == 0:
        del inside[key]
    elif what == 1 and isinstance(inside, list):
        inside.insert(key, inside[key])
    elif what == 1:
        inside[random.choice(_WORDS)] = inside[key]
    elif what == 2:
        value = whole
        for step in random.choice(places):
            value = value[step]
        inside[key] = json.loads(json.dumps(value))
    elif isinstance(inside[key], int | float) and what < 6:
        inside[key] = random.choice(_NUMBERS)
    else:
        inside[key] = json.loads(json.dumps(random.choice(_WRONG)))


def _places(value: Any, way: tuple[Any, ...] = ()) -> Any:
    keys = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in keys:
        yield (*way, key)
        if isinstance(inner, dict | list):
            yield from _places(inner, (*way, key))


def _unpacked(data: bytes, random: Random) -> bytes:
    inner = gzip.decompress(data)
    return gzip.compress(random.choice((_bytes, _text))(inner, random), 1)


def _inside(data: bytes, random: Random) -> bytes:
    """An archive that is whole, with a file in it that is not."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w") as new:
        names = old.namelist()
        chosen = random.choice(names)
        for name in names:
            content = old.read(name)
            if name == chosen:
                head = content[:200] if random.random() < 0.7 else content
                content = _bytes(head, random) + content[len(head) :]
            if random.random() < 0.95:
                new.writestr(random.choice((name, name, name, "x.npy", "x")), content)
    return target.getvalue()


def _header(data: bytes, random: Random) -> bytes:
    """A safetensors file with another header, whose length is right."""
    size = int.from_bytes(data[:8], "little")
    header = _json(data[8 : 8 + size], random)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def _proto(data: bytes, random: Random) -> bytes:
    """A model that is one to protobuf, with nodes, shapes, types and names changed."""
    import onnx

    model = onnx.ModelProto.FromString(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        _node(model.graph, random) if random.random() < 0.5 else _value(model, random)
    return model.SerializeToString()


def _node(graph: Any, random: Random) -> None:
    node = random.choice(graph.node)
    names = [name for one in graph.node for name in (*one.input, *one.output)] or [""]
    way = random.randrange(7)
    if way == 0:
        node.op_type = random.choice(("", "Konv", "If", "Loop", "Relu", "Reshape", "Cast", "Gemm"))
    elif way == 1 and node.input:
        node.input[random.randrange(len(node.input))] = random.choice([*names, "", "x"])
    elif way == 2 and node.output:
        node.output[random.randrange(len(node.output))] = random.choice([*names, ""])
    elif way == 3 and node.attribute:
        attribute = random.choice(node.attribute)
        attribute.i = random.choice((0, -1, 1, 2**31, -(2**63)))
        if attribute.ints:
            at = random.randrange(len(attribute.ints))
            attribute.ints[at] = random.choice((0, -1, 1000, 2**62))
    elif way == 4:
        node.domain = random.choice(("", "my.own", "com.microsoft", "ai.onnx.ml"))
    elif way == 5:
        graph.node.remove(node)
    else:
        node.name = random.choice(("", *names, "\x1b[31m[/x]|"))
        graph.node.append(node)


def _value(model: Any, random: Random) -> None:
    graph = model.graph
    way = random.randrange(6)
    if way == 0 and graph.initializer:
        tensor = random.choice(graph.initializer)
        tensor.data_type = random.choice((0, 1, 2, 6, 7, 8, 10, 11, 16, 99))
    elif way == 1 and graph.initializer:
        tensor = random.choice(graph.initializer)
        if tensor.dims:
            tensor.dims[random.randrange(len(tensor.dims))] = random.choice((0, -1, 1, 2**40))
    elif way == 2 and graph.initializer:
        graph.initializer.remove(random.choice(graph.initializer))
    elif way == 3:
        model.ir_version = random.choice((0, 3, 4, 99, 2**40))
        for opset in model.opset_import:
            opset.version = random.choice((0, 1, 7, 13, 18, 99, -1))
    elif way == 4:
        value = random.choice([*graph.input, *graph.output])
        value.type.tensor_type.elem_type = random.choice((0, 1, 2, 7, 8, 10, 99))
        value.name = random.choice((value.name, "", "x"))
    else:
        value = random.choice([*graph.input, *graph.output])
        sides = value.type.tensor_type.shape.dim
        if sides:
            side = random.choice(sides)
            side.dim_value = random.choice((0, -1, 1, 3, 2**40))
            if random.random() < 0.4:
                side.dim_param = random.choice(("", "N", "?", "\x1b[31m"))


# --- the examples ---------------------------------------------------------------------------------


@cache
def examples(reader: str) -> tuple[Example, ...]:
    """The files that a reader is fed with, by reader."""
    found: tuple[Example, ...] = _EXAMPLES[reader]()
    return found


def _file(path: Path, name: str = "") -> Example:
    return {name or path.name: path.read_bytes()}


def _runs() -> tuple[Example, ...]:
    kept = sorted((ROOT / "bench_results").glob("*.json"), key=lambda path: path.stat().st_size)
    small = [path for path in kept if path.stat().st_size < 100_000][:6]
    paths = [DATA / "run-v1.json", *small, *sorted((DATA / "import").glob("*-run.json"))]
    return tuple(_file(path, "run.json") for path in paths)


def _studies() -> tuple[Example, ...]:
    cells = [{"network": "1x28x28 conv20k5 pool2 fc10", "batch": 16, "why": "conv, error"}] * 3
    study = {"schema": 1, "name": "plan", "cells": cells}
    return ({"study.json": json.dumps(study).encode()},)


def _models() -> tuple[Example, ...]:
    published = sorted((ROOT / "profiler" / "costmodel").glob("*.json"))
    return tuple(_file(path, "model.json") for path in published)


def _tables() -> tuple[Example, ...]:
    table = (DATA / "import" / "table.csv").read_bytes()
    return (
        {"table.csv": table},
        {"table.csv": table.replace(b",", b";")},
        {"table.csv.gz": gzip.compress(table)},
    )


def _profiles() -> tuple[Example, ...]:
    return (_file(DATA / "ort-profile.json", "profile.json"),)


def _exports() -> tuple[Example, ...]:
    folders = sorted(path for path in (DATA / "trtexec").iterdir() if path.is_dir())
    return tuple(
        {path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))}
        for folder in folders
    )


def _arrays() -> tuple[Example, ...]:
    import numpy as np

    tiles = np.arange(4 * 28 * 28, dtype=np.uint8).reshape(4, 1, 28, 28)
    one, two, three = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(one, tiles.astype(np.float32))
    np.savez(two, tiles=tiles, labels=np.arange(4))
    np.savez_compressed(three, tiles=tiles, labels=np.arange(4))
    return tuple(
        {name: file.getvalue()}
        for name, file in (("tiles.npy", one), ("tiles.npz", two), ("tiles.npz", three))
    )


def _idx() -> tuple[Example, ...]:
    def packed(kind: int, sides: tuple[int, ...], count: int) -> bytes:
        head = kind.to_bytes(4, "big") + b"".join(side.to_bytes(4, "big") for side in sides)
        return gzip.compress(head + bytes(range(10)) * (count // 10), 1)

    return ({"tiles.gz": packed(0x0803, (10, 4, 4), 160), "labels.gz": packed(0x0801, (10,), 10)},)


def _checkpoints() -> tuple[Example, ...]:
    import numpy as np
    from safetensors.numpy import save

    from nnprof.networks import bundled

    record = json.loads(bundled.record_path().read_bytes())
    weights = {"0.weight": np.zeros((2, 3), np.float32), "normalisation.mean": np.zeros((1, 1, 1))}
    weights["normalisation.std"] = np.ones((1, 1, 1))
    text = json.dumps(record)
    state = save(weights, {"record": text})
    return (
        {
            "record.json": text.encode(),
            "weights.safetensors": save(weights),
            "state.safetensors": state,
        },
    )


def _boards() -> tuple[Example, ...]:
    text = (
        '[orin]\nhost = "me@orin.local"\nport = 22\npython = "~/venv/bin/python"\n'
        'power_mode = "15W"\n[tx2]\nhost = "tx2"\ndevice = "jetson"\nbackend = "trtexec"\n'
        '[tx2.options]\nengines = "3"\n'
    )
    return ({"devices.toml": text.encode()},)


def _locks() -> tuple[Example, ...]:
    return ({"lock.txt": b"1763719800 1763719000 me@desk (process 4711)\n"},)


def _answers() -> tuple[Example, ...]:
    from fuzz_readers import answers

    return tuple({"answer.json": answer} for answer in answers())


def _caches() -> tuple[Example, ...]:
    from fuzz_readers import caches

    limits, effect = caches()
    return ({"roofline.json": limits, "effect.json": effect},)


def _systems() -> tuple[Example, ...]:
    from fuzz_readers import systems

    return tuple({"system.txt": text} for text in systems())


def _networks() -> tuple[Example, ...]:
    from fuzz_readers import networks

    return tuple({"net.onnx": data} for data in networks())


_EXAMPLES: dict[str, Callable[[], tuple[Example, ...]]] = {
    "run": _runs,
    "study": _studies,
    "model": _models,
    "table": _tables,
    "ort": _profiles,
    "trtexec": _exports,
    "arrays": _arrays,
    "idx": _idx,
    "checkpoint": _checkpoints,
    "boards": _boards,
    "lock": _locks,
    "answer": _answers,
    "cache": _caches,
    "system": _systems,
    "onnx": _networks,
}
