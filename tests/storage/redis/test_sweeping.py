"""Redis keys that nobody can use any more are removed, and processes see each other's changes at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.redis_churn import churn
from support.redis_servers import LAYOUTS, Server

from recallm.records import Entry
from recallm.storage.redis.keys import EntryVersion, NamespaceKeys
from recallm.storage.redis.server import Epoch
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import FakeEmbedder, StorageContract

make = StorageContract().entry


def storage_on(server: Server, **options: Any) -> RedisStorage:
    """Return the storage of one process."""
    return RedisStorage.from_url(server.url, layout=LAYOUTS[server.kind], timeout=5.0, **options)


def put(storage: RedisStorage, entry: Entry, ttl: float | None = None) -> int:
    """Put an entry under the current epoch; return how many entries were evicted for it."""
    stored = storage.put(entry, storage.recall(entry.namespace, entry.key).epoch, ttl)
    assert stored.kept
    return stored.evicted


def found(storage: RedisStorage, entry: Entry) -> list[str]:
    """Return the prompts of the entries that are as similar to an entry as itself."""
    assert entry.vector is not None
    candidates = storage.search(entry.namespace, entry.partition, entry.vector, 0.99, 16)
    return [candidate.entry.prompt for candidate in candidates]


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)


def keys(server: Server, pattern: str = "recallm:*") -> list[bytes]:
    """Return the keys on the server that match a pattern."""
    with server.client() as client:
        return list(client.keys(pattern))


def test_an_invalidated_namespace_is_swept(redis_server: Server) -> None:
    """An invalidated namespace is empty at once, and its keys but the epoch are deleted in the background."""
    redis_server.empty()
    storage = storage_on(redis_server)
    for at in range(150):
        put(storage, make(f"prompt {at}", partition=f"p{at % 5}"))
    assert storage.invalidate("n") == 150
    assert storage.sizes(["n"]) == {}
    until(lambda: len(keys(redis_server)) == 1)


def test_what_another_process_left_unswept_is_swept_by_the_next_store(redis_server: Server) -> None:
    """Keys that a process left behind by dying after an invalidation are deleted at another's next put."""
    redis_server.empty()
    dying, other = storage_on(redis_server), storage_on(redis_server)
    for at in range(40):
        put(dying, make(f"prompt {at}"))
    dying._upkeep.add(f"sweep {NamespaceKeys('recallm', 'n').epoch}")  # as if it had died
    assert dying.invalidate("n") == 40
    before = len(keys(redis_server))
    put(other, make("one more"))
    until(lambda: len(keys(redis_server)) < before - 30 and not keys(redis_server, "*:dead"))
    assert found(other, make("one more")) == ["one more"]


def test_expired_entries_leave_the_index_when_others_are_stored(redis_server: Server) -> None:
    """A put takes the versions and vectors of expired entries out of the index."""
    redis_server.empty()
    storage = storage_on(redis_server)
    for at in range(10):
        put(storage, make(f"prompt {at}"), ttl=0.05)
    time.sleep(0.1)
    put(storage, make("lasting"))
    with redis_server.client() as client:
        (versions,) = client.keys("recallm:1:*:z")
        until(lambda: client.zcard(versions) == 1)
        if redis_server.kind == "vectorset":
            (index,) = client.keys("recallm:1:*:x:*")
            until(lambda: client.execute_command("VCARD", index) == 1)
        if LAYOUTS[redis_server.kind] == "plain":
            (index,) = client.keys("recallm:1:*:s:*")
            until(lambda: client.xlen(index) == 1)


@pytest.mark.parametrize("ttls", [[5.0], [5.0, 9000.0, 5.0], [None, 5.0], [5.0, None, 5.0]])
def test_every_key_lives_as_long_as_what_it_leads_to(redis_server: Server, ttls: list[float | None]) -> None:
    """A shared key expires after the last of its entries, and never if one of them never expires."""
    redis_server.empty()
    storage = storage_on(redis_server)
    for at, ttl in enumerate(ttls):
        put(storage, make(f"prompt {at}"), ttl)
    with redis_server.client() as client:
        lives = {key: client.pttl(key) for key in keys(redis_server) if b":1h:" not in key}
        entries = sorted(client.pttl(key) for key in keys(redis_server, "recallm:1h:*"))
    if None in ttls:
        assert set(lives.values()) == {-1}
        assert entries[0] == -1
    else:
        longest = max(ttl for ttl in ttls if ttl is not None)
        assert min(lives.values()) > longest * 1000
        assert 0 < entries[0] <= 5000


def test_the_oldest_make_room(redis_server: Server) -> None:
    """A namespace holds at most `max_entries`; a put evicts the oldest and returns how many."""
    redis_server.empty()
    storage = storage_on(redis_server, max_entries=3)
    assert [put(storage, make(f"prompt {at}")) for at in range(5)] == [0, 0, 0, 1, 1]
    assert storage.sizes(["n"]) == {"n": 3}
    live = [at for at in range(5) if storage.recall("n", make(f"prompt {at}").key).candidate is not None]
    assert live == [2, 3, 4]
    assert found(storage, make("prompt 0")) == []
    put(storage, make("elsewhere", namespace="m"))
    assert storage.sizes(["n", "m"]) == {"n": 3, "m": 1}


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


def test_a_mirror_catches_up_with_many_entries(redis_server: Server) -> None:
    """A process that starts late finds entries that were stored before, after a few look-ups."""
    redis_server.empty()
    storage = storage_on(redis_server)
    epoch = storage.recall("n", "none").epoch
    for at in range(1800):
        assert storage.put(make(f"prompt {at}"), epoch, None).kept
    late = storage_on(redis_server)
    until(lambda: found(late, make("prompt 1799")) == ["prompt 1799"])
    assert found(late, make("prompt 0")) == ["prompt 0"]


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
            mirrors = getattr(storage.layout, "_mirrors", {})
            assert sum(mirror.size_bytes for mirror in mirrors.values()) <= 20_000


def test_eight_processes_at_once_find_nothing_wrong(redis_server: Server) -> None:
    """Eight processes that read, write and invalidate see no error, no wrong entry and true sizes."""
    redis_server.empty()
    churned = churn(redis_server.url, LAYOUTS[redis_server.kind], seconds=2.0)
    assert churned.problems == []
    assert churned.sizes == churned.recalled
    assert min(churned.done.values()) > 0


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**63))
def test_an_epoch_is_a_number_and_back(generation: int, removals: int) -> None:
    """Converting an epoch to a number or to bytes and back gives the same epoch."""
    epoch = Epoch(f"{generation:016x}", removals)
    assert Epoch.of_number(epoch.number) == epoch
    assert Epoch.parse([epoch.generation.encode(), str(removals).encode()]) == epoch


@given(st.binary(max_size=120))
def test_a_member_is_read_only_from_what_packs_to_the_same(packed: bytes) -> None:
    """Bytes are unpacked to an entry version only if that version packs to the same bytes."""
    version = EntryVersion.unpack(packed)
    assert version is None or version.pack() == packed


def test_partitions_of_different_dimensions_live_side_by_side(redis_server: Server) -> None:
    """Partitions of one namespace may have vectors of different dimensions."""
    redis_server.empty()
    storage = storage_on(redis_server)
    small, large = make("one two"), make("one two", partition="q", vector=FakeEmbedder(dim=48).embed("one two"))
    put(storage, small)
    put(storage, large)
    assert found(storage, small) == found(storage, large) == ["one two"]
