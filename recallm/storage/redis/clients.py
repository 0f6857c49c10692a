"""The redis-py clients of a storage: checks them, makes them from a URL, and gives each event loop its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any
from weakref import finalize, ref

from recallm.concurrency.forking import reset_after_fork
from recallm.errors import InvalidTypeError, InvalidValueError, MissingExtraError
from recallm.storage.redis.connections import (
    copy_of,
    disconnect,
    has_connections,
    is_cluster,
    is_used_elsewhere,
    sever_ended,
)

TIMEOUT_SECONDS = 0.25
"""How long a client made from a URL waits for a connection or a reply: a fraction of what the model would take."""

AT_ONCE = 32
"""How many operations of one event loop, and how many removals, go on at the same time, each on its own connection.

More would be no faster, as the loop handles one reply at a time, but hold it longer at a stretch, and open connections
that are needed once.
"""


CONNECTING_AT_ONCE = 4
"""How many go on beyond those for which there are connections: to make one holds the loop for up to a millisecond."""


def require_redis() -> None:
    """Check that redis-py is installed.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import redis  # noqa: F401  # only whether it can be imported is asked
    except ImportError:
        raise MissingExtraError('RedisStorage needs the redis client; pip install "recallm[redis]"') from None


def conflict_and_refusal() -> tuple[type[Exception], type[Exception]]:
    """Return redis-py's exceptions for a watched key that has changed, and for a command that the server refuses."""
    from redis import ResponseError, WatchError

    return WatchError, ResponseError


def checked_client(client: Any, *, field: str, asynchronous: bool) -> Any:
    """Return a client if a storage can use it.

    Args:
        client: what the caller gave.
        field: the argument's name, for messages.
        asynchronous: whether an async client is wanted, or a sync one.

    Raises:
        InvalidTypeError: it is no redis-py client, or one of the other kind.
        InvalidValueError: it decodes replies, which turns vectors into text; or it is a cluster client that has no
            transactions.
    """
    import redis
    import redis.asyncio

    sync_kinds, async_kinds = (redis.Redis, redis.RedisCluster), (redis.asyncio.Redis, redis.asyncio.RedisCluster)
    if not isinstance(client, async_kinds if asynchronous else sync_kinds):
        wanted = "redis.asyncio.Redis or RedisCluster" if asynchronous else "redis.Redis or RedisCluster"
        raise InvalidTypeError(
            f"{field} is a {type(client).__module__}.{type(client).__name__}; use a {wanted}: "
            "client= takes an async one, sync_client= a sync one"
        )
    if client.get_encoder().decode_responses:
        raise InvalidValueError(
            f"{field} has decode_responses=True, which cannot read stored vectors and payloads; "
            "give RedisStorage a client of its own without it"
        )
    if is_cluster(client):
        try:
            client.pipeline(transaction=True)
        except redis.RedisError:
            raise InvalidValueError(
                f"{field} is a cluster client without transactions (redis-py {redis.__version__}); use 6.2 or later"
            ) from None
    return client


def clients_of_url(url: str, *, timeout: float, client_name: str, options: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return an async and a sync client that fail fast and do not retry: trouble with a cache must not delay a call.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        timeout: seconds to wait for a connection, or for a reply.
        client_name: the name that the server lists the connections under.
        options: further arguments of redis-py's clients; they win over the others.

    Raises:
        InvalidValueError: the URL or an option in it cannot be read; the message leaves the URL out, as it may
            hold a password.
    """
    import redis
    import redis.asyncio
    from redis.asyncio.retry import Retry as AsyncRetry
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    given = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "client_name": client_name,
        **options,
    }
    try:
        return (
            redis.asyncio.Redis.from_url(url, **{"retry": AsyncRetry(NoBackoff(), 0), **given}),
            redis.Redis.from_url(url, **{"retry": Retry(NoBackoff(), 0), **given}),
        )
    except (ValueError, TypeError) as error:
        raise InvalidValueError(
            f"the Redis URL, or an option given with it, cannot be used ({type(error).__name__}); "
            "use redis://[[user]:password@]host[:port][/db], rediss://... or unix://path"
        ) from None


def address(client: Any) -> str:
    """Return where a client connects to, without credentials."""
    if is_cluster(client):
        return "cluster"
    pool = client.connection_pool
    kwargs = pool.connection_kwargs
    if hasattr(pool, "service_name"):
        return f"Sentinel service {pool.service_name}/{kwargs.get('db') or 0}"
    where = kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}"
    return f"{where}/{kwargs.get('db') or 0}"


def has_search(client: Any) -> bool:
    """Return whether the query engine may be used: it indexes database 0 of a single server only."""
    return not is_cluster(client) and not client.connection_pool.connection_kwargs.get("db")


class LoopClient:
    """The client of one event loop, which closes its connections at its end.

    Args:
        client: the client.
        shared: whether the user may use it too.

    Attributes:
        client: see above.
        tasks: the operations under way.
        turns: lets no more than `AT_ONCE` of the calls' operations go on at the same time, but for removals; at first
            fewer, see `widen`.
        removals: lets no more than `AT_ONCE` of these go on.
    """

    def __init__(self, client: Any, *, shared: bool) -> None:
        self.client = client
        self.tasks: set[asyncio.Task[Any]] = set()
        self._width = CONNECTING_AT_ONCE
        self.turns, self.removals = asyncio.Semaphore(self._width), asyncio.Semaphore(AT_ONCE)
        self._end = _closes_at_the_end(client, self.tasks, ref(self) if shared else None)
        # Every loop finishes its asynchronous generators before it ends. It learns of one when it is first advanced.
        with suppress(StopIteration, ResourceWarning):
            self._end.__anext__().send(None)

    def widen(self) -> None:
        """Let more operations go on, now that one has ended, if there are connections for more by now."""
        while self._width < AT_ONCE and has_connections(self.client, self._width + 1 - CONNECTING_AT_ONCE):
            self._width += 1
            self.turns.release()

    def abandon(self) -> None:
        """Close the connections of a loop that ended without finishing its generators, and forget its tasks."""
        sever_ended(self.client)
        for task in self.tasks:
            # It will never end. Whoever waited for it is gone too, so nobody need be told.
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # as asyncio's `gather` does
            with suppress(Exception):
                task.get_coro().close()


async def _closes_at_the_end(
    client: Any, tasks: set[asyncio.Task[Any]], shared_with: ref[LoopClient] | None
) -> AsyncGenerator[None, None]:
    """Yield once. When the loop, or the client's owner, ends, cancel what is under way and close the connections.

    Args:
        client: the client.
        tasks: the operations under way.
        shared_with: the client's owner if the user may use the client too; None: nobody else does.
    """
    try:
        yield
    finally:
        pending = [task for task in tasks if not task.done()]
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=TIMEOUT_SECONDS)
        # If only the owner ends, the user may go on with the client.
        if shared_with is None or shared_with() is not None:
            await disconnect(client, idle_only=shared_with is not None)


class LoopClients:
    """Gives each event loop an async client of its own: connections belong to the loop in which they were made.

    Args:
        client: the client of the first loop; the others get clients with the same settings.
        shared: whether the user may use the client too.
    """

    def __init__(self, client: Any, *, shared: bool = True) -> None:
        self._client = client
        self._shared = shared
        self._untaken = [client]
        self._clients: dict[asyncio.AbstractEventLoop, LoopClient] = {}
        self._of_parent: list[LoopClient] = []
        finalize(self, _abandon_ended, self._clients)
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Begin anew: the child must use none of the parent's connections, nor close one."""
        self._of_parent += self._clients.values()
        self._clients.clear()
        self._untaken.clear()

    def current(self, *, copied: bool = False) -> LoopClient:
        """Return the running loop's client.

        Args:
            copied: True if a loop that has none yet must not get the one that the storage was given.
        """
        loop = asyncio.get_running_loop()
        found = self._clients.get(loop)
        if found is None:
            _abandon_ended(self._clients)
            # The user may have used it on a loop that has ended.
            sever_ended(self._client)
            found = self._clients[loop] = self._make(loop, copied=copied)
        return found

    async def close_current(self) -> None:
        """Close the connections of the running loop's client, if it has one."""
        found = self._clients.get(asyncio.get_running_loop())
        if found is not None:
            await disconnect(found.client, idle_only=False)

    def _make(self, loop: asyncio.AbstractEventLoop, *, copied: bool) -> LoopClient:
        if not copied and not is_used_elsewhere(self._client, loop):
            with suppress(IndexError):  # another loop has it
                return LoopClient(self._untaken.pop(), shared=self._shared)
        try:
            return LoopClient(copy_of(self._client), shared=False)
        except TypeError:
            raise InvalidTypeError(
                f"a client with a {type(self._client.connection_pool).__name__} serves the event loop that uses it "
                "first, and no other; give each loop a RedisStorage of its own, and sync code a sync_client"
            ) from None


def _abandon_ended(loops: dict[asyncio.AbstractEventLoop, LoopClient]) -> None:
    """Forget the clients of closed loops. A client refers to its loop, so that neither would ever be collected."""
    for loop in list(loops):
        ended = loops.pop(loop, None) if loop.is_closed() else None
        if ended is not None:
            ended.abandon()
