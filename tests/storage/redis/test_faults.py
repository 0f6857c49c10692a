"""Trouble with a Redis server: the function is called, the error is counted, and hits return with the server."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import redis
import redis.asyncio
from support.redis_servers import COMMANDS, LAYOUTS, Server, running
from support.redis_storages import until

from recallm import CacheConfig, semantic_cache
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import FakeEmbedder

EMBEDDER = FakeEmbedder()


@contextmanager
def connected(server: Server, **options: Any) -> Iterator[RedisStorage]:
    """Return a storage on an empty server."""
    server.empty()
    yield RedisStorage.from_url(server.url, layout=LAYOUTS[server.kind], **options)


def right(prompt: str) -> str:
    """Return the answer to a prompt, the same in whatever order its words come."""
    return "answer to " + " ".join(sorted(prompt.split()))


def cached(storage: RedisStorage, name: str = "faults", config: CacheConfig | None = None) -> Any:
    """Return a cached function that counts its calls."""
    calls: Counter[str] = Counter()

    @semantic_cache(context={}, storage=storage, embedder=EMBEDDER, namespace=name, guards=(), config=config)
    def answer(prompt: str) -> str:
        calls[prompt] += 1
        return right(prompt)

    answer("load the embedder and the storage")
    return answer


def hits(answer: Any, prompt: str) -> bool:
    """Return whether a call is a hit; its answer must be right either way."""
    before = answer.stats().hits
    assert answer(prompt) == right(prompt)
    return bool(answer.stats().hits > before)


@pytest.mark.slow
def test_a_server_that_stops_answering_delays_nobody_for_long(redis_server: Server) -> None:
    """Under load, a frozen server costs a call at most its time limits, and is used again when it wakes."""
    with connected(redis_server) as storage:
        answer = cached(storage)
        answer("one")
        slowest: list[float] = []
        stop = threading.Event()
        problems: list[BaseException] = []

        def call() -> None:
            while not stop.is_set():
                began = time.monotonic()
                try:
                    assert answer("one") == right("one")
                except BaseException as error:  # noqa: BLE001  # reported below
                    problems.append(error)
                slowest.append(time.monotonic() - began)
                # Threads that spin would starve the one that asks the server whether it is back.
                stop.wait(0.001)

        threads = [threading.Thread(target=call) for _ in range(3)]
        redis_server.signal(signal.SIGSTOP)
        try:
            for thread in threads:
                thread.start()
            # One kind is frozen for as long as an operator might need; the others show that they are no different.
            stop.wait(3.0 if redis_server.kind == "vectorset" else 1.0)
        finally:
            redis_server.signal(signal.SIGCONT)
        try:
            until(lambda: hits(answer, "one"))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert problems == []
        assert max(slowest) < 2.0
        assert answer.stats().errors["storage"] > 0


def test_a_killed_server_is_used_again_when_it_is_back(redis_server: Server) -> None:
    """While a server is down the function is called; after its restart there are hits in the same process."""
    with connected(redis_server) as storage:
        answer = cached(storage)
        assert [hits(answer, "one") for _ in range(2)] == [False, True]
        redis_server.kill()
        assert [hits(answer, "one") for _ in range(3)] == [False] * 3
        redis_server.start()
        until(lambda: hits(answer, "one"))
        assert hits(answer, "one and more words that no other prompt has") is False


def test_async_functions_fare_no_worse(redis_server: Server) -> None:
    """A frozen, killed and restarted server costs an async call at most its time limits, and serves again."""
    redis_server.empty()
    slowest: list[float] = []

    async def use() -> None:
        storage = RedisStorage(redis.asyncio.Redis(port=redis_server.port), layout=LAYOUTS[redis_server.kind])

        @semantic_cache(context={}, storage=storage, embedder=EMBEDDER, guards=())
        async def answer(prompt: str) -> str:
            return right(prompt)

        async def hit() -> bool:
            before = answer.cache_info().hits
            began = time.monotonic()
            assert await answer("one two three") == right("one two three")
            slowest.append(time.monotonic() - began)
            return bool(answer.cache_info().hits > before)

        async def until_hit() -> None:
            deadline = time.monotonic() + 10
            while not await hit():
                assert time.monotonic() < deadline

        await until_hit()
        redis_server.signal(signal.SIGSTOP)
        try:
            assert not any([await hit() for _ in range(3)])
        finally:
            redis_server.signal(signal.SIGCONT)
        await until_hit()
        redis_server.kill()
        assert not any([await hit() for _ in range(3)])
        redis_server.start()
        await until_hit()
        await storage.aclose()

    asyncio.run(use())
    assert max(slowest) < 2.0


def test_a_flushed_server_is_filled_again(redis_server: Server) -> None:
    """After FLUSHALL calls miss, store, and hit by similarity again."""
    with connected(redis_server) as storage:
        answer = cached(storage)
        assert [hits(answer, "one two three four") for _ in range(2)] == [False, True]
        redis_server.empty()
        assert hits(answer, "one two three four") is False
        until(lambda: hits(answer, "four three two one"))


def test_an_answer_older_than_a_flush_is_not_kept(redis_server: Server) -> None:
    """An answer computed before a FLUSHALL is not stored after it, as the server's epochs are new."""
    with connected(redis_server) as storage:
        epoch = storage.recall("n", "key").epoch
        redis_server.empty()
        assert storage.recall("n", "key").epoch != epoch


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru", "volatile-ttl"])
def test_a_full_server_loses_entries_but_no_calls(redis_server: Server, policy: str) -> None:
    """On a server at its memory limit answers stay right, whether it refuses or evicts."""
    with connected(redis_server) as storage, redis_server.client() as client:
        answer = cached(storage, f"full {policy}")
        used = int(client.info("memory")["used_memory"])
        evicted = client.info("stats")["evicted_keys"]
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", used + 200_000)
        try:
            for at in range(200):
                answer(f"prompt{at} of its own", cache_ttl=3600)
            for at in range(0, 200, 7):
                assert answer(f"prompt{at} of its own", cache_ttl=3600) == right(f"prompt{at} of its own")
            assert client.info("stats")["evicted_keys"] > evicted or answer.stats().errors["storage"]
        finally:
            client.config_set("maxmemory", 0)
        assert set(answer.stats().errors) <= {"storage"}
        until(lambda: hits(answer, "a last one, when there is room"))


def test_connections_that_are_cut_are_made_anew(redis_server: Server) -> None:
    """A cut connection costs at most one call its hit."""
    with connected(redis_server) as storage, redis_server.client() as client:
        answer = cached(storage)
        answer("one")
        for _ in range(5):
            client.client_kill_filter(_type="normal", skipme=True)
            hits(answer, "one")
            until(lambda: hits(answer, "one"))


def test_a_server_without_a_password_for_us_is_a_bypass(redis_server: Server) -> None:
    """A NOAUTH reply makes the call a bypass; once no password is needed, calls hit."""
    with connected(redis_server) as storage, redis_server.client() as client:
        answer = cached(storage)
        answer("one")
        client.config_set("requirepass", "hush")
        client.client_kill_filter(_type="normal", skipme=True)
        assert not hits(answer, "one")
        assert answer.stats().errors["storage"] >= 1
        client.config_set("requirepass", "")
        until(lambda: hits(answer, "one"))


def test_a_read_only_replica_serves_hits_and_stores_nothing(redis_server: Server) -> None:
    """A read-only replica serves its entries, and a put that it refuses counts as a storage error."""
    with connected(redis_server) as storage, redis_server.client() as client:
        answer = cached(storage)
        answer("one")
        # A replica of a server that is not there keeps its data.
        client.replicaof("127.0.0.1", "1")
        try:
            assert hits(answer, "one")
            assert not hits(answer, "two")
            assert answer.stats().errors["storage"] >= 1
        finally:
            client.replicaof("NO", "ONE")
        until(lambda: hits(answer, "two"))


def test_commands_that_may_not_be_used_are_a_bypass(redis_server: Server) -> None:
    """If a needed command is not permitted, the call is a bypass and an error is counted."""
    with connected(redis_server) as _, redis_server.client() as client:
        client.acl_setuser("meek", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-hset", "-exec"])
        url = f"redis://meek:pw@127.0.0.1:{redis_server.port}/0"
        # A busy machine is no failure: an operation that is late would open the circuit, and the next one not be tried.
        config = CacheConfig(cache_timeout_seconds=5.0)
        answer = cached(RedisStorage.from_url(url, layout=LAYOUTS[redis_server.kind], timeout=5), config=config)
        assert not hits(answer, "one")
        assert not hits(answer, "one")
        assert answer.stats().errors["storage"] >= 2


class Proxy:
    """Hands bytes on to a server, and cuts the connection in the middle of a reply if `cut_after` is set.

    Args:
        port: the port of the server.
    """

    def __init__(self, port: int) -> None:
        self.cut_after: int | None = None
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            theirs = socket.create_connection(("127.0.0.1", self._port))
            threading.Thread(target=self._pump, args=(ours, theirs, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(theirs, ours, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        try:
            while data := source.recv(65536):
                if replies and self.cut_after is not None:
                    sink.sendall(data[: self.cut_after])
                    break
                sink.sendall(data)
        except OSError:
            pass
        finally:
            # The other thread's recv ends with the shutdown; each closes what it reads from.
            for each in (source, sink):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            source.close()

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.mark.parametrize("length", [0, 1, 5, 40])
def test_truncated_replies_are_a_bypass(redis_server: Server, length: int) -> None:
    """A reply that ends in the middle makes the call a bypass; later calls hit again."""
    redis_server.empty()
    proxy = Proxy(redis_server.port)
    try:
        storage = RedisStorage.from_url(f"redis://127.0.0.1:{proxy.port}/0", layout=LAYOUTS[redis_server.kind])
        answer = cached(storage)
        answer("one")
        proxy.cut_after = length
        assert not hits(answer, "one")
        proxy.cut_after = None
        until(lambda: hits(answer, "one"))
    finally:
        proxy.close()


@pytest.mark.redis
def test_another_server_in_the_same_place_is_noticed() -> None:
    """After a server is upgraded in place, its new layout is found without a restart of the process."""
    if not {"vectorset", "valkey"} <= COMMANDS.keys():
        pytest.skip("needs a server with vector sets and one without")
    with running("valkey") as server:
        storage = RedisStorage.from_url(server.url)
        answer = cached(storage)
        assert storage.layout is not None
        assert storage.layout.name == "plain"
        server.kill()
        server.kind = "vectorset"
        server.start()
        until(lambda: hits(answer, "one two three") and storage.layout and storage.layout.name == "vectorset")
        assert hits(answer, "one two four") is False
        assert hits(answer, "four two one")


def test_errors_of_the_client_reach_whoever_uses_the_storage_itself() -> None:
    """A storage that is used directly raises the client's errors; only the engine turns them into bypasses."""
    storage = RedisStorage.from_url("redis://127.0.0.1:1/0")
    with pytest.raises(redis.ConnectionError):
        storage.recall("n", "key")
