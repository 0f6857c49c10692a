"""RedisStorage keeps the contract on Valkey with a query engine, which it uses as Redis's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis.asyncio
from support.redis_servers import COMMANDS, WANTED, Server, running

from recallm.storage.base import StorageBackend
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import StorageContract


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Valkey with the query engine."""
    if "valkey-search" not in COMMANDS:
        pytest.skip(WANTED["valkey-search"])
    with running("valkey-search") as started:
        yield started


class TestBoth(StorageContract):
    """The storage contract, with the layout that is found."""

    @pytest.fixture(autouse=True)
    def _on(self, server: Server) -> Iterator[None]:
        self.server = server
        self.client = server.client()
        yield
        self.client.close()

    def make_storage(self) -> StorageBackend:
        """Return a storage on an empty server."""
        self.server.empty()
        return RedisStorage(redis.asyncio.Redis(port=self.server.port), self.client)

    async def leave_loop(self, storage: StorageBackend) -> None:
        """Close the connections of the loop, and check how vectors were searched."""
        assert isinstance(storage, RedisStorage)
        assert storage.layout is None or storage.layout.name == "search"
        await storage.aclose()
