"""A worker's job that times nothing: how many labelled tiles a model gets right on its runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnprof.errors import BadFile
from nnprof.exporters.axes import back
from nnprof.profiler import inputs
from nnprof.profiler.ports import Backend
from nnprof.profiler.work.jobs import Score, Scored


def score(job: Score, backend: Backend) -> Scored:
    """Classify the tiles, batch by batch.

    Raises:
        BadFile: the model does not give one row for each tile.
    """
    arrays = inputs.read_data(Path(job.workload.data))
    session = backend.open(job.workload, job.target)
    (tensor,), batch = job.workload.model.inputs, job.workload.batch
    axis, right = job.workload.model.axes.get(tensor.name), 0
    for start in range(0, len(arrays["labels"]), batch):
        labels = arrays["labels"][start : start + batch]
        # The last chunk is filled up, because a session may be bound to its batch.
        chunk = arrays["tiles"][start : start + batch]
        tiles = back(np.resize(chunk, (batch, *chunk.shape[1:])), axis).astype(tensor.dtype)
        (outputs, *_) = session.infer({tensor.name: np.ascontiguousarray(tiles)}).values()
        if axis is not None and outputs.shape[:1] != (batch,):
            raise BadFile(f"{job.workload.model.name} does not give one row for each tile.")
        classes = outputs.reshape(batch, -1).argmax(axis=1)[: len(labels)]
        right += int((classes == labels).sum())
    session.close()
    return Scored(right=right)
