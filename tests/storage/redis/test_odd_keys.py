"""Whatever lies under a key of the storage, no namespace is disabled for good, and nothing wrong is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import redis
from support.redis_servers import LAYOUTS, Server
from support.redis_storages import found, keys, make, put, storage_on, until

from recallm.records import Entry
from recallm.storage.redis.keys import GenerationKeys, NamespaceKeys, digest, partition_digest
from recallm.storage.redis.storage import RedisStorage


@pytest.fixture
def each_layout(redis_server: Server) -> Server:
    """One server of each layout: the types of keys do not depend on the server's make."""
    if redis_server.kind == "debian":
        pytest.skip("Valkey has the same layout")
    return redis_server


NAMESPACE = NamespaceKeys("recallm", "n")
OLD = make("one two three")
NEW = make("four five six")


def generation_of(client: redis.Redis) -> GenerationKeys:
    """Return the keys of the namespace's generation."""
    generation: Any = client.hget(NAMESPACE.epoch, "g")
    return NAMESPACE.of_generation(generation.decode())


def partition_of(entry: Entry) -> bytes:
    """Return the digest of an entry's partition."""
    return partition_digest(entry.partition, 0 if entry.vector is None else entry.vector.size)


PLACES: dict[str, Callable[[GenerationKeys], str]] = {
    "epoch": lambda keys: keys.namespace_keys.epoch,
    "dead": lambda keys: keys.namespace_keys.dead,
    "versions": lambda keys: keys.versions,
    "dims": lambda keys: keys.dims,
    "entry": lambda keys: keys.entry(digest(OLD.key)),
    "entry to come": lambda keys: keys.entry(digest(NEW.key)),
    "index": lambda keys: keys.index(partition_of(OLD)),
    "stream": lambda keys: keys.stream(partition_of(OLD)),
    "probe": lambda _: "recallm:probe",
}

LAST_ID = "18446744073709551615-18446744073709551615"

CONTENTS: dict[str, Callable[[redis.Redis, str], object]] = {
    "string": lambda client, key: client.set(key, "x"),
    "list": lambda client, key: client.rpush(key, "x", "y"),
    "set": lambda client, key: client.sadd(key, "x", "zz" * 8, "0" * 16),
    "sorted set": lambda client, key: client.zadd(key, {"x": 1, "y" * 60: float("inf"), "z" * 44: float("-inf")}),
    "hash": lambda client, key: client.hset(key, mapping={"x": "y", "i": "z" * 44, "g": "x", "v": b"\0" * 64}),
    "stream": lambda client, key: client.xadd(key, {"i": "x", "v": "y"}),
    "stream that is used up": lambda client, key: client.xadd(key, {"i": "x", "v": "y"}, id=LAST_ID),
    "epoch with no count": lambda client, key: client.hset(key, mapping={"g": "0" * 16, "n": "x"}),
    "epoch with a huge count": lambda client, key: client.hset(key, mapping={"g": "0" * 16, "n": 2**63 - 1}),
    "epoch with a count below zero": lambda client, key: client.hset(key, mapping={"g": "0" * 16, "n": -3}),
    "epoch with a padded count": lambda client, key: client.hset(key, mapping={"g": "0" * 16, "n": " 7"}),
    "epoch that claims to last": lambda client, key: client.hset(key, mapping={"g": "x", "n": 1, "k": 1}),
}


def contents_for(place: str) -> list[str]:
    """Return what may lie under a key: what looks like an epoch only where one belongs; elsewhere it is a hash."""
    return [content for content in CONTENTS if place == "epoch" or not content.startswith("epoch ")]


def plant(client: redis.Redis, place: str, content: str) -> None:
    """Replace what lies under a key."""
    key = PLACES[place](generation_of(client))
    client.delete(key)
    CONTENTS[content](client, key)


def works(storage: RedisStorage) -> bool:
    """Return whether an entry that is put is recalled, found and counted."""
    kept = storage.put(NEW, storage.recall("n", NEW.key).epoch, 60.0).kept
    recalled = storage.recall("n", NEW.key).candidate is not None
    return kept and recalled and found(storage, NEW) == [NEW.prompt] and storage.sizes(["n"])["n"] >= 1


@pytest.mark.parametrize("place", PLACES)
def test_calls_and_invalidations_heal_whatever_lies_under_a_key(each_layout: Server, place: str) -> None:
    """A namespace with an odd key works again after a few calls, none of which raises, and after an invalidation."""
    for content in contents_for(place):
        each_layout.empty()
        storage, other = storage_on(each_layout), storage_on(each_layout)
        with each_layout.client() as client:
            put(storage, OLD)
            assert found(other, OLD) == [OLD.prompt]
            plant(client, place, content)
            for _ in range(3):
                storage.put(NEW, storage.recall("n", NEW.key).epoch, None)
                assert set(found(storage, OLD)) <= {OLD.prompt}
            assert works(storage), content
            plant(client, place, content)
            storage.invalidate("n")
            for each in (other, storage, storage_on(each_layout)):
                assert each.recall("n", OLD.key).candidate is None, content
                assert found(each, OLD) == [], content
                assert works(each), content
            until(lambda: not keys(each_layout, "recallm:1:*:dead"))


@pytest.mark.parametrize("place", PLACES)
def test_a_removal_comes_through_whatever_lies_under_a_key(each_layout: Server, place: str) -> None:
    """Removing an entry raises nothing, and the entry is gone, whichever key is odd."""
    for content in contents_for(place):
        each_layout.empty()
        storage = storage_on(each_layout)
        put(storage, OLD)
        with each_layout.client() as client:
            plant(client, place, content)
        storage.remove("n", [OLD.key])
        assert storage.recall("n", OLD.key).candidate is None
        assert found(storage, OLD) == []


def other_vectors(client: Any, key: str, *options: str, dim: int = 16) -> None:
    """Make a vector set of another kind."""
    vector = np.ones(dim, dtype="<f4").tobytes()
    client.execute_command("VADD", key, "FP32", vector, b"x" * 28, *options)


@pytest.mark.parametrize(
    "other",
    [
        lambda client, key: other_vectors(client, key, "Q8", dim=8),
        lambda client, key: other_vectors(client, key, "NOQUANT"),
        lambda client, key: other_vectors(client, key, "BIN"),
        lambda client, key: other_vectors(client, key, "Q8", "M", "64"),
    ],
    ids=["dimension", "no quantisation", "binary", "links"],
)
def test_a_vector_set_of_another_kind_is_left_behind(redis_server: Server, other: Any) -> None:
    """A vector set that takes no vector of ours costs a namespace what it holds, and no more."""
    if redis_server.kind != "vectorset":
        pytest.skip("no vector sets")
    redis_server.empty()
    storage = storage_on(redis_server)
    put(storage, OLD)
    with redis_server.client() as client:
        key = PLACES["index"](generation_of(client))
        client.delete(key)
        other(client, key)
    storage.put(NEW, storage.recall("n", NEW.key).epoch, None)
    assert works(storage)


def test_one_odd_namespace_hides_no_other(redis_server: Server) -> None:
    """The sizes of all namespaces are counted though the keys of one are odd."""
    redis_server.empty()
    storage = storage_on(redis_server)
    put(storage, OLD)
    put(storage, make("elsewhere", namespace="m"))
    put(storage, make("elsewhere", namespace="o"))
    with redis_server.client() as client:
        plant(client, "versions", "string")
        other = NamespaceKeys("recallm", "m").epoch
        client.delete(other)
        client.set(other, "x")
    assert storage.sizes(["n", "m", "o"]) == {"o": 1}


def test_the_layout_is_found_though_its_probe_is_odd(redis_server: Server) -> None:
    """A key of another type where vector sets are probed for does not hide that the server has them."""
    redis_server.empty()
    with redis_server.client() as client:
        client.set("recallm:probe", "x")
    storage = RedisStorage.from_url(redis_server.url, timeout=5.0)
    storage.recall("n", "k")
    assert storage.layout is not None
    expected = "vectorset" if redis_server.kind == "search" else LAYOUTS[redis_server.kind]
    assert storage.layout.name == expected
