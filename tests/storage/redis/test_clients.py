"""The redis-py clients of a storage are checked, impatient and discreet, and each event loop has its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from support.redis_servers import COMMANDS, LAYOUTS, WANTED, Server, free_port, running
from support.redis_storages import keys, make, put, until

from recallm import semantic_cache
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.storage.base import Put, Recall, RecallAndSearch, Search, StorageOperation
from recallm.storage.redis.keys import TagKeys
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


def test_clients_of_closed_loops_are_forgotten(redis_server: Server) -> None:
    """A storage used on five event loops in turn keeps the client of one only."""
    storage = RedisStorage(redis.asyncio.Redis(port=redis_server.port), layout=LAYOUTS[redis_server.kind])
    for _ in range(5):
        asyncio.run(storage.aperform(Recall("n", "k")))
    assert storage._clients is not None
    assert len(storage._clients._clients) == 1


class Pool(redis.asyncio.ConnectionPool):
    """A pool whose constructor takes something that no other takes."""

    def __init__(self, region: str, /, **options: Any) -> None:
        super().__init__(**options)


def test_a_pool_that_cannot_be_copied_says_what_it_cannot_do() -> None:
    """Sync use of an async client whose pool cannot be copied raises an error that says it serves one loop only."""
    storage = RedisStorage(redis.asyncio.Redis(connection_pool=Pool("here")))
    with pytest.raises(InvalidTypeError, match="a Pool serves the event loop"):
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


def test_tags_on_a_cluster_reach_all_nodes(cluster: list[Server]) -> None:
    """On a cluster a removal by tag takes entries of namespaces on all nodes; members that are gone are forgotten."""
    storage = RedisStorage(sync_client=redis.RedisCluster(host="127.0.0.1", port=cluster[0].port))
    namespaces = [f"tagged {at}" for at in range(12)]

    def store(name: str, ttl: float | None) -> bool:
        entry, began = make("one two three", namespace=name, tags=("a", "b", "c")), time.perf_counter()
        return storage.put_tagged(entry, storage.recall(name, entry.key).epoch, ttl, began).kept

    assert all(store(name, ttl) for name, ttl in zip(namespaces, [None, 60.0] * 6, strict=True))
    assert storage.remove_tagged("b") == len(namespaces)
    assert storage.sizes(namespaces) == {}
    storage._run(storage._tags.forget_gone(TagKeys("recallm", "a")))
    storage._run(storage._tags.forget_gone(TagKeys("recallm", "never put")))
    time.sleep(0.01)
    assert store(namespaces[0], None)
    assert storage.remove_tagged("a") == 1


def ran(cluster: list[Server]) -> Counter[str]:
    """Return how often each command was run on any node since the last time, also by scripts."""
    found: Counter[str] = Counter()
    for node in cluster:
        with node.client() as client:
            stats: dict[str, Any] = client.info("commandstats")
            found.update({name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()})
            client.config_resetstat()
    return found


def test_a_cluster_is_asked_as_one_server_is(cluster: list[Server]) -> None:
    """On a cluster an entry is found in one batch and stored by one script, without a watch or a question to a node."""
    storage = RedisStorage(sync_client=redis.RedisCluster(host="127.0.0.1", port=cluster[0].port))
    first, second = make("one two three", namespace="few"), make("four five six", namespace="few")
    assert first.vector is not None
    for _ in range(2):
        assert storage.put(first, storage.recall("few", first.key).epoch, 60.0).kept
        assert len(storage.search("few", "p", first.vector, 0.9, 16)) == 1
    until(lambda: not any(keys(node, "recallm:*:dead") for node in cluster))  # of other tests, swept in the background
    ran(cluster)
    epoch = storage.recall("few", second.key).epoch
    assert len(storage.search("few", "p", first.vector, 0.9, 16)) == 1
    assert storage.put(second, epoch, 60.0).kept
    commands = ran(cluster)
    scripts = 2 if storage.layout is not None and storage.layout.name == "vectorset" else 1
    assert commands["eval"] == scripts
    assert not {"watch", "multi", "exec", "command|getkeys", "command"} & commands.keys()


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


def test_scripts_run_first_on_another_event_loop(cluster: list[Server]) -> None:
    """What an event loop asks first of a cluster may be a script: to find, to store, or to look for both at once."""
    storage = RedisStorage(redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster[0].port))
    entry = make("one two three", namespace="loops")
    assert entry.vector is not None
    search = Search("loops", "p", entry.vector, 0.9, 16)

    def on_a_loop(operation: StorageOperation) -> Any:
        async def perform() -> Any:
            try:
                return await storage.aperform(operation)
            finally:
                await storage.aclose()

        return asyncio.run(perform())

    epoch = on_a_loop(Recall("loops", entry.key)).epoch
    assert on_a_loop(Put(entry, epoch, None)).kept
    assert on_a_loop(Recall("loops", entry.key)).candidate is not None
    assert storage._server_state.scripts
    assert len(on_a_loop(search)) == 1
    assert len(on_a_loop(RecallAndSearch("loops", "absent", search)).similar) == 1
    assert on_a_loop(Put(entry, epoch, None)).kept


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_cluster_is_listed(cluster: list[Server], asynchronous: bool) -> None:
    """All nodes of a cluster are asked for namespaces, through a sync client or an async one alone."""
    port = cluster[0].port
    writing = RedisStorage(sync_client=redis.RedisCluster(host="127.0.0.1", port=port), prefix=f"l{asynchronous}")
    for number in range(12):
        put(writing, make("one", namespace=f"n{number}"))
    storage = writing
    if asynchronous:
        client = redis.asyncio.RedisCluster(host="127.0.0.1", port=port)
        storage = RedisStorage(client, prefix=f"l{asynchronous}")
    assert sorted(storage.namespaces()) == sorted(f"n{number}" for number in range(12))
    assert [each.entry.prompt for each in storage.entries("n3")] == ["one"]
