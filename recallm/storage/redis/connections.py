"""What this package must know of redis-py's inside: which connections a client has, and how one is closed at once."""

from __future__ import annotations

import copy
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from inspect import Parameter, signature
from typing import Any


def is_cluster(client: Any) -> bool:
    """Return whether a client speaks to a cluster."""
    return hasattr(client, "nodes_manager")


def acquire(pool: Any) -> Any:
    """Take a connection from a pool, sync or async."""
    kind: Any = type(pool)
    return pool.get_connection("MULTI") if _asks_for_a_command(kind) else pool.get_connection()


@lru_cache(maxsize=64)
def _asks_for_a_command(kind: Any) -> bool:
    """Return whether a kind of pool wants to know the command that a connection is for, as before redis-py 5.3."""
    command = signature(kind.get_connection).parameters.get("command_name")
    return command is not None and command.default is Parameter.empty


def disconnect_idle(pool: Any) -> None:
    """Close the connections of a sync pool that nobody uses."""
    idle = getattr(pool, "_available_connections", None)
    for connection in pool.pool.queue if idle is None else idle:
        if connection is not None:
            sever(connection)


def connections_of(client: Any) -> list[Any]:
    """Return all connections of an async client, those to its Sentinels and to the nodes of its cluster included."""
    if is_cluster(client):
        nodes = client.nodes_manager
        unique = {id(node): node for each in (nodes.nodes_cache, nodes.startup_nodes) for node in each.values()}
        return [connection for node in unique.values() for connection in node._connections]
    pool = client.connection_pool
    connections = [*pool._available_connections, *pool._in_use_connections]
    for sentinel in _sentinels_of(pool):
        connections += connections_of(sentinel)
    return connections


def has_connections(client: Any, count: int) -> bool:
    """Return whether an async client has so many connections, idle or in use. A cluster's is not asked: it has."""
    return is_cluster(client) or len(connections_of(client)) >= count


def is_used_elsewhere(client: Any, loop: AbstractEventLoop) -> bool:
    """Return whether an async client has connections of another event loop that may still run."""
    loops = [_loop_of(connection) for connection in connections_of(client)]
    return any(each not in (None, loop) and not each.is_closed() for each in loops)


async def disconnect(client: Any, *, idle_only: bool) -> None:
    """Close an async client's connections of the running loop; it makes others when it is used again.

    Args:
        client: the client.
        idle_only: whether connections that somebody uses are left alone.
    """
    if is_cluster(client):
        await client.aclose()
        return
    connections = client.connection_pool._available_connections if idle_only else connections_of(client)
    loop = get_running_loop()
    for connection in [each for each in connections if _loop_of(each) is loop]:
        await connection.disconnect()


def sever_ended(client: Any) -> None:
    """Close an async client's connections of event loops that are closed: they are of no use to anybody."""
    connections = connections_of(client)
    for connection in connections:
        loop = _loop_of(connection)
        if loop is not None and loop.is_closed():
            sever(connection)
    if is_cluster(client) and not any(map(_loop_of, connections)):
        # Else it complains that nobody awaited its `aclose`, which needs the loop.
        client._initialize = True


def _loop_of(connection: Any) -> Any:
    """Return the event loop in which an async connection was made; None if it is not connected."""
    return getattr(connection._writer, "_loop", None)


def sever(connection: Any) -> None:
    """Close a connection at once and without a word to the server: nobody awaits it, or its loop has ended."""
    if not hasattr(connection, "_writer"):
        connection.disconnect()  # a sync one
        return
    writer = connection._writer
    if writer is None:
        return
    connection._reader = connection._writer = None
    with suppress(Exception):
        connection._parser.on_disconnect()
    transports = [writer.transport, getattr(getattr(writer.transport, "_ssl_protocol", None), "_transport", None)]
    for transport in transports:
        if transport is not None:
            _abort(transport)


def _abort(transport: Any) -> None:
    """Close a transport, and its socket too if its loop cannot do so any more."""
    with suppress(Exception):
        transport.abort()
    loop, lose = getattr(transport, "_loop", None), getattr(transport, "_call_connection_lost", None)
    if loop is not None and loop.is_closed() and lose is not None:
        with suppress(Exception):
            lose(None)


def copy_of(client: Any) -> Any:
    """Return an async client with the same settings, and connections of its own.

    Raises:
        TypeError: its pool is of a kind whose constructor takes other arguments than redis-py's.
    """
    if is_cluster(client):
        return _copy_of_cluster(client)
    pool = client.connection_pool
    settings = {**pool.connection_kwargs, "connection_class": pool.connection_class}
    settings["max_connections"] = pool.max_connections
    if hasattr(pool, "timeout"):
        settings["timeout"] = pool.timeout
    if hasattr(pool, "sentinel_manager"):
        sentinels = copy.copy(pool.sentinel_manager)
        sentinels.sentinels = [copy_of(each) for each in sentinels.sentinels]
        del settings["connection_pool"]  # which connections use to find their master
        settings |= {"service_name": pool.service_name, "sentinel_manager": sentinels}
        settings |= {"is_master": pool.is_master, "check_connection": pool.check_connection}
    return type(client).from_pool(type(pool)(**settings))


def _copy_of_cluster(client: Any) -> Any:
    node = next(iter(client.nodes_manager.startup_nodes.values()))
    made_of = client.connection_kwargs
    known = {name: made_of[name] for name in signature(type(client)).parameters if name in made_of}
    secure = "SSL" in getattr(made_of.get("connection_class"), "__name__", "")
    return type(client)(**{**known, "host": node.host, "port": node.port, "ssl": secure})


def _sentinels_of(pool: Any) -> Iterable[Any]:
    """Return the clients of the Sentinels that a pool asks where its server is."""
    return tuple(getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()))
