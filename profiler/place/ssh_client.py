"""The user's own OpenSSH client: how it is called, kept alive, and what its complaints mean."""

from __future__ import annotations

import shlex
import subprocess
from contextlib import suppress
from threading import Event, Thread
from typing import IO

from nnprof.errors import NnprofError, Unavailable
from nnprof.profiler.place.boards import Board

_OPTIONS = {
    "BatchMode": "yes",  # nobody is asked for a password in mid-sweep
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "15",  # a network that is gone is noticed in 45 s
    "ServerAliveCountMax": "3",
    "ControlPersist": "no",
    "LogLevel": "ERROR",
    # What a user's config may want for a login, and a program cannot have.
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
}
_HEARTBEAT_S = 10.0  # well below `far_end.SILENCE_S`

# What ssh says → what is wrong, and what to do: the board {0}, its host {1}, as ssh has it {2}.
_REASONS = (
    (
        "IDENTIFICATION HAS CHANGED",
        "{0} shows another host key than known_hosts has: it was installed anew, or this is "
        "another machine.",
        "If that is expected, remove the old key with ssh-keygen -R, then connect once by hand: "
        "ssh {2}",
    ),
    (
        "Host key verification failed",
        "The host key of {0} is not known here.",
        "Connect once by hand and compare it: ssh {2}",
    ),
    (
        "Permission denied",
        "{0} does not let us in without a password.",
        "Give it your key: ssh-copy-id {2}",
    ),
    (
        "Could not resolve hostname",
        "There is no host '{1}'.",
        "Correct the name, or give its address.",
    ),
)


def unreachable(board: Board, said: str) -> NnprofError:
    """Why a board cannot be reached, from what ssh said."""
    for words, reason, remedy in _REASONS:
        if words in said:
            names = (board.name, board.host, board.by_hand.removeprefix("ssh "))
            return Unavailable(reason.format(*names), remedy.format(*names))
    return Unavailable(
        f"{board.name} cannot be reached: {last(said)}.",
        f"Is it on, and in this network? Try by hand: {board.by_hand}",
    )


def called(board: Board, control: str, *more: str) -> list[str]:
    """The command that goes to a board through the connection of a control socket, or makes it."""
    options = [word for name, value in _OPTIONS.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-S", control, *options, *more, *board.arguments]


def command(script: str, *arguments: str) -> str:
    """What the login shell at the far end gets: one program, whose arguments are all quoted."""
    # bash stays, so that a program's end by a signal is an exit code to ssh; it ends with sshd.
    return "exec " + shlex.join(
        ["setpriv", "--pdeathsig", "KILL", "bash", "-c", script, "nnprof", *arguments]
    )


def beat(client: subprocess.Popen[bytes], closing: Event) -> None:
    """From now on, tell the far end that we are there, until then or until the pipe is closed."""

    def tell(pipe: IO[bytes]) -> None:
        with suppress(OSError, ValueError):  # it broke, or is closed: whoever uses it will say so
            while not closing.wait(_HEARTBEAT_S):
                pipe.write(b"\n")
                pipe.flush()

    assert client.stdin is not None  # noqa: S101  we asked for a pipe
    Thread(target=tell, args=(client.stdin,), daemon=True).start()


def last(said: str) -> str:
    """The last line of what somebody said, without the full stop."""
    lines = said.strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else "it gave no reason"
