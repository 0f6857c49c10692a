"""Each kind of server keeps vectors in its own way, and clients that use different ways meet on one server."""

from __future__ import annotations

from typing import Any

import pytest
from support.redis_servers import COMMANDS, WANTED, Server, running
from support.redis_storages import found, keys, make, put, storage_on, until

from recallm.storage.redis.keys import EntryVersion, NamespaceKeys
from recallm.storage.redis.layouts import QueryEngine, VectorQuery
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import FakeEmbedder


@pytest.mark.redis
@pytest.mark.skipif("vectorset" not in COMMANDS, reason=WANTED["vectorset"])
def test_a_server_may_come_to_know_another_layout() -> None:
    """Clients with different layouts can share a namespace, and each sees what the other invalidates."""
    with running("vectorset") as server:
        plain = RedisStorage.from_url(server.url, layout="plain", timeout=5.0)
        sets = RedisStorage.from_url(server.url, layout="vectorset", timeout=5.0)
        for storage, other in ((plain, sets), (sets, plain)):
            entry = make(f"by {storage.layout}")
            assert storage.put(entry, storage.recall("n", entry.key).epoch, None).kept
            assert other.recall("n", entry.key).candidate is not None
            assert entry.vector is not None
            other.search("n", entry.partition, entry.vector, 0.5, 16)
            assert other.put(entry, other.recall("n", entry.key).epoch, None).kept
            assert other.remove("n", [entry.key]) == 1
            assert storage.search("n", entry.partition, entry.vector, 0.9, 16) == []
        assert plain.sizes(["n"]) == sets.sizes(["n"]) == {}
        ours, theirs = make("by plain"), make("by sets")
        assert plain.put(ours, plain.recall("n", ours.key).epoch, None).kept
        assert sets.put(theirs, sets.recall("n", theirs.key).epoch, None).kept
        assert sets.remove("n", [theirs.key]) == 1
        fresh = RedisStorage.from_url(server.url, layout="plain", timeout=5.0)
        assert ours.vector is not None
        assert [found.entry.prompt for found in fresh.search("n", "p", ours.vector, 0.9, 16)] == ["by plain"]
        plain.invalidate("n")
        with server.client() as client:
            until(lambda: [key.rpartition(b":")[2] for key in client.keys("*")] == [b"e"])


@pytest.mark.parametrize("partition", ["p", "q"])
def test_vectors_of_different_dimensions_live_side_by_side(redis_server: Server, partition: str) -> None:
    """Vectors of another dimension are stored and found beside the others, after a restart too."""
    redis_server.empty()
    storage = storage_on(redis_server)
    small = make("one two")
    large = make("two one", partition=partition, vector=FakeEmbedder(dim=48).embed("two one"))
    for entry in (small, large, small, large):
        put(storage, entry)
        assert found(storage, entry) == [entry.prompt]
    fresh = storage_on(redis_server)
    assert (found(fresh, large), found(fresh, small)) == (["two one"], ["one two"])
    assert fresh.remove("n", [small.key]) == 1
    assert (found(storage, large), found(storage, small)) == (["two one"], [])
    assert storage.invalidate("n") == 1
    assert (found(fresh, large), found(fresh, small)) == ([], [])
    until(lambda: [key.rpartition(b":")[2] for key in keys(redis_server)] == [b"e"])


def test_an_index_is_made_until_it_is_known_to_be_there() -> None:
    """Whoever stores while another thread makes the index makes it too, rather than store before it is there."""
    engine, generation = QueryEngine("recallm"), NamespaceKeys("recallm", "n").of_generation("g")
    vector = FakeEmbedder(dim=16).embed("one")
    version = EntryVersion(bytes(12), bytes(16), bytes(16))
    prepared = engine.prepare_commands(generation, version, vector)
    assert [command[0] for command in prepared] == ["FT.CREATE"]
    assert engine.prepare_commands(generation, version, vector) == prepared
    query = VectorQuery(generation, bytes(16), vector, 0.9, 1, everything=False)
    engine.parse_search(query, engine.search_commands(query), [[0], [0]])
    assert engine.prepare_commands(generation, version, vector) == []


def reply_of(rows: list[dict[bytes, bytes] | None], *, protocol: int) -> Any:
    """Return a reply of the query engine with these rows."""
    if protocol == 3:
        return {b"results": [{b"extra_attributes": row, b"values": []} for row in rows]}
    return [len(rows), *(row and [part for pair in row.items() for part in pair] for row in rows)]


@pytest.mark.parametrize("protocol", [2, 3])
def test_rows_that_expire_during_a_search_hide_none_that_do_not(protocol: int) -> None:
    """A row that comes without its fields is passed over, and the search goes on if it may have hidden one."""
    engine, generation = QueryEngine("recallm"), NamespaceKeys("recallm", "n").of_generation("g")
    query = VectorQuery(generation, bytes(16), FakeEmbedder(dim=16).embed("one"), 0.9, 2)
    row = {b"d": b"0.01", b"__key": generation.entry(b"k" * 16).encode(), b"i": b"version"}
    cases: list[tuple[list[dict[bytes, bytes] | None], bool]]
    cases = [([row, None], False), ([row], True), ([None], True), ([None, None], False)]
    for rows, complete in cases:
        sent = engine.search_commands(query)
        replies = [reply_of(rows, protocol=protocol), *([[7]] if len(sent) > 1 else [])]
        neighbours = engine.parse_search(query, sent, replies)
        assert neighbours is not None
        assert [key for key, _ in neighbours.found] == [b"k" * 16] * rows.count(row)
        assert neighbours.complete is complete
        assert all(values[0] == b"version" for values in neighbours.rows.values())
