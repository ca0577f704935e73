"""Which boards are alike: those of a kind share one Run, and take each other's cells.

A twin of a board is one that could go on with the board's Run (`begin.differences`): the same
module, power mode, clocks, system, runtime, versions and variables. What a board says of itself
decides, not its name. `ask` connects; the rest is pure.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from nnprof.errors import NnprofError, UsageError
from nnprof.profiler.place import boards
from nnprof.profiler.run import begin, session
from nnprof.profiler.work import hosts
from nnprof.types import Run, Target

_LOG = logging.getLogger(__name__)

ALL = "all"
_AT_ONCE = 16  # boards that are asked at the same time
_WORDS = ("module", "board", "model", "name")  # facts of a device, the most telling first
_LONGEST = 40  # letters of a kind's name


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A board that answered: its name, what is measured on there, and what it said of itself."""

    name: str
    target: Target
    environment: dict[str, Any]


class Away(msgspec.Struct, frozen=True, kw_only=True):
    """A board that did not answer as one that can be measured, and why."""

    name: str
    error: NnprofError


class Look(NamedTuple):
    """What a board said of itself, for a target there, in a power mode as it was asked for."""

    target: Target
    power_mode: str
    environment: dict[str, Any]


class Seen(NamedTuple):
    """When a board was looked at: after its start `boot`, while its lock said `holder`."""

    boot: str
    holder: str


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """Boards that are alike, at least one.

    Attributes:
        name: what the Run's cells give as their host; of a single board its own name.
        members: the first one is asked where one has to answer for all.
    """

    name: str
    members: tuple[Member, ...]

    @property
    def first(self) -> Member:
        """The one that stands for all."""
        return self.members[0]

    @property
    def boards(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(one.name for one in self.members)


def names(device: str) -> tuple[str, ...] | None:
    """The boards that `--device a,b` or `--device all` names; None where it names a single place.

    Raises:
        UsageError: there are none, or one is no board.
        BadFile: devices.toml has a mistake.
    """
    if device != ALL and "," not in device:
        return None
    found = boards.load() if device == ALL else device.split(",")
    wanted = tuple(dict.fromkeys(name.strip() for name in found if name.strip()))
    if not wanted:
        raise UsageError(
            f"--device {device} names no board: {boards.file()} has none.",
            "Write its boards there; docs/remote.md says how.",
        )
    for name in wanted:
        if boards.meant_by(name) is None:
            raise UsageError(
                f"'{name}' is this machine, which drives the fleet and would be timed at that.",
                f"Measure it alone: --device {name}",
            )
    return wanted


def ask(
    wanted: Sequence[str], target_of: Callable[[str], Target], power_mode: str = ""
) -> tuple[Member | Away, ...]:
    """What boards say of themselves, in their power mode; several are asked at once.

    Args:
        wanted: names of boards.
        target_of: what is measured on at one of them. May connect.
        power_mode: as --power-mode says it; empty: what devices.toml wants.
    """
    with ThreadPoolExecutor(min(_AT_ONCE, len(wanted))) as pool:
        return tuple(pool.map(partial(_answer, target_of, power_mode), wanted))


def _answer(target_of: Callable[[str], Target], power_mode: str, name: str) -> Member | Away:
    try:
        target = target_of(name)
        with session.powered(target, power_mode or None):
            environment = begin.probe(target)
            link = hosts.connections.to(boards.find(target.host))
            link.look = Look(target, power_mode, environment)
        return Member(name=target.host, target=target, environment=environment)
    except NnprofError as error:
        return Away(name=name, error=error)


def found(
    wanted: Sequence[str],
    target_of: Callable[[str], Target],
    *,
    all_of_them: bool = True,
    power_mode: str = "",
) -> tuple[Kind, ...]:
    """The boards that answer, those that are alike together.

    Args:
        wanted: names of boards.
        target_of: what is measured on at one of them. May connect.
        power_mode: as --power-mode says it; empty: what devices.toml wants.
        all_of_them: whether one that does not answer is an error; else it is told, and left out.

    Raises:
        NnprofError: why a board, or every board, cannot be had.
    """
    answers = ask(wanted, target_of, power_mode)
    away = [one for one in answers if isinstance(one, Away)]
    if away and (all_of_them or len(away) == len(answers)):
        raise away[0].error
    for one in away:
        _LOG.warning("%s is left out: %s", one.name, one.error.reason)
    return of(one for one in answers if isinstance(one, Member))


def of(members: Iterable[Member]) -> tuple[Kind, ...]:
    """Boards that are alike together, in the order of their first ones."""
    groups: list[list[Member]] = []
    for one in members:
        twins = next((group for group in groups if not unlike(group[0], one)), None)
        if twins is None:
            groups.append([one])
        else:
            twins.append(one)
    return tuple(
        Kind(name=_name(group[0]) if group[1:] else group[0].name, members=tuple(group))
        for group in groups
    )


def unlike(one: Member, other: Member) -> list[str]:
    """In what two boards are no twins, in words; () where they are."""
    if replace(one.target, host="") != replace(other.target, host=""):
        return ["they are measured with other runtimes or options"]
    found = begin.differences(one.environment, other.environment)
    return [f"{what}: {here} and {there}" for what, here, there in found]


def _name(member: Member) -> str:
    """A name that is the same wherever a kind of board is met, and that no board can have."""
    device = member.environment.get("device") or {}
    word = next(str(device[fact]) for fact in _WORDS if device.get(fact))
    short = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")[:_LONGEST]
    facts = begin.compared(member.environment), replace(member.target, host="")
    return f"{boards.KIND}{short}-{hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:6]}"


def boards_of(run: Run) -> tuple[str, ...]:
    """The boards that a Run is measured on."""
    return tuple(run.environment.get("boards") or (run.study.target.host,))


def differs(run: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Why a board with the environment `now` may not go on with a Run; empty where it may."""
    found = begin.differences(run, now)
    return "; ".join(f"its {what} is {there}, not {here}" for what, here, there in found[:3])


def seen(board: str, run: Run, power_mode: str) -> Seen | None:
    """How to tell that a board needs no further look before it measures for a Run.

    None where this process has not looked at it, does not hold it since, or found it another one.
    """
    here = boards.find(board)
    link = hosts.connections.to(here) if hosts.connections.has(here) else None
    if link is None or link.look is None:
        return None
    target = replace(link.look.target, host=run.study.target.host)
    asked = target == run.study.target and link.look.power_mode == power_mode
    alike = asked and not begin.differences(run.environment, link.look.environment)
    return Seen(link.boot, link.holder) if alike else None


def is_as_seen(board: str, then: Seen | None) -> bool:
    """Whether nobody has held the board since, but us now, and it has not been restarted."""
    link = hosts.connections.to(boards.find(board))
    return then == Seen(link.boot, link.before)
