"""An entry read from a Redis server is checked before it is used, whoever wrote it."""

from __future__ import annotations

import itertools
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.redis_servers import LAYOUTS, Server

from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.records import Entry
from recallm.storage.redis.entry_format import FIELDS, EntryFormat
from recallm.storage.redis.keys import EntryVersion
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import FakeEmbedder, StorageContract

EMBEDDER = FakeEmbedder(dim=16)
SECRET = b"0123456789abcdef0123456789abcdef"
NOW = 1_700_000_000_000
GENERATION = "00" * 8

make = StorageContract().entry


def encoded(entry_format: EntryFormat, entry: Entry, *, expires_ms: int | None = None) -> list[Any]:
    """Return the fields of an entry, as a server returns them."""
    version = EntryVersion(b"i" * 12, b"k" * 16, b"p" * 16)
    fields = entry_format.encode(entry, version, GENERATION, NOW, expires_ms)
    return [fields.get(name) for name in FIELDS]


def format_of(secret: bytes | None = None, **options: Any) -> EntryFormat:
    """Return an entry format."""
    return EntryFormat(secret, options.get("encrypt"), options.get("decrypt"), options.get("max_bytes", 1 << 20))


@given(st.text(), st.binary(), st.floats(0, 1e9), st.integers(0, 1 << 62))
def test_an_entry_comes_back_as_it_was(prompt: str, payload: bytes, seconds: float, tokens: int) -> None:
    """Decoding an encoded entry gives the same entry, signed or not."""
    entry = Entry("key", "n", "p", prompt, None, payload, seconds, tokens)
    for each in (format_of(), format_of(SECRET)):
        stored = each.decode(encoded(each, entry), "n", GENERATION, NOW)
        assert stored is not None
        assert stored.entry == entry


def test_an_entry_is_dead_when_it_expires() -> None:
    """An entry expires to the millisecond, by the server's clock."""
    values = encoded(format_of(), make(), expires_ms=NOW + 10)
    assert format_of().decode(values, "n", GENERATION, NOW + 9) is not None
    assert format_of().decode(values, "n", GENERATION, NOW + 10) is None


@given(st.data())
def test_a_signed_entry_cannot_be_altered(data: st.DataObject) -> None:
    """A signed entry is refused if a byte of any field changed or moved to the next field."""
    values = encoded(format_of(SECRET), make())
    at = data.draw(st.integers(0, len(values) - 1))
    place = data.draw(st.integers(0, len(values[at]) - 1))
    flipped = bytes([values[at][place] ^ data.draw(st.integers(1, 255))])
    values[at] = values[at][:place] + flipped + values[at][place + 1 :]
    assert format_of(SECRET).decode(values, "n", GENERATION, NOW) is None


@given(st.lists(st.none() | st.binary() | st.integers(), min_size=len(FIELDS), max_size=len(FIELDS)))
def test_any_fields_at_all_do_no_harm(values: list[Any]) -> None:
    """Decoding any fields gives an entry or None, never an exception."""
    assert format_of().decode(values, "n", GENERATION, NOW) is None


def test_another_secret_reads_nothing() -> None:
    """With a secret, entries that are not signed or signed with another secret are ignored."""
    theirs = format_of(b"another secret, 24 bytes")
    for other in (format_of(), theirs):
        assert format_of(SECRET).decode(encoded(other, make()), "n", GENERATION, NOW) is None


def test_an_entry_too_large_to_be_read_is_not_written() -> None:
    """Storing an entry that is too large raises an error that says what is allowed and shows no content."""
    with pytest.raises(InvalidValueError, match="max_bytes") as raised:
        encoded(format_of(max_bytes=10), make("a prompt that is too long"))
    assert "prompt that" not in str(raised.value)


def facts(values: list[Any], **changes: Any) -> list[Any]:
    """Return the fields of an entry with some facts changed."""
    names = "format generation stored expires seconds tokens fresh_for dim namespace partition key"
    known = dict(zip(names.split(), json.loads(values[1]), strict=True))
    return [values[0], json.dumps(list((known | changes).values())).encode(), *values[2:]]


def with_vector(values: list[Any], vector: Any) -> list[Any]:
    """Return the fields of an entry with another vector."""
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
    """Return a storage on an empty server, which reads no payload of more than 2,000,000 bytes."""
    redis_server.empty()
    return RedisStorage.from_url(redis_server.url, layout=LAYOUTS[redis_server.kind], max_bytes=2_000_000, timeout=5.0)


def put(storage: RedisStorage, entry: Entry, ttl: float | None = None) -> None:
    """Put an entry under the current epoch."""
    assert storage.put(entry, storage.recall(entry.namespace, entry.key).epoch, ttl).kept


def entry_keys(server: Server) -> list[bytes]:
    """Return the keys of all entries."""
    with server.client() as client:
        return list(client.keys("recallm:1h:*"))


def test_a_thousand_poisoned_entries_hide_none_that_is_sound(redis_server: Server, storage: RedisStorage) -> None:
    """A search finds the valid entry behind many malformed ones that are more similar."""
    query = EMBEDDER.embed("one two three four five six")
    sound = make("one two three four five seven")
    put(storage, sound)
    kinds = itertools.cycle(POISONS.items())
    for at in range(1000 if redis_server.kind == "vectorset" else 200):
        name, poison = next(kinds)
        if name == "huge payload" and at > len(POISONS):
            continue
        entry = make(f"poison {at}", vector=query)
        put(storage, entry)
        with redis_server.client() as client:
            (key,) = set(entry_keys_of(redis_server, entry, storage))
            fields = [client.hget(key, name) for name in FIELDS]
            fresh = dict(zip(FIELDS, poison(fields), strict=True))
            client.hset(key, mapping={name: value for name, value in fresh.items() if value is not None})
    found = storage.search("n", "p", query, 0.3, 16)
    assert [candidate.entry.prompt for candidate in found] == [sound.prompt]


def entry_keys_of(server: Server, entry: Entry, storage: RedisStorage) -> list[str]:
    """Return the key of one entry's hash."""
    from recallm.storage.redis.keys import NamespaceKeys, digest
    from recallm.storage.redis.server import Epoch

    epoch = Epoch.of_number(storage.recall(entry.namespace, entry.key).epoch)
    return [NamespaceKeys("recallm", entry.namespace).of_generation(epoch.generation).entry(digest(entry.key))]


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_entry_is_neither_recalled_nor_found(
    redis_server: Server, storage: RedisStorage, poison: str
) -> None:
    """A malformed entry is neither recalled nor found, and a new entry replaces it."""
    entry = make("one two three")
    put(storage, entry)
    (key,) = entry_keys(redis_server)
    with redis_server.client() as client:
        fields = [client.hget(key, name) for name in FIELDS]
        changed = dict(zip(FIELDS, POISONS[poison](fields), strict=True))
        client.hset(key, mapping={name: value for name, value in changed.items() if value is not None})
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
    (key,) = entry_keys(redis_server)
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
        client.delete(*entry_keys_of(redis_server, gone, storage))
    for _ in range(2):
        assert [each.entry.prompt for each in storage.search("n", "p", gone.vector, 0.3, 16)] == [stays.prompt]
    if redis_server.kind != "search":  # whose index forgets by itself, and reports nothing
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
    (key,) = entry_keys(redis_server)
    with redis_server.client() as client:
        kept = b" ".join(client.hgetall(key).values())
    assert b"prompt of" not in kept
    assert b"payload" not in kept
    candidate = ours.recall("n", entry.key).candidate
    assert candidate is not None
    assert (candidate.entry.prompt, candidate.entry.payload) == ("a prompt of ours", b"\x00\xffpayload")
    assert theirs.recall("n", entry.key).candidate is None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"secret": b"short"}, InvalidValueError),
        ({"secret": 5}, InvalidTypeError),
        ({"encrypt": bytes}, InvalidValueError),
        ({"encrypt": 1, "decrypt": 2}, InvalidTypeError),
        ({"max_bytes": 0}, InvalidValueError),
        ({"max_entries": True}, InvalidTypeError),
        ({"layout": "guess"}, InvalidValueError),
        ({"prefix": "a{b}"}, InvalidValueError),
    ],
)
def test_mistakes_in_settings_raise(options: dict[str, Any], error: type[Exception]) -> None:
    """Wrong settings of a RedisStorage raise at construction, before anything is connected."""
    with pytest.raises(error):
        RedisStorage.from_url("redis://127.0.0.1:1/0", **options)
