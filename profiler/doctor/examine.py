"""The doctor's visit: read a place, judge it, order what was found."""

from __future__ import annotations

import shlex

from msgspec.structs import replace

from nnprof._version import __version__
from nnprof.profiler.doctor import judge, software
from nnprof.profiler.doctor.findings import Diagnosis, Finding, Unknown, rank
from nnprof.profiler.doctor.seen import Seen, look
from nnprof.types import Target

_OURS = ("nnprof ", "python ")  # commands that are typed here, wherever the target is


def doctor(target: Target | None = None) -> Diagnosis:
    """What would make numbers of a target untrustworthy, or impossible; takes a few seconds.

    Raises:
        UsageError: the board cannot be reached, or somebody else measures there.
    """
    return judged(look(target or Target()))


def judged(seen: Seen) -> Diagnosis:
    """The findings of what was read, the worst first. Pure."""
    found = [one for look_at in (*software.LOOKS, *judge.LOOKS) for one in look_at(seen)]
    findings = sorted(
        (one for one in found if isinstance(one, Finding)), key=lambda one: rank(one.code)
    )
    return Diagnosis(
        nnprof=__version__,
        host=seen.target.host,
        device=seen.target.device,
        on=seen.target.on,
        findings=tuple(_typed_here(seen.way, one) for one in findings),
        unknown=tuple(one for one in found if isinstance(one, Unknown)),
    )


def _typed_here(way: str, found: Finding) -> Finding:
    """With its command as it is typed on this machine: one for a board goes there by ssh."""
    if not way or not found.command or found.command.startswith(_OURS) or found.data.get("ours"):
        return found
    command = f"{way.replace('ssh', 'ssh -t', 1)} {shlex.quote(found.command)}"
    return replace(found, command=command)
