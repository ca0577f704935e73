"""The beginning of a sweep: a Run with nothing measured yet, or one that is gone on with.

Every model has been opened once, and the place is known, before anything is timed.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from nnprof import registry
from nnprof.errors import BadFile, CellError, NnprofError, UsageError
from nnprof.exporters.export import export
from nnprof.exporters.identity import require_same
from nnprof.files import AnyPath
from nnprof.networks.checkpoint import is_seeded
from nnprof.networks.families import parse_network
from nnprof.profiler import results
from nnprof.profiler.place import kept
from nnprof.profiler.place.limits import Roofline
from nnprof.profiler.place.place import Place
from nnprof.profiler.place.watcher import Effect
from nnprof.profiler.run import needs, sustained
from nnprof.profiler.work import hosts
from nnprof.profiler.work.jobs import Probe
from nnprof.types import (
    LOCAL,
    Cell,
    Model,
    Plan,
    Run,
    Study,
    Target,
)

_LOG = logging.getLogger(__name__)
_PROBE_LIMIT_S = 120.0


def start(
    cells: Sequence[Cell],
    plan: Plan,
    folder: AnyPath = "bench_results",
    *,
    name: str = "bench",
    command: Sequence[str] | None = None,
) -> tuple[Run, Path]:
    """A Run with nothing measured yet, on disk; every model has been opened once.

    Raises:
        UsageError: there are no cells, or cells of several targets; the target is not here or
            refuses a model; the folder is unwritable.
    """
    _require_one_target(cells)
    unique = _unique(cells)
    sustained.require_one(unique, plan)
    _require_sessions(unique[0].target, plan)
    study = Study(
        name=name,
        command=tuple(command or ()),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        plan=plan,
        cells=unique,
    )
    target = unique[0].target
    where = target.device if target.host == LOCAL else target.host.removeprefix("ssh://")
    run = Run(study=study, environment={})
    path = results.save_new(run, Path(folder), where)
    try:
        run = replace(run, environment=_probe(unique))
    except NnprofError:
        path.unlink()
        raise
    for line in needs.warnings(unique, run.environment.get("device") or {}):
        _LOG.warning("%s", line)
    results.save(run, path)
    return run, path


def _require_sessions(target: Target, plan: Plan) -> None:
    """Refuse streams of a program of its own, which tells when nothing began.

    Raises:
        UsageError: the runtime is one.
    """
    backend = registry.find("backend", target.backend)
    if plan.streams_s and getattr(backend, "through_shell", False):
        raise UsageError(
            f"{target.backend} is a program of its own, which does not say when its inferences "
            "begin; so several streams of it cannot be timed together.",
            "Take another --backend, or leave --streams out.",
        )


def on_host(cells: Sequence[Cell], host: str) -> tuple[Cell, ...]:
    """The same cells at another place."""
    return tuple(replace(cell, target=replace(cell.target, host=host)) for cell in cells)


def _unique(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Each cell once, under the first name that it was asked for by; other names are told."""
    first: dict[str, Cell] = {}
    for cell in cells:
        first.setdefault(cell.key, cell)
    pairs = ((cell.workload.model, first[cell.key].workload.model) for cell in cells)
    for model, same in dict.fromkeys((m.path or m.name, k.path or k.name) for m, k in pairs):
        if model != same:
            _LOG.warning("%s is the same model as %s, and is measured once, as that.", model, same)
    return tuple(first.values())


def _require_one_target(cells: Sequence[Cell]) -> None:
    """One Run has one environment, which its first cell stands for."""
    if not cells:
        raise UsageError("There is nothing to measure: no cells.", "Give at least one cell.")
    one = cells[0].target
    for cell in cells:
        if replace(cell.target, streams=one.streams) != one:
            raise UsageError(
                f"The cells have several targets, such as {_named(one)} and {_named(cell.target)}.",
                "Start a run for each, and compare them.",
            )


def _named(target: Target) -> str:
    """A target in a sentence."""
    told = [f"{name} {value}" for name, value in msgspec.structs.asdict(target).items() if value]
    return f"({', '.join(told)})"


def probe(target: Target) -> dict[str, Any]:
    """The environment of a target, as a Run keeps it.

    Raises:
        UnknownName, Unavailable: it is not here.
    """
    answer = hosts.run(Probe(target=target), _PROBE_LIMIT_S)
    return {**answer.environment, **_converter(target)}


def _converter(target: Target) -> dict[str, Any]:
    """What makes the files that a runtime reads in place of ONNX files, for wherever it runs: here.

    Raises:
        Unavailable: it is not installed.
    """
    backend = registry.find("backend", target.backend)
    if not hasattr(backend, "converter"):
        return {}
    return {"converter": {**backend.converter(), "machine": platform.machine()}}


def _probe(cells: Sequence[Cell]) -> dict[str, Any]:
    """The environment; raises what the runtime has against all models, before hours are spent.

    A model that is refused, crashes the worker or does not fit is no reason to stop the others: it
    will be a Failure in its own cells.
    """
    target = cells[0].target
    _LOG.debug(
        "asking %s on %s for its version, and whether it takes the models",
        target.backend,
        target.device,
    )
    # The smallest batch asked for first; a network need not run at one that nobody asked for.
    asked = tuple(sorted((cell.workload for cell in cells), key=lambda work: work.batch))
    try:
        answer = hosts.run(Probe(target=target, workloads=asked), _PROBE_LIMIT_S)
    except CellError:
        environment = probe(target)
    else:
        environment = {**answer.environment, **_converter(target)}
    place = Place(target, environment)
    known, no_limits = kept.load(Roofline, place)
    watching, no_watching = kept.load(Effect, place)
    unused = {"roofline": no_limits, "telemetry_effect": no_watching}
    return {
        **environment,
        "roofline": known and msgspec.structs.asdict(known),
        "telemetry_effect": watching and msgspec.structs.asdict(watching),
        "not_used": {what: why for what, why in unused.items() if why},
    }


def resume(path: AnyPath, *, limit_s: float | None = None, board: str = "") -> Run:
    """A Run read back, its models at hand again, its failed cells open for another try.

    With `limit_s` its workers are ended after so many seconds from now on. `board` is the one to be
    asked of a Run that was measured on several alike.

    Raises:
        BadFile: it is no Run, or a model of it cannot be had any more.
    """
    path = Path(path)
    run = results.load(path)
    if "imported" in run.environment:
        raise UsageError(f"{path} was imported, not measured here.", "Start a run of your own.")
    sustained.require_whole(run, path)
    models = {cell.workload.model.sha256: cell.workload.model for cell in run.study.cells}
    found = {digest: _find_again(model) for digest, model in models.items()}
    cells = tuple(
        replace(cell, workload=replace(cell.workload, model=found[cell.workload.model.sha256]))
        for cell in run.study.cells
    )
    reopened = tuple(
        replace(measurement, stopped="")
        if measurement.stopped in ("failure", "budget")
        else measurement
        for measurement in run.measurements
    )
    plan = run.study.plan
    study = replace(
        run.study,
        cells=cells,
        plan=plan if limit_s is None else replace(plan, process_limit_s=limit_s),
    )
    here = _probe(on_host(cells, board) if board else cells)
    if run.environment:
        _same_place(run.environment, here, path)
    environment = {**run.environment, **here, "host": cells[0].target.host}
    return replace(
        run, study=study, environment=environment, measurements=reopened, failures=(), left_out=()
    )


_COMPARED = ("nnprof", "python", "system", "variables", "device", "backend", "converter")
# Facts of a device that may differ between two looks at one place, or are told of another way.
_VOLATILE = {"why", "memory_bytes", "power_modes", "rails", "total_rail", "thermal_zones"}
_VOLATILE |= {"TORCHINDUCTOR_CACHE_DIR"}  # older Runs tell it; `environment` says what it is


def _same_place(then: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Refuse to mix numbers of two machines, or of one that is set otherwise, in one Run.

    What the Run does not state, because an older nnprof did not look at it, is not held against it.
    """
    unlike = differences(then, now)
    if unlike:
        what, was, is_now = unlike[0]
        more = f" (and {len(unlike) - 1} more)" if unlike[1:] else ""
        raise UsageError(
            f"{path} was measured with {what} '{was}'; here it is '{is_now}'{more}.",
            "Make it as it was, or start a new run and compare the two.",
        )


def differences(
    then: Mapping[str, Any], now: Mapping[str, Any]
) -> list[tuple[str, object, object]]:
    """What forbids to go on in the environment `now` with what was measured in `then`: facts.

    Facts that `then` does not state are not held against it. () where a Run may go on.
    """
    return [
        (f"{part} {fact}".strip(), was, is_now)
        for part in _COMPARED
        for fact, was, is_now in _differences(then.get(part), now.get(part), part == "variables")
    ]


def compared(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of an environment that must be as they were for a Run to go on."""
    return {
        part: {fact: value for fact, value in told.items() if fact not in _VOLATILE}
        if isinstance(told := environment.get(part), Mapping)
        else told
        for part in _COMPARED
    }


def _differences(was: Any, is_now: Any, whole: bool) -> Iterator[tuple[str, Any, Any]]:
    """What differs between two sets of facts; in a `whole` one what is missing is not set."""
    if was is None or was == is_now:
        return
    if not isinstance(was, Mapping) or not isinstance(is_now, Mapping):
        yield "", was, is_now
        return
    for fact in dict.fromkeys((*was, *is_now)):
        if (fact in was or whole) and fact not in _VOLATILE:
            before, after = was.get(fact), is_now.get(fact)
            if before != after:
                yield fact, *("not set" if one is None else one for one in (before, after))


def _find_again(model: Model) -> Model:
    try:
        require_same(model)
    except BadFile:
        pass
    else:
        return model
    if model.network is not None and is_seeded(model.weights):
        again = export(parse_network(model.name))
        if again.sha256 == model.sha256:
            return replace(model, path=again.path)  # with its batch where the user said
    raise BadFile(
        f"{model.path} is no longer the model that was measured (sha256 {model.sha256[:12]}…).",
        "Put the same file back, or start a new run.",
    )
