"""A board's power mode and clocks, for as long as a Run takes: nvpmodel and jetson_clocks.

Both ask for root. An account that may run them through sudo without a password has them run, here
or over SSH; another one is told what to type.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nnprof.errors import NnprofError, Unavailable, UsageError
from nnprof.profiler.devices import jetson, snapshot
from nnprof.profiler.place.guard import PRESENT, RECORD, Guard
from nnprof.profiler.ports import Shell

_LOG = logging.getLogger(__name__)
LOCKED = "locked"
_LIMIT_S = 30.0
_STATE = "clocks.conf"
_ENDINGS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def held(shell: Shell, wanted: str) -> Iterator[None]:
    """Have a board in a power mode with its clocks locked; afterwards as it was.

    It is put back after errors, too, and when this process is asked to end (SIGINT, SIGTERM and
    SIGHUP become KeyboardInterrupt). If it is killed, or the connection breaks, the guard there
    puts it back (`nnprof.profiler.place.guard`); a connection that is made again sets it again.

    Args:
        shell: on the board.
        wanted: a mode of nvpmodel by name or id, or "locked": only lock the clocks.

    Raises:
        UsageError: the board has no such mode.
        Unavailable: it has no nvpmodel, it would have to restart, or the account may not set it;
            it could not be put back. The remedy is what to type.
    """
    hold = _Hold(shell, wanted)
    with _endings_interrupt():
        try:
            hold.set()
            with shell.reopened(hold.set):
                yield
        finally:
            with _undisturbed():
                hold.put_back()


class _Hold:
    """A board that is to be in a mode, and the guard that has put it there."""

    def __init__(self, shell: Shell, wanted: str) -> None:
        self._shell, self._wanted = shell, wanted
        self._guard: Guard | None = None
        self._by_hand = ""  # how a person puts the board back

    def set(self) -> None:
        """Set the mode and lock the clocks, by a guard at the end of the present connection."""
        guard = self._begun()
        if self._left():
            _LOG.warning("The board is still set for a Run that was killed; it is put back first.")
            guard.end(self._by_hand)
            guard = self._begun()
        (now, _), modes = _mode(self._shell)
        mode = now if self._wanted == LOCKED else _number(self._wanted, modes)
        self._by_hand = self._back(str(now))
        steps = ["store", f"keep {PRESENT if mode == now else now}"]
        steps += [] if mode == now else [f"mode {mode}"]
        for step in (*steps, "lock"):
            if not guard.ask(step, f"Type there: sudo nvpmodel -m {mode} && sudo jetson_clocks"):
                raise Unavailable("What sets the board's power mode was ended.", "Measure again.")
            if step.startswith("mode") and _mode(self._shell)[0][0] != mode:
                raise Unavailable(
                    f"The board takes power mode {self._wanted} only with a restart.",
                    f"Type there: sudo nvpmodel -m {mode}, and let it restart.",
                )

    def put_back(self) -> None:
        """Have the guard put the board back, or another one where that was ended meanwhile."""
        if self._guard is None or self._guard.end(self._by_hand):
            return
        unknown = "Whether the board was put back is not known"
        try:
            guard = self._begun()
        except NnprofError as error:
            raise Unavailable(f"{unknown}: {error.reason}", self._by_hand) from error
        if not guard.end(self._by_hand):
            raise Unavailable(f"{unknown}: the connection broke.", self._by_hand)

    def _begun(self) -> Guard:
        """A fresh guard in place of the one before."""
        if self._guard is not None:
            self._guard.close()
        root = () if _says(self._shell, "id", "-u") == "0" else ("sudo", "-n")
        self._guard = None
        self._guard = Guard(self._shell, self._shell.path(_STATE), root)
        return self._guard

    def _left(self) -> bool:
        """Whether an earlier guard had to put something back and did not."""
        try:
            mode = self._shell.get(self._shell.path(f"{_STATE}{RECORD}")).decode(errors="replace")
        except FileNotFoundError:
            return False
        self._by_hand = self._back(mode.strip())
        return True

    def _back(self, mode: str) -> str:
        state = self._shell.path(_STATE)
        nvpmodel = "" if mode == PRESENT else f"sudo nvpmodel -m {mode} && "
        return f"Type there: {nvpmodel}sudo jetson_clocks --restore {state} && rm {state}{RECORD}"


def _mode(shell: Shell) -> tuple[tuple[int, str], dict[str, int]]:
    """The mode that the board is in, by id and name, and the modes that it has."""
    texts = snapshot.over(shell, jetson.MODES, (jetson.QUERY,))
    mode = jetson.power_mode(texts)
    if mode is None:
        raise Unavailable(
            "The device has no nvpmodel, so its power mode cannot be set.",
            "Leave out --power-mode; it is for Jetson boards.",
        )
    return mode, jetson.power_modes(texts)


def _number(wanted: str, modes: dict[str, int]) -> int:
    if wanted in modes:
        return modes[wanted]
    if wanted.isdecimal() and (not modes or int(wanted) in modes.values()):
        return int(wanted)
    if not modes:
        raise UsageError(
            "The board's modes cannot be read from /etc/nvpmodel.conf.",
            f"Give --power-mode the mode's id, or {LOCKED} to keep its own.",
        )
    known = ", ".join(f"{name} ({number})" for name, number in modes.items())
    raise UsageError(
        f"The board has no power mode '{wanted}'.",
        f"It has: {known}; or {LOCKED}, to keep its own.",
    )


def _says(shell: Shell, *argv: str) -> str:
    return shell.run(argv, timeout_s=_LIMIT_S).stdout.decode(errors="replace").strip()


@contextmanager
def _endings_interrupt() -> Iterator[None]:
    with _handling(_ENDINGS, _interrupt):
        yield


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not leave the board half put back."""
    with _handling((signal.SIGINT, *_ENDINGS), signal.SIG_IGN):
        yield


@contextmanager
def _handling(signals: tuple[signal.Signals, ...], handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # where none can be set
        yield
        return
    old = {one: signal.signal(one, handler) for one in signals}
    try:
        yield
    finally:
        for one, was in old.items():
            signal.signal(one, was)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
