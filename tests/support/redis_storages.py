"""What tests do with storages on Redis servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from support.redis_servers import LAYOUTS, Server

from recallm.records import Entry, Stored
from recallm.storage.base import Put, Recall
from recallm.storage.redis.mirror import MirroredStreams
from recallm.storage.redis.storage import LayoutName, RedisStorage
from recallm.testing import StorageContract

make = StorageContract().entry
"""Make an entry of a prompt, in namespace "n" and partition "p" unless told otherwise."""


def storage_on(server: Server, **options: Any) -> RedisStorage:
    """Return one process's storage, of the layout that its kind of server is tested with."""
    return RedisStorage.from_url(server.url, layout=LAYOUTS[server.kind], timeout=5.0, **options)


def maker(url: str, layout: LayoutName) -> Callable[[], RedisStorage]:
    """Return what makes a storage in whichever process calls it."""
    return partial(RedisStorage.from_url, url, layout=layout, timeout=5.0)


def url_of_user(server: Server, rules: str) -> str:
    """Have a server know a user with these rules, and return the URL for that user."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "meek", "reset", "on", ">pw", "~*", *rules.split())
    return f"redis://meek:pw@127.0.0.1:{server.port}/0"


def without_shortcuts(server: Server) -> str:
    """Return the rules of a user who may do all but what saves round trips."""
    return "+@all -eval -evalsha" + (" -ft.aggregate" if server.kind == "search" else "")


def put(storage: RedisStorage, entry: Entry, ttl: float | None = None) -> int:
    """Put an entry under the current epoch; return how many others were evicted."""
    stored = storage.put(entry, storage.recall(entry.namespace, entry.key).epoch, ttl)
    assert stored.kept
    return stored.evicted


def found(storage: RedisStorage, entry: Entry) -> list[str]:
    """Return the prompts of the entries that are as similar to an entry as the entry itself."""
    assert entry.vector is not None
    candidates = storage.search(entry.namespace, entry.partition, entry.vector, 0.99, 16)
    return [candidate.entry.prompt for candidate in candidates]


def keys(server: Server, pattern: str = "recallm:*") -> list[bytes]:
    """Return the keys on a server."""
    with server.client() as client:
        return list(client.keys(pattern))


def mirrored_bytes(storage: RedisStorage) -> int:
    """Return about how much memory the mirrors of a storage take, 0 if its layout has none."""
    layout = storage.layout
    return layout._mirrors.size_bytes if isinstance(layout, MirroredStreams) else 0


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)


async def all_stored(storage: RedisStorage, entries: list[Entry], ttl: float | None) -> bool:
    """Store entries at the same time; return whether all were kept."""
    epoch = (await storage.aperform(Recall("n", entries[0].key))).epoch
    puts: list[Awaitable[Stored]] = [storage.aperform(Put(entry, epoch, ttl)) for entry in entries]
    return all(stored.kept for stored in await asyncio.gather(*puts))
