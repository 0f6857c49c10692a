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
from recallm.storage.redis.commands import Batch, Exec, Operation, Step, Watch
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


def test_of_two_removals_the_one_that_ends_first_leaves_nothing(redis_server: Server) -> None:
    """An answer stored during a removal that is yet to end, or never does, is removed by the next one."""
    redis_server.empty()
    slow, quick = storage_on(redis_server), storage_on(redis_server)
    entry = fake_entry("one", tags=("a",))
    put(slow, entry)

    def store_again() -> None:
        time.sleep(0.01)
        assert put(quick, entry)

    removed: list[int] = []
    operation = _doing_before(slow._tags.remove("a"), _forgets_members, store_again)
    operation = _doing_before(
        operation, _comes_after(_forgets_members), lambda: removed.append(quick.remove_tagged("a"))
    )
    slow._run(operation)
    assert removed == [1]
    with redis_server.client() as client:
        assert client.zcard(TagKeys("recallm", "a").leaving) == 0


def test_a_removal_does_its_work_whatever_else_happens_there(redis_server: Server) -> None:
    """An answer stored in one namespace while the entries of another are removed does not make the removal fail."""
    redis_server.empty()
    storage, other = storage_on(redis_server), storage_on(redis_server)
    for namespace in ("m", "n"):
        put(storage, fake_entry("one", namespace=namespace, tags=("a",)))
    others = iter(range(100))

    def store_others() -> None:
        for namespace in ("m", "n"):
            put(other, fake_entry(f"other {next(others)}", namespace=namespace))

    operation = storage._tags.remove("a")
    for _ in range(2):
        operation = _doing_before(operation, _watches_partition, store_others)
        operation = _doing_before(operation, _comes_after(_watches_partition), store_others)
    assert storage._run(operation) == 2


def test_a_tag_of_many_entries_is_removed_in_parts(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many entries a tag has, all of them are removed, and the tag leaves nothing behind."""
    redis_server.empty()
    monkeypatch.setattr(tagging, "LEAVING_AT_ONCE", 2)
    storage, keys = storage_on(redis_server), TagKeys("recallm", "a")
    for number in range(5):
        put(storage, fake_entry(f"prompt {number}", tags=("a",)))
    assert storage.remove_tagged("a") == 5
    with redis_server.client() as client:
        assert client.exists(*keys.members) == 0


def test_a_key_that_holds_something_else_does_not_keep_a_tag(redis_server: Server) -> None:
    """A removal replaces what stands where members leave, and removes the entries."""
    redis_server.empty()
    storage, keys = storage_on(redis_server), TagKeys("recallm", "a")
    put(storage, fake_entry("one", tags=("a",)))
    with redis_server.client() as client:
        client.set(keys.leaving, "something else")
        assert storage.remove_tagged("a") == 1
        assert client.exists(keys.leaving) == 0


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
    storage._run(_doing_before(operation, _marks_members, put_again))
    put(storage, fake_entry("gone", namespace="gone", tags=("a",)))
    storage.invalidate("gone")
    time.sleep(0.01)
    storage._run(storage._tags.forget_gone(keys))
    with redis_server.client() as client:
        assert client.zcard(keys.lasting) == 1
    assert storage.remove_tagged("a") == 1


def test_a_member_that_joins_again_stays_whoever_looks(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does one that two processes find to be gone at once."""
    redis_server.empty()
    monkeypatch.setattr(tagging, "HOUR_MS", 0)
    monkeypatch.setattr(tagging, "PUTS_PER_LOOK", 1 << 62)
    storage, other, keys = storage_on(redis_server), storage_on(redis_server), TagKeys("recallm", "a")
    entry = fake_entry("one", tags=("a",))
    put(storage, entry)
    storage.invalidate("n")

    def put_again() -> None:
        time.sleep(0.01)
        put(storage, entry)

    late = other._tags.forget_gone(keys)
    marks: list[Step] = []
    other._run(_until(late, _marks_members, marks))
    operation = _doing_before(storage._tags.forget_gone(keys), _marks_members, put_again)
    # Both have found it to be gone; the second marks it before the first sees that it is a new one.
    operation = _doing_before(operation, _comes_after(_marks_members), lambda: other._run(_going_on(late, marks)))
    storage._run(operation)
    assert storage.remove_tagged("a") == 1


def put(storage: RedisStorage, entry: Entry) -> bool:
    """Store an entry with tags."""
    began = time.perf_counter()
    return storage.put_tagged(entry, storage.recall(entry.namespace, entry.key).epoch, None, began).kept


def _forgets_members(step: Step) -> bool:
    """Return whether a step takes members from a tag."""
    return isinstance(step, Exec) and any(command[0] == "ZADD" for command in step.commands)


def _marks_members(step: Step) -> bool:
    """Return whether a step changes the scores of members."""
    return isinstance(step, Batch) and any(command[0] == "ZADD" for command in step.commands)


def _until(operation: Operation[T], is_moment: Callable[[Step], bool], left: list[Step]) -> Operation[None]:
    """Perform an operation up to a step of a kind, which is left for `_going_on`."""
    step = next(operation)
    while not is_moment(step):
        step = operation.send((yield step))
    left.append(step)


def _going_on(operation: Operation[T], left: list[Step]) -> Operation[None]:
    """Perform the rest of an operation."""
    step = left.pop()
    while True:
        try:
            step = operation.send((yield step))
        except StopIteration:
            return


def _watches_partition(step: Step) -> bool:
    """Return whether a step looks whether a partition is empty."""
    return isinstance(step, Watch) and any(command[0] == "XLEN" for command in step.reads)


def _comes_after(is_moment: Callable[[Step], bool]) -> Callable[[Step], bool]:
    """Return what tells whether a step comes after one of a kind."""
    seen: list[Step] = []

    def comes_after(step: Step) -> bool:
        after = bool(seen)
        if is_moment(step):
            seen.append(step)
        return after

    return comes_after


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
