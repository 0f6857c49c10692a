"""Live objects: connections, locks, threads, loggers. Their state changes as they work and decides no answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from recallm.keying.objects import named_values

_LIVE = frozenset(
    """
    _asyncio _ctypes _queue _socket _sqlite3 _ssl _thread anyio asyncio celery click concurrent ctypes curio django
    eventlet fastapi flask gevent greenlet logging loguru mmap multiprocessing opentelemetry prometheus_client queue
    recallm select selectors socket sqlalchemy sqlite3 ssl starlette structlog threading trio typer unittest
    """.split()
)
"""Packages all of whose objects are live."""

_ROWS = ("Row", "RowMapping")
"""Classes in these packages whose instances are values."""

_NETWORK = frozenset(
    """
    aiobotocore aiohttp aiokafka asyncpg azure boto botocore elasticsearch google grpc h httpcore httpx kafka
    motor opensearchpy paramiko pika psycopg pymongo redis requests urllib valkey websockets
    """.split()
)
"""Packages some of whose classes are connections, without the numbers that later versions end in."""

_CONNECTION_ENDINGS = (
    "Adapter", "Channel", "Client", "Connection", "Connector", "Engine", "Pool", "PoolManager", "Redis", "Session",
    "Stub", "Transport",
)  # fmt: skip

_ADDRESS = (
    "_api_version", "_azure_deployment", "_azure_endpoint", "_base_url", "_endpoint", "_host", "api_base",
    "api_version", "azure_endpoint", "base_url", "db", "endpoint", "endpoint_url", "host", "location", "organization",
    "port", "project", "region", "region_name", "url",
)  # fmt: skip
"""Names under which clients keep which server they talk to."""

_OPTIONS = ("_connection_kwargs", "_http_options", "connection_kwargs", "connection_pool", "http_options")
"""Names under which clients keep options that say it."""


def is_live(cls: type) -> bool:
    """Return whether the instances of a class are live."""
    if cls.__module__.partition(".")[0] in _LIVE:
        return not issubclass(cls, (Sequence, Mapping, Set)) and cls.__name__ not in _ROWS
    return is_connection(cls)


def is_connection(cls: type) -> bool:
    """Return whether the instances of a class are connections, or make them."""
    return any(
        kind.__module__.partition(".")[0].rstrip("0123456789") in _NETWORK
        and kind.__name__.endswith(_CONNECTION_ENDINGS)
        for kind in cls.__mro__
    )


_SECRETS = ("auth", "credential", "key", "password", "secret", "token")
_TUNING = ("debug", "limit", "pool", "retries", "retry", "timeout", "verbose")
"""Parts of the names of settings that decide no answer: with whose right, and how patiently, a client asks."""

_SENT = frozenset({"_custom_headers", "_custom_query", "_default_headers", "_default_query"})
"""Names under which clients keep what they send with every request."""


def settings_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return which of a client's attributes decide its answers: its server, and settings such as a model."""
    known = dict(address(attributes))
    for name, item in attributes.items():
        decides = not name.startswith("_") and not any(part in name.lower() for part in (*_SECRETS, *_TUNING))
        if decides or is_connection(type(item)) or name in _SENT:
            known[name] = item
    return known


def holds_connection(attributes: Mapping[str, Any]) -> bool:
    """Return whether an object with these attributes is a client: it holds a connection itself."""
    return any(is_connection(type(item)) for item in attributes.values())


def address(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield by name what a client's attributes say of the server that it talks to."""
    for name in _ADDRESS:
        if name in attributes:
            yield name, attributes[name]
    for name in _OPTIONS:
        if name in attributes:
            options = attributes[name]
            yield from address(options if type(options) is dict else named_values(options))
