"""TieredStorage in front of a Redis server: the contract, other processes, servers that die, freeze or are replaced."""

from __future__ import annotations

import asyncio
import math
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import redis
import redis.asyncio
from support.delay_proxy import DelayProxy
from support.redis_servers import LAYOUTS, Server
from support.redis_storages import make, put, storage_on, until, url_of_user, without_shortcuts

from recallm import CacheConfig, TieredStorage, semantic_cache
from recallm.records import Entry
from recallm.storage.base import StorageBackend
from recallm.storage.memory import ThreadSafeInMemoryStorage
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import Clock, FakeEmbedder, StorageContract

STALENESS = 0.5


class TestSync(StorageContract):
    """The storage contract, through a sync client."""

    @pytest.fixture(autouse=True)
    def _on(self, redis_server: Server) -> Iterator[None]:
        self.server = redis_server
        self.client = redis_server.client()
        yield
        self.client.close()

    def make_storage(self) -> StorageBackend:
        """Return a storage on an empty server."""
        self.server.empty()
        far = RedisStorage(sync_client=self.client, layout=LAYOUTS[self.server.kind])
        return TieredStorage(None, far, staleness=60.0)


class TestBoth(TestSync):
    """The storage contract, through a sync and an async client."""

    def make_storage(self) -> StorageBackend:
        """Return a storage on an empty server."""
        self.server.empty()
        self.far = RedisStorage(
            redis.asyncio.Redis(port=self.server.port), self.client, layout=LAYOUTS[self.server.kind]
        )
        return TieredStorage(None, self.far, staleness=60.0)

    async def leave_loop(self, storage: Any) -> None:
        """Close the connections of the loop."""
        await self.far.aclose()


def tier_on(server: Server, **options: Any) -> TieredStorage:
    """Return one process's tier in front of an empty server."""
    return TieredStorage(None, storage_on(server), **{"staleness": STALENESS, **options})


def prompt_of(storage: StorageBackend, key: str) -> str | None:
    """Return the prompt of the entry that is recalled."""
    found = storage.recall("n", key).candidate
    return None if found is None else found.entry.prompt


OTHER = """
import sys
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import StorageContract
url, layout = sys.argv[1:]
storage = RedisStorage.from_url(url, layout=layout, timeout=5.0)
entry = StorageContract().entry("hello")
for line in sys.stdin:
    match line.strip():
        case "put":
            done = storage.put(entry, storage.recall("n", entry.key).epoch, None).kept
        case "replace":
            done = storage.put(entry._replace(tokens=9), storage.recall("n", entry.key).epoch, None).kept
        case "remove":
            done = storage.remove("n", [entry.key])
        case "invalidate":
            done = storage.invalidate("n")
    print(done, flush=True)
"""


@contextmanager
def other_process(server: Server) -> Iterator[Any]:
    """Give what has another process put, replace, remove or invalidate, and waits until it has."""
    command = [sys.executable, "-c", OTHER, server.url, LAYOUTS[server.kind]]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        commands, answers = process.stdin, process.stdout

        def do(what: str) -> str:
            print(what, file=commands, flush=True)
            return answers.readline().strip()

        yield do
        commands.close()


@pytest.mark.parametrize("what", ["remove", "invalidate", "replace"])
def test_what_another_process_changes_is_seen_in_time(redis_server: Server, what: str) -> None:
    """A copy is served after another process changed the entry, but no longer than `staleness` after that."""
    redis_server.empty()
    entry, tier = make("hello"), tier_on(redis_server)

    def is_served() -> bool:
        found = tier.recall("n", entry.key).candidate
        return found is not None and found.entry.tokens == 0

    with other_process(redis_server) as do:
        assert do("put") == "True"
        until(is_served)
        began = time.monotonic()
        assert do(what) in ("1", "True")
        changed = time.monotonic()
        until(lambda: not is_served())
        # The last look that still served it began before this one.
        assert time.monotonic() - changed < STALENESS + 0.2
        assert time.monotonic() - began < STALENESS + 0.5
    assert prompt_of(tier, entry.key) == ("hello" if what == "replace" else None)


def test_no_round_trip_is_made_for_what_is_known(redis_server: Server, asynchronous: bool) -> None:
    """Exact and similar hits that this process has had before send nothing to the server."""
    redis_server.empty()
    proxy = DelayProxy(redis_server.port)
    try:
        far = RedisStorage.from_url(f"redis://127.0.0.1:{proxy.port}/0", layout=LAYOUTS[redis_server.kind], timeout=5.0)
        options: dict[str, Any] = {"context": {}, "embedder": FakeEmbedder(), "guards": (), "threshold": 0.7}
        options |= {"storage": TieredStorage(None, far, staleness=60.0), "namespace": "n"}
        options["config"] = CacheConfig(cache_timeout_seconds=5.0)

        @semantic_cache(**options)
        def answer(prompt: str) -> str:
            return f"answer to {prompt}"

        @semantic_cache(**options)
        async def aanswer(prompt: str) -> str:
            return f"answer to {prompt}"

        async def ask() -> list[tuple[str, int]]:
            seen = []
            for prompt in ["one two three four", "four three two one"] * 4:
                proxy.reset()
                found = await aanswer(prompt) if asynchronous else answer(prompt)
                seen.append((found, proxy.traffic.commands))
            await far.aclose()
            return seen

        assert asyncio.run(ask())[4:] == [("answer to one two three four", 0)] * 4
    finally:
        proxy.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_replacements_are_told(redis_server: Server, scripts: bool) -> None:
    """A number changes with every entry that takes another's place, or is removed, and with no other."""
    redis_server.empty()
    rules = "+@all" if scripts else without_shortcuts(redis_server)
    storage = RedisStorage.from_url(url_of_user(redis_server, rules), layout=LAYOUTS[redis_server.kind], timeout=5.0)
    told = []
    for entry in (make("one"), make("two"), make("one"), make("one"), make("three")):
        put(storage, entry)
        told.append(storage.recall("n", entry.key).replacements)
    assert [told.index(each) for each in told] == [0, 0, 2, 3, 3]
    storage.remove("n", ["nothing"])
    told.append(storage.recall("n", "k").replacements)
    storage.remove("n", [make("one").key])
    told.append(storage.recall("n", "k").replacements)
    assert [told.index(each) for each in told] == [0, 0, 2, 3, 3, 3, 6]
    storage.invalidate("n")
    assert storage.recall("n", "k").replacements == 0


class Watched(redis.Connection):
    """A connection that calls something before it sends the command that removes entries."""

    before_removal: Callable[[], object] = staticmethod(lambda: None)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send commands."""
        if any(b"UNLINK" in bytes(part) for part in command):
            Watched.before_removal()
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]


def test_what_is_read_in_the_midst_of_a_removal_is_not_served_for_long(redis_server: Server) -> None:
    """A look-up between the new epoch of a removal and its end brings no copy that is trusted after `staleness`."""
    redis_server.empty()
    clock, entry = Clock(), make("hello")
    tier = tier_on(redis_server, clock=clock)
    assert tier.put(entry, tier.recall("n", entry.key).epoch, None).kept
    pool = redis.ConnectionPool(port=redis_server.port, connection_class=Watched)
    other = RedisStorage(sync_client=redis.Redis(connection_pool=pool), layout=LAYOUTS[redis_server.kind])
    read: list[str | None] = []

    def look_up() -> None:
        Watched.before_removal = staticmethod(lambda: None)
        clock.now += STALENESS
        read.append(prompt_of(tier, entry.key))

    Watched.before_removal = look_up
    assert other.remove("n", [entry.key]) == 1
    pool.disconnect()
    assert read == ["hello"]
    assert prompt_of(tier, entry.key) == "hello"
    clock.now += STALENESS
    prompt_of(tier, "another")
    assert prompt_of(tier, entry.key) is None


@pytest.mark.parametrize("what", ["replace", "remove"])
def test_a_change_that_a_failover_lost_is_not_taken_for_another(redis_server: Server, what: str) -> None:
    """A replica that took over without the last change is in another state after the next one."""
    redis_server.empty()
    clock, first, second = Clock(), make("first"), make("second")
    tier, other = tier_on(redis_server, clock=clock), storage_on(redis_server)

    def change(entry: Entry) -> None:
        if what == "remove":
            assert other.remove("n", [entry.key]) == 1
        else:
            put(other, entry._replace(tokens=1))

    put(other, first)
    put(other, second)
    with redis_server.client() as client:
        (epoch,) = client.keys("recallm:1:*:e")
        before = client.hgetall(epoch)
        change(first)
        assert prompt_of(tier, second.key) == "second"
        client.hdel(epoch, "n", "r")
        client.hset(epoch, mapping=before)
    change(second)
    clock.now += STALENESS
    prompt_of(tier, "another")
    found = tier.recall("n", second.key).candidate
    assert found is None if what == "remove" else found is not None and found.entry.tokens == 1


def test_entries_tell_how_long_they_will_be_kept(redis_server: Server) -> None:
    """A candidate's `expires_in` is the time to its expiry, without end if it never expires."""
    redis_server.empty()
    storage = storage_on(redis_server)
    brief, lasting = make("brief"), make("lasting")
    put(storage, brief, ttl=30.0)
    put(storage, lasting)
    found = [storage.recall("n", entry.key).candidate for entry in (brief, lasting)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].expires_in is not None
    assert 20.0 < found[0].expires_in <= 30.0
    assert found[1].expires_in == math.inf


def test_a_dead_or_frozen_server_serves_copies_no_longer_than_stated(redis_server: Server) -> None:
    """While a server cannot be reached, copies are served for `staleness`, then the function is called; it heals."""
    redis_server.empty()
    tier = TieredStorage(None, RedisStorage.from_url(redis_server.url, layout=LAYOUTS[redis_server.kind]))
    calls: list[float] = []

    @semantic_cache(context={}, storage=tier, embedder=FakeEmbedder(), guards=(), namespace="n")
    def answer(prompt: str) -> str:
        calls.append(time.monotonic())
        return f"answer to {prompt}"

    def until_served() -> None:
        until(lambda: _is_served(answer, calls))

    for stop, go in (
        (partial(redis_server.signal, signal.SIGSTOP), partial(redis_server.signal, signal.SIGCONT)),
        (redis_server.kill, redis_server.start),
    ):
        until_served()
        stop()
        try:
            stopped = time.monotonic()
            until(lambda: not _is_served(answer, calls))
            assert calls[-1] - stopped < tier.staleness + 0.7
        finally:
            go()
        until_served()


def _is_served(answer: Any, calls: list[float]) -> bool:
    before = len(calls)
    assert answer("one") == "answer to one"
    return len(calls) == before


def test_a_flushed_server_is_noticed(redis_server: Server) -> None:
    """What a FLUSHALL has removed is no longer served after `staleness`, and nothing of before comes back."""
    redis_server.empty()
    tier, entry = tier_on(redis_server, staleness=0.2), make("hello")
    put(tier, entry)  # type: ignore[arg-type]  # any storage will do
    until(lambda: prompt_of(tier, entry.key) == "hello")
    redis_server.empty()
    until(lambda: prompt_of(tier, entry.key) is None)
    assert prompt_of(tier, entry.key) is None


def test_another_process_makes_its_own_copies(server: Server) -> None:
    """A tier that is sent to another process goes on there, with the same settings and without copies."""
    server.empty()
    tier = TieredStorage(ThreadSafeInMemoryStorage(max_entries=7), storage_on(server), staleness=3.0)
    put(tier, make("hello"))  # type: ignore[arg-type]  # any storage will do
    sent = pickle.loads(pickle.dumps(tier))  # noqa: S301  # made just here
    assert (sent.staleness, repr(sent._copies.near)) == (3.0, "<ThreadSafeInMemoryStorage of 0 entries, max_entries=7>")
    assert prompt_of(sent, make("hello").key) == "hello"
