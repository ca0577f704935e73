"""The only process that times: a job as JSON on stdin → an answer as a line of JSON on stdout.

The protocol is the types of `jobs`, so a worker can be anywhere that has a stdin. The last whole
line is the answer: a Measure is answered as far as it got, again and again. Whatever the runtime
prints goes to stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from time import get_clock_info, perf_counter
from typing import Any, NamedTuple, cast

import msgspec
from msgspec.structs import replace

from nnprof import registry
from nnprof.errors import NnprofError
from nnprof.exporters import identity
from nnprof.profiler import stats
from nnprof.profiler.devices import linux
from nnprof.profiler.place import claims, computes, environment, shells, spread
from nnprof.profiler.place.place import Place
from nnprof.profiler.ports import Backend, Converting, Device, Session
from nnprof.profiler.timing import (
    energy,
    frame,
    memory,
    passes,
    sample,
    singles,
    sustained,
    telemetry,
)
from nnprof.profiler.timing.lost import attempt
from nnprof.profiler.work import carried, scoring, streams
from nnprof.profiler.work.jobs import (
    CHAIN,
    Answer,
    Convert,
    Fault,
    Job,
    Loop,
    Looped,
    Measure,
    Measured,
    Probe,
    Probed,
    Score,
    Tell,
    Windowed,
)
from nnprof.types import (
    LOCAL,
    Clock,
    Energy,
    FramePass,
    Lost,
    OpPass,
    Reading,
    Target,
    Workload,
)


def do(job: Job, tell: Tell) -> Answer:
    """Carry out one job; what goes wrong on purpose becomes a Fault.

    What there is of a Measure goes to `tell` before anything else is tried. A Fault takes it back:
    the model was not what it should be.
    """
    try:
        known: Backend = registry.find("backend", job.target.backend)
        backend = carried.opening(known, job.opened, job.made)
        device = _device(job.target, backend)
        with _as_read(job), _alone(job, backend):
            return _answer(job, device, backend, tell)
    except NnprofError as error:
        return Fault.of(error)
    except MemoryError:
        return Fault(
            error="OutOfMemory",
            reason="The cell does not fit into memory.",
            remedy="Ask for a smaller batch.",
        )


def _answer(job: Job, device: Device, backend: Backend, tell: Tell) -> Answer:
    if isinstance(job, Probe):
        return _probe(job, device, backend)
    if isinstance(job, Loop):
        return _loop(job, device, backend)
    if isinstance(job, Score):
        return scoring.score(job, backend)
    if isinstance(job, Convert):
        return carried.convert(job, cast("Converting", backend))
    return _measure(job, device, backend, tell)


def _alone(job: Job, backend: Backend) -> AbstractContextManager[object]:
    """On a board keep off whom measures there without SSH; here our parent does (`claims`)."""
    there = job.target.host != LOCAL and not shells.is_driven(job.target, backend)
    here = replace(job.target, host=LOCAL)
    return claims.held(here) if job.timed and there else nullcontext()


@contextmanager
def _as_read(job: Job) -> Iterator[None]:
    """Refuse weights that memory does not hold, and a model that changes while it is used.

    Files are read again after all timing: a runtime may open them at any moment until then.
    """
    models = {work.model.path: work.model for work in job.workloads if work.model.path}
    if job.target.on == "cpu":
        for path, model in models.items():
            identity.require_memory(identity.files_beside(Path(path)), model.name)
    try:
        yield
    finally:
        for model in models.values():
            identity.require_same(model)


def _device(target: Target, backend: Backend) -> Device:
    """Where the network runs: at the other end of the shell, where the runtime works over one.

    Raises:
        Unavailable: such a device does not compute on what the target says.
    """
    device: Device = registry.find("device", target.device)
    computes.require_has(device, target)
    if shells.is_driven(target, backend):
        return device.over(shells.at(target.host))
    return device


def _probe(job: Probe, device: Device, backend: Backend) -> Probed:
    device.processors(job.target.threads)
    facts = environment.capture(job.target, device, backend)
    computes.require_there(facts["device"], job.target)
    _open_any(job, backend)
    return Probed(environment=facts)


def _open_any(job: Probe, backend: Backend) -> None:
    """Open each model at the first of its workloads that can be.

    Raises:
        NnprofError: what the runtime has against the first one, where no model opens at all; one
            that others go on without fails in its own cells.
    """
    by_model: dict[str, list[Workload]] = {}
    for workload in job.workloads:
        by_model.setdefault(workload.model.sha256, []).append(workload)
    errors = [error for own in by_model.values() if (error := _refusal(own, job, backend))]
    if errors and len(errors) == len(by_model):
        raise errors[0]


def _refusal(workloads: list[Workload], job: Probe, backend: Backend) -> NnprofError | None:
    """What the runtime has against all workloads of a model: its words on the first of them."""
    refused = []
    for workload in workloads:
        try:
            backend.open(workload, job.target).close()
        except NnprofError as error:  # noqa: PERF203  each is another attempt
            refused.append(error)
        else:
            return None
    return refused[0]


def _loop(job: Loop, device: Device, backend: Backend) -> Looped:
    processors = spread.pin(device, backend, job.target.threads)
    floor_s = sample.floor_of(job.floor, job.target, backend)
    samples: list[tuple[tuple[float, ...], ...]] = []
    opens: list[tuple[float, ...]] = []
    readings = [device.read(processors, job.target.on)]
    clock: Clock = "unknown"
    facts: dict[str, Any] = {}
    for _ in range(job.turns):
        turn, open_s = [], []
        for workload in job.workloads:
            start = perf_counter()
            session = backend.open(workload, job.target)
            open_s.append(perf_counter() - start)
            clock, facts = session.clock, session.facts
            turn.append(tuple(session.sample(1) for _ in range(job.calls)))
            session.close()
        samples.append(tuple(turn))
        opens.append(tuple(open_s))
        readings.append(device.read(processors, job.target.on))
    return Looped(
        clock=clock,
        facts=facts,
        samples_s=tuple(samples),
        open_s=tuple(opens),
        readings=tuple(readings),
        floor_s=floor_s,
        processors=processors,
    )


def _measure(job: Measure, device: Device, backend: Backend, tell: Tell) -> Measured:
    if job.plan.streams_s:
        return streams.run(job, device, backend)
    free = os.sched_getaffinity(0)
    processors = spread.pin(device, backend, job.target.threads)
    if not job.plan.telemetry_s and not job.energy:
        watch = telemetry.Watch(None, "switched off")
    elif shells.is_driven(job.target, backend):
        watch = telemetry.Watch(None, "a board without our worker is read before and after only")
    else:
        home = tuple(sorted(free - set(processors)))
        with telemetry.beside(job.target, processors, home) as watch:
            return _Measuring(job, device, backend, processors, watch).all(tell)
    return _Measuring(job, device, backend, processors, watch).all(tell)


class _Measuring(NamedTuple):
    """What measuring a cell needs: the clean pass first, then the others, each on its own."""

    job: Measure
    device: Device
    backend: Backend
    processors: tuple[int, ...]
    watch: telemetry.Watch

    def all(self, tell: Tell) -> Measured:
        """Clean time and passes; what there is so far is told after each."""
        job = self.job
        begun = memory.begin(job.target, self.backend, self.device)
        start = perf_counter()
        session = self.backend.open(job.workload, job.target)
        open_s = perf_counter() - start
        taken = memory.loaded(begun, session)
        # After that, for a runtime's first session does what the others find done.
        floor_s, chain_s = (
            sample.floor_of(model, job.target, self.backend) for model in (job.floor, job.chain)
        )
        sofar = self._clean(session, floor_s, open_s)
        used = memory.used(begun, taken, session, self.device, sofar.warmups_s[0])
        sofar = _with(sofar, used)
        identity.require_same(job.workload.model)  # what is told is kept, whatever comes after
        tell(sofar)
        node_s = max(0.0, (chain_s - floor_s) / (CHAIN - 1))
        sofar = self._rest(session, sofar, node_s, tell)
        closed = attempt("close", session.close)
        return _with(sofar, closed if isinstance(closed, Lost) else {})

    def _read(self) -> Reading:
        return self.device.read(self.processors, self.job.target.on)

    def _clean(self, session: Session, floor_s: float, open_s: float) -> Measured:
        plan = self.job.plan
        before = self._read()
        if plan.telemetry_s:
            self.watch.begin(plan.telemetry_s)
        clean = sample.clean_pass(session, plan)
        after = attempt("telemetry", self._read)
        sofar = Measured(
            clock=session.clock,
            facts={**session.facts, **_timing_facts(self.job, self.watch)},
            samples_s=clean.samples_s,
            warmups_s=clean.warmups_s,
            loops=clean.loops,
            waited_s=clean.waited_s,
            state=stats.classify(
                stats.own_s(clean.samples_s, clean.waited_s, len(self.processors))
            ),
            floor_s=floor_s,
            open_s=open_s,
            timed_s=clean.timed_s,
            processors=self.processors,
            cores=linux.kinds(self.processors),
            siblings=linux.siblings(self.processors),
            before=before,
            after=Reading(),
            pending=_asked(self.job, session),
        )
        return _with(sofar, after if isinstance(after, Lost) else {"after": after})

    def _rest(self, session: Session, sofar: Measured, node_s: float, tell: Tell) -> Measured:
        """With the result of all other passes; told after each."""
        job, driven = self.job, shells.is_driven(self.job.target, self.backend)
        latency_s = median(stats.own_s(sofar.samples_s, sofar.waited_s, len(sofar.processors)))
        passes: dict[str, Callable[[], dict[str, Any]]] = {
            "telemetry": lambda: {"during": self.watch.end()},
            "singles": lambda: {
                "singles": singles.of_cell(job.workload, session, job.plan, driven)
            },
            "idle": lambda: {
                "idle": tuple(sample.after_pauses_s(session, gap_s) for gap_s in job.plan.idle_s)
            },
            "frame": lambda: {"frame": self._frame(session)},
            "sustained": lambda: self._sustained(session, tell),
            "energy": lambda: {"energy": self._energy(session, latency_s)},
            "arena": lambda: memory.with_arena(sofar.memory, session),
        }
        for what in sofar.pending:
            if what in passes:
                sofar = _with(sofar, attempt(what, passes[what]))
            else:
                for one in self._ops(session, sofar.floor_s - node_s, latency_s):
                    more = {"op_passes": (*sofar.op_passes, one)}
                    sofar = _with(sofar, one if isinstance(one, Lost) else more)
                    tell(sofar)
            facts = {**session.facts, **_timing_facts(job, self.watch)}
            sofar = replace(sofar, pending=sofar.pending[1:], facts=facts)
            tell(sofar)
        return sofar

    def _frame(self, session: Session) -> FramePass:
        if shells.is_driven(self.job.target, self.backend):
            return FramePass(unknown="not measured there: our worker is not on the board")
        computes = getattr(self.backend, "computes", True)
        return frame.measure(self.job.workload, session if computes else None)

    def _sustained(self, session: Session, tell: Tell) -> dict[str, Any]:
        """Nothing but windows, each of which is told and forgotten."""
        eyes = sustained.Eyes(self._read, self.watch)
        work = self.job.workload
        part = frame.in_parts(work, session) if work.image else None
        for window in sustained.windows(session, self.job.plan, eyes, part):
            tell(Windowed(window=window))
        return {}

    def _energy(self, session: Session, latency_s: float) -> Energy:
        plan, work = self.job.plan, (self.job.workload.batch, latency_s)
        return energy.measure(session, self.watch, self.device.facts(), plan.energy_s, work)

    def _ops(self, session: Session, call_s: float, latency_s: float) -> Iterator[OpPass | Lost]:
        job = self.job
        facts = attempt("ops", self.device.facts)
        if isinstance(facts, Lost):
            yield facts
            return
        setting = passes.Setting(
            call_s=call_s,
            latency_s=latency_s,
            cache_bytes=Place(job.target, {"device": facts}).core_cache_bytes,
        )
        yield from passes.all_passes(session, job.plan, job.known, setting)


def _asked(job: Measure, session: Session) -> tuple[str, ...]:
    """The passes after the clean one, in order."""
    asked = {
        "telemetry": job.plan.telemetry_s > 0,
        "singles": job.plan.singles_s > 0,
        "idle": bool(job.plan.idle_s),
        "frame": job.frame,
        "sustained": job.plan.sustained_s > 0,
        "energy": job.energy,
        "ops": job.ops,
        "arena": job.arena and hasattr(session, "arena"),
    }
    return tuple(what for what, wanted in asked.items() if wanted)


def _with(sofar: Measured, more: Mapping[str, Any] | Lost) -> Measured:
    """With the fields of a pass that worked, or with what did not."""
    if isinstance(more, Lost):
        return replace(sofar, lost=(*sofar.lost, more))
    return replace(sofar, **more)


def _timing_facts(job: Measure, watch: telemetry.Watch) -> dict[str, Any]:
    return {
        "timer_s": get_clock_info("perf_counter").resolution,
        "debug_build": hasattr(sys, "gettotalrefcount"),
        "telemetry": watch.why or f"each {job.plan.telemetry_s:g} s, by a process of its own",
    }


def main() -> None:
    """Read one job, answer it."""
    answers = os.dup(1)
    os.dup2(2, 1)
    for name, value in environment.TOLD.items():
        os.environ.setdefault(name, value)
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    if job.target.on == "cpu":
        memory.limit()
    with os.fdopen(answers, "wb") as out:

        def tell(answer: Answer) -> None:
            out.write(msgspec.json.encode(answer) + b"\n")
            out.flush()

        tell(do(job, tell))


if __name__ == "__main__":
    main()
