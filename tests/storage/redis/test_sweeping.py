"""A Redis server is left with nothing that is out of reach, and never loses what is not."""

from __future__ import annotations

import time

import pytest
from support.redis_servers import LAYOUTS, Server
from support.redis_storages import found, keys, make, put, storage_on, until

from recallm.storage.redis.keys import NamespaceKeys
from recallm.storage.redis.sweeping import make_room


def test_an_invalidated_namespace_is_swept(redis_server: Server) -> None:
    """An invalidated namespace is empty at once, and its keys but the epoch are deleted in the background."""
    redis_server.empty()
    storage = storage_on(redis_server)
    for at in range(150):
        put(storage, make(f"prompt {at}", partition=f"p{at % 5}"))
    assert storage.invalidate("n") == 150
    assert storage.sizes(["n"]) == {}
    until(lambda: len(keys(redis_server)) == 1)


def test_an_invalidation_is_not_missed_by_a_sweep_that_ends(redis_server: Server) -> None:
    """What was invalidated while a sweep was about to end is swept, too."""
    redis_server.empty()
    storage = storage_on(redis_server)
    put(storage, make("prompt"))
    ending = storage._upkeep.claims.claim(f"sweep {NamespaceKeys('recallm', 'n').epoch} ")
    assert ending is not None
    assert storage.invalidate("n") == 1
    until(lambda: len(keys(redis_server)) == 1)


def test_what_another_process_left_unswept_is_swept_by_the_next_store(redis_server: Server) -> None:
    """Keys that a process left behind by dying after an invalidation are deleted at another's next put."""
    redis_server.empty()
    dying, other = storage_on(redis_server), storage_on(redis_server)
    for at in range(40):
        put(dying, make(f"prompt {at}"))
    sweep = f"sweep {NamespaceKeys('recallm', 'n').epoch} {dying._server_state.generation('n')}"
    claim = dying._upkeep.claims.claim(sweep)  # so it does not sweep, as if it had died
    assert claim is not None
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


def test_no_room_is_made_where_nothing_is_any_more(redis_server: Server) -> None:
    """To make room in a generation that was swept since its entries were counted removes nothing, and is no error."""
    redis_server.empty()
    storage = storage_on(redis_server)
    put(storage, make("one two three"))
    assert storage.layout is not None
    swept = NamespaceKeys("recallm", "n").of_generation("0" * 16)
    assert storage._run(make_room(storage.layout, swept, 5, 3)) == 0
    assert storage.sizes(["n"]) == {"n": 1}


def test_partitions_that_hold_nothing_any_more_are_forgotten(redis_server: Server) -> None:
    """Partitions whose entries were all evicted leave nothing on the server."""
    if redis_server.kind == "search":
        pytest.skip("one index for all partitions")
    redis_server.empty()
    storage = storage_on(redis_server, max_entries=3)
    for number in range(40):
        entry = make(f"entry {number}", partition=f"p{number}")
        assert storage.put(entry, storage.recall("n", entry.key).epoch, None).kept
    with redis_server.client() as client:
        (dims,) = client.keys("recallm:1:*:d")
        assert client.hlen(dims) == 3
        assert len(client.keys("recallm:1:*:[xs]:*")) == 3


def test_a_living_generation_is_never_swept(redis_server: Server) -> None:
    """A living generation is not swept, even if it is listed as dead."""
    redis_server.empty()
    storage = storage_on(redis_server)
    for number in range(5):
        entry = make(f"entry {number}")
        storage.put(entry, storage.recall("n", entry.key).epoch, None)
    assert storage.remove("n", [make("entry 0").key]) == 1
    namespace_keys = NamespaceKeys("recallm", "n")
    with redis_server.client() as client:
        client.sadd(namespace_keys.dead, client.hget(namespace_keys.epoch, "g"))
        entry = make("one more")
        storage.put(entry, storage.recall("n", entry.key).epoch, None)
        until(lambda: client.scard(namespace_keys.dead) == 0)
    assert storage.sizes(["n"]) == {"n": 5}
