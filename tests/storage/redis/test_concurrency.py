"""Concurrent use of one Redis server: nobody is locked out or blocked, and nothing is left behind."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
import redis.asyncio
from support.redis_servers import COMMANDS, LAYOUTS, WANTED, Server, running

from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.records import Entry, Stored
from recallm.storage.base import Put, Recall
from recallm.storage.redis.commands import Batch, Exec, Watch
from recallm.storage.redis.keys import EntryVersion, NamespaceKeys
from recallm.storage.redis.layouts import QueryEngine, VectorQuery
from recallm.storage.redis.mirror import MirroredStreams
from recallm.storage.redis.server import Epoch
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import FakeEmbedder, StorageContract

make = StorageContract().entry
FOREVER: tuple[float | None, ...] = (None, 3600.0, 400_000.0)


def storage_on(server: Server, **options: Any) -> RedisStorage:
    """Return the storage of one process."""
    return RedisStorage.from_url(server.url, layout=LAYOUTS[server.kind], timeout=5.0, **options)


def eventually(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)


async def all_stored(storage: RedisStorage, entries: list[Entry], ttl: float | None) -> bool:
    """Store entries concurrently; return whether all were kept."""
    epoch = (await storage.aperform(Recall("n", entries[0].key))).epoch
    puts: list[Awaitable[Stored]] = [storage.aperform(Put(entry, epoch, ttl)) for entry in entries]
    return all(stored.kept for stored in await asyncio.gather(*puts))


@pytest.mark.parametrize("ttl", FOREVER)
def test_those_who_store_do_not_exclude_each_other(redis_server: Server, ttl: float | None) -> None:
    """Sixty concurrent puts into a new namespace, in many partitions, are all kept."""
    redis_server.empty()

    async def store() -> bool:
        client = redis.asyncio.Redis(port=redis_server.port)
        storage = RedisStorage(client, layout=LAYOUTS[redis_server.kind])
        entries = [make(f"entry {number}", partition=f"p{number % 7}") for number in range(60)]
        try:
            return await all_stored(storage, entries, ttl)
        finally:
            await client.aclose()

    assert asyncio.run(store())
    assert storage_on(redis_server).sizes(["n"]) == {"n": 60}


def test_an_index_is_made_until_it_is_known_to_be_there() -> None:
    """Whoever stores while another thread makes the index makes it too, rather than store before it is there."""
    engine, keys = QueryEngine("recallm"), NamespaceKeys("recallm", "n").of_generation("g")
    vector = FakeEmbedder(dim=16).embed("one")
    version = EntryVersion(bytes(12), bytes(16), bytes(16))
    prepared = engine.prepare_commands(keys, version, vector)
    assert [command[0] for command in prepared] == ["FT.CREATE"]
    assert engine.prepare_commands(keys, version, vector) == prepared
    query = VectorQuery(keys, bytes(16), vector, 0.9, 1, everything=False)
    engine.parse_search(query, engine.search_commands(query), [[0], [0]])
    assert engine.prepare_commands(keys, version, vector) == []


def test_an_invalidation_comes_through_whoever_stores(redis_server: Server) -> None:
    """An invalidation succeeds while six threads keep storing, and removes what was stored before it."""
    redis_server.empty()
    storage, stop = storage_on(redis_server), threading.Event()
    problems: list[BaseException] = []

    def keep_storing(who: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            entry = make(f"entry {who} {number}")
            try:
                storage.put(entry, storage.recall("n", entry.key).epoch, 60.0 + number)
            except BaseException as error:  # noqa: BLE001  # reported below
                problems.append(error)

    threads = [threading.Thread(target=keep_storing, args=(who,)) for who in range(6)]
    for thread in threads:
        thread.start()
    try:
        for number in range(10):
            eventually(lambda: storage.sizes(["n"]))
            entry = make(f"before {number}")
            storage.put(entry, storage.recall("n", entry.key).epoch, None)
            storage.invalidate("n")
            assert storage.recall("n", entry.key).candidate is None
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert problems == []


def test_one_connection_is_enough(redis_server: Server) -> None:
    """Concurrent puts succeed with a pool of a single connection."""
    redis_server.empty()

    async def store() -> bool:
        pool = redis.asyncio.BlockingConnectionPool(port=redis_server.port, max_connections=1, timeout=20)
        client = redis.asyncio.Redis(connection_pool=pool)
        storage = RedisStorage(client, layout=LAYOUTS[redis_server.kind])
        try:
            return await all_stored(storage, [make(f"entry {number}") for number in range(10)], 60.0)
        finally:
            await client.aclose()
            await pool.disconnect()

    assert asyncio.run(store())


def test_what_is_refused_or_too_late_leaves_nothing(redis_server: Server) -> None:
    """A put that is too large or of an ended epoch leaves only the namespace's epoch on the server."""
    redis_server.empty()
    storage = storage_on(redis_server, max_bytes=100)
    epoch = storage.recall("n", "k").epoch
    with pytest.raises(InvalidValueError):
        storage.put(make("large", partition="large")._replace(payload=b"x" * 200), epoch, None)
    storage.invalidate("n")
    assert not storage.put(make("late", partition="late"), epoch, None).kept
    with redis_server.client() as client:
        eventually(lambda: {key.rpartition(b":")[2] for key in client.keys("recallm:1*")} == {b"e"})


def test_partitions_that_hold_nothing_any_more_are_forgotten(redis_server: Server) -> None:
    """Partitions whose entries were all evicted leave nothing on the server."""
    if redis_server.kind == "search":
        pytest.skip("one index for all partitions")
    redis_server.empty()
    storage = storage_on(redis_server, max_entries=3)
    for number in range(40):
        entry = make(f"entry {number}", partition=f"p{number}")
        assert storage.put(entry, storage.recall("n", entry.key).epoch, None).kept
    with redis_server.client() as client:
        (dims,) = client.keys("recallm:1:*:d")
        assert client.hlen(dims) == 3
        assert len(client.keys("recallm:1:*:[xs]:*")) == 3


def test_a_mirror_that_was_dropped_meanwhile_is_read_anew() -> None:
    """A mirror that was dropped during a search is read again from the beginning."""
    layout = MirroredStreams(1 << 20)
    vector = FakeEmbedder(dim=4).embed("a")
    keys = NamespaceKeys("recallm", "n").of_generation("0" * 16)
    query = VectorQuery(keys, b"p" * 16, vector, 0.5, 8)
    rows = [(f"{number}-0".encode(), {b"i": bytes([number]) * 28, b"v": vector.tobytes()}) for number in range(1, 4)]
    commands = layout.search_commands(query)
    neighbours = layout.parse_search(query, commands, [3, rows])
    assert neighbours is not None
    assert len(neighbours.found) == 3
    commands = layout.search_commands(query)
    layout._mirrors.clear()
    assert layout.parse_search(query, commands, [4, [(b"4-0", {b"i": b"\4" * 28, b"v": vector.tobytes()})]]) is None
    commands = layout.search_commands(query)
    assert commands[1][2] == b"(0-0"
    neighbours = layout.parse_search(query, commands, [3, rows])
    assert neighbours is not None
    assert len(neighbours.found) == 3


@pytest.mark.skipif("vectorset" not in COMMANDS, reason=WANTED["vectorset"])
def test_a_server_may_come_to_know_another_layout() -> None:
    """Clients with different layouts can share a namespace, and each sees what the other invalidates."""
    with running("vectorset") as server:
        plain = RedisStorage.from_url(server.url, layout="plain", timeout=5.0)
        sets = RedisStorage.from_url(server.url, layout="vectorset", timeout=5.0)
        for storage, other in ((plain, sets), (sets, plain)):
            entry = make(f"by {storage.layout}")
            assert storage.put(entry, storage.recall("n", entry.key).epoch, None).kept
            assert other.recall("n", entry.key).candidate is not None
            assert entry.vector is not None
            other.search("n", entry.partition, entry.vector, 0.5, 16)
            assert other.put(entry, other.recall("n", entry.key).epoch, None).kept
            assert other.remove("n", [entry.key]) == 1
            assert storage.search("n", entry.partition, entry.vector, 0.9, 16) == []
        assert plain.sizes(["n"]) == sets.sizes(["n"]) == {}
        ours, theirs = make("by plain"), make("by sets")
        assert plain.put(ours, plain.recall("n", ours.key).epoch, None).kept
        assert sets.put(theirs, sets.recall("n", theirs.key).epoch, None).kept
        assert sets.remove("n", [theirs.key]) == 1
        fresh = RedisStorage.from_url(server.url, layout="plain", timeout=5.0)
        assert ours.vector is not None
        assert [found.entry.prompt for found in fresh.search("n", "p", ours.vector, 0.9, 16)] == ["by plain"]
        plain.invalidate("n")
        with server.client() as client:
            eventually(lambda: [key.rpartition(b":")[2] for key in client.keys("*")] == [b"e"])


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


def test_who_is_cancelled_does_not_wait_for_a_silent_server(redis_server: Server) -> None:
    """A cancelled put ends in under a second on a frozen server, though the client has no time limit."""
    redis_server.empty()

    async def cancel_put() -> float:
        client = redis.asyncio.Redis(port=redis_server.port)
        storage = RedisStorage(client, layout=LAYOUTS[redis_server.kind])
        entry = make("entry")
        epoch = (await storage.aperform(Recall("n", entry.key))).epoch
        redis_server.signal(signal.SIGSTOP)
        began = time.monotonic()
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(storage.aperform(Put(entry, epoch, None)), 0.1)
            return time.monotonic() - began
        finally:
            redis_server.signal(signal.SIGCONT)
            assert (await storage.aperform(Put(entry, epoch, None))).kept
            await client.aclose()

    assert asyncio.run(cancel_put()) < 0.9


def by_hand(entry: Entry, epoch: Epoch) -> Any:
    """Return the commands of a put whose first attempt has been announced, but not yet executed."""
    storage = RedisStorage(sync_client=redis.Redis(), layout="plain")
    layout = storage._server_state.layout()
    assert isinstance(next(layout), Batch)
    with pytest.raises(StopIteration):
        layout.send([[1, 0]])
    steps = storage._writes.put(entry, epoch.number, None)
    assert isinstance(next(steps), Watch)
    announcement: Any = steps.send([[epoch.generation.encode(), b"0", None], None, 0, 0, -1, None])
    assert announcement.watching
    return steps


EPOCH = Epoch("0" * 16, 0)
VERSIONS = NamespaceKeys("recallm", "n").of_generation(EPOCH.generation).versions


def test_a_store_whose_reply_was_lost_is_not_made_undone() -> None:
    """If a put's reply was lost, its second attempt finds the entry of the first and counts it as kept."""
    steps = by_hand(make("entry"), EPOCH)
    stored = steps.send([b"1-1"])
    assert isinstance(stored, Exec)
    (kept,) = [command for command in stored.commands if command[0] == "HSET" and b"i" in command]
    version = kept[kept.index(b"i") + 1]
    assert isinstance(steps.send(None), Watch)
    assert steps.send([[EPOCH.generation.encode(), b"0", None], None, 0, 0, -1, version]) == Batch(
        [("ZCARD", VERSIONS)]
    )
    with pytest.raises(StopIteration) as ended:
        steps.send([1])
    assert ended.value.value == Stored(kept=True)


@pytest.mark.parametrize(("generation", "buried"), [("0" * 16, False), ("1" * 16, True)])
def test_a_store_that_came_too_late_buries_no_living_generation(generation: str, buried: bool) -> None:
    """A late put marks its generation as dead only if an invalidation, not a removal, ended its epoch."""
    steps = by_hand(make("entry"), EPOCH)
    assert isinstance(steps.send([b"1-1"]), Exec)
    assert isinstance(steps.send(None), Watch)
    withdrawn = steps.send([[generation.encode(), b"1", None], None, 0, 0, -1, None])
    assert {command[0] for command in withdrawn.commands} == {"XDEL", "HSETNX"} | ({"SADD"} if buried else set())


def test_a_living_generation_is_never_swept(redis_server: Server) -> None:
    """A living generation is not swept, even if it is listed as dead."""
    redis_server.empty()
    storage = storage_on(redis_server)
    for number in range(5):
        entry = make(f"entry {number}")
        storage.put(entry, storage.recall("n", entry.key).epoch, None)
    assert storage.remove("n", [make("entry 0").key]) == 1
    namespace_keys = NamespaceKeys("recallm", "n")
    with redis_server.client() as client:
        client.sadd(namespace_keys.dead, client.hget(namespace_keys.epoch, "g"))
        entry = make("one more")
        storage.put(entry, storage.recall("n", entry.key).epoch, None)
        eventually(lambda: client.scard(namespace_keys.dead) == 0)
    assert storage.sizes(["n"]) == {"n": 5}


def test_a_silent_server_costs_a_pool_no_connection(redis_server: Server) -> None:
    """Operations that time out on a frozen server give their connections back to the pool."""
    redis_server.empty()
    client = redis_server.client(max_connections=2, socket_timeout=0.1, retry=None)
    storage, entry = RedisStorage(sync_client=client, layout=LAYOUTS[redis_server.kind]), make("entry")
    epoch = storage.recall("n", entry.key).epoch
    redis_server.signal(signal.SIGSTOP)
    try:
        for _ in range(5):
            with pytest.raises((redis.TimeoutError, redis.ConnectionError)) as raised:
                storage.put(entry, epoch, None)
            assert not isinstance(raised.value, redis.exceptions.MaxConnectionsError)
    finally:
        redis_server.signal(signal.SIGCONT)
    assert storage.put(entry, epoch, None).kept
    client.close()
