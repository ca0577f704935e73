"""One cell in one process without a rest: its windows are on disk as they come.

Who is cut off keeps the windows that there were, and no more come to them: a machine that has
rested since is another one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from time import perf_counter

from msgspec.structs import replace

from nnprof.errors import NnprofError, UsageError
from nnprof.exporters.probes import chain_model, identity_model
from nnprof.files import AnyPath
from nnprof.profiler import results
from nnprof.profiler.run import budget, cell
from nnprof.profiler.run.rounds import Step, Sweep
from nnprof.profiler.steady import end_s
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import CHAIN, Measured, Reply, Windowed
from nnprof.text import clock, duration
from nnprof.types import Cell, Measurement, Plan, Run, Window

_LOG = logging.getLogger(__name__)
NEWS = logging.INFO + 5  # of a message: a line of its own, however soon it comes
_MORE = 1.1  # time for what lies between windows, over that of the windows


def require_one(cells: tuple[Cell, ...], plan: Plan) -> None:
    """Refuse to work without a rest on several cells.

    Raises:
        UsageError: the plan is a sustained one, and there are several.
    """
    if plan.sustained_s and len(cells) > 1:
        works = [one.workload for one in cells]
        named = dict.fromkeys(f"{work.model.name}, batch {work.batch}" for work in works)
        few = "; ".join([*named][:3]) + (" …" if len(named) > 3 else "")
        raise UsageError(
            f"Work without a rest is of one network at one batch; these are {len(cells)}: {few}.",
            "Name one network, and its batch with --batch.",
        )


def require_whole(run: Run, path: AnyPath) -> None:
    """Refuse to go on with work that was cut off.

    Raises:
        UsageError: the Run has windows, and was to have more.
    """
    for one in run.measurements:
        seen = [window for process in one.processes for window in process.windows]
        if seen and not one.finished:
            raise UsageError(
                f"{path} was cut off after {duration(end_s(seen[-1]))} of work without a rest; "
                "the machine has cooled since, and what came now would not belong to it.",
                "Its windows are kept: nnprof show. For the whole time start a new run.",
            )


def heat(run: Run, path: AnyPath) -> Iterator[Step]:
    """Measure the one cell of a Run in one process, saving after each window; one Step.

    Raises:
        UsageError: see `require_whole`.
    """
    require_whole(run, path)
    now, plan = Sweep.of(run), run.study.plan
    for key in now.open_keys():
        asked = cell.Asked(
            now.cells[key],
            None,
            plan,
            budget.Offer(True, True, plan.process_limit_s),
            (identity_model(), chain_model(CHAIN)),
        )
        _LOG.log(NEWS, "Working without a rest for %s.", duration(plan.sustained_s))
        heard = _Heard(run, path, asked, now)
        try:
            limit_s = plan.process_limit_s + _MORE * plan.sustained_s
            answer = hosts.run(cell.job(asked, {}), limit_s, heard)
            more = heard.grown(answer)
            now = now.with_process(cell.judged(more, run.environment.get("device") or {}))
        except NnprofError as error:
            now = now.with_failure(key, error)
        results.save(now.in_run(run, heard.wall_s()), path)
        yield now.step(key, round_over=True)


class _Heard:
    """What is heard of a worker goes to disk, and to who looks on."""

    def __init__(self, run: Run, path: AnyPath, asked: cell.Asked, now: Sweep) -> None:
        self._run, self._path, self._asked, self._now = run, path, asked, now
        self._begun, self._start_s = cell.begin(asked), perf_counter()
        self._clean: Measured | None = None
        self._windows: list[Window] = []

    def __call__(self, reply: Reply) -> None:
        """Keep it, save, tell."""
        if isinstance(reply, Measured):
            self._clean = reply
        if not isinstance(reply, Windowed) or self._clean is None:
            return
        self._windows.append(reply.window)
        sofar = self._now.with_process(self.grown(self._clean))
        results.save(sofar.in_run(self._run, self.wall_s()), self._path)
        _LOG.log(NEWS, "%s", progress_line(reply.window, self._asked.plan))

    def grown(self, answer: Measured) -> Measurement:
        """The cell as far as the worker has come."""
        one = cell.grown(self._asked, answer, self._begun)
        (process,) = one.processes
        return replace(one, processes=(replace(process, windows=tuple(self._windows)),))

    def wall_s(self) -> float:
        """Seconds of measuring in all."""
        return self._run.study.wall_s + perf_counter() - self._start_s


def progress_line(window: Window, plan: Plan) -> str:
    """A window in a line: when it was, how fast, what the device said, what is left."""
    over_s, seen = end_s(window), window.reading
    words = [f"{clock(over_s)} of {clock(plan.sustained_s)}", f"{window.median_s * 1e3:.4g} ms"]
    if window.p99_s is not None:
        words.append(f"p99 {window.p99_s * 1e3:.4g}")
    if window.missed is not None:
        words.append(f"{window.missed / window.inferences:.2%} missed")
    words.append("temperature –" if seen.temperature_c is None else f"{seen.temperature_c:.0f} °C")
    if seen.clock_hz is not None:
        words.append(f"{seen.clock_hz / 1e6:.0f} MHz")
    if seen.power_w is not None:
        words.append(f"{seen.power_w:.1f} W")
    left_s = max(0.0, plan.sustained_s - over_s)
    return ", ".join([*words, *seen.alerts, f"{duration(left_s)} left" if left_s else "done"])
