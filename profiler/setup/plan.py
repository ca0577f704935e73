"""From what a board has to what is to be done there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nnprof.errors import NoSpace
from nnprof.profiler.setup.kept import Made
from nnprof.profiler.setup.there import There
from nnprof.profiler.setup.wheels import OWN, Wheel


class State(NamedTuple):
    """A board, as far as setup cares.

    Attributes:
        there: its Python.
        made: what setup made there so far; None: nothing.
        alive: whether the environment answers with nnprof of our version.
        source: digest of nnprof's own files here.
        extra: of nnprof, that is asked for; empty for none.
    """

    there: There
    made: Made | None
    alive: bool
    source: str
    extra: str

    @property
    def whole(self) -> bool:
        """Whether an environment is there that can be added to; else it is made from the start."""
        return self.alive and self.made is not None and bool(self.made.source)

    @property
    def done(self) -> bool:
        """Whether all that is asked for is installed."""
        return (
            self.made is not None
            and self.whole
            and self.made.source == self.source
            and self.extra in ("", *self.made.extras)
        )

    @property
    def extras(self) -> tuple[str, ...]:
        """All that were asked for so far, and this one."""
        before = self.made.extras if self.made else ()
        return tuple(sorted({*before, self.extra} - {""}))


def to_carry(state: State, gathered: Sequence[Wheel]) -> tuple[Wheel, ...]:
    """The wheels that the environment does not have yet."""
    if not state.whole or state.made is None:
        return tuple(gathered)
    has = state.made.versions
    return tuple(
        one
        for one in gathered
        if has.get(one.name) != one.version
        or (one.name == OWN and state.made.source != state.source)
    )


def require_room(board: str, state: State, carried: Sequence[Wheel]) -> None:
    """Refuse what does not fit into the home folder there.

    Raises:
        NoSpace: it does not.
    """
    needed = sum(one.bytes + one.unpacked for one in carried)
    if needed > state.there.free_bytes:
        raise NoSpace(
            f"{board} has {megabytes(state.there.free_bytes)} left in its home folder, and setup "
            f"needs {megabytes(needed)}.",
            "Free some space there, and type the same command again.",
        )


def megabytes(count: float) -> str:
    """A size for people."""
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def removal(
    paths: Iterable[str], cache: str, folder: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What goes with all that is in it, and what goes if it is a file, or an empty folder by then.

    Args:
        paths: what was not there before.
        cache: nnprof's folder in the account's cache; it goes whole where setup made it.
        folder: where all that setup installs lies.
    """
    known = set(paths)
    wheels = f"{cache}/board/wheels"
    ours = (one for one in (cache, f"{cache}/board") if one in known)
    trees = (folder, next(ours, wheels))
    rest = known - set(trees)
    return trees, tuple(sorted(rest, key=lambda one: (-one.count("/"), one)))
