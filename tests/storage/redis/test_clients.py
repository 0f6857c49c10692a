"""The redis-py clients of a storage are checked, impatient and discreet, and each event loop has its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from support.redis_servers import COMMANDS, LAYOUTS, WANTED, Server, free_port, running
from support.redis_storages import make

from recallm import semantic_cache
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.storage.base import Put, Recall, Search
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import FakeEmbedder

EMBEDDER = FakeEmbedder()


def test_an_async_client_serves_several_event_loops(server: Server) -> None:
    """A storage with an async client gives each event loop connections of its own."""
    server.empty()
    client = redis.asyncio.Redis(port=server.port)
    storage = RedisStorage(client)
    calls = 0

    @semantic_cache(context={}, storage=storage, embedder=EMBEDDER, guards=())
    async def answer(prompt: str) -> str:
        nonlocal calls
        calls += 1
        return prompt

    async def call() -> None:
        assert await answer("one two three") == "one two three"
        assert await answer("three two one") == "one two three"
        await storage.aclose()

    for _ in range(3):
        asyncio.run(call())
    assert calls == 1
    assert answer.stats().errors == {}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_clients_of_closed_loops_are_forgotten(redis_server: Server) -> None:
    """A storage used on five event loops in turn keeps the client of one only."""
    storage = RedisStorage(redis.asyncio.Redis(port=redis_server.port), layout=LAYOUTS[redis_server.kind])

    async def once() -> None:
        await storage.aperform(Recall("n", "k"))
        await storage.aclose()

    for _ in range(5):
        asyncio.run(once())
    assert storage._clients is not None
    assert len(storage._clients._clients) == 1


def test_a_client_of_sentinels_says_what_it_cannot_do() -> None:
    """Sync use of an async Sentinel client raises an error that says it serves one event loop only."""
    sentinel: Any = redis.asyncio.Sentinel([("localhost", 1)])  # type: ignore[no-untyped-call]  # redis-py's own
    storage = RedisStorage(sentinel.master_for("mymaster"))
    with pytest.raises(InvalidTypeError, match="SentinelConnectionPool serves the event loop"):
        storage.sizes(["n"])


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({}, InvalidTypeError, "from_url"),
        ({"client": redis.Redis()}, InvalidTypeError, "sync_client="),
        ({"sync_client": redis.asyncio.Redis()}, InvalidTypeError, "client="),
        ({"client": redis.asyncio.Redis(decode_responses=True)}, InvalidValueError, "decode_responses"),
        ({"sync_client": redis.Redis(decode_responses=True)}, InvalidValueError, "decode_responses"),
        ({"sync_client": "redis://localhost"}, InvalidTypeError, "str"),
    ],
)
def test_clients_that_cannot_serve_are_refused(arguments: Any, error: type[Exception], says: str) -> None:
    """A client of the wrong kind, or none, raises an error that says what to give instead."""
    with pytest.raises(error, match=says):
        RedisStorage(**arguments)


def test_a_url_may_not_ask_for_decoded_replies() -> None:
    """A URL with `decode_responses` is refused as a client with it is."""
    with pytest.raises(ValueError, match="decode_responses"):
        RedisStorage.from_url("redis://localhost/0?decode_responses=True")


def test_clients_of_a_url_are_impatient_and_named(server: Server) -> None:
    """Clients of a URL give up within a second, do not retry, and are named on the server."""
    storage = RedisStorage.from_url(server.url)
    storage.recall("n", "key")
    with server.client() as client:
        assert "recallm" in {each["name"] for each in client.client_list()}
    began = time.monotonic()
    # An address that routes nowhere answers nothing.
    with pytest.raises(redis.RedisError):
        RedisStorage.from_url("redis://10.255.255.1:6379/0").recall("n", "key")
    assert time.monotonic() - began < 1.0


@pytest.mark.redis
def test_a_unix_socket_will_do(tmp_path: Path) -> None:
    """A storage can be reached through a ``unix://`` URL."""
    if not COMMANDS:
        pytest.skip("no Redis server is installed")
    with running(next(iter(COMMANDS)), "--unixsocket", str(tmp_path / "redis.sock")):
        storage = RedisStorage.from_url(f"unix://{tmp_path / 'redis.sock'}")
        entry = make()
        assert storage.put(entry, storage.recall("n", entry.key).epoch, None).kept
        assert "redis.sock" in repr(storage)


def test_a_password_is_shown_nowhere(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The password of a URL is in no repr, no error and no log line."""
    with server.client() as client:
        client.acl_setuser("carol", enabled=True, passwords=["+right"], keys=["*"], commands=["+@all"])
    shown: list[str] = []
    for url in (
        f"redis://carol:hunter2secret@127.0.0.1:{server.port}/0",
        "redis://:hunter2secret@127.0.0.1:1/0",
        "redis://:hunter2secret@127.0.0.1:notaport/0",
        "redis://:hunter2secret/@127.0.0.1/0",
        "rediss://:hunter2secret@127.0.0.1:1/0?nonsense=1",
    ):
        try:
            storage = RedisStorage.from_url(url)
            shown.append(repr(storage))
            storage.recall("n", "key")
        except Exception as error:  # noqa: BLE001  # whatever it is, it must be discreet
            shown += [repr(error), str(error), repr(error.__cause__)]
    with caplog.at_level(logging.DEBUG):

        @semantic_cache(context={}, embedder=EMBEDDER, storage=f"redis://carol:hunter2secret@127.0.0.1:{server.port}/0")
        def answer(prompt: str) -> str:
            return prompt

        answer("one")
    shown += [repr(answer), caplog.text, repr(answer.stats())]
    assert len(shown) > 8
    assert [text for text in shown if "hunter2" in text] == []


@pytest.fixture(scope="module", params=["vectorset", "debian"])
def cluster(request: pytest.FixtureRequest) -> Iterator[list[Server]]:
    """A cluster of three nodes."""
    if request.param not in COMMANDS:
        pytest.skip(WANTED[request.param])
    with ExitStack() as stack:
        buses = [free_port() for _ in range(3)]
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port")
        nodes = [stack.enter_context(running(request.param, *options, str(bus))) for bus in buses]
        ranges = [(0, 5460), (5461, 10922), (10923, 16383)]
        for number, (node, (first, last)) in enumerate(zip(nodes, ranges, strict=True), start=1):
            with node.client() as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number)
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, buses[0])
        deadline = time.monotonic() + 20
        for node in nodes:
            with node.client() as client:
                while client.cluster("INFO")["cluster_state"] != "ok" or len(client.cluster("NODES")) < 3:
                    assert time.monotonic() < deadline, "the cluster does not form"
                    time.sleep(0.05)
        yield nodes


def test_a_cluster_of_three_nodes_keeps_the_contract(cluster: list[Server]) -> None:
    """On a cluster, entries of many namespaces lie on all nodes, and every operation works."""
    storage = RedisStorage(sync_client=redis.RedisCluster(host="127.0.0.1", port=cluster[0].port))
    namespaces = [f"namespace {at}" for at in range(12)]
    for name in namespaces:
        entry = make("one two three", namespace=name)
        epoch = storage.recall(name, entry.key).epoch
        assert storage.put(entry, epoch, 60.0).kept
        assert storage.put(entry, epoch, 60.0).kept
        assert entry.vector is not None
        assert len(storage.search(name, "p", entry.vector, 0.9, 16)) == 1
    assert storage.sizes(namespaces) == dict.fromkeys(namespaces, 1)
    for node in cluster:
        with node.client() as client:
            assert client.dbsize() > 0
    assert storage.remove(namespaces[0], [make("one two three", namespace=namespaces[0]).key]) == 1
    assert [storage.invalidate(name) for name in namespaces] == [0, *[1] * 11]
    assert storage.sizes(namespaces) == {}


def test_an_async_cluster_client_serves_too(cluster: list[Server]) -> None:
    """A storage with an async cluster client stores, recalls and finds entries on several event loops."""

    async def use() -> None:
        client = redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster[0].port)
        storage = RedisStorage(client)
        for name in ("first", "second", "third"):
            entry = make("one two three", namespace=name)
            assert entry.vector is not None
            epoch = (await storage.aperform(Recall(name, entry.key))).epoch
            assert (await storage.aperform(Put(entry, epoch, None))).kept
            assert len(await storage.aperform(Search(name, "p", entry.vector, 0.9, 16))) == 1
        await storage.aclose()

    for _ in range(2):
        asyncio.run(use())
