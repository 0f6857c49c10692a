"""Many at once on one Redis server neither exclude each other, nor wait for each other, nor leave things behind."""

from __future__ import annotations

import asyncio
import threading

import pytest
import redis
import redis.asyncio
from support.churn import churn
from support.redis_servers import LAYOUTS, Server
from support.redis_storages import all_stored, found, make, maker, put, storage_on, until

from recallm.storage.redis.storage import RedisStorage

FOREVER: tuple[float | None, ...] = (None, 3600.0, 400_000.0)


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
            until(lambda: storage.sizes(["n"]))
            entry = make(f"before {number}")
            storage.put(entry, storage.recall("n", entry.key).epoch, None)
            storage.invalidate("n")
            assert storage.recall("n", entry.key).candidate is None
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert problems == []


def test_processes_see_each_others_changes_at_once(redis_server: Server) -> None:
    """An entry that one process stores, replaces or removes is so for another's next look-up."""
    redis_server.empty()
    one, other = storage_on(redis_server), storage_on(redis_server)
    entry = make("one two three")
    assert found(other, entry) == []
    put(one, entry)
    assert found(other, entry) == ["one two three"]
    put(other, make("one two three", tokens=5))
    candidate = one.recall("n", entry.key).candidate
    assert candidate is not None
    assert candidate.entry.tokens == 5
    assert found(one, entry) == ["one two three"]
    one.remove("n", [entry.key])
    assert found(other, entry) == []
    put(other, entry)
    one.invalidate("n")
    assert found(other, entry) == []
    assert other.recall("n", entry.key).candidate is None


def test_an_answer_computed_across_another_process_s_invalidation_is_not_kept(redis_server: Server) -> None:
    """An answer is not stored if another process invalidated its namespace while it was computed."""
    redis_server.empty()
    one, other = storage_on(redis_server), storage_on(redis_server)
    entry = make()
    epoch = one.recall("n", entry.key).epoch
    other.invalidate("n")
    assert not one.put(entry, epoch, None).kept
    epoch = one.recall("n", entry.key).epoch
    other.remove("n", ["absent"])
    assert not one.put(entry, epoch, None).kept
    assert found(one, entry) == []


@pytest.mark.slow
def test_eight_processes_at_once_find_nothing_wrong(redis_server: Server) -> None:
    """Eight processes that read, write and invalidate see no error, no wrong entry and true sizes."""
    redis_server.empty()
    churned = churn(maker(redis_server.url, LAYOUTS[redis_server.kind]), seconds=2.0)
    assert churned.problems == []
    assert churned.sizes == churned.recalled
    assert min(churned.done.values()) > 0
