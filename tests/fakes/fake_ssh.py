"""A board over SSH: a real sshd on loopback with its own keys, home, cache and, as root, user.

Nothing of it outlives the test. The client is the machine's own OpenSSH; a script called ssh, in
front of the PATH, gives it a configuration of its own.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Thread

import processes
import psutil
import pytest
from msgspec.structs import replace

from nnprof.profiler import results
from nnprof.profiler.run import begin, sweep
from nnprof.types import Cell, Plan, Run

_USER, _ID = "nnprof-board", 64321
_ROOT = Path(__file__).parents[2]
_WORLD = ("unshare", "--mount", "sh")
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


class SshBoard:
    """A host that is called "board" by our ssh.

    Attributes:
        folder: holds everything; home: of the account there.
        user: the account: another one where we may make that so, else our own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.user = _USER if _another_user(folder) else getpass.getuser()
        for place in (self.home, folder / "tmp"):
            place.mkdir()
            if self.user == _USER:
                os.chown(place, _ID, _ID)
        _make_key(folder / "host_key")
        _make_key(folder / "key")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.know_host_key(folder / "host_key.pub")
        self.let_in(folder / "key.pub")
        self._write_configurations()
        self._listener: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As --device takes it."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}"

    @property
    def lock(self) -> Path:
        """The board's lock."""
        return self.folder / "tmp" / "nnprof-board.lock"

    @property
    def cache(self) -> Path:
        """Our folder on the board."""
        return self.home / ".cache/nnprof/board"

    def know_host_key(self, public: Path) -> None:
        """Make the client expect this host key."""
        kind, key, *_ = public.read_text().split()
        line = f"[127.0.0.1]:{self.port} {kind} {key}\n"
        (self.folder / "known_hosts").write_text(line)

    def let_in(self, public: Path) -> None:
        """Make the account know this key alone."""
        shutil.copy(public, self.folder / "authorized")

    def set_path(self, *programs: str) -> None:
        """Let the account have these programs only; listens anew."""
        some = self.folder / "some"
        some.mkdir()
        for name in programs:
            (some / name).symlink_to(shutil.which(name) or name)
        self.stop()
        self.set_environment(PATH=str(some))
        self.start()

    def _write_configurations(self, more: str = "") -> None:
        scratch = self.lock.parent
        there, client = self.folder / "sshd_config", self.folder / "ssh_config"
        there.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.folder}/host_key\n"
            f"AuthorizedKeysFile {self.folder}/authorized\nStrictModes no\nPidFile none\n"
            "UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"PermitRootLogin prohibit-password\nSetEnv HOME={self.home} "
            f"TMPDIR={scratch} NNPROF_LOCKS={scratch} {more}\n"
        )
        client.write_text(
            f"Host board\n  HostName 127.0.0.1\n  Port {self.port}\n  User {self.user}\nHost *\n"
            f"  IdentityFile {self.folder}/key\n  IdentitiesOnly yes\n  IdentityAgent none\n"
            f"  UserKnownHostsFile {self.folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
        )

    def set_python3(self, executable: str) -> None:
        """Let `python3` of the account on the board be this one; listens anew."""
        (self.folder / "path").mkdir()
        python = self.folder / "path/python3"
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(executable)} "$@"\n')
        python.chmod(0o755)
        self.stop()
        self.set_environment(PATH=f"{python.parent}:/usr/bin:/bin")
        self.start()

    def make_small(self, size: str) -> None:
        """Give the account a disk of that size; listens anew. Needs a user of its own."""
        if self.user != _USER:
            pytest.skip("needs root and mount namespaces, for a small disk on the board")
        world = (self.folder / "world").read_text()
        mount = f"mount -t tmpfs -o mode=777,size={size} none {self.home}\n"
        (self.folder / "world").write_text(world.replace("exec", f"{mount}exec"))
        self.stop()
        self.start()

    @property
    def root(self) -> Path:
        """What stands in for `/` on the board, once it has become another one."""
        return self.folder / "root"

    def become(self, root: Path) -> None:
        """Let that folder stand in for `/`; listens anew the first time."""
        first = not self.root.is_symlink()
        self.root.unlink(missing_ok=True)
        self.root.symlink_to(root)
        if first:
            programs = f"{self.root}/usr/sbin:{self.root}/usr/bin:/usr/bin:/bin"
            self.stop()
            self.set_environment(NNPROF_ROOT=str(self.root), PATH=programs)
            self.start()

    def give_away(self, folder: Path) -> None:
        """Let the account own everything in there."""
        if self.user == _USER:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, _ID, _ID, follow_symlinks=False)

    def set_environment(self, **more: str) -> None:
        """What programs on the board find in their environment; before `start`."""
        self._write_configurations(" ".join(f"{name}={value}" for name, value in more.items()))

    def start(self) -> None:
        """Listen."""
        assert SSHD is not None
        command = [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        if self.user == _USER:
            # A user who exists in the eyes of this sshd alone.
            command = [*_WORLD, str(self.folder / "world"), *command]
        command = ["setpriv", "--pdeathsig", "KILL", *command]
        told = self.folder / "sshd.log"
        with told.open("ab") as log:
            before = log.tell()
            self._listener = subprocess.Popen(command, stderr=log, start_new_session=True)
        # Not by connecting: before anybody listens, a socket may connect to itself.
        processes.until(lambda: b"Server listening" in told.read_bytes()[before:], self._listener)

    @property
    def listens(self) -> bool:
        """Whether it has been started and not been stopped."""
        return self._listener is not None

    def processes(self) -> list[psutil.Process]:
        """What runs there for us, sshd's own processes included, the listener left out."""
        listener = self._listener
        with contextlib.suppress(psutil.NoSuchProcess):  # it may go between two looks
            return psutil.Process(listener.pid).children(recursive=True) if listener else []
        return []

    def workers(self) -> list[psutil.Process]:
        """The workers of ours that run there."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name().startswith("python"):
                    found.append(process)
        return found

    def seen(self, path: Path) -> Path:
        """A path of the board as this process gets to it, mounts that only sshd sees included."""
        assert self._listener is not None
        return Path(f"/proc/{self._listener.pid}/root{path}")

    def kill_sessions(self) -> None:
        """What a broken network, or a restart, does to those who are connected."""
        assert self._listener is not None
        for session in psutil.Process(self._listener.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                session.kill()

    def nnprof(self, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """The command, here."""
        command = [sys.executable, "-m", "nnprof", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)

    def cells(self, cells: Iterable[Cell], host: str = "board") -> tuple[Cell, ...]:
        """The same cells, there."""
        return tuple(replace(cell, target=replace(cell.target, host=host)) for cell in cells)

    def bench(self, cells: Iterable[Cell], plan: Plan, folder: Path, host: str = "board") -> Run:
        """The Run of measuring cells there."""
        run, path = begin.start(self.cells(cells, host), plan, folder, name="test")
        list(sweep.sweep(run, path))
        return results.load(path)

    def break_in_work(self, broken: Callable[[], None]) -> None:
        """Do that as soon as a worker runs."""

        def wait() -> None:
            while self._listener is not None and not self.workers():
                time.sleep(0.01)
            if self._listener is not None:
                broken()

        Thread(target=wait, daemon=True).start()

    def stop(self) -> None:
        """As if switched off."""
        if self._listener is not None:
            processes.kill(self._listener.pid)
            self._listener.wait()
            self._listener = None


def introduce(root: Path, boards: dict[str, SshBoard], lines: str = "") -> dict[str, str]:
    """Variables with which nnprof finds several boards by their names; `lines` of devices.toml.

    `root` is a folder for what that takes.
    """
    texts = (
        (board.folder / "ssh_config").read_text().replace("Host board", f"Host {name}")
        for name, board in boards.items()
    )
    (root / "ssh_config").write_text("".join(text.replace("Host *\n", "") for text in texts))
    (root / "bin").mkdir()
    ssh = root / "bin/ssh"
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {root}/ssh_config "$@"\n')
    ssh.chmod(0o755)
    config = root / "config/nnprof"
    config.mkdir(parents=True)
    (config / "devices.toml").write_text(
        "".join(
            f'[{name}]\nhost = "{name}"\nbackend = "fake"\npython = "{sys.executable}"\n{lines}'
            for name in boards
        )
    )
    return {"PATH": f"{root}/bin:{os.environ['PATH']}", "XDG_CONFIG_HOME": f"{root}/config"}


def _make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def _another_user(folder: Path) -> bool:
    """Whether sshd can be shown a user who does not exist, and whom our Python lets in."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    known = Path("/etc/passwd").read_text()
    (folder / "passwd").write_text(f"{known}{_USER}:*:{_ID}:{_ID}::{folder}/home:/bin/bash\n")
    (folder / "world").write_text(_world(folder))
    who = ["setpriv", "--reuid", str(_ID), "--regid", str(_ID), "--clear-groups", "--inh-caps=-all"]
    code = "import nnprof.profiler.work.worker, pwd, os; pwd.getpwuid(os.getuid())"
    command = [*_WORLD, str(folder / "world"), *who, sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0


def _world(folder: Path) -> str:
    """A script that runs a program in a world where the user exists and can reach our Python.

    Folders such as /root keep strangers out. In this world, and only there, an empty one lies over
    each, with what is needed bound into it again.
    """
    needed = {sys.prefix, sys.base_prefix, str(_ROOT), *filter(os.path.isdir, sys.path)}
    closed = {
        path: ancestor
        for path in sorted(needed)
        for ancestor in sorted(map(str, Path(path).parents))[::-1]
        if not Path(ancestor).stat().st_mode & 0o001
    }
    lines = ["set -e", f"mount --bind {folder}/passwd /etc/passwd"]
    for number, path in enumerate(closed):
        alias = folder / f"alias-{number}"
        lines += [f"mkdir -p {alias}", f"mount --bind {shlex.quote(path)} {alias}"]
    for ancestor in sorted(set(closed.values())):
        lines.append(f"mount -t tmpfs -o mode=755 none {shlex.quote(ancestor)}")
    for number, path in enumerate(closed):
        lines.append(f"mkdir -p {shlex.quote(path)}")
        lines.append(f"mount --bind {folder}/alias-{number} {shlex.quote(path)}")
    return "\n".join([*lines, 'exec "$@"'])
