"""Live objects: what is one, and what of it decides an answer."""

from __future__ import annotations

import asyncio
import io
import logging
import queue
import socket
import sqlite3
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from keying.making import TOKENS, Plain, Point, form
from pydantic import BaseModel

from recallm.keying.identity import FunctionIdentity
from recallm.keying.live import address, holds_connection, is_connection, is_live, settings_of
from recallm.keying.reader import UnreadableError


def of_package(package: str, name: str) -> type:
    """Return a class of this name that a package defines."""
    return type(name, (), {"__module__": package, "__init__": lambda self, **held: self.__dict__.update(held)})


@pytest.mark.parametrize(
    "cls",
    [
        *(type(threading.Lock()), threading.Thread, threading.local, socket.socket),
        *(logging.Logger, sqlite3.Connection, asyncio.Queue, asyncio.Semaphore, queue.Queue),
        *(httpx.Client, httpx.AsyncClient, of_package("celery.app.task", "Task"), of_package("flask.app", "Flask")),
        *(of_package("fastapi.applications", "FastAPI"), of_package("django.db.models.query", "Prefetch")),
        *(of_package("redis.client", "Redis"), of_package("psycopg2.pool", "ThreadedConnectionPool")),
        *(of_package("sqlalchemy.engine.base", "Engine"), of_package("urllib3.poolmanager", "PoolManager")),
        *(of_package("opentelemetry.trace", "Tracer"), type("Own", (httpx.Client,), {})),
    ],
    ids=lambda cls: f"{cls.__module__}.{cls.__name__}",
)
def test_connections_locks_and_the_like_are_live(cls: type) -> None:
    """The objects of some packages are live, and the connections of others, with their subclasses."""
    assert is_live(cls)


@pytest.mark.parametrize(
    "cls",
    [
        *(int, str, dict, Point, Path, datetime, BaseModel, SimpleNamespace, httpx.URL, httpx.Headers, httpx.Timeout),
        *(io.StringIO, weakref.WeakSet, subprocess.CompletedProcess),
        *(of_package("shop.models", "Client"), of_package("shop.http", "Session"), of_package("ioquake", "Thing")),
        *(of_package("sqlalchemy.engine.row", "Row"), of_package("redisson", "Client"), of_package("h", "Event")),
    ],
    ids=lambda cls: f"{cls.__module__}.{cls.__name__}",
)
def test_values_are_not_live(cls: type) -> None:
    """Values, the program's own classes whatever their names, and what connections only carry, are not live."""
    assert not is_live(cls)


def test_a_client_is_what_holds_a_connection_itself() -> None:
    """An object with a connection among its attributes is a client; one that holds a client is none."""
    with httpx.Client() as connection:
        assert is_connection(type(connection))
        assert holds_connection({"a": 1, "_client": connection})
        assert not holds_connection({"a": 1, "inner": Plain(client=connection), "all": [connection]})
    assert not holds_connection({})


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, {}),
        ({"api_key": "secret", "timeout": 3, "max_retries": 2}, {}),
        ({"base_url": "https://a", "timeout": 3}, {"base_url": "https://a"}),
        ({"_api_version": "v1", "_azure_deployment": "d"}, {"_api_version": "v1", "_azure_deployment": "d"}),
        ({"http_options": Plain(base_url="https://a", timeout=3)}, {"base_url": "https://a"}),
        ({"_http_options": Plain(http_options=Plain(api_version="v1"))}, {"api_version": "v1"}),
    ],
)
def test_of_a_client_the_server_that_it_talks_to_counts(attributes: dict[str, Any], expected: dict[str, Any]) -> None:
    """Addresses, deployments and versions are found, in options too; keys and timeouts are not among them."""
    assert dict(address(attributes)) == expected


def test_of_a_client_its_settings_count_too() -> None:
    """What a client sends and may answer by counts; its rights, patience and own state do not."""
    with httpx.Client() as connection:
        counted = {"base_url": "https://a", "model": "m", "_default_headers": {"a": "b"}, "_client": connection}
        left_out = {"api_key": "k", "token": "t", "timeout": 3, "max_retries": 2, "verbose": True, "_calls": 7}
        assert settings_of({**counted, **left_out}) == counted


def digest(client: Any) -> bytes:
    """Return the digest of a function that closes over a client."""

    def answer(question: str) -> Any:
        return client.send(question)

    return FunctionIdentity(answer, {}, TOKENS)().digest


def client(**held: Any) -> Any:
    """Return an object of a library that holds a connection."""
    return of_package("vendor", "Vendor")(_client=httpx.Client(), **held)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (threading.Lock, threading.Lock, True),
        (threading.Lock, threading.Event, False),
        (lambda: client(base_url="https://a"), lambda: client(base_url="https://a"), True),
        (lambda: client(base_url="https://a"), lambda: client(base_url="https://b"), False),
        (lambda: client(api_key="a"), lambda: client(api_key="b"), True),
        (lambda: client(model="a"), lambda: client(model="b"), False),
        (lambda: client(_calls=1), lambda: client(_calls=2), True),
        (lambda: httpx.Client(base_url="https://a"), lambda: httpx.Client(base_url="https://a"), True),
        (lambda: httpx.Client(base_url="https://a"), lambda: httpx.Client(base_url="https://b"), False),
        (lambda: httpx.Client(timeout=1), lambda: httpx.Client(timeout=2), True),
    ],
)
def test_a_function_depends_on_the_server_of_a_client_and_not_on_its_state(
    one: Callable[[], Any], other: Callable[[], Any], same: bool
) -> None:
    """What a function closes over counts by its class if it is live, and by its server if it is a connection."""
    assert (digest(one()) == digest(other())) is same


@pytest.mark.parametrize(
    "make",
    [threading.Lock, httpx.Client, lambda: sys, lambda: logging.getLogger("a"), client],
    ids="lock connection module logger client".split(),
)
def test_an_argument_that_is_live_is_refused(make: Callable[[], Any]) -> None:
    """Among the arguments of a call nothing tells whether a live object matters, so it is not left out."""
    value = make()
    for held in (value, [value], {"k": Plain(held=value)}):
        with pytest.raises(UnreadableError, match="cannot be read") as caught:
            form(held)
        assert caught.value.live is not None
        assert is_live(caught.value.live) or caught.value.live is type(sys)
