"""A process at the board that sets its power mode and puts it back when we end, however that is.

It waits on its standard input, which ends with this process, with ssh, with the connection, or with
silence (`nnprof.profiler.ports.Shell.start`). It alone changes the board, one step after the other,
so that putting back never overlaps with setting, even if we are killed in between. What is to be
put back lies in a file beside the stored clocks until that has been done: so it is done once,
whoever does it, and what could not be done is known to the next one.
"""

from __future__ import annotations

import select
import subprocess
from collections.abc import Sequence

from nnprof.errors import Unavailable
from nnprof.profiler.ports import Shell

RECORD = ".was"  # behind the name of the stored clocks: the mode to go back to, or `PRESENT`
PRESENT = "-"  # the mode was not changed
_STEP_S = 30  # for one program
_EARLIER_S = 3 * _STEP_S  # until an earlier guard has put the board back
_ANSWER_S = _EARLIER_S + 3 * _STEP_S
_LEAVE_S = 5.0  # for a client of ours that has nothing more to say

# Its arguments are the file for the stored clocks, and what makes root. It ignores the hang-up and
# other signals, and so do the programs that it runs. jetson_clocks asks whether it may overwrite a
# file (Y), nvpmodel whether to restart (NO). For bash, and one line, as the scripts of `far_end`.
_SCRIPT = (
    'trap "" HUP INT TERM PIPE; state=$1; root=("${@:2}"); '
    'run() { told="${root[*]} ${*:2}"; '
    f'said=$(printf "%s\\n" "$1" | timeout -k 5 {_STEP_S} "${{root[@]}}" "${{@:2}}" 2>&1); '
    f'case $? in 0) ;; 124) said="it had not ended after {_STEP_S} s"; false ;; *) false ;; esac; '
    "}; "
    f'keep() {{ told="keep $state{RECORD}"; '
    f'said=$( (printf "%s\\n" "$1" >"$state{RECORD}") 2>&1); }}; '
    f'back() {{ was=$(cat -- "$state{RECORD}" 2>/dev/null) || return 0; '
    f'[ "$was" = {PRESENT} ] || run NO nvpmodel -m "$was" || return; '
    # After the mode, whose limits would overwrite it.
    f'run NO jetson_clocks --restore "$state" && rm -f -- "$state{RECORD}" "$state"; }}; '
    'say() { if "$@"; then echo ok; else '
    'printf "failed\\t%s\\t%s\\n" "${told# }" "${said##*$\'\\n\'}"; fi; }; '
    f'exec 8>"$state.lock"; flock -w {_EARLIER_S} 8 || '
    '{ told="flock $state.lock"; said="an earlier one is at it"; say false; exit; }; echo ok; '
    "while read -r word more; do case $word in "
    'store) say run Y jetson_clocks --store "$state" ;; '
    'keep) say keep "$more" ;; '
    'mode) say run NO nvpmodel -m "$more" ;; '
    "lock) say run NO jetson_clocks ;; "
    "esac; done; say back"
)


class Guard:
    """Such a process; it begins once an earlier one has put the board back.

    Args:
        shell: on the board.
        state: a file there for the stored clocks.
        root: what is put before a program that only root may run.

    Raises:
        Unavailable: it does not start.
    """

    def __init__(self, shell: Shell, state: str, root: Sequence[str]) -> None:
        self._process = shell.start(["bash", "-c", _SCRIPT, "nnprof", state, *root])
        mend = "Look whether bash, timeout and flock run there."
        try:
            if not self._heard(self._line(), mend):
                raise Unavailable("On the board nothing can be started that puts it back.", mend)
        except BaseException:
            self.close()
            raise

    def ask(self, step: str, by_hand: str) -> bool:
        """Have one step done: `store`, `keep MODE`, `mode MODE` or `lock`.

        Returns:
            False if the guard has ended.

        Raises:
            Unavailable: it did not work; the remedy is `by_hand`.
        """
        assert self._process.stdin is not None  # noqa: S101  `start` has pipes
        try:
            self._process.stdin.write(f"{step}\n".encode())
        except OSError:
            return False
        return self._heard(self._line(), by_hand)

    def end(self, by_hand: str) -> bool:
        """Have the board put back, if there is anything to put back; otherwise as `ask`."""
        try:
            # All of it: the answer to a step that Ctrl-C interrupted may come first.
            said, _ = self._process.communicate(timeout=_ANSWER_S)
        except subprocess.TimeoutExpired:
            said = b""
        self.close()
        return self._heard((said.splitlines() or [b""])[-1], by_hand)

    def close(self) -> None:
        """Hear no more of it; what is left to put back it puts back by itself."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:  # ssh, which may not know yet that the network is gone
            self._process.kill()
            self._process.wait()

    def _line(self) -> bytes:
        """What it says next; nothing where it has ended."""
        assert self._process.stdout is not None  # noqa: S101  `start` has pipes
        ready, _, _ = select.select([self._process.stdout], [], [], _ANSWER_S)
        return self._process.stdout.readline() if ready else b""

    def _heard(self, line: bytes, by_hand: str) -> bool:
        word, *rest = line.decode(errors="replace").rstrip("\n").split("\t")
        if word == "failed":
            command, said = (*rest, "", "")[:2]
            words = f": {said.strip().rstrip('.')}" if said.strip() else ""
            raise Unavailable(f"'{command}' did not work on the board{words}.", by_hand)
        return word == "ok"
