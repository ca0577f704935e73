"""When the worker of a board looks at it before it measures, and when it needs not."""

from __future__ import annotations

import pytest
from fake_ssh import SshBoard
from msgspec.structs import replace

import nnprof
from nnprof.profiler.fleet import kinds
from nnprof.profiler.fleet.orders import Post
from nnprof.profiler.run import begin
from nnprof.profiler.work import hosts
from nnprof.types import Cell, Plan, Run, Study


def _run(kind: kinds.Kind, cells: tuple[Cell, ...], plan: Plan) -> Run:
    target, environment = kind.first.target, kind.first.environment
    own = tuple(replace(cell, target=replace(target, host=kind.name)) for cell in cells)
    study = Study(name="test", command=(), created="", plan=plan, cells=own)
    return Run(study=study, environment=environment)


def test_a_board_is_looked_at_once_unless_somebody_else_had_it(
    boards: dict[str, SshBoard],
    cells: tuple[Cell, ...],
    short: Plan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the command has just seen its worker takes as it is; after anybody else it looks.

    So it does after a restart, and where the command looked for another Run or in another mode.
    """
    from nnprof.profiler.fleet.there import HoldsBoard

    (kind,) = kinds.found(["one", "two"], nnprof.named_target)
    run = _run(kind, cells, short)
    seen = kinds.seen("one", run, "")
    assert seen is not None
    assert kinds.seen("one", run, "15W") is None
    assert kinds.seen("one", replace(run, environment={"nnprof": "other"}), "") is None
    hosts.release()
    assert kinds.seen("one", run, "") is None  # it is not ours any more
    looked: list[str] = []

    def probe(target: nnprof.Target) -> dict[str, object]:
        looked.append(target.host)
        return run.environment

    monkeypatch.setattr(begin, "probe", probe)

    def takes(then: kinds.Seen | None) -> list[str]:
        looked.clear()
        post = Post(replace(kind.first.target, host="one"), run.environment, "0", then)
        holds = HoldsBoard(post, "", "topic")
        holds._take()
        holds._give_back()
        return list(looked)

    assert takes(seen) == []
    boards["one"].lock.write_text("1700000000 somebody@elsewhere (process 1)\n")
    assert takes(seen) == ["one"]
    boards["one"].lock.write_text(f"{seen.holder}\n")
    assert takes(seen) == []
    boards["one"].lock.write_text(f"{seen.holder}\n")
    assert takes(seen._replace(boot="before")) == ["one"]
    assert takes(None) == ["one"]
