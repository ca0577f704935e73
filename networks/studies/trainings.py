"""A study's trainings: their folders, how long they take, and each in a process of its own.

Below a study's folder lies `study.json`, and for each training CELL/seed0 or CELL/seed0-cuda: the
record and weights of `nnprof train`, or `failure.json` with the reason why there is none.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from logging.handlers import QueueHandler, QueueListener
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from nnprof.documents import Document
from nnprof.errors import NnprofError, UsageError
from nnprof.files import AnyPath, write_atomically
from nnprof.networks import checkpoint, datasets
from nnprof.networks.datasets import Dataset
from nnprof.networks.families import parse_network
from nnprof.networks.settings import Device, TrainingSettings
from nnprof.networks.spec import NetworkSpec
from nnprof.networks.studies.study import Study, Training, load_study, save_study
from nnprof.types import TrainingRecord

STUDY, FAILURE = "study.json", "failure.json"
_LOG = logging.getLogger(__name__)


class TrainingFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a cell's training gave no weights; as data, beside the trainings that did."""

    study: str
    cell: str
    network: str
    seed: int
    device: str
    error: str
    reason: str
    remedy: str = ""


_FAILURES = Document(TrainingFailure, "a failed training", "Train again with --resume.")


class Job(NamedTuple):
    """One training: a cell with a seed on a device, and its folder.

    Attributes:
        cell: the cell's name.
        training: data set and settings; the device is another one.
        at_once: how many trainings run at a time.
    """

    study: str
    cell: str
    network: str
    varied: dict[str, str]
    training: Training
    seed: int
    device: Device
    folder: Path
    at_once: int = 1

    @property
    def spec(self) -> NetworkSpec:
        """The network with the training's seed."""
        return msgspec.structs.replace(parse_network(self.network), seed=self.seed)

    @property
    def settings(self) -> TrainingSettings:
        """The cell's settings, on the device."""
        return msgspec.structs.replace(self.training.settings, device=self.device)


class Ended(NamedTuple):
    """A training that has ended: its record, or why it has none."""

    job: Job
    record: TrainingRecord | None
    failure: TrainingFailure | None


def start_study(
    study: Study, out: AnyPath, devices: Sequence[Device] = ("cpu",), *, at_once: int = 1,
    resume: bool = False,
) -> tuple[Job, ...]:  # fmt: skip
    """Write study.json into the folder; the trainings that are left to do, in order.

    Raises:
        UsageError: the folder holds a study and `resume` is False, or it holds another one; or the
            study trains nothing.
        BadFile: the study.json in the folder is no study.
    """
    if not study.trained:
        raise UsageError(
            f"Study '{study.name}' trains nothing.", f"Time it: nnprof bench --study {study.name}"
        )
    path = Path(out) / STUDY
    if path.exists():
        _require_same(study, path, resume=resume)
    else:
        save_study(study, path)
    jobs = _jobs(study, Path(out), devices, at_once)
    return tuple(job for job in jobs if not _is_done(job.folder))


def _jobs(study: Study, out: Path, devices: Sequence[Device], at_once: int) -> Iterator[Job]:
    for cell in study.cells:
        if cell.train is None:
            continue
        for device in devices:
            for seed in cell.train.seeds:
                folder = out / cell.name / f"seed{seed}{'' if device == 'cpu' else f'-{device}'}"
                yield Job(
                    study=study.name,
                    cell=cell.name,
                    network=cell.network,
                    varied=cell.varied,
                    training=cell.train,
                    seed=seed,
                    device=device,
                    folder=folder,
                    at_once=at_once,
                )


def _require_same(study: Study, path: Path, *, resume: bool) -> None:
    if not resume:
        raise UsageError(
            f"'{path.parent}' already holds a study.",
            "Add --resume to go on with it, or choose another folder.",
        )
    if load_study(path) != study:
        raise UsageError(
            f"'{path.parent}' holds another study, or this one with other settings.",
            f"Go on with it as it is: nnprof train --study {path} --out {path.parent} --resume",
        )


def _is_done(folder: Path) -> bool:
    return (folder / checkpoint.RECORD).is_file() and checkpoint.load_record(folder).finished


def failures(out: AnyPath) -> tuple[TrainingFailure, ...]:
    """Those in and below a folder.

    Raises:
        BadFile: one of their files is corrupt.
    """
    return tuple(_FAILURES.load(path) for path in sorted(Path(out).rglob(FAILURE)))


# --- in processes of their own --------------------------------------------------------------------


def seconds_of(jobs: Sequence[Job]) -> tuple[float | None, ...]:
    """How long each training takes at most, from its first steps; None where they fail.

    Cells with the same network, data set and settings are tried once, seeds aside.
    """
    if not jobs:
        return ()
    with _listening() as messages, _process(messages) as process:
        try:
            return process.submit(_tried, tuple(jobs)).result()
        except BrokenProcessPool:
            return (None,) * len(jobs)


def train_jobs(jobs: Sequence[Job]) -> Iterator[Ended]:
    """Train all, as many at a time as they say, each in a process; give each as it ends.

    What one training does cannot touch another, and their number at a time changes no weights, only
    their seconds; the record says it.
    """
    at_once = max((job.at_once for job in jobs), default=1)
    with _listening() as messages, ThreadPoolExecutor(at_once) as threads:
        processes = _Processes(messages)
        running = [threads.submit(_ended, job, processes) for job in jobs]
        try:
            for one in as_completed(running):
                yield one.result()
        finally:
            for one in running:
                one.cancel()
            processes.end()


class _Processes:
    """A process for each thread, which trains one network after the other."""

    def __init__(self, messages: Any) -> None:
        self.messages, self.of_thread = messages, threading.local()
        self.begun: list[ProcessPoolExecutor] = []

    def mine(self) -> ProcessPoolExecutor:
        """This thread's; a new one at first, and where the one before has died."""
        if getattr(self.of_thread, "process", None) is None:
            self.of_thread.process = _process(self.messages)
            self.begun.append(self.of_thread.process)
        process: ProcessPoolExecutor = self.of_thread.process
        return process

    def died(self) -> None:
        """This thread's process is no more."""
        self.of_thread.process = None

    def end(self) -> None:
        """End all, once each has finished what it does."""
        for process in self.begun:
            process.shutdown()


def _ended(job: Job, processes: _Processes) -> Ended:
    """Train in this thread's process."""
    try:
        record = processes.mine().submit(_trained, job).result()
    except (NnprofError, MemoryError) as error:
        return Ended(job, None, _failed(job, error))
    except BrokenProcessPool as error:
        processes.died()
        return Ended(job, None, _failed(job, error))
    (job.folder / FAILURE).unlink(missing_ok=True)
    return Ended(job, record, None)


def _failed(job: Job, error: Exception) -> TrainingFailure:
    """Written into the training's folder, and told."""
    reason, remedy = str(error), ""
    if isinstance(error, NnprofError):
        reason, remedy = error.reason, error.remedy
    elif isinstance(error, BrokenProcessPool):
        reason, remedy = "Its process ended without an answer.", "Look at the memory it needs."
    failure = TrainingFailure(
        study=job.study,
        cell=job.cell,
        network=job.network,
        seed=job.seed,
        device=job.device,
        error=type(error).__name__,
        reason=reason,
        remedy=remedy,
    )
    text = msgspec.json.format(msgspec.json.encode(failure), indent=1)
    write_atomically(job.folder / FAILURE, text + b"\n")
    return failure


class _Forwarding(logging.Handler):
    """Gives messages of the processes to our own logger."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(record.name).handle(record)


@contextmanager
def _listening() -> Iterator[Any]:
    """A queue, whose messages arrive at our logger until the block ends."""
    messages = get_context("spawn").Queue()
    listener = QueueListener(messages, _Forwarding())
    listener.start()
    try:
        yield messages
    finally:
        listener.stop()


def _process(messages: Any) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, get_context("spawn"), _begin, (messages,))


def _begin(messages: Any) -> None:
    """In the new process: send messages home, and end when home is gone."""
    logger = logging.getLogger("nnprof")
    logger.handlers[:] = [QueueHandler(messages)]
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent:
        wait([parent.sentinel])
        os._exit(1)


def _trained(job: Job) -> TrainingRecord:
    from nnprof.networks import train

    return train.train(
        job.spec,
        job.folder,
        dataset=_loaded(job.training.dataset),
        settings=job.settings,
        resume=True,
        study=job.study,
        cell=job.cell,
        varied=job.varied,
        at_once=job.at_once,
    )


@cache
def _loaded(dataset: str) -> Dataset:
    """Read once in a process, which trains many networks on it."""
    return datasets.load(dataset)


def _tried(jobs: tuple[Job, ...]) -> tuple[float | None, ...]:
    from nnprof.networks import trial

    known: dict[tuple[str, str, TrainingSettings], float | None] = {}
    keys = [(job.network, job.training.dataset, job.settings) for job in jobs]
    for number, (key, job) in enumerate(zip(keys, jobs, strict=True), start=1):
        if key not in known:
            _LOG.info("timing the first steps: %d of %d, %s", number, len(jobs), job.cell)
            try:
                known[key] = trial.trial_s(job.spec, _loaded(job.training.dataset), job.settings)
            except NnprofError:
                known[key] = None  # the training itself will say why
    return tuple(known[key] for key in keys)
