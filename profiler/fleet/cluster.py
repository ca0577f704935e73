"""The dask side of a fleet: a scheduler, a worker here for each board, and a client.

The workers are processes of this machine. Each holds its board over SSH (`there`), so that a board
needs what a single bench needs, and nothing on it listens. Between the processes here there is TLS
on 127.0.0.1, with keys that live in memory only; or the scheduler is the user's own, with the keys
of dask's configuration (`distributed.comm.tls`), and workers listen where it reaches them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from multiprocessing import forkserver
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec

from nnprof.errors import ConnectionLost, NnprofError, Unavailable, UsageError
from nnprof.profiler.fleet.orders import News, Post

_LOG = logging.getLogger(__name__)
_HERE = "127.0.0.1"
_AGAIN_S = 10.0  # until a board that is away is tried again
_ENDING_S = 15.0  # for a worker to put its board back as it was
_CONNECT_S = 20.0

# dask's own settings, as far as a fleet cannot live with what they are else.
_SETTINGS: Mapping[str, Any] = {
    "distributed.scheduler.allowed-failures": 3,  # boards that a process may cost
    "distributed.scheduler.no-workers-timeout": "10m",  # for a board to come back
    "distributed.scheduler.http.routes": [],  # there is nothing to see on the ports of HTTP
    "distributed.worker.http.routes": [],
    # Each worker imports dask, numpy and ours: once for all, in the process they are forked from.
    "distributed.worker.multiprocessing-method": "forkserver",
    # Workers that look at themselves a hundred times a second take processors from connections.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    # Variables that change speed are the user's: what dask sets would go to runtimes driven here.
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.nanny.environ": {},
}


class Crew:
    """A client of a scheduler to which the boards' workers have come, or will."""

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name

    def send(self, order: bytes, name: str, kind: str, priority: int) -> Any:
        """Have an order done by a board of a kind; the future of its answer.

        Args:
            order: an `Order` as JSON.
            name: of the order; the same one twice is one.
            kind: of a `Post`.
            priority: what has more comes first.
        """

        def measured(order: bytes) -> bytes:  # in here it is sent as it is, not as a name
            from nnprof.profiler.fleet import there

            return there.measure(order)

        # A scheduler reads what it passes on, and need not have nnprof for that.
        return self._client.submit(
            measured,
            order,
            key=f"{self._name}-{name}",
            resources={_resource(self._name, kind): 1},
            priority=priority,
            pure=False,
        )


def _resource(crew: str, kind: str) -> str:
    """Of one fleet: on a scheduler with several, none gets another one's boards."""
    return f"{crew}-{kind}"


@contextmanager
def joined(
    posts: Mapping[str, Post], power_mode: str, scheduler: str | None, heard: Callable[[News], None]
) -> Iterator[Crew]:
    """A worker for each board, on a scheduler of our own or the user's, until the block ends.

    Args:
        posts: by the names of boards.
        power_mode: as --power-mode says it; empty: what devices.toml wants.
        scheduler: the address of one that is there already.
        heard: is told news of boards, in another thread.

    Raises:
        Unavailable: dask is not installed, or the scheduler does not answer.
        UsageError: the scheduler would be spoken to in the clear.
    """
    dask = _dask()
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_SETTINGS))
        _start_forkserver()
        folder = tempfile.mkdtemp(prefix="nnprof-fleet-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(_silence())
        client, security = _client(scheduler, stack)
        host = reached_at(scheduler)
        common = {"security": security, "host": host, "local_directory": folder}
        crew = f"nnprof-{uuid4().hex[:12]}"
        client.subscribe_topic(crew, lambda event: heard(msgspec.convert(event[1], News)))
        keeping = client.sync(_begin, _specs(posts, power_mode, crew, common), client)
        stack.callback(client.sync, _end, keeping)
        yield Crew(client, crew)


@contextmanager
def _silence() -> Iterator[None]:
    """What matters comes as news."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _dask() -> Any:
    try:
        import cryptography  # noqa: F401  keys for TLS
        import dask
        import distributed  # noqa: F401
    except ImportError as error:
        raise Unavailable(
            f"Several boards at once need {error.name}, which is not installed.",
            "Install the extra: pip install 'nnprof-embedded[fleet]'",
        ) from error
    return dask


def _start_forkserver() -> None:
    """Begin to import what all workers need, while a scheduler starts here.

    Where this process has one already, it stays, and workers import what it has not.
    """
    from distributed.utils import get_mp_context

    # After dask has named what it would have imported: that is part of this.
    get_mp_context().set_forkserver_preload(["nnprof.profiler.fleet.there"])
    forkserver.ensure_running()


def _client(scheduler: str | None, stack: ExitStack) -> tuple[Any, Any]:
    """A client, and the keys that it speaks with; closed with the stack."""
    from distributed import Client, LocalCluster, Security

    if scheduler is None:
        security = Security.temporary()
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=0,
                processes=True,
                host=_HERE,
                dashboard_address=f"{_HERE}:0",
                security=security,
                silence_logs=logging.CRITICAL,
            )
        )
        return stack.enter_context(Client(cluster)), security
    require_private(scheduler)
    security = Security()
    try:
        client = Client(scheduler, security=security, timeout=_CONNECT_S)
    except (OSError, ValueError, TypeError) as error:
        raise Unavailable(
            f"No scheduler answers at {scheduler}: {error}.",
            "Start it with dask scheduler, and give dask's configuration the keys "
            "(distributed.comm.tls).",
        ) from error
    return stack.enter_context(client), security


def require_private(scheduler: str) -> None:
    """Refuse an address whose traffic others could read.

    Raises:
        UsageError: it has no TLS, and is not on this machine.
    """
    url = urlsplit(scheduler)
    if url.scheme == "tls" or (url.scheme == "tcp" and _is_here(url.hostname or "")):
        return
    raise UsageError(
        f"--scheduler {scheduler} has no TLS: others could read what goes there, and send orders.",
        "Give tls://host:port, and the keys in dask's configuration (distributed.comm.tls).",
    )


def _is_here(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def reached_at(scheduler: str | None) -> str:
    """Where workers here listen: a scheduler connects to them, to fetch what they have.

    It is the address of this machine on the way to the scheduler, and 127.0.0.1 where that is here.
    """
    from distributed.utils import get_ip

    host = urlsplit(scheduler or "").hostname or ""
    return _HERE if scheduler is None or _is_here(host) else str(get_ip(host))


def _specs(
    posts: Mapping[str, Post],
    power_mode: str,
    crew: str,
    common: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """What dask's Nanny is told, by board."""
    from nnprof.profiler.fleet.there import HoldsBoard

    return {
        board: {
            "name": board,
            "nthreads": 1,
            "resources": {_resource(crew, post.kind): 1},
            "plugins": (HoldsBoard(post, power_mode, crew),),
            "memory_limit": 0,
            "env": dict(os.environ),  # as it is now; a forkserver may be older
            "dashboard_address": f"{_HERE}:0",
            "silence_logs": logging.CRITICAL,
            **common,
        }
        for board, post in posts.items()
    }


async def _begin(specs: Mapping[str, dict[str, Any]], client: Any) -> list[asyncio.Task[None]]:
    address = client.scheduler.address
    return [asyncio.create_task(_keep(address, spec)) for spec in specs.values()]


async def _end(keeping: list[asyncio.Task[None]]) -> None:
    for task in keeping:
        task.cancel()
    await asyncio.gather(*keeping, return_exceptions=True)


async def _keep(address: str, spec: Mapping[str, Any]) -> None:
    """A worker for a board, again and again: it cannot start while the board is away."""
    from distributed import Nanny

    while True:
        nanny = Nanny(address, **spec)
        try:
            with suppress(Exception):  # what it is has been told by the worker
                await nanny
                await nanny.finished()
        finally:
            await _closed(nanny)
        await asyncio.sleep(_AGAIN_S)


async def _closed(nanny: Any) -> None:
    with suppress(Exception):
        await asyncio.wait_for(nanny.close(timeout=_ENDING_S), _ENDING_S + 5)


def why(error: BaseException, reason: str) -> NnprofError:
    """What dask says of an order that nobody could do, as we say it; our bugs come as they are.

    Args:
        error: of a future.
        reason: the last that was heard of boards, empty where nothing was.
    """
    from distributed.scheduler import KilledWorker, NoValidWorkerError

    last = f" The last that was heard: {reason}" if reason else ""
    if isinstance(error, KilledWorker):
        return ConnectionLost(
            f"Each board that tried it was lost, or its worker here ended.{last}",
            "Look at the boards, then go on with --resume.",
        )
    if isinstance(error, NoValidWorkerError):
        return Gone(f"No board for it came back.{last}", "Once one is back, go on with --resume.")
    raise error


class Gone(ConnectionLost):
    """All boards of a kind are away, and have been for long."""
