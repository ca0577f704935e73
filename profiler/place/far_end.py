"""What runs at the far end of a connection to a board: one-line scripts for bash.

Scripts are constants, and one line each, since a login shell may be anything; data are arguments.
They need bash, coreutils and util-linux.
"""

from __future__ import annotations

MARK = "nnprof-board"  # begins what `LOCK` says
ENDED = f"{MARK} ended with "  # begins the last line of `RUN`, before the exit code
# After so long without a heartbeat the board's lock is given back: before ServerAlive tells us that
# the network is gone (45 s), so that we do not meet our own lock when we come again.
SILENCE_S = 40
_TOOLS = "flock setpriv timeout sha256sum mktemp dd"

# The lock's file holds since when, and who. It is made with O_EXCL (set -C), and a link there
# is refused: where it leads, nothing is made, read or cut. dd does not create: in a folder such as
# /tmp the kernel refuses to open a file of somebody else's with O_CREAT (fs.protected_regular). The
# last act is to end the sshd of this connection, and so everything that came through it.
LOCK = (
    f'for tool in {_TOOLS}; do command -v "$tool" >/dev/null || '
    f'{{ echo "{MARK} lacks $tool"; exit; }}; done; '
    'lock="${TMPDIR:-/tmp}/nnprof-board.lock"; '
    'test -e "$lock" || test -L "$lock" || (umask 0; set -C; : >"$lock"); '
    'if test -L "$lock" || { test -e "$lock" && ! test -f "$lock"; }; '
    f'then echo "{MARK} link $lock"; exit; fi; '
    'exec 9<"$lock" || exit; '
    f'flock -w 2 9 || {{ echo "{MARK} busy $(date +%s) $(head -c 200 <&9)"; exit; }}; '
    'printf "%s %s\\n" "$(date +%s)" "$1" | '
    'dd of="$lock" conv=nocreat oflag=nofollow status=none; '
    'folder="${XDG_CACHE_HOME:-$HOME/.cache}/nnprof/board"; mkdir -p -- "$folder" || exit; '
    'kind=cpu; grep -aqs tegra "$NNPROF_ROOT/proc/device-tree/compatible" '
    '"$NNPROF_ROOT/sys/firmware/devicetree/base/compatible" && kind=jetson; '
    f'printf "%s\\n" "{MARK} ready" "$kind" "$(cat /proc/sys/kernel/random/boot_id)" "$HOME" '
    f'"$folder"; while read -r -t {SILENCE_S} beat; do :; done; kill "$PPID"'
)
# A program ends at its limit, and with the connection; its end by a signal is told as 128 + signal.
# 255 is left to ssh, so the true code is the last line of what it said.
RUN = (
    'cd -- "$1" || exit 1; setpriv --pdeathsig KILL timeout -k 5 "$2" '
    f'setpriv --pdeathsig KILL "${{@:3}}"; code=$?; printf "\\n{ENDED}%d" "$code" >&2; '
    "exit $((code == 255 ? 254 : code))"
)
SUM = 'sha256sum -- "$1"'
PUT = (
    'mkdir -p -- "${1%/*}" && draft=$(mktemp -- "$1.XXXXXX") || exit 1; '
    'trap \'rm -f -- "$draft"\' EXIT; cat >"$draft" && '
    'printf "%s  %s\\n" "$2" "$draft" | sha256sum -c --status && mv -f -- "$draft" "$1"'
)
GET = 'cat -- "$1"'
