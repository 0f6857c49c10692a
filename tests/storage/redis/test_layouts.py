"""Each kind of server keeps vectors in its own way, and clients that use different ways meet on one server."""

from __future__ import annotations

import pytest
from support.redis_servers import COMMANDS, WANTED, Server, running
from support.redis_storages import found, make, put, storage_on, until

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


def test_partitions_of_different_dimensions_live_side_by_side(redis_server: Server) -> None:
    """Partitions of one namespace may have vectors of different dimensions."""
    redis_server.empty()
    storage = storage_on(redis_server)
    small, large = make("one two"), make("one two", partition="q", vector=FakeEmbedder(dim=48).embed("one two"))
    put(storage, small)
    put(storage, large)
    assert found(storage, small) == found(storage, large) == ["one two"]


def test_an_index_is_made_until_it_is_known_to_be_there() -> None:
    """Whoever stores while another thread makes the index makes it too, rather than store before it is there."""
    engine, keys = QueryEngine("recallm"), NamespaceKeys("recallm", "n").of_generation("g")
    vector = FakeEmbedder(dim=16).embed("one")
    version = EntryVersion(bytes(12), bytes(16), bytes(16))
    prepared = engine.prepare_commands(keys, version, vector)
    assert [command[0] for command in prepared] == ["FT.CREATE"]
    assert engine.prepare_commands(keys, version, vector) == prepared
    query = VectorQuery(keys, bytes(16), vector, 0.9, 1, everything=False)
    engine.parse_search(query, engine.search_commands(query), [[0], [0]])
    assert engine.prepare_commands(keys, version, vector) == []
