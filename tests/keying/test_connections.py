"""Live objects count by their class, and connections by the server that they go to."""

from __future__ import annotations

import io
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import httpx
import numpy
import pytest
import redis.asyncio
from support.programs import Function, digest, read


def over(value: Any) -> Function:
    """Return a function that depends on `value`."""

    def ask(question: Any) -> Any:
        return (value, question)

    return ask


class FakeClient:
    """A client as libraries make them: a live connection, and the server that it goes to."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.lock = threading.Lock()
        self.calls = 0


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Return a class of connections in a module that passes for ``httpx``."""
    module = ModuleType("httpx")
    kind = type("Client", (FakeClient,), {"__module__": "httpx"})
    monkeypatch.setattr(module, "Client", kind, raising=False)
    monkeypatch.setitem(sys.modules, "httpx", module)
    return kind


def test_a_connection_counts_by_its_server_alone(client: Callable[[str], Any]) -> None:
    """A connection that is made again is the same; one that goes to another server is another."""
    one, again, other = client("https://one"), client("https://one"), client("https://two")
    again.calls = 3
    assert digest(over(one)) == digest(over(again))
    assert digest(over(one)) != digest(over(other))


@pytest.mark.parametrize("kind", [redis.Redis, redis.asyncio.Redis])
def test_a_redis_client_counts_by_its_server(kind: Callable[..., Any]) -> None:
    """A client that keeps its server in its pool is told from one of another host, port or database."""
    clients = [kind(), kind(host="other"), kind(port=6380), kind(db=1)]
    assert len({digest(over(each)) for each in clients}) == 4
    assert digest(over(kind())) == digest(over(clients[0]))


def test_work_of_a_connection_is_not_noticed(client: Callable[[str], Any]) -> None:
    """What a connection counts while it works does not make another function."""
    used = client("https://one")
    current = read(over(used))
    before = current().digest
    used.calls += 1
    assert current().digest == before


def test_what_a_library_finds_empty_does_not_count() -> None:
    """A library's registry that was looked up in vain is as it was, until something is registered."""
    kind = type("Registry", (), {"__module__": "late_library"})
    registry, public = kind(), kind()
    registry._handlers = defaultdict(list)
    public.topics = defaultdict(list)
    current, other = read(over(registry)), read(over(public))
    before, other_before = current().digest, other().digest
    assert registry._handlers["done"] == public.topics["done"] == []
    assert current().digest == before
    assert other().digest != other_before
    registry._handlers["done"].append("a")
    assert current().digest != before


class OwnClient(httpx.Client):
    """A client of the program's own."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self.model = model


def test_an_own_subclass_of_a_connection_counts_by_its_attributes() -> None:
    """What the program adds to a connection may decide an answer."""
    one, again, other = OwnClient("a"), OwnClient("a"), OwnClient("b")
    assert digest(over(one)) == digest(over(again))
    assert digest(over(one)) != digest(over(other))


VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="a")


def test_a_context_variable_counts_by_its_present_value() -> None:
    """What a context variable holds where the call is made is what the function reads."""
    current = read(over(VARIABLE))
    before = current().digest
    token = VARIABLE.set("b")
    assert current().digest != before
    VARIABLE.reset(token)
    assert current().digest == before


@pytest.mark.parametrize("make", [lambda: io.StringIO("a"), lambda: numpy.random.default_rng(1), lambda: iter("a")])
def test_what_cannot_be_read_is_told_from_what_takes_its_place(make: Callable[[], object]) -> None:
    """The first object in a place counts by its class, so that processes share; another one makes another function."""
    holder = [make(), make()]
    held: list[object] = [holder[0]]
    current = read(over(held))
    before = current().digest
    assert before == digest(over([make()]))
    held[0] = holder[1]
    assert current().digest not in (before, digest(over([None])))
    held[0] = holder[0]
    assert current().digest == before


LIVE: list[Callable[[], object]] = [threading.Lock, threading.Event, object, lambda: iter(())]


@pytest.mark.parametrize("make", LIVE)
def test_live_objects_count_by_their_class(make: Callable[[], object]) -> None:
    """What cannot be read counts by its class, so that every process makes the same function of it."""
    assert digest(over(make())) == digest(over(make()))
    assert digest(over(make())) != digest(over(None))
