"""What a server holds is listed a little at a time, whatever else lies there."""

from __future__ import annotations

import pytest
import redis
from cryptography.fernet import Fernet
from support.redis_servers import Server
from support.redis_storages import make, put, storage_on, url_of_user

from recallm.storage.redis.listing import READ_AT_ONCE
from recallm.storage.redis.storage import RedisStorage


def listed(storage: RedisStorage, namespace: str = "n") -> list[str]:
    """Return the prompts of a namespace's entries, sorted."""
    return sorted(each.entry.prompt for each in storage.entries(namespace))


def test_encrypted_entries_are_listed_to_those_with_the_key(server: Server) -> None:
    """Who has the key reads what is listed; who has another one sees the namespace's name, and no entry."""
    server.empty()
    ours, other = Fernet(Fernet.generate_key()), Fernet(Fernet.generate_key())
    storage = storage_on(server, secret="s" * 16, encrypt=ours.encrypt, decrypt=ours.decrypt)
    put(storage, make("hello"))
    assert listed(storage) == ["hello"]
    for options in (
        {"secret": "s" * 16, "encrypt": other.encrypt, "decrypt": other.decrypt},
        {"secret": "t" * 16, "encrypt": ours.encrypt, "decrypt": ours.decrypt},
    ):
        stranger = storage_on(server, **options)
        assert list(stranger.namespaces()) == ["n"]
        assert listed(stranger) == []


def test_odd_keys_are_left_out(server: Server) -> None:
    """Keys that hold something else than recallm keeps there, and entries of others' making, are not listed."""
    server.empty()
    storage = storage_on(server)
    put(storage, make("sound"))
    put(storage, make("odd"))
    with server.client() as client:
        (name,) = [key for key in client.keys("recallm:1h:*") if client.hget(key, "t") == b"odd"]
        client.delete(name)
        client.set(name, "text")
        client.set("recallm:1:{" + "0" * 32 + "}:e", "text")
        client.hset("recallm:1:{" + "1" * 32 + "}:e", "g", "0" * 16)
        client.hset("recallm:1:{someone}:e", "g", "0" * 16)
    assert list(storage.namespaces()) == ["n"]
    assert listed(storage) == ["sound"]
    with server.client() as client:
        (versions,) = client.keys("recallm:1:*:z")
        client.delete(versions)
        client.set(versions, "text")
    assert list(storage.namespaces()) == []
    assert listed(storage) == []


def test_an_invalidation_ends_a_list(server: Server) -> None:
    """Entries of a namespace that is invalidated while it is listed are listed no more."""
    server.empty()
    storage = storage_on(server)
    for number in range(3 * READ_AT_ONCE):
        put(storage, make(f"prompt {number}"))
    listing = storage.entries("n")
    next(listing)
    storage.invalidate("n")
    put(storage, make("after"))
    assert len(list(listing)) == READ_AT_ONCE - 1


def test_a_user_without_scan_is_told_so(server: Server) -> None:
    """Who may not use SCAN is refused namespaces, and lists those whose names he knows."""
    server.empty()
    put(storage_on(server), make("hello"))
    storage = RedisStorage.from_url(url_of_user(server, "+@all -scan"), timeout=5.0)
    with pytest.raises(redis.exceptions.NoPermissionError):
        storage.namespaces()
    assert listed(storage) == ["hello"]
