"""RedisStorage keeps the contract of every storage, on every kind of server, sync and async."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import redis
import redis.asyncio
from support.redis_servers import LAYOUTS, Server

from recallm.records import Candidate, Entry, Recalled, Stored
from recallm.storage.base import Invalidate, Put, Recall, Remove, Search, Sizes, StorageBackend
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import StorageContract


class Awaiting(StorageBackend):
    """A storage whose operations are performed on an event loop of their own."""

    def __init__(self, storage: RedisStorage, runner: asyncio.Runner) -> None:
        self.storage = storage
        self.runner = runner

    def perform(self, operation: Any) -> Any:
        """Perform one operation."""
        return self.runner.run(self.storage.aperform(operation))

    def recall(self, namespace: str, key: str) -> Recalled:
        """Await it."""
        return self.perform(Recall(namespace, key))  # type: ignore[no-any-return]

    def search(
        self, namespace: str, partition: str, vector: Any, threshold: float, limit: int | None
    ) -> list[Candidate]:
        """Await it."""
        return self.perform(Search(namespace, partition, vector, threshold, limit))  # type: ignore[no-any-return]

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Await it."""
        return self.perform(Put(entry, epoch, ttl))  # type: ignore[no-any-return]

    def remove(self, namespace: str, keys: Sequence[str]) -> int:
        """Await it."""
        return self.perform(Remove(namespace, keys))  # type: ignore[no-any-return]

    def invalidate(self, namespace: str) -> int:
        """Await it."""
        return self.perform(Invalidate(namespace))  # type: ignore[no-any-return]

    def sizes(self, namespaces: Iterable[str]) -> Mapping[str, int]:
        """Await it."""
        return self.perform(Sizes(tuple(namespaces)))  # type: ignore[no-any-return]


class TestSync(StorageContract):
    """The contract, through a sync client."""

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
    """The contract, where the client speaks RESP2."""

    protocol = 2


class TestAsync(StorageContract):
    """The contract, through an async client."""

    @pytest.fixture(autouse=True)
    def _on(self, redis_server: Server) -> Iterator[None]:
        self.server = redis_server
        self.client = redis.asyncio.Redis(port=redis_server.port)
        with asyncio.Runner() as self.runner:
            yield
            self.runner.run(self.client.aclose())

    def make_storage(self) -> StorageBackend:
        """Return a storage on an empty server."""
        self.server.empty()
        return Awaiting(RedisStorage(self.client, layout=LAYOUTS[self.server.kind]), self.runner)
