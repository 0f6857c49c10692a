"""Connections live no longer than the event loop in which they were made, and nothing is said of their end."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from support.redis_servers import COMMANDS, WANTED, Sentinel, Server, running
from support.redis_storages import make, until

from recallm.storage.base import Invalidate, Put, Recall, Search
from recallm.storage.redis.storage import RedisStorage


def connected(server: Server) -> int:
    """Return how many clients a server has, besides the one that asks."""
    with server.client() as client:
        return len(client.client_list()) - 1


def descriptors() -> int:
    """Return how many file descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def close_without_finishing(work: Any) -> None:
    """Run a coroutine on a loop that is closed with its asynchronous generators unfinished."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(work)
    loop.close()


ENDS: dict[str, Callable[[Any], Any]] = {"finished": asyncio.run, "closed": close_without_finishing}


GIVEN: dict[str, Callable[[Server], RedisStorage]] = {
    "url": lambda server: RedisStorage.from_url(server.url, timeout=5.0),
    "client": lambda server: RedisStorage(redis.asyncio.Redis(port=server.port)),
    "pool": lambda server: RedisStorage(
        redis.asyncio.Redis(
            connection_pool=redis.asyncio.BlockingConnectionPool(port=server.port, max_connections=3, timeout=5)
        )
    ),
}


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is closed by the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("given", GIVEN)
def test_many_loops_leave_no_connection(server: Server, end: str, given: str) -> None:
    """Fifty loops in turn, each with several connections, leave those of the last one at the most."""
    server.empty()
    storages = [GIVEN[given](server)]

    async def look_up() -> None:
        await asyncio.gather(*(storages[0].aperform(Recall("n", f"k{at}")) for at in range(3)))

    ENDS[end](look_up())
    before = descriptors()
    for _ in range(50):
        ENDS[end](look_up())
    assert descriptors() <= before + 3
    until(lambda: connected(server) <= 3)
    storages.clear()
    gc.collect()
    if given == "url":
        until(lambda: connected(server) == 0)


@pytest.mark.usefixtures("uncollected")
def test_a_storage_that_is_dropped_closes_its_connections(server: Server) -> None:
    """The connections of a storage that nobody holds any more are closed though its loop goes on."""
    server.empty()

    async def drop() -> None:
        storage = RedisStorage.from_url(server.url, timeout=5.0)
        await storage.aperform(Recall("n", "k"))
        assert connected(server) == 1
        del storage
        gc.collect()
        for _ in range(100):
            await asyncio.sleep(0.01)
            if not connected(server):
                break
        assert connected(server) == 0

    asyncio.run(drop())


def test_a_client_is_left_to_its_user(server: Server) -> None:
    """A client that was given to a storage goes on working for its user, in this loop and the next."""
    server.empty()
    client = redis.asyncio.Redis(port=server.port)

    async def use(storage: RedisStorage | None) -> RedisStorage:
        used = storage or RedisStorage(client)
        await used.aperform(Recall("n", "k"))
        await client.set("theirs", "x")
        return used

    async def drop() -> None:
        await use(None)
        gc.collect()
        identity = await client.client_id()
        await asyncio.sleep(0.05)
        assert await client.client_id() == identity
        await client.aclose()

    storage = asyncio.run(use(None))
    asyncio.run(use(storage))
    close_without_finishing(use(storage))
    close_without_finishing(use(storage))
    asyncio.run(drop())


def test_a_loop_of_another_thread_keeps_its_connections(server: Server) -> None:
    """That loops end in one thread disturbs no loop that runs in another, nor the user's client there."""
    server.empty()
    client = redis.asyncio.Redis(port=server.port)
    storage = RedisStorage(client)
    identities: list[int] = []
    used, ended = threading.Event(), threading.Event()

    async def stay() -> None:
        await storage.aperform(Recall("n", "k"))
        identities.append(await client.client_id())
        used.set()
        await asyncio.to_thread(ended.wait, 10)
        identities.append(await client.client_id())
        await storage.aperform(Recall("n", "k"))

    thread = threading.Thread(target=asyncio.run, args=(stay(),))
    thread.start()
    used.wait(10)
    for end in ENDS.values():
        for _ in range(3):
            end(storage.aperform(Recall("n", "k")))
    ended.set()
    thread.join()
    assert len(set(identities)) == 1
    assert len(identities) == 2


def test_a_client_in_use_on_another_loop_is_copied(server: Server) -> None:
    """A client that its user has connected on a running loop is not shared with a second loop."""
    server.empty()
    client = redis.asyncio.Redis(port=server.port)
    storage = RedisStorage(client)

    async def share() -> None:
        identity = await client.client_id()
        await asyncio.to_thread(asyncio.run, storage.aperform(Recall("n", "k")))
        assert await client.client_id() == identity
        await client.aclose()

    asyncio.run(share())


PROGRAM = """
import asyncio, gc, sys
import redis, redis.asyncio
from recallm.storage.base import Invalidate, Recall
from recallm.storage.redis.storage import RedisStorage

port, end, given = int(sys.argv[1]), sys.argv[2], sys.argv[3]
make = {"url": lambda: RedisStorage.from_url(f"redis://127.0.0.1:{port}/0", timeout=5.0),
        "client": lambda: RedisStorage(redis.asyncio.Redis(port=port))}[given]
storage = make()

async def use():
    for _ in range(2):
        await storage.aperform(Recall("n", "k"))
    await storage.aperform(Invalidate("n"))  # which is swept in the background
    with redis.Redis(port=port) as client:
        client.client_pause(200)
    asyncio.get_running_loop().create_task(storage.aperform(Recall("n", "k")))._log_destroy_pending = False
    await asyncio.sleep(0.05)

for _ in range(3):
    if end == "run":
        asyncio.run(use())
    else:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(use())
        loop.close()
    if end == "dropped":
        storage = make()
    gc.collect()
"""


@pytest.mark.parametrize("end", ["run", "close", "dropped"])
@pytest.mark.parametrize("given", ["url", "client"])
def test_nothing_is_said_of_loops_that_ended(server: Server, end: str, given: str) -> None:
    """A program whose loops end in any way, work still under way, prints nothing, warnings being errors."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(server.port), end, given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_makes_connections_of_its_own(server: Server) -> None:
    """A child forked while a loop is connected neither uses nor closes the parent's connections."""
    server.empty()
    storage = RedisStorage.from_url(server.url, timeout=5.0)
    entry = make()

    async def recall() -> Any:
        return (await storage.aperform(Recall("n", entry.key))).candidate

    loop = asyncio.new_event_loop()
    epoch = loop.run_until_complete(storage.aperform(Recall("n", entry.key))).epoch
    loop.run_until_complete(storage.aperform(Put(entry, epoch, None)))
    child = os.fork()
    if not child:
        status = 1
        with suppress(BaseException):
            found = [asyncio.run(recall()), asyncio.run(recall()), storage.recall("n", entry.key).candidate]
            status = 0 if None not in found else 2
        os._exit(status)
    found = [loop.run_until_complete(recall()) for _ in range(20)]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    found += [loop.run_until_complete(recall()) for _ in range(20)]
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert None not in found


@pytest.fixture
def sentinel() -> Iterator[tuple[Server, Server, Sentinel]]:
    """A master, its replica, and a Sentinel that watches them."""
    kind = next((kind for kind in ("debian", "vectorset", "valkey") if kind in COMMANDS), None)
    if kind is None:
        pytest.skip(WANTED["debian"])
    with running(kind) as master, running(kind, "--replicaof", "127.0.0.1", str(master.port)) as replica:
        watcher = Sentinel(kind, master.port)
        try:
            with watcher.client() as client, master.client() as first:
                until(lambda: first.info("replication")["connected_slaves"] == 1)
                until(lambda: len(client.sentinel_slaves("cache")) == 1)
            yield master, replica, watcher
        finally:
            watcher.close()


def test_a_client_of_sentinels_serves_every_loop(sentinel: tuple[Server, Server, Sentinel]) -> None:
    """Async and sync clients of Sentinels serve several loops, before and after a failover, and leave no connection."""
    master, replica, watcher = sentinel
    nodes, options = [("127.0.0.1", watcher.port)], {"socket_timeout": 1.0}
    found: Any = redis.asyncio.Sentinel(nodes, **options)  # type: ignore[no-untyped-call]  # redis-py's own
    here: Any = redis.Sentinel(nodes, **options)  # type: ignore[no-untyped-call]  # redis-py's own
    storage = RedisStorage(found.master_for("cache"), here.master_for("cache"), layout="plain")
    assert "Sentinel service cache" in repr(storage)

    async def use(prompt: str) -> int:
        entry = make(prompt)
        assert entry.vector is not None
        epoch = (await storage.aperform(Recall("n", entry.key))).epoch
        assert (await storage.aperform(Put(entry, epoch, None))).kept
        return len(await storage.aperform(Search("n", "p", entry.vector, 0.99, 4)))

    assert [asyncio.run(use(prompt)) for prompt in ("one", "two", "three")] == [1, 1, 1]
    assert storage.sizes(["n"]) == {"n": 3}
    assert connected(watcher) <= 3
    with replica.client() as client:
        until(lambda: client.info("replication")["master_sync_in_progress"] == 0)
        master.kill()
        until(lambda: client.info("replication")["role"] == "master", seconds=20)

    def works() -> bool:
        with suppress(redis.RedisError):
            return asyncio.run(use("four")) == 1 and storage.sizes(["n"])["n"] >= 1
        return False

    until(works, seconds=20)
    assert asyncio.run(storage.aperform(Invalidate("n"))) >= 1
