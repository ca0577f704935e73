"""A board's power mode and clocks, for as long as a Run takes: nvpmodel and jetson_clocks.

Both ask for root. An account that may run them through sudo without a password has them run, here
or over SSH; another one is told what to type.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nnprof.errors import Unavailable, UsageError
from nnprof.profiler.devices import jetson, snapshot
from nnprof.profiler.ports import Shell

LOCKED = "locked"
_LIMIT_S = 30.0
_STATE = "clocks.conf"
_ENDINGS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def held(shell: Shell, wanted: str) -> Iterator[None]:
    """Have a board in a power mode with its clocks locked; afterwards as it was.

    It is put back after errors, too, and when this process is asked to end (SIGINT, SIGTERM and
    SIGHUP become KeyboardInterrupt).

    Args:
        shell: on the board.
        wanted: a mode of nvpmodel by name or id, or "locked": only lock the clocks.

    Raises:
        UsageError: the board has no such mode.
        Unavailable: it has no nvpmodel, it would have to restart, or the account may not set it;
            the remedy is what to type.
    """
    before, modes = _mode(shell)
    mode = before[0] if wanted == LOCKED else _number(wanted, modes)
    root = () if _says(shell, "id", "-u") == "0" else ("sudo", "-n")
    by_hand = f"Type there: sudo nvpmodel -m {mode} && sudo jetson_clocks"
    state = shell.path(_STATE)
    _run(shell, (*root, "jetson_clocks", "--store", state), by_hand)
    with _endings_interrupt():
        try:
            if mode != before[0]:
                _run(shell, (*root, "nvpmodel", "-m", str(mode)), by_hand)
                if _mode(shell)[0][0] != mode:
                    raise Unavailable(
                        f"The board takes power mode {wanted} only with a restart.",
                        f"Type there: sudo nvpmodel -m {mode}, and let it restart.",
                    )
            _run(shell, (*root, "jetson_clocks"), by_hand)
            yield
        finally:
            with _undisturbed():
                _put_back(shell, root, before[0], mode, state)


def _put_back(shell: Shell, root: tuple[str, ...], was: int, mode: int, state: str) -> None:
    by_hand = f"Type there: sudo nvpmodel -m {was} && sudo jetson_clocks --restore {state}"
    if mode != was:
        _run(shell, (*root, "nvpmodel", "-m", str(was)), by_hand)
    # After the mode, whose limits would overwrite it.
    _run(shell, (*root, "jetson_clocks", "--restore", state), by_hand)


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


def _run(shell: Shell, argv: tuple[str, ...], by_hand: str) -> None:
    # jetson_clocks asks whether it may overwrite a file (yes), nvpmodel whether to restart (no).
    answer = b"Y\n" if "--store" in argv else b"NO\n"
    done = shell.run(argv, stdin=answer, timeout_s=_LIMIT_S)
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        words = f": {said[-1].rstrip('.')}" if said else ""
        raise Unavailable(f"'{' '.join(argv)}' did not work on the board{words}.", by_hand)


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
