"""The protocol "pairs": two Runs whose processes alternate, each result on disk before the next.

Each two cells of one position get one pair of processes after another, in an order that is drawn,
until the verdict on them is clear (`changes.is_clear`) or the plan's number of pairs is spent. Both
sides are ordinary Runs in files of their own, so two runtimes keep two environments.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from msgspec.structs import replace

from nnprof.errors import BadFile, CellError, NnprofError, UsageError
from nnprof.exporters.probes import chain_model, identity_model
from nnprof.files import AnyPath
from nnprof.profiler import changes, checks, pairs, results
from nnprof.profiler.place import claims
from nnprof.profiler.run import begin, budget, cell
from nnprof.profiler.run.rounds import Step, Sweep
from nnprof.profiler.work.jobs import CHAIN
from nnprof.types import Cell, Measurement, Model, Paired, Plan, Run, Side, Stopped


class Twins(NamedTuple):
    """Two Runs that alternate, and where they are: side a first."""

    runs: tuple[Run, Run]
    paths: tuple[Path, Path]
    sweeps: tuple[Sweep, Sweep]

    @classmethod
    def of(cls, runs: tuple[Run, Run], paths: tuple[Path, Path]) -> Twins:
        """Of two Runs that were started or resumed."""
        return cls(runs, paths, (Sweep.of(runs[0]), Sweep.of(runs[1])))

    def keys(self, index: int) -> tuple[str, str]:
        """Of the two cells at a position."""
        one, other = (run.study.cells[index].key for run in self.runs)
        return one, other

    def sofar(self, index: int) -> list[Measurement | None]:
        """What there is of the two cells at a position."""
        found = zip(self.sweeps, self.keys(index), strict=True)
        return [sweep.done.get(key) for sweep, key in found]

    def open(self) -> list[int]:
        """Positions of cells that need a further pair."""
        every = range(len(self.runs[0].study.cells))
        still = [set(sweep.open_keys()) for sweep in self.sweeps]
        return [
            index
            for index in every
            if all(key in own for key, own in zip(self.keys(index), still, strict=True))
        ]

    def next_round(self) -> list[int]:
        """Positions of the next round, in its order: those with the fewest pairs."""
        counts = {index: pairs.next_pair(*self.sofar(index)) for index in self.open()}
        number = min(counts.values(), default=0)
        found = [index for index, count in counts.items() if count == number]
        plan = self.runs[0].study.plan
        # Not for secrets: the order must be repeatable.
        random.Random(f"{plan.seed}.{number}").shuffle(found)  # noqa: S311
        return found

    def with_process(self, side: int, measurement: Measurement) -> Twins:
        """After a process of one side."""
        return self._with(side, self.sweeps[side].with_process(measurement))

    def with_failure(self, index: int, side: int, error: NnprofError) -> Twins:
        """After an error of one side: there will be no more of either."""
        other = CellError(f"The cell that it alternates with failed: {error.reason}", error.remedy)
        found = self
        for number, told in ((side, error), (1 - side, other)):
            key = self.keys(index)[number]
            found = found._with(number, found.sweeps[number].with_failure(key, told))
        return found

    def judged(self, index: int) -> Twins:
        """After a whole pair: both cells end where their verdict is clear, or nothing is left."""
        before, after = self.sofar(index)
        if before is None or after is None:
            return self
        stopped = _stopped(before, after, len(self.runs[0].study.cells))
        if not stopped:
            return self
        found = self
        for side, one in enumerate((before, after)):
            ended = replace(one, stopped=stopped)
            ended = replace(ended, checks=checks.find(ended))
            found = found.with_process(side, ended)
        return found

    def save(self, side: int, spent_s: float) -> Twins:
        """With one side's Run on disk as it stands, after so many seconds more."""
        run = self.runs[side]
        run = self.sweeps[side].in_run(run, run.study.wall_s + spent_s)
        results.save(run, self.paths[side])
        runs = (run, self.runs[1]) if side == 0 else (self.runs[0], run)
        return self._replace(runs=runs)

    def step(self, index: int, side: int, *, round_over: bool) -> Step:
        """What is told after a process: of its cell, and of both sides' work."""
        key, plan, sweep = self.keys(index)[side], self.runs[0].study.plan, self.sweeps[side]
        every, still = len(self.runs[0].study.cells), self.open()
        walls = [
            one.wall_s
            for own in self.sweeps
            for measurement in own.done.values()
            for one in measurement.processes
        ]
        left = 2 * sum(_until_look(plan, pairs.next_pair(*self.sofar(one))) for one in still)
        return Step(
            cell=sweep.cells[key],
            measurement=sweep.done.get(key),
            failure=sweep.failed.get(key),
            finished=every - len(still),
            total=every,
            left_s=left * (sum(walls) / len(walls) if walls else 0.0),
            done=len(walls),
            expected=len(walls) + left,
            round_over=round_over,
        )

    def _with(self, side: int, sweep: Sweep) -> Twins:
        sweeps = (sweep, self.sweeps[1]) if side == 0 else (self.sweeps[0], sweep)
        return self._replace(sweeps=sweeps)


def alternate(run: Run, path: AnyPath) -> Iterator[Step]:
    """Measure what is missing of the Run and of the one that it alternates with.

    One Step for each process; its side's file is saved before.

    Raises:
        BadFile: the other Run is missing, or is another's.
        Busy: another nnprof measures there, or writes the other file.
    """
    twins = _twins(run, Path(path))
    with ExitStack() as held:
        for one, file in zip(twins.runs, twins.paths, strict=True):
            held.enter_context(claims.held(one.study.cells[0].target))
            held.enter_context(results.writing(file))
            results.require_unchanged(one, file)
        yield from _rounds(twins)


def _rounds(now: Twins) -> Iterator[Step]:
    plan, known = now.runs[0].study.plan, cell.known(now.runs[0].measurements)
    floors = identity_model(), chain_model(CHAIN)
    while order := now.next_round():
        for place, index in enumerate(order):
            number = pairs.next_pair(*now.sofar(index))
            first = pairs.SIDES.index(pairs.first(plan, index, number))
            for turn, side in enumerate((first, 1 - first)):
                begin_s = perf_counter()
                asked = _asked(now, index, side, number, floors)
                try:
                    more = cell.one_more(asked, known)
                    device = now.runs[side].environment.get("device") or {}
                    now = now.with_process(side, cell.judged(more, device))
                except NnprofError as error:
                    now = now.with_failure(index, side, error)
                if turn:
                    now = now.judged(index)
                # What ends a pair changes both sides.
                for one in (0, 1) if turn or index not in now.open() else (side,):
                    now = now.save(one, perf_counter() - begin_s if one == side else 0.0)
                over = place == len(order) - 1
                yield now.step(index, side, round_over=bool(over and turn))
                if index not in now.open():
                    break


def _asked(
    now: Twins, index: int, side: int, number: int, floors: tuple[Model, Model]
) -> cell.Asked:
    one = now.sweeps[side].cells[now.keys(index)[side]]
    plan = now.runs[side].study.plan
    everything = budget.Offer(True, True, plan.process_limit_s)
    return cell.Asked(one, now.sofar(index)[side], plan, everything, floors, number)


def _stopped(before: Measurement, after: Measurement, among: int) -> Stopped:
    """Why two cells need no further pair; empty while they do."""
    plan, count = before.plan, len(pairs.log_ratios(before, after))
    if count in pairs.looks(plan) and changes.is_clear(before, after, among):
        return "verdict"
    if count >= plan.max_processes:
        return "processes"
    spent_s = sum(one.wall_s for side in (before, after) for one in side.processes)
    return "time" if count >= plan.processes and spent_s >= plan.cell_limit_s else ""


def _until_look(plan: Plan, count: int) -> int:
    """Pairs until the verdict is asked for again."""
    return next((look - count for look in pairs.looks(plan) if look > count), 1)


def _twins(run: Run, path: Path) -> Twins:
    """The two Runs, side a first; the other one as it is on disk, open for more."""
    paired = run.study.paired
    if paired is None:
        raise UsageError(f"{path} alternates with no other Run.", "Start both with --paired.")
    beside = path.with_name(paired.other)
    other = begin.resume(beside, limit_s=run.study.plan.process_limit_s)
    if not pairs.are_sides(run, other):
        raise BadFile(f"{beside} is not the Run that {path} alternates with.", "Put it back.")
    both = (run, path), (other, beside)
    one, two = both if paired.side == "a" else both[::-1]
    return Twins.of((one[0], two[0]), (one[1], two[1]))


def start(
    sides: tuple[Sequence[Cell], Sequence[Cell]],
    plan: Plan,
    folder: AnyPath,
    *,
    name: str,
    command: Sequence[str] | None = None,
) -> tuple[tuple[Run, Path], tuple[Run, Path]]:
    """Two Runs with nothing measured yet, on disk, which will alternate: sides a and b.

    Args:
        sides: the cells of each, of one target; what stands in one place is compared.
        plan: how to measure; its protocol becomes "pairs".
        folder: where the files will be.
        name: the beginning of their names.
        command: what the Runs say that they were made by.

    Raises:
        UsageError: the sides differ in their number of cells, or one has a cell twice; otherwise
            as `begin.start`.
    """
    if len(sides[0]) != len(sides[1]):
        raise UsageError(
            f"One side has {len(sides[0])} cells, the other {len(sides[1])}.",
            "Give networks that run at the same batches, or --batch.",
        )
    for cells in sides:
        if len({one.key for one in cells}) < len(cells):
            raise UsageError("A cell stands twice on one side of a pair.", "Give it once.")
    plan = replace(plan, protocol=pairs.PROTOCOL, fresh=0)
    started: list[tuple[Run, Path]] = []
    try:
        for side, cells in zip(pairs.SIDES, sides, strict=True):
            started.append(begin.start(cells, plan, folder, name=f"{name}-{side}", command=command))
    except NnprofError:
        for _, path in started:
            path.unlink()
        raise
    one, other = started
    return _joined(one, other[1], "a", one[0]), _joined(other, one[1], "b", one[0])


def _joined(own: tuple[Run, Path], other: Path, side: Side, first: Run) -> tuple[Run, Path]:
    run, path = own
    paired = Paired(side=side, other=other.name)
    run = replace(run, study=replace(run.study, paired=paired, created=first.study.created))
    results.save(run, path)
    return run, path
