"""What is to be done on a board, from what it has."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_python import python

from nnprof.errors import NoSpace
from nnprof.profiler.setup import plan
from nnprof.profiler.setup.kept import Made
from nnprof.profiler.setup.plan import State
from nnprof.profiler.setup.wheels import OWN, Wheel

NUMPY = Wheel(Path("numpy-2.whl"), "numpy", "2", 10, 100, ())
OURS = Wheel(Path("nnprof-1.whl"), OWN, "1", 10, 100, ())
WHOLE = Made(extras=("cpu",), source="a", versions={"numpy": "2", OWN: "1"})


def state(made: Made | None, *, alive: bool = True, source: str = "a", extra: str = "cpu") -> State:
    """A board."""
    return State(python("3.10.4"), made, alive, source, extra)


def test_all_is_there() -> None:
    """The same code and runtime in an environment that answers: nothing is to be done."""
    assert state(WHOLE).done
    assert state(WHOLE, extra="").done


@pytest.mark.parametrize(
    ("found", "carried"),
    [
        (state(None), (NUMPY, OURS)),
        (state(Made(extras=("cpu",))), (NUMPY, OURS)),
        (state(WHOLE, alive=False), (NUMPY, OURS)),
        (state(WHOLE, source="b"), (OURS,)),
        (state(WHOLE, extra="mnn"), ()),
        (state(Made(source="a", versions={"numpy": "1", OWN: "1"})), (NUMPY,)),
    ],
    ids=["nothing", "cut off", "dead", "other code", "other runtime", "other numpy"],
)
def test_what_is_carried(found: State, carried: tuple[Wheel, ...]) -> None:
    """What differs is carried; all of it where the environment is not whole."""
    assert not found.done
    assert plan.to_carry(found, (NUMPY, OURS)) == carried


def test_runtimes_add_up() -> None:
    """A runtime that was there stays when another one is asked for."""
    assert state(WHOLE, extra="mnn").extras == ("cpu", "mnn")
    assert state(None, extra="").extras == ()


def test_room() -> None:
    """What does not fit is refused before it is carried, with both numbers."""
    big = NUMPY._replace(unpacked=2 * 10**9)
    plan.require_room("orin", state(None), (OURS, NUMPY))
    with pytest.raises(NoSpace, match=r"orin has 1\.0 GB left .* needs 2\.0 GB"):
        plan.require_room("orin", state(None), (big,))


def test_removal() -> None:
    """The cache goes whole where setup made it; an older one keeps all but what setup sent."""
    home = "/home/me"
    cache, folder = f"{home}/.cache/nnprof", f"{home}/.local/share/nnprof/board"
    made = (f"{home}/.cache", cache, f"{cache}/board", f"{home}/.local", folder, "/var/a.lock")
    assert plan.removal(made, cache, folder) == (
        (folder, cache), (f"{cache}/board", f"{home}/.cache", f"{home}/.local", "/var/a.lock")
    )  # fmt: skip
    trees, rest = plan.removal((f"{cache}/board/x.onnx",), cache, folder)
    assert trees == (folder, f"{cache}/board/wheels")
    assert rest == (f"{cache}/board/x.onnx",)
