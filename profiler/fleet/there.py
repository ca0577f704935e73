# mypy: allow-subclassing-any
"""What a dask worker of a fleet does: it holds one board, and has one process at a time run there.

The worker runs on this machine, and is there as long as its board is: it takes the board's lock and
looks whether it is still what it was before it joins, and it ends when it loses the board. So dask
has one case to deal with, a worker that is gone, whoever killed what.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from contextlib import ExitStack
from time import perf_counter, time
from typing import Any

import msgspec
from distributed import WorkerPlugin, get_worker
from msgspec.structs import asdict, replace

from nnprof.errors import ConnectionLost, NnprofError, UsageError, WorkerCrashed, WorkerTimeout
from nnprof.profiler.fleet import kinds
from nnprof.profiler.fleet.orders import Delivery, News, Order, Post
from nnprof.profiler.place import boards
from nnprof.profiler.run import begin, patience, session
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import Fault, Measured

_TELL_LIMIT_S = 10.0
_LOST = 75  # EX_TEMPFAIL of sysexits.h; nobody reads it


class HoldsBoard(WorkerPlugin):
    """Holds a worker's board, locked and in its power mode, from before it joins to its end.

    Args:
        post: the board, and what it has to be like.
        power_mode: as --power-mode says it; empty: what devices.toml wants.
        topic: what news are told under.
    """

    name = "nnprof-board"

    def __init__(self, post: Post, power_mode: str, topic: str) -> None:
        # As JSON: dask pickles plugins, and our values are not made for that.
        self._post = msgspec.json.encode(post)
        self._power_mode, self.topic = power_mode, topic

    async def setup(self, worker: Any) -> None:
        """Take the board; an error keeps the worker from joining."""
        try:
            await asyncio.to_thread(self._take)
        except NnprofError as error:
            await _told(
                worker, self.topic, News(board=worker.name, state="away", reason=_said(error))
            )
            await asyncio.to_thread(self._give_back)
            raise RuntimeError(str(error)) from None
        await _told(worker, self.topic, News(board=worker.name, state="here"))

    async def teardown(self, worker: Any) -> None:  # noqa: ARG002  dask's own signature
        """Give it back as it was."""
        await asyncio.to_thread(self._give_back)

    def _take(self) -> None:
        post = msgspec.json.decode(self._post, type=Post)
        board = post.target.host
        self._held = ExitStack()
        self._held.enter_context(session.powered(post.target, self._power_mode or None))
        if kinds.is_as_seen(board, post.seen):
            return
        unlike = kinds.differs(post.environment, begin.probe(post.target))
        if unlike:
            raise UsageError(f"{board} is not what the Run is measured on: {unlike}.")

    def _give_back(self) -> None:
        try:
            self._held.close()
        finally:
            hosts.release()


def measure(order: bytes) -> bytes:
    """Carry out an order on this worker's board. Where the board is lost, so is the worker."""
    asked = msgspec.json.decode(order, type=Order)
    worker, work = get_worker(), asked.job.workload
    board, at_s, date_s = str(worker.name), perf_counter(), round(time(), 3)
    news = News(
        board=board,
        state="measuring",
        order=worker.get_current_task(),
        network=work.model.name,
        batch=work.batch,
    )
    telling = _tell(worker, news)  # nothing waits for that, and the board least of all
    try:
        waited = patience.wait(board, asked.job.plan.patient_s)
        at_s, date_s = perf_counter(), round(time(), 3)
        job = replace(asked.job, target=replace(asked.job.target, host=board))
        answer: Any = _whole(hosts.run(job, asked.limit_s))
    except NnprofError as error:
        if _is_lost(board, error):
            # Not the remedy: that is --resume, and here the board is tried again.
            telling.result(_TELL_LIMIT_S)
            _tell(worker, replace(news, state="away", reason=error.reason)).result(_TELL_LIMIT_S)
            hosts.release()
            os._exit(_LOST)
        waited = patience.Waited(0.0, None)
        answer = Fault(error=type(error).__name__, reason=error.reason, remedy=error.remedy)
    return msgspec.json.encode(
        Delivery(
            key=asked.key,
            number=asked.number,
            board=board,
            begun_at_s=date_s,
            wall_s=perf_counter() - at_s,
            patience_s=waited.seconds,
            others=waited.others,
            answer=answer,
        )
    )


def _whole(answer: Measured) -> Measured:
    """An answer that its board did not cut off: another board can give a whole one.

    Raises:
        ConnectionLost: the board went while it did the last passes.
    """
    for one in answer.lost:
        if one.error == ConnectionLost.__name__:
            raise ConnectionLost(one.reason, one.remedy)
    return answer


def _is_lost(board: str, error: NnprofError) -> bool:
    """Whether an error is the board's, not the cell's: then its cell is another board's."""
    if isinstance(error, WorkerTimeout | WorkerCrashed):
        return False
    return isinstance(error, ConnectionLost) or not hosts.connections.has(boards.find(board))


def _said(error: NnprofError) -> str:
    return f"{error.reason} {error.remedy}".strip()


def _tell(worker: Any, news: News) -> Future[None]:
    """From the thread that measures: it has been told once the future is done."""
    topic = worker.plugins[HoldsBoard.name].topic
    return asyncio.run_coroutine_threadsafe(_told(worker, topic, news), worker.loop.asyncio_loop)


async def _told(worker: Any, topic: str, news: News) -> None:
    await worker.scheduler.log_event(topic=topic, msg=asdict(news))
