"""Vectors mirrored from a plain server are as many as the server has, and as many as memory allows."""

from __future__ import annotations

import asyncio
import threading

import pytest
from support.redis_servers import Server
from support.redis_storages import found, make, mirrored_bytes, put, storage_on, until

from recallm.storage.base import Search
from recallm.storage.redis import mirror
from recallm.storage.redis.keys import NamespaceKeys
from recallm.storage.redis.layouts import VectorQuery
from recallm.storage.redis.mirror import MirroredStreams
from recallm.testing import FakeEmbedder


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


def test_a_mirror_catches_up_with_many_entries(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that starts late finds entries that were stored before, after a few look-ups."""
    monkeypatch.setattr(mirror, "CHUNK", 50)
    redis_server.empty()
    storage = storage_on(redis_server)
    epoch = storage.recall("n", "none").epoch
    for at in range(180):
        assert storage.put(make(f"prompt {at}"), epoch, None).kept
    late = storage_on(redis_server)
    until(lambda: found(late, make("prompt 179")) == ["prompt 179"])
    assert found(late, make("prompt 0")) == ["prompt 0"]


def test_a_large_mirror_does_not_hold_an_event_loop(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker thread reads many new records, and searches many vectors, for an event loop; what is found is right."""
    monkeypatch.setattr(mirror, "LONG_SEARCH", 30)
    redis_server.empty()
    storage, entries = storage_on(redis_server), [make(f"prompt {at}") for at in range(60)]
    for entry in entries:
        put(storage, entry)
    late = storage_on(redis_server)

    async def search_all() -> list[list[str]]:
        searches = [Search("n", "p", entry.vector, 0.99, 16) for entry in entries if entry.vector is not None]
        try:
            results = await asyncio.gather(*(late.aperform(search) for search in searches))
        finally:
            await late.aclose()
        return [[candidate.entry.prompt for candidate in candidates] for candidates in results]

    assert asyncio.run(search_all()) == [[entry.prompt] for entry in entries]
    workers = [thread for thread in threading.enumerate() if thread.name.startswith("recallm-redis-work")]
    assert bool(workers) or not isinstance(late.layout, MirroredStreams)


def test_a_mirror_takes_no_more_memory_than_it_may(redis_server: Server) -> None:
    """A mirror over its memory limit drops the least recently used partitions and reads them again if needed."""
    redis_server.empty()
    storage = storage_on(redis_server, mirror_bytes=20_000)
    for at in range(200):
        put(storage, make(f"prompt {at}", partition=f"p{at % 10}"))
    for _ in range(2):
        for at in range(10):
            entry = make(f"prompt {at}", partition=f"p{at}")
            assert found(storage, entry) == [f"prompt {at}"]
            assert mirrored_bytes(storage) <= 20_000
