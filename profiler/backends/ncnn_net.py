"""A net of ncnn: its tiles held in ncnn's memory, its inferences timed whole or blob by blob.

ncnn has no timer in its package. Its extractor computes what is missing for the blob that it is
asked for, and keeps it; so the blobs of one inference are asked for in order, and a layer has taken
as long as that call, less what such a call takes for a blob that is there already. Blobs are taken
as they are (`type=1`: neither unpacked nor made float32) from an allocator of ours (what comes from
the net's own is copied), and given back before the next call, for a layer copies what it would
overwrite while somebody else holds it (src/net.cpp of ncnn).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnprof.exporters import ncnn as exported
from nnprof.profiler.backends import ncnn_graph
from nnprof.profiler.backends.ncnn_graph import Ran
from nnprof.profiler.backends.refusals import first_line, heard
from nnprof.profiler.backends.watched import Look, Looked
from nnprof.profiler.ports import Arrays
from nnprof.types import Target, Workload

# Option `storage` → what ncnn may keep values in; the file's weights with it.
_HALF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic")
STORAGES = {"fp32": (), "fp16": _HALF, "bf16": ("use_bf16_packed", "use_bf16_storage")}
_AS_IT_IS = 1  # the type that Extractor.extract gives blobs in
_SUPPORTS = "cpu_support_"

_Held = Sequence[tuple[str, Any]]  # ncnn's name of an in- or output, and its matrix


@cache
def library() -> Any:
    """The module.

    Raises:
        Unavailable: it is not installed.
    """
    exported.version()
    import ncnn

    return ncnn


def extensions() -> dict[str, bool]:
    """What it finds of the processor's extensions."""
    module = library()
    names = [name for name in dir(module) if name.startswith(_SUPPORTS)]
    return {name.removeprefix(_SUPPORTS): bool(getattr(module, name)()) for name in names}


class Net:
    """A net and the tiles that it is timed with."""

    def __init__(self, files: exported.Files, workload: Workload, target: Target) -> None:
        self._model, self._sides = workload.model, files.batch_sides
        self._net = library().Net()
        _set(self._net.opt, target)
        with heard(2) as said:
            failed = self._net.load_param(str(files.layers)) or self._net.load_model(
                str(files.weights)
            )
        if failed:
            raise RuntimeError(first_line(said[0]))
        self._bound: _Held = ()
        self._outputs = [(f"out{at}", library().Mat()) for at in range(len(self._model.outputs))]
        self._numbers = {blob.name: at for at, blob in enumerate(self._net.blobs())}
        self._allocator = library().PoolAllocator()

    def bind(self, tiles: Arrays) -> None:
        """Time these from now on."""
        self._bound = self.held(tiles)

    def held(self, tiles: Arrays) -> _Held:
        """The inputs in memory of ncnn's own, where all numbers have 32 bits."""
        held = []
        for at, one in enumerate(self._model.inputs):
            name, array = f"in{at}", tiles[one.name]
            kind = np.float32 if np.issubdtype(array.dtype, np.floating) else np.int32
            array = array.astype(kind, copy=False)
            held.append((name, library().Mat(array, **self._batch(name)).clone()))
        return held

    def _batch(self, name: str) -> dict[str, int]:
        side = self._sides.get(name)
        return {} if side is None else {"batch_index": side}

    def loop(self, loops: int) -> float:
        """Seconds of so many inferences on the bound tiles."""
        create, bound, outputs = self._net.create_extractor, self._bound, self._outputs
        failed = 0
        start = perf_counter()
        for _ in range(loops):
            extractor = create()
            for name, mat in bound:
                failed |= extractor.input(name, mat)
            for name, mat in outputs:
                failed |= extractor.extract(name, mat)
            del extractor
        seconds = perf_counter() - start
        _require_done(failed)
        return seconds

    def run(self, held: _Held) -> list[NDArray[Any]]:
        """The outputs, in the model's order."""
        extractor, made = self._begun(held), []
        for name, mat in self._outputs:
            _require_done(extractor.extract(name, mat))
            made.append(np.array(mat.numpy(**self._batch(name))))
        return made

    def _begun(self, held: _Held) -> Any:
        extractor = self._net.create_extractor()
        for name, mat in held:
            _require_done(extractor.input(name, mat))
        return extractor

    def layers(self) -> list[Ran]:
        """Those that an inference runs, in order, with the shapes that the bound tiles give."""
        every, outputs = self._net.layers(), {self._numbers[name] for name, _ in self._outputs}
        wanted, kept = outputs, []
        for one in reversed(every):
            if one.type != "Input" and wanted & set(one.tops):
                wanted = wanted | set(one.bottoms)
                kept.append(one)
        extractor, mat, seen = self._watched_extractor(), library().Mat(), {}
        for number in [self._numbers[name] for name, _ in self._bound]:
            seen[number] = self._seen(extractor, number, mat)
        for one in reversed(kept):
            for top in one.tops:
                seen[top] = self._seen(extractor, top, mat)
        return [
            Ran(one.name, one.type, tuple(one.bottoms), tuple(one.tops),
                tuple(seen[at] for at in one.bottoms), tuple(seen[at] for at in one.tops))
            for one in reversed(kept)
        ]  # fmt: skip

    def _seen(self, extractor: Any, number: int, mat: Any) -> ncnn_graph.Blob:
        """A blob of an inference: its shape with the batch before it, and how values are kept."""
        _require_done(extractor.extract(number, mat, _AS_IT_IS))
        sides = {1: (mat.w,), 2: (mat.h, mat.w), 3: (mat.c, mat.h, mat.w)}.get(
            mat.dims, (mat.c, mat.d, mat.h, mat.w)
        )
        batch = (mat.n,) if self._sides else ()
        shape = (*batch, sides[0] * mat.elempack, *sides[1:])
        found = ncnn_graph.Blob(shape, mat.elempack, mat.elembits())
        mat.release()
        return found

    def ends(self) -> ncnn_graph.Ends:
        """The ONNX tensors of the blobs that the network begins and ends with."""
        begins = {self._numbers[f"in{at}"]: one.name for at, one in enumerate(self._model.inputs)}
        ends = {self._numbers[f"out{at}"]: one.name for at, one in enumerate(self._model.outputs)}
        return begins, ends

    def _watched_extractor(self) -> Any:
        extractor = self._net.create_extractor()
        extractor.set_blob_allocator(self._allocator)
        for name, mat in self._bound:
            _require_done(extractor.input(name, mat))
        return extractor

    def watched(self, tops: Sequence[int], look: Look) -> Looked:
        """One inference blob by blob, and how long each call for one took."""
        start = look()
        extractor, mat, times = self._watched_extractor(), library().Mat(), []
        extract, release, failed = extractor.extract, mat.release, 0
        for top in tops:
            begun = look()
            failed |= extract(top, mat, _AS_IT_IS)
            times.append(look() - begun)
            release()
        seconds = look() - start
        _require_done(failed)
        return Looked(seconds, times)

    def idle(self, tops: Sequence[int], look: Look) -> Looked:
        """The same with as many calls for a blob that is there already: the first input."""
        return self.watched([self._numbers[self._bound[0][0]]] * len(tops), look)


def _set(options: Any, target: Target) -> None:
    """Ncnn's defaults, but for threads and for what values are kept in."""
    options.num_threads = target.threads
    options.use_vulkan_compute = False
    allowed = STORAGES[target.options.get("storage", "fp32")]
    for name in chain(*STORAGES.values()):
        setattr(options, name, name in allowed)


def _require_done(code: int) -> None:
    if code == -100:  # src/net.cpp: a blob could not be allocated
        raise MemoryError
    if code:
        raise RuntimeError(f"an inference ended with code {code}")
