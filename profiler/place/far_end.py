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
_TOOLS = "flock setpriv setsid timeout sha256sum mktemp dd"

# The lock's file holds since when, and who. It is made with O_EXCL (set -C), and a link there
# is refused: where it leads, nothing is made, read or cut. dd does not create: in a folder such as
# /tmp the kernel refuses to open a file of somebody else's with O_CREAT (fs.protected_regular). Its
# last holder may remove it (`nnprof setup --remove`): what is locked then has no name, and we try
# again. The last act is to end the sshd of this connection, and so everything that came through it.
# What it says of us is told, and what it said before, which anybody may have written at any length;
# and what was not there before, so that `setup` can take it away.
LOCK = (
    f'for tool in {_TOOLS}; do command -v "$tool" >/dev/null || '
    f'{{ echo "{MARK} lacks $tool"; exit; }}; done; '
    'made=; lock="${TMPDIR:-/tmp}/nnprof-board.lock"; until '
    'test -e "$lock" || test -L "$lock" || { (umask 0; set -C; : >"$lock") && made="$lock"; }; '
    'if test -L "$lock" || { test -e "$lock" && ! test -f "$lock"; }; '
    f'then echo "{MARK} link $lock"; exit; fi; '
    'exec 9<"$lock" || exit; '
    f'flock -w 2 9 || {{ echo "{MARK} busy $(date +%s) $(head -c 200 <&9)"; exit; }}; '
    'test ! -e "/proc/$$/fd/9" || test "$lock" -ef "/proc/$$/fd/9"; do :; done; '
    'read -r -n 500 before <&9; held="$(date +%s) $1"; printf "%s\\n" "$held" | '
    'dd of="$lock" conv=nocreat oflag=nofollow status=none; '
    'folder="${XDG_CACHE_HOME:-$HOME/.cache}/nnprof/board"; at="$folder"; '
    'until test -e "$at"; do made="$at"$\'\\t\'"$made"; at=$(dirname -- "$at"); done; '
    'mkdir -p -- "$folder" || exit; '
    'kind=cpu; grep -aqs tegra "$NNPROF_ROOT/proc/device-tree/compatible" '
    '"$NNPROF_ROOT/sys/firmware/devicetree/base/compatible" && kind=jetson; '
    'grep -aqs raspberrypi, "$NNPROF_ROOT/proc/device-tree/compatible" '
    '"$NNPROF_ROOT/sys/firmware/devicetree/base/compatible" && kind=pi; '
    f'printf "%s\\n" "{MARK} ready" "$kind" "$(cat /proc/sys/kernel/random/boot_id)" "$HOME" '
    '"$folder" "$made" "$held" "$before"; '
    f'while read -r -t {SILENCE_S} beat; do :; done; kill "$PPID"'
)
# A program ends at its limit, and with the connection; its end by a signal is told as 128 + signal.
# 255 is left to ssh, so the true code is the last line of what it said.
RUN = (
    'cd -- "$1" || exit 1; setpriv --pdeathsig KILL timeout -k 5 "$2" '
    f'setpriv --pdeathsig KILL "${{@:3}}"; code=$?; printf "\\n{ENDED}%d" "$code" >&2; '
    "exit $((code == 255 ? 254 : code))"
)
# The program has a session of its own, and a pipe that ends with this relay: it ends with the
# connection, and after a silence. What keeps the connection alive, an empty line, stays here.
APART = (
    f'while read -r -t {SILENCE_S} line; do [ -z "$line" ] || printf "%s\\n" "$line"; done | '
    'setsid -w "$@"'
)
# Its use is noted as the time of its last access, by which `TRIM` goes.
SUM = 'touch -ac -- "$1"; sha256sum -- "$1"'
PUT = (
    'mkdir -p -- "${1%/*}" && draft=$(mktemp -- "$1.XXXXXX") || exit 1; '
    'trap \'rm -f -- "$draft"\' EXIT; cat >"$draft" && '
    'printf "%s  %s\\n" "$2" "$draft" | sha256sum -c --status && mv -f -- "$draft" "$1"'
)
GET = 'cat -- "$1"'
# Of the files in a folder the least recently used go, until the others have at most so many bytes.
TRIM = (
    'cd -- "$1" || exit; find . -type f -printf "%A@ %s %p\\0" | sort -zrn | '
    '{ sum=0; while IFS=" " read -r -d "" at size path; do sum=$((sum + size)); '
    'test "$sum" -le "$2" || rm -f -- "$path"; done; }; '
    "find . -mindepth 1 -type d -empty -delete"
)
