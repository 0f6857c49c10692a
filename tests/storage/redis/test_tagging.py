"""What is removed by tag on a Redis server stays removed, whoever stores meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from support.redis_servers import Server
from support.redis_storages import storage_on, until

from recallm.records import Entry
from recallm.storage.redis import tagging
from recallm.storage.redis.commands import Batch, Operation, Step
from recallm.storage.redis.keys import TagKeys
from recallm.storage.redis.storage import RedisStorage
from recallm.testing.fakes import fake_entry

T = TypeVar("T")


def test_an_answer_stored_during_a_removal_is_not_lost_to_the_next(redis_server: Server) -> None:
    """An answer under the key of one that is just being removed is removed as well, or found by the next removal."""
    redis_server.empty()
    remover, storer = storage_on(redis_server), storage_on(redis_server)
    entry = fake_entry("one", tags=("a",))

    assert put(storer, entry)
    kept: list[bool] = []

    def store_again() -> None:
        time.sleep(0.01)  # its call begins after the mark was set, whatever is rounded
        kept.append(put(storer, entry))

    assert remover._run(_doing_before(remover._tags.remove("a"), _forgets_members, store_again)) >= 1
    assert kept == [True]
    remover.remove_tagged("a")
    assert storer.recall("n", entry.key).candidate is None


def test_members_whose_entries_are_gone_leave_their_tag(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag does not grow for ever: entries that were evicted or invalidated an hour ago are forgotten, others not."""
    redis_server.empty()
    monkeypatch.setattr(tagging, "HOUR_MS", 0)
    monkeypatch.setattr(tagging, "PUTS_PER_LOOK", 1 << 62)
    storage, keys = storage_on(redis_server), TagKeys("recallm", "a")
    for namespace in ("gone", "n"):
        for number in range(10):
            put(storage, fake_entry(f"prompt {number}", namespace=namespace, tags=("a",)))
    storage.invalidate("gone")
    with redis_server.client() as client:
        assert client.zcard(keys.lasting) == 20
        time.sleep(0.01)
        storage._run(storage._tags.forget_gone(keys))
        assert client.zcard(keys.lasting) == 10
    assert storage.remove_tagged("a") == 10


def test_those_who_store_have_members_forgotten(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then a put has members looked at in the background."""
    redis_server.empty()
    monkeypatch.setattr(tagging, "HOUR_MS", 0)
    monkeypatch.setattr(tagging, "PUTS_PER_LOOK", 1)
    storage, keys = storage_on(redis_server), TagKeys("recallm", "a")
    put(storage, fake_entry("gone", tags=("a",)))
    storage.invalidate("n")
    time.sleep(0.01)
    with redis_server.client() as client:
        until(lambda: put(storage, fake_entry("one", namespace="m", tags=("a",))) and client.zcard(keys.lasting) == 1)
    assert storage.remove_tagged("a") == 1


def test_a_member_that_joins_again_stays(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is stored anew, just as its member is found to be gone, is still found by its tag."""
    redis_server.empty()
    monkeypatch.setattr(tagging, "HOUR_MS", 0)
    monkeypatch.setattr(tagging, "PUTS_PER_LOOK", 1 << 62)
    storage, keys = storage_on(redis_server), TagKeys("recallm", "a")
    entry = fake_entry("one", tags=("a",))
    put(storage, entry)
    storage.invalidate("n")

    def put_again() -> None:
        time.sleep(0.01)
        put(storage, entry)

    operation = storage._tags.forget_gone(keys)
    storage._run(_doing_before(operation, lambda step: _has(step, "ZADD"), put_again))
    storage._run(storage._tags.forget_gone(keys))
    assert storage.remove_tagged("a") == 1


def put(storage: RedisStorage, entry: Entry) -> bool:
    """Store an entry with tags."""
    began = time.perf_counter()
    return storage.put_tagged(entry, storage.recall(entry.namespace, entry.key).epoch, None, began).kept


def _forgets_members(step: Step) -> bool:
    """Return whether a step takes members from a tag."""
    return _has(step, "ZREM")


def _has(step: Step, name: str) -> bool:
    return isinstance(step, Batch) and any(command[0] == name for command in step.commands)


def _doing_before(
    operation: Operation[T], is_moment: Callable[[Step], bool], act: Callable[[], object]
) -> Operation[T]:
    """Perform an operation, and do something before the first step of a kind."""
    reply: Any = None
    moments = [act]
    while True:
        try:
            step = operation.send(reply)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # an operation's return type
        if moments and is_moment(step):
            moments.pop()()
        reply = yield step
