"""Which boards answer at this moment, how they are, and which of them are alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from nnprof import registry
from nnprof.errors import NnprofError
from nnprof.profiler.fleet import kinds
from nnprof.profiler.fleet.kinds import Away, Member
from nnprof.profiler.work import hosts
from nnprof.types import Reading, Target

if TYPE_CHECKING:
    from nnprof.profiler.ports import Device

_FACTS = ("module", "board", "model")  # the most telling first


class BoardStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A board.

    Attributes:
        board: its name.
        kind: what it shares a Run as; its own name where nothing is like it, empty if it is away.
        what: module, board or processor, as it says itself.
        power_mode: of a Jetson, None elsewhere.
        runtime: and its version.
        temperature_c: of its hottest sensor, None where it shows none.
        unlike: in what it differs from the first board of the list that says the same of `what`.
        away: why it cannot be measured now, empty if it can.
    """

    board: str
    kind: str = ""
    what: str = ""
    power_mode: str | None = None
    runtime: str = ""
    temperature_c: float | None = None
    unlike: tuple[str, ...] = ()
    away: str = ""


def status(wanted: Sequence[str], target_of: Callable[[str], Target]) -> tuple[BoardStatus, ...]:
    """How boards are, in the order asked; each is connected to, and left again.

    Args:
        wanted: names of boards.
        target_of: what would be measured on at one of them.
    """
    try:
        answers = kinds.ask(wanted, target_of)
        members = [one for one in answers if isinstance(one, Member)]
        with ThreadPoolExecutor(max(1, len(members))) as pool:
            readings = dict(
                zip((one.name for one in members), pool.map(_reading, members), strict=True)
            )
    finally:
        hosts.release()
    named = {board: kind.name for kind in kinds.of(members) for board in kind.boards}
    return tuple(
        BoardStatus(board=one.name, away=f"{one.error.reason} {one.error.remedy}".strip())
        if isinstance(one, Away)
        else _of(one, named[one.name], readings[one.name], members)
        for one in answers
    )


def _of(one: Member, kind: str, reading: Reading, members: Sequence[Member]) -> BoardStatus:
    first = next(other for other in members if _what(other) == _what(one))
    backend = one.environment.get("backend") or {}
    return BoardStatus(
        board=one.name,
        kind=kind,
        what=_what(one),
        power_mode=(one.environment.get("device") or {}).get("power_mode"),
        runtime=f"{backend.get('name', '')} {backend.get('version') or ''}".strip(),
        temperature_c=reading.temperature_c,
        unlike=() if first is one else tuple(kinds.unlike(first, one)),
    )


def _what(member: Member) -> str:
    device = member.environment.get("device") or {}
    return next((str(device[fact]) for fact in _FACTS if device.get(fact)), member.target.device)


def _reading(member: Member) -> Reading:
    device: Device = registry.find("device", member.target.device)
    try:
        return device.over(hosts.shell(member.name)).read(())
    except NnprofError as error:
        return Reading(unknown={"temperature_c": error.reason})
