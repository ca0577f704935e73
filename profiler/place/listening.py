"""A process that answers in lines: each is told to somebody as it comes, and all are kept.

`Popen.communicate` gives what a process said once it has ended. Who works for ten minutes is to be
heard before that: what it told is on disk, should one of us be ended.
"""

from __future__ import annotations

import os
import selectors
import subprocess
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

Hear = Callable[[bytes], None]  # is given a whole line, without its end

_PIECE = 1 << 16  # bytes: what a pipe holds


def communicate(
    process: subprocess.Popen[bytes], given: bytes | None, limit_s: float, hear: Hear | None
) -> tuple[bytes, bytes]:
    """What a process says until its end, as `Popen.communicate` has it.

    Args:
        process: its standard output is a pipe; it reads `given` before it says much.
        given: for its standard input.
        limit_s: how long it may take.
        hear: is told each line of standard output at once; None: nobody.

    Raises:
        subprocess.TimeoutExpired: it took longer; `output` is what it had said.
    """
    if hear is None:
        return process.communicate(given, timeout=limit_s)
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(given or b"")
    out, err = bytearray(), bytearray()
    told, until_s = 0, monotonic() + limit_s
    with selectors.DefaultSelector() as selector:
        for stream, said in ((process.stdout, out), (process.stderr, err)):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, said)
        while selector.get_map():
            ready = selector.select(max(0.0, until_s - monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired(process.args, limit_s, bytes(out))
            for key, _ in ready:
                piece = os.read(key.fd, _PIECE)
                key.data.extend(piece)
                if not piece:
                    selector.unregister(key.fileobj)
            told = _tell(out, told, hear)
    process.wait(max(1.0, until_s - monotonic()))
    return bytes(out), bytes(err)


def _tell(out: bytearray, told: int, hear: Hear) -> int:
    """Tell the whole lines behind the first `told` bytes; how many bytes are told then."""
    while (end := out.find(b"\n", told)) >= 0:
        hear(bytes(out[told:end]))
        told = end + 1
    return told
