"""The redis-py clients that a storage uses: checked, made from a URL, one for each event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from inspect import signature
from typing import Any

from recallm.concurrency.forking import ForkSafeLock
from recallm.errors import InvalidTypeError, InvalidValueError, MissingExtraError

TIMEOUT_SECONDS = 0.25
"""How long a client made from a URL waits for a connection, or for a reply."""


def require_redis() -> None:
    """Check that redis-py is there.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import redis  # noqa: F401  # only whether it can be imported is asked
    except ImportError:
        raise MissingExtraError('RedisStorage needs the redis client; pip install "recallm[redis]"') from None


def conflict_and_refusal() -> tuple[type[Exception], type[Exception]]:
    """Return the exceptions that tell that a watched key has changed, and that the server refused a command."""
    from redis import ResponseError, WatchError

    return WatchError, ResponseError


def checked_client(client: Any, *, field: str, asynchronous: bool) -> Any:
    """Return a client of the wanted kind.

    Raises:
        InvalidTypeError: it is no redis-py client, or one of the other kind.
        InvalidValueError: it decodes replies, which turns vectors into text.
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
    """Return an async and a sync client that fail fast: trouble with a cache must not become a caller's.

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
    place = kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}"
    return f"{place}/{kwargs.get('db') or 0}"


def has_search(client: Any) -> bool:
    """Return whether the query engine may be used: it knows database 0 of a single server only."""
    return not is_cluster(client) and not client.connection_pool.connection_kwargs.get("db")


class LoopClients:
    """An async client for each event loop, while it is open: connections belong to the loop they were made in.

    Args:
        client: what the first loop uses; the others get one with the same settings.
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
                client = self._clients[loop] = self._alike() if self._taken else self._client
                self._taken = True
            return client

    def fresh(self) -> Any:
        """Return a new client, which is the running loop's from now on; the loop must have none."""
        client = self._alike()
        with self._lock:
            self._forget_closed()
            self._clients[asyncio.get_running_loop()] = client
        return client

    async def close_current(self) -> None:
        """Close what the running loop's client holds open."""
        with self._lock:
            client = self._clients.get(asyncio.get_running_loop())
        if client is not None:
            await client.aclose()

    def _forget_closed(self) -> None:
        # A client's connections hold the loop, so that neither would ever go.
        for loop in [loop for loop in self._clients if loop.is_closed()]:
            del self._clients[loop]

    def _alike(self) -> Any:
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
