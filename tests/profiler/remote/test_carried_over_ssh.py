"""Converters work here, and what they make is carried: a real sshd, a board without converters."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from fake_ssh import SshBoard
from msgspec.structs import replace

from nnprof import registry
from nnprof.errors import Unavailable
from nnprof.exporters import cache
from nnprof.exporters.models import load_model
from nnprof.networks import bundled
from nnprof.profiler import results
from nnprof.profiler.run import begin, session, sweep
from nnprof.types import Cell, Model, Plan, Target, Workload

CONVERTING = {"mnn": (".mnn",), "ncnn": ("_ncnn.py", ".ncnn.bin", ".ncnn.param")}
# An option that rounds, and the precisions of files that are refused, with words of why.
ROUNDING = {
    "mnn": ({"weights": "int8"}, {"int8": "QDQ"}),
    "ncnn": ({"storage": "fp16"}, {"fp16": "casts of a float16 file", "int8": "ncnn2int8"}),
}


@pytest.fixture(params=CONVERTING)
def backend(request: pytest.FixtureRequest, board: SshBoard) -> str:
    """A runtime with a converter of its own, on a board whose own converters do not work.

    Skipped with its own sentence where it is not here.
    """
    found = registry.find("backend", request.param)
    try:
        found.probe()
        found.converter()
    except Unavailable as reason:
        pytest.skip(str(reason))
    broken = board.folder / "broken"
    (broken / "pnnx-1.0.dist-info").mkdir(parents=True)
    (broken / "pnnx-1.0.dist-info/METADATA").write_text("Name: pnnx\nVersion: 1.0\n")
    (broken / "_tools.py").write_text("raise SystemExit('no converter works here')\n")
    board.stop()
    board.set_environment(PYTHONPATH=str(broken))
    board.start()
    return str(request.param)


def _cells(model: Model, target: Target, *batches: int) -> tuple[Cell, ...]:
    return tuple(
        Cell(workload=Workload(model=model, batch=batch), target=target) for batch in batches
    )


def _made_there(board: SshBoard) -> list[Path]:
    return [*board.home.rglob("models/*")]


def test_files_are_made_here_once_and_carried(
    board: SshBoard, backend: str, model: Model, short: Plan, tmp_path: Path
) -> None:
    """A board whose converters do not work measures all the same; the Run says who converted."""
    run = board.bench(_cells(model, Target(backend=backend), 1, 4), short, tmp_path)
    assert not run.failures
    by = registry.find("backend", backend).converter()
    assert run.environment["converter"] == {**by, "machine": platform.machine()}
    for measured in run.measurements:
        assert len(measured.processes) == short.processes
        assert measured.facts["converters"] == by
        assert (
            measured.facts["converted_on"]
            == f"{platform.machine()}, carried from the machine that asked"
        )
    sent = {path.name: path.read_bytes() for path in board.cache.iterdir()}
    names = {measured.facts["converted"] for measured in run.measurements}
    assert names <= {*sent}
    assert len(names) == (1 if backend == "mnn" else 2)  # ncnn has files for each shape
    here = {path.name: path.read_bytes() for path in cache.folder().iterdir()}
    assert all(sent[name] == here[name] for name in names)
    for suffix in CONVERTING[backend]:
        assert any(name.endswith(suffix) for name in sent)
    assert not _made_there(board)


def test_what_it_costs_and_what_is_refused(
    board: SshBoard, backend: str, short: Plan, tmp_path: Path
) -> None:
    """Precisions and options of the runtime work there, with accuracy; a refusal is its cell's."""
    data = tmp_path / "tiles.npz"
    data.write_bytes(bundled.tiles_path().read_bytes())
    work = Workload(model=load_model(bundled.model_path()), batch=16, data=str(data))
    options, refused = ROUNDING[backend]
    target = Target(backend=backend, host="board", options=options)
    run, path = session.start(
        (Cell(workload=work, target=target),),
        replace(short, processes=1, max_processes=1),
        tmp_path,
        precisions=("fp32", "fp16", "int8"),
    )
    list(sweep.sweep(run, path))
    run = results.load(path)
    assert {one.workload.precision: one.reason for one in run.failures}.keys() == {*refused}
    for one in run.failures:
        assert refused[one.workload.precision] in one.reason
    for one in run.accuracies:
        told = refused.get(one.precision, "")
        assert told in one.reason
        assert bool(told) == (one.top1 is None)
        assert told or (one.tiles == 64 and one.top1 > 0.8)
    assert not _made_there(board)


def test_streams_there_read_what_was_carried(
    board: SshBoard, backend: str, model: Model, short: Plan, tmp_path: Path
) -> None:
    """Each stream is a process of its own on the board, and opens the carried files."""
    plan = replace(short, processes=1, max_processes=1, streams_s=0.5)
    run = board.bench(_cells(model, Target(backend=backend, streams=2), 1), plan, tmp_path)
    assert not [one.reason for one in run.failures]
    (measured,) = run.measurements
    assert len(measured.processes[0].streams) == 2
    assert measured.facts["converted_on"].endswith("carried from the machine that asked")
    assert not _made_there(board)


def test_a_converter_that_is_missing_here(
    board: SshBoard,
    backend: str,
    model: Model,
    short: Plan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is carried, and the sentence says that it is to be installed here."""

    def missing() -> dict[str, str]:
        raise Unavailable("It is not installed here.", "Try: pip install it")

    monkeypatch.setattr(registry.find("backend", backend), "converter", missing)
    with pytest.raises(Unavailable, match="not installed here"):
        board.bench(_cells(model, Target(backend=backend), 1), short, tmp_path)
    with pytest.raises(Unavailable, match="not installed here"):
        begin.probe(Target(backend=backend, host="board"))
    assert not [*board.cache.iterdir()]
