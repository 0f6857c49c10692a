"""RedisStorage keeps the storage contract on every kind of server, sync and async."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio
from support.redis_servers import LAYOUTS, Server

from recallm.storage.base import StorageBackend
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import StorageContract


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
