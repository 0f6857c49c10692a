"""Entries are stored whole or not at all, and as long as they should last."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import pytest
import redis
import redis.asyncio
from support.redis_servers import Server
from support.redis_storages import found, keys, make, put, storage_on, until

from recallm.errors import InvalidValueError
from recallm.records import Entry, Stored
from recallm.storage.redis.commands import Batch, Exec, Watch
from recallm.storage.redis.keys import NamespaceKeys
from recallm.storage.redis.server import Epoch
from recallm.storage.redis.storage import RedisStorage


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


@pytest.mark.parametrize(
    "ttl", [float("inf"), sys.float_info.max, 1e300, timedelta.max.total_seconds(), 2.0**43, 10**400]
)
def test_an_entry_may_live_for_ages(redis_server: Server, ttl: float) -> None:
    """A time to live beyond what a server takes is the longest that it takes, alone and beside others."""
    redis_server.empty()
    storage = storage_on(redis_server)
    for prompt, seconds in (("short", 5.0), ("long", ttl), ("forever", None), ("long again", ttl)):
        entry = make(prompt)._replace(fresh_for=seconds)
        put(storage, entry, seconds)
        assert found(storage, entry) == [prompt]
        assert storage.recall("n", entry.key).candidate is not None
    assert storage.sizes(["n"]) == {"n": 4}


@pytest.mark.parametrize("ttl", [5e-324, 1e-9, 0.0004, 0.0015])
def test_an_entry_may_live_for_a_moment(redis_server: Server, ttl: float) -> None:
    """A time to live of less than a millisecond is one: the entry is stored, and soon gone."""
    redis_server.empty()
    storage = storage_on(redis_server)
    put(storage, make(), ttl)
    until(lambda: storage.recall("n", make().key).candidate is None and found(storage, make()) == [])
    put(storage, make("lasting"))
    until(lambda: storage.sizes(["n"]) == {"n": 1})


def test_what_is_refused_or_too_late_leaves_nothing(redis_server: Server) -> None:
    """A put that is too large or of an ended epoch leaves only the namespace's epoch on the server."""
    redis_server.empty()
    storage = storage_on(redis_server, max_bytes=100)
    epoch = storage.recall("n", "k").epoch
    with pytest.raises(InvalidValueError):
        storage.put(make("large", partition="large")._replace(payload=b"x" * 200), epoch, None)
    storage.invalidate("n")
    assert not storage.put(make("late", partition="late"), epoch, None).kept
    with redis_server.client() as client:
        until(lambda: {key.rpartition(b":")[2] for key in client.keys("recallm:1*")} == {b"e"})


def by_hand(entry: Entry, epoch: Epoch) -> Any:
    """Return the steps of a put on a plain server whose first try, though announced, is about to end."""
    storage = RedisStorage(sync_client=redis.Redis(), layout="plain")
    layout = storage._server_state.layout()
    assert isinstance(next(layout), Batch)
    with pytest.raises(StopIteration):
        layout.send([[1, 0]])
    steps = storage._writes.put(entry, epoch.number, None)
    assert isinstance(next(steps), Watch)
    announcement: Any = steps.send([[epoch.generation.encode(), b"0", None], 0, -1, 0, None])
    assert announcement.watching
    return steps


EPOCH = Epoch("0" * 16, 0)
VERSIONS = NamespaceKeys("recallm", "n").of_generation(EPOCH.generation).versions


def test_a_store_whose_reply_was_lost_is_not_made_undone() -> None:
    """If a put's reply was lost, its second attempt finds the entry of the first and counts it as kept."""
    steps = by_hand(make("entry"), EPOCH)
    stored = steps.send([b"1-1"])
    assert isinstance(stored, Exec)
    (kept,) = [command for command in stored.commands if command[0] == "HSET" and b"i" in command]
    version = kept[kept.index(b"i") + 1]
    assert isinstance(steps.send(None), Watch)
    assert steps.send([[EPOCH.generation.encode(), b"0", None], 0, -1, 0, version]) == Batch([("ZCARD", VERSIONS)])
    with pytest.raises(StopIteration) as ended:
        steps.send([1])
    assert ended.value.value == Stored(kept=True)


@pytest.mark.parametrize(("generation", "buried"), [("0" * 16, False), ("1" * 16, True)])
def test_a_store_that_came_too_late_buries_no_living_generation(generation: str, buried: bool) -> None:
    """A late put marks its generation as dead only if an invalidation, not a removal, ended its epoch."""
    steps = by_hand(make("entry"), EPOCH)
    assert isinstance(steps.send([b"1-1"]), Exec)
    assert isinstance(steps.send(None), Watch)
    withdrawn = steps.send([[generation.encode(), b"1", None], 0, -1, 0, None])
    assert {command[0] for command in withdrawn.commands} == {"XDEL", "HSETNX"} | ({"SADD"} if buried else set())
