"""Whatever a Redis server returns is checked before it is served, whoever wrote it."""

from __future__ import annotations

import itertools
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import redis
from support.redis_servers import LAYOUTS, Server
from support.redis_storages import keys, make, put

from recallm.storage.entry_format import FIELDS
from recallm.storage.redis.keys import GenerationKeys, NamespaceKeys, digest
from recallm.storage.redis.server import Epoch
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import FakeEmbedder

EMBEDDER = FakeEmbedder(dim=16)
SECRET = b"0123456789abcdef0123456789abcdef"


def facts(values: list[Any], **changes: Any) -> list[Any]:
    """Return fields whose facts are changed."""
    names = "format generation stored expires seconds tokens fresh_for dim namespace partition key"
    known = dict(zip(names.split(), json.loads(values[1]), strict=True))
    return [values[0], json.dumps(list((known | changes).values())).encode(), *values[2:]]


def with_vector(values: list[Any], vector: Any) -> list[Any]:
    """Return fields with another vector."""
    return [*values[:4], np.asarray(vector, dtype="<f4").tobytes(), values[5]]


POISONS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "pickle instead of facts": lambda v: [v[0], pickle.dumps({"a": 1}), *v[2:]],
    "no facts": lambda v: [v[0], b"", *v[2:]],
    "deep facts": lambda v: [v[0], b"[" * 16_000, *v[2:]],
    "huge facts": lambda v: [v[0], v[1] + b" " * 20_000, *v[2:]],
    "facts of another form": lambda v: [v[0], b'{"format": 1}', *v[2:]],
    "wrong version": lambda v: facts(v, format=99),
    "another generation": lambda v: facts(v, generation="ff" * 8),
    "another namespace": lambda v: facts(v, namespace="other"),
    "another partition": lambda v: facts(v, partition="other"),
    "another key": lambda v: facts(v, key="other"),
    "expired": lambda v: facts(v, expires=1),
    "expiry of another type": lambda v: facts(v, expires="never"),
    "fresh_for that is no number": lambda v: facts(v, fresh_for="long"),
    "no time of storing": lambda v: facts(v, stored=None),
    "time that is no number": lambda v: facts(v, seconds="fast"),
    "another dimension": lambda v: facts(v, dim=8),
    "truncated vector": lambda v: [*v[:4], v[4][:-5], v[5]],
    "vector of NaN": lambda v: with_vector(v, [np.nan] * 16),
    "infinite vector": lambda v: with_vector(v, [np.inf] * 16),
    "vector ten times as long": lambda v: with_vector(v, 10 * np.frombuffer(v[4], dtype="<f4")),
    "vector of nothing": lambda v: with_vector(v, [0.0] * 16),
    "huge payload": lambda v: [*v[:3], b"x" * 3_000_000, *v[4:]],
    "prompt that is no text": lambda v: [*v[:2], b"\xff\xfe", *v[3:]],
    "no member": lambda v: [b"", *v[1:]],
}


@pytest.fixture
def storage(redis_server: Server) -> RedisStorage:
    """A storage on an empty server, which reads no payload of more than two megabytes."""
    redis_server.empty()
    return RedisStorage.from_url(redis_server.url, layout=LAYOUTS[redis_server.kind], max_bytes=2_000_000, timeout=5.0)


def keys_now(storage: RedisStorage) -> GenerationKeys:
    """Return the keys of the namespace's generation."""
    epoch = Epoch.of_number(storage.recall("n", "key").epoch)
    return NamespaceKeys("recallm", "n").of_generation(epoch.generation)


def change(client: redis.Redis, key: str | bytes, poison: Callable[[list[Any]], list[Any]]) -> None:
    """Change the fields of a stored entry."""
    fields: Any = client.hmget(key, list(FIELDS))
    changed = dict(zip(FIELDS, poison(fields), strict=True))
    client.hset(key, mapping={name: value for name, value in changed.items() if value is not None})


def test_a_thousand_poisoned_entries_hide_none_that_is_sound(redis_server: Server, storage: RedisStorage) -> None:
    """A search finds the valid entry behind many malformed ones that are more similar."""
    query = EMBEDDER.embed("one two three four five six")
    sound = make("one two three four five seven")
    put(storage, sound)
    epoch, generation = storage.recall("n", "key").epoch, keys_now(storage)
    kinds = itertools.cycle(POISONS.items())
    with redis_server.client() as client:
        for at in range(1000 if redis_server.kind == "vectorset" else 200):
            name, poison = next(kinds)
            if name == "huge payload" and at > len(POISONS):
                continue
            entry = make(f"poison {at}", vector=query)
            assert storage.put(entry, epoch, None).kept
            change(client, generation.entry(digest(entry.key)), poison)
    found = storage.search("n", "p", query, 0.3, 16)
    assert [candidate.entry.prompt for candidate in found] == [sound.prompt]


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_entry_is_neither_recalled_nor_found(
    redis_server: Server, storage: RedisStorage, poison: str
) -> None:
    """A malformed entry is neither recalled nor found, and a new entry replaces it."""
    entry = make("one two three")
    put(storage, entry)
    (key,) = keys(redis_server, "recallm:1h:*")
    with redis_server.client() as client:
        change(client, key, POISONS[poison])
    assert entry.vector is not None
    if poison != "another partition":  # which the cache itself compares on an exact look-up
        assert storage.recall("n", entry.key).candidate is None
    assert list(storage.search("n", "p", entry.vector, 0.5, 16)) == []
    put(storage, entry)
    assert storage.recall("n", entry.key).candidate is not None
    assert len(storage.search("n", "p", entry.vector, 0.5, 16)) == 1


def test_a_key_of_another_type_is_passed_over(redis_server: Server, storage: RedisStorage) -> None:
    """If an entry's key holds a Redis string, recall ignores it and a put replaces it."""
    entry = make()
    put(storage, entry)
    (key,) = keys(redis_server, "recallm:1h:*")
    with redis_server.client() as client:
        client.delete(key)
        client.set(key, "not an entry")
    assert storage.recall("n", entry.key).candidate is None
    put(storage, entry)
    assert storage.recall("n", entry.key).candidate is not None


def test_vectors_in_the_index_alone_are_no_entries(redis_server: Server, storage: RedisStorage) -> None:
    """Vectors in the index without an entry, NaN ones included, are not found and hide no entry."""
    entry = make("one two three")
    put(storage, entry)
    assert entry.vector is not None
    with redis_server.client() as client:
        (index,) = client.keys("recallm:1:*:[xs]:*") or [None]
        for at in range(100):
            element = at.to_bytes(28)
            vector = [np.nan] * 16 if at % 2 else entry.vector
            stored = np.asarray(vector, dtype="<f4").tobytes()
            if redis_server.kind == "vectorset":
                client.execute_command("VADD", index, "FP32", stored, element, "Q8")
            elif redis_server.kind != "search":
                client.xadd(index, {"i": element, "v": stored})
    assert [found.entry.prompt for found in storage.search("n", "p", entry.vector, 0.9, 16)] == ["one two three"]


def test_ghosts_leave_the_index_and_the_count(
    redis_server: Server, storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that meets an entry evicted by the server takes it out of the index and the size."""
    # A record of a moment ago may belong to an entry that is just being stored.
    monkeypatch.setattr("recallm.storage.redis.reads.YOUNG_MS", -1)
    gone, stays = make("one two three four"), make("one two three five")
    for entry in (gone, stays):
        put(storage, entry)
    assert gone.vector is not None
    assert len(storage.search("n", "p", gone.vector, 0.3, 16)) == 2
    with redis_server.client() as client:
        client.delete(keys_now(storage).entry(digest(gone.key)))
    for _ in range(2):
        assert [each.entry.prompt for each in storage.search("n", "p", gone.vector, 0.3, 16)] == [stays.prompt]
    if redis_server.kind != "search":  # whose index forgets by itself, and tells nobody
        assert storage.sizes(["n"]) == {"n": 1}


@pytest.mark.parametrize("options", [{"secret": SECRET}, {"secret": "a secret of sixteen"}])
def test_unsigned_entries_are_ignored_where_a_secret_is_asked_for(
    redis_server: Server, storage: RedisStorage, options: dict[str, Any]
) -> None:
    """A storage with a secret ignores unsigned entries and serves those that it signed."""
    entry = make()
    put(storage, entry)
    signing = RedisStorage.from_url(redis_server.url, layout=LAYOUTS[redis_server.kind], **options)
    assert signing.recall("n", entry.key).candidate is None
    put(signing, entry)
    assert signing.recall("n", entry.key).candidate is not None


def test_prompts_and_payloads_can_be_encrypted(redis_server: Server) -> None:
    """Encrypted prompts and payloads are unreadable on the server and to a storage with another key."""
    redis_server.empty()

    def storage_with(mask: int) -> RedisStorage:
        def encrypt(data: bytes) -> bytes:
            return bytes([mask]) + bytes(byte ^ mask for byte in data)

        def decrypt(data: bytes) -> bytes:
            if data[:1] != bytes([mask]):
                raise ValueError("another key")
            return bytes(byte ^ mask for byte in data[1:])

        layout = LAYOUTS[redis_server.kind]
        return RedisStorage.from_url(redis_server.url, layout=layout, encrypt=encrypt, decrypt=decrypt)

    ours, theirs = storage_with(7), storage_with(8)
    entry = make("a prompt of ours")
    put(ours, entry)
    (key,) = keys(redis_server, "recallm:1h:*")
    with redis_server.client() as client:
        kept = b" ".join(client.hgetall(key).values())
    assert b"prompt of" not in kept
    assert b"payload" not in kept
    candidate = ours.recall("n", entry.key).candidate
    assert candidate is not None
    assert (candidate.entry.prompt, candidate.entry.payload) == ("a prompt of ours", b"\x00\xffpayload")
    assert theirs.recall("n", entry.key).candidate is None
