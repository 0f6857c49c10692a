"""RedisStorage keeps the contract of every storage, on every kind of server, sync and async."""

from __future__ import annotations

import asyncio
import pickle
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from support.guide import TEXTS
from support.redis_servers import LAYOUTS, Server
from support.redis_storages import make, url_of_user, without_shortcuts

from recallm import get_storage, semantic_cache
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.storage.base import Recall, StorageBackend
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import FakeEmbedder, StorageContract


class TestSync(StorageContract):
    """The storage contract, through a sync client."""

    protocol = 3

    @pytest.fixture(autouse=True)
    def _on(self, redis_server: Server) -> Iterator[None]:
        self.server = redis_server
        self.client = redis_server.client(protocol=self.protocol)
        yield
        self.client.close()

    def make_storage(self) -> StorageBackend:
        """Return a storage on an empty server."""
        self.server.empty()
        return RedisStorage(sync_client=self.client, layout=LAYOUTS[self.server.kind])


class TestSyncOldProtocol(TestSync):
    """The storage contract, with a client that speaks RESP2."""

    protocol = 2


class TestSyncWithoutScripts(TestSync):
    """The storage contract, of a user who may not do what saves round trips."""

    @pytest.fixture(autouse=True)
    def _meek(self, _on: None) -> Iterator[None]:
        url = url_of_user(self.server, without_shortcuts(self.server))
        self.client = redis.Redis.from_url(url)
        yield
        self.client.close()


class TestAsync(StorageContract):
    """The storage contract, through an async client."""

    @pytest.fixture(autouse=True)
    def _on(self, redis_server: Server) -> None:
        self.server = redis_server

    def make_storage(self) -> StorageBackend:
        """Return a storage on an empty server."""
        self.server.empty()
        return RedisStorage(redis.asyncio.Redis(port=self.server.port), layout=LAYOUTS[self.server.kind])

    async def leave_loop(self, storage: Any) -> None:
        """Close the connections of the loop."""
        await storage.aclose()


class TestBoth(TestAsync):
    """The storage contract, through a sync and an async client."""

    @pytest.fixture(autouse=True)
    def _sync_client(self, redis_server: Server) -> Iterator[None]:
        self.client = redis_server.client()
        yield
        self.client.close()

    def make_storage(self) -> StorageBackend:
        """Return a storage on an empty server."""
        self.server.empty()
        client = redis.asyncio.Redis(port=self.server.port)
        return RedisStorage(client, self.client, layout=LAYOUTS[self.server.kind])


EMBEDDER = FakeEmbedder()


def test_a_sync_function_cannot_use_an_async_client() -> None:
    """Decorating a sync function with a storage that has only an async client raises and names `sync_client`."""
    storage = RedisStorage(redis.asyncio.Redis())
    with pytest.raises(TypeError, match="sync_client"):

        @semantic_cache(context={}, storage=storage, embedder=EMBEDDER, guards=())
        def answer(prompt: str) -> str:
            return prompt


def test_a_storage_from_a_url_serves_both_kinds_of_functions(server: Server) -> None:
    """An entry stored through the sync client of a URL's storage is recalled through its async client."""
    server.empty()
    storage = RedisStorage.from_url(server.url)
    assert (storage.serves_sync, storage.serves_async) == (True, True)
    entry = make()
    assert storage.put(entry, storage.recall("n", entry.key).epoch, None).kept

    async def recall() -> Any:
        try:
            return await storage.aperform(Recall("n", entry.key))
        finally:
            await storage.aclose()

    assert asyncio.run(recall()).candidate is not None


def test_sync_code_can_count_and_invalidate_what_async_functions_stored(server: Server) -> None:
    """The sync methods of a storage with only an async client use an event loop of their own."""
    server.empty()
    storage = RedisStorage(redis.asyncio.Redis(port=server.port))
    entry = make()
    assert storage.put(entry, storage.recall("n", entry.key).epoch, None).kept
    assert storage.sizes(["n"]) == {"n": 1}
    assert storage.invalidate("n") == 1


def test_a_url_can_be_given_wherever_a_storage_can(server: Server) -> None:
    """Equal URLs stand for one shared storage."""
    assert isinstance(get_storage(server.url), RedisStorage)
    assert get_storage(server.url) is get_storage(server.url)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"secret": b"short"}, InvalidValueError),
        ({"secret": 5}, InvalidTypeError),
        ({"encrypt": bytes}, InvalidValueError),
        ({"encrypt": 1, "decrypt": 2}, InvalidTypeError),
        ({"max_bytes": 0}, InvalidValueError),
        ({"max_entries": True}, InvalidTypeError),
        ({"layout": "guess"}, InvalidValueError),
        ({"prefix": "a{b}"}, InvalidValueError),
        ({"prefix": ""}, InvalidValueError),
        ({"prefix": b"bytes"}, InvalidTypeError),
        ({"max_entries": 0}, InvalidValueError),
        ({"mirror_bytes": 1.5}, InvalidTypeError),
        ({"decrypt": bytes}, InvalidValueError),
    ],
)
def test_mistakes_in_settings_raise(options: dict[str, Any], error: type[Exception]) -> None:
    """Wrong settings of a RedisStorage raise at construction, before anything is connected."""
    with pytest.raises(error):
        RedisStorage.from_url("redis://127.0.0.1:1/0", **options)


PAGE = TEXTS["redis"]
ACL = (
    "+hello +auth +client|setname +ping +time +watch +unwatch +multi +exec +hget +hmget +hset +hsetnx "
    "+hincrby +hdel +hrandfield +unlink +pexpire +pttl +persist +zadd +zrem +zcard +zcount +zrange +zrangebyscore "
    "+zrandmember +sadd +srem +scard +srandmember"
)
ACL_OF_LAYOUT = {
    "vectorset": "+vcard +vadd +vsim +vrem",
    "search": "+ft._list +ft.create +ft.search",
    "plain": "+xadd +xrange +xdel +xlen",
}


ACL_OF_MORE = "+zremrangebyscore +scan +zscan"


def test_the_guide_lists_these_permissions() -> None:
    """The guide's ACL rules and its table of commands list exactly these permissions."""
    (rules,) = re.findall(r"^ACL SETUSER cache on >password ~recallm:\* (.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert rules.split() == [*ACL.split(), *" ".join(ACL_OF_LAYOUT.values()).split(), *ACL_OF_MORE.split()]
    table = PAGE[PAGE.index("| for | commands |") : PAGE.index("A user that may do this")]
    named = {word.lower() for cell in re.findall(r"`([^`]*)`", table) for word in cell.split()}
    connecting = {"+hello", "+auth", "+client|setname", "+ping"}
    assert {f"+{word}" for word in named if not word.startswith('"')} == set(rules.split()) - connecting


def test_the_documented_permissions_are_enough(redis_server: Server) -> None:
    """A user with only the commands that the guide lists can use every operation of the storage."""
    redis_server.empty()
    layout = LAYOUTS[redis_server.kind]
    with redis_server.client() as client:
        rules = f"on >pw ~recallm:* {ACL} {ACL_OF_LAYOUT[layout]}"
        client.execute_command("ACL", "SETUSER", "cache", "reset", *rules.split())
    storage = RedisStorage.from_url(f"redis://cache:pw@127.0.0.1:{redis_server.port}/0", max_entries=2)
    entries = [make(f"prompt {at}") for at in range(4)]
    for entry in entries:
        epoch = storage.recall("n", entry.key).epoch
        assert storage.put(entry, epoch, 60.0).kept
        assert storage.put(entry, epoch, None).kept
    assert entries[-1].vector is not None
    assert storage.search("n", "p", entries[-1].vector, 0.9, None)
    assert storage.layout is not None
    assert storage.layout.name == layout
    assert storage.sizes(["n"]) == {"n": 2}
    assert storage.remove("n", [entries[-1].key]) == 1
    assert storage.invalidate("n") == 1
    with redis_server.client() as client:
        deadline = time.monotonic() + 5
        while client.keys("recallm:1:*:dead") and time.monotonic() < deadline:
            time.sleep(0.02)
        assert client.keys("recallm:1:*:dead") == []


def test_importing_the_storage_imports_no_redis() -> None:
    """Importing `RedisStorage` does not import redis-py, which is optional."""
    code = "import sys, recallm; from recallm import RedisStorage; assert 'redis' not in sys.modules"
    subprocess.run(["python", "-c", code], check=True)


def test_a_storage_of_a_url_is_sent_as_what_made_it(redis_server: Server) -> None:
    """Another process gets a storage of the same server with the same options, and connections of its own."""
    redis_server.empty()
    storage = RedisStorage.from_url(redis_server.url, layout=LAYOUTS[redis_server.kind], prefix="mine", timeout=5.0)
    entry = make("sent")
    assert storage.put(entry, storage.recall("n", entry.key).epoch, None).kept
    twin = pickle.loads(pickle.dumps(storage))  # noqa: S301  # ours
    assert twin is not storage
    found = twin.recall("n", entry.key).candidate
    assert found is not None
    assert found.entry.prompt == "sent"


def test_a_storage_of_clients_is_not_sent() -> None:
    """Clients stay in their process; the error says what to do."""
    storage = RedisStorage(sync_client=redis.Redis())
    with pytest.raises(pickle.PicklingError, match=r"make it by RedisStorage\.from_url"):
        pickle.dumps(storage)
