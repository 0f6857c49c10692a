"""The redis-py clients of a storage: checks them, makes them from a URL, and gives each event loop its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from inspect import signature
from typing import Any

from recallm.concurrency.forking import ForkSafeLock
from recallm.errors import InvalidTypeError, InvalidValueError, MissingExtraError

TIMEOUT_SECONDS = 0.25
"""How long a client made from a URL waits for a connection or a reply: a fraction of what the model would take."""


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


def is_cluster(client: Any) -> bool:
    """Return whether a client speaks to a cluster."""
    return hasattr(client, "nodes_manager")


def address(client: Any) -> str:
    """Return where a client connects to, without credentials."""
    if is_cluster(client):
        return "cluster"
    kwargs = client.connection_pool.connection_kwargs
    where = kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}"
    return f"{where}/{kwargs.get('db') or 0}"


def has_search(client: Any) -> bool:
    """Return whether the query engine may be used: it indexes database 0 of a single server only."""
    return not is_cluster(client) and not client.connection_pool.connection_kwargs.get("db")


class LoopClients:
    """Gives each event loop an async client of its own: connections belong to the loop in which they were made.

    Args:
        client: the client of the first loop; the others get clients with the same settings.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._taken = False
        self._lock = ForkSafeLock()
        self._clients: dict[asyncio.AbstractEventLoop, Any] = {}

    def current(self) -> Any:
        """Return the running loop's client."""
        loop = asyncio.get_running_loop()
        with self._lock:
            client = self._clients.get(loop)
            if client is None:
                self._forget_closed()
                client = self._clients[loop] = self._copy() if self._taken else self._client
                self._taken = True
            return client

    def fresh(self) -> Any:
        """Return a new client, which is the running loop's from now on. The loop must have none yet."""
        client = self._copy()
        with self._lock:
            self._forget_closed()
            self._clients[asyncio.get_running_loop()] = client
        return client

    async def close_current(self) -> None:
        """Close the connections of the running loop's client, if it has one."""
        with self._lock:
            client = self._clients.get(asyncio.get_running_loop())
        if client is not None:
            await client.aclose()

    def _forget_closed(self) -> None:
        # A client refers to its loop through its connections, so that neither would ever be collected.
        for loop in [loop for loop in self._clients if loop.is_closed()]:
            del self._clients[loop]

    def _copy(self) -> Any:
        if is_cluster(self._client):
            nodes = list(self._client.nodes_manager.startup_nodes.values())
            made_of = self._client.connection_kwargs
            known = {name: made_of[name] for name in signature(type(self._client)).parameters if name in made_of}
            secure = "SSL" in getattr(made_of.get("connection_class"), "__name__", "")
            return type(self._client)(**{**known, "host": nodes[0].host, "port": nodes[0].port, "ssl": secure})
        pool = self._client.connection_pool
        settings = {"connection_class": pool.connection_class, "max_connections": pool.max_connections}
        if hasattr(pool, "timeout"):
            settings["timeout"] = pool.timeout
        try:
            fresh = type(pool)(**settings, **pool.connection_kwargs)
        except TypeError:
            raise InvalidTypeError(
                f"a client with a {type(pool).__name__} serves the event loop that uses it first, and no other; "
                "give each loop a RedisStorage of its own, and sync code a sync_client"
            ) from None
        return type(self._client).from_pool(fresh)
