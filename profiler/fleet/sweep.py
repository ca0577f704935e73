"""The sweep over many boards: what to measure next is decided here, who measures it by dask.

The rules are those of a single sweep, and its code: rounds in a drawn order, a fresh process as the
unit, one decision after each, the Run on disk before anything is told. A cell has one process out
at a time, since the one before decides whether there is another. Each kind of board has a Run.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from msgspec.structs import replace

from nnprof.errors import NnprofError, Unavailable, UsageError
from nnprof.exporters.probes import chain_model, identity_model
from nnprof.files import AnyPath
from nnprof.profiler import checks, results
from nnprof.profiler.fleet import cluster, kinds
from nnprof.profiler.fleet.kinds import Kind
from nnprof.profiler.fleet.orders import Delivery, News, Order, Post
from nnprof.profiler.place import boards
from nnprof.profiler.run import begin, budget, cell, patience, session
from nnprof.profiler.run.rounds import Step, Sweep
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import CHAIN, Fault
from nnprof.types import Cell, Plan, Run

_LOG = logging.getLogger(__name__)
_AHEAD = 2  # orders for each board: one that it does, and one for the moment when that is done


def start(
    asked: Sequence[tuple[Kind, Sequence[Cell]]],
    plan: Plan,
    folder: AnyPath = "bench_results",
    *,
    precisions: Sequence[str] = (),
    name: str = "bench",
    command: Sequence[str] | None = None,
    power_mode: str = "",
) -> list[tuple[Run, Path]]:
    """A Run on disk for each kind of board, with nothing measured yet; its first board was asked.

    Args:
        asked: kinds, and the cells of each on its first board.
        plan: how to measure.
        folder: where the files will be.
        precisions: as of `nnprof.start`.
        name: the beginning of the files' names.
        command: what the Runs say that they were made by.
        power_mode: as --power-mode says it.

    Raises:
        UsageError: the plan is not for several boards; otherwise as `nnprof.start`.
    """
    require_rounds(plan)
    with tempfile.TemporaryDirectory() as scratch:  # none is there before all can be
        begun = []
        for kind, cells in asked:
            with session.powered(kind.first.target, power_mode or None):
                run, _ = session.start(
                    cells, plan, scratch, precisions=precisions, name=name, command=command
                )
            begun.append((kind.name, _of_all(kind, run)))
    return [
        (run, results.save_new(run, Path(folder), where.removeprefix(boards.KIND)))
        for where, run in begun
    ]


def _of_all(kind: Kind, run: Run) -> Run:
    """The Run of a board as that of all that are like it, under their name."""
    if len(kind.members) == 1:
        return run
    told = {"host": kind.name, "boards": list(kind.boards)}
    study = replace(run.study, cells=begin.on_host(run.study.cells, kind.name))
    return replace(run, study=study, environment={**run.environment, **told})


def require_rounds(plan: Plan) -> None:
    """Refuse a plan that belongs to a single machine.

    Raises:
        UsageError: its order, its length or its budget means nothing on several.
    """
    if plan.protocol != "rounds" or plan.sustained_s or plan.budget_s:
        raise UsageError(
            "Several boards share cells by rounds of processes; pairs, loops, --for and a budget "
            "for the whole Run are for one board.",
            "Name one board, or leave that out.",
        )


def resume(path: AnyPath, *, limit_s: float | None = None, power_mode: str = "") -> Run:
    """A Run of several boards read back, after the first of them that answers; see `begin.resume`.

    Raises:
        NnprofError: none of its boards answers.
    """
    run = results.load(path)
    errors: list[NnprofError] = []
    for board in kinds.boards_of(run):
        try:
            with session.powered(replace(run.study.target, host=board), power_mode or None):
                return begin.resume(path, limit_s=limit_s, board=board)
        except NnprofError as error:  # noqa: PERF203  each is another board
            errors.append(error)
    raise errors[0]


def sweep(
    runs: Sequence[tuple[Run, AnyPath]],
    *,
    scheduler: str | None = None,
    power_mode: str = "",
    told: Any = None,
) -> Iterator[tuple[Path, Step]]:
    """Measure what is missing of several Runs, each on its boards; one Step per process.

    Args:
        runs: with their files; no board is in two of them.
        scheduler: the address of one that is there already; None: our own.
        power_mode: as --power-mode says it.
        told: is called with the `News` of boards, in another thread.

    Raises:
        Busy: another nnprof writes one of the files.
        Unavailable: the scheduler went away. What was measured is on disk.
    """
    with ExitStack() as stack:
        for run, path in runs:
            stack.enter_context(results.writing(path))
            results.require_unchanged(run, path)
        fronts = [_Front(run, Path(path), str(number)) for number, (run, path) in enumerate(runs)]
        heard = _Heard(told)
        posts = {board: post for front in fronts for board, post in front.posts(power_mode).items()}
        hosts.release()  # boards are their workers' now
        crew = stack.enter_context(cluster.joined(posts, power_mode, scheduler, heard))
        yield from _swept(fronts, crew, heard)


def _swept(
    fronts: Sequence[_Front], crew: cluster.Crew, heard: _Heard
) -> Iterator[tuple[Path, Step]]:
    from distributed import as_completed

    whose: dict[str, tuple[_Front, str]] = {}
    done = as_completed(with_results=True, raise_errors=False)
    for front in fronts:
        done.update(_sent(front, crew, whose))
    for batch in done.batches():
        steps: dict[_Front, list[str]] = {}
        for future, result in batch:
            front, key = whose.pop(future.key)
            if front.take(key, _delivery(future, result, heard)):
                steps.setdefault(front, []).append(key)
        for front, keys in steps.items():
            done.update(_sent(front, crew, whose))
            front.save()
            for key in keys:
                yield front.path, front.step(key)


def _sent(front: _Front, crew: cluster.Crew, whose: dict[str, tuple[_Front, str]]) -> Iterable[Any]:
    sent = []
    for name, order in front.orders():
        future = crew.send(msgspec.json.encode(order), name, front.kind, -order.number)
        whose[future.key] = front, order.key
        sent.append(future)
    return sent


def _delivery(future: Any, result: Any, heard: _Heard) -> Delivery | NnprofError:
    if future.status == "finished":
        return msgspec.json.decode(result, type=Delivery)
    if future.status == "error":
        return cluster.why(result[1], heard.reason(future.key))
    raise Unavailable("The scheduler went away.", "What is measured is kept; go on with --resume.")


class _Heard:
    """What was last heard of boards."""

    def __init__(self, told: Any) -> None:
        self._told, self._last, self._reasons = told, "", dict[str, str]()
        self._away: dict[str, str] = {}

    def __call__(self, news: News) -> None:
        """Keep why a board is away, and pass it on; each try to reach it is no news of its own."""
        if news.state != "away":
            self._away.pop(news.board, None)
        elif self._away.get(news.board) != news.reason:
            self._away[news.board] = news.reason
            _LOG.warning("%s is away: %s", news.board, news.reason)
        if news.state == "away":
            self._last = self._reasons[news.order] = news.reason
        if self._told is not None:
            self._told(news)

    def reason(self, order: str) -> str:
        """Why the last board that tried an order was lost, else the last reason of any."""
        return self._reasons.get(order, self._last)


class _Front:
    """A Run, and what of it is out on boards."""

    def __init__(self, run: Run, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind
        self._run, self._now = run, Sweep.of(run)
        self._boards = kinds.boards_of(run)
        self._known = cell.known(run.measurements)
        self._floors = identity_model(), chain_model(CHAIN)
        self._out: dict[str, cell.Asked] = {}
        self._before_s, self._begin = run.study.wall_s, perf_counter()

    def posts(self, power_mode: str) -> dict[str, Post]:
        """Its boards, which are to be in a power mode."""
        run = self._run
        return {
            board: Post(
                replace(run.study.target, host=board),
                run.environment,
                self.kind,
                kinds.seen(board, run, power_mode),
            )
            for board in self._boards
        }

    def orders(self) -> Iterator[tuple[str, Order]]:
        """What can be done beside what is out, as much as boards can take; each with its name."""
        plan = self._run.study.plan
        numbers = {key: number for number, key in enumerate(self._now.cells)}
        while len(self._out) < _AHEAD * len(self._boards):
            key = self._now.next_beside(self._out)
            if key is None:
                return
            offer = budget.Offer(True, True, plan.process_limit_s)
            asked = cell.Asked(
                self._now.cells[key], self._now.done.get(key), plan, offer, self._floors
            )
            self._out[key] = asked
            job, limit_s = cell.job(asked, self._known), cell.limit_s(asked)
            order = Order(key=key, number=asked.number, job=job, limit_s=limit_s)
            yield f"{self.kind}-{numbers[key]}-{asked.number}", order

    def take(self, key: str, what: Delivery | NnprofError) -> bool:
        """Whether something was due for a cell, and has been taken."""
        asked = self._out.get(key)
        if asked is None or (isinstance(what, Delivery) and what.number != asked.number):
            return False
        del self._out[key]
        if isinstance(what, cluster.Gone):  # each remaining cell would wait as long
            for open_ in self._now.open_keys():
                self._now = self._now.with_failure(open_, what)
            self._out.clear()
        elif isinstance(what, NnprofError):
            self._now = self._now.with_failure(key, what)
        elif isinstance(what.answer, Fault):
            self._now = self._now.with_failure(key, what.answer.raised())
        else:
            self._measured(asked, what)
        return True

    def _measured(self, asked: cell.Asked, what: Delivery) -> None:
        assert not isinstance(what.answer, Fault)  # noqa: S101  for the checker of types
        cell.learn(self._known, what.answer.op_passes)
        waited = patience.Waited(what.patience_s, what.others)
        at_s = perf_counter() - what.wall_s
        begun = cell.Begun(at_s, what.begun_at_s, waited, what.board)
        grown = cell.grown(asked, what.answer, begun)
        device = self._run.environment.get("device") or {}
        self._now = self._now.with_process(cell.judged(grown, device))

    def save(self) -> None:
        """Put on disk what there is; at the end with what shows over all cells."""
        if not self._now.open_keys():
            cells = self._now.done
            found = checks.of_boards(tuple(cells.values()))
            judged = zip(cells.items(), found, strict=True)
            done = {key: replace(one, checks=own) for (key, one), own in judged}
            self._now = self._now._replace(done=done)
        self._run = self._now.in_run(self._run, self._before_s + perf_counter() - self._begin)
        results.save(self._run, self.path)

    def step(self, key: str) -> Step:
        """What is told of a cell; boards share what is left."""
        step = self._now.step(key)
        return replace(step, left_s=step.left_s / len(self._boards))
